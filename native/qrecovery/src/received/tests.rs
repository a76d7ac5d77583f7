//! Cases by rule, and a comparison with a plain set of numbers.

use super::*;
use proptest::prelude::*;
use qbase::limits;
use std::collections::BTreeSet;

#[test]
fn a_number_is_next_a_gap_late_or_a_duplicate() {
    let cases = [(0, Receipt::Next), (1, Receipt::Next), (4, Receipt::Gap), (2, Receipt::Late), (4, Receipt::Duplicate),
        (0, Receipt::Duplicate), (5, Receipt::Next), (3, Receipt::Late)];
    let mut received = ReceivedPackets::new(limits::ACK_RANGES);
    for (number, expected) in cases {
        assert_eq!(receive(&mut received, number), expected, "packet {number}");
    }
    assert_eq!(reported(&received), vec![0..=5]);
}

#[test]
fn the_first_packet_is_next_whatever_its_number() {
    assert_eq!(receive(&mut ReceivedPackets::new(limits::ACK_RANGES), 17), Receipt::Next);
}

#[test]
fn ranges_are_reported_from_the_highest_down() {
    let mut received = ReceivedPackets::new(limits::ACK_RANGES);
    for number in [0, 1, 5, 9, 8] {
        receive(&mut received, number);
    }
    assert_eq!(reported(&received), vec![8..=9, 5..=5, 0..=1]);
}

#[test]
fn the_largest_packet_keeps_its_own_arrival_time() {
    let mut received = ReceivedPackets::new(limits::ACK_RANGES);
    received.on_packet(7, Timestamp::from_millis(1), Ecn::NotEct);
    received.on_packet(6, Timestamp::from_millis(2), Ecn::NotEct);
    assert_eq!(received.largest(), Some(Largest { number: 7, received_at: Timestamp::from_millis(1) }));
}

#[test]
fn marks_are_counted_once_per_packet() {
    let mut received = ReceivedPackets::new(limits::ACK_RANGES);
    for (number, ecn) in [(0, Ecn::Ect0), (1, Ecn::Ce), (1, Ecn::Ce), (2, Ecn::Ect1), (3, Ecn::NotEct), (4, Ecn::Ect0)] {
        received.on_packet(number, Timestamp::ZERO, ecn);
    }
    assert_eq!(received.ecn(), EcnCounts { ect0: 2, ect1: 1, ce: 1 });
}

#[test]
fn what_the_peer_knows_to_be_acknowledged_is_not_reported_again() {
    let mut received = ReceivedPackets::new(limits::ACK_RANGES);
    for number in [0, 2, 4, 6, 7] {
        receive(&mut received, number);
    }
    received.on_ack_of_ack(4);
    assert_eq!(reported(&received), vec![6..=7]);
    assert_eq!(receive(&mut received, 2), Receipt::Duplicate);
    assert_eq!(receive(&mut received, 3), Receipt::Late, "late, but never seen");
    assert_eq!(reported(&received), vec![6..=7, 3..=3]);
}

#[test]
fn the_largest_number_is_reported_even_if_the_peer_knows_it() {
    let mut received = ReceivedPackets::new(limits::ACK_RANGES);
    for number in 0..10 {
        receive(&mut received, number);
    }
    received.on_ack_of_ack(9);
    assert_eq!(reported(&received), vec![9..=9]);
    receive(&mut received, 3);
    assert_eq!(reported(&received), vec![9..=9]);
}

#[test]
fn attack_c4_every_second_number_missing_keeps_sixty_four_ranges_and_processes_nothing_twice() {
    let mut received = ReceivedPackets::new(limits::ACK_RANGES);
    for number in (0..100_000).step_by(2) {
        assert!(!receive(&mut received, number).is_duplicate());
        assert!(received.held_ranges() <= limits::ACK_RANGES);
    }
    assert_eq!(received.ranges().len(), limits::ACK_RANGES);
    for number in (0..100_000).step_by(2) {
        assert!(received.is_duplicate(number));
        assert!(receive(&mut received, number).is_duplicate(), "packet {number}");
    }
}

#[test]
fn attack_a19_a_flood_of_duplicates_changes_nothing() {
    let mut received = ReceivedPackets::new(limits::ACK_RANGES_HANDSHAKE);
    receive(&mut received, 3);
    let before = format!("{received:?}");
    for _ in 0..1_000 {
        assert!(receive(&mut received, 3).is_duplicate());
    }
    assert_eq!(format!("{received:?}"), before);
}

proptest! {
    #[test]
    fn no_packet_is_new_twice_and_reports_hold_only_received_numbers(
        steps in proptest::collection::vec((0u64..200, any::<bool>(), 0u64..200), 1..200), limit in 1usize..10,
    ) {
        let mut received = ReceivedPackets::new(limit);
        let mut model = BTreeSet::new();
        for (number, acknowledge, largest) in steps {
            let fresh = !receive(&mut received, number).is_duplicate();
            prop_assert!(!(fresh && model.contains(&number)), "{} was new twice", number);
            if fresh {
                model.insert(number);
            }
            if acknowledge {
                received.on_ack_of_ack(largest);
            }
            let ranges = reported(&received);
            prop_assert!(ranges.len() <= limit && received.held_ranges() <= limit);
            prop_assert!(ranges.iter().cloned().flatten().all(|number| model.contains(&number)));
            prop_assert_eq!(ranges.first().map(|range| *range.end()), model.last().copied(), "the largest is reported");
        }
    }
}

fn receive(received: &mut ReceivedPackets, number: u64) -> Receipt {
    received.on_packet(number, Timestamp::ZERO, Ecn::NotEct)
}

fn reported(received: &ReceivedPackets) -> Vec<RangeInclusive<u64>> {
    received.ranges().collect()
}
