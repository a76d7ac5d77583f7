//! The headers of RFC 9001 appendix A.

use super::{cid, hex, written};
use crate::{ConnectionId, VERSION_1, Writer, packet::*};

#[test]
fn the_client_initial_of_a2_is_written_and_read() {
    let dcid = cid("8394c8f03e515708");
    let kind = LongKind::Initial { token: &[] };
    let header = LongHeader { kind, version: VERSION_1, dcid, scid: ConnectionId::EMPTY };
    let (bytes, start) = written(&header, 2, 4, 1_182);
    assert_eq!(bytes, hex("c300000001088394c8f03e5157080000449e00000002"));
    assert_eq!((start.length_offset, start.pn_offset), (16, 18));

    let mut packet = hex("c000000001088394c8f03e5157080000449e7b9aec34");
    packet.resize(1_200, 0);
    let expected = ProtectedHeader {
        kind: PacketType::Initial,
        version: VERSION_1,
        dcid,
        scid: ConnectionId::EMPTY,
        token: 16..16,
        pn_offset: 18,
        end: 1_200,
    };
    assert_eq!(ProtectedHeader::parse(&packet, 8), Ok(expected));
    assert_eq!(number_len(bytes[0]), 4);
    assert!(reserved_bits_are_zero(bytes[0]));
    assert_eq!(number::read(&bytes, 18, 4), Some(2));
}

#[test]
fn the_server_initial_of_a3_is_written_and_read() {
    let scid = cid("f067a5502a4262b5");
    let kind = LongKind::Initial { token: &[] };
    let header = LongHeader { kind, version: VERSION_1, dcid: ConnectionId::EMPTY, scid };
    let (bytes, start) = written(&header, 1, 2, 117);
    assert_eq!(bytes, hex("c1000000010008f067a5502a4262b50040750001"));
    assert_eq!(start.pn_offset, 18);

    let packet = hex(
        "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede
         4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06ed
         bb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee",
    );
    let header = ProtectedHeader::parse(&packet, 0).unwrap();
    assert_eq!((header.kind, header.scid, header.pn_offset, header.end), (PacketType::Initial, scid, 18, 135));
    assert_eq!(header.end, packet.len());
}

#[test]
fn the_retry_of_a4_is_written_and_read() {
    let packet = hex("ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba");
    let read = retry::parse(&packet).unwrap();
    assert_eq!((read.version, read.dcid, read.scid), (VERSION_1, ConnectionId::EMPTY, cid("f067a5502a4262b5")));
    assert_eq!(read.token, b"token");
    assert_eq!(read.tag.as_slice(), hex("04a265ba2eff4d829058fb3f0f2496ba"));

    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer);
    retry::write(&mut writer, VERSION_1, &read.dcid, &read.scid, b"token");
    assert_eq!(writer.written(), read.untagged);
    writer.bytes(&read.tag);
    assert_eq!(writer.written(), packet);
}

#[test]
fn the_short_header_of_a5_is_written_and_read() {
    let mut buffer = [0; 8];
    let mut writer = Writer::new(&mut buffer);
    let pn_offset = short::write(&mut writer, &ConnectionId::EMPTY, 654_360_564, 3, KeyPhase::Zero, Spin::Zero);
    assert_eq!(writer.written(), hex("4200bff4"));
    assert_eq!(pn_offset, 1);
    assert_eq!(number::read(writer.written(), 1, 3), Some(49_140));

    let packet = hex("4cfe4189655e5cd55c41f69080575d7999c25a5bfb");
    let header = ProtectedHeader::parse(&packet, 0).unwrap();
    assert_eq!((header.kind, header.pn_offset, header.end), (PacketType::OneRtt, 1, 21));
    assert_eq!(ProtectedHeader::parse(&packet[..20], 0), Err(PacketError::TooShort), "the smallest has 21 bytes");
}
