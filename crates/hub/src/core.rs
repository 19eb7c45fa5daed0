//! The part of a stream that is guarded by its lock: frame ring, containers, measurements.

use crate::counters::Counters;
use crate::gop::{Gop, Item, Tracks};
use crate::limits::{AUDIO_WINDOW, RingLimits};
use crate::ring::{Entry, Ring};
use crate::silence;
use crate::stat::{Rate, TrackStat};
use crate::stream::{EndReason, MuxId};
use crate::wait::WaitList;
use media::info::TrackInfo;
use media::{CodecId, Frame, MediaTime, Mux, Packet, Track, TrackId};
use parking_lot::Mutex;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

pub(crate) struct Core {
    limits: RingLimits,
    /// There is a publisher.
    pub leased: bool,
    /// Readers may come.
    pub live: bool,
    pub closed: Option<EndReason>,
    /// Who waits for the end without reading.
    pub enders: WaitList,
    gop: Gop,
    lanes: Vec<Lane>,
    stats: Vec<(TrackId, CodecId, TrackStat)>,
    rate: Rate,
    total_bytes: u64,
    last_dts: Option<MediaTime>,
    /// Packets of one container between muxer and ring; kept for its allocation.
    scratch: Vec<Packet>,
}

/// One container of the stream.
struct Lane {
    id: MuxId,
    mux: Box<dyn Mux>,
    ring: Arc<Mutex<Ring>>,
    /// Stays without readers.
    eager: bool,
}

/// What is left to do when the lock is released: wake, and free memory.
#[derive(Default)]
pub(crate) struct Effects {
    pub wakers: Vec<Waker>,
    pub entries: Vec<Entry>,
    pub items: Vec<Item>,
    pub evicted: u64,
}

impl Effects {
    /// Does it. Must be called without any lock of this crate.
    pub fn settle(&mut self, counters: &Counters) {
        counters.wakes.add(self.wakers.len() as u64);
        counters.bytes_evicted.add(std::mem::take(&mut self.evicted));
        self.wakers.drain(..).for_each(Waker::wake);
        self.entries.clear();
        self.items.clear();
    }
}

impl Core {
    pub fn new(limits: RingLimits, now: Instant) -> Self {
        Self {
            limits,
            leased: false,
            live: false,
            closed: None,
            enders: WaitList::default(),
            gop: Gop::new(limits),
            lanes: Vec::new(),
            stats: Vec::new(),
            rate: Rate::new(now),
            total_bytes: 0,
            last_dts: None,
            scratch: Vec::new(),
        }
    }

    pub fn tracks(&self) -> &Tracks {
        self.gop.tracks()
    }

    /// Decoding time of the newest frame.
    pub fn last_dts(&self) -> Option<MediaTime> {
        self.last_dts
    }

    /// A publisher's tracks are ready: they replace what was there, and frames of the publisher before are forgotten, since
    /// they and the new ones are no sequence that a decoder could follow.
    pub fn go_live(&mut self, tracks: Tracks, effects: &mut Effects) {
        self.live = true;
        let changed = *tracks != **self.gop.tracks();
        self.gop.restart(tracks, &mut effects.items);
        self.keep_stats_of_tracks();
        for (_, _, stat) in &mut self.stats {
            stat.loss = None;
        }
        if changed {
            self.announce_tracks(effects);
        }
    }

    /// A track of the publisher was added or changed.
    pub fn set_tracks(&mut self, tracks: Tracks, effects: &mut Effects) {
        if *tracks == **self.gop.tracks() {
            return;
        }
        self.gop.set_tracks(tracks, &mut effects.items);
        self.keep_stats_of_tracks();
        self.announce_tracks(effects);
    }

    /// Takes what the publisher reported about its tracks, in per cent.
    pub fn set_losses(&mut self, losses: &mut Vec<(TrackId, f32)>) {
        for (track, loss) in losses.drain(..) {
            if let Some((_, _, stat)) = self.stats.iter_mut().find(|(id, _, _)| *id == track) {
                stat.loss = Some(loss);
            }
        }
    }

    fn announce_tracks(&mut self, effects: &mut Effects) {
        let tracks = self.gop.tracks().clone();
        for lane in &mut self.lanes {
            lane.set_tracks(&tracks, &mut self.scratch);
            lane.publish(&mut self.scratch, effects);
        }
    }

    fn keep_stats_of_tracks(&mut self) {
        let old = std::mem::take(&mut self.stats);
        let stat_of = |track: &Track| {
            let known = old
                .iter()
                .find(|(id, codec, _)| (*id, *codec) == (track.id, track.codec));
            (
                track.id,
                track.codec,
                known.map_or_else(TrackStat::default, |(_, _, stat)| *stat),
            )
        };
        self.stats = self.gop.tracks().iter().map(stat_of).collect();
    }

    /// Runs the frames through all containers. Takes them out of `frames`. Returns how many of them, and of their bytes, came
    /// from the publisher.
    pub fn publish(&mut self, now: Instant, frames: &mut Vec<Frame>, effects: &mut Effects) -> (u64, u64) {
        let (mut received, mut bytes) = (0, 0);
        for frame in frames.iter() {
            if let Some((_, _, stat)) = self.stats.iter_mut().find(|(id, _, _)| *id == frame.track) {
                stat.add(frame);
            }
            if frame.track != silence::TRACK {
                received += 1;
                bytes += frame.data.len() as u64;
            }
            self.last_dts = self.last_dts.max(Some(frame.dts));
        }
        self.total_bytes += bytes;
        self.rate.add(now, bytes);
        for lane in &mut self.lanes {
            for frame in frames.iter() {
                lane.mux.write(frame, &mut self.scratch);
            }
            lane.publish(&mut self.scratch, effects);
        }
        for frame in frames.drain(..) {
            effects.evicted += self.gop.push(frame, &mut effects.items);
        }
        (received, bytes)
    }

    /// The packet ring of a container, which is attached if need be and then begins with the cached frames. `eager`: it
    /// stays without readers. The flag tells whether it was attached.
    pub fn attach(
        &mut self,
        id: MuxId,
        eager: bool,
        factory: impl FnOnce() -> Box<dyn Mux>,
        effects: &mut Effects,
    ) -> (Arc<Mutex<Ring>>, bool) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.id == id) {
            lane.eager |= eager;
            return (lane.ring.clone(), false);
        }
        let ring = Arc::new(Mutex::new(Ring::new(self.limits)));
        let mut lane = Lane {
            id,
            mux: factory(),
            ring: ring.clone(),
            eager,
        };
        if self.live {
            let (tracks, items) = self.gop.replay();
            lane.set_tracks(tracks, &mut self.scratch);
            // Nobody is attached yet who would need to be told.
            self.scratch.clear();
            for item in items {
                match item {
                    Item::Frame(frame) => lane.mux.write(frame, &mut self.scratch),
                    Item::Tracks(tracks) => {
                        lane.publish(&mut self.scratch, effects);
                        lane.set_tracks(tracks, &mut self.scratch);
                        lane.publish(&mut self.scratch, effects);
                    }
                }
            }
            lane.publish(&mut self.scratch, effects);
        }
        self.lanes.push(lane);
        (ring, true)
    }

    /// Removes a container that nobody needs. Returns its muxer, to be dropped outside the lock.
    pub fn detach_if_idle(&mut self, ring: &Arc<Mutex<Ring>>) -> Option<Box<dyn Mux>> {
        let index = self.lanes.iter().position(|lane| Arc::ptr_eq(&lane.ring, ring))?;
        // Readers join under this lock, so one that came meanwhile is seen here.
        let idle = !self.lanes[index].eager && ring.lock().readers() == 0;
        idle.then(|| self.lanes.swap_remove(index).mux)
    }

    /// Lets an eager container go with its last reader. Returns its ring.
    pub fn make_lazy(&mut self, id: MuxId) -> Option<Arc<Mutex<Ring>>> {
        let lane = self.lanes.iter_mut().find(|lane| lane.id == id)?;
        lane.eager = false;
        Some(lane.ring.clone())
    }

    pub fn is_attached(&self, id: MuxId) -> bool {
        self.lanes.iter().any(|lane| lane.id == id)
    }

    /// Ends the stream. Returns the number of containers that went with it.
    pub fn close(&mut self, reason: EndReason, effects: &mut Effects) -> usize {
        if self.closed.is_some() {
            return 0;
        }
        self.closed = Some(reason);
        self.enders.drain_into(&mut effects.wakers);
        self.gop.restart(Arc::new([]), &mut effects.items);
        let lanes = std::mem::take(&mut self.lanes);
        for lane in &lanes {
            lane.ring.lock().close(reason, &mut effects.wakers);
        }
        lanes.len()
    }

    pub fn track_infos(&self) -> Vec<TrackInfo> {
        let stat_of = |track: &Track| {
            self.stats
                .iter()
                .find(|(id, _, _)| *id == track.id)
                .map(|(_, _, stat)| *stat)
        };
        self.gop
            .tracks()
            .iter()
            .map(|track| stat_of(track).unwrap_or_default().info(track))
            .collect()
    }

    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    pub fn bytes_per_second(&self, now: Instant) -> u64 {
        self.rate.per_second(now)
    }
}

impl Lane {
    /// Tells the muxer; what attached readers need is in `out`, what new ones need in the ring.
    fn set_tracks(&mut self, tracks: &[Track], out: &mut Vec<Packet>) {
        self.mux.set_tracks(tracks, out);
        let video = tracks.iter().any(|track| track.kind() == media::MediaKind::Video);
        let window = if video { MediaTime::ZERO } else { AUDIO_WINDOW };
        self.ring.lock().set_preamble(self.mux.preamble(), window);
    }

    /// Moves packets into the ring.
    fn publish(&mut self, packets: &mut Vec<Packet>, effects: &mut Effects) {
        if packets.is_empty() {
            return;
        }
        let mut ring = self.ring.lock();
        for packet in packets.drain(..) {
            ring.push(packet, &mut effects.entries);
        }
        ring.take_wakers(&mut effects.wakers);
        effects.evicted += ring.take_evicted();
    }
}
