//! Boxes as bytes (ISO/IEC 14496-12, 4.2).

use bytes::{BufMut, BytesMut};

/// Length of a box's size and type.
pub(super) const HEADER_LEN: usize = 8;

/// Appends a `Box`: size, type, and what `body` appends.
pub(super) fn put(out: &mut BytesMut, kind: &[u8; 4], body: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    out.put_slice(kind);
    body(out);
    // What is written here is far below 4 GiB: records are bounded, and payloads are not part of it.
    let len = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

/// Appends a `FullBox`: a box that begins with a version and 24 bits of flags.
pub(super) fn put_full(
    out: &mut BytesMut,
    kind: &[u8; 4],
    version: u8,
    flags: u32,
    body: impl FnOnce(&mut BytesMut),
) {
    put(out, kind, |out| {
        out.put_u32(u32::from(version) << 24 | flags & 0x00ff_ffff);
        body(out);
    });
}

/// Flags of `tfhd` (14496-12, 8.8.7.1): which fields it has, and what offsets count from.
pub(super) mod tfhd {
    pub(in super::super) const BASE_DATA_OFFSET: u32 = 0x01;
    pub(in super::super) const DESCRIPTION_INDEX: u32 = 0x02;
    pub(in super::super) const DURATION: u32 = 0x08;
    pub(in super::super) const SIZE: u32 = 0x10;
    pub(in super::super) const FLAGS: u32 = 0x20;
    pub(in super::super) const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
}

/// Flags of `trun` (14496-12, 8.8.8.1): which fields it has, of its own and per sample.
pub(super) mod trun {
    pub(in super::super) const DATA_OFFSET: u32 = 0x01;
    pub(in super::super) const FIRST_FLAGS: u32 = 0x04;
    pub(in super::super) const DURATION: u32 = 0x100;
    pub(in super::super) const SIZE: u32 = 0x200;
    pub(in super::super) const FLAGS: u32 = 0x400;
    pub(in super::super) const COMPOSITION: u32 = 0x800;
    pub(in super::super) const PER_SAMPLE: u32 = DURATION | SIZE | FLAGS | COMPOSITION;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_header_and_children() {
        let mut out = BytesMut::from(&b"before"[..]);
        put(&mut out, b"moov", |out| {
            put_full(out, b"mfhd", 1, 0xff02_0304, |out| out.put_u8(9));
            put(out, b"free", |_| ());
        });
        assert_eq!(
            &out[..],
            b"before\0\0\0\x1dmoov\0\0\0\x0dmfhd\x01\x02\x03\x04\x09\0\0\0\x08free"
        );
    }
}
