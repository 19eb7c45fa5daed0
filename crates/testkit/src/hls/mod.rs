//! Playlists of HTTP Live Streaming (RFC 8216bis), read strictly and checked against the rules that servers are held to.
//!
//! - [`Media::parse`], [`Master::parse`]: nothing that is not understood is let through.
//! - [`Media::check`]: the rules for one playlist.
//! - [`Media::check_after`]: the rules for a playlist that was read after another one of the same stream.
//! - [`Media::merge`]: what a player makes of a delta update.
//!
//! Rules are cited by their sections in draft-pantos-hls-rfc8216bis.

mod check;
mod parse;

pub use check::{Growth, Problem};

/// A media playlist. All times are in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// `EXT-X-VERSION`; 1 if it is absent.
    pub version: u64,
    /// `EXT-X-TARGETDURATION`, in seconds.
    pub target: u64,
    /// `EXT-X-MEDIA-SEQUENCE`: the number of the first segment.
    pub sequence: u64,
    /// `EXT-X-DISCONTINUITY-SEQUENCE`.
    pub discontinuity_sequence: u64,
    /// `EXT-X-INDEPENDENT-SEGMENTS`.
    pub independent: bool,
    /// `EXT-X-SERVER-CONTROL`.
    pub control: Option<Control>,
    /// `EXT-X-PART-INF`.
    pub part_target: Option<i64>,
    /// `EXT-X-SKIP`: segments left out of a delta update, at its front.
    pub skipped: u64,
    /// The segments that are listed.
    pub segments: Vec<Segment>,
    /// What is known of the segment that is being made: its parts, date, initialization and discontinuity.
    pub open: Segment,
    /// `EXT-X-PRELOAD-HINT` of the next part.
    pub hint: Option<String>,
    /// `EXT-X-ENDLIST`.
    pub ended: bool,
    /// Some duration has a fraction, which needs version 3.
    fractions: bool,
}

/// `EXT-X-SERVER-CONTROL` (4.4.3.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// `CAN-BLOCK-RELOAD`.
    pub block: bool,
    /// `CAN-SKIP-UNTIL`.
    pub skip_until: Option<i64>,
    /// `HOLD-BACK`.
    pub hold_back: Option<i64>,
    /// `PART-HOLD-BACK`.
    pub part_hold_back: Option<i64>,
}

/// A media segment and the tags that apply to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Its media sequence number.
    pub sequence: u64,
    /// `EXTINF`.
    pub duration: i64,
    /// Where it is.
    pub uri: String,
    /// `EXT-X-PROGRAM-DATE-TIME`, in milliseconds since 1970, if the tag stands before it.
    pub date: Option<i64>,
    /// `EXT-X-DISCONTINUITY` stands before it.
    pub discontinuity: bool,
    /// The URI of the `EXT-X-MAP` that applies.
    pub map: Option<String>,
    /// `EXT-X-PART`.
    pub parts: Vec<Part>,
}

/// A partial segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// `DURATION`.
    pub duration: i64,
    /// `URI`.
    pub uri: String,
    /// `INDEPENDENT=YES`.
    pub independent: bool,
}

/// A multivariant (master) playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Master {
    /// `EXT-X-VERSION`; 1 if it is absent.
    pub version: u64,
    /// `EXT-X-INDEPENDENT-SEGMENTS`.
    pub independent: bool,
    /// The variants.
    pub variants: Vec<Variant>,
}

/// A variant of a [`Master`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Where its media playlist is.
    pub uri: String,
    /// The attributes of `EXT-X-STREAM-INF`, quotes removed.
    pub attributes: Vec<(String, String)>,
}

impl Variant {
    /// An attribute's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Media {
    /// Length of all listed segments and parts, in microseconds.
    pub fn duration(&self) -> i64 {
        let open: i64 = self.open.parts.iter().map(|part| part.duration).sum();
        self.segments.iter().map(|segment| segment.duration).sum::<i64>() + open
    }

    /// The sequence number of the segment behind the last complete one.
    pub fn next_sequence(&self) -> u64 {
        self.sequence + self.skipped + self.segments.len() as u64
    }

    /// `_HLS_msn` and `_HLS_part` of the part that comes next.
    pub fn next_part(&self) -> (u64, usize) {
        (self.next_sequence(), self.open.parts.len())
    }

    /// The part with this number of this segment, if it is listed.
    pub fn part(&self, sequence: u64, index: usize) -> Option<&Part> {
        let segments = self.segments.iter();
        let parent = match segments.into_iter().find(|segment| segment.sequence == sequence) {
            Some(segment) => segment,
            None if sequence == self.next_sequence() => &self.open,
            None => return None,
        };
        parent.parts.get(index)
    }
}
