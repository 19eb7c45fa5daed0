//! Reading `moov`: the tracks and how to decode them.

use super::Error;
use super::entry::{OBJECT_AAC, OBJECT_MPEG1_AUDIO, OBJECT_MPEG2_AUDIO};
use super::fields::{Boxes, Fields};
use bytes::Bytes;
use media::codec::{g711, opus};
use media::track::AudioParams;
use media::{CodecId, MediaKind};

/// A track of picture or sound as `moov` describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TrackHeader {
    /// `track_ID`.
    pub(super) number: u32,
    /// By its handler.
    pub(super) kind: MediaKind,
    /// Ticks per second, at least 1.
    pub(super) timescale: u32,
    /// Ticks to take from decoding and presentation times: where in the media its edit list begins.
    pub(super) shift: i64,
    /// Its sample entries, at least one.
    pub(super) entries: Vec<SampleEntry>,
    /// What fragments do not say.
    pub(super) defaults: Defaults,
}

/// A sample entry.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SampleEntry {
    /// Of a codec that Tidegate knows.
    Known {
        codec: CodecId,
        /// As [`media::codec::source::Source::set_config`] takes it.
        config: Option<Bytes>,
        /// Sound parameters by the entry.
        audio: AudioParams,
    },
    /// Of another; in words for a log line.
    Other(String),
}

/// `trex`: what holds for samples of which the fragment says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    /// Number of the sample entry, from 1.
    pub(super) description: u32,
    /// In ticks.
    pub(super) duration: u32,
    /// In bytes.
    pub(super) size: u32,
    /// 14496-12, 8.8.3.1.
    pub(super) flags: u32,
}

/// Reads the body of a `moov`. Tracks of anything but picture and sound are left out. At most `max_tracks` are returned.
pub(super) fn parse(moov: &[u8], max_tracks: usize) -> Result<Vec<TrackHeader>, Error> {
    let mut movie_timescale = 0;
    let mut tracks = Vec::new();
    let mut extended = false;
    for child in Boxes::new(moov) {
        let (kind, body) = child?;
        match &kind {
            // Stands before the tracks in all known files; without it, edit lists cannot delay.
            b"mvhd" => {
                let (version, _, mut fields) = Fields::full(body, "mvhd")?;
                fields.u32_or_u64(version)?; // creation_time
                fields.u32_or_u64(version)?; // modification_time
                movie_timescale = fields.u32()?;
            }
            b"trak" => {
                let Some(track) = trak(body, movie_timescale)? else {
                    continue;
                };
                if tracks.len() == max_tracks {
                    return Err(Error::TooManyTracks {
                        got: track.number,
                        max: max_tracks,
                    });
                }
                tracks.push(track);
            }
            b"mvex" => extended = true,
            _ => {}
        }
    }
    if !extended {
        return Err(Error::Missing {
            what: "mvex in moov, which says that fragments follow (14496-12, 8.8.1),",
        });
    }
    for child in Boxes::new(Boxes::find(moov, b"mvex")?.unwrap_or_default()) {
        let (kind, body) = child?;
        if kind != *b"trex" {
            continue;
        }
        let (_, _, mut fields) = Fields::full(body, "trex")?;
        let number = fields.u32()?;
        let defaults = Defaults {
            description: fields.u32()?,
            duration: fields.u32()?,
            size: fields.u32()?,
            flags: fields.u32()?,
        };
        for track in tracks.iter_mut().filter(|track| track.number == number) {
            track.defaults = defaults;
        }
    }
    Ok(tracks)
}

/// Reads a `trak`; `None` if it is of neither picture nor sound.
fn trak(trak: &[u8], movie_timescale: u32) -> Result<Option<TrackHeader>, Error> {
    let (version, _, mut tkhd) = Fields::full(Boxes::require(trak, b"tkhd", "tkhd in trak")?, "tkhd")?;
    tkhd.u32_or_u64(version)?; // creation_time
    tkhd.u32_or_u64(version)?; // modification_time
    let number = tkhd.u32()?;
    let mdia = Boxes::require(trak, b"mdia", "mdia in trak")?;
    let (_, _, mut hdlr) = Fields::full(Boxes::require(mdia, b"hdlr", "hdlr in mdia")?, "hdlr")?;
    hdlr.skip(4)?;
    let kind = match hdlr.bytes(4)? {
        b"vide" => MediaKind::Video,
        b"soun" => MediaKind::Audio,
        _ => return Ok(None),
    };
    let (version, _, mut mdhd) = Fields::full(Boxes::require(mdia, b"mdhd", "mdhd in mdia")?, "mdhd")?;
    mdhd.u32_or_u64(version)?; // creation_time
    mdhd.u32_or_u64(version)?; // modification_time
    let timescale = mdhd.u32()?;
    if timescale == 0 {
        return Err(Error::Field {
            what: "timescale in mdhd",
            got: 0,
            allowed: "at least 1 (14496-12, 8.4.2.3)",
        });
    }
    let minf = Boxes::require(mdia, b"minf", "minf in mdia")?;
    let stbl = Boxes::require(minf, b"stbl", "stbl in minf")?;
    if let Some(stsz) = Boxes::find(stbl, b"stsz")? {
        let (_, _, mut stsz) = Fields::full(stsz, "stsz")?;
        stsz.skip(4)?; // sample_size
        let samples = stsz.u32()?;
        if samples > 0 {
            return Err(Error::Progressive { samples });
        }
    }
    let shift = match Boxes::find(trak, b"edts")? {
        Some(edts) => edit_shift(edts, timescale, movie_timescale)?,
        None => 0,
    };
    let stsd = Boxes::require(stbl, b"stsd", "stsd in stbl")?;
    Ok(Some(TrackHeader {
        number,
        kind,
        timescale,
        shift,
        entries: sample_entries(stsd, kind)?,
        // If `trex` is missing.
        defaults: Defaults {
            description: 1,
            ..Defaults::default()
        },
    }))
}

/// Where in the media the presentation begins, by an edit list of one edit, which an empty one may delay (8.6.6). Others are not
/// followed: they rearrange what a live stream sends in order.
fn edit_shift(edts: &[u8], timescale: u32, movie_timescale: u32) -> Result<i64, Error> {
    let Some(elst) = Boxes::find(edts, b"elst")? else {
        return Ok(0);
    };
    let (version, _, mut fields) = Fields::full(elst, "elst")?;
    let count = fields.u32()?;
    let mut delay = 0i128;
    for index in 0..count.min(2) {
        let duration = fields.u32_or_u64(version)?;
        let media_time = match version {
            0 => i64::from(fields.u32()? as i32),
            _ => fields.u64()? as i64,
        };
        fields.skip(4)?; // media_rate
        if media_time >= 0 {
            let last = index + 1 == count;
            let shift = i128::from(media_time).saturating_sub(delay);
            return Ok(if last {
                i64::try_from(shift).unwrap_or(0)
            } else {
                0
            });
        }
        let movie_timescale = i128::from(movie_timescale.max(1));
        // Rounded to nearest.
        delay = (i128::from(duration) * i128::from(timescale) + movie_timescale / 2) / movie_timescale;
    }
    Ok(0)
}

fn sample_entries(stsd: &[u8], kind: MediaKind) -> Result<Vec<SampleEntry>, Error> {
    let (version, _, mut fields) = Fields::full(stsd, "stsd")?;
    fields.skip(4)?; // entry_count: they are counted by what is there
    let mut entries = Vec::new();
    for child in Boxes::new(fields.rest()).take(MAX_ENTRIES) {
        let (format, body) = child?;
        entries.push(match kind {
            MediaKind::Video => visual(&format, body)?,
            MediaKind::Audio => audio(&format, body, version)?,
        });
    }
    if entries.is_empty() {
        return Err(Error::Missing {
            what: "sample entry in stsd",
        });
    }
    Ok(entries)
}

/// `VisualSampleEntry` (12.1.3.2).
fn visual(format: &[u8; 4], body: &[u8]) -> Result<SampleEntry, Error> {
    let mut fields = Fields::new(body, "visual sample entry");
    fields.skip(78)?;
    let boxes = fields.rest();
    let (codec, config) = match format {
        b"avc1" | b"avc3" => (
            CodecId::H264,
            Some(Boxes::require(boxes, b"avcC", "avcC in avc1 or avc3")?),
        ),
        b"hvc1" | b"hev1" => (
            CodecId::H265,
            Some(Boxes::require(boxes, b"hvcC", "hvcC in hvc1 or hev1")?),
        ),
        b"av01" => (
            CodecId::Av1,
            Some(Boxes::require(boxes, b"av1C", "av1C in av01")?),
        ),
        b"vp08" => (CodecId::Vp8, None),
        // A FullBox, unlike the others.
        b"vp09" => {
            let vpcc = Boxes::find(boxes, b"vpcC")?;
            (CodecId::Vp9, vpcc.and_then(|vpcc| vpcc.get(4..)))
        }
        _ => return Ok(other(format)),
    };
    Ok(SampleEntry::Known {
        codec,
        config: config.map(Bytes::copy_from_slice),
        audio: AudioParams::default(),
    })
}

/// `AudioSampleEntry` (12.2.3.2).
fn audio(format: &[u8; 4], body: &[u8], stsd_version: u8) -> Result<SampleEntry, Error> {
    let mut fields = Fields::new(body, "audio sample entry");
    fields.skip(8)?;
    let version = fields.u16()?;
    fields.skip(6)?;
    let channels = fields.u16()?;
    fields.skip(2 + 4)?;
    let sample_rate = u32::from(fields.u16()?);
    fields.skip(2)?;
    // QuickTime's longer entries; ISO entries of version 1 are in an `stsd` of version 1 and are not longer.
    fields.skip(match (stsd_version, version) {
        (0, 1) => 16,
        (0, 2) => 36,
        _ => 0,
    })?;
    let boxes = fields.rest();
    let params = AudioParams {
        sample_rate: if sample_rate == 0 {
            g711::PARAMS.sample_rate
        } else {
            sample_rate
        },
        channels: u8::try_from(channels).unwrap_or(0).max(1),
        sample_bits: 16,
    };
    let known = |codec, config| SampleEntry::Known {
        codec,
        config,
        audio: AudioParams::default(),
    };
    let g711 = |codec| SampleEntry::Known {
        codec,
        config: None,
        audio: params,
    };
    Ok(match format {
        b"mp4a" => {
            let esds = Boxes::require(boxes, b"esds", "esds in mp4a")?;
            match decoder_config(esds)? {
                // MPEG-4 audio, and MPEG-2 AAC in its three profiles.
                (OBJECT_AAC | 0x66..=0x68, specific) => known(CodecId::Aac, specific),
                (OBJECT_MPEG2_AUDIO | OBJECT_MPEG1_AUDIO, _) => known(CodecId::Mp3, None),
                (object, _) => SampleEntry::Other(format!("object type {object:#04x} in mp4a")),
            }
        }
        b".mp3" => known(CodecId::Mp3, None),
        b"Opus" => known(
            CodecId::Opus,
            Some(opus_head(Boxes::require(boxes, b"dOps", "dOps in Opus")?)?),
        ),
        b"alaw" => g711(CodecId::G711A),
        b"ulaw" => g711(CodecId::G711U),
        _ => other(format),
    })
}

fn other(format: &[u8; 4]) -> SampleEntry {
    let format = match format {
        b"encv" | b"enca" => {
            return SampleEntry::Other(format!("encrypted track ({})", format.escape_ascii()));
        }
        format => format.escape_ascii(),
    };
    SampleEntry::Other(format!("sample entry {format}"))
}

/// `objectTypeIndication` and `DecoderSpecificInfo` of an `esds` (14496-14, 5.6; 14496-1, 7.2.6.5 and 7.2.6.6).
fn decoder_config(esds: &[u8]) -> Result<(u8, Option<Bytes>), Error> {
    let (_, _, mut fields) = Fields::full(esds, "esds")?;
    let (3, mut es) = fields.descriptor()? else {
        return Err(Error::Missing {
            what: "ES_Descriptor in esds",
        });
    };
    es.skip(2)?; // ES_ID
    let flags = es.u8()?;
    if flags & 0x80 != 0 {
        es.skip(2)?; // dependsOn_ES_ID
    }
    if flags & 0x40 != 0 {
        let url = es.u8()?;
        es.skip(url.into())?;
    }
    if flags & 0x20 != 0 {
        es.skip(2)?; // OCR_ES_Id
    }
    let (4, mut config) = es.descriptor()? else {
        return Err(Error::Missing {
            what: "DecoderConfigDescriptor in esds",
        });
    };
    let object = config.u8()?;
    config.skip(12)?; // stream type, buffer, bit rates
    let specific = match config.rest() {
        [] => None,
        _ => Some(config.descriptor()?)
            .filter(|(tag, _)| *tag == 5)
            .map(|(_, specific)| specific.copy()),
    };
    Ok((object, specific))
}

/// A `dOps` as `OpusHead`.
fn opus_head(dops: &[u8]) -> Result<Bytes, Error> {
    let mut fields = Fields::new(dops, "dOps");
    fields.skip(1)?; // Version
    let head = opus::Head {
        channels: fields.u8()?,
        pre_skip: fields.u16()?,
        input_rate: fields.u32()?,
        gain: fields.u16()? as i16,
        family: fields.u8()?,
        mapping: fields.copy(),
    };
    Ok(head.build())
}

/// Sample entries of one track that are looked at.
const MAX_ENTRIES: usize = 16;
