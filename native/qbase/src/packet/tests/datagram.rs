//! Datagrams of several packets.

use super::{initial, long_packet};
use crate::{VERSION_1, packet::*};

#[test]
fn coalesced_packets_come_one_after_the_other() {
    let short = [vec![0x41], vec![0xd; 8], vec![7; 30]].concat();
    let handshake = long_packet(0xe0, VERSION_1, 8, 8, &[[0x40, 30].as_slice(), &[7; 30]].concat());
    let mut datagram = [initial(8, 50), handshake.clone(), short.clone()].concat();
    let packets: Vec<_> = coalesced::split(&mut datagram, 8, FixedBit::Required)
        .map(|packet| packet.map(|(h, b)| (h.kind, b.to_vec())))
        .collect();
    assert_eq!(
        packets,
        [
            Ok((PacketType::Initial, initial(8, 50))),
            Ok((PacketType::Handshake, handshake)),
            Ok((PacketType::OneRtt, short))
        ]
    );
}

#[test]
fn a_coalesced_packet_for_another_connection_is_stepped_over() {
    // attacks A6, RFC 9000 §12.2
    let mut datagram = [initial(8, 50), initial(9, 50), initial(8, 40)].concat();
    let packets: Vec<_> =
        coalesced::split(&mut datagram, 8, FixedBit::Required).map(|p| p.map(|(h, _)| h.end)).collect();
    assert_eq!(packets, [Ok(76), Err(PacketError::OtherConnection), Ok(66)]);
}

#[test]
fn many_tiny_coalesced_packets_are_each_dropped_once() {
    // attacks A7
    let mut datagram = initial(8, 0).repeat(200);
    let mut packets = coalesced::split(&mut datagram, 8, FixedBit::Required);
    assert_eq!(packets.by_ref().filter(|packet| *packet == Err(PacketError::TooShort)).count(), 200);
    assert!(packets.next().is_none());
}

#[test]
fn bytes_that_are_no_packet_end_a_datagram() {
    let mut datagram = [initial(8, 50), vec![0; 100]].concat();
    let mut packets = coalesced::split(&mut datagram, 8, FixedBit::Required);
    assert!(packets.next().unwrap().is_ok());
    assert_eq!(packets.next(), Some(Err(PacketError::FixedBitClear)), "zeros behind a packet");
    assert!(packets.next().is_none());
}
