//! Following one media playlist (RFC 8216bis, section 6.3).

use super::playlist::{Encryption, Kind, Map, Media, MediaSegment, Playlist, parse, shortened};
use super::step::{Decryption, Fetch, KEY_LEN, Segment, Step, Timeline};
use super::{Error, Master};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// Most segments, and most reloads, that may fail in a row.
pub const MAX_FAILURES: u32 = 3;

/// Keys that are kept. A presentation changes its key from time to time, and sound and picture may have one each.
const MAX_KEYS: usize = 4;

/// How far from its end a live playlist is entered, in target durations (section 6.3.3).
const HOLD_BACK: u32 = 3;

/// Shortest and longest time between two loads of a playlist, whatever its target duration says.
const RELOAD: std::ops::RangeInclusive<Duration> = Duration::from_millis(250)..=Duration::from_secs(60);

/// What a session is told at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long the playlist may name nothing new when everything was fetched. At least three target durations are waited.
    pub media_timeout: Duration,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Segments fetched.
    pub segments: u64,
    /// Segments that the playlist no longer named when their turn came.
    pub missed: u64,
    /// Segments that the source marks as missing (`EXT-X-GAP`).
    pub gaps: u64,
    /// Segments that could not be had or used.
    pub failed: u64,
    /// How often the source began to count anew.
    pub restarts: u32,
}

/// What the first playlist is.
#[derive(Debug)]
pub enum Opened {
    /// A media playlist: its session.
    Media(Box<Session>),
    /// A master playlist: begin a session for each of these.
    Variant {
        /// The chosen variant.
        media: Url,
        /// Its sound, if that is a playlist of its own.
        audio: Option<Url>,
    },
}

/// Reads the first playlist, which was asked for at `asked` and came, after redirects, from `url`.
///
/// # Errors
///
/// It is none, or one that cannot be played.
pub fn open(now: Instant, asked: &Url, url: &Url, text: &[u8], options: Options) -> Result<Opened, Error> {
    match parse(text)? {
        Playlist::Master(master) => variant(&master, url),
        Playlist::Media(media) => {
            let mut session = Session::new(asked.clone(), options);
            session.asked_at = Some(now);
            session.take(now, url, media)?;
            Ok(Opened::Media(Box::new(session)))
        }
    }
}

fn variant(master: &Master, url: &Url) -> Result<Opened, Error> {
    let choice = master.choose()?;
    Ok(Opened::Variant {
        media: resolve(url, &choice.variant.uri)?,
        audio: choice.audio.map(|uri| resolve(url, uri)).transpose()?,
    })
}

/// Follows one media playlist.
#[derive(Debug)]
pub struct Session {
    url: Url,
    options: Options,
    /// Where the newest playlist came from, after redirects.
    base: Url,
    list: Option<Media>,
    /// The number of the segment that is fetched next. 0 until the playlist has a segment.
    next: u64,
    started: bool,
    /// The segment whose time line is `timeline`: the last one that was begun.
    begun: Option<u64>,
    timeline: Timeline,
    /// The initialization section that the demuxer has.
    loaded: Option<Arc<Map>>,
    keys: VecDeque<(Url, [u8; KEY_LEN])>,
    /// When the playlist was asked for last.
    asked_at: Option<Instant>,
    reload_at: Option<Instant>,
    /// Since when there is nothing to fetch.
    idle_since: Option<Instant>,
    /// The end of a playlist that is behind what was fetched, and how often it has moved since.
    behind: Option<(u64, u32)>,
    reload_failures: u32,
    segment_failures: u32,
    counters: Counters,
}

impl Session {
    /// A session that has no playlist yet.
    pub fn new(url: Url, options: Options) -> Self {
        Self {
            base: url.clone(),
            url,
            options,
            list: None,
            next: 0,
            started: false,
            begun: None,
            timeline: Timeline::default(),
            loaded: None,
            keys: VecDeque::new(),
            asked_at: None,
            reload_at: None,
            idle_since: None,
            behind: None,
            reload_failures: 0,
            segment_failures: 0,
            counters: Counters::default(),
        }
    }

    /// What to do next. Until that is answered, the answer stays the same.
    ///
    /// # Errors
    ///
    /// The source does not go on, or uses something that is not supported.
    pub fn step(&mut self, now: Instant) -> Result<Step, Error> {
        let due = self.reload_at.is_none_or(|time| now >= time);
        if self.list.is_none() || due && self.is_open() {
            self.asked_at = Some(now);
            return Ok(Step::Playlist(self.url.clone()));
        }
        if let Some(segment) = self.begin() {
            self.idle_since = None;
            return self.fetch(&segment);
        }
        if !self.is_open() {
            return Ok(Step::Ended);
        }
        let idle_since = *self.idle_since.get_or_insert(now);
        let patience = self.patience();
        let waited = now.saturating_duration_since(idle_since);
        if waited >= patience {
            return Err(Error::Stalled { waited });
        }
        let reload_at = self.reload_at.unwrap_or(now);
        Ok(Step::Wait(reload_at.min(idle_since + patience)))
    }

    /// Takes the playlist, which came, after redirects, from `url`.
    ///
    /// # Errors
    ///
    /// It is none, or no media playlist.
    pub fn playlist(&mut self, now: Instant, url: &Url, text: &[u8]) -> Result<(), Error> {
        match parse(text)? {
            Playlist::Media(media) => self.take(now, url, media),
            Playlist::Master(_) => Err(Error::NestedMaster),
        }
    }

    /// Takes the key that was asked for.
    ///
    /// # Errors
    ///
    /// It does not have 16 bytes.
    pub fn key(&mut self, url: Url, key: &[u8]) -> Result<(), Error> {
        let key = key.try_into().map_err(|_| Error::KeyLength { got: key.len() })?;
        if self.keys.len() == MAX_KEYS {
            self.keys.pop_front();
        }
        self.keys.push_back((url, key));
        Ok(())
    }

    /// The initialization section was given to the demuxer.
    pub fn map_done(&mut self) {
        self.loaded = self.current().and_then(|segment| segment.map.clone());
    }

    /// The segment was given to the demuxer.
    pub fn segment_done(&mut self) {
        self.next = self.next.saturating_add(1);
        self.segment_failures = 0;
        self.counters.segments = self.counters.segments.saturating_add(1);
    }

    /// What [`Self::step`] asked for cannot be had, or is of no use. A segment is left out; a playlist is asked for again.
    ///
    /// # Errors
    ///
    /// The source cannot be played without it, or it was not the first failure in a row.
    pub fn failed(&mut self, now: Instant, step: &Step, reason: String) -> Result<(), Error> {
        match step {
            Step::Playlist(_) => {
                self.reload_failures = self.reload_failures.saturating_add(1);
                if self.list.is_none() || self.reload_failures >= MAX_FAILURES {
                    let what = "the playlist";
                    return Err(Error::Failed { what, reason });
                }
                self.reload_at = Some(now + self.interval() / 2);
                Ok(())
            }
            Step::Key(_) => Err(Error::Failed {
                what: "the key",
                reason,
            }),
            Step::Map(_) => Err(Error::Failed {
                what: "the initialization section",
                reason,
            }),
            Step::Segment(_) => {
                self.next = self.next.saturating_add(1);
                self.segment_failures = self.segment_failures.saturating_add(1);
                self.counters.failed = self.counters.failed.saturating_add(1);
                if self.segment_failures >= MAX_FAILURES {
                    return Err(Error::Segments { reason });
                }
                Ok(())
            }
            Step::Wait(_) | Step::Ended => Ok(()),
        }
    }

    /// Whether the source is made as we watch. Not known before the first playlist.
    pub fn is_live(&self) -> bool {
        self.list.as_ref().is_some_and(Media::is_live)
    }

    /// The target duration; zero before the first playlist.
    pub fn target(&self) -> Duration {
        self.list.as_ref().map_or(Duration::ZERO, |list| list.target)
    }

    /// Totals so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How long the playlist may name nothing new.
    fn patience(&self) -> Duration {
        (self.interval() * HOLD_BACK).max(self.options.media_timeout)
    }

    /// Whether segments may still be added.
    fn is_open(&self) -> bool {
        self.list.as_ref().is_none_or(|list| !list.ended)
    }

    /// The target duration within bounds.
    fn interval(&self) -> Duration {
        self.target().clamp(*RELOAD.start(), *RELOAD.end())
    }

    fn take(&mut self, now: Instant, url: &Url, list: Media) -> Result<(), Error> {
        self.reload_failures = 0;
        self.base = url.clone();
        let old = self.list.replace(list);
        let Some(list) = &self.list else { return Ok(()) };
        let extent = |list: &Media| (list.sequence, list.end(), list.ended);
        let changed = old.is_none_or(|old| extent(&old) != extent(list));
        // Half of it when nothing has changed, so that the next segment is not seen late (section 6.3.4).
        let interval = if changed {
            self.interval()
        } else {
            self.interval() / 2
        };
        self.reload_at = Some(self.asked_at.unwrap_or(now) + interval.max(*RELOAD.start()));
        if list.segments.is_empty() {
            return Ok(());
        }
        if !self.started {
            self.started = true;
            self.next = list.entry();
        } else if list.sequence > self.next {
            // The window has moved past us.
            let entry = list.entry();
            self.counters.missed = self.counters.missed.saturating_add(entry - self.next);
            self.next = entry;
        }
        if self.has_restarted() {
            self.restart();
        }
        Ok(())
    }

    /// Whether a playlist that ends before what was fetched is that of a source that counts anew, and not an old one from a cache: it
    /// is far behind, or it was behind before and moves.
    fn has_restarted(&mut self) -> bool {
        let Some(list) = self.list.as_ref().filter(|list| list.end() < self.next) else {
            self.behind = None;
            return false;
        };
        let end = list.end();
        let length = list.segments.len() as u64;
        let moved = match self.behind {
            Some((before, moved)) if end > before => moved.saturating_add(1),
            Some((_, moved)) => moved,
            None => 0,
        };
        self.behind = Some((end, moved));
        end.saturating_add(length).saturating_add(1) < self.next || moved >= 2
    }

    fn restart(&mut self) {
        let Some(list) = &self.list else { return };
        self.next = list.entry();
        self.begun = None;
        self.loaded = None;
        self.behind = None;
        self.keys.clear();
        self.counters.restarts = self.counters.restarts.saturating_add(1);
        self.timeline = Timeline {
            restarts: self.counters.restarts,
            discontinuities: 0,
        };
    }

    fn current(&self) -> Option<&MediaSegment> {
        self.list.as_ref()?.segment(self.next)
    }

    /// The segment that is fetched next, with its time line in place. What the source marks as missing is passed over.
    fn begin(&mut self) -> Option<MediaSegment> {
        loop {
            let segment = self.current()?.clone();
            self.enter(&segment);
            if !segment.gap {
                return Some(segment);
            }
            self.next = self.next.saturating_add(1);
            self.counters.gaps = self.counters.gaps.saturating_add(1);
        }
    }

    /// Counts discontinuities. The playlist's own number of them is believed only where segments were missed: not every packager
    /// counts those that have left the playlist.
    fn enter(&mut self, segment: &MediaSegment) {
        if self.begun == Some(self.next) {
            return;
        }
        let Some(list) = &self.list else { return };
        let before = self.timeline.discontinuities;
        let visible = |from: u64| {
            let skipped = usize::try_from(from.saturating_sub(list.sequence)).unwrap_or(usize::MAX);
            let length = usize::try_from(self.next.saturating_sub(list.sequence)).unwrap_or(usize::MAX);
            let segments = list.segments.iter().take(length.saturating_add(1)).skip(skipped);
            segments.filter(|segment| segment.discontinuity).count() as u64
        };
        let number = match (self.begun, list.discontinuity_sequence) {
            (Some(begun), _) if begun.checked_add(1) == Some(self.next) => {
                before.saturating_add(u64::from(segment.discontinuity))
            }
            (_, Some(number)) => number.saturating_add(visible(list.sequence)),
            (Some(begun), None) => before.saturating_add(visible(begun.saturating_add(1))),
            (None, None) => visible(list.sequence),
        };
        if self.begun.is_some() && number != before {
            // A new demuxer needs it again.
            self.loaded = None;
        }
        self.timeline.discontinuities = number;
        self.begun = Some(self.next);
    }

    /// What is needed for the segment: key, initialization section, itself.
    fn fetch(&self, segment: &MediaSegment) -> Result<Step, Error> {
        if let Some(map) = segment
            .map
            .as_ref()
            .filter(|map| self.loaded.as_ref() != Some(map))
        {
            let decryption = match self.decryption(&map.encryption, None)? {
                Needed::Nothing => None,
                Needed::Key(url) => return Ok(Step::Key(url)),
                Needed::Decryption(decryption) => Some(decryption),
            };
            return Ok(Step::Map(Fetch {
                url: resolve(&self.base, &map.uri)?,
                range: map.range,
                decryption,
            }));
        }
        let decryption = match self.decryption(&segment.encryption, Some(self.next))? {
            Needed::Nothing => None,
            Needed::Key(url) => return Ok(Step::Key(url)),
            Needed::Decryption(decryption) => Some(decryption),
        };
        Ok(Step::Segment(Segment {
            fetch: Fetch {
                url: resolve(&self.base, &segment.uri)?,
                range: segment.range,
                decryption,
            },
            sequence: self.next,
            duration: segment.duration,
            timeline: self.timeline,
        }))
    }

    fn decryption(&self, encryption: &Encryption, sequence: Option<u64>) -> Result<Needed, Error> {
        match encryption {
            Encryption::None => Ok(Needed::Nothing),
            Encryption::Unsupported(method) => Err(Error::Unsupported {
                what: format!("encryption with {method}"),
            }),
            Encryption::Aes128 { uri, iv } => {
                let by_number = sequence.map(|number| u128::from(number).to_be_bytes());
                let iv = iv.or(by_number).ok_or(Error::MapWithoutIv)?;
                let url = resolve(&self.base, uri)?;
                let key = self.keys.iter().find(|(known, _)| *known == url);
                Ok(match key {
                    Some((_, key)) => Needed::Decryption(Decryption { key: *key, iv }),
                    None => Needed::Key(url),
                })
            }
        }
    }
}

enum Needed {
    Nothing,
    Key(Url),
    Decryption(Decryption),
}

impl Media {
    /// Whether it is watched from near its end.
    fn is_live(&self) -> bool {
        !self.ended && self.kind.is_none()
    }

    /// The number behind the last segment.
    fn end(&self) -> u64 {
        // Both are bounded far below.
        self.sequence.saturating_add(self.segments.len() as u64)
    }

    fn segment(&self, sequence: u64) -> Option<&MediaSegment> {
        let at = sequence.checked_sub(self.sequence)?;
        self.segments.get(usize::try_from(at).ok()?)
    }

    /// The number of the segment at which it is entered: three target durations from the end if it is live, else the first; or where
    /// `EXT-X-START` says, though not nearer to a live end (sections 4.4.2.2 and 6.3.3).
    fn entry(&self) -> u64 {
        let total: Duration = self.segments.iter().map(|segment| segment.duration).sum();
        let hold_back = self.target.saturating_mul(HOLD_BACK);
        let hold_back = self.hold_back.map_or(hold_back, |told| told.max(hold_back));
        let latest = total.saturating_sub(hold_back);
        let wanted = match self.start {
            Some(offset) if offset >= 0.0 => Duration::from_secs_f64(offset),
            Some(offset) => total.saturating_sub(Duration::from_secs_f64(-offset)),
            None if self.is_live() => latest,
            None => Duration::ZERO,
        };
        let wanted = if self.ended || self.kind == Some(Kind::Vod) {
            wanted
        } else {
            wanted.min(latest)
        };
        let mut begin = Duration::ZERO;
        let starts = self.segments.iter().map(|segment| {
            let start = begin;
            begin = begin.saturating_add(segment.duration);
            start
        });
        let before = starts.take_while(|start| *start <= wanted).count();
        self.sequence.saturating_add(before.saturating_sub(1) as u64)
    }
}

/// The absolute form of a URI of a playlist.
fn resolve(base: &Url, uri: &str) -> Result<Url, Error> {
    let url = base.join(uri).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| Error::Url { uri: shortened(uri) })
}

#[cfg(test)]
mod tests;
