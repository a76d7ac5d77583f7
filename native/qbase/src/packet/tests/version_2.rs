//! Long headers of version 2: the same kinds by other numbers (RFC 9369 §3.2; attacks B18).

use super::*;
use crate::VERSION_2;

#[test]
fn types_of_version_2_are_those_of_the_rfc() {
    let kinds = [(PacketType::Initial, 1), (PacketType::ZeroRtt, 2), (PacketType::Handshake, 3), (PacketType::Retry, 0)];
    for (kind, code) in kinds {
        assert_eq!(long::type_bits(VERSION_2, kind), code << 4, "{kind:?}");
        assert_eq!(long::packet_type(VERSION_2, 0xc0 | code << 4), kind);
        assert_ne!(long::packet_type(VERSION_1, 0xc0 | code << 4), kind);
    }
}

#[test]
fn every_long_header_of_version_2_is_read_as_it_was_written() {
    for kind in [LongKind::Initial { token: b"abc" }, LongKind::ZeroRtt, LongKind::Handshake] {
        let header = LongHeader { kind, version: VERSION_2, dcid: cid("0102030405060708"), scid: cid("aabb") };
        let (mut packet, start) = written(&header, 9, 2, 40);
        packet.resize(start.pn_offset + 40, 0);
        let read = ProtectedHeader::parse(&packet, 8).unwrap();
        assert_eq!((read.kind, read.version, read.pn_offset), (kind.packet_type(), VERSION_2, start.pn_offset));
    }
}

/// RFC 9369 appendix A.4.
#[test]
fn the_retry_of_rfc_9369_is_read_and_written() {
    let packet = hex("cf6b3343cf0008f067a5502a4262b5746f6b656ec8646ce8bfe33952d955543665dcc7b6");
    let retry = retry::parse(&packet).unwrap();
    assert_eq!((retry.version, retry.token), (VERSION_2, b"token".as_slice()));
    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer);
    retry::write(&mut writer, VERSION_2, &retry.dcid, &retry.scid, retry.token);
    assert_eq!(writer.written(), retry.untagged);
}
