//! Totals of the process, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// One reading of all counters. Gauges go up and down, the others only up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Gauge: streams in the registry.
    pub streams: u64,
    /// Gauge: attached readers of all streams, counted or not.
    pub readers: u64,
    /// Gauge: containers being made, over all streams.
    pub muxers: u64,
    /// Frames accepted from publishers.
    pub frames_in: u64,
    /// Payload bytes of those.
    pub bytes_in: u64,
    /// Frames not accepted: unknown, surplus or never ready tracks, audio that is switched off, video before its first key
    /// frame, overflow of the cache before readiness.
    pub frames_dropped: u64,
    /// Repaired jumps of publishers' time lines (`protocol.modify_stamp`).
    pub time_jumps: u64,
    /// How often a reader fell off its ring.
    pub lags: u64,
    /// Packets that such readers missed.
    pub packets_lagged: u64,
    /// Bytes that rings dropped because of their limits.
    pub bytes_evicted: u64,
    /// Wake-ups of waiting readers.
    pub wakes: u64,
}

/// The live counters behind [`Totals`].
#[derive(Default)]
pub(crate) struct Counters {
    pub streams: Counter,
    pub readers: Counter,
    pub muxers: Counter,
    pub frames_in: Counter,
    pub bytes_in: Counter,
    pub frames_dropped: Counter,
    pub time_jumps: Counter,
    pub lags: Counter,
    pub packets_lagged: Counter,
    pub bytes_evicted: Counter,
    pub wakes: Counter,
}

impl Counters {
    pub fn read(&self) -> Totals {
        Totals {
            streams: self.streams.get(),
            readers: self.readers.get(),
            muxers: self.muxers.get(),
            frames_in: self.frames_in.get(),
            bytes_in: self.bytes_in.get(),
            frames_dropped: self.frames_dropped.get(),
            time_jumps: self.time_jumps.get(),
            lags: self.lags.get(),
            packets_lagged: self.packets_lagged.get(),
            bytes_evicted: self.bytes_evicted.get(),
            wakes: self.wakes.get(),
        }
    }
}

/// A number that threads count up and down. It orders nothing else, hence relaxed.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        if count != 0 {
            self.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub fn sub(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
