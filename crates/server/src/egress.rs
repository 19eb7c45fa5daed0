//! Writing packets to a socket: one vectored write for all that is due, straight from the shared bytes.

use bytes::Bytes;
use hub::{Batch, Next, Reader};
use media::{MediaTime, Packet};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWrite;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

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
    while position.packet < packets.len() {
        let some = poll_fn(|context| {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let used = position.fill(packets, &mut slices);
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

/// Where in a batch the unwritten rest begins.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    packet: usize,
    part: usize,
    offset: usize,
}

impl Position {
    /// Puts what is not written yet into `slices` and returns how many it used. Empty parts are left out.
    fn fill<'a>(self, packets: &'a [Arc<Packet>], slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut used = 0;
        let (mut skip_parts, mut skip_bytes) = (self.part, self.offset);
        for packet in &packets[self.packet..] {
            for part in &packet.parts[skip_parts..] {
                let rest = &part[skip_bytes..];
                skip_bytes = 0;
                if rest.is_empty() {
                    continue;
                }
                if used == slices.len() {
                    return used;
                }
                slices[used] = IoSlice::new(rest);
                used += 1;
            }
            skip_parts = 0;
        }
        used
    }

    fn advance(&mut self, packets: &[Arc<Packet>], mut count: usize) {
        while let Some(packet) = packets.get(self.packet) {
            while let Some(part) = packet.parts.get(self.part) {
                let rest = part.len() - self.offset;
                if count < rest {
                    self.offset += count;
                    return;
                }
                count -= rest;
                self.part += 1;
                self.offset = 0;
            }
            self.packet += 1;
            self.part = 0;
        }
    }
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

    /// Whatever the socket takes at a time, the bytes come out once and in order.
    #[test]
    fn every_length_of_partial_writes_gives_the_same_bytes() {
        let packets = packets(&[&["head", "", "payload", "t"], &[""], &["x"], &["second", "third"]]);
        let whole = "headpayloadtxsecondthird";
        for step in 1..=whole.len() + 3 {
            let mut position = Position::default();
            let mut out = Vec::new();
            while position.packet < packets.len() {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let used = position.fill(&packets, &mut slices);
                let flat: Vec<u8> = slices[..used]
                    .iter()
                    .flat_map(|slice| slice.iter().copied())
                    .collect();
                let count = flat.len().min(step);
                if count == 0 {
                    position.advance(&packets, 0);
                    break;
                }
                out.extend_from_slice(&flat[..count]);
                position.advance(&packets, count);
            }
            assert_eq!(out, whole.as_bytes(), "{step} bytes at a time");
        }
    }
}
