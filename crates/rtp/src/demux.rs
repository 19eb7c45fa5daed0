//! From the packets of a session to tracks and frames: order, time, payload formats and decoder configurations put together.

use crate::clock::{self, Align};
use crate::format::Format;
use crate::order::Order;
use crate::packet;
use crate::payload::{self, Input, Unit, Unpacker};
use crate::reorder::Limits;
use crate::rtcp::{self, ReceiverReport, Rtcp};
use crate::sdp::Media;
use crate::source::{Received, Source as Arrivals, Stats};
use bytes::{Bytes, BytesMut};
use media::codec::source::{self, Ready, Source};
use media::frame::Wire;
use media::{CodecId, Frame, MediaKind, MediaTime, Track, TrackId};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// How a session is received.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Frames keep the packets that carried them, for players of the same protocol (`rtsp.directProxy`).
    pub direct: bool,
    /// How long late packets are waited for.
    pub limits: Limits,
    /// Our source in the reports of the first track; that of the next track is the next number.
    pub ssrc: u32,
}

/// What came of the packets.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A track appeared, or what is known about it changed. Comes before the first frame that needs it.
    Track(Track),
    /// A frame of a track that was announced.
    Frame(Frame),
    /// Something was left out.
    Bad(Error),
    /// A media section that is not carried, and why. Once for each.
    Unsupported(String),
}

/// What is wrong with a packet or with what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not RTP.
    #[error(transparent)]
    Packet(#[from] packet::Error),
    /// Not RTCP.
    #[error(transparent)]
    Control(#[from] rtcp::Error),
    /// The payload format.
    #[error("{codec}: {source}")]
    Payload {
        /// Name of the codec.
        codec: &'static str,
        /// What is wrong.
        source: payload::Error,
    },
    /// The codec's bit stream.
    #[error("{codec}: {source}")]
    Codec {
        /// Name of the codec.
        codec: &'static str,
        /// What is wrong.
        source: source::Error,
    },
    /// A packet of a media section that is not carried.
    #[error("a packet of media section {0}, which is not carried")]
    Section(usize),
}

/// Most packets that are kept for a frame which is not complete yet. A frame of 16 MiB has 12,000 of them at 1,400 bytes.
const MAX_WIRE: usize = 16 * 1024;

/// Most bytes of them: a frame as long as may be, with the headers of its packets.
const MAX_WIRE_LEN: usize = payload::MAX_UNIT_LEN + (payload::MAX_UNIT_LEN >> 2);

/// Reads all tracks of one session.
pub struct Demuxer {
    options: Options,
    /// By media section; `None` for those that are not carried.
    lanes: Vec<Option<Lane>>,
    align: Align,
    events: VecDeque<Event>,
    units: Vec<Unit>,
}

struct Lane {
    id: TrackId,
    kind: MediaKind,
    clock_rate: u32,
    arrivals: Arrivals,
    unpacker: Unpacker,
    codec: Source,
    order: Option<Order>,
    /// The description that frames' packets are to be read by, if they are kept.
    wire: Option<Arc<str>>,
    kept: Kept,
    announced: Option<Track>,
}

impl Demuxer {
    /// A demuxer for these media sections, in the order that packets name them by.
    pub fn new(media: &[Media], options: Options) -> Self {
        Self::chosen(media, |_| true, options)
    }

    /// The same for those of the sections that were `chosen`, by their places: the others were not set up, and nothing comes for
    /// them.
    pub fn chosen(media: &[Media], chosen: impl Fn(usize) -> bool, options: Options) -> Self {
        let mut events = VecDeque::new();
        let mut lanes: Vec<Option<Lane>> = Vec::new();
        let mut rates = Vec::new();
        for (place, section) in media.iter().enumerate() {
            if !chosen(place) {
                lanes.push(None);
                continue;
            }
            let id = rates.len() as u8;
            let lane = Lane::new(TrackId(id), section, options);
            match &lane {
                Ok(lane) => rates.push(clock::Track {
                    clock_rate: lane.clock_rate,
                    leads: lane.kind == MediaKind::Video,
                }),
                Err(why) => events.push_back(Event::Unsupported(why.clone())),
            }
            lanes.push(lane.ok());
        }
        let mut demuxer = Self {
            options,
            lanes,
            align: Align::new(&rates),
            events,
            units: Vec::new(),
        };
        for lane in demuxer.lanes.iter_mut().flatten() {
            demuxer.events.extend(lane.announce().map(Event::Track));
        }
        demuxer
    }

    /// The kinds of the tracks that are carried.
    pub fn kinds(&self) -> impl Iterator<Item = MediaKind> {
        self.lanes.iter().flatten().map(|lane| lane.kind)
    }

    /// Takes an RTP packet of a media section.
    ///
    /// # Errors
    ///
    /// It is none, or not expected. It is left out.
    pub fn rtp(&mut self, now: Instant, section: usize, bytes: Bytes) -> Result<(), Error> {
        self.lane(section)?.arrivals.push(now, bytes)?;
        self.take(now, section);
        Ok(())
    }

    /// Takes an RTCP packet of a media section. Returns whether the sender says goodbye.
    ///
    /// # Errors
    ///
    /// It is none. What could be read counts.
    pub fn rtcp(&mut self, now: Instant, section: usize, bytes: &[u8]) -> Result<bool, Error> {
        let mut bye = false;
        let id = usize::from(self.lane(section)?.id.0);
        for report in Rtcp::parse(bytes) {
            match report? {
                Rtcp::SenderReport(report) => {
                    // Those of other sources say nothing about this track.
                    if self.lane(section)?.arrivals.sender_report(now, &report) {
                        self.align.report(id, report.ntp, report.rtp);
                    }
                }
                Rtcp::Bye { ssrcs } => {
                    let arrivals = &mut self.lane(section)?.arrivals;
                    bye |= arrivals.ssrc().is_some_and(|ssrc| ssrcs.contains(&ssrc));
                    ssrcs.into_iter().for_each(|ssrc| arrivals.bye(ssrc));
                }
                Rtcp::ReceiverReport(_) | Rtcp::Description(_) | Rtcp::Other { .. } => {}
            }
        }
        Ok(bye)
    }

    /// Says which RTP time of a media section is the beginning, the same moment for all (RTP-Info).
    pub fn anchor(&mut self, section: usize, timestamp: u32) {
        if let Some(Some(lane)) = self.lanes.get(section) {
            self.align.anchor(usize::from(lane.id.0), timestamp);
        }
    }

    /// What is complete; `None` means drained.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        if self.events.is_empty() && self.deadline().is_some_and(|deadline| now >= deadline) {
            for section in 0..self.lanes.len() {
                self.take(now, section);
            }
        }
        self.events.pop_front()
    }

    /// Takes the packets of a media section that are in order now, as they come: what came first begins the time line.
    fn take(&mut self, now: Instant, section: usize) {
        let Some(Some(lane)) = self.lanes.get_mut(section) else {
            return;
        };
        let index = usize::from(lane.id.0);
        while let Some(Received { packet, gap, restart }) = lane.arrivals.pop(now) {
            if restart {
                // What nobody read ends on its own time line; the others drop what they hold.
                if let Unpacker::Opaque(unpacker) = &mut lane.unpacker {
                    unpacker.flush(&mut self.units);
                }
                for unit in self.units.drain(..) {
                    let wire = lane.kept.take(0);
                    let pts = self.align.media_time(now, index, unit.timestamp);
                    lane.unit(unit, pts, wire, &mut self.events);
                }
                self.align.restart(index);
            }
            let ticks = self.align.ticks(index, packet.header().timestamp);
            if gap && !crate::mux::is_passed_only(lane.codec.codec()) {
                // The unpacker drops the frame that lost packets.
                lane.kept.clear();
            }
            lane.kept.push(packet.bytes());
            let input = Input {
                payload: packet.payload(),
                marker: packet.header().marker,
                timestamp: ticks,
                gap,
            };
            let result = lane.unpacker.push(input, &mut self.units);
            for unit in self.units.drain(..) {
                // The packet that ended it by its time begins the next one.
                let behind = if unit.timestamp == ticks {
                    0
                } else {
                    1 + lane.unpacker.held_back()
                };
                let wire = lane.kept.take(behind);
                let pts = self.align.media_time(now, index, unit.timestamp);
                lane.unit(unit, pts, wire, &mut self.events);
            }
            if lane.unpacker.dropped() || result.is_err() && lane.kind == MediaKind::Audio {
                lane.kept.clear();
            } else if result.is_err() {
                // What came before was dropped.
                lane.kept.take(1);
            }
            if let Err(source) = result {
                let codec = lane.codec.codec().name();
                self.events
                    .push_back(Event::Bad(Error::Payload { codec, source }));
            }
        }
    }

    /// When [`Self::poll`] may have something although nothing came: a late packet is given up.
    pub fn deadline(&self) -> Option<Instant> {
        self.lanes
            .iter()
            .flatten()
            .filter_map(|lane| lane.arrivals.deadline())
            .min()
    }

    /// A receiver report for each track that was heard: media section and packet.
    pub fn reports(&mut self, now: Instant) -> Vec<(usize, Bytes)> {
        let ours = self.options.ssrc;
        let report = |(section, lane): (usize, &mut Option<Lane>)| {
            let lane = lane.as_mut()?;
            let report = ReceiverReport {
                ssrc: ours.wrapping_add(u32::from(lane.id.0)),
                reports: vec![lane.arrivals.receiver_block(now)?],
            };
            let mut out = BytesMut::new();
            report.write(CNAME, &mut out);
            Some((section, out.freeze()))
        };
        self.lanes.iter_mut().enumerate().filter_map(report).collect()
    }

    /// Packets lost and packets expected since the beginning, for each track.
    pub fn losses(&self) -> impl Iterator<Item = (TrackId, u64, u64)> {
        self.lanes.iter().flatten().map(|lane| {
            let stats = lane.arrivals.stats();
            (lane.id, stats.lost, stats.received + stats.lost)
        })
    }

    /// Counts of each track's packets.
    pub fn stats(&self) -> impl Iterator<Item = Stats> {
        self.lanes.iter().flatten().map(|lane| lane.arrivals.stats())
    }

    fn lane(&mut self, section: usize) -> Result<&mut Lane, Error> {
        let lane = self.lanes.get_mut(section).and_then(Option::as_mut);
        lane.ok_or(Error::Section(section))
    }
}

/// Our canonical name, of no meaning to others (RFC 3550, section 6.5.1).
pub(crate) const CNAME: &str = "tidegate";

impl Lane {
    fn new(id: TrackId, section: &Media, options: Options) -> Result<Self, String> {
        let format = Format::of(section).ok_or_else(|| format!("a media section of {}", section.protocol))?;
        let unpacker = Unpacker::new(&format).map_err(|why| why.to_string())?;
        let mut codec = Source::new(format.codec);
        let initial = format.initial();
        if let media::TrackParams::Audio(audio) = initial.params {
            codec.set_audio(audio);
        }
        if let Some(config) = initial.config.as_ref().or(unpacker.config()) {
            // A broken one is left out; the frames will bring a better one, or the track never gets ready.
            let _ = codec.set_config(config);
        }
        let passed_only = crate::mux::is_passed_only(format.codec);
        let wire = (options.direct || passed_only).then(|| Arc::from(section.section()));
        let arrivals = Arrivals::new(format.clock_rate, options.limits).accept(&[format.payload_type]);
        let orders = matches!(format.codec, CodecId::H264 | CodecId::H265);
        let order = orders.then(|| {
            let mut order = Order::new(format.clock_rate);
            order.set_depth(codec.reorder());
            order
        });
        Ok(Self {
            id,
            kind: format.codec.kind(),
            clock_rate: format.clock_rate,
            arrivals,
            unpacker,
            codec,
            order,
            kept: Kept::new(wire.is_some()),
            wire,
            announced: None,
        })
    }

    fn unit(&mut self, unit: Unit, pts: MediaTime, wire: Option<Wire>, events: &mut VecDeque<Event>) {
        let codec = self.codec.codec().name();
        let bad = |source| Event::Bad(Error::Codec { codec, source });
        if let Some(config) = self.unpacker.take_config()
            && let Err(error) = self.codec.set_config(&config)
        {
            events.push_back(bad(error));
        }
        let ready = if crate::mux::is_passed_only(self.codec.codec()) {
            // Every picture of Motion JPEG is whole; of what is not known, nothing else can be said.
            Ready {
                data: Bytes::new(),
                key: true,
            }
        } else {
            match self.codec.frame(unit.data, false, false) {
                Ok(Some(ready)) => ready,
                Ok(None) => return,
                Err(error) => return events.push_back(bad(error)),
            }
        };
        if let Some(track) = self.announce() {
            if let Some(order) = &mut self.order {
                order.set_depth(self.codec.reorder());
            }
            events.push_back(Event::Track(track));
        }
        let dts = match &mut self.order {
            None => pts,
            Some(order) => {
                let ahead = unit.timestamp - order.push(unit.timestamp);
                pts - MediaTime::from_ticks(ahead, self.clock_rate)
            }
        };
        if self.announced.is_some() {
            events.push_back(Event::Frame(Frame {
                track: self.id,
                dts,
                pts,
                key: ready.key,
                data: ready.data,
                wire,
            }));
        }
    }

    /// The track, if it is ready and differs from what was announced.
    fn announce(&mut self) -> Option<Track> {
        let (codec, config, params) = (self.codec.codec(), self.codec.config(), self.codec.params());
        if let Some(known) = &self.announced
            && (known.codec, known.config.as_ref(), &known.params) == (codec, config, &params)
        {
            return None;
        }
        let track = Track {
            id: self.id,
            codec,
            config: config.cloned(),
            params,
            wire: self.wire.clone(),
        };
        if !track.ready() {
            return None;
        }
        self.announced = Some(track.clone());
        Some(track)
    }
}

/// The packets of the frame that is not complete yet.
#[derive(Default)]
struct Kept {
    /// They are wanted.
    on: bool,
    packets: Vec<Bytes>,
    /// Bytes of the packets.
    len: usize,
    /// Some were too many; the frame goes without.
    over: bool,
}

impl Kept {
    fn new(on: bool) -> Self {
        Self {
            on,
            ..Self::default()
        }
    }

    fn push(&mut self, packet: &Bytes) {
        if !self.on {
            return;
        }
        if self.packets.len() >= MAX_WIRE || self.len + packet.len() > MAX_WIRE_LEN {
            self.clear();
            self.over = true;
        }
        self.len += packet.len();
        self.packets.push(packet.clone());
    }

    /// The packets of a frame that is complete: all but the last `behind`, which are of the next one.
    fn take(&mut self, behind: usize) -> Option<Wire> {
        if !self.on {
            return None;
        }
        let count = self.packets.len().saturating_sub(behind);
        let wire: Wire = self.packets.drain(..count).collect();
        self.len = self.packets.iter().map(Bytes::len).sum();
        (!std::mem::take(&mut self.over)).then_some(wire)
    }

    fn clear(&mut self) {
        self.packets.clear();
        self.len = 0;
        self.over = false;
    }
}
