//! The texts of playlists (RFC 8216bis, section 4).

use crate::Options;
use crate::live::State;
use crate::name::{Form, Name, stamp};
use crate::segment::Segment;
use bytes::Bytes;
use container::mp4;
use flate2::Compression;
use flate2::write::GzEncoder;
use media::{MediaTime, Track};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

/// A text, and its compressed form once somebody took that.
#[derive(Debug)]
pub struct Text {
    plain: Bytes,
    gzip: OnceLock<Bytes>,
}

impl Text {
    pub(crate) fn new(text: String) -> Self {
        Self {
            plain: text.into(),
            gzip: OnceLock::new(),
        }
    }

    /// The text.
    pub fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// The text, compressed with gzip (RFC 1952).
    pub fn gzip(&self) -> &Bytes {
        self.gzip.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::with_capacity(self.plain.len() / 4), Compression::fast());
            // A vector takes everything.
            let written = encoder.write_all(&self.plain).and_then(|()| encoder.finish());
            written.unwrap_or_default().into()
        })
    }
}

/// Which text of one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub form: Form,
    pub low_latency: bool,
    pub skip: bool,
    pub delayed: bool,
}

/// Target durations from the end beyond which a delta update leaves segments out; the least that is allowed.
const SKIP_UNTIL: u64 = 6;

/// A media playlist of a state with at least one segment.
pub(crate) fn media(options: &Options, state: &State, kind: Kind) -> String {
    // What has ended is not behind any more: there is nothing to wait for.
    let behind = if kind.delayed && !state.ended {
        options.delay
    } else {
        0
    };
    let end = state.segments.len().saturating_sub(behind);
    let first = if kind.delayed {
        state.first_delayed
    } else {
        state.first
    };
    let first = state
        .segments
        .iter()
        .take(end)
        .filter(|segment| segment.sequence < first)
        .count();
    let segments: Vec<&Segment> = state
        .segments
        .range(first..end)
        .map(|segment| &**segment)
        .collect();
    let skipped = if kind.skip { skippable(state, &segments) } else { 0 };
    let mut out = String::with_capacity(1024);
    write_media(&mut out, options, state, kind, (&segments, first, skipped));
    out
}

/// How many segments from the front end more than the skip boundary before the end.
fn skippable(state: &State, segments: &[&Segment]) -> usize {
    let limit = micros(Duration::from_secs(state.target * SKIP_UNTIL));
    let mut after = state
        .open
        .iter()
        .flat_map(|open| &open.parts)
        .map(|part| part.duration)
        .sum_times();
    let mut count = segments.len();
    for segment in segments.iter().rev() {
        if after > limit {
            break;
        }
        after = after + segment.duration;
        count -= 1;
    }
    // All of those before the first one that is needed.
    count
}

fn write_media(
    out: &mut String,
    options: &Options,
    state: &State,
    kind: Kind,
    (segments, first, skipped): (&[&Segment], usize, usize),
) {
    let live_edge = |index: usize| -> MediaTime {
        let open = state
            .open
            .iter()
            .flat_map(|open| &open.parts)
            .map(|part| part.duration)
            .sum_times();
        segments[index..]
            .iter()
            .map(|segment| segment.duration)
            .sum_times()
            + open
    };
    let version = match kind {
        Kind { skip: true, .. } if skipped > 0 => 9,
        Kind { form: Form::Fmp4, .. } => 7,
        Kind { form: Form::Ts, .. } => 4,
    };
    line(out, format_args!("#EXTM3U"));
    line(out, format_args!("#EXT-X-VERSION:{version}"));
    line(out, format_args!("#EXT-X-TARGETDURATION:{}", state.target));
    let part_target = state.part_target.filter(|_| kind.low_latency);
    if let Some(target) = part_target {
        line(
            out,
            format_args!(
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={}.0,PART-HOLD-BACK={}",
                state.target * SKIP_UNTIL,
                Seconds(target + target + target)
            ),
        );
        line(
            out,
            format_args!("#EXT-X-PART-INF:PART-TARGET={}", Seconds(target)),
        );
    }
    let sequence = segments.first().map_or(0, |segment| segment.sequence);
    line(out, format_args!("#EXT-X-MEDIA-SEQUENCE:{sequence}"));
    // Each discontinuity stands before its segment; those of segments that are not listed any more are counted.
    let gone = state
        .segments
        .range(..first)
        .filter(|segment| segment.discontinuity)
        .count();
    let discontinuities = state.discontinuities + gone as u64;
    if discontinuities > 0 {
        line(
            out,
            format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuities}"),
        );
    }
    if segments.iter().all(|segment| segment.independent) {
        line(out, format_args!("#EXT-X-INDEPENDENT-SEGMENTS"));
    }
    if skipped > 0 {
        line(out, format_args!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}"));
    }
    let suffix = options.fmp4_suffix.as_str();
    let mut map = None;
    for (index, segment) in segments.iter().enumerate() {
        if kind.form == Form::Fmp4 && map != Some(segment.init.name) {
            map = Some(segment.init.name);
            if index >= skipped {
                if segment.discontinuity {
                    line(out, format_args!("#EXT-X-DISCONTINUITY"));
                }
                line(
                    out,
                    format_args!("#EXT-X-MAP:URI=\"{}\"", segment.init.name.text(suffix)),
                );
            }
        } else if segment.discontinuity && index >= skipped {
            line(out, format_args!("#EXT-X-DISCONTINUITY"));
        }
        if index < skipped {
            continue;
        }
        date(out, state.epoch, segment.start);
        // Parts are listed as long as players that are that far behind may want them (section 4.4.4.9).
        if part_target.is_some() && live_edge(index + 1) <= micros(Duration::from_secs(state.target * 3)) {
            for (number, part) in segment.parts.iter().enumerate() {
                part_line(out, stamp(segment.start), number, part, suffix);
            }
        }
        line(out, format_args!("#EXTINF:{},", Seconds(segment.duration)));
        let name = Name::Segment {
            form: kind.form,
            start: stamp(segment.start),
        };
        line(out, format_args!("{}", name.text(suffix)));
    }
    if state.ended {
        line(out, format_args!("#EXT-X-ENDLIST"));
        return;
    }
    if let Some(open) = state.open.as_ref().filter(|_| part_target.is_some()) {
        if let (Some(init), true) = (&state.init, !open.parts.is_empty())
            && map != Some(init.name)
        {
            line(out, format_args!("#EXT-X-DISCONTINUITY"));
            line(out, format_args!("#EXT-X-MAP:URI=\"{}\"", init.name.text(suffix)));
        }
        if let Some(part) = open.parts.first() {
            date(out, state.epoch, part.start);
        }
        for (number, part) in open.parts.iter().enumerate() {
            part_line(out, open.start, number, part, suffix);
        }
        let next = Name::Part {
            start: open.start,
            index: open.parts.len(),
        };
        line(
            out,
            format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}\"", next.text(suffix)),
        );
    }
}

fn part_line(out: &mut String, start: u64, index: usize, part: &crate::segment::Part, suffix: &str) {
    let name = Name::Part { start, index };
    let independent = if part.independent { ",INDEPENDENT=YES" } else { "" };
    line(
        out,
        format_args!(
            "#EXT-X-PART:DURATION={},URI=\"{}\"{independent}",
            Seconds(part.duration),
            name.text(suffix)
        ),
    );
}

/// The wall clock time of a media time, in UTC with milliseconds (section 4.4.4.6).
pub(crate) fn date(out: &mut String, epoch: Option<i64>, time: MediaTime) {
    let Some(epoch) = epoch else { return };
    let millis = u64::try_from(epoch.saturating_add(time.as_millis())).unwrap_or(0);
    let (year, month, day) = civil(millis / 86_400_000);
    let rest = millis % 86_400_000;
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, millis) = (rest / 1000 % 60, rest % 1000);
    line(
        out,
        format_args!(
            "#EXT-X-PROGRAM-DATE-TIME:{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        ),
    );
}

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar: days are counted from 1 March of year 0, so
/// that leap days come last, in cycles of 400 years (146,097 days).
pub(crate) fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (cycle, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + cycle * 400 + u64::from(month <= 2);
    (year, month, of_month)
}

/// What a master playlist says of its one variant.
#[derive(Clone, Debug)]
pub struct Variant<'a> {
    /// Where it is, relative to the master playlist.
    pub uri: &'a str,
    /// Its tracks.
    pub tracks: &'a [Track],
    /// Bits per second: the heaviest segment and the average.
    pub bandwidth: (u64, u64),
    /// Its container.
    pub form: Form,
}

/// A master playlist (multivariant playlist) with one variant (section 4.4.6).
pub fn master(variant: &Variant<'_>) -> String {
    let mut out = String::with_capacity(256);
    line(&mut out, format_args!("#EXTM3U"));
    let version = match variant.form {
        Form::Ts => 4,
        Form::Fmp4 => 7,
    };
    line(&mut out, format_args!("#EXT-X-VERSION:{version}"));
    line(&mut out, format_args!("#EXT-X-INDEPENDENT-SEGMENTS"));
    let (peak, average) = variant.bandwidth;
    let _ = write!(
        out,
        "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={}",
        peak.max(1),
        average.max(1)
    );
    let codecs = codecs(variant.tracks, variant.form);
    if !codecs.is_empty() {
        let _ = write!(out, ",CODECS=\"{codecs}\"");
    }
    if let Some(video) = variant.tracks.iter().find_map(Track::video) {
        if video.width > 0 && video.height > 0 {
            let _ = write!(out, ",RESOLUTION={}x{}", video.width, video.height);
        }
        if video.fps > 0.0 {
            let _ = write!(out, ",FRAME-RATE={:.3}", video.fps);
        }
    }
    out.push('\n');
    line(&mut out, format_args!("{}", variant.uri));
    out
}

/// The codecs of the tracks that this form carries, as `CODECS` names them (RFC 6381).
pub fn codecs(tracks: &[Track], form: Form) -> String {
    let carried = |track: &&Track| match form {
        Form::Ts => container::ts::carries(track.codec),
        Form::Fmp4 => mp4::carries(track.codec),
    };
    let names: Vec<String> = tracks
        .iter()
        .filter(carried)
        .filter_map(mp4::codec_string)
        .collect();
    names.join(",")
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a string does not fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

fn micros(duration: Duration) -> MediaTime {
    MediaTime::from_micros(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

/// Seconds with five decimals, as many as make rounding inaudible.
pub(crate) struct Seconds(pub MediaTime);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.as_micros().max(0) + 5;
        write!(f, "{}.{:05}", micros / 1_000_000, micros % 1_000_000 / 10)
    }
}

trait SumTimes {
    fn sum_times(self) -> MediaTime;
}

impl<I: Iterator<Item = MediaTime>> SumTimes for I {
    fn sum_times(self) -> MediaTime {
        self.fold(MediaTime::ZERO, |sum, time| sum + time)
    }
}
