//! What a player reads then: `moof` and `mdat`.

use super::boxes::{self, HEADER_LEN, put, put_full, tfhd, trun};
use super::{payload, timescale, track_number};
use bytes::{BufMut, Bytes, BytesMut};
use media::{CodecId, Frame, MediaTime, Track};

/// Most bytes of payload in one fragment: offsets in it are signed 32-bit numbers (`data_offset`, 14496-12, 8.8.8.3), and half of
/// their range is left for the head.
pub const MAX_FRAGMENT_LEN: usize = 1 << 30;

/// What one fragment holds of one track.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The track. Its number and timescale are those it has in [`super::init`], where it must have been, too.
    pub track: &'a Track,
    /// Frames of this track in decoding order.
    pub frames: &'a [&'a Frame],
    /// Decoding time at which the next frame begins. The last frame lasts until then.
    pub end: MediaTime,
}

/// Appends a fragment to `out`: one piece with `moof` and the header of `mdat`, then the frames' own payloads, shared. The runs
/// stand in the order given, each as one `traf` with one `trun`; runs without frames are left out, and nothing is appended if none
/// has any. Equal input makes equal bytes.
///
/// Times before 0 become 0, since decoding times in fragments are unsigned; presentation times stay what they are. Returns how
/// many frames were left out because the fragment would be longer than [`MAX_FRAGMENT_LEN`]. Frames that have nothing but parameter
/// sets and delimiters are left out, too, and do not count; the frame before lasts longer.
pub fn fragment(sequence: u32, runs: &[Run<'_>], out: &mut Vec<Bytes>) -> usize {
    let (mut payloads, mut len, mut left_out) = (Vec::new(), 0, 0);
    let mut samples = Vec::with_capacity(runs.iter().map(|run| run.frames.len()).sum());
    let mut ends = Vec::with_capacity(runs.len());
    for run in runs {
        let from = samples.len();
        let mut clock = Clock::new(run.track);
        for frame in run.frames {
            if frame.data.len() > MAX_FRAGMENT_LEN - len {
                left_out += 1;
                continue;
            }
            let size = payload::put(run.track.codec, &frame.data, &mut payloads);
            if size > 0 {
                len += size;
                samples.push(clock.sample(run.track.codec, frame, size));
            }
        }
        let end = clock.ticks(run.end);
        set_durations(&mut samples[from..], end);
        ends.push(samples.len());
    }
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let tables: Vec<_> = runs
        .iter()
        .zip(starts.zip(&ends))
        .filter_map(|(run, (from, to))| Table::new(run.track, &samples[from..*to]))
        .collect();
    if !tables.is_empty() {
        let mut head = BytesMut::with_capacity(head_len(&tables));
        put_head(sequence, &tables, &mut head);
        out.push(head.freeze());
        out.append(&mut payloads);
    }
    left_out
}

/// Each sample lasts until the next one begins, the last one until `end`.
fn set_durations(samples: &mut [Sample], end: i64) {
    let mut next = end;
    for sample in samples.iter_mut().rev() {
        let duration = next.saturating_sub(sample.start).max(0);
        sample.duration = u32::try_from(duration).unwrap_or(u32::MAX);
        next = sample.start;
    }
}

/// Media time in ticks of a track, never below 0 and never backwards.
pub(super) struct Clock {
    timescale: u32,
    newest: i64,
}

impl Clock {
    /// A clock at 0.
    pub(super) fn new(track: &Track) -> Self {
        Self {
            timescale: timescale(track),
            newest: 0,
        }
    }

    fn ticks(&self, time: MediaTime) -> i64 {
        time.as_ticks(self.timescale).max(self.newest)
    }

    /// The next frame, of which `size` bytes are written. Its duration is 0.
    pub(super) fn sample(&mut self, codec: CodecId, frame: &Frame, size: usize) -> Sample {
        let start = self.ticks(frame.dts);
        self.newest = start;
        let offset = frame.pts.as_ticks(self.timescale).saturating_sub(start);
        // All frames of sound can be decoded alone, as far as a container knows.
        let sync = frame.key || codec.kind() == media::MediaKind::Audio;
        Sample {
            start,
            duration: 0,
            // Bounded by MAX_FRAGMENT_LEN.
            size: size as u32,
            flags: if sync { SYNC } else { NO_SYNC },
            composition: offset.clamp(i32::MIN.into(), i32::MAX.into()) as i32,
        }
    }
}

/// One frame in a `trun`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Decoding time, in ticks; not below 0.
    start: i64,
    /// In ticks.
    pub(super) duration: u32,
    /// In bytes.
    size: u32,
    /// 14496-12, 8.8.3.1.
    flags: u32,
    /// Presentation time less decoding time, in ticks.
    composition: i32,
}

/// What one `traf` says, and where: values that all samples share stand in `tfhd`.
pub(super) struct Table<'a> {
    track_number: u32,
    samples: &'a [Sample],
    start: i64,
    duration: Option<u32>,
    size: Option<u32>,
    flags: Flags,
    composition: bool,
}

#[derive(Clone, Copy)]
enum Flags {
    Same(u32),
    FirstOther { first: u32, others: u32 },
    Each,
}

impl<'a> Table<'a> {
    /// The table of these samples; `None` if there are none.
    pub(super) fn new(track: &Track, samples: &'a [Sample]) -> Option<Self> {
        let (first, others) = samples.split_first()?;
        let same = |value: fn(&Sample) -> u32| {
            let all = others.iter().all(|sample| value(sample) == value(first));
            all.then(|| value(first))
        };
        let flags = match others.split_first() {
            None => Flags::Same(first.flags),
            Some((second, rest)) if rest.iter().any(|sample| sample.flags != second.flags) => Flags::Each,
            Some((second, _)) if second.flags == first.flags => Flags::Same(first.flags),
            Some((second, _)) => Flags::FirstOther {
                first: first.flags,
                others: second.flags,
            },
        };
        Some(Self {
            track_number: track_number(track),
            samples,
            start: first.start,
            duration: same(|sample| sample.duration),
            size: same(|sample| sample.size),
            flags,
            composition: samples.iter().any(|sample| sample.composition != 0),
        })
    }

    fn payload_len(&self) -> usize {
        self.samples.iter().map(|sample| sample.size as usize).sum()
    }

    /// `tfhd` flags: what stands in it, and that offsets count from the `moof`.
    fn tfhd_flags(&self) -> u32 {
        let defaults = flag(self.duration.is_some(), tfhd::DURATION)
            | flag(self.size.is_some(), tfhd::SIZE)
            | flag(!matches!(self.flags, Flags::Each), tfhd::FLAGS);
        tfhd::DEFAULT_BASE_IS_MOOF | defaults
    }

    /// `trun` flags: what stands in it.
    fn trun_flags(&self) -> u32 {
        trun::DATA_OFFSET
            | flag(matches!(self.flags, Flags::FirstOther { .. }), trun::FIRST_FLAGS)
            | flag(self.duration.is_none(), trun::DURATION)
            | flag(self.size.is_none(), trun::SIZE)
            | flag(matches!(self.flags, Flags::Each), trun::FLAGS)
            | flag(self.composition, trun::COMPOSITION)
    }

    /// Bytes of the `traf`. Each flag stands for a field of four bytes.
    fn len(&self) -> usize {
        let fields = |flags: u32| flags.count_ones() as usize * 4;
        let tfhd_len = FULL_LEN + 4 + fields(self.tfhd_flags() & !tfhd::DEFAULT_BASE_IS_MOOF);
        let tfdt_len = FULL_LEN + 8;
        let row = fields(self.trun_flags() & trun::PER_SAMPLE);
        let trun_len =
            FULL_LEN + 4 + fields(self.trun_flags() & !trun::PER_SAMPLE) + row * self.samples.len();
        HEADER_LEN + tfhd_len + tfdt_len + trun_len
    }

    /// Appends the `traf`. Its payloads begin at `data_offset`, counted from the start of the `moof`.
    fn put(&self, data_offset: usize, out: &mut BytesMut) {
        put(out, b"traf", |out| {
            put_full(out, b"tfhd", 0, self.tfhd_flags(), |out| {
                out.put_u32(self.track_number);
                self.duration.iter().for_each(|duration| out.put_u32(*duration));
                self.size.iter().for_each(|size| out.put_u32(*size));
                match self.flags {
                    Flags::Same(flags) | Flags::FirstOther { others: flags, .. } => out.put_u32(flags),
                    Flags::Each => {}
                }
            });
            put_full(out, b"tfdt", 1, 0, |out| out.put_u64(self.start.unsigned_abs()));
            // Version 1 has signed composition offsets (8.8.8.2).
            put_full(out, b"trun", 1, self.trun_flags(), |out| {
                out.put_u32(self.samples.len() as u32);
                // Head and payloads are bounded by MAX_FRAGMENT_LEN.
                out.put_u32(data_offset as u32);
                if let Flags::FirstOther { first, .. } = self.flags {
                    out.put_u32(first);
                }
                for sample in self.samples {
                    if self.duration.is_none() {
                        out.put_u32(sample.duration);
                    }
                    if self.size.is_none() {
                        out.put_u32(sample.size);
                    }
                    if matches!(self.flags, Flags::Each) {
                        out.put_u32(sample.flags);
                    }
                    if self.composition {
                        out.put_i32(sample.composition);
                    }
                }
            });
        });
    }
}

/// Bytes that [`put_head`] appends.
fn head_len(tables: &[Table<'_>]) -> usize {
    moof_len(tables) + HEADER_LEN
}

fn moof_len(tables: &[Table<'_>]) -> usize {
    HEADER_LEN + (FULL_LEN + 4) + tables.iter().map(Table::len).sum::<usize>()
}

/// Appends `moof` and the header of `mdat`; the payloads, one table after the other, are to follow.
pub(super) fn put_head(sequence: u32, tables: &[Table<'_>], out: &mut BytesMut) {
    let at = out.len();
    let mut data_offset = head_len(tables);
    boxes::put(out, b"moof", |out| {
        put_full(out, b"mfhd", 0, 0, |out| out.put_u32(sequence));
        for table in tables {
            table.put(data_offset, out);
            data_offset += table.payload_len();
        }
    });
    debug_assert_eq!(out.len() - at, moof_len(tables));
    let mdat_len = HEADER_LEN + tables.iter().map(Table::payload_len).sum::<usize>();
    out.put_u32(mdat_len as u32);
    out.put_slice(b"mdat");
}

/// Longest head of a fragment with one sample: every default in `tfhd`, the composition offset in `trun`.
pub(super) const MAX_HEAD_OF_ONE: usize = (HEADER_LEN + FULL_LEN + 4)
    + HEADER_LEN
    + (FULL_LEN + 16)
    + (FULL_LEN + 8)
    + (FULL_LEN + 12)
    + HEADER_LEN;

const fn flag(set: bool, flag: u32) -> u32 {
    if set { flag } else { 0 }
}

/// Length of a `FullBox` without content.
const FULL_LEN: usize = HEADER_LEN + 4;

/// `sample_depends_on` 2 (no other), `sample_is_non_sync_sample` 0.
const SYNC: u32 = 2 << 24;
/// `sample_depends_on` 1 (others), `sample_is_non_sync_sample` 1.
const NO_SYNC: u32 = 1 << 24 | 1 << 16;
