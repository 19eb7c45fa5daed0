//! What a player reads first: `ftyp` and `moov`.

use super::boxes::{put, put_full};
use super::entry::{Entry, size};
use super::{timescale, track_number};
use bytes::{BufMut, Bytes, BytesMut};
use media::{MediaKind, Track};

/// Makes the initialization (`ftyp` and `moov`, without samples) for these tracks, in their order. Those that MP4 does not carry
/// are left out, also those whose decoder configuration is not known yet; `None` if no track is left.
///
/// `track_ID` is the track's number in its stream plus 1. There are no edit lists: media time is the stream's own.
pub fn init(tracks: &[Track]) -> Option<Bytes> {
    let entries: Vec<_> = tracks.iter().filter_map(Entry::of).collect();
    if entries.is_empty() {
        return None;
    }
    let mut out = BytesMut::with_capacity(1024);
    put(&mut out, b"ftyp", |out| {
        out.put_slice(b"iso6");
        out.put_u32(0); // minor_version
        // iso6 has tfdt and default-base-is-moof (14496-12, annex E); mp41 has esds.
        out.put_slice(b"iso6mp41");
        if entries.len() == 1 {
            // A CMAF track is alone in its file (23000-19, 7.3.1).
            out.put_slice(b"cmfc");
        }
    });
    put(&mut out, b"moov", |out| {
        let highest = entries.iter().map(|entry| track_number(entry.track())).max();
        put_full(out, b"mvhd", 0, 0, |out| {
            out.put_u32(0); // creation_time
            out.put_u32(0); // modification_time
            out.put_u32(1000); // timescale
            out.put_u32(0); // duration: not known
            out.put_u32(0x0001_0000); // rate
            out.put_u16(0x0100); // volume
            out.put_bytes(0, 10);
            put_matrix(out);
            out.put_bytes(0, 24);
            out.put_u32(highest.unwrap_or(0) + 1); // next_track_ID
        });
        for entry in &entries {
            put_trak(out, entry);
        }
        put(out, b"mvex", |out| {
            for entry in &entries {
                put_full(out, b"trex", 0, 0, |out| {
                    out.put_u32(track_number(entry.track()));
                    out.put_u32(1); // default_sample_description_index
                    // Each fragment says its own duration, size and flags.
                    out.put_bytes(0, 12);
                });
            }
        });
    });
    Some(out.freeze())
}

fn put_trak(out: &mut BytesMut, entry: &Entry<'_>) {
    let track = entry.track();
    let kind = track.kind();
    put(out, b"trak", |out| {
        // track_enabled, track_in_movie
        put_full(out, b"tkhd", 0, 3, |out| {
            out.put_u32(0); // creation_time
            out.put_u32(0); // modification_time
            out.put_u32(track_number(track));
            out.put_u32(0);
            out.put_u32(0); // duration: not known
            out.put_bytes(0, 8);
            out.put_u16(0); // layer
            out.put_u16(0); // alternate_group
            out.put_u16(if kind == MediaKind::Audio { 0x0100 } else { 0 }); // volume
            out.put_u16(0);
            put_matrix(out);
            let (width, height) = size(track);
            out.put_u32(u32::from(width) << 16);
            out.put_u32(u32::from(height) << 16);
        });
        put(out, b"mdia", |out| {
            put_full(out, b"mdhd", 0, 0, |out| {
                out.put_u32(0); // creation_time
                out.put_u32(0); // modification_time
                out.put_u32(timescale(track));
                out.put_u32(0); // duration: not known
                out.put_u16(UNDETERMINED);
                out.put_u16(0);
            });
            let (handler, name): (&[u8; 4], &[u8]) = match kind {
                MediaKind::Video => (b"vide", b"video\0"),
                MediaKind::Audio => (b"soun", b"audio\0"),
            };
            put_full(out, b"hdlr", 0, 0, |out| {
                out.put_u32(0);
                out.put_slice(handler);
                out.put_bytes(0, 12);
                out.put_slice(name);
            });
            put(out, b"minf", |out| {
                match kind {
                    MediaKind::Video => put_full(out, b"vmhd", 0, 1, |out| out.put_bytes(0, 8)),
                    MediaKind::Audio => put_full(out, b"smhd", 0, 0, |out| out.put_bytes(0, 4)),
                }
                put(out, b"dinf", |out| {
                    put_full(out, b"dref", 0, 0, |out| {
                        out.put_u32(1);
                        put_full(out, b"url ", 0, 1, |_| ()); // in this file
                    });
                });
                put(out, b"stbl", |out| {
                    put_full(out, b"stsd", 0, 0, |out| {
                        out.put_u32(1);
                        entry.put(out);
                    });
                    // No samples here: all are in fragments.
                    put_full(out, b"stts", 0, 0, |out| out.put_u32(0));
                    put_full(out, b"stsc", 0, 0, |out| out.put_u32(0));
                    put_full(out, b"stsz", 0, 0, |out| out.put_bytes(0, 8));
                    put_full(out, b"stco", 0, 0, |out| out.put_u32(0));
                });
            });
        });
    });
}

/// The unity matrix (14496-12, 6.2.2).
fn put_matrix(out: &mut BytesMut) {
    for value in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        out.put_u32(value);
    }
}

/// `und` in three groups of five bits (14496-12, 8.4.2.3).
const UNDETERMINED: u16 = 0x55c4;
