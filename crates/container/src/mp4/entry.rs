//! Sample entries: how a track's codec and its decoder configuration are written.

use super::boxes::put;
use bytes::{BufMut, Bytes, BytesMut};
use media::codec::{aac, av1, h264, h265, opus, vp9};
use media::{CodecId, MediaKind, Track};

/// Whether MP4 carries this codec.
pub fn carries(codec: CodecId) -> bool {
    match codec {
        CodecId::H264
        | CodecId::H265
        | CodecId::Av1
        | CodecId::Vp8
        | CodecId::Vp9
        | CodecId::Aac
        | CodecId::Opus
        | CodecId::G711A
        | CodecId::G711U
        | CodecId::Mp3 => true,
        CodecId::L16 | CodecId::Jpeg | CodecId::Other(_) => false,
    }
}

/// A track's sample entry, ready to be written.
pub(super) struct Entry<'a> {
    track: &'a Track,
    kind: &'static [u8; 4],
    configuration: Option<Configuration>,
}

/// The box inside a sample entry that configures the decoder.
struct Configuration {
    kind: &'static [u8; 4],
    /// What is in it, with version and flags where it is a `FullBox`.
    body: Bytes,
}

impl<'a> Entry<'a> {
    /// The entry of a track; `None` if MP4 does not carry its codec, or its decoder configuration is missing or cannot be read.
    pub(super) fn of(track: &'a Track) -> Option<Self> {
        let config = track.config.as_ref();
        let (kind, configuration) = match track.codec {
            CodecId::H264 => {
                let record = config.filter(|record| h264::Config::parse(record).is_ok())?;
                (b"avc1", Some((b"avcC", record.clone())))
            }
            CodecId::H265 => (b"hvc1", Some((b"hvcC", complete_hvcc(config?)?))),
            CodecId::Av1 => {
                let record = config.filter(|record| av1::Config::parse(record).is_ok())?;
                (b"av01", Some((b"av1C", record.clone())))
            }
            CodecId::Vp8 => (b"vp08", Some((b"vpcC", vpcc(&VP8)))),
            CodecId::Vp9 => (b"vp09", Some((b"vpcC", vpcc(&vp9::Config::parse(config?).ok()?)))),
            CodecId::Aac => {
                let config = config.filter(|config| aac::Config::parse(config).is_ok())?;
                (b"mp4a", Some((b"esds", esds(OBJECT_AAC, config))))
            }
            CodecId::Mp3 => (b"mp4a", Some((b"esds", esds(mp3_object(track), &[])))),
            CodecId::Opus => {
                let head = match config {
                    Some(config) => opus::Head::parse(config).ok()?,
                    None => opus::Head::new(track.audio().map_or(2, |audio| audio.channels)),
                };
                (b"Opus", Some((b"dOps", dops(&head))))
            }
            CodecId::G711A => (b"alaw", None),
            CodecId::G711U => (b"ulaw", None),
            CodecId::L16 | CodecId::Jpeg | CodecId::Other(_) => return None,
        };
        let configuration = configuration.map(|(kind, body)| Configuration { kind, body });
        let bounded = |configuration: &Configuration| configuration.body.len() <= MAX_RECORD_LEN;
        configuration.as_ref().is_none_or(bounded).then_some(Self {
            track,
            kind,
            configuration,
        })
    }

    /// The track.
    pub(super) fn track(&self) -> &'a Track {
        self.track
    }

    /// Appends the entry.
    pub(super) fn put(&self, out: &mut BytesMut) {
        put(out, self.kind, |out| {
            out.put_bytes(0, 6);
            out.put_u16(1); // data_reference_index
            match self.track.kind() {
                MediaKind::Video => self.put_visual(out),
                MediaKind::Audio => self.put_audio(out),
            }
            if let Some(Configuration { kind, body }) = &self.configuration {
                put(out, kind, |out| out.put_slice(body));
            }
        });
    }

    /// The fields of `VisualSampleEntry` (14496-12, 12.1.3.2).
    fn put_visual(&self, out: &mut BytesMut) {
        let (width, height) = size(self.track);
        out.put_bytes(0, 16);
        out.put_u16(width);
        out.put_u16(height);
        out.put_u32(72 << 16); // horizresolution
        out.put_u32(72 << 16); // vertresolution
        out.put_u32(0);
        out.put_u16(1); // frame_count
        out.put_bytes(0, 32); // compressorname
        out.put_u16(0x0018); // depth
        out.put_i16(-1);
    }

    /// The fields of `AudioSampleEntry` (14496-12, 12.2.3.2).
    fn put_audio(&self, out: &mut BytesMut) {
        let audio = self.track.audio().copied().unwrap_or_default();
        out.put_bytes(0, 8);
        out.put_u16(audio.channels.max(1).into());
        out.put_u16(16); // samplesize
        out.put_u32(0);
        // 16 bits before the point; higher rates stand only in the decoder configuration and the timescale.
        out.put_u16(u16::try_from(audio.sample_rate).unwrap_or(0));
        out.put_u16(0);
    }
}

/// Width and height in pixels; what has no room is 0, as not known.
pub(super) fn size(track: &Track) -> (u16, u16) {
    let video = track.video().copied().unwrap_or_default();
    let side = |side| u16::try_from(side).unwrap_or(0);
    (side(video.width), side(video.height))
}

/// An `hvcC` whose parameter sets are marked as all there are (`array_completeness`), which `hvc1` demands (14496-15, 8.4.1.1.2):
/// those in frames are left out. `None` if it cannot be read.
fn complete_hvcc(record: &Bytes) -> Option<Bytes> {
    const COMPLETE: u8 = 0x80;
    h265::Config::parse(record).ok()?;
    let mut record = BytesMut::from(&record[..]);
    let arrays = *record.get(ARRAYS_AT)?;
    let mut at = ARRAYS_AT + 1;
    for _ in 0..arrays {
        let kind = record.get_mut(at)?;
        match *kind & 0x3f {
            h265::NAL_VPS | h265::NAL_SPS | h265::NAL_PPS => *kind |= COMPLETE,
            _ => *kind &= !COMPLETE,
        }
        let count = u16_at(&record, at + 1)?;
        at += 3;
        for _ in 0..count {
            at += 2 + usize::from(u16_at(&record, at)?);
        }
    }
    Some(record.freeze())
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

/// `VPCodecConfigurationBox`: version 1, no flags, the record.
fn vpcc(config: &vp9::Config) -> Bytes {
    [&[1, 0, 0, 0], &config.build()[..]].concat().into()
}

/// `ES_Descriptor` in a `FullBox` (14496-14, 5.6; descriptors by 14496-1, 7.2.6).
fn esds(object_type: u8, specific: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(64 + specific.len());
    let specific_len = if specific.is_empty() {
        0
    } else {
        DESCRIPTOR_HEAD_LEN + specific.len()
    };
    let config_len = 13 + specific_len;
    out.put_u32(0); // version and flags
    put_descriptor(
        &mut out,
        3,
        3 + (DESCRIPTOR_HEAD_LEN + config_len) + (DESCRIPTOR_HEAD_LEN + 1),
    );
    out.put_u16(0); // ES_ID, 0 in files (14496-14, 3.1.2)
    out.put_u8(0); // no dependence, URL or clock reference
    put_descriptor(&mut out, 4, config_len);
    out.put_u8(object_type);
    out.put_u8(0x15); // streamType 5 (audio), upStream 0, reserved 1
    out.put_bytes(0, 3 + 4 + 4); // bufferSizeDB, maxBitrate, avgBitrate: not known
    if !specific.is_empty() {
        put_descriptor(&mut out, 5, specific.len());
        out.put_slice(specific);
    }
    put_descriptor(&mut out, 6, 1);
    out.put_u8(2); // predefined: MP4
    out.freeze()
}

/// Tag and length in the form of four bytes, as all writers do (14496-1, 8.3.3).
fn put_descriptor(out: &mut BytesMut, tag: u8, len: usize) {
    out.put_u8(tag);
    for shift in [21, 14, 7] {
        out.put_u8(0x80 | (len >> shift & 0x7f) as u8);
    }
    out.put_u8((len & 0x7f) as u8);
}

/// 0x6b is MPEG-1 audio, 0x69 MPEG-2 audio with its lower sample rates (14496-1, table 5).
fn mp3_object(track: &Track) -> u8 {
    let rate = track.audio().map_or(0, |audio| audio.sample_rate);
    if (1..32_000).contains(&rate) {
        OBJECT_MPEG2_AUDIO
    } else {
        OBJECT_MPEG1_AUDIO
    }
}

/// `OpusSpecificBox` (Encapsulation of Opus in ISO base media file format, 4.3.2): an `OpusHead`, in big-endian order and with
/// a version of its own.
fn dops(head: &opus::Head) -> Bytes {
    let mut out = BytesMut::with_capacity(11 + head.mapping.len());
    out.put_slice(&[0, head.channels]);
    out.put_u16(head.pre_skip);
    out.put_u32(head.input_rate);
    out.put_i16(head.gain);
    out.put_u8(head.family);
    out.put_slice(&head.mapping);
    out.freeze()
}

/// `numOfArrays` in an `hvcC` (14496-15, 8.3.3.1.2).
const ARRAYS_AT: usize = 22;
const DESCRIPTOR_HEAD_LEN: usize = 5;
/// `objectTypeIndication` of MPEG-4 audio.
pub(super) const OBJECT_AAC: u8 = 0x40;
pub(super) const OBJECT_MPEG2_AUDIO: u8 = 0x69;
pub(super) const OBJECT_MPEG1_AUDIO: u8 = 0x6b;
/// VP8 has 8 bits, 4:2:0 and one profile that is in use; colours and level are not said.
pub(super) const VP8: vp9::Config = vp9::Config {
    profile: 0,
    level: 0,
    bit_depth: 8,
    chroma_subsampling: 1,
    full_range: false,
    color: [2, 2, 2],
};
/// Longest decoder configuration that is written. Encoders make some hundred bytes; this way the initialization of
/// [`crate::flv::MAX_TRACKS`] tracks stays below what readers of this format take.
const MAX_RECORD_LEN: usize = 60 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_aac() {
        let expected = [
            &[0, 0, 0, 0][..],
            &[3, 0x80, 0x80, 0x80, 34, 0, 0, 0],
            &[
                4, 0x80, 0x80, 0x80, 20, 0x40, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
            &[5, 0x80, 0x80, 0x80, 2, 0x12, 0x10],
            &[6, 0x80, 0x80, 0x80, 1, 2],
        ];
        assert_eq!(&esds(OBJECT_AAC, &[0x12, 0x10])[..], expected.concat());
    }

    #[test]
    fn descriptors_of_mp3_have_no_configuration_inside() {
        let expected = [
            &[0, 0, 0, 0][..],
            &[3, 0x80, 0x80, 0x80, 27, 0, 0, 0],
            &[
                4, 0x80, 0x80, 0x80, 13, 0x6b, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
            &[6, 0x80, 0x80, 0x80, 1, 2],
        ];
        assert_eq!(&esds(OBJECT_MPEG1_AUDIO, &[])[..], expected.concat());
    }

    #[test]
    fn the_opus_header_is_turned_around() {
        let head = opus::Head {
            channels: 2,
            pre_skip: 312,
            input_rate: 44_100,
            gain: -256,
            family: 0,
            mapping: Bytes::new(),
        };
        assert_eq!(&dops(&head)[..], [0, 2, 1, 0x38, 0, 0, 0xac, 0x44, 0xff, 0, 0]);
    }

    #[test]
    fn parameter_sets_in_hvcc_are_marked_complete_and_nothing_else() {
        let record: Bytes = [
            &[1u8; 22][..],
            &[3],
            &[0x20, 0, 1, 0, 2, 0x40, 1],
            &[0x21, 0, 1, 0, 2, 0x42, 1],
            &[0xa7, 0, 1, 0, 2, 0x4e, 1],
        ]
        .concat()
        .into();
        // The length size of 0x01 & 3 + 1 is 2; only the flags are looked at here.
        let complete = complete_hvcc(&record).unwrap();
        let changed: Vec<_> = (0..record.len())
            .filter(|at| record[*at] != complete[*at])
            .collect();
        assert_eq!(changed, [23, 30, 37]);
        assert_eq!((complete[23], complete[30], complete[37]), (0xa0, 0xa1, 0x27));
        assert_eq!(complete_hvcc(&record.slice(..40)), None);
    }
}
