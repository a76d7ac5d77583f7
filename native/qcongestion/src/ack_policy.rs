//! When received packets must be acknowledged (RFC 9000 §13.2.1, §13.2.2).
//!
//! Fed with every accepted packet of a space, asked once per receive batch. Every second ack-eliciting packet is due, gaps
//! and congestion marks are due at once, anything else within `max_ack_delay`; a flood of PINGs gets no more (attacks
//! C12). Never keeps packet numbers: `qrecovery` does.

use std::time::Duration;

use qbase::{Ecn, Timestamp};

use crate::later;

/// Ack-eliciting packets that make an ACK due (RFC 9000 §13.2.2).
pub const THRESHOLD: u32 = 2;

/// Whether a packet asks for an ACK (RFC 9000 §13.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckEliciting {
    /// It holds a frame other than ACK, PADDING and CONNECTION_CLOSE.
    Yes,
    /// It does not.
    No,
}

/// Where a packet's number stands among those received in its space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The number after the largest.
    Next,
    /// Above the number after the largest: some are missing.
    Gap,
    /// Below the largest: late, or fills a gap.
    Late,
    /// Received before; it has no effect (RFC 9000 §12.3).
    Duplicate,
}

/// When the next ACK of one space is due.
#[derive(Clone, Debug)]
pub struct AckPolicy {
    /// Longest an ACK waits; zero for Initial and Handshake.
    max_ack_delay: Duration,
    /// Ack-eliciting packets received since the last ACK.
    unacked: u32,
    /// When the ACK for them is due; `None` if there are none.
    due_at: Option<Timestamp>,
}

impl AckPolicy {
    /// A space whose ACKs wait at most `max_ack_delay`, the value we announced.
    #[must_use]
    pub const fn new(max_ack_delay: Duration) -> Self {
        Self { max_ack_delay, unacked: 0, due_at: None }
    }

    /// The Initial or Handshake space: every ack-eliciting packet is acknowledged at once (RFC 9000 §13.2.1).
    #[must_use]
    pub const fn immediate() -> Self {
        Self::new(Duration::ZERO)
    }

    /// A packet was received and processed; `ecn` is the mark of its datagram, and a CE mark is told at once (RFC 9000
    /// §13.2.1).
    pub fn on_packet(&mut self, now: Timestamp, ack_eliciting: AckEliciting, order: Order, ecn: Ecn) {
        if ack_eliciting == AckEliciting::No || order == Order::Duplicate {
            return;
        }
        self.unacked = self.unacked.saturating_add(1);
        let at_once = self.unacked >= THRESHOLD || order != Order::Next || ecn == Ecn::Ce;
        let due_at = if at_once { now } else { later(now, self.max_ack_delay) };
        self.due_at = Timestamp::earliest(self.due_at, Some(due_at));
    }

    /// Whether an ACK must go out now, in a packet of its own if need be.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> bool {
        self.due_at.is_some_and(|due_at| due_at <= now)
    }

    /// Whether an ACK would tell the peer something it waits for: worth adding to a packet that goes out anyway.
    #[must_use]
    pub const fn pending(&self) -> bool {
        self.unacked > 0
    }

    /// When an ACK is due; `None` while nothing waits for one.
    #[must_use]
    pub const fn deadline(&self) -> Option<Timestamp> {
        self.due_at
    }

    /// An ACK with everything received went out.
    pub const fn on_ack_sent(&mut self) {
        self.unacked = 0;
        self.due_at = None;
    }

    /// The ACK written last never left: what it told is due at once.
    pub fn on_ack_cancelled(&mut self, now: Timestamp) {
        self.unacked = self.unacked.max(1);
        self.due_at = Timestamp::earliest(self.due_at, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DELAY: Duration = Duration::from_millis(25);

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn after(packets: &[(u64, AckEliciting, Order, Ecn)]) -> AckPolicy {
        let mut policy = AckPolicy::new(DELAY);
        for &(time, eliciting, order, ecn) in packets {
            policy.on_packet(at(time), eliciting, order, ecn);
        }
        policy
    }

    #[test]
    fn deadline_follows_what_was_received() {
        use AckEliciting::{No, Yes};
        use Ecn::{Ce, Ect0, NotEct};
        use Order::{Duplicate, Gap, Late, Next};
        type Case = (&'static str, &'static [(u64, AckEliciting, Order, Ecn)], Option<u64>);
        let cases: [Case; 10] = [
            ("nothing", &[], None),
            ("one", &[(10, Yes, Next, Ect0)], Some(35)),
            ("second is due at once", &[(10, Yes, Next, NotEct), (12, Yes, Next, NotEct)], Some(12)),
            ("third changes nothing", &[(10, Yes, Next, NotEct), (12, Yes, Next, NotEct), (13, Yes, Next, NotEct)], Some(12)),
            ("gap", &[(10, Yes, Gap, NotEct)], Some(10)),
            ("late", &[(10, Yes, Late, NotEct)], Some(10)),
            ("congestion mark", &[(10, Yes, Next, Ce)], Some(10)),
            ("duplicates do not ask again", &[(10, Yes, Next, NotEct), (11, Yes, Duplicate, Ce)], Some(35)),
            ("ACKs are not acknowledged", &[(10, No, Next, NotEct), (11, No, Gap, Ce)], None),
            ("ACKs do not postpone", &[(10, Yes, Next, NotEct), (20, No, Next, NotEct)], Some(35)),
        ];
        for (name, packets, expected) in cases {
            assert_eq!(after(packets).deadline(), expected.map(at), "{name}");
        }
    }

    #[test]
    fn ack_is_due_from_the_deadline_on() {
        let policy = after(&[(10, AckEliciting::Yes, Order::Next, Ecn::NotEct)]);
        assert_eq!([10, 34, 35, 99].map(|time| policy.due(at(time))), [false, false, true, true]);
        assert!(policy.pending());
    }

    #[test]
    fn sent_ack_settles_everything() {
        let mut policy = after(&[(10, AckEliciting::Yes, Order::Gap, Ecn::NotEct)]);
        policy.on_ack_sent();
        assert_eq!((policy.deadline(), policy.pending(), policy.due(at(1_000))), (None, false, false));
        policy.on_packet(at(50), AckEliciting::Yes, Order::Next, Ecn::NotEct);
        assert_eq!(policy.deadline(), Some(at(75)));
    }

    #[test]
    fn an_ack_that_never_left_is_due_again() {
        let mut policy = after(&[(10, AckEliciting::Yes, Order::Gap, Ecn::NotEct)]);
        policy.on_ack_sent();
        policy.on_ack_cancelled(at(11));
        assert_eq!((policy.deadline(), policy.pending()), (Some(at(11)), true));
    }

    #[test]
    fn handshake_packets_are_acknowledged_at_once() {
        let mut policy = AckPolicy::immediate();
        policy.on_packet(at(10), AckEliciting::Yes, Order::Next, Ecn::NotEct);
        assert!(policy.due(at(10)));
    }

    // attacks C12
    #[test]
    fn flood_of_pings_gets_one_ack_per_two() {
        let mut policy = AckPolicy::new(DELAY);
        let mut acks = 0;
        for micros in (0..1_000_000).step_by(10) {
            let now = Timestamp::from_micros(micros);
            policy.on_packet(now, AckEliciting::Yes, Order::Next, Ecn::NotEct);
            if policy.due(now) {
                policy.on_ack_sent();
                acks += 1;
            }
        }
        assert_eq!(acks, 50_000);
    }

    #[test]
    fn batch_of_packets_gets_one_ack() {
        let policy = after(&[(10, AckEliciting::Yes, Order::Next, Ecn::NotEct); 64]);
        assert_eq!(policy.deadline(), Some(at(10)));
    }

    proptest! {
        #[test]
        fn no_ack_eliciting_packet_waits_longer_than_max_ack_delay(gaps in prop::collection::vec(0_u64..60, 1..50)) {
            let mut policy = AckPolicy::new(DELAY);
            let mut now = 0;
            for gap in gaps {
                now += gap;
                if policy.due(at(now)) {
                    policy.on_ack_sent();
                }
                policy.on_packet(at(now), AckEliciting::Yes, Order::Next, Ecn::NotEct);
                let deadline = policy.deadline();
                prop_assert!(deadline.is_some_and(|deadline| deadline <= at(now) + DELAY));
            }
        }
    }
}
