//! Writing packets to a connection from its session's own task: one vectored write for all that is due, straight from the shared bytes.
//!
//! So TLS is served, and whatever is no socket. Players over plain TCP are given to [`egress::Room`].

use crate::session::Io;
use bytes::Bytes;
use config::Config;
use egress::{Delivery, Landed, Merge, Outcome, Position, Room};
use hub::{Batch, Next, Reader};
use media::{MediaTime, Packet};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWrite;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How long a viewer may take nothing at all before it is given up. Its kernel buffer holds seconds of video besides.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// Most pieces of one `writev`. The array lives on the stack of one poll, so that a waiting viewer does not carry it.
const MAX_SLICES: usize = 96;

/// The pace of a player's writes (`general.mergeWriteMS`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    merge: Duration,
    not_before: Option<Instant>,
}

impl Pace {
    /// At most one write in each `merge`; zero writes each frame at once.
    pub const fn new(merge: Duration) -> Self {
        Self {
            merge,
            not_before: None,
        }
    }

    /// What is due, once a write is. Cancel-safe: nothing is taken before that, and a reader that does not ask costs the
    /// publisher no wake-up.
    pub async fn next_batch(self, reader: &mut Reader, batch: &mut Batch) -> Next {
        if let Some(time) = self.not_before {
            sleep_until(time.into()).await;
        }
        reader.next_batch(batch).await
    }

    /// A write was made.
    pub fn written(&mut self) {
        if !self.merge.is_zero() {
            self.not_before = Some(Instant::now() + self.merge);
        }
    }
}

/// When writes to players are merged.
pub fn merge(config: &Config) -> Merge {
    if config.general.merge_write.is_zero() {
        Merge::Adaptive(config.general.merge_write_max)
    } else {
        Merge::Fixed(config.general.merge_write)
    }
}

/// Gives a player to the threads that write, if its connection is a plain socket. Else the reader comes back.
#[expect(
    clippy::result_large_err,
    reason = "the reader comes back whole; once for each player"
)]
pub fn deliver<S: Io + ?Sized>(room: &Room, io: &S, reader: Reader) -> Result<Delivery, Reader> {
    let Some(socket) = io.socket() else {
        return Err(reader);
    };
    room.deliver(socket, reader).map_err(|(reader, error)| {
        debug!(%error, "a player is served by its session");
        reader
    })
}

/// Ends a delivery between two packets, so that its session may write to the connection again. Returns the reader.
///
/// # Errors
///
/// The connection's error; [`io::ErrorKind::ConnectionAborted`] when `stop` comes and the peer does not take what was begun soon after.
pub async fn land(delivery: &mut Delivery, stop: &CancellationToken) -> io::Result<Option<Reader>> {
    let mut landing = pin!(delivery.land());
    let Landed { reader, outcome } = tokio::select! {
        biased;
        landed = &mut landing => landed,
        () = stop.cancelled() => timeout(GOODBYE, landing).await.map_err(|_| cut())?,
    };
    match outcome {
        Some(Outcome::Failed(error)) => Err(error),
        Some(Outcome::Ended(_)) | None => Ok(reader),
    }
}

/// Writes a whole batch and returns its length in bytes.
///
/// # Errors
///
/// The connection's error; [`io::ErrorKind::TimedOut`] when the peer takes nothing for [`WRITE_TIMEOUT`];
/// [`io::ErrorKind::ConnectionAborted`] when `stop` comes while the peer takes nothing, so that a session can be cut in the
/// middle of a packet. A write that the peer takes is never cut short.
pub async fn write_batch<W: AsyncWrite + Unpin>(
    io: &mut W,
    batch: &Batch,
    stop: &CancellationToken,
) -> io::Result<u64> {
    write_packets(io, batch.packets(), stop).await
}

/// Writes pieces that belong together, with as few calls as a batch.
///
/// # Errors
///
/// As [`write_batch`].
pub async fn write_parts<W: AsyncWrite + Unpin>(
    io: &mut W,
    parts: Vec<Bytes>,
    stop: &CancellationToken,
) -> io::Result<u64> {
    let packet = Packet {
        parts: parts.into(),
        key: false,
        config: false,
        dts: MediaTime::ZERO,
    };
    write_packets(io, &[Arc::new(packet)], stop).await
}

async fn write_packets<W: AsyncWrite + Unpin>(
    io: &mut W,
    packets: &[Arc<Packet>],
    stop: &CancellationToken,
) -> io::Result<u64> {
    let mut position = Position::default();
    let mut written = 0;
    // Empty parts at the end are passed over without a write.
    position.advance(packets, 0);
    while !position.is_end(packets) {
        let some = poll_fn(|context| {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut used = 0;
            for (slice, piece) in slices.iter_mut().zip(position.rest(packets)) {
                *slice = IoSlice::new(piece);
                used += 1;
            }
            Pin::new(&mut *io).poll_write_vectored(context, &slices[..used])
        });
        // The write first: a peer that takes it costs no look at the token.
        let count = tokio::select! {
            biased;
            count = timeout(WRITE_TIMEOUT, some) => count.map_err(|_| stalled(WRITE_TIMEOUT))??,
            () = stop.cancelled() => return Err(cut()),
        };
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        written += count as u64;
        position.advance(packets, count);
    }
    Ok(written)
}

fn cut() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "closed by the server while the peer took nothing",
    )
}

/// Writes a short run of bytes whole.
///
/// # Errors
///
/// The connection's error, or [`io::ErrorKind::TimedOut`] when the peer takes nothing for `stall`.
pub async fn write_all<W: AsyncWrite + Unpin>(io: &mut W, bytes: &[u8], stall: Duration) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let some = poll_fn(|context| Pin::new(&mut *io).poll_write(context, rest));
        let count = timeout(stall, some).await.map_err(|_| stalled(stall))??;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = &rest[count..];
    }
    Ok(())
}

/// How long a client's last words may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// Writes a client's last words, if the peer takes them soon.
pub async fn say_goodbye<W: AsyncWrite + Unpin>(io: &mut W, words: impl IntoIterator<Item = Bytes>) {
    let saying = async {
        for word in words {
            write_all(io, &word, GOODBYE).await?;
        }
        io::Result::Ok(())
    };
    // The connection is closed next, whether they were heard or not.
    let _ = timeout(GOODBYE, saying).await;
}

fn stalled(stall: Duration) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("the peer took nothing for {stall:?}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(parts: &[&[&'static str]]) -> Vec<Arc<Packet>> {
        parts
            .iter()
            .map(|parts| {
                let parts = parts
                    .iter()
                    .map(|part| Bytes::from_static(part.as_bytes()))
                    .collect();
                Arc::new(Packet {
                    parts,
                    key: true,
                    config: false,
                    dts: MediaTime::ZERO,
                })
            })
            .collect()
    }

    /// A kick does not wait for a peer that takes nothing.
    #[tokio::test(start_paused = true)]
    async fn a_stalled_write_ends_with_its_session() {
        let (mut ours, _theirs) = tokio::io::duplex(4);
        let stop = CancellationToken::new();
        let packets = packets(&[&["more than four bytes"]]);
        let (written, ()) = tokio::join!(write_packets(&mut ours, &packets, &stop), async { stop.cancel() });
        assert_eq!(
            written.expect_err("stalled").kind(),
            io::ErrorKind::ConnectionAborted
        );
        let patient = CancellationToken::new();
        let written = write_packets(&mut ours, &packets, &patient).await;
        assert_eq!(written.expect_err("stalled").kind(), io::ErrorKind::TimedOut);
    }

    /// A session that ends still sends what its peer takes at once.
    #[tokio::test]
    async fn a_stop_does_not_cut_a_write_that_is_taken() {
        let (mut ours, _theirs) = tokio::io::duplex(64);
        let stop = CancellationToken::new();
        stop.cancel();
        let packets = packets(&[&["fits"]]);
        assert_eq!(write_packets(&mut ours, &packets, &stop).await.expect("taken"), 4);
    }
}
