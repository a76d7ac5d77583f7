//! The wire: when a datagram that leaves now arrives.
//!
//! Datagrams arrive in the order they left, whatever jitter or a changed delay says; only [`super::Reorder`] lets
//! later ones overtake.

use std::time::Duration;

use qbase::Timestamp;

/// The far end of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wire {
    /// Latest arrival of a datagram in order.
    last_arrival: Timestamp,
}

impl Wire {
    /// Arrival of a datagram that leaves at `now` and takes `delay`; not before one that left earlier.
    pub fn in_order(&mut self, now: Timestamp, delay: Duration) -> Timestamp {
        self.last_arrival = self.last_arrival.max(now + delay);
        self.last_arrival
    }

    /// Arrival of a datagram that is held back by `extra`; the ones behind it do not wait.
    #[must_use]
    pub fn held_back(&self, now: Timestamp, delay: Duration, extra: Duration) -> Timestamp {
        self.last_arrival.max(now + delay) + extra
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn delay_is_exact() {
        let mut wire = Wire::default();
        let now = Timestamp::from_millis(10);
        assert_eq!(wire.in_order(now, 20 * MS), Timestamp::from_millis(30));
    }

    #[test]
    fn a_shorter_delay_does_not_overtake() {
        let mut wire = Wire::default();
        let slow = wire.in_order(Timestamp::from_millis(10), 100 * MS);
        assert_eq!(wire.in_order(Timestamp::from_millis(11), 5 * MS), slow);
    }

    #[test]
    fn a_held_back_datagram_is_overtaken() {
        let mut wire = Wire::default();
        let held = wire.held_back(Timestamp::from_millis(10), 20 * MS, 5 * MS);
        let next = wire.in_order(Timestamp::from_millis(11), 20 * MS);
        assert_eq!((held, next), (Timestamp::from_millis(35), Timestamp::from_millis(31)));
    }
}
