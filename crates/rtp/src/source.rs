//! What one track receives: which source it follows, its packets in order, its statistics.
//!
//! After every [`Source::push`] and at [`Source::deadline`], take packets with [`Source::pop`] until it has none.

use std::mem;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::Packet;
use crate::packet;
use crate::reorder::{Counters, Limits, Reorder};
use crate::report::{MAX_MISORDER, Receiver};
use crate::rtcp::{NtpTime, ReportBlock, SenderReport};

/// One track as it is received.
///
/// It follows one source (SSRC) at a time. Over a transport that keeps the order ([`Limits::in_order`]), whose channel only the
/// sender writes to, that is the first to come. Otherwise anyone may send to the port, so a source is followed when two of its
/// packets fit together (the probation of RFC 3550, appendix A.1); the first ones are held until then, not lost. Another source
/// takes over when several of its packets came in a row while the old one was silent, as when a camera restarts.
#[derive(Debug)]
pub struct Source {
    clock_rate: u32,
    limits: Limits,
    accept: Option<Vec<u8>>,
    followed: Option<Followed>,
    candidate: Option<Candidate>,
    reorder: Reorder,
    /// SSRC, wall clock and arrival of a report that came before its source was followed.
    early_report: Option<(u32, NtpTime, Instant)>,
    /// SSRC of the last packet that [`Self::pop`] gave.
    given: Option<u32>,
    /// Of the sources followed before this one.
    received_before: u64,
    stray: u64,
    switches: u64,
}

impl Source {
    /// A track that has received nothing. `clock_rate`: ticks of its timestamps in one second.
    pub fn new(clock_rate: u32, limits: Limits) -> Self {
        Self {
            clock_rate,
            limits,
            accept: None,
            followed: None,
            candidate: None,
            reorder: Reorder::new(limits),
            early_report: None,
            given: None,
            received_before: 0,
            stray: 0,
            switches: 0,
        }
    }

    /// Takes packets of these payload types alone. Without this, of all.
    #[must_use]
    pub fn accept(mut self, payload_types: &[u8]) -> Self {
        self.accept = Some(payload_types.to_vec());
        self
    }

    /// Takes a packet that came now.
    ///
    /// # Errors
    ///
    /// It is not an RTP packet. The track is as before.
    pub fn push(&mut self, now: Instant, bytes: Bytes) -> Result<(), packet::Error> {
        let packet = Packet::parse(bytes)?;
        let header = packet.header();
        if self
            .accept
            .as_ref()
            .is_some_and(|accept| !accept.contains(&header.payload_type))
        {
            self.stray += 1;
            return Ok(());
        }
        match &mut self.followed {
            Some(followed) if followed.receiver.ssrc() == header.ssrc => {
                followed.heard = Some(now);
                self.drop_candidate();
                self.take(now, packet);
            }
            _ => self.push_other(now, packet),
        }
        Ok(())
    }

    /// The next packet in order. `None`: wait for the next packet or [`Self::deadline`].
    pub fn pop(&mut self, now: Instant) -> Option<Received> {
        let (packet, gap) = self.reorder.pop(now)?;
        let ssrc = packet.header().ssrc;
        let restart = self.given.replace(ssrc).is_some_and(|given| given != ssrc);
        Some(Received { packet, gap, restart })
    }

    /// When [`Self::pop`] has a packet if none comes until then. `None`: not before one comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.reorder.deadline()
    }

    /// Takes a sender report. Says whether it is of the source that is followed, or may be of the one that will be.
    pub fn sender_report(&mut self, now: Instant, report: &SenderReport) -> bool {
        match &mut self.followed {
            Some(followed) if followed.receiver.ssrc() == report.ssrc => {
                followed.receiver.sender_report(now, report.ntp);
                true
            }
            followed => {
                self.early_report = Some((report.ssrc, report.ntp, now));
                followed.is_none()
            }
        }
    }

    /// A source said goodbye: another one need not wait for its silence.
    pub fn bye(&mut self, ssrc: u32) {
        if let Some(followed) = &mut self.followed
            && followed.receiver.ssrc() == ssrc
        {
            followed.heard = None;
        }
    }

    /// What to report about the source, and the beginning of the next interval. `None` while none is followed.
    pub fn receiver_block(&mut self, now: Instant) -> Option<ReportBlock> {
        self.followed.as_mut()?.receiver.block(now)
    }

    /// The source that is followed.
    pub fn ssrc(&self) -> Option<u32> {
        self.followed.as_ref().map(|followed| followed.receiver.ssrc())
    }

    /// Packets held because one before them is missing. At most [`Limits::max_packets`].
    pub fn held(&self) -> usize {
        self.reorder.held()
    }

    /// Counts since the beginning.
    pub fn stats(&self) -> Stats {
        let receiver = self.followed.as_ref().map(|followed| &followed.receiver);
        let Counters {
            lost,
            duplicate,
            late,
            reordered,
            resets,
            odd,
        } = *self.reorder.counters();
        Stats {
            received: self.received_before + receiver.map_or(0, Receiver::received),
            lost,
            duplicate,
            late,
            reordered,
            resets,
            switches: self.switches,
            stray: self.stray + odd,
            loss: receiver.map_or(0.0, Receiver::loss),
            jitter: receiver.map_or(Duration::ZERO, Receiver::jitter),
        }
    }

    fn take(&mut self, now: Instant, packet: Packet) {
        if let Some(followed) = &mut self.followed {
            followed.receiver.packet(now, packet.header());
        }
        self.reorder.push(now, packet);
    }

    /// Takes a packet of a source that is not followed.
    fn push_other(&mut self, now: Instant, packet: Packet) {
        let ssrc = packet.header().ssrc;
        if self
            .candidate
            .as_ref()
            .is_some_and(|candidate| candidate.ssrc != ssrc)
        {
            self.drop_candidate();
        }
        let candidate = self.candidate.get_or_insert_with(|| Candidate::new(ssrc));
        self.stray += candidate.push(now, packet);
        let enough = match (&self.followed, self.limits.is_in_order()) {
            (None, true) => true,
            (None, false) => candidate.packets.len() >= PROBATION,
            (Some(_), true) => candidate.packets.len() >= TAKEOVER,
            (Some(followed), false) => candidate.packets.len() >= TAKEOVER && followed.is_silent(now),
        };
        if enough && let Some(candidate) = self.candidate.take() {
            self.follow(candidate);
        }
    }

    /// Follows the candidate from now on.
    fn follow(&mut self, candidate: Candidate) {
        let mut receiver = Receiver::new(candidate.ssrc, self.clock_rate);
        if let Some((_, ntp, at)) = self.early_report.take_if(|(ssrc, ..)| *ssrc == candidate.ssrc) {
            receiver.sender_report(at, ntp);
        }
        let heard = candidate.packets.last().map(|(at, _)| *at);
        if let Some(old) = self.followed.replace(Followed { receiver, heard }) {
            self.received_before += old.receiver.received();
            self.switches += 1;
            self.reorder.restart();
        }
        let mut packets = candidate.packets;
        // The lowest number has to be first: what is below the first is late.
        if let Some((_, first)) = packets.first() {
            let first = first.header().sequence;
            packets.sort_by_key(|(_, packet)| packet.header().sequence.wrapping_sub(first) as i16);
        }
        for (at, packet) in packets {
            self.take(at, packet);
        }
    }

    fn drop_candidate(&mut self) {
        if let Some(candidate) = self.candidate.take() {
            self.stray += candidate.packets.len() as u64;
        }
    }
}

/// A packet in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The packet.
    pub packet: Packet,
    /// What came before it is not what the sender sent before it: packets are missing, or the sequence began anew.
    pub gap: bool,
    /// The first of another source (and so a gap): its timestamps have nothing to do with those before
    /// ([`crate::clock::Align::restart`]).
    pub restart: bool,
}

/// Counts of packets of one track, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Came from sources that were followed; duplicates and late ones included.
    pub received: u64,
    /// Given up.
    pub lost: u64,
    /// Came twice and were dropped the second time.
    pub duplicate: u64,
    /// Came after they had been given up, and were dropped.
    pub late: u64,
    /// Came behind a later one, but in time.
    pub reordered: u64,
    /// Times the sequence began anew; switches of the source included.
    pub resets: u64,
    /// Times another source took over.
    pub switches: u64,
    /// Dropped: of other sources or payload types, or with a sequence number that does not fit.
    pub stray: u64,
    /// Share lost in the interval before the last [`Source::receiver_block`], 0.0 to 1.0.
    pub loss: f32,
    /// Interarrival jitter now.
    pub jitter: Duration,
}

#[derive(Debug)]
struct Followed {
    receiver: Receiver,
    /// When its last packet came; `None` after a goodbye.
    heard: Option<Instant>,
}

impl Followed {
    fn is_silent(&self, now: Instant) -> bool {
        self.heard
            .is_none_or(|heard| now.saturating_duration_since(heard) >= SILENCE)
    }
}

/// A source that may be followed next, and its packets in the order in which they came.
#[derive(Debug)]
struct Candidate {
    ssrc: u32,
    packets: Vec<(Instant, Packet)>,
    bytes: usize,
}

impl Candidate {
    const fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            packets: Vec::new(),
            bytes: 0,
        }
    }

    /// Holds a packet that fits those held; if it does not, holds it alone. Returns how many packets that dropped.
    fn push(&mut self, now: Instant, packet: Packet) -> u64 {
        let mut dropped = 0;
        let len = packet.bytes().len();
        let sequence = packet.header().sequence;
        if let Some((_, last)) = self.packets.last() {
            let step = sequence.wrapping_sub(last.header().sequence) as i16;
            if step == 0 {
                return 1;
            }
            if step.unsigned_abs() > MAX_MISORDER
                || self.packets.len() >= MAX_HELD
                || self.bytes + len > MAX_HELD_BYTES
            {
                dropped = mem::take(&mut self.packets).len() as u64;
                self.bytes = 0;
            }
        }
        self.bytes += len;
        self.packets.push((now, packet));
        dropped
    }
}

/// Packets that fit together before a source is believed (RFC 3550, appendix A.1: `MIN_SEQUENTIAL`).
const PROBATION: usize = 2;

/// Packets of another source in a row before it takes over.
const TAKEOVER: usize = 4;

/// How long the old source must have been silent. More than the pause between two pictures, and less than a viewer bears.
const SILENCE: Duration = Duration::from_millis(500);

// What may wait for the end of that silence: the picture with which the new source begins should be in it.
const MAX_HELD: usize = 512;
const MAX_HELD_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Header;
    use bytes::BytesMut;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        max_packets: 32,
        max_delay: Duration::from_millis(100),
    };

    fn packet(ssrc: u32, sequence: u16) -> Bytes {
        let mut out = BytesMut::new();
        let header = Header {
            marker: false,
            payload_type: 96,
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc,
        };
        header.write(&mut out);
        out.freeze()
    }

    struct Bench {
        start: Instant,
        source: Source,
    }

    impl Bench {
        fn new(limits: Limits) -> Self {
            Self {
                start: Instant::now(),
                source: Source::new(8000, limits),
            }
        }

        /// What comes out when packets of this source come at this millisecond: `-` is a gap, `!` another source.
        #[track_caller]
        fn at(&mut self, millis: u64, ssrc: u32, sequences: &[u16], expected: &str) {
            let now = self.start + Duration::from_millis(millis);
            let mut out = Vec::new();
            for &sequence in sequences {
                self.source.push(now, packet(ssrc, sequence)).unwrap();
                while let Some(Received { packet, gap, restart }) = self.source.pop(now) {
                    let sign = ["", "-", "?", "!"][usize::from(gap) + 2 * usize::from(restart)];
                    out.push(format!("{sign}{}", packet.header().sequence));
                }
            }
            assert_eq!(out.join(" "), expected);
        }
    }

    #[test]
    fn the_first_packets_are_not_lost_by_the_probation() {
        let mut bench = Bench::new(LIMITS);
        bench.at(0, 1, &[65_535], "");
        bench.at(1, 1, &[65_534], "65534 65535");
        bench.at(2, 1, &[0, 2, 1], "0 1 2");
        assert_eq!(bench.source.ssrc(), Some(1));
        let stats = bench.source.stats();
        assert_eq!(
            (stats.received, stats.lost, stats.reordered, stats.stray),
            (5, 0, 1, 0)
        );
    }

    #[test]
    fn strays_do_not_pass_the_probation() {
        let mut bench = Bench::new(LIMITS);
        bench.at(0, 1, &[5], "");
        bench.at(0, 2, &[5, 5], "");
        bench.at(0, 2, &[900], "");
        bench.at(0, 1, &[6], "");
        bench.at(0, 1, &[7], "6 7");
        assert_eq!(bench.source.stats().stray, 4);
        bench.at(1, 2, &[6, 7, 8, 9, 10, 11], "");
        bench.at(1, 1, &[8], "8");
        assert_eq!(bench.source.stats().stray, 10);
    }

    #[test]
    fn over_tcp_the_first_packet_is_believed() {
        let mut bench = Bench::new(Limits::in_order());
        bench.at(0, 1, &[7], "7");
        bench.at(0, 2, &[7, 8, 9], "");
        bench.at(0, 2, &[10], "!7 8 9 10");
    }

    #[test]
    fn another_source_takes_over_when_the_old_one_is_silent() {
        let mut bench = Bench::new(LIMITS);
        bench.at(0, 1, &[1, 2, 4], "1 2");
        bench.at(10, 2, &[1000, 1001, 1002, 1003], "");
        bench.at(499, 2, &[1004], "-4");
        bench.at(500, 2, &[1005], "!1000 1001 1002 1003 1004 1005");
        bench.at(501, 1, &[5], "");
        bench.at(502, 2, &[1006], "1006");
        let stats = bench.source.stats();
        assert_eq!(
            (stats.received, stats.switches, stats.resets, stats.stray),
            (10, 1, 1, 1)
        );
    }

    #[test]
    fn what_waits_for_the_silence_of_another_is_bounded() {
        let mut bench = Bench::new(LIMITS);
        bench.at(0, 1, &[1, 2], "1 2");
        let mut check = |payload: usize, most: usize| {
            let mut held = 0;
            for sequence in 0..2000 {
                let mut bytes = BytesMut::from(&packet(2, sequence)[..]);
                bytes.resize(bytes.len() + payload, 0);
                bench.source.push(bench.start, bytes.freeze()).unwrap();
                held = held.max(bench.source.candidate.as_ref().unwrap().packets.len());
            }
            assert_eq!(held, most);
            bench.at(0, 1, &[], "");
        };
        check(0, MAX_HELD);
        check(60_000, MAX_HELD_BYTES / 60_012);
    }

    #[test]
    fn after_a_goodbye_nobody_waits() {
        let mut bench = Bench::new(LIMITS);
        bench.at(0, 1, &[1, 2], "1 2");
        bench.source.bye(9);
        bench.at(1, 2, &[5, 6, 7, 8], "");
        bench.source.bye(1);
        bench.at(2, 2, &[9], "!5 6 7 8 9");
    }

    #[test]
    fn other_payload_types_are_dropped() {
        let mut source = Source::new(8000, Limits::in_order()).accept(&[97, 0]);
        let now = Instant::now();
        source.push(now, packet(1, 1)).unwrap();
        assert_eq!(source.pop(now), None);
        assert_eq!(source.stats().stray, 1);
        let mut source = Source::new(8000, Limits::in_order()).accept(&[96]);
        source.push(now, packet(1, 1)).unwrap();
        assert!(source.pop(now).is_some());
    }

    #[test]
    fn what_is_no_packet_is_an_error() {
        let mut source = Source::new(8000, LIMITS);
        let error = source
            .push(Instant::now(), Bytes::from_static(&[0; 20]))
            .unwrap_err();
        assert_eq!(error, packet::Error::Version(0));
    }

    #[test]
    fn reports_are_of_the_followed_source() {
        let mut bench = Bench::new(LIMITS);
        let report = |ssrc| SenderReport {
            ssrc,
            ntp: NtpTime(0xb44d_b705_2000_0000),
            ..SenderReport::default()
        };
        assert_eq!(bench.source.receiver_block(bench.start), None);
        // It comes before the first packet.
        assert!(bench.source.sender_report(bench.start, &report(1)));
        bench.at(0, 1, &[1, 2], "1 2");
        assert!(!bench.source.sender_report(bench.start, &report(2)));
        let block = bench
            .source
            .receiver_block(bench.start + Duration::from_secs(1))
            .unwrap();
        assert_eq!(
            (block.ssrc, block.last_sr, block.delay_since_last_sr),
            (1, 0xb705_2000, 1 << 16)
        );
        assert_eq!(block.highest_sequence, 2);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_without_a_trace(
            packets in prop::collection::vec((0u32..3, 0u16..50, 0u64..300, 0u8..20), 0..300), in_order: bool,
        ) {
            let limits = if in_order { Limits::in_order() } else { LIMITS };
            let mut source = Source::new(90_000, limits);
            let mut now = Instant::now();
            let (mut pushed, mut popped) = (0, 0);
            for (ssrc, sequence, millis, what) in packets {
                now += Duration::from_millis(millis);
                let sequence = if what == 0 { sequence.wrapping_mul(1311) } else { sequence };
                source.push(now, packet(ssrc, sequence)).unwrap();
                pushed += 1;
                while source.pop(now).is_some() {
                    popped += 1;
                }
                if what == 1 {
                    source.bye(ssrc);
                    source.receiver_block(now);
                }
                prop_assert!(source.deadline().is_none_or(|deadline| deadline > now));
            }
            now += Duration::from_secs(10);
            while source.pop(now).is_some() {
                popped += 1;
            }
            let stats = source.stats();
            let candidate = source.candidate.as_ref().map_or(0, |candidate| candidate.packets.len() as u64);
            let left = pushed - popped - stats.duplicate - stats.late - stats.stray - candidate;
            // One odd packet may be held back.
            prop_assert!(left <= 1, "{} of {}: {:?}", left, pushed, stats);
        }

        #[test]
        fn no_bytes_break_it(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..32), 0..50)) {
            let mut source = Source::new(90_000, LIMITS);
            let now = Instant::now();
            for mut bytes in datagrams {
                if let Some(first) = bytes.first_mut() {
                    *first = 0x80 | *first & 0x3f;
                }
                let _ = source.push(now, bytes.into());
                while source.pop(now).is_some() {}
            }
        }
    }
}
