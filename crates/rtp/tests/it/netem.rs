//! A camera through a bad network: what comes out of a track when packets are lost, late, doubled and out of order.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use testkit::netem::{Config, Netem};
use tidegate_rtp::clock::{Align, Track};
use tidegate_rtp::reorder::Limits;
use tidegate_rtp::source::{Received, Source, Stats};
use tidegate_rtp::{Header, packet};

/// 25 pictures per second of two packets each, for one minute.
const PACKETS: usize = 3000;
const PACE: Duration = Duration::from_millis(20);
const PICTURE_TICKS: u32 = 3600;
const CLOCK_RATE: u32 = 90_000;

const LIMITS: Limits = Limits {
    max_packets: 64,
    max_delay: Duration::from_millis(200),
};

const BAD: Config = Config {
    loss: 0.0,
    duplicate: 0.03,
    delay: Duration::from_millis(40),
    jitter: Duration::from_millis(30),
    reorder: 0.05,
};

/// Sequence numbers and timestamps turn in the middle of the minute.
fn packet(ssrc: u32, number: usize) -> Bytes {
    let middle = number.wrapping_sub(PACKETS / 2);
    let header = Header {
        marker: number % 2 == 1,
        payload_type: 96,
        sequence: middle as u16,
        timestamp: ((number / 2).wrapping_sub(PACKETS / 4) as u32).wrapping_mul(PICTURE_TICKS),
        ssrc,
    };
    let mut out = BytesMut::new();
    header.write(&mut out);
    out.put_u32(number as u32);
    out.freeze()
}

/// What came out, and what is known of what went in.
struct Run {
    /// Numbers, whether there was a gap, and when they came out since the beginning.
    out: Vec<(usize, bool, Duration)>,
    /// Whether the network carried the packet.
    carried: Vec<bool>,
    netem: Netem,
    source: Source,
    end: Instant,
}

/// Sends all packets for which `send` gives a source.
fn run(seed: u64, config: Config, limits: Limits, send: impl Fn(usize) -> Option<u32>) -> Run {
    let start = Instant::now();
    let mut netem = Netem::new(seed, config);
    let mut source = Source::new(CLOCK_RATE, limits).accept(&[96]);
    let mut align = Align::new(&[Track {
        clock_rate: CLOCK_RATE,
        leads: true,
    }]);
    let mut origin = None;
    let mut out = Vec::new();
    let mut carried = Vec::new();
    let mut now = start;
    loop {
        let next_packet = (carried.len() < PACKETS).then(|| start + PACE * carried.len() as u32);
        let events = [next_packet, netem.next(), source.deadline()];
        let Some(next) = events.into_iter().flatten().min() else {
            break;
        };
        now = now.max(next);
        if next_packet.is_some_and(|at| at <= now) {
            let number = carried.len();
            carried.push(send(number).is_some_and(|ssrc| netem.send(now, packet(ssrc, number))));
        }
        while let Some(datagram) = netem.poll(now) {
            source.push(now, datagram).unwrap();
        }
        while let Some(Received { packet, gap, restart }) = source.pop(now) {
            let number = u32::from_be_bytes(packet.payload()[..].try_into().unwrap()) as usize;
            assert_eq!(
                packet.header().sequence as usize,
                number.wrapping_sub(PACKETS / 2) & 0xffff
            );
            let time = align.time(now, 0, packet.header().timestamp).as_millis();
            let picture = number as i64 / 2;
            assert_eq!(
                time,
                (picture - *origin.get_or_insert(picture)) * 40,
                "packet {number}"
            );
            assert!(gap || !restart);
            out.push((number, gap, now - start));
        }
        assert!(source.held() < limits.max_packets);
    }
    assert_eq!(source.held(), 0);
    Run {
        out,
        carried,
        netem,
        source,
        end: now,
    }
}

impl Run {
    fn stats(&self) -> Stats {
        self.source.stats()
    }

    fn numbers(&self) -> Vec<usize> {
        self.out.iter().map(|(number, ..)| *number).collect()
    }

    /// Numbers that the network carried, from the first to the last that came out.
    fn carried(&self) -> Vec<usize> {
        let (first, last) = (self.out[0].0, self.out[self.out.len() - 1].0);
        (first..=last).filter(|number| self.carried[*number]).collect()
    }

    /// Packets that were not carried, between the first and the last that came out.
    fn missing(&self) -> u64 {
        let (first, last) = (self.out[0].0, self.out[self.out.len() - 1].0);
        (last - first + 1 - self.carried().len()) as u64
    }

    fn longest_pause(&self) -> Duration {
        self.out
            .windows(2)
            .map(|pair| pair[1].2 - pair[0].2)
            .max()
            .unwrap()
    }
}

#[test]
fn what_arrives_in_time_comes_out_once_and_in_order() {
    for loss in [0.0, 0.005, 0.01, 0.02, 0.05] {
        for seed in 0..20 {
            let config = Config { loss, ..BAD };
            let mut run = run(seed, config, LIMITS, |_| Some(1));
            let what = format!("seed {seed}, loss {loss}");
            assert!(run.out[0].0 <= 3, "{what}");
            assert_eq!(run.numbers(), run.carried(), "{what}");

            let stats = run.stats();
            assert_eq!(stats.lost, run.missing(), "{what}");
            assert_eq!(
                run.netem.dropped(),
                run.carried.iter().filter(|carried| !**carried).count() as u64
            );
            // At the start, a packet may be late and a duplicate be seen by the probation.
            assert!(stats.late + stats.stray <= 2, "{what}: {stats:?}");
            assert!(stats.duplicate + 2 >= run.netem.duplicated(), "{what}: {stats:?}");
            assert_eq!((stats.resets, stats.switches), (0, 0), "{what}");
            assert!(stats.reordered > 50, "{what}: {stats:?}");

            for pair in run.out.windows(2) {
                assert_eq!(
                    pair[1].1,
                    pair[1].0 != pair[0].0 + 1,
                    "{what}: a gap is told where there is one"
                );
            }
            assert!(
                run.longest_pause() <= LIMITS.max_delay * 2,
                "{what}: {:?}",
                run.longest_pause()
            );

            let block = run.source.receiver_block(run.end).unwrap();
            let lost = run.missing() as i64 - run.netem.duplicated() as i64;
            assert!(
                (i64::from(block.cumulative_lost) - lost).abs() <= 3,
                "{what}: {block:?}"
            );
            // That both packets of a picture have one timestamp is jitter as well.
            let jitter = run.stats().jitter;
            assert!(
                (config.jitter / 4..config.jitter * 2).contains(&jitter),
                "{what}: {jitter:?}"
            );
        }
    }
}

#[test]
fn what_comes_later_than_the_delay_is_counted() {
    let limits = Limits {
        max_delay: Duration::from_millis(20),
        ..LIMITS
    };
    for seed in 0..20 {
        let config = Config { loss: 0.02, ..BAD };
        let run = run(seed, config, limits, |_| Some(1));
        let (numbers, stats) = (run.numbers(), run.stats());
        assert!(numbers.is_sorted_by(|a, b| a < b), "seed {seed}");
        assert!(stats.late > 10, "seed {seed}: {stats:?}");
        let missing = numbers[numbers.len() - 1] - numbers[0] + 1 - numbers.len();
        assert_eq!(stats.lost, missing as u64, "seed {seed}");
        let arrived = PACKETS as u64 - run.netem.dropped() + run.netem.duplicated();
        let accounted = numbers.len() as u64 + stats.late + stats.duplicate + stats.stray;
        assert_eq!(accounted, arrived, "seed {seed}: {stats:?}");
        assert!(run.longest_pause() <= Duration::from_millis(300), "seed {seed}");
    }
}

#[test]
fn an_outage_is_one_gap() {
    let outage = 1400..1600;
    let run = run(1, BAD, LIMITS, |number| (!outage.contains(&number)).then_some(1));
    assert_eq!(run.numbers(), run.carried());
    assert_eq!(run.stats().lost, 200);
    assert_eq!(run.out.iter().filter(|(_, gap, _)| *gap).count(), 1);
}

#[test]
fn a_camera_that_restarts_is_followed() {
    for seed in 0..20 {
        let config = Config { loss: 0.01, ..BAD };
        let run = run(seed, config, LIMITS, |number| {
            Some(if number < 1500 { 1 } else { 2 })
        });
        // Packets of the old source are under way among those of the new one.
        let numbers = run.numbers();
        let new = numbers.iter().position(|number| *number >= 1500).unwrap();
        assert!(numbers[new] < 1506, "seed {seed}: {}", numbers[new]);
        assert!(run.out[new].1, "seed {seed}: another source is a gap");
        let expected: Vec<_> = run
            .carried()
            .into_iter()
            .filter(|number| *number >= numbers[new])
            .collect();
        assert_eq!(numbers[new..], expected, "seed {seed}");
        let stats = run.stats();
        assert_eq!((stats.switches, stats.resets), (1, 1), "seed {seed}");
        // The silence of the old source, and what waits for a missing packet.
        assert!(
            run.longest_pause() <= Duration::from_secs(1),
            "seed {seed}: {:?}",
            run.longest_pause()
        );
    }
}

#[test]
fn datagrams_that_are_no_packets_change_nothing() {
    let now = Instant::now();
    let mut source = Source::new(CLOCK_RATE, LIMITS);
    for number in 0..2 {
        source.push(now, packet(1, number)).unwrap();
    }
    let error = source
        .push(now, Bytes::from_static(b"OPTIONS * RTSP/1.0"))
        .unwrap_err();
    assert_eq!(error, packet::Error::Version(1));
    source.push(now, packet(1, 2)).unwrap();
    for number in 0..3 {
        let received = source.pop(now).unwrap();
        assert_eq!(
            (received.packet.bytes(), received.gap),
            (&packet(1, number), false)
        );
    }
}
