//! A network that loses, duplicates, delays and reorders datagrams. Pure: `now` is a parameter, and a seed decides everything, so
//! a test that fails fails again.
//!
//! After [`Netem::send`], wait until [`Netem::next`] and take what has arrived with [`Netem::poll`] until it has none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// What the network does. The default does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Config {
    /// Share of datagrams that never arrive, 0.0 to 1.0.
    pub loss: f64,
    /// Share of datagrams, of those not lost, that arrive twice.
    pub duplicate: f64,
    /// The least that every datagram takes.
    pub delay: Duration,
    /// What each takes longer: from nothing to this, evenly. It changes no order, like a queue that is longer and shorter.
    pub jitter: Duration,
    /// Share of datagrams that take another way: they come twice `jitter` late, and those sent behind them may overtake.
    pub reorder: f64,
}

/// The network, in one direction.
#[derive(Debug)]
pub struct Netem {
    config: Config,
    random: Random,
    /// By arrival, then by the order in which they were sent.
    under_way: BTreeMap<(Instant, u64), Bytes>,
    sent: u64,
    /// When the last datagram on the usual way arrives.
    tail: Option<Instant>,
    dropped: u64,
    duplicated: u64,
}

impl Netem {
    /// A network with nothing under way.
    pub const fn new(seed: u64, config: Config) -> Self {
        Self {
            config,
            random: Random::new(seed),
            under_way: BTreeMap::new(),
            sent: 0,
            tail: None,
            dropped: 0,
            duplicated: 0,
        }
    }

    /// Takes a datagram that is sent now. Says whether it will arrive.
    pub fn send(&mut self, now: Instant, datagram: Bytes) -> bool {
        // The same count of random numbers for each datagram: a changed share then leaves the fate of all others as it was.
        let [loss, duplicate, reorder, late, copy_late] = [(); 5].map(|()| self.random.share());
        let Config { delay, jitter, .. } = self.config;
        if loss < self.config.loss {
            self.dropped += 1;
            return false;
        }
        if duplicate < self.config.duplicate {
            self.duplicated += 1;
            self.carry(now + delay + jitter.mul_f64(2.0 * copy_late), datagram.clone());
        }
        if reorder < self.config.reorder {
            self.carry(now + delay + jitter * 2, datagram);
        } else {
            let at = now + delay + jitter.mul_f64(late);
            let at = self.tail.map_or(at, |tail| at.max(tail));
            self.tail = Some(at);
            self.carry(at, datagram);
        }
        true
    }

    /// A datagram that has arrived by now, in the order of arrival.
    pub fn poll(&mut self, now: Instant) -> Option<Bytes> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the next datagram arrives.
    pub fn next(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// Datagrams that it lost.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Datagrams that it carried twice.
    pub const fn duplicated(&self) -> u64 {
        self.duplicated
    }

    fn carry(&mut self, at: Instant, datagram: Bytes) {
        self.under_way.insert((at, self.sent), datagram);
        self.sent += 1;
    }
}

/// xorshift64*.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    const fn new(seed: u64) -> Self {
        // The generator stays at 0 for ever if it starts there, and begins poorly from small numbers.
        let seed = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self(if seed == 0 { 1 } else { seed })
    }

    /// 0.0 up to, not including, 1.0.
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends 1000 datagrams, one each 10 ms, and says which arrive when.
    fn run(seed: u64, config: Config) -> (Vec<(u16, Duration)>, Netem) {
        let start = Instant::now();
        let mut netem = Netem::new(seed, config);
        for n in 0..1000u16 {
            let at = start + Duration::from_millis(10) * u32::from(n);
            netem.send(at, Bytes::copy_from_slice(&n.to_be_bytes()));
        }
        let mut arrived = Vec::new();
        while let Some(at) = netem.next() {
            while let Some(datagram) = netem.poll(at) {
                arrived.push((u16::from_be_bytes([datagram[0], datagram[1]]), at - start));
            }
        }
        (arrived, netem)
    }

    #[test]
    fn a_quiet_network_delays_alone() {
        let delay = Duration::from_millis(7);
        let (arrived, _) = run(
            1,
            Config {
                delay,
                ..Config::default()
            },
        );
        for (n, at) in &arrived {
            assert_eq!(*at, delay + Duration::from_millis(10) * u32::from(*n));
        }
        assert_eq!(arrived.len(), 1000);
    }

    #[test]
    fn what_is_counted_is_what_happened_and_a_seed_repeats_it() {
        let config = Config {
            loss: 0.1,
            duplicate: 0.05,
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(30),
            reorder: 0.1,
        };
        let (arrived, netem) = run(7, config);
        assert!((60..140).contains(&netem.dropped()), "{}", netem.dropped());
        assert!((25..75).contains(&netem.duplicated()), "{}", netem.duplicated());
        assert_eq!(arrived.len() as u64, 1000 - netem.dropped() + netem.duplicated());
        assert!(!arrived.is_sorted_by_key(|(n, _)| *n));
        assert_eq!(arrived, run(7, config).0);
        assert_ne!(arrived, run(8, config).0);
    }

    #[test]
    fn jitter_alone_keeps_the_order() {
        let config = Config {
            jitter: Duration::from_millis(50),
            ..Config::default()
        };
        let (arrived, _) = run(3, config);
        assert!(arrived.is_sorted_by_key(|(n, _)| *n));
    }
}
