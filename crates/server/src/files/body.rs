//! The body of a file, read piece by piece as the client takes it.

use super::{Counters, Turns};
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::OwnedSemaphorePermit;

/// Bytes that are read at once, and about what a connection holds of a file.
const PIECE: u64 = 64 * 1024;

/// A part of an open file that is to be sent.
#[derive(Debug)]
pub struct Reading {
    /// The file.
    pub file: File,
    /// Where to read next.
    pub offset: u64,
    /// Bytes that are left.
    pub left: u64,
}

impl Reading {
    /// Reads the next bytes into `piece`, up to its capacity. Blocks.
    fn read(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        let count = loop {
            match pread(&self.file, spare_capacity(piece), self.offset) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was sent",
            ));
        }
        // More than was asked for, should the allocator have given more.
        piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.offset += piece.len() as u64;
        self.left -= piece.len() as u64;
        Ok(())
    }

    /// The body of an answer whose head names its length. Reading ahead of the client it is at most one piece. `slot` is given back
    /// with the body.
    pub fn into_body(self, slot: OwnedSemaphorePermit, turns: Turns, counters: Arc<Counters>) -> Body {
        let state = (self, slot, turns, counters);
        let pieces = stream::try_unfold(state, async |(mut reading, slot, turns, counters)| {
            if reading.left == 0 {
                return io::Result::Ok(None);
            }
            // Made here and not by the thread that reads: each of those would keep memory of its own.
            let mut piece = Vec::with_capacity(reading.left.min(PIECE) as usize);
            let read = turns.run(move || {
                let result = reading.read(&mut piece);
                (reading, piece, result)
            });
            let (reading, piece, result) = read.await.map_err(io::Error::other)?;
            result?;
            counters.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
            Ok(Some((Bytes::from(piece), (reading, slot, turns, counters))))
        });
        Body::from_stream(pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::io::Write;
    use tokio::sync::Semaphore;

    async fn read(
        len: usize,
        offset: u64,
        left: u64,
        cut_to: Option<u64>,
    ) -> (Result<Bytes, axum::Error>, u64) {
        let mut file = tempfile::tempfile().expect("a file");
        let content: Vec<u8> = (0..len).map(|at| (at / 7) as u8).collect();
        file.write_all(&content).expect("written");
        let slots = Arc::new(Semaphore::new(1));
        let counters = Arc::<Counters>::default();
        let again = file.try_clone().expect("a second handle");
        let reading = Reading { file, offset, left };
        if let Some(length) = cut_to {
            again.set_len(length).expect("cut");
        }
        let slot = slots.clone().try_acquire_owned().expect("a slot");
        let body = reading.into_body(slot, Turns::default(), counters.clone());
        assert_eq!(slots.available_permits(), 0);
        let body = body.collect().await.map(|body| body.to_bytes());
        assert_eq!(slots.available_permits(), 1);
        if let Ok(body) = &body {
            let wanted = &content[offset as usize..(offset + left) as usize];
            assert!(body == wanted, "{len} {offset} {left}");
        }
        (body, counters.bytes.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn any_part_comes_whole_and_is_counted() {
        let piece = PIECE as usize;
        for (len, offset, left) in [
            (0, 0, 0),
            (1, 0, 1),
            (piece, 0, PIECE),
            (piece + 1, 0, PIECE + 1),
            (5 * piece, PIECE - 1, 3 * PIECE),
            (5 * piece, 5 * PIECE - 1, 1),
        ] {
            let (body, counted) = read(len, offset, left, None).await;
            assert_eq!(
                (body.map(|body| body.len() as u64).ok(), counted),
                (Some(left), left)
            );
        }
    }

    /// The connection must be closed then: what follows would be taken for the rest of this body.
    #[tokio::test]
    async fn a_file_that_shrinks_is_an_error() {
        let (body, counted) = read(4 * PIECE as usize, 0, 4 * PIECE, Some(PIECE + 1)).await;
        let error = body.expect_err("shorter").to_string();
        assert!(error.contains("became shorter"), "{error}");
        assert_eq!(counted, PIECE + 1);
    }
}
