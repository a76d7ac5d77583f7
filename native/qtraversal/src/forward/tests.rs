//! The forward header: sizes, bytes, stripping.

use proptest::prelude::*;

use super::*;
use crate::address::tests::{any_endpoint, any_family, endpoint};

fn header(source: &str, destination: &str) -> ForwardHeader {
    ForwardHeader { source: endpoint(source), destination: endpoint(destination) }
}

fn wrapped(header: &ForwardHeader, quic: &[u8]) -> Vec<u8> {
    let stamp = header.stamp().unwrap();
    let mut datagram = vec![0; stamp.size()];
    datagram.extend_from_slice(quic);
    stamp.fill(&mut datagram).unwrap();
    datagram
}

/// traversal V1, T-5, T-6, T-20, T-21, T-22.
#[test]
fn the_header_of_a_direct_sender_to_an_agent_has_known_bytes() {
    let header = header("192.0.2.1:4660", "198.51.100.2:443-203.0.113.3:50000");
    let datagram = wrapped(&header, &[0b0101_0110, 0xaa]);
    #[rustfmt::skip]
    let expected = [
        0b0111_0110, 0b0000_1001,
        0x12, 0x34, 192, 0, 2, 1,
        0x01, 0xbb, 198, 51, 100, 2,
        0xc3, 0x50, 203, 0, 113, 3,
        0b0101_0110, 0xaa,
    ];
    assert_eq!(datagram, expected);
    let stripped = ForwardHeader::strip(&datagram).unwrap();
    assert_eq!(stripped.header, header);
    assert_eq!(stripped.quic, [0b0101_0110, 0xaa]);
    let pathway = stripped.header.pathway();
    assert_eq!((pathway.local, pathway.remote), (header.destination, header.source));
}

/// traversal V1, T-6: an agent on both sides, IPv6.
#[test]
fn the_header_between_two_agents_over_ipv6_has_known_bytes() {
    let header = header("[2001:db8::1]:1-[2001:db8::2]:2", "[2001:db8::3]:3-[2001:db8::4]:4");
    let datagram = wrapped(&header, &[0xdf]);
    let mut expected = vec![0b0111_1111, 0b0000_1111];
    for n in 1..=4 {
        expected.extend_from_slice(&[0, n, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n]);
    }
    expected.push(0xdf);
    assert_eq!(datagram, expected);
    assert_eq!(ForwardHeader::strip(&datagram).unwrap().header, header);
}

/// traversal V3, T-20, T-21: Agent -> Direct is never made for a pathway, and is stripped all the same. attacks L27.
#[test]
fn header_sizes_are_20_26_56_and_74() {
    let v4 = ["192.0.2.1:1", "192.0.2.2:2-192.0.2.3:3"];
    let v6 = ["[2001:db8::1]:1", "[2001:db8::2]:2-[2001:db8::3]:3"];
    let cases = [(v4[0], v4[1], 20), (v4[1], v4[1], 26), (v4[1], v4[0], 20), (v6[0], v6[1], 56), (v6[1], v6[1], 74), (v6[1], v6[0], 56)];
    for (source, destination, size) in cases {
        let header = header(source, destination);
        assert_eq!(header.size(), size, "{source} -> {destination}");
        let datagram = wrapped(&header, b"q");
        assert_eq!(datagram.len(), size + 1);
        assert_eq!(ForwardHeader::strip(&datagram), Some(Stripped { header, quic: b"q" }));
        assert!(size <= limits::FORWARD_HEADER);
    }
}

/// burst B-75, traversal T-20.
#[test]
fn room_is_reserved_if_and_only_if_the_remote_end_is_behind_an_agent() {
    let (direct, agent) = (endpoint("192.0.2.1:1"), endpoint("192.0.2.2:2-192.0.2.3:3"));
    for (local, remote, size) in [(direct, direct, 0), (agent, direct, 0), (direct, agent, 20), (agent, agent, 26)] {
        let pathway = Pathway { local, remote };
        assert_eq!(reserve(&pathway), size);
        assert_eq!(Stamp::of(&pathway).unwrap().map_or(0, |stamp| stamp.size()), size);
    }
}

/// burst B-79a.
#[test]
fn a_pathway_over_two_families_has_no_header() {
    let pathway = Pathway { local: endpoint("[2001:db8::1]:1"), remote: endpoint("192.0.2.2:2-192.0.2.3:3") };
    assert_eq!(Stamp::of(&pathway), Err(Unusable::Families));
    assert_eq!(header("192.0.2.1:1", "192.0.2.2:2-[2001:db8::1]:1").stamp(), Err(Unusable::Families));
}

/// traversal T-11: version nibble and marker bit are checked.
#[test]
fn other_versions_and_a_missing_marker_are_not_forward_datagrams() {
    let good = wrapped(&header("192.0.2.1:1", "192.0.2.2:2-192.0.2.3:3"), b"quic");
    for second in 0..=u8::MAX {
        let mut datagram = good.clone();
        datagram[1] = second;
        let stripped = ForwardHeader::strip(&datagram);
        if second & 0xf8 != 0x08 {
            assert_eq!(stripped, None, "{second:08b}");
        }
    }
    for first in 0..=u8::MAX {
        let mut datagram = good.clone();
        datagram[0] = first;
        assert_eq!(ForwardHeader::strip(&datagram).is_some(), first >> 5 == 0b011, "{first:08b}");
    }
}

/// burst B-77, B-78: each segment has its own five bits; the last may be short.
#[test]
fn every_segment_of_a_burst_gets_the_header() {
    let header = header("192.0.2.1:1", "192.0.2.2:2-192.0.2.3:3");
    let stamp = header.stamp().unwrap();
    let mut burst = vec![0; 30 + 30 + 25];
    (burst[20], burst[50], burst[80]) = (0x41, 0x5f, 0xc3);
    stamp.fill_burst(&mut burst, 30).unwrap();
    for (segment, bits) in burst.chunks(30).zip([0x01, 0x1f, 0x03]) {
        assert_eq!(segment[0], 0x60 | bits);
        assert_eq!(ForwardHeader::strip(segment).unwrap().header, header);
    }
    assert_eq!(stamp.fill_burst(&mut [0; 50], 30), Err(NoRoom), "a segment of nothing but a header");
    assert_eq!(stamp.fill(&mut [0; 19]), Err(NoRoom));
}

proptest! {
    /// traversal V1, attacks G12.
    #[test]
    fn a_header_survives_the_round_trip_and_no_truncation_is_read(
        (source, destination) in any_family().prop_flat_map(|family| (any_endpoint(family), any_endpoint(family))),
        quic in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let header = ForwardHeader { source, destination };
        let datagram = wrapped(&header, &quic);
        prop_assert_eq!(ForwardHeader::strip(&datagram), Some(Stripped { header, quic: &quic }));
        for cut in 0..=header.size() {
            prop_assert_eq!(ForwardHeader::strip(&datagram[..cut]), None);
        }
    }

    /// attacks G12: any bytes.
    #[test]
    fn what_is_stripped_from_any_bytes_can_be_put_back(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Some(Stripped { header, quic }) = ForwardHeader::strip(&bytes) {
            prop_assert_eq!(&wrapped(&header, quic)[1..], &bytes[1..]);
        }
    }
}
