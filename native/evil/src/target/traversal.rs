//! Bytes of strangers into everything that stands before QUIC on a socket: classifier, forward header, STUN and its server, relay,
//! and the frames of both profiles (attacks A1, G11, G12; traversal V1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use qbase::{FourTuple, Reader, Timestamp};
use qtraversal::{
    classify::{Datagram, FixedBit, Forward, Listening, classify},
    forward::ForwardHeader,
    frame::{ProfileKind, code, param},
    relay::{Admission, Relay, RelayConfig, Route, Run},
    stun::{Class, Forms, MAX_MESSAGE, Message, Server, ServerConfig},
};

use super::food::Food;

/// A whole datagram on a socket that expects everything.
pub fn traversal(data: &[u8]) {
    let mut food = Food::new(data);
    let choice = food.byte();
    let fixed_bit = if choice & 1 == 0 { FixedBit::Required } else { FixedBit::Greased };
    let forward = if choice & 2 == 0 { Forward::Accepted } else { Forward::Ignored };
    let knows = choice & 4 != 0;
    let bytes = food.rest();
    match classify(bytes, Listening { stun: Forms::ALL, forward, fixed_bit }, |_| knows) {
        Datagram::Quic(all) => assert_eq!(all, bytes),
        Datagram::Dropped => assert!(bytes.first().is_none_or(|first| first & 0x40 == 0)),
        Datagram::Stun { form, message } => {
            if let Ok(message) = Message::decode(form, message) {
                stun(&message, bytes.len());
            }
        }
        Datagram::Forward(stripped) => {
            assert!(!knows && !stripped.quic.is_empty());
            let stamp = stripped.header.stamp();
            assert!(stamp.is_ok(), "a header that was read has one family");
            if let Ok(stamp) = stamp {
                let mut again = vec![0; stamp.size()];
                again.extend_from_slice(stripped.quic);
                assert_eq!(stamp.fill(&mut again), Ok(()));
                assert_eq!(again.get(1..), bytes.get(1..), "a header changes when it is written");
            }
        }
    }
    relay(bytes, usize::from(choice >> 3));
    frames(bytes);
}

fn address(last: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(9, 9, 9, last)), port)
}

/// A message written and read again is the same, and is answered with no more than three times its bytes, to who asked.
fn stun(message: &Message, size: usize) {
    let mut buffer = [0; MAX_MESSAGE];
    // Some can only be read: unknown attributes in requests, two addresses the form has no word for.
    if let Ok(len) = message.encode(&mut buffer) {
        let read = |message: Message| (message.class, message.id, message.mapped, message.origin, message.other, message.change);
        assert_eq!(Message::decode(message.form, &buffer[..len]).map(read), Ok(read(*message)));
    }
    let sockets = vec![address(1, 3_478), address(1, 3_479), address(2, 3_478), address(2, 3_479)];
    let neighbours = vec![address(3, 3_478)];
    let mut server = Server::new(ServerConfig { sockets, neighbours }, 1);
    let client = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), 5_000);
    if let Ok(reply) = server.on_message(message, size, address(1, 3_478), client, Timestamp::ZERO) {
        assert_eq!(message.class, Class::Request);
        assert_eq!(reply.to.ip(), client.ip(), "somebody else is answered");
        let len = reply.message.encode(&mut buffer);
        assert!(len.is_ok_and(|len| len + 28 <= 3 * (size + 28)), "{size} bytes are answered with {len:?}");
    }
}

/// A train in a relay with one client: out goes at most what came in, and only to that client.
fn relay(train: &[u8], segment_len: usize) {
    let client = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), 5_000);
    let v6 = |last| SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2606, 0, 0, 0, 0, 0, 0, last)), 5_000);
    let config =
        RelayConfig { agent: vec![address(1, 3_478), v6(1)], admission: Admission::Authenticated, ..RelayConfig::default() };
    let mut relay = Relay::new(config, 1);
    for client in [client, v6(2)] {
        assert_eq!(relay.registrations_mut().register(client, None, Timestamp::ZERO), Ok(()));
        assert_eq!(relay.registrations_mut().on_keep_alive(client, Timestamp::ZERO), Ok(()));
    }
    let (mut seen, mut sent) = (0, 0);
    let stranger = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(8, 1, 1, 1)), 9);
    let link = FourTuple { local: address(1, 3_478), remote: stranger };
    let mut rest = train;
    while let Some(run) = Run::first(rest, segment_len * 8) {
        rest = rest.get(run.bytes.len()..).unwrap_or_default();
        let route = relay.route(Timestamp::ZERO, link, &run);
        assert!(!run.is_empty(), "a run without datagrams");
        seen += run.bytes.len();
        if let Route::Send(target) = route {
            assert_eq!(target, client, "a stranger's datagram goes elsewhere");
            assert!(ForwardHeader::strip(run.bytes).is_some());
            sent += run.bytes.len();
        }
    }
    assert_eq!(seen, train.len(), "a part of the train is lost");
    assert_eq!(relay.forwarded().bytes, sent as u64);
}

/// What a profile reads survives being written.
fn frames(bytes: &[u8]) {
    let _ = param::TraversalParameter::read(bytes);
    let _ = param::AddressDiscovery::read(bytes);
    let mut reader = Reader::new(bytes);
    let Ok(choice) = reader.u8() else { return };
    let first =
        [code::dquic::ADD_ADDRESS_V4, code::braid::ADD_ADDRESS_V4, code::discovery::OBSERVED_ADDRESS_V4][usize::from(choice) % 3];
    let frame_type = first + u64::from(choice >> 5);
    for profile in [ProfileKind::Braid, ProfileKind::Dquic] {
        let profile = profile.codec();
        let mut reader = reader;
        let Ok(frame) = profile.read(frame_type, &mut reader) else { continue };
        let encoded = profile.encode(&frame);
        assert!(encoded.is_ok(), "{frame:?} was read and cannot be said");
        let Ok(encoded) = encoded else { return };
        let mut again = Reader::new(encoded.bytes());
        assert_eq!(again.varint(), Ok(frame_type));
        assert_eq!(profile.read(frame_type, &mut again), Ok(frame));
        assert!(again.is_empty());
    }
}
