//! How much a stranger may use: rates over a table of fixed size, whoever comes (attacks R2).
//!
//! Decides by a bucket per cell; which cell a key has is hidden by a seed, so that nobody can pick whom to starve. Keys that
//! share a cell share its rate. Called by the STUN server and the relay. Never grows.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use qbase::Timestamp;

/// Whose rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// All together.
    Everyone,
    /// An IPv4 address or an IPv6 network of 64 bits: what one subscriber has.
    Network(IpAddr),
    /// One socket.
    Socket(SocketAddr),
}

/// Buckets: `rate` units a second flow in, `burst` units fit.
#[derive(Debug)]
pub(crate) struct Rates {
    /// The instant at which each bucket is full again; in the past: it is full.
    full_at: Vec<Timestamp>,
    rate: u64,
    /// How long an empty bucket takes to fill; `None`: for ever.
    full: Option<Duration>,
    seed: u64,
}

/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

impl Rates {
    /// `cells` full buckets. A rate of 0 lets nothing through.
    pub(crate) fn new(cells: usize, rate: u64, burst: u64, seed: u64) -> Self {
        Self { full_at: vec![Timestamp::ZERO; cells.max(1)], rate, full: nanos(burst, rate), seed }
    }

    /// Takes `cost` units from the key's bucket, or nothing where there are fewer.
    #[must_use]
    pub(crate) fn take(&mut self, key: Key, cost: u64, now: Timestamp) -> bool {
        let (Some(cost), Some(full)) = (nanos(cost, self.rate), self.full) else { return false };
        let cell = self.cell(key);
        let Some(full_at) = self.full_at.get_mut(cell) else { return false };
        let after = (*full_at).max(now) + cost;
        if after.saturating_since(now) > full {
            return false;
        }
        *full_at = after;
        true
    }

    fn cell(&self, key: Key) -> usize {
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        match key {
            Key::Everyone => {}
            Key::Network(IpAddr::V4(ip)) => ip.hash(&mut hasher),
            Key::Network(IpAddr::V6(ip)) => ip.segments().first_chunk::<4>().hash(&mut hasher),
            Key::Socket(address) => address.hash(&mut hasher),
        }
        let cells = u64::try_from(self.full_at.len()).unwrap_or(u64::MAX);
        hasher.finish().checked_rem(cells).and_then(|cell| usize::try_from(cell).ok()).unwrap_or(0)
    }
}

/// How long `units` take to flow in.
fn nanos(units: u64, rate: u64) -> Option<Duration> {
    // Division of 128 bits is slow, and hardly ever needed.
    let nanos = match units.checked_mul(SECOND) {
        Some(product) => product.checked_div(rate)?,
        None => u64::try_from(u128::from(units).saturating_mul(SECOND.into()).checked_div(rate.into())?).unwrap_or(u64::MAX),
    };
    Some(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut rates = Rates::new(64, 10, 5, 1);
        let key = Key::Network("192.0.2.1".parse().unwrap());
        let start = Timestamp::from_millis(1_000);
        for n in 0..5 {
            assert!(rates.take(key, 1, start), "{n}");
        }
        assert!(!rates.take(key, 1, start));
        assert!(!rates.take(key, 1, start + Duration::from_millis(99)));
        assert!(rates.take(key, 1, start + Duration::from_millis(100)));
        assert!(!rates.take(key, 1, start + Duration::from_millis(100)));
        assert!(rates.take(key, 5, start + Duration::from_secs(60)));
        assert!(!rates.take(key, 6, start + Duration::from_secs(600)), "more than fits");
        assert!(!Rates::new(1, 0, 5, 1).take(key, 1, start));
    }

    /// attacks R2: a table of fixed size, and one network's hosts share a rate.
    #[test]
    fn hosts_of_one_ipv6_network_share_a_bucket_and_the_table_never_grows() {
        let mut rates = Rates::new(64, 1, 1, 1);
        let now = Timestamp::from_millis(5);
        assert!(rates.take(Key::Network("2001:db8::1".parse().unwrap()), 1, now));
        assert!(!rates.take(Key::Network("2001:db8::2".parse().unwrap()), 1, now));
        for n in 0..10_000_u32 {
            let _ = rates.take(Key::Network(IpAddr::V4(n.into())), 1, now);
        }
        assert_eq!(rates.full_at.len(), 64);
    }
}
