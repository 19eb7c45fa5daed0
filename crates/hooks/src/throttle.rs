//! Addresses whose requests are refused again and again: for a while they are refused here, without a call. Pure.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::time::Instant;

/// Most addresses that are watched at once. One takes about 100 bytes.
pub(crate) const MAX_ADDRESSES: usize = 65_536;

/// How many refusals are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Refusals within the window that block an address; 0 is off.
    pub limit: u32,
    /// Counted from the first refusal.
    pub window: Duration,
    /// How long an address is blocked.
    pub block: Duration,
}

/// Whose refusals are counted together: an IPv4 address, or the /64 of an IPv6 one, which is what one subscriber has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Subscriber {
    V4(Ipv4Addr),
    V6(u64),
}

impl Subscriber {
    /// `None` for this machine: what runs on it, ffmpeg sources among it, and everybody behind a proxy on it would be blocked together.
    fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => Some(Self::V4(address)),
            IpAddr::V6(address) => Some(Self::V6((address.to_bits() >> 64) as u64)),
        }
    }
}

/// What is known about a subscriber until `end`.
#[derive(Debug)]
struct Watched {
    refusals: u32,
    blocked: bool,
    end: Instant,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Throttle {
    most: usize,
    watched: HashMap<Subscriber, Watched>,
    by_end: BTreeSet<(Instant, Subscriber)>,
    evicted: u64,
}

impl Throttle {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            watched: HashMap::new(),
            by_end: BTreeSet::new(),
            evicted: 0,
        }
    }

    /// Whether requests from this address are refused now.
    pub(crate) fn is_blocked(&mut self, now: Instant, address: IpAddr) -> bool {
        self.expire(now);
        Subscriber::of(address)
            .and_then(|subscriber| self.watched.get(&subscriber))
            .is_some_and(|watched| watched.blocked)
    }

    /// A receiver refused a request from this address; true if it is blocked from now on. At the bound the address goes that would be
    /// forgotten first.
    pub(crate) fn refused(&mut self, now: Instant, address: IpAddr, rules: &Rules) -> bool {
        let Some(subscriber) = Subscriber::of(address).filter(|_| rules.limit > 0) else {
            return false;
        };
        self.expire(now);
        let before = self.remove(subscriber);
        if let Some(before) = before.as_ref().filter(|before| before.blocked) {
            // The answer to a question from before the block.
            self.insert(subscriber, before.refusals, true, before.end);
            return false;
        }
        let refusals = before.as_ref().map_or(0, |before| before.refusals) + 1;
        let blocked = refusals >= rules.limit;
        let end = match &before {
            _ if blocked => now + rules.block,
            Some(before) => before.end,
            None => now + rules.window,
        };
        self.insert(subscriber, refusals, blocked, end);
        blocked
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.watched.clear();
        self.by_end.clear();
    }

    /// Addresses that are watched.
    pub(crate) fn len(&self) -> usize {
        self.watched.len()
    }

    /// Addresses that were forgotten early because of the bound.
    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&(end, subscriber)) = self.by_end.first()
            && end <= now
        {
            self.remove(subscriber);
        }
    }

    fn insert(&mut self, subscriber: Subscriber, refusals: u32, blocked: bool, end: Instant) {
        while self.watched.len() >= self.most
            && let Some(&(_, first)) = self.by_end.first()
        {
            self.remove(first);
            self.evicted += 1;
        }
        self.by_end.insert((end, subscriber));
        let watched = Watched {
            refusals,
            blocked,
            end,
        };
        self.watched.insert(subscriber, watched);
    }

    fn remove(&mut self, subscriber: Subscriber) -> Option<Watched> {
        let watched = self.watched.remove(&subscriber)?;
        self.by_end.remove(&(watched.end, subscriber));
        Some(watched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        limit: 3,
        window: Duration::from_secs(60),
        block: Duration::from_secs(30),
    };

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn enough_refusals_within_the_window_block_for_a_while() {
        let (mut throttle, start, bad) = (Throttle::new(10), Instant::now(), address("192.0.2.1"));
        assert!(!throttle.refused(start, bad, &RULES));
        assert!(!throttle.refused(after(start, 10), bad, &RULES));
        assert!(!throttle.is_blocked(after(start, 10), bad));
        assert!(throttle.refused(after(start, 59), bad, &RULES));
        assert!(throttle.is_blocked(after(start, 59), bad));
        assert!(!throttle.is_blocked(after(start, 59), address("192.0.2.2")));
        assert!(
            !throttle.refused(after(start, 80), bad, &RULES),
            "a late answer does not block again"
        );
        assert!(throttle.is_blocked(after(start, 88), bad), "nor for longer");
        assert!(!throttle.is_blocked(after(start, 89), bad));
        assert!(
            !throttle.refused(after(start, 89), bad, &RULES),
            "the count starts anew"
        );
        assert_eq!(throttle.len(), 1);
    }

    #[test]
    fn refusals_further_apart_do_not_block() {
        let (mut throttle, start, bad) = (Throttle::new(10), Instant::now(), address("192.0.2.1"));
        for nth in 0..20 {
            assert!(!throttle.refused(after(start, nth * 31), bad, &RULES), "{nth}");
        }
    }

    #[test]
    fn of_ipv6_the_network_counts_and_mapped_addresses_are_ipv4() {
        let (mut throttle, now) = (Throttle::new(10), Instant::now());
        throttle.refused(now, address("2001:db8::1"), &RULES);
        throttle.refused(now, address("2001:db8::2"), &RULES);
        throttle.refused(now, address("2001:db8::ffff:0:0:3"), &RULES);
        assert!(throttle.is_blocked(now, address("2001:db8::4")));
        assert!(!throttle.is_blocked(now, address("2001:db8:0:1::4")));
        for _ in 0..3 {
            throttle.refused(now, address("::ffff:192.0.2.1"), &RULES);
        }
        assert!(throttle.is_blocked(now, address("192.0.2.1")));
    }

    #[test]
    fn this_machine_is_never_blocked_and_a_limit_of_zero_blocks_nobody() {
        let (mut throttle, now) = (Throttle::new(10), Instant::now());
        let off = Rules { limit: 0, ..RULES };
        for _ in 0..10 {
            for local in ["127.0.0.1", "127.3.0.1", "::1", "::ffff:127.0.0.1"] {
                assert!(!throttle.refused(now, address(local), &RULES), "{local}");
            }
            assert!(!throttle.refused(now, address("192.0.2.1"), &off));
        }
        assert_eq!(throttle.len(), 0);
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_goes() {
        let (mut throttle, start) = (Throttle::new(100), Instant::now());
        let nth = |nth: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + nth));
        for attacker in 0..1000 {
            throttle.refused(
                start + Duration::from_millis(attacker.into()),
                nth(attacker),
                &RULES,
            );
        }
        assert_eq!((throttle.len(), throttle.evicted()), (100, 900));
        assert_eq!(throttle.by_end.len(), 100);
        let now = after(start, 1);
        throttle.refused(now, nth(999), &RULES);
        assert!(
            throttle.refused(now, nth(999), &RULES),
            "the newest is still known"
        );
        assert!(!throttle.is_blocked(after(start, 61), nth(500)));
        assert_eq!(throttle.len(), 0, "all windows are over");
    }
}
