//! The control header before each Opus packet: `opus_control_header()` of Xiph's mapping of Opus to MPEG-TS, as ffmpeg, GStreamer
//! and ZLM write it.
//!
//! 11 bits 0x3ff, then flags for start trim, end trim and an extension, then two reserved bits; then the length of the packet, as
//! bytes of 255 and a last one below.

use super::packet::Sink;

/// Writes the header for a packet of `len` bytes, without trims.
pub(super) fn put_header(len: usize, sink: &mut impl Sink) {
    sink.put(&[0x7f, 0xe0]);
    let mut rest = len;
    while rest >= 255 {
        sink.put(&[255]);
        rest -= 255;
    }
    sink.put(&[rest as u8]);
}

/// Length of the header at the start of `data`, and of the packet behind it. `None` if there is no whole header.
pub(super) fn read_header(data: &[u8]) -> Option<(usize, usize)> {
    let &[0x7f, flags] = data.first_chunk()? else {
        return None;
    };
    if flags & 0xe0 != 0xe0 {
        return None;
    }
    let (mut at, mut len) = (2, 0usize);
    loop {
        let part = *data.get(at)?;
        at += 1;
        len += usize::from(part);
        if part != 255 {
            break;
        }
    }
    // Two bytes for each trim.
    at += 2 * usize::from(flags >> 4 & 1) + 2 * usize::from(flags >> 3 & 1);
    if flags & 4 != 0 {
        at += 1 + usize::from(*data.get(at)?);
    }
    (at <= data.len()).then_some((at, len))
}

#[cfg(test)]
mod tests {
    use super::super::packet::Counter;
    use super::*;

    struct Collect(Vec<u8>);

    impl Sink for Collect {
        fn put(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }

    #[test]
    fn lengths_below_and_above_255() {
        for (len, expected) in [
            (3, &[0x7f, 0xe0, 3][..]),
            (255, &[0x7f, 0xe0, 255, 0]),
            (511, &[0x7f, 0xe0, 255, 255, 1]),
        ] {
            let (mut out, mut counter) = (Collect(Vec::new()), Counter::default());
            put_header(len, &mut out);
            put_header(len, &mut counter);
            assert_eq!(out.0, expected);
            assert_eq!(counter.0, expected.len());
            assert_eq!(read_header(&out.0), Some((expected.len(), len)));
        }
    }

    #[test]
    fn trims_and_extensions_are_skipped() {
        // The first packet of ffmpeg: 312 samples to be dropped at the start.
        assert_eq!(read_header(&[0x7f, 0xf0, 9, 0x01, 0x38, 0xfc]), Some((5, 9)));
        assert_eq!(
            read_header(&[0x7f, 0xfc, 9, 0, 1, 0, 2, 2, 7, 7, 0xfc]),
            Some((10, 9))
        );
        assert_eq!(read_header(&[0x7f, 0xe4, 9, 2, 7]), None);
        assert_eq!(read_header(&[0x7f, 0xe0, 255]), None);
        assert_eq!(read_header(&[0xfc, 0xe0, 1]), None);
        assert_eq!(read_header(&[]), None);
    }
}
