//! Tables of what was received and when its acknowledgement is due.

use proptest::prelude::*;

use super::*;

const DELAY: Duration = Duration::from_millis(25);

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn after(packets: &[(u64, AckEliciting, Order, Ecn)]) -> AckPolicy {
    let mut policy = AckPolicy::new(DELAY);
    for &(time, ack_eliciting, order, ecn) in packets {
        let packet = Arrived { number: 0, ack_eliciting, order, ecn, smoothed_rtt: DELAY };
        policy.on_packet(at(time), &packet, |_| None);
    }
    policy
}

/// An ack-eliciting packet in order.
fn next(policy: &mut AckPolicy, now: Timestamp) {
    take(policy, now, AckEliciting::Yes);
}

fn take(policy: &mut AckPolicy, now: Timestamp, ack_eliciting: AckEliciting) {
    let packet = Arrived { number: 0, ack_eliciting, order: Order::Next, ecn: Ecn::NotEct, smoothed_rtt: DELAY };
    policy.on_packet(now, &packet, |_| None);
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
    policy.on_ack_sent(at(10), 0);
    assert_eq!((policy.deadline(), policy.pending(), policy.due(at(1_000))), (None, false, false));
    next(&mut policy, at(50));
    assert_eq!(policy.deadline(), Some(at(75)));
}

#[test]
fn an_ack_that_never_left_is_due_again() {
    let mut policy = after(&[(10, AckEliciting::Yes, Order::Gap, Ecn::NotEct)]);
    policy.on_ack_sent(at(10), 0);
    policy.on_ack_cancelled(at(11));
    assert_eq!((policy.deadline(), policy.pending()), (Some(at(11)), true));
}

#[test]
fn handshake_packets_are_acknowledged_at_once() {
    let mut policy = AckPolicy::immediate();
    next(&mut policy, at(10));
    assert!(policy.due(at(10)));
}

// attacks C12
#[test]
fn flood_of_pings_gets_one_ack_per_two() {
    let mut policy = AckPolicy::new(DELAY);
    let mut acks = 0;
    for micros in (0..1_000_000).step_by(10) {
        let now = Timestamp::from_micros(micros);
        next(&mut policy, now);
        if policy.due(now) {
            policy.on_ack_sent(now, 0);
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
                policy.on_ack_sent(at(now), 0);
            }
            next(&mut policy, at(now));
            let deadline = policy.deadline();
            prop_assert!(deadline.is_some_and(|deadline| deadline <= at(now) + DELAY));
        }
    }
}

const STRETCHED: AckFrequency = AckFrequency { threshold: 9, max_ack_delay: Duration::from_millis(10), reordering: 3 };

/// Packets as they come in, and at which of them an ACK went out.
fn acknowledged(asked: AckFrequency, numbers: &[PacketNumber]) -> Vec<PacketNumber> {
    let (mut policy, mut seen) = (AckPolicy::new(DELAY), std::collections::BTreeSet::new());
    policy.on_asked(asked);
    let mut acknowledged = Vec::new();
    for &number in numbers {
        let order = match seen.last() {
            Some(&largest) if number < largest => Order::Late,
            Some(&largest) if number > largest + 1 => Order::Gap,
            _ => Order::Next,
        };
        seen.insert(number);
        let packet = Arrived { number, ack_eliciting: AckEliciting::Yes, order, ecn: Ecn::Ect0, smoothed_rtt: DELAY };
        policy.on_packet(at(10), &packet, |mut range| range.find(|number| !seen.contains(number)));
        if policy.due(at(10)) {
            policy.on_ack_sent(at(10), seen.last().copied().unwrap_or_default());
            acknowledged.push(number);
        }
    }
    acknowledged
}

/// The tables of draft-ietf-quic-ack-frequency §6.2.1, and what late packets do.
#[test]
fn reordering_is_told_once_it_reaches_the_threshold() {
    let only = |reordering| AckFrequency { threshold: 1_000, reordering, ..STRETCHED };
    assert_eq!(acknowledged(only(3), &[0, 1, 3, 4, 5, 8, 9, 10]), [5, 9, 10]);
    assert_eq!(acknowledged(only(5), &[0, 1, 3, 5, 6, 7, 8, 9]), [7, 9]);
    assert_eq!(acknowledged(only(1), &[0, 1, 3, 4, 2]), [3, 2]);
    assert_eq!(acknowledged(only(0), &[0, 1, 3, 4, 9, 2]), []);
    // 2 comes after the peer could declare it lost, 7 before.
    assert_eq!(acknowledged(only(3), &[0, 1, 3, 4, 5, 2, 6, 8, 7]), [5, 2]);
}

#[test]
fn the_threshold_is_the_number_of_packets_that_may_wait() {
    for (threshold, expected) in [(0, vec![0, 1, 2, 3, 4, 5]), (1, vec![1, 3, 5]), (2, vec![2, 5]), (9, vec![])] {
        assert_eq!(acknowledged(AckFrequency { threshold, ..STRETCHED }, &[0, 1, 2, 3, 4, 5]), expected, "{threshold}");
    }
}

#[test]
fn only_a_change_to_congestion_experienced_is_told_at_once_when_few_acks_are_wanted() {
    let due = |threshold: u64, marks: &[Ecn]| {
        let mut policy = AckPolicy::new(DELAY);
        policy.on_asked(AckFrequency { threshold, ..STRETCHED });
        let mut due = Vec::new();
        for (number, &ecn) in (0..).zip(marks) {
            let packet = Arrived { number, ack_eliciting: AckEliciting::Yes, order: Order::Next, ecn, smoothed_rtt: DELAY };
            policy.on_packet(at(10), &packet, |_| None);
            due.push(policy.due(at(10)));
            if policy.due(at(10)) {
                policy.on_ack_sent(at(10), number);
            }
        }
        due
    };
    use Ecn::{Ce, Ect0};
    assert_eq!(due(9, &[Ect0, Ce, Ce, Ect0, Ce]), [false, true, false, false, true]);
    assert_eq!(due(1, &[Ce, Ce, Ce]), [true, true, true], "as RFC 9000 has it");
}

#[test]
fn the_delay_asked_for_counts_but_not_after_a_long_silence() {
    let mut policy = AckPolicy::new(DELAY);
    policy.on_asked(AckFrequency { max_ack_delay: Duration::from_millis(80), ..STRETCHED });
    next(&mut policy, at(10));
    assert_eq!(policy.deadline(), Some(at(35)), "no acknowledgement was ever sent");
    policy.on_ack_sent(at(35), 0);
    next(&mut policy, at(40));
    assert_eq!(policy.deadline(), Some(at(120)));
    policy.on_ack_sent(at(50), 0);
    next(&mut policy, at(76));
    assert_eq!(policy.deadline(), Some(at(101)), "more than a round trip after the last one");
}

/// No range may be forgotten before it was told once (draft-ietf-quic-ack-frequency §6).
#[test]
fn many_gaps_are_told_whatever_was_asked_for() {
    let every_second: Vec<PacketNumber> = (0..100).map(|number| number * 2).collect();
    let never = AckFrequency { threshold: 1 << 40, reordering: 0, ..STRETCHED };
    let told = acknowledged(never, &every_second);
    assert!(told.len() >= 100 / usize::from(limits::OUT_OF_ORDER_BEFORE_ACK), "{told:?}");
}

// attacks C12
#[test]
fn attack_c12_a_flood_of_wishes_for_acks_gets_no_more_than_one_per_two_packets() {
    let mut policy = AckPolicy::new(DELAY);
    let mut acks = 0;
    for micros in (0..1_000_000).step_by(10) {
        let now = Timestamp::from_micros(micros);
        take(&mut policy, now, AckEliciting::AtOnce);
        if policy.due(now) {
            policy.on_ack_sent(now, 0);
            acks += 1;
        }
    }
    assert!(acks <= 50_000 + u32::from(limits::IMMEDIATE_ACKS), "{acks}");
}

#[test]
fn a_wish_for_an_ack_is_obeyed_at_once() {
    let mut policy = AckPolicy::new(DELAY);
    policy.on_asked(STRETCHED);
    take(&mut policy, at(10), AckEliciting::AtOnce);
    assert_eq!(policy.deadline(), Some(at(10)));
}
