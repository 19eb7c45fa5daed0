//! Fetching what one media playlist names, in its order, and taking it apart.

use super::decrypt::Decryptor;
use crate::meter::Meter;
use crate::metrics::HlsPullCounters;
use crate::pull::http::{Answer, Client, Error as HttpError};
use crate::session::ingest::container::{Demuxer, Event};
use bytes::{Bytes, BytesMut};
use hls::client::{ByteRange, Counters, Fetch, KEY_LEN, MAX_PLAYLIST, Segment, Session, Step, Timeline};
use media::{Frame, StreamKey, Track};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tracing::info;
use url::Url;

/// Longest segment in bytes: ten seconds at 50 Mbit/s.
const MAX_SEGMENT: u64 = 64 << 20;

/// Longest initialization section in bytes.
const MAX_MAP: u64 = 1 << 20;

/// What the lane brings, in order.
pub(super) enum Item {
    /// What follows comes from a new demuxer.
    NewDemuxer,
    /// The frames that follow are on this time line.
    Timeline(Timeline),
    TracksDeclared {
        video: bool,
        audio: bool,
    },
    Track(Track),
    Frame(Frame),
    Unsupported(String),
    /// Broken media was left out.
    Bad(String),
    /// A segment could not be had, or not be used, and is left out.
    Lost(String),
    /// Nothing more comes: the playlist has ended, or cannot be played on.
    End(Result<(), String>),
}

/// One media playlist.
pub(super) struct Lane {
    /// The stream, for log lines.
    pub key: StreamKey,
    pub session: Session,
    pub client: Client,
    pub meter: Arc<Meter>,
    pub counters: Arc<HlsPullCounters>,
    /// What was told of the session's counters already.
    pub told: Counters,
    pub items: mpsc::Sender<Vec<Item>>,
    /// Limit for playlists, keys and initialization sections.
    pub timeout: Duration,
    /// How long a segment may bring nothing.
    pub media_timeout: Duration,
}

/// Nobody wants the frames any more.
struct Stopped;

/// Why a segment is of no use.
enum Loss {
    Stopped,
    Reason(String),
}

/// What the segments are given to.
#[derive(Default)]
struct Demux {
    demuxer: Option<Demuxer>,
    /// The initialization section, for a new demuxer when a segment was cut off.
    map: Option<Bytes>,
    timeline: Option<Timeline>,
    /// The beginning of a segment, until it shows what it is.
    begin: BytesMut,
}

impl Lane {
    /// To the end of the playlist, or until nobody wants the frames.
    pub async fn run(mut self) {
        let mut demux = Demux::default();
        let end = self.follow(&mut demux).await;
        let end = match end {
            Ok(end) => end,
            Err(Stopped) => return,
        };
        let mut items = Vec::new();
        demux.flush(&mut items);
        items.push(Item::End(end));
        let _ = self.items.send(items).await;
    }

    async fn follow(&mut self, demux: &mut Demux) -> Result<Result<(), String>, Stopped> {
        loop {
            let step = match self.session.step(Instant::now()) {
                Ok(step) => step,
                Err(error) => return Ok(Err(error.to_string())),
            };
            let done = match &step {
                Step::Playlist(url) => self.playlist(url).await,
                Step::Key(url) => self.key(url).await,
                Step::Map(fetch) => match self.map(fetch).await {
                    Ok(map) => {
                        let mut items = Vec::new();
                        demux.begin_map(map, &mut items);
                        self.send(items).await?;
                        self.session.map_done();
                        Ok(())
                    }
                    Err(reason) => Err(reason),
                },
                Step::Segment(segment) => match self.segment(segment, demux).await {
                    Ok(()) => {
                        self.session.segment_done();
                        Ok(())
                    }
                    Err(Loss::Stopped) => return Err(Stopped),
                    Err(Loss::Reason(reason)) => {
                        let (stream, sequence) = (&self.key, segment.sequence);
                        info!(%stream, sequence, reason, "a segment was left out");
                        self.send(vec![Item::Lost(reason.clone())]).await?;
                        Err(reason)
                    }
                },
                Step::Wait(until) => {
                    sleep_until((*until).into()).await;
                    Ok(())
                }
                Step::Ended => return Ok(Ok(())),
            };
            if let Err(reason) = done
                && let Err(error) = self.session.failed(Instant::now(), &step, reason)
            {
                self.report();
                return Ok(Err(error.to_string()));
            }
            self.report();
        }
    }

    /// Tells and counts what has become of segments since the last call.
    fn report(&mut self) {
        let (now, told) = (self.session.counters(), self.told);
        self.told = now;
        let missed = now.missed.saturating_sub(told.missed);
        if missed > 0 {
            info!(stream = %self.key, missed, "segments left the playlist before they were fetched");
        }
        if now.restarts != told.restarts {
            info!(stream = %self.key, "the source counts its segments anew");
        }
        let lost = |counters: Counters| {
            [counters.missed, counters.gaps, counters.failed]
                .iter()
                .sum::<u64>()
        };
        let fetched = now.segments.saturating_sub(told.segments);
        self.counters.fetched.fetch_add(fetched, Ordering::Relaxed);
        let lost = lost(now).saturating_sub(lost(told));
        self.counters.lost.fetch_add(lost, Ordering::Relaxed);
    }

    async fn send(&self, items: Vec<Item>) -> Result<(), Stopped> {
        if items.is_empty() {
            return Ok(());
        }
        self.items.send(items).await.map_err(|_| Stopped)
    }

    /// Fetches the playlist for the session.
    pub async fn playlist(&mut self, url: &Url) -> Result<(), String> {
        let (url, text) = self.small(url, None, MAX_PLAYLIST as u64).await?;
        self.session
            .playlist(Instant::now(), &url, &text)
            .map_err(|error| error.to_string())
    }

    async fn key(&mut self, url: &Url) -> Result<(), String> {
        let (_, key) = self.small(url, None, KEY_LEN as u64).await?;
        self.session
            .key(url.clone(), &key)
            .map_err(|error| error.to_string())
    }

    async fn map(&mut self, fetch: &Fetch) -> Result<Bytes, String> {
        let (_, map) = self.small(&fetch.url, fetch.range, MAX_MAP).await?;
        let Some(decryption) = &fetch.decryption else {
            return Ok(map);
        };
        let decrypt = || {
            let mut decryptor = Decryptor::new(decryption)?;
            let mut plain = BytesMut::from(&decryptor.update(&map)?[..]);
            plain.extend_from_slice(&decryptor.finish()?);
            Ok(plain.freeze())
        };
        decrypt().map_err(|error: super::decrypt::Wrong| error.to_string())
    }

    /// A whole resource, and where it came from.
    async fn small(&mut self, url: &Url, range: Option<ByteRange>, max: u64) -> Result<(Url, Bytes), String> {
        let (meter, client) = (&self.meter, &mut self.client);
        let range = range.map(|range| (range.offset, range.length));
        let fetch = async {
            let answer = client.get(url, range, max).await?;
            let url = answer.url.clone();
            Ok((url, answer.whole().await?))
        };
        let fetched = timeout(self.timeout, fetch).await;
        let (url, whole) = fetched
            .map_err(|_| format!("no complete answer in {} s", self.timeout.as_secs_f32()))?
            .map_err(|error: HttpError| error.to_string())?;
        meter.add(whole.len() as u64);
        Ok((url, whole))
    }

    /// Fetches a segment, giving it to the demuxer as it comes.
    async fn segment(&mut self, segment: &Segment, demux: &mut Demux) -> Result<(), Loss> {
        let mut items = Vec::new();
        demux.begin_segment(segment.timeline, &mut items);
        self.send(items).await.map_err(|Stopped| Loss::Stopped)?;
        let mut answer = match self.answer(&segment.fetch).await {
            Err(error) if error.is_passing() => self.answer(&segment.fetch).await,
            other => other,
        }
        .map_err(|error| Loss::Reason(error.to_string()))?;
        let result = self.read(segment, &mut answer, demux).await;
        if result.is_err() {
            demux.cut_off();
        }
        result
    }

    async fn answer(&mut self, fetch: &Fetch) -> Result<Answer, HttpError> {
        let range = fetch.range.map(|range| (range.offset, range.length));
        let answer = self.client.get(&fetch.url, range, MAX_SEGMENT);
        timeout(self.timeout, answer)
            .await
            .unwrap_or(Err(HttpError::NoAnswer))
    }

    async fn read(&mut self, segment: &Segment, answer: &mut Answer, demux: &mut Demux) -> Result<(), Loss> {
        let told = |error: String| Loss::Reason(error);
        let decryption = segment.fetch.decryption.as_ref();
        let decryptor = decryption.map(Decryptor::new).transpose();
        let mut decryptor = decryptor.map_err(|error| told(error.to_string()))?;
        // What is slower than this will never catch up with a live source. The time in which there is no room does not count.
        let mut patience = self
            .media_timeout
            .saturating_add(segment.duration.min(MAX_DURATION) * SLOWEST);
        let mut items = Vec::new();
        loop {
            let asked = Instant::now();
            let data = timeout(self.media_timeout.min(patience), answer.data()).await;
            let data = data.map_err(|_| told("the segment comes too slowly".to_owned()))?;
            patience = patience.saturating_sub(asked.elapsed());
            let data = data.map_err(|error| told(error.to_string()))?;
            let is_end = data.is_none();
            self.meter.add(data.as_ref().map_or(0, Bytes::len) as u64);
            let plain = match (data, decryptor.take()) {
                (Some(data), None) => Ok(data),
                (Some(data), Some(mut running)) => {
                    let plain = running.update(&data);
                    decryptor = Some(running);
                    plain
                }
                (None, Some(running)) => running.finish(),
                (None, None) => Ok(Bytes::new()),
            };
            let plain = plain.map_err(|error| told(error.to_string()))?;
            demux
                .push(plain, is_end, &mut items)
                .map_err(|error| told(explained(error, decryption.is_some())))?;
            self.send(std::mem::take(&mut items))
                .await
                .map_err(|Stopped| Loss::Stopped)?;
            if is_end {
                return Ok(());
            }
        }
    }
}

/// A segment may take three times its duration.
const SLOWEST: u32 = 3;

/// Longest duration of a segment for that.
const MAX_DURATION: Duration = Duration::from_secs(60);

fn explained(error: String, encrypted: bool) -> String {
    if encrypted {
        format!("{error}; is the key wrong?")
    } else {
        error
    }
}

impl Demux {
    /// A new initialization section: a new demuxer.
    fn begin_map(&mut self, map: Bytes, items: &mut Vec<Item>) {
        self.flush(items);
        let mut demuxer = Demuxer::mp4();
        demuxer.push(map.clone());
        (self.demuxer, self.map) = (Some(demuxer), Some(map));
        items.push(Item::NewDemuxer);
    }

    fn begin_segment(&mut self, timeline: Timeline, items: &mut Vec<Item>) {
        self.begin.clear();
        if self.timeline == Some(timeline) {
            return;
        }
        self.timeline = Some(timeline);
        // The initialization section has come before.
        if self.map.is_none() {
            self.flush(items);
            self.demuxer = None;
        }
        items.push(Item::Timeline(timeline));
    }

    fn push(&mut self, bytes: Bytes, is_end: bool, items: &mut Vec<Item>) -> Result<(), String> {
        let bytes = if self.demuxer.is_some() {
            bytes
        } else {
            self.begin.extend_from_slice(&bytes);
            if self.begin.len() < ENOUGH && !is_end {
                return Ok(());
            }
            self.demuxer = Some(recognized(&self.begin)?);
            items.push(Item::NewDemuxer);
            self.begin.split().freeze()
        };
        if let Some(demuxer) = &mut self.demuxer {
            demuxer.push(bytes);
        }
        self.drain(items)
    }

    /// The segment was cut off. A box of MP4 that was would swallow the beginning of the next segment.
    fn cut_off(&mut self) {
        self.begin.clear();
        if let (Some(Demuxer::Mp4(_)), Some(map)) = (&self.demuxer, &self.map) {
            let mut demuxer = Demuxer::mp4();
            demuxer.push(map.clone());
            self.demuxer = Some(demuxer);
        }
    }

    /// What the demuxer still has.
    fn flush(&mut self, items: &mut Vec<Item>) {
        if let Some(demuxer) = &mut self.demuxer {
            demuxer.flush();
            // An error of what is at its end concerns nobody.
            let _ = self.drain(items);
        }
    }

    fn drain(&mut self, items: &mut Vec<Item>) -> Result<(), String> {
        let Some(demuxer) = &mut self.demuxer else {
            return Ok(());
        };
        while let Some(event) = demuxer.poll().map_err(|error| error.to_string())? {
            items.push(match event {
                Event::TracksDeclared { video, audio } => Item::TracksDeclared { video, audio },
                Event::Track(track) => Item::Track(track),
                Event::Frame(frame) => Item::Frame(frame),
                Event::Unsupported(what) => Item::Unsupported(what),
                Event::Bad(error) => Item::Bad(error.to_string()),
            });
        }
        Ok(())
    }
}

/// Bytes that show what a segment is: two packets of MPEG-TS.
const ENOUGH: usize = 2 * container::ts::PACKET_LEN;

/// The demuxer for a segment without an initialization section.
fn recognized(begin: &[u8]) -> Result<Demuxer, String> {
    let is_sync = |at: usize| begin.get(at).is_none_or(|byte| *byte == 0x47);
    let is_ts = begin.first() == Some(&0x47) && is_sync(container::ts::PACKET_LEN);
    let kind = begin.get(4..8).unwrap_or_default();
    const BOXES: [&[u8]; 7] = [b"ftyp", b"styp", b"moov", b"moof", b"sidx", b"emsg", b"prft"];
    if is_ts {
        Ok(Demuxer::ts())
    } else if BOXES.contains(&kind) {
        Ok(Demuxer::mp4())
    } else if begin.starts_with(b"ID3") || begin.first() == Some(&0xFF) {
        Err("segments of packed audio (elementary streams) are not supported".to_owned())
    } else {
        Err("the segment is neither MPEG-TS nor fragmented MP4".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_show_what_they_are() {
        let is = |begin: &[u8]| match recognized(begin) {
            Ok(Demuxer::Ts(_)) => "ts".to_owned(),
            Ok(Demuxer::Mp4(_)) => "mp4".to_owned(),
            Err(reason) => reason,
        };
        let mut packets = [0u8; 376];
        (packets[0], packets[188]) = (0x47, 0x47);
        assert_eq!(is(&packets), "ts");
        assert_eq!(is(&packets[..188]), "ts");
        packets[188] = 0;
        assert!(is(&packets).contains("neither"));
        assert_eq!(is(b"\0\0\0\x18styp"), "mp4");
        assert!(is(b"ID3\x04").contains("packed audio"));
        assert!(is(&[0xFF, 0xF1, 0x50]).contains("packed audio"));
        assert!(is(b"<html>").contains("neither"));
        assert!(is(b"").contains("neither"));
    }
}
