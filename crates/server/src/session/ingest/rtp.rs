//! From RTP packets to the hub: what an RTSP publisher and an RTSP pull have in common.

use super::Feed;
use crate::app::App;
use crate::link::Granted;
use crate::metrics::RtpCounters;
use bytes::Bytes;
use hub::{Closed, PublishError};
use media::MediaKind;
use rtp::demux::{Demuxer, Event, Options};
use rtp::sdp::Media;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tracing::warn;

/// How often the sender is told what arrived (RFC 3550, section 6.2: five seconds).
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Feeds one stream.
pub struct Ingest {
    feed: Feed,
    demuxer: Demuxer,
    next_report: Instant,
    counts_loss: bool,
    /// A packet came. What a description promises is no stream yet: players come when media does.
    started: bool,
    counters: Arc<RtpCounters>,
    /// What was told to `counters` already.
    counted: Counts,
}

/// Packets of all tracks: received, lost, late, twice, strays.
type Counts = [u64; 5];

impl Ingest {
    /// Takes the right to write to a granted stream, and reads those tracks that `media` describes and that were `chosen`.
    ///
    /// # Errors
    ///
    /// Somebody else writes to it, or it is closed.
    pub fn new(
        now: Instant,
        granted: &Granted,
        app: &App,
        media: &[Media],
        chosen: impl Fn(usize) -> bool,
        options: Options,
    ) -> Result<Self, PublishError> {
        let mut feed = Feed::new(granted, app.link.clone())?;
        let demuxer = Demuxer::chosen(media, chosen, options);
        declare(&mut feed, now, &demuxer);
        Ok(Self {
            feed,
            demuxer,
            next_report: now + REPORT_INTERVAL,
            counts_loss: !options.limits.is_in_order(),
            started: false,
            counters: app.counters.rtp.clone(),
            counted: [0; 5],
        })
    }

    /// Says which media sections will really come, and how, before the first packet does: a publisher is let in before it sets up
    /// its tracks.
    pub fn receive(
        &mut self,
        now: Instant,
        media: &[Media],
        chosen: impl Fn(usize) -> bool,
        options: Options,
    ) {
        self.counts_loss = !options.limits.is_in_order();
        self.count();
        self.counted = [0; 5];
        self.demuxer = Demuxer::chosen(media, chosen, options);
        declare(&mut self.feed, now, &self.demuxer);
    }

    /// Takes an RTP packet of a media section. Nothing is published before [`Self::flush`].
    pub fn rtp(&mut self, now: Instant, section: usize, packet: Bytes) {
        self.started = true;
        if let Err(error) = self.demuxer.rtp(now, section, packet) {
            self.feed.bad(&error);
        }
    }

    /// Takes an RTCP packet of a media section. Returns whether the sender says goodbye for it.
    pub fn rtcp(&mut self, now: Instant, section: usize, packet: &Bytes) -> bool {
        match self.demuxer.rtcp(now, section, packet) {
            Ok(bye) => bye,
            Err(error) => {
                self.feed.bad(&error);
                false
            }
        }
    }

    /// Says which RTP time of a media section is the beginning (RTP-Info).
    pub fn anchor(&mut self, section: usize, timestamp: u32) {
        self.demuxer.anchor(section, timestamp);
    }

    /// Publishes what is complete.
    ///
    /// # Errors
    ///
    /// The stream was closed.
    pub fn flush(&mut self, now: Instant) -> Result<(), Closed> {
        if !self.started {
            return Ok(());
        }
        while let Some(event) = self.demuxer.poll(now) {
            match event {
                Event::Frame(frame) => self.feed.frame(frame),
                Event::Track(track) => self.feed.track(now, track)?,
                Event::Bad(error) => self.feed.bad(&error),
                Event::Unsupported(what) => {
                    warn!(stream = %self.feed.key(), what, "not supported, left out")
                }
            }
        }
        self.feed.flush(now)
    }

    /// Gives up waiting for what is late, and decides about waiting for tracks.
    ///
    /// # Errors
    ///
    /// The stream was closed.
    pub fn poll(&mut self, now: Instant) -> Result<(), Closed> {
        self.flush(now)?;
        if self.started {
            self.feed.poll(now)?;
        }
        Ok(())
    }

    /// When [`Self::poll`] or [`Self::reports`] must be called.
    pub fn deadline(&self) -> Instant {
        let tracks = self.feed.deadline().filter(|_| self.started);
        [tracks, self.demuxer.deadline()]
            .into_iter()
            .flatten()
            .fold(self.next_report, Instant::min)
    }

    /// Receiver reports that are due: the media section and the packet. Tells the hub about losses, too.
    pub fn reports(&mut self, now: Instant) -> Vec<(usize, Bytes)> {
        if now < self.next_report {
            return Vec::new();
        }
        self.next_report = now + REPORT_INTERVAL;
        self.count();
        // Over TCP nothing is lost, and ZLM shows no figure (api.md, section 2.2).
        if self.counts_loss {
            let publisher = self.feed.publisher();
            for (track, lost, expected) in self.demuxer.losses() {
                publisher.set_loss(track, lost, expected);
            }
        }
        self.demuxer.reports(now)
    }

    /// Adds what came since the last call to the counters of the server.
    fn count(&mut self) {
        let mut counts = [0; 5];
        for stats in self.demuxer.stats() {
            let track = [
                stats.received,
                stats.lost,
                stats.late,
                stats.duplicate,
                stats.stray,
            ];
            for (sum, count) in counts.iter_mut().zip(track) {
                *sum += count;
            }
        }
        let RtpCounters {
            received,
            lost,
            late,
            duplicate,
            stray,
            unsent: _,
        } = &*self.counters;
        for (at, counter) in [received, lost, late, duplicate, stray].into_iter().enumerate() {
            counter.fetch_add(counts[at].saturating_sub(self.counted[at]), Ordering::Relaxed);
        }
        self.counted = counts;
    }
}

fn declare(feed: &mut Feed, now: Instant, demuxer: &Demuxer) {
    let has = |kind| demuxer.kinds().any(|found| found == kind);
    feed.tracks_declared(now, has(MediaKind::Video), has(MediaKind::Audio));
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.count();
    }
}
