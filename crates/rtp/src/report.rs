//! What reports say: statistics of one source as it is received, and of one as it is sent (RFC 3550, section 6.4 and appendix A).

use std::time::{Duration, Instant};

use crate::packet::Header;
use crate::rtcp::{NtpTime, ReportBlock, SenderReport};

/// Statistics of one source that is received.
///
/// It counts valid packets of the source alone: telling the source from strays, by a probation as in appendix A.1, is up to
/// [`crate::source::Source`], which holds packets meanwhile.
#[derive(Debug)]
pub struct Receiver {
    ssrc: u32,
    clock_rate: u32,
    run: Option<Run>,
    /// Where a jump of the sequence would go on.
    after_jump: Option<u16>,
    received: u64,
    /// Of runs that a restart ended.
    lost_before: u64,
    fraction_lost: u8,
    jitter: Jitter,
    last_sr: Option<(u32, Instant)>,
}

impl Receiver {
    /// Nothing received. `clock_rate`: ticks of the timestamps in one second.
    pub const fn new(ssrc: u32, clock_rate: u32) -> Self {
        Self {
            ssrc,
            clock_rate,
            run: None,
            after_jump: None,
            received: 0,
            lost_before: 0,
            fraction_lost: 0,
            jitter: Jitter::new(),
            last_sr: None,
        }
    }

    /// Counts a packet, in the order in which packets came. A sequence number far off counts only when the next packet goes on
    /// from there: then the sender has begun anew (appendix A.1).
    pub fn packet(&mut self, now: Instant, header: &Header) {
        let sequence = header.sequence;
        let Some(run) = &mut self.run else {
            self.run = Some(Run::new(sequence));
            self.count(now, header);
            return;
        };
        let ahead = sequence.wrapping_sub(run.highest as u16);
        if ahead < MAX_DROPOUT {
            run.highest += u64::from(ahead);
        } else if ahead <= MAX_MISORDER.wrapping_neg() {
            if self.after_jump != Some(sequence) {
                self.after_jump = Some(sequence.wrapping_add(1));
                return;
            }
            self.lost_before += run.lost();
            self.run = Some(Run::new(sequence));
            self.after_jump = None;
        }
        self.count(now, header);
    }

    /// Remembers the source's report, for the sender to measure the way there and back.
    pub const fn sender_report(&mut self, now: Instant, ntp: NtpTime) {
        self.last_sr = Some((ntp.middle(), now));
    }

    /// What to report, and the beginning of the next interval (appendix A.3). `None` until a packet has come.
    pub fn block(&mut self, now: Instant) -> Option<ReportBlock> {
        let run = self.run.as_mut()?;
        self.fraction_lost = run.end_interval();
        let (last_sr, delay_since_last_sr) = match self.last_sr {
            Some((middle, at)) => (middle, ticks(now.saturating_duration_since(at), 1 << 16)),
            None => (0, 0),
        };
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: self.fraction_lost,
            cumulative_lost: i32::try_from(run.expected() as i64 - run.received as i64).unwrap_or(i32::MAX),
            // The sequence number and the count of its wraps-around.
            highest_sequence: run.highest as u32,
            jitter: self.jitter.ticks(),
            last_sr,
            delay_since_last_sr: u32::try_from(delay_since_last_sr).unwrap_or(u32::MAX),
        })
    }

    /// The source.
    pub const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Packets that came, those that came twice or late included.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Packets that did not come, as far as duplicates do not hide it. May shrink when late ones come.
    pub fn lost(&self) -> u64 {
        self.lost_before + self.run.as_ref().map_or(0, Run::lost)
    }

    /// Share of packets lost in the interval that the last [`Self::block`] ended, 0.0 to 1.0.
    pub fn loss(&self) -> f32 {
        f32::from(self.fraction_lost) / 256.0
    }

    /// Interarrival jitter.
    pub fn jitter(&self) -> Duration {
        if self.clock_rate == 0 {
            return Duration::ZERO;
        }
        Duration::from_micros(u64::from(self.jitter.ticks()) * 1_000_000 / u64::from(self.clock_rate))
    }

    fn count(&mut self, now: Instant, header: &Header) {
        self.received += 1;
        if let Some(run) = &mut self.run {
            run.received += 1;
        }
        self.jitter.packet(now, header.timestamp, self.clock_rate);
    }
}

/// Statistics of one source that is sent.
#[derive(Clone, Debug)]
pub struct Sender {
    ssrc: u32,
    packets: u64,
    octets: u64,
}

impl Sender {
    /// Nothing sent.
    pub const fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            packets: 0,
            octets: 0,
        }
    }

    /// Counts a packet with this many bytes of payload.
    pub const fn packet(&mut self, payload_len: usize) {
        self.packets += 1;
        self.octets += payload_len as u64;
    }

    /// The report for now. `rtp` is the timestamp that a sample taken at `ntp` would have. No blocks on what it receives.
    pub const fn report(&self, ntp: NtpTime, rtp: u32) -> SenderReport {
        SenderReport {
            ssrc: self.ssrc,
            ntp,
            rtp,
            packets: self.packets as u32,
            octets: self.octets as u32,
            reports: Vec::new(),
        }
    }

    /// Packets sent.
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Bytes of payload sent.
    pub const fn octets(&self) -> u64 {
        self.octets
    }
}

/// Sequence numbers from the first one, or from a restart of the sender.
#[derive(Debug)]
struct Run {
    first: u64,
    /// Highest that came, counted on over wraps-around.
    highest: u64,
    received: u64,
    expected_before: u64,
    received_before: u64,
}

impl Run {
    const fn new(sequence: u16) -> Self {
        Self {
            first: sequence as u64,
            highest: sequence as u64,
            received: 0,
            expected_before: 0,
            received_before: 0,
        }
    }

    const fn expected(&self) -> u64 {
        self.highest - self.first + 1
    }

    const fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// Share lost in the interval that ends now, in 1/256.
    fn end_interval(&mut self) -> u8 {
        let expected = self.expected() - self.expected_before;
        let received = self.received - self.received_before;
        self.expected_before = self.expected();
        self.received_before = self.received;
        let lost = expected.saturating_sub(received);
        let fraction = (lost * 256).checked_div(expected).unwrap_or(0);
        u8::try_from(fraction).unwrap_or(u8::MAX)
    }
}

/// Appendix A.8.
#[derive(Debug)]
struct Jitter {
    /// Time of the first packet: arrivals are counted from there.
    start: Option<Instant>,
    transit: Option<u32>,
    /// In 1/16 tick.
    sixteenths: u64,
}

impl Jitter {
    const fn new() -> Self {
        Self {
            start: None,
            transit: None,
            sixteenths: 0,
        }
    }

    fn packet(&mut self, now: Instant, timestamp: u32, clock_rate: u32) {
        let start = *self.start.get_or_insert(now);
        let arrival = ticks(now.saturating_duration_since(start), clock_rate);
        let transit = (arrival as u32).wrapping_sub(timestamp);
        let Some(previous) = self.transit.replace(transit) else {
            return;
        };
        let difference = (transit.wrapping_sub(previous) as i32).unsigned_abs();
        // Not jitter: the timestamps have jumped.
        if u64::from(difference) > MAX_DIFFERENCE.as_secs() * u64::from(clock_rate) {
            return;
        }
        self.sixteenths = self.sixteenths + u64::from(difference) - ((self.sixteenths + 8) >> 4);
    }

    fn ticks(&self) -> u32 {
        u32::try_from(self.sixteenths >> 4).unwrap_or(u32::MAX)
    }
}

fn ticks(span: Duration, rate: u32) -> u64 {
    let ticks = span.as_nanos() * u128::from(rate) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// Packets that may be missing in a row; more is a restart of the sender (RFC 3550, appendix A.1).
pub(crate) const MAX_DROPOUT: u16 = 3000;

/// Packets that one may be late (RFC 3550, appendix A.1).
pub(crate) const MAX_MISORDER: u16 = 100;

/// No network holds one packet back that long and not the next.
const MAX_DIFFERENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(sequence: u16, timestamp: u32) -> Header {
        Header {
            marker: false,
            payload_type: 96,
            sequence,
            timestamp,
            ssrc: 1,
        }
    }

    /// Receives these sequence numbers, one each 20 ms, with timestamps that fit.
    fn receive(sequences: impl IntoIterator<Item = u16>) -> (Receiver, Instant) {
        let mut now = Instant::now();
        let mut receiver = Receiver::new(1, 8000);
        for (n, sequence) in sequences.into_iter().enumerate() {
            now += Duration::from_millis(20);
            receiver.packet(now, &header(sequence, n as u32 * 160));
        }
        (receiver, now)
    }

    #[test]
    fn the_sequence_is_counted_over_wraps() {
        let (mut receiver, now) = receive((0..200_000u32).map(|n| n.wrapping_add(65_000) as u16));
        let block = receiver.block(now).unwrap();
        assert_eq!(block.highest_sequence, 65_000 + 199_999);
        assert_eq!(
            (block.cumulative_lost, block.fraction_lost, block.jitter),
            (0, 0, 0)
        );
        assert_eq!((receiver.received(), receiver.lost()), (200_000, 0));
    }

    #[test]
    fn loss_is_a_share_of_the_interval() {
        let (mut receiver, now) = receive(
            (65_500..65_536)
                .chain(0..60)
                .map(|n| n as u16)
                .filter(|n| n % 4 != 1),
        );
        let block = receiver.block(now).unwrap();
        assert_eq!((block.cumulative_lost, block.fraction_lost), (24, 64));
        assert_eq!(
            (receiver.received(), receiver.lost(), receiver.loss()),
            (72, 24, 0.25)
        );
        // Nothing in the next interval.
        let block = receiver.block(now).unwrap();
        assert_eq!((block.cumulative_lost, block.fraction_lost), (24, 0));
    }

    #[test]
    fn what_comes_twice_is_a_negative_loss() {
        let (mut receiver, now) = receive([1, 2, 2, 3, 3]);
        assert_eq!(receiver.block(now).unwrap().cumulative_lost, -2);
        assert_eq!(receiver.lost(), 0);
    }

    #[test]
    fn one_far_packet_is_not_a_restart_but_two_are() {
        let (receiver, _) = receive([1, 2, 4, 30_000, 5]);
        assert_eq!((receiver.received(), receiver.lost()), (4, 1));
        let (mut receiver, now) = receive([1, 2, 4, 30_000, 30_001, 30_002]);
        assert_eq!((receiver.received(), receiver.lost()), (5, 1));
        let block = receiver.block(now).unwrap();
        assert_eq!((block.highest_sequence, block.cumulative_lost), (30_002, 0));
    }

    #[test]
    fn jitter_follows_the_formula() {
        let start = Instant::now();
        let mut receiver = Receiver::new(1, 8000);
        receiver.packet(start, &header(0, u32::MAX - 100));
        // 20 ms of media after 30 ms: 80 ticks late, of which a sixteenth counts.
        receiver.packet(start + Duration::from_millis(30), &header(1, 59));
        assert_eq!(receiver.block(start).unwrap().jitter, 5);
        assert_eq!(receiver.jitter(), Duration::from_micros(625));
        // Late each second time, and so 80 ticks different each time: the rounding of the appendix ends at 79.
        for n in 1..200u32 {
            let arrival = Duration::from_millis(u64::from(n) * 40 + [0, 10][n as usize % 2]);
            receiver.packet(
                start + arrival,
                &header(2, (n * 320).wrapping_add(u32::MAX - 100)),
            );
        }
        assert_eq!(receiver.block(start).unwrap().jitter, 79);
        // A jump of the timestamps is no jitter.
        receiver.packet(start + Duration::from_secs(8), &header(2, 2_000_000_000));
        assert_eq!(receiver.block(start).unwrap().jitter, 79);
    }

    #[test]
    fn the_last_sender_report_is_told() {
        let (mut receiver, now) = receive([1]);
        let block = receiver.block(now).unwrap();
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0, 0));
        receiver.sender_report(now, NtpTime(0xb44d_b705_2000_0000));
        // RFC 3550, figure 2: 5.250 s are 0x0005:4000.
        let block = receiver.block(now + Duration::from_millis(5250)).unwrap();
        assert_eq!(
            (block.last_sr, block.delay_since_last_sr),
            (0xb705_2000, 0x0005_4000)
        );
        // More than 32 bits.
        let block = receiver.block(now + Duration::from_secs(1 << 17)).unwrap();
        assert_eq!(block.delay_since_last_sr, u32::MAX);
    }

    #[test]
    fn a_sender_counts() {
        let mut sender = Sender::new(7);
        sender.packet(100);
        sender.packet(11);
        let report = sender.report(NtpTime(5), 9);
        assert_eq!((report.ssrc, report.packets, report.octets), (7, 2, 111));
        assert_eq!((report.ntp, report.rtp), (NtpTime(5), 9));
    }

    proptest! {
        #[test]
        fn no_packets_break_it(packets in prop::collection::vec((any::<u16>(), any::<u32>(), 0u64..1 << 40), 0..200), rate: u32) {
            let mut now = Instant::now();
            let mut receiver = Receiver::new(1, rate);
            for (sequence, timestamp, micros) in packets {
                now += Duration::from_micros(micros);
                receiver.packet(now, &header(sequence, timestamp));
                let block = receiver.block(now).unwrap();
                prop_assert_eq!(block.ssrc, 1);
                prop_assert!(receiver.loss() <= 1.0);
            }
        }
    }
}
