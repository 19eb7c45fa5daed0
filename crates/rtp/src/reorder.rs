//! Packets of one source in the order of their sequence numbers, with a bounded delay.
//!
//! After every [`Reorder::push`] and at [`Reorder::deadline`], take packets with [`Reorder::pop`] until it has none.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Packet;
use crate::report::{MAX_DROPOUT, MAX_MISORDER};

/// How long a missing packet is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Packets held while one is missing; when there are as many, it is given up. 0 is taken as 1.
    pub max_packets: usize,
    /// Time since the first packet behind the missing one came. Zero: nothing is waited for.
    pub max_delay: Duration,
}

impl Limits {
    /// For a transport that keeps the order, such as TCP: what is missing will not come, so a hole is a gap at once.
    pub const fn in_order() -> Self {
        Self {
            max_packets: MAX_UNTAKEN,
            max_delay: Duration::ZERO,
        }
    }

    /// Whether nothing is waited for.
    pub const fn is_in_order(&self) -> bool {
        self.max_delay.is_zero()
    }
}

/// What happened to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Missing packets that were given up. Exact but for the ends, since those before the first and behind the last are not known
    /// of, and but for resets.
    pub lost: u64,
    /// Dropped: the same sequence number had come before.
    pub duplicate: u64,
    /// Dropped: came after it had been given up, so it counts as lost as well.
    pub late: u64,
    /// Came behind a packet with a higher number, but in time.
    pub reordered: u64,
    /// Times the sequence jumped to somewhere else.
    pub resets: u64,
    /// Dropped: its number was far off, and the next packet did not go on from there.
    pub odd: u64,
}

/// The packets that are held, and where the sequence is.
#[derive(Debug)]
pub struct Reorder {
    limits: Limits,
    /// By number, all at or above `next`, each once; at most one more than `max_packets`.
    held: VecDeque<Held>,
    /// Number of the packet to give next; `None` until the first one came.
    next: Option<u64>,
    /// Highest number that came.
    highest: u64,
    /// Which of the numbers below `next` came, the bit 0 for `next - 1`.
    came: u128,
    /// Numbers below this are given without waiting: they belong to a sequence that has ended.
    ended: u64,
    /// Since when the hole before the first held packet is known.
    hole_since: Option<Instant>,
    /// A packet far off, which the next one may confirm.
    odd: Option<(Instant, Packet)>,
    /// The next packet begins a sequence, wherever it is.
    restart: bool,
    counters: Counters,
}

#[derive(Debug)]
struct Held {
    /// The sequence number in the lower 16 bits, counted on over wraps-around and resets.
    number: u64,
    came: Instant,
    /// First of a sequence that began anew: nothing is missing before it, but nothing fits either.
    first: bool,
    packet: Packet,
}

impl Reorder {
    /// Holds nothing.
    pub fn new(limits: Limits) -> Self {
        let max_packets = limits.max_packets.max(1);
        Self {
            limits: Limits {
                max_packets,
                ..limits
            },
            held: VecDeque::new(),
            next: None,
            highest: 0,
            came: 0,
            ended: 0,
            hole_since: None,
            odd: None,
            restart: false,
            counters: Counters::default(),
        }
    }

    /// Takes a packet that came now.
    ///
    /// A number that is more than some thousands ahead, or too far back to be late, means that the sender began a sequence anew. If
    /// the transport keeps the order, that is believed at once, otherwise when the next such packet fits (as RFC 3550, appendix A.1,
    /// does), since one damaged or stray packet must not end the sequence. Everything held is then given before the new sequence.
    pub fn push(&mut self, now: Instant, packet: Packet) {
        let sequence = packet.header().sequence;
        let Some(next) = self.next.filter(|_| !self.restart) else {
            self.begin(now, packet);
            return;
        };
        let ahead = i64::from(sequence.wrapping_sub(self.highest as u16) as i16);
        // Cannot go below 0: the first sequence begins at 2^16.
        let number = self.highest.saturating_add_signed(ahead);
        if number < next && next - number <= u64::from(MAX_MISORDER) {
            let bit = next - number - 1;
            if self.came >> bit & 1 == 1 {
                self.counters.duplicate += 1;
            } else {
                self.came |= 1 << bit;
                self.counters.late += 1;
            }
            return;
        }
        if number < next || ahead >= i64::from(MAX_DROPOUT) {
            self.push_odd(now, packet);
            return;
        }
        if self.odd.take().is_some() {
            self.counters.odd += 1;
        }
        self.hold(Held {
            number,
            came: now,
            first: false,
            packet,
        });
    }

    /// Lets the next packet begin a sequence, whatever its number: another source takes over. What is held is given before it.
    pub fn restart(&mut self) {
        self.restart = true;
        if self.odd.take().is_some() {
            self.counters.odd += 1;
        }
    }

    /// The next packet in order, and whether there is a gap before it: packets are missing, or the sequence began anew. `None`: wait
    /// for the next packet or [`Self::deadline`].
    pub fn pop(&mut self, now: Instant) -> Option<(Packet, bool)> {
        let first = self.held.front()?;
        let next = self.next.unwrap_or(first.number);
        if first.number != next && self.ready_at().is_some_and(|at| now < at) {
            return None;
        }
        let (packet, gap) = self.take_first()?;
        self.find_hole();
        Some((packet, gap))
    }

    /// When [`Self::pop`] has a packet if none comes until then. `None`: not before one comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.ready_at()
    }

    /// What happened so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Packets held now. At most one more than [`Limits::max_packets`], and fewer than that many once [`Self::pop`] gives no more.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// When the first held packet may go.
    fn ready_at(&self) -> Option<Instant> {
        let first = self.held.front()?;
        let waits = self.next != Some(first.number)
            && !first.first
            && first.number >= self.ended
            && self.held.len() < self.limits.max_packets;
        match self.hole_since {
            Some(since) if waits => Some(since + self.limits.max_delay),
            _ => Some(first.came),
        }
    }

    /// Begins a sequence behind all that is held.
    fn begin(&mut self, now: Instant, packet: Packet) {
        let sequence = u64::from(packet.header().sequence);
        let fresh = self.next.is_none();
        // Above all numbers so far, whatever the sequence number is.
        let number = ((self.highest >> 16) + 1) << 16 | sequence;
        if fresh {
            self.next = Some(number);
        } else {
            self.counters.resets += 1;
            self.ended = self.highest + 1;
        }
        self.restart = false;
        self.hold(Held {
            number,
            came: now,
            first: !fresh,
            packet,
        });
    }

    fn push_odd(&mut self, now: Instant, packet: Packet) {
        if self.limits.is_in_order() {
            self.begin(now, packet);
            return;
        }
        let Some((came, odd)) = self.odd.take() else {
            self.odd = Some((now, packet));
            return;
        };
        let [from, to] = [&odd, &packet].map(|packet| packet.header().sequence);
        if to == from {
            self.counters.duplicate += 1;
            self.odd = Some((came, odd));
        } else if to.wrapping_sub(from) < MAX_DROPOUT {
            self.begin(came, odd);
            self.push(now, packet);
        } else if from.wrapping_sub(to) <= MAX_MISORDER {
            self.begin(now, packet);
            self.push(came, odd);
        } else {
            self.counters.odd += 1;
            self.odd = Some((now, packet));
        }
    }

    fn hold(&mut self, new: Held) {
        // Nearly always the last.
        let at = self.held.iter().rposition(|held| held.number <= new.number);
        if at.is_some_and(|at| self.held[at].number == new.number) {
            self.counters.duplicate += 1;
            return;
        }
        if new.number < self.highest {
            self.counters.reordered += 1;
        }
        self.highest = self.highest.max(new.number);
        self.held.insert(at.map_or(0, |at| at + 1), new);
        // One more, because a packet that confirms an odd one brings it along.
        if self.held.len() > self.limits.max_packets + 1 {
            // Nobody takes packets.
            self.take_first();
            self.counters.lost += 1;
        }
        self.find_hole();
    }

    /// The first held packet, and whether it follows a gap.
    fn take_first(&mut self) -> Option<(Packet, bool)> {
        let Held {
            number,
            first,
            packet,
            ..
        } = self.held.pop_front()?;
        let missing = number - self.next.unwrap_or(number);
        if !first {
            self.counters.lost += missing;
        }
        let shift = u32::try_from(missing)
            .ok()
            .filter(|_| !first)
            .and_then(|missing| missing.checked_add(1));
        self.came = shift.and_then(|shift| self.came.checked_shl(shift)).unwrap_or(0) | 1;
        self.next = Some(number + 1);
        self.hole_since = None;
        Some((packet, first || missing > 0))
    }

    fn find_hole(&mut self) {
        if self
            .held
            .front()
            .is_none_or(|first| Some(first.number) == self.next)
        {
            self.hole_since = None;
        } else if self.hole_since.is_none() {
            self.hole_since = self.held.iter().map(|held| held.came).min();
        }
    }
}

/// A bound for packets that nobody takes.
const MAX_UNTAKEN: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Header;
    use bytes::BytesMut;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        max_packets: 8,
        max_delay: Duration::from_millis(100),
    };

    fn packet(sequence: u16) -> Packet {
        let mut out = BytesMut::new();
        let header = Header {
            marker: false,
            payload_type: 96,
            sequence,
            timestamp: 0,
            ssrc: 1,
        };
        header.write(&mut out);
        Packet::parse(out.freeze()).unwrap()
    }

    struct Bench {
        start: Instant,
        reorder: Reorder,
    }

    impl Bench {
        fn new(limits: Limits) -> Self {
            Self {
                start: Instant::now(),
                reorder: Reorder::new(limits),
            }
        }

        /// What comes out at this millisecond after these came in. A `-` in front is a gap.
        #[track_caller]
        fn at(&mut self, millis: u64, sequences: &[u16], expected: &str) {
            let now = self.start + Duration::from_millis(millis);
            let mut out = Vec::new();
            for &sequence in sequences {
                self.reorder.push(now, packet(sequence));
                out.extend(drain(&mut self.reorder, now));
            }
            out.extend(drain(&mut self.reorder, now));
            let out: Vec<_> = out
                .iter()
                .map(|(n, gap)| format!("{}{n}", if *gap { "-" } else { "" }))
                .collect();
            assert_eq!(out.join(" "), expected);
        }

        #[track_caller]
        fn deadline(&self, millis: Option<u64>) {
            let expected = millis.map(|millis| self.start + Duration::from_millis(millis));
            assert_eq!(self.reorder.deadline(), expected);
        }
    }

    fn drain(reorder: &mut Reorder, now: Instant) -> Vec<(u16, bool)> {
        let mut out = Vec::new();
        while let Some((packet, gap)) = reorder.pop(now) {
            out.push((packet.header().sequence, gap));
        }
        out
    }

    #[test]
    fn in_order_nothing_waits() {
        let mut bench = Bench::new(LIMITS);
        bench.at(0, &[65_534, 65_535, 0, 1], "65534 65535 0 1");
        bench.deadline(None);
        assert_eq!(*bench.reorder.counters(), Counters::default());
    }

    #[test]
    fn what_comes_in_time_is_put_in_its_place() {
        let mut bench = Bench::new(LIMITS);
        bench.at(0, &[65_534, 0, 1], "65534");
        bench.deadline(Some(100));
        bench.at(99, &[65_535], "65535 0 1");
        bench.deadline(None);
        assert_eq!(bench.reorder.counters().reordered, 1);
        assert_eq!(bench.reorder.counters().lost, 0);
    }

    #[test]
    fn what_does_not_come_in_time_is_a_gap() {
        let mut bench = Bench::new(LIMITS);
        bench.at(0, &[1, 3], "1");
        bench.at(50, &[6], "");
        bench.at(99, &[], "");
        bench.at(100, &[], "-3");
        // The second hole is known since 50.
        bench.deadline(Some(150));
        bench.at(150, &[], "-6");
        bench.at(151, &[2, 2, 3, 6, 4], "");
        let expected = Counters {
            lost: 3,
            late: 2,
            duplicate: 3,
            ..Counters::default()
        };
        assert_eq!(*bench.reorder.counters(), expected);
    }

    #[test]
    fn too_many_held_packets_end_the_waiting() {
        let mut bench = Bench::new(LIMITS);
        bench.at(0, &[1, 3, 4, 5, 6, 7, 8, 9], "1");
        bench.at(1, &[10], "-3 4 5 6 7 8 9 10");
    }

    #[test]
    fn over_tcp_a_hole_is_a_gap_at_once() {
        let mut bench = Bench::new(Limits::in_order());
        bench.at(0, &[1, 2, 4, 5], "1 2 -4 5");
        bench.at(0, &[40_000, 40_001], "-40000 40001");
        bench.at(0, &[7], "-7");
        assert_eq!(
            (bench.reorder.counters().lost, bench.reorder.counters().resets),
            (1, 2)
        );
    }

    #[test]
    fn a_sender_that_begins_anew_is_followed() {
        let mut bench = Bench::new(LIMITS);
        bench.at(0, &[1, 2, 4, 5], "1 2");
        bench.at(10, &[50_000], "");
        // What is held goes first, without waiting.
        bench.at(11, &[50_001], "-4 5 -50000 50001");
        bench.at(12, &[50_002, 10, 50_003, 50_004], "50002 50003 50004");
        let expected = Counters {
            lost: 1,
            resets: 1,
            odd: 1,
            ..Counters::default()
        };
        assert_eq!(*bench.reorder.counters(), expected);
        // Backwards, in disorder.
        bench.at(13, &[20, 19, 21], "-19 20 21");
    }

    #[test]
    fn another_source_begins_anywhere() {
        let mut bench = Bench::new(LIMITS);
        bench.at(0, &[5, 7], "5");
        bench.reorder.restart();
        bench.at(1, &[7, 8], "-7 -7 8");
        assert_eq!(bench.reorder.counters().lost, 1);
    }

    #[test]
    fn packets_that_nobody_takes_are_bounded() {
        let mut reorder = Reorder::new(LIMITS);
        let now = Instant::now();
        for sequence in 0..20 {
            reorder.push(now, packet(sequence));
            assert!(reorder.held() <= LIMITS.max_packets + 1);
        }
        assert_eq!(reorder.counters().lost, 11);
        assert_eq!(
            drain(&mut reorder, now),
            (11..20).map(|n| (n, false)).collect::<Vec<_>>()
        );
    }

    proptest! {
        #[test]
        fn a_shuffle_within_the_limits_is_undone(first: u16, swaps in prop::collection::vec(0usize..6, 50..400)) {
            let sequences: Vec<u16> = (0..swaps.len() as u16 + 1).map(|n| first.wrapping_add(n)).collect();
            let mut shuffled = sequences.clone();
            for (at, by) in swaps.iter().enumerate() {
                // The first one stays: what comes before it is not known of.
                let at = (at + 1).min(shuffled.len() - 1);
                let to = (at + by).min(shuffled.len() - 1);
                // A packet goes back by at most 5 places.
                shuffled[at..=to].rotate_right(1);
            }
            let limits = Limits { max_packets: 400, ..LIMITS };
            let mut reorder = Reorder::new(limits);
            let now = Instant::now();
            let mut out = Vec::new();
            for sequence in shuffled {
                reorder.push(now, packet(sequence));
                out.extend(drain(&mut reorder, now));
            }
            let expected: Vec<_> = sequences.into_iter().map(|n| (n, false)).collect();
            prop_assert_eq!(out, expected);
        }

        #[test]
        fn nothing_is_held_too_long_and_nothing_comes_twice(
            steps in prop::collection::vec((any::<u16>(), 0u16..12, any::<bool>(), 0u64..40), 1..300),
        ) {
            let mut reorder = Reorder::new(LIMITS);
            let mut now = Instant::now();
            let mut came = 0;
            let mut out = 0;
            let mut base = 0u16;
            for (far, near, jump, millis) in steps {
                now += Duration::from_millis(millis);
                base = if jump && far % 16 == 0 { far } else { base.wrapping_add(near / 6) };
                came += 1;
                reorder.push(now, packet(base.wrapping_add(near)));
                let mut last = None;
                while let Some((packet, gap)) = reorder.pop(now) {
                    let sequence = packet.header().sequence;
                    // What has no gap follows directly.
                    if let (Some(last), false) = (last, gap) {
                        prop_assert_eq!(sequence, u16::wrapping_add(last, 1));
                    }
                    last = Some(sequence);
                    out += 1;
                }
                prop_assert!(reorder.held() < LIMITS.max_packets);
                if let Some(deadline) = reorder.deadline() {
                    prop_assert!(deadline > now && deadline <= now + LIMITS.max_delay);
                }
            }
            now += LIMITS.max_delay * 2;
            out += drain(&mut reorder, now).len() as u64;
            prop_assert_eq!(reorder.held(), 0);
            let Counters { duplicate, late, odd, .. } = *reorder.counters();
            // One odd packet may still be held back.
            prop_assert!((0..=1).contains(&(came - out - duplicate - late - odd)));
        }
    }
}
