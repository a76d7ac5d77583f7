//! Headers of all kinds: known bytes, what is dropped, hostile bytes.

use super::*;
use crate::{ConnectionId, Reader, VERSION_1, Writer};
use proptest::{collection::vec, prelude::*};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn cid(text: &str) -> ConnectionId {
    ConnectionId::new(&hex(text)).unwrap()
}

/// A long header packet of version 1 with ids of these lengths, `rest` behind them.
fn long_packet(first: u8, version: u32, dcid: u8, scid: u8, rest: &[u8]) -> Vec<u8> {
    let ids = [[dcid].as_slice(), &vec![0xd; dcid.into()], &[scid], &vec![0x5; scid.into()]].concat();
    [[first].as_slice(), &version.to_be_bytes(), &ids, rest].concat()
}

/// An Initial without token whose Length is right, `protected` bytes from the packet number on.
fn initial(dcid: u8, protected: usize) -> Vec<u8> {
    let length = (protected as u16 | 0x4000).to_be_bytes();
    long_packet(0xc0, VERSION_1, dcid, 8, &[[0].as_slice(), &length, &vec![7; protected]].concat())
}

/// Writes a header, patches its length and returns the bytes with the offsets.
fn written(header: &LongHeader<'_>, pn: u64, pn_len: usize, length: usize) -> (Vec<u8>, LongStart) {
    // Not at the start of the buffer: offsets count from the packet's first byte.
    let mut buffer = [0xee; 100];
    let mut writer = Writer::new(&mut buffer);
    writer.u8(0xee);
    let start = header.write(&mut writer, pn, pn_len);
    let packet = &mut writer.written_mut()[1..];
    assert_eq!(packet.len(), header.size(pn_len));
    long::patch_length(packet, start.length_offset, length).unwrap();
    (packet.to_vec(), start)
}

mod datagram;
mod rfc_9001;
mod version_2;

#[test]
fn every_long_header_is_read_as_it_was_written() {
    let token: Vec<u8> = (0..100).collect();
    let (dcid, scid) = (cid("0102030405060708090a0b0c0d0e0f1011121314"), cid("aabb"));
    for (kind, token_range) in [
        (LongKind::Initial { token: &token }, 31..131),
        (LongKind::Initial { token: &token[..3] }, 30..33),
        (LongKind::ZeroRtt, 0..0),
        (LongKind::Handshake, 0..0),
    ] {
        for pn_len in 1..=4 {
            let header = LongHeader { kind, version: VERSION_1, dcid, scid };
            let mut buffer = [0; 300];
            let mut writer = Writer::new(&mut buffer);
            let start = header.write(&mut writer, 0x0102_0304, pn_len);
            let size = writer.len();
            assert_eq!(size, header.size(pn_len));
            assert_eq!(size, start.pn_offset + pn_len);
            writer.zeros(50);
            let len = writer.len();
            long::patch_length(writer.written_mut(), start.length_offset, len - start.pn_offset).unwrap();
            let read = ProtectedHeader::parse(writer.written(), 8).unwrap();
            let ProtectedHeader { version, pn_offset, end, .. } = read;
            assert_eq!((read.kind, version, read.dcid, read.scid), (kind.packet_type(), VERSION_1, dcid, scid));
            assert_eq!((read.token, pn_offset, end), (token_range.clone(), start.pn_offset, len));
            assert_eq!(number_len(writer.written()[0]), pn_len);
            let sent = 0x0102_0304 & (u64::MAX >> (64 - 8 * pn_len));
            assert_eq!(number::read(writer.written(), pn_offset, pn_len), Some(sent));
        }
    }
}

#[test]
fn every_short_header_is_read_as_it_was_written() {
    let dcid = cid("0102030405060708");
    for (key_phase, spin, first) in [
        (KeyPhase::Zero, Spin::Zero, 0x41),
        (KeyPhase::One, Spin::Zero, 0x45),
        (KeyPhase::Zero, Spin::One, 0x61),
        (KeyPhase::One, Spin::One, 0x65),
    ] {
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        writer.u8(0xee);
        let pn_offset = short::write(&mut writer, &dcid, 0x1_0203, 2, key_phase, spin);
        let packet = &writer.written()[1..];
        assert_eq!(packet, [&[first], dcid.as_bytes(), &[0x02, 0x03]].concat());
        assert_eq!((pn_offset, packet.len()), (9, short::size(&dcid, 2)));
        assert_eq!((KeyPhase::of(first), Spin::of(first), number_len(first)), (key_phase, spin, 2));
        let read = ProtectedHeader::parse(&[packet, &[0; 30]].concat(), 8).unwrap();
        assert_eq!((read.kind, read.dcid, read.pn_offset), (PacketType::OneRtt, dcid, 9));
        assert_eq!((read.scid, read.token, read.end), (ConnectionId::EMPTY, 0..0, 41));
    }
    assert_eq!(KeyPhase::Zero.next(), KeyPhase::One);
    assert_eq!(KeyPhase::One.next(), KeyPhase::Zero);
}

#[test]
fn reserved_bits_are_those_of_the_header_form() {
    // RFC 9000 §17.2, §17.3.1, attacks A10
    for bit in 0..8 {
        let (long, short) = (0xc0 | 1 << bit, 0x40 | (1 << bit) & 0x7f);
        assert_eq!(reserved_bits_are_zero(long), !matches!(bit, 2 | 3), "bit {bit} of a long header");
        assert_eq!(reserved_bits_are_zero(short), !matches!(bit, 3 | 4), "bit {bit} of a short header");
    }
}

#[test]
fn version_1_has_connection_ids_up_to_20_bytes() {
    // attacks A4, RFC 9000 §17.2
    let rest = [[0, 0x40, 0x14].as_slice(), &[7; 20]].concat();
    for len in 0..=u8::MAX {
        let dcid =
            ProtectedHeader::parse(&long_packet(0xc0, VERSION_1, len, 8, &rest), 8).map(|header| header.dcid.len());
        let scid =
            ProtectedHeader::parse(&long_packet(0xc0, VERSION_1, 8, len, &rest), 8).map(|header| header.scid.len());
        let expected = if len <= 20 { Ok(usize::from(len)) } else { Err(PacketError::CidTooLong) };
        assert_eq!((dcid, scid), (expected, expected), "{len}");
    }
}

#[test]
fn an_unknown_version_is_told_with_connection_ids_of_any_length() {
    // attacks A4, RFC 9000 §6.1, §17.2.1
    for len in [0, 8, 20, 21, 255] {
        // Also with a fixed bit of 0: the bit belongs to version 1.
        let packet = long_packet(0x80, 0x0a0a_0a0a, len, 255 - len, b"whatever");
        assert_eq!(ProtectedHeader::parse(&packet, 8), Err(PacketError::UnknownVersion { version: 0x0a0a_0a0a }));
        let invariant = InvariantHeader::parse(&packet).unwrap();
        assert_eq!((invariant.first, invariant.version, invariant.rest), (0x80, 0x0a0a_0a0a, b"whatever".as_slice()));
        assert_eq!(
            (invariant.dcid, invariant.scid),
            (vec![0xd; len.into()].as_slice(), vec![5; 255 - usize::from(len)].as_slice())
        );
        assert_eq!(destination_cid(&packet, 8), Some(invariant.dcid));

        let mut buffer = [0; 600];
        let mut writer = Writer::new(&mut buffer);
        version_negotiation::write(&mut writer, 0x2a, invariant.scid, invariant.dcid, &[VERSION_1, 0x1a2a_3a4a]);
        assert_eq!(writer.len(), version_negotiation::size(invariant.scid, invariant.dcid, 2));
        let read = version_negotiation::parse(writer.written()).unwrap();
        assert_eq!((read.dcid, read.scid), (invariant.scid, invariant.dcid));
        assert_eq!(read.versions().collect::<Vec<_>>(), [VERSION_1, 0x1a2a_3a4a]);
        assert_eq!(writer.written()[0], 0xea, "form and fixed bit, then the arbitrary ones");
    }
}

#[test]
fn version_negotiation_needs_a_whole_list_of_versions() {
    // attacks A13
    for (list, expected) in [(0, false), (1, false), (3, false), (4, true), (5, false), (8, true), (11, false)] {
        let packet = long_packet(0x80, 0, 8, 8, &vec![1; list]);
        assert_eq!(version_negotiation::parse(&packet).is_ok(), expected, "{list} bytes");
        let header = ProtectedHeader::parse(&packet, 8).unwrap();
        assert_eq!((header.kind, header.version), (PacketType::VersionNegotiation, 0));
        assert_eq!((header.pn_offset, header.end), (23, packet.len()));
    }
    assert_eq!(version_negotiation::parse(&initial(8, 30)), Err(PacketError::WrongType));
}

#[test]
fn a_retry_needs_a_token_and_a_whole_tag() {
    // attacks A14, RFC 9000 §17.2.5.2
    for (len, expected) in [
        (0, Some(PacketError::Truncated)),
        (15, Some(PacketError::Truncated)),
        (16, Some(PacketError::EmptyRetryToken)),
        (17, None),
    ] {
        let packet = long_packet(0xf0, VERSION_1, 8, 8, &vec![9; len]);
        assert_eq!(retry::parse(&packet).err(), expected, "{len}");
        assert_eq!(ProtectedHeader::parse(&packet, 8).err(), expected, "{len}");
    }
    let header = ProtectedHeader::parse(&long_packet(0xf0, VERSION_1, 8, 8, &[9; 20]), 8).unwrap();
    assert_eq!((header.kind, header.token, header.pn_offset, header.end), (PacketType::Retry, 23..27, 27, 43));
    assert_eq!(retry::parse(&initial(8, 30)), Err(PacketError::WrongType));
}

#[test]
fn a_fixed_bit_of_0_is_dropped_unless_we_allowed_it() {
    // attacks A9, RFC 9000 §17.2, RFC 9287 §3
    let mut short = [vec![0x41], vec![7; 40]].concat();
    let mut long = initial(8, 30);
    for packet in [&mut short, &mut long] {
        let before = ProtectedHeader::parse(packet, 8).unwrap();
        clear_fixed_bit(packet);
        assert_eq!(ProtectedHeader::parse(packet, 8), Err(PacketError::FixedBitClear));
        assert_eq!(ProtectedHeader::parse_with(packet, 8, FixedBit::Required), Err(PacketError::FixedBitClear));
        assert_eq!(ProtectedHeader::parse_with(packet, 8, FixedBit::Ignored), Ok(before));
    }
}

#[test]
fn attack_a8_a_length_beyond_the_datagram_is_dropped() {
    // attacks A8
    let length = |bytes: &[u8], payload: usize| {
        let rest = [[0].as_slice(), bytes, &vec![7; payload]].concat();
        ProtectedHeader::parse(&long_packet(0xc0, VERSION_1, 8, 8, &rest), 8)
            .map(|header| header.end - header.pn_offset)
    };
    assert_eq!(length(&[0x40, 30], 30), Ok(30));
    assert_eq!(length(&[0x40, 31], 30), Err(PacketError::LengthTooLarge));
    assert_eq!(length(&[0xff; 8], 30), Err(PacketError::LengthTooLarge));
    assert_eq!(length(&[], 0), Err(PacketError::Truncated));
    assert_eq!(length(&[0x80, 0, 0], 0), Err(PacketError::Truncated));
    // A varint may be longer than needed; packet builders rely on it.
    assert_eq!(length(&[0xc0, 0, 0, 0, 0, 0, 0, 30], 30), Ok(30));

    let token = [[0x41, 0x00].as_slice(), &[7; 255]].concat();
    let header = ProtectedHeader::parse(&long_packet(0xc0, VERSION_1, 8, 8, &token), 8);
    assert_eq!(header, Err(PacketError::Truncated), "a token longer than the rest");
}

#[test]
fn attack_a8_a_packet_too_short_to_sample_is_dropped() {
    // attacks A7, A8, RFC 9001 §5.4.2
    for protected in 0..40 {
        let expected = (protected < 20).then_some(PacketError::TooShort);
        assert_eq!(ProtectedHeader::parse(&initial(8, protected), 8).err(), expected, "{protected}");
        let short = [vec![0x41; 9], vec![7; protected]].concat();
        assert_eq!(ProtectedHeader::parse(&short, 8).err(), expected, "{protected}");
    }
}

#[test]
fn every_truncation_of_a_header_is_dropped() {
    let packets = [
        initial(8, 30),
        long_packet(0xe0, VERSION_1, 8, 8, &[[0x40, 30].as_slice(), &[7; 30]].concat()),
        long_packet(0xd0, VERSION_1, 20, 0, &[[30].as_slice(), &[7; 30]].concat()),
    ];
    for packet in packets {
        assert!(ProtectedHeader::parse(&packet, 8).is_ok());
        for cut in 0..packet.len() {
            assert!(ProtectedHeader::parse(&packet[..cut], 8).is_err(), "{cut} of {packet:02x?}");
        }
    }
}

#[test]
fn a_datagram_is_routed_by_the_destination_of_its_first_packet() {
    let mut short = vec![0x41];
    short.extend(1..=30);
    assert_eq!(destination_cid(&short, 8), Some([1, 2, 3, 4, 5, 6, 7, 8].as_slice()));
    assert_eq!(destination_cid(&short, 0), Some([].as_slice()));
    assert_eq!(destination_cid(&short[..8], 8), None);
    assert_eq!(destination_cid(&[], 0), None);
    let long = initial(5, 30);
    assert_eq!(destination_cid(&long, 8), Some([0xd; 5].as_slice()));
    assert_eq!(destination_cid(&long[..10], 8), None);
    assert_eq!(destination_cid(&long[..5], 8), None);
    assert_eq!(source_cid(&short), None);
    assert!((0..long.len()).all(|end| source_cid(&long[..end]).is_none_or(|cid| long[..end].ends_with(cid) || end > 15)), "nothing of what is cut off");
}

#[test]
fn a_length_that_a_two_byte_field_cannot_hold_is_refused() {
    let mut packet = initial(8, 30);
    assert_eq!(long::patch_length(&mut packet, 24, 16_383), Some(()));
    assert_eq!(packet[24..26], [0x7f, 0xff]);
    let before = packet.clone();
    assert_eq!(long::patch_length(&mut packet, 24, 16_384), None);
    assert_eq!(long::patch_length(&mut packet, before.len() - 1, 5), None);
    assert_eq!(packet, before);
}

#[test]
fn drop_reasons_and_packet_types_have_names() {
    assert_eq!(PacketError::UnknownVersion { version: 2 }.name(), "unknownVersion");
    assert_eq!(PacketError::LengthTooLarge.name(), "lengthTooLarge");
    assert_eq!(PacketType::OneRtt.name(), "1RTT");
    assert_eq!(PacketType::Retry.level(), None);
    assert_eq!(PacketType::ZeroRtt.level(), Some(EncryptionLevel::ZeroRtt));
}

proptest! {
    #[test]
    fn random_bytes_never_panic_and_offsets_stay_inside(
        mut bytes in vec(any::<u8>(), 0..120),
        version in prop::sample::select(vec![None, Some(0), Some(VERSION_1)]),
        cid_len in 0..=20_usize,
    ) {
        if let (Some(version), Some(slot)) = (version, bytes.get_mut(1..5)) {
            slot.copy_from_slice(&u32::to_be_bytes(version));
        }
        if let Ok(header) = ProtectedHeader::parse_with(&bytes, cid_len, FixedBit::Ignored) {
            prop_assert!(header.token.start <= header.token.end && header.token.end <= header.pn_offset);
            prop_assert!(header.pn_offset <= header.end && header.end <= bytes.len());
            prop_assert_eq!(destination_cid(&bytes, cid_len), Some(header.dcid.as_bytes()));
        }
        let _ = (InvariantHeader::parse(&bytes), retry::parse(&bytes), version_negotiation::parse(&bytes));
        let _ = (number::read(&bytes, cid_len, 4), destination_cid(&bytes, cid_len));
        let len = bytes.len();
        let parts = coalesced::split(&mut bytes, cid_len, FixedBit::Ignored);
        let taken: usize = parts.map(|part| part.map_or(0, |(_, packet)| packet.len())).sum();
        prop_assert!(taken <= len);
    }

    #[test]
    fn random_ids_and_versions_survive_version_negotiation(
        dcid in vec(any::<u8>(), 0..=255),
        scid in vec(any::<u8>(), 0..=255),
        versions in vec(any::<u32>(), 1..20),
        unused in any::<u8>(),
    ) {
        let mut buffer = [0; 700];
        let mut writer = Writer::new(&mut buffer);
        version_negotiation::write(&mut writer, unused, &dcid, &scid, &versions);
        prop_assert!(!writer.overflowed());
        let mut reader = Reader::new(writer.written());
        prop_assert_eq!(reader.u8().map(|first| first & 0xc0), Ok(0xc0));
        let read = version_negotiation::parse(writer.written()).unwrap();
        prop_assert_eq!((read.dcid, read.scid), (dcid.as_slice(), scid.as_slice()));
        prop_assert_eq!(read.versions().collect::<Vec<_>>(), versions);
    }
}
