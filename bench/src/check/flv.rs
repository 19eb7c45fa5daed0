//! FLV, and the tags that RTMP carries.

use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use container::flv;

use super::Seen;
use crate::clip;

/// An FLV stream.
#[derive(Debug, Default)]
pub struct Flv(flv::Reader);

impl Flv {
    /// See [`super::Container::push`].
    pub fn push(&mut self, at: Instant, bytes: Bytes, seen: &mut Vec<Seen>) -> Result<()> {
        self.0.push(bytes);
        while let Some(tag) = self.0.next().context("the FLV stream")? {
            seen.extend(seen_in_tag(at, &tag));
        }
        Ok(())
    }
}

/// The frame, if the tag is one.
pub fn seen_in_tag(at: Instant, tag: &flv::Tag) -> Option<Seen> {
    clip::is_video_frame(tag).then(|| Seen {
        time_us: tag.timestamp_ms.saturating_mul(1000),
        key: clip::is_key_frame(tag),
        at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tag of three bytes of payload behind an AVC head.
    fn tag(time: u8, first: u8, kind: u8) -> Vec<u8> {
        let mut tag = vec![9, 0, 0, 8, 0, 0, time, 0, 0, 0, 0, first, kind, 0, 0, 0, 1, 2, 3];
        tag.extend([0, 0, 0, 19]);
        tag
    }

    fn stream() -> Vec<u8> {
        let mut stream = b"FLV\x01\x01\x00\x00\x00\x09\x00\x00\x00\x00".to_vec();
        stream.extend(tag(0, 0x17, 0));
        stream.extend(tag(5, 0x17, 1));
        stream.extend(tag(45, 0x27, 1));
        stream
    }

    #[test]
    fn frames_are_found_and_sequence_headers_are_none() {
        let (at, mut seen) = (Instant::now(), Vec::new());
        let mut flv = Flv::default();
        for byte in stream() {
            flv.push(at, Bytes::copy_from_slice(&[byte]), &mut seen)
                .expect("valid");
        }
        let found: Vec<_> = seen.iter().map(|seen| (seen.time_us, seen.key)).collect();
        assert_eq!(found, [(5_000, true), (45_000, false)]);
    }

    #[test]
    fn what_is_no_flv_is_an_error() {
        let pushed = Flv::default().push(
            Instant::now(),
            Bytes::from_static(b"HTTP/1.1 200"),
            &mut Vec::new(),
        );
        assert!(pushed.is_err());
    }
}
