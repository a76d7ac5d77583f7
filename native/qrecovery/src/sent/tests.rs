//! Cases by rule, and a comparison with a model that scans everything every time.

use super::*;
use proptest::prelude::*;
use qbase::{Ecn, ErrorCode};

const LOSS_DELAY: Duration = Duration::from_millis(90);
const PACKET_THRESHOLD: u64 = 3;

#[test]
fn acknowledged_bytes_leave_the_flight_once() {
    let mut sent = sent_packets(4);
    let outcome = ack(&mut sent, [0..=1]).unwrap();
    assert_eq!((outcome.newly_acked, outcome.bytes_acked), (2, 2_400));
    assert_eq!(sent.bytes_in_flight(), 2_400);
    let repeated = ack(&mut sent, [0..=1]).unwrap();
    assert_eq!(repeated, AckOutcome::default());
    assert_eq!(sent.ack_eliciting_in_flight(), 2);
}

#[test]
fn frames_come_back_in_the_order_they_were_written() {
    let mut sent = SentPackets::new();
    sent.push(packet(0, 0), &[1, 2, 3]);
    sent.push(packet(1, 0), &[]);
    sent.push(packet(2, 0), &[4]);
    let mut seen = Vec::new();
    sent.on_ack([2..=2, 0..=0], |packet, frames| seen.push((packet.number, frames.collect::<Vec<u64>>()))).unwrap();
    assert_eq!(seen, vec![(2, vec![4]), (0, vec![1, 2, 3])]);
}

#[test]
fn attack_c1_acknowledging_a_packet_never_sent_is_a_violation() {
    let mut sent = sent_packets(4);
    assert_eq!(ack(&mut sent, [2..=4]).unwrap_err().code, ErrorCode::PROTOCOL_VIOLATION);
    assert_eq!(ack(&mut SentPackets::new(), [0..=0]).unwrap_err().code, ErrorCode::PROTOCOL_VIOLATION);
}

#[test]
fn attack_c2_acknowledging_a_skipped_number_is_a_violation_even_after_its_neighbours_are_gone() {
    let mut sent = sent_packets(4);
    sent.push(packet(5, 0), &[]);
    ack(&mut sent, [5..=5, 0..=3]).unwrap();
    assert_eq!(sent.records(), 0);
    assert_eq!(ack(&mut sent, [4..=4]).unwrap_err().code, ErrorCode::PROTOCOL_VIOLATION);
    assert_eq!(ack(&mut sent, [0..=5]).unwrap_err().code, ErrorCode::PROTOCOL_VIOLATION);
}

#[test]
fn attack_c2_the_number_skipped_last_cannot_be_acknowledged_before_the_next_is_sent() {
    let mut sent = sent_packets(4);
    assert_eq!(ack(&mut sent, [0..=4]).unwrap_err().code, ErrorCode::PROTOCOL_VIOLATION);
}

/// burst B-115.
#[test]
fn withdrawn_packets_are_neither_lost_nor_in_flight_and_their_acknowledgement_tells_nothing() {
    let mut sent = sent_packets(6);
    let mut gone = Vec::new();
    sent.withdraw(|number| number % 2 == 0, |packet, _| gone.push(packet.number));
    assert_eq!(gone, [0, 2, 4]);
    assert_eq!((sent.bytes_in_flight(), sent.ack_eliciting_in_flight()), (3_600, 3));
    let outcome = ack(&mut sent, [4..=4]).unwrap();
    assert_eq!((outcome.newly_acked, outcome.bytes_acked, outcome.rtt_from), (0, 0, None));
    let outcome = ack(&mut sent, [1..=5]).unwrap();
    assert_eq!(outcome.newly_acked, 3);
    assert_eq!(lose(&mut sent, 1_000).0, Vec::<u64>::new());
    assert_eq!(sent.records(), 0);
}

#[test]
fn a_packet_is_lost_three_positions_before_the_newest_acknowledged() {
    let mut sent = sent_packets(4);
    ack(&mut sent, [3..=3]).unwrap();
    let (lost, outcome) = lose(&mut sent, 1);
    assert_eq!(lost, vec![0]);
    assert_eq!((outcome.packets, outcome.bytes), (1, 1_200));
    assert_eq!(sent.bytes_in_flight(), 2_400);
}

/// attacks C2; traversal T-85.
#[test]
fn a_packet_in_no_record_may_be_acknowledged_and_numbers_beside_it_may_not() {
    let mut sent = SentPackets::new();
    sent.push(packet(0, 0), &[]);
    sent.pass(1);
    assert_eq!(ack(&mut sent, [0..=1]).unwrap().newly_acked, 1);
    sent.push(packet(2, 0), &[]);
    sent.pass(4);
    sent.push(packet(5, 0), &[]);
    assert_eq!(ack(&mut sent, [4..=5]).unwrap().newly_acked, 1);
    assert_eq!(lose(&mut sent, 1).0, Vec::<u64>::new(), "positions are those of records");
    assert!(ack(&mut sent, [2..=4]).is_err(), "number 3 was skipped");
}

#[test]
fn skipped_numbers_do_not_count_as_positions() {
    let mut sent = SentPackets::new();
    for number in [0, 10, 20] {
        sent.push(packet(number, 0), &[]);
    }
    ack(&mut sent, [20..=20]).unwrap();
    assert_eq!(lose(&mut sent, 1).0, Vec::<u64>::new());
    sent.push(packet(30, 1), &[]);
    ack(&mut sent, [30..=30]).unwrap();
    assert_eq!(lose(&mut sent, 1).0, vec![0]);
}

#[test]
fn a_packet_is_lost_by_time_when_its_loss_delay_is_over() {
    let mut sent = SentPackets::new();
    sent.push(packet(0, 0), &[]);
    sent.push(packet(1, 10), &[]);
    ack(&mut sent, [1..=1]).unwrap();
    let (lost, outcome) = lose(&mut sent, 89);
    assert!(lost.is_empty());
    assert_eq!(outcome.next_loss_time, Some(Timestamp::from_millis(90)));
    let (lost, outcome) = lose(&mut sent, 90);
    assert_eq!((lost, outcome.next_loss_time), (vec![0], None));
}

#[test]
fn packets_newer_than_the_newest_acknowledged_are_never_lost() {
    let mut sent = sent_packets(10);
    ack(&mut sent, [0..=0]).unwrap();
    let (lost, outcome) = lose(&mut sent, 100_000);
    assert_eq!((lost, outcome.next_loss_time), (vec![], None));
}

#[test]
fn a_late_acknowledgement_shows_that_a_loss_was_spurious() {
    let mut sent = sent_packets(6);
    ack(&mut sent, [3..=5]).unwrap();
    assert_eq!(lose(&mut sent, 1).0, vec![0, 1, 2]);
    let outcome = ack(&mut sent, [0..=5]).unwrap();
    assert_eq!((outcome.newly_acked, outcome.bytes_acked), (3, 0));
    let late = Late { packets: 3, in_flight: 3, bytes: 3_600, oldest_sent_at: Timestamp::ZERO, distance: 5 };
    assert_eq!(outcome.late, Some(late));
    assert_eq!((sent.bytes_in_flight(), sent.records()), (0, 0));
}

#[test]
fn an_rtt_sample_needs_a_newly_acknowledged_largest_and_an_ack_eliciting_packet() {
    let mut sent = SentPackets::new();
    sent.push(packet(0, 10), &[]);
    sent.push(ack_only(1, 20), &[]);
    sent.push(ack_only(2, 30), &[]);
    assert_eq!(ack(&mut sent, [2..=2]).unwrap().rtt_from, None);
    assert_eq!(ack(&mut sent, [0..=2]).unwrap().rtt_from, None);
    sent.push(packet(3, 40), &[]);
    sent.push(ack_only(4, 50), &[]);
    assert_eq!(ack(&mut sent, [3..=4]).unwrap().rtt_from, Some(Timestamp::from_millis(50)));
}

#[test]
fn newly_acknowledged_marks_are_counted_for_ecn_validation() {
    let mut sent = SentPackets::new();
    for (number, ecn) in [Ecn::Ect0, Ecn::Ect0, Ecn::Ect1, Ecn::NotEct].into_iter().enumerate() {
        sent.push(SentPacket { ecn, ..packet(number as u64, 0) }, &[]);
    }
    let outcome = ack(&mut sent, [1..=3]).unwrap();
    assert_eq!((outcome.ect0, outcome.ect1, outcome.newly_acked), (1, 1, 3));
}

#[test]
fn attack_c5_ack_only_packets_that_are_never_acknowledged_keep_a_bounded_number_of_records() {
    let mut sent = SentPackets::new();
    for number in 0..10_000 {
        sent.push(ack_only(number, number), &[number]);
        assert!(sent.records() <= limits::ACK_ONLY_RECORDS);
    }
    assert_eq!(sent.bytes_in_flight(), 0);
    assert_eq!(ack(&mut sent, [0..=9_999]).unwrap().newly_acked, 32);
}

#[test]
fn attack_c5_an_outstanding_packet_in_front_does_not_keep_ack_only_records_alive() {
    let mut sent = SentPackets::new();
    sent.push(packet(0, 0), &[0]);
    for number in 1..10_000 {
        sent.push(ack_only(number, 0), &[number]);
    }
    assert_eq!(sent.records(), limits::ACK_ONLY_RECORDS + 1);
    let mut newest = None;
    sent.on_ack([9_999..=9_999], |_, mut frames| newest = frames.next()).unwrap();
    assert_eq!(newest, Some(9_999), "the newest ACK is the one worth remembering");
    assert_eq!(sent.ack_eliciting_in_flight(), 1);
}

#[test]
fn losses_are_handed_out_in_the_order_they_were_sent_however_often_detection_runs() {
    let mut sent = sent_packets(12);
    ack(&mut sent, [9..=9, 5..=5]).unwrap();
    let mut lost = lose(&mut sent, 1).0;
    ack(&mut sent, [11..=11]).unwrap();
    lost.extend(lose(&mut sent, 1).0);
    assert_eq!(lost, vec![0, 1, 2, 3, 4, 6, 7, 8]);
}

#[test]
fn probes_take_the_oldest_ack_eliciting_packets_and_leave_them_outstanding() {
    let mut sent = SentPackets::new();
    sent.push(packet(0, 0), &[]);
    sent.push(ack_only(1, 0), &[]);
    sent.push(packet(2, 0), &[]);
    sent.push(packet(3, 0), &[]);
    ack(&mut sent, [0..=0]).unwrap();
    let mut seen = Vec::new();
    sent.for_oldest_unacked(2, |packet, _| seen.push(packet.number));
    assert_eq!(seen, vec![2, 3]);
    assert_eq!(sent.bytes_in_flight(), 2_400);
}

#[test]
fn a_drained_space_ignores_late_acknowledgements_but_still_knows_what_was_sent() {
    let mut sent = sent_packets(5);
    ack(&mut sent, [4..=4]).unwrap();
    lose(&mut sent, 0);
    let mut seen = Vec::new();
    sent.drain_all(|packet, _| seen.push(packet.number));
    assert_eq!(seen, vec![2, 3], "0 and 1 were handed out as lost");
    assert_eq!((sent.bytes_in_flight(), sent.ack_eliciting_in_flight(), sent.records()), (0, 0, 0));
    assert_eq!(ack(&mut sent, [0..=4]).unwrap(), AckOutcome::default());
    assert!(ack(&mut sent, [5..=5]).is_err());
    sent.push(packet(5, 9), &[]);
    assert_eq!(ack(&mut sent, [5..=5]).unwrap().newly_acked, 1);
}

#[test]
fn packets_of_the_old_network_path_are_recovered_but_touch_neither_rtt_nor_window() {
    let mut sent = sent_packets(6);
    sent.on_network_change();
    assert_eq!((sent.bytes_in_flight(), sent.ack_eliciting_in_flight()), (0, 6));
    let outcome = ack(&mut sent, [5..=5]).unwrap();
    assert_eq!((outcome.newly_acked, outcome.bytes_acked, outcome.rtt_from), (1, 0, None));
    let (lost, outcome) = lose(&mut sent, 1);
    assert_eq!((lost, outcome.bytes, outcome.newest_sent_at), (vec![0, 1, 2], 0, None));
    sent.push(packet(6, 50), &[]);
    assert_eq!(ack(&mut sent, [6..=6]).unwrap().rtt_from, Some(Timestamp::from_millis(50)));
}

#[test]
fn records_stay_within_twice_the_outstanding_ones_when_a_loss_stands_in_front() {
    let mut sent = sent_packets(1_000);
    ack(&mut sent, [1..=999]).unwrap();
    lose(&mut sent, 1);
    for number in 1_000..20_000 {
        sent.push(packet(number, number), &[]);
        ack(&mut sent, [1..=number]).unwrap();
        assert!(sent.records() <= 129, "{} records", sent.records());
    }
}

/// Scans all packets ever sent at every step.
#[derive(Default)]
struct Model {
    packets: Vec<(SentPacket, Fate)>,
    largest_acked: Option<u64>,
}

impl Model {
    fn on_ack(&mut self, acked: &[u64]) -> Vec<u64> {
        self.largest_acked = self.largest_acked.max(acked.iter().copied().max());
        let newly = self.packets.iter_mut().filter(|(packet, fate)| *fate != Fate::Acked && acked.contains(&packet.number));
        let mut newly: Vec<u64> = newly
            .map(|(packet, fate)| {
                *fate = Fate::Acked;
                packet.number
            })
            .collect();
        newly.sort_unstable();
        newly
    }

    fn detect_lost(&mut self, now: Timestamp) -> (Vec<u64>, Option<Timestamp>) {
        let Some(largest) = self.largest_acked else { return (Vec::new(), None) };
        let position = self.packets.iter().position(|(packet, _)| packet.number == largest).unwrap() as u64;
        let (mut lost, mut next) = (Vec::new(), None);
        for (index, (packet, fate)) in self.packets.iter_mut().enumerate() {
            if *fate != Fate::Outstanding || packet.number > largest {
                continue;
            }
            if position - index as u64 >= PACKET_THRESHOLD || packet.sent_at + LOSS_DELAY <= now {
                *fate = Fate::Lost;
                lost.push(packet.number);
            } else {
                next = Timestamp::earliest(next, Some(packet.sent_at + LOSS_DELAY));
            }
        }
        (lost, next)
    }

    fn outstanding(&self) -> impl Iterator<Item = &SentPacket> {
        self.packets.iter().filter(|(_, fate)| *fate == Fate::Outstanding).map(|(packet, _)| packet)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send { gap: u64, size: u16, kind: u8 },
    /// Acknowledges the packets whose bit is set, counted back from the newest.
    Ack(u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop_oneof![9 => Just(0u64), 1 => 1u64..4], 20u16..1_500, 0u8..8)
            .prop_map(|(gap, size, kind)| Step::Send { gap, size, kind }),
        2 => any::<u64>().prop_map(Step::Ack),
        1 => (0u64..6).prop_map(|shift| Step::Ack(1 << shift)),
        1 => (0u64..60).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_model_that_scans_everything(steps in proptest::collection::vec(step(), 1..100)) {
        let (mut sent, mut model) = (SentPackets::new(), Model::default());
        let (mut now, mut number) = (0, 0);
        for step in steps {
            match step {
                Step::Send { gap, size, kind } => {
                    number += gap;
                    let kind_flags = (kind > 1, kind > 0);
                    let packet = SentPacket { size, ack_eliciting: kind_flags.0, in_flight: kind_flags.1, ..packet(number, now) };
                    if kind > 0 || model.outstanding().filter(|packet| packet.is_ack_only()).count() < 32 {
                        sent.push(packet, &frames_of(number));
                        model.packets.push((packet, Fate::Outstanding));
                        number += 1;
                    }
                }
                Step::Ack(bits) => {
                    let newest_first = model.packets.iter().rev().take(64).enumerate();
                    let acked: Vec<u64> = newest_first.filter(|(i, _)| bits >> i & 1 == 1).map(|(_, (p, _))| p.number).collect();
                    let mut seen = Vec::new();
                    let outcome = sent.on_ack(descending_ranges(&acked), |packet, frames| {
                        assert_eq!(frames.collect::<Vec<_>>(), frames_of(packet.number));
                        seen.push(packet.number);
                    });
                    let outcome = outcome.unwrap();
                    seen.sort_unstable();
                    prop_assert_eq!(outcome.newly_acked, seen.len() as u64);
                    prop_assert_eq!(seen, model.on_ack(&acked));
                }
                Step::Wait(millis) => now += millis,
            }
            let mut lost = Vec::new();
            let outcome = sent.detect_lost(Timestamp::from_millis(now), LOSS_DELAY, PACKET_THRESHOLD, |packet, frames| {
                assert_eq!(frames.collect::<Vec<_>>(), frames_of(packet.number));
                lost.push(packet.number);
            });
            prop_assert_eq!((lost, outcome.next_loss_time), model.detect_lost(Timestamp::from_millis(now)));
            prop_assert_eq!(sent.bytes_in_flight(), model.outstanding().map(SentPacket::in_flight_bytes).sum::<u64>());
            prop_assert_eq!(sent.ack_eliciting_in_flight(), model.outstanding().filter(|packet| packet.ack_eliciting).count() as u64);
            let mut oldest = Vec::new();
            sent.for_oldest_unacked(3, |packet, _| oldest.push(packet.number));
            let expected: Vec<u64> = model.outstanding().filter(|packet| packet.ack_eliciting).take(3).map(|packet| packet.number).collect();
            prop_assert_eq!(oldest, expected);
        }
    }
}

fn packet(number: u64, sent_at_millis: u64) -> SentPacket {
    let sent_at = Timestamp::from_millis(sent_at_millis);
    SentPacket { number, sent_at, size: 1_200, ack_eliciting: true, in_flight: true, mtu_probe: false, ecn: Ecn::NotEct }
}

fn ack_only(number: u64, sent_at_millis: u64) -> SentPacket {
    SentPacket { size: 40, ack_eliciting: false, in_flight: false, ..packet(number, sent_at_millis) }
}

/// Packets `0..count`, sent at time 0.
fn sent_packets(count: u64) -> SentPackets<u64> {
    let mut sent = SentPackets::new();
    (0..count).for_each(|number| sent.push(packet(number, 0), &[number]));
    sent
}

fn ack<const N: usize>(sent: &mut SentPackets<u64>, ranges: [RangeInclusive<u64>; N]) -> Result<AckOutcome, TransportError> {
    sent.on_ack(ranges, |_, _| {})
}

fn lose(sent: &mut SentPackets<u64>, now_millis: u64) -> (Vec<u64>, LossOutcome) {
    let mut lost = Vec::new();
    let now = Timestamp::from_millis(now_millis);
    let outcome = sent.detect_lost(now, LOSS_DELAY, PACKET_THRESHOLD, |packet, _| lost.push(packet.number));
    (lost, outcome)
}

fn frames_of(number: u64) -> Vec<u64> {
    (0..number % 4).map(|index| number * 10 + index).collect()
}

/// Numbers in descending order as the ranges of an ACK frame.
fn descending_ranges(numbers: &[u64]) -> Vec<RangeInclusive<u64>> {
    let set: RangeSet = numbers.iter().map(|&number| number..number + 1).collect();
    set.iter().rev().map(|range| range.start..=range.end - 1).collect()
}
