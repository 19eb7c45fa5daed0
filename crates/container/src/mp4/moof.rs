//! Reading `moof`: which samples a fragment has, and where.

use super::Error;
use super::boxes::{tfhd, trun};
use super::fields::{Boxes, Fields};
use super::moov::{Defaults, TrackHeader};
use media::MediaTime;

/// Most samples in one fragment. A minute of 48 kHz audio in the shortest frames of Opus has 24000.
pub const MAX_SAMPLES: usize = 1 << 16;
/// Longest sample in bytes; far above the key frames of 8K video.
pub const MAX_SAMPLE_LEN: u32 = 32 << 20;

/// One sample, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Place of its track among those given.
    pub(super) slot: usize,
    /// Number of its sample entry, from 1.
    pub(super) description: u32,
    /// Offset in the stream.
    pub(super) at: u64,
    /// Length in bytes, 1..=[`MAX_SAMPLE_LEN`].
    pub(super) len: u32,
    pub(super) dts: MediaTime,
    pub(super) pts: MediaTime,
    /// A sync sample.
    pub(super) sync: bool,
}

/// Of a track: what it is, and the decoding time in ticks at which its next sample begins, unless the fragment says so.
pub(super) trait Timeline {
    fn header(&self) -> &TrackHeader;
    fn next(&mut self) -> &mut i64;
}

/// Reads the body of a `moof` that begins at `start` in the stream, and appends its samples. Those before an error stay.
pub(super) fn parse<T: Timeline>(
    moof: &[u8],
    start: u64,
    tracks: &mut [T],
    samples: &mut Vec<Sample>,
) -> Result<(), Error> {
    // Without any other word, the data of a track follows that of the one before (8.8.7.1).
    let mut data_end = start;
    for child in Boxes::new(moof) {
        let (kind, body) = child?;
        if kind == *b"traf" {
            let mut traf = Traf::new(body, start, data_end, tracks)?;
            for child in Boxes::new(body) {
                let (kind, body) = child?;
                if kind == *b"trun" {
                    traf.trun(body, tracks, samples)?;
                }
            }
            data_end = traf.at;
        }
    }
    Ok(())
}

struct Traf {
    slot: usize,
    defaults: Defaults,
    /// What `data_offset` counts from.
    base: u64,
    /// Where the next run begins if it does not say.
    at: u64,
}

impl Traf {
    /// Reads `tfhd` and `tfdt`.
    fn new<T: Timeline>(traf: &[u8], start: u64, data_end: u64, tracks: &mut [T]) -> Result<Self, Error> {
        let (_, flags, mut tfhd) = Fields::full(Boxes::require(traf, b"tfhd", "tfhd in traf")?, "tfhd")?;
        let number = tfhd.u32()?;
        let slot = tracks.iter().position(|track| track.header().number == number);
        let slot = slot.ok_or(Error::UnknownTrack { got: number })?;
        let Some(track) = tracks.get_mut(slot) else {
            return Err(Error::UnknownTrack { got: number });
        };
        let base = if flags & tfhd::BASE_DATA_OFFSET != 0 {
            tfhd.u64()?
        } else if flags & tfhd::DEFAULT_BASE_IS_MOOF != 0 {
            start
        } else {
            data_end
        };
        let trex = track.header().defaults;
        let mut value = |flag, default| Ok(tfhd.u32_if(flags & flag != 0)?.unwrap_or(default));
        let defaults = Defaults {
            description: value(tfhd::DESCRIPTION_INDEX, trex.description)?,
            duration: value(tfhd::DURATION, trex.duration)?,
            size: value(tfhd::SIZE, trex.size)?,
            flags: value(tfhd::FLAGS, trex.flags)?,
        };
        if let Some(tfdt) = Boxes::find(traf, b"tfdt")? {
            let (version, _, mut tfdt) = Fields::full(tfdt, "tfdt")?;
            let time = tfdt.u32_or_u64(version)?;
            *track.next() = i64::try_from(time).unwrap_or(i64::MAX);
        }
        Ok(Self {
            slot,
            defaults,
            base,
            at: base,
        })
    }

    /// Reads a run.
    fn trun<T: Timeline>(
        &mut self,
        trun: &[u8],
        tracks: &mut [T],
        samples: &mut Vec<Sample>,
    ) -> Result<(), Error> {
        let (_, flags, mut fields) = Fields::full(trun, "trun")?;
        let count = fields.u32()?;
        if let Some(offset) = fields.u32_if(flags & trun::DATA_OFFSET != 0)? {
            let offset = i64::from(offset as i32);
            self.at = self.base.checked_add_signed(offset).ok_or(Error::Field {
                what: "data_offset in trun",
                got: offset,
                allowed: "within the stream",
            })?;
        }
        let first_flags = fields.u32_if(flags & trun::FIRST_FLAGS != 0)?;
        let total = samples.len() as u64 + u64::from(count);
        if total > MAX_SAMPLES as u64 {
            return Err(Error::TooManySamples {
                got: total,
                max: MAX_SAMPLES,
            });
        }
        let Some(track) = tracks.get_mut(self.slot) else {
            return Ok(());
        };
        let (timescale, shift) = (track.header().timescale, track.header().shift);
        let next = track.next();
        for index in 0..count {
            let mut value = |flag| fields.u32_if(flags & flag != 0);
            let duration = value(trun::DURATION)?.unwrap_or(self.defaults.duration);
            let len = value(trun::SIZE)?.unwrap_or(self.defaults.size);
            let first_flags = first_flags.filter(|_| index == 0);
            let sample_flags = value(trun::FLAGS)?.or(first_flags).unwrap_or(self.defaults.flags);
            // Signed in version 1 only, but writers of version 0 with negative offsets exist (QuickTime has them so), and an
            // offset of more than 2^31 ticks makes no sense.
            let composition = value(trun::COMPOSITION)?.unwrap_or(0) as i32;
            if len > MAX_SAMPLE_LEN {
                return Err(Error::TooLarge {
                    at: self.at,
                    kind: *b"mdat",
                    got: len.into(),
                    max: MAX_SAMPLE_LEN.into(),
                });
            }
            let dts = next.saturating_sub(shift);
            if len > 0 {
                samples.push(Sample {
                    slot: self.slot,
                    description: self.defaults.description,
                    at: self.at,
                    len,
                    dts: MediaTime::from_ticks(dts, timescale),
                    pts: MediaTime::from_ticks(dts.saturating_add(composition.into()), timescale),
                    sync: sample_flags & NON_SYNC == 0,
                });
            }
            self.at = self.at.saturating_add(len.into());
            *next = next.saturating_add(duration.into());
        }
        Ok(())
    }
}

/// `sample_is_non_sync_sample` (8.8.3.1).
const NON_SYNC: u32 = 1 << 16;
