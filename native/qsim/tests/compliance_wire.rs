//! MUSTs about everything that either end puts on the wire, and the links it needs (docs/compliance).

use std::collections::BTreeSet;

use qbase::{
    Direction, EncryptionLevel, Reader, Role, Timestamp,
    frame::{Frame, table},
    limits::LOCAL_CID_LEN,
    packet::{FixedBit, PacketType, ProtectedHeader},
};
use qconnection::{Endpoint, EndpointConfig, SendLimits, TransportConfig, connection::events::ClosedBy};
use qsim::{Failure, LinkShape, Pair, PairConfig};

use crate::common;
use common::{
    delay,
    ends::{self, NAME, failure},
    evil::{
        arena::{Arena, Setup, addresses, reverse},
        new_cid,
        stage::{Act, Play, Stage},
        wire::Packet,
    },
    ms, secs,
};

/// Every frame can be read, there is one, each may stand in this kind of packet, and no id is retired before its time.
fn check_packets(name: &str, packets: &[Packet]) -> Result<BTreeSet<EncryptionLevel>, Failure> {
    for packet in packets {
        let mut reader = Reader::new(&packet.payload);
        assert!(!reader.is_empty(), "{name}: an empty packet, {packet:?}");
        while !reader.is_empty() {
            let frame = Frame::decode(&mut reader).map_err(|error| Failure::new(format!("{name}: {error:?} in {packet:?}")))?;
            assert!(table::allowed(frame.frame_type(), packet.level), "{name}: {} in {:?}", frame.name(), packet.level);
            if let Frame::NewConnectionId(new) = frame {
                assert!(new.retire_prior_to <= new.sequence, "{name}: {new:?}");
            }
        }
    }
    Ok(packets.iter().map(|packet| packet.level).collect())
}

/// Shows 9000-12.4-1, 9000-12.5-5, 9000-19.15-6, 9001-4-1, 9001-4.9-2 and multipath-21-new-frames-frames-1.
#[test]
fn every_packet_holds_frames_that_its_kind_may_carry() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    arena.wait(secs(2))?;
    arena.send_flight()?;
    arena.say(&[new_cid(Some(qbase::PathId(1)), 0, 0), new_cid(None, 1, 1)])?;
    arena.say_on(qbase::PathId(1), &[Frame::Ping])?;
    for _ in 0..5 {
        let connection = arena.connection_mut()?;
        let stream = connection.open(Direction::Bidirectional).ok_or_else(|| failure("no stream"))?;
        connection.write(stream, &[7; 9_000]).map_err(failure)?;
        arena.pump()?;
        arena.wait(ms(200))?;
        arena.ack()?;
    }
    arena.say(&[Frame::HandshakeDone])?;
    let levels = check_packets("server", &arena.evil.heard)?;
    assert_eq!(levels.len(), 3);

    let mut stage = Stage::new(&Play::from(Act::Complete))?;
    stage.wait(secs(2))?;
    stage.say(&[Frame::HandshakeDone])?;
    let connection = stage.connection_mut()?;
    let stream = connection.open(Direction::Bidirectional).ok_or_else(|| failure("no stream"))?;
    connection.write(stream, &[7; 9_000]).map_err(failure)?;
    stage.pump()?;
    stage.wait(secs(1))?;
    let now = stage.now;
    stage.connection_mut()?.close(now, 7, b"enough");
    stage.pump()?;
    let levels = check_packets("client", &stage.evil.heard)?;
    assert_eq!(levels.len(), 3);
    Ok(())
}

/// Both ends by hand, and what they say.
struct Wire {
    now: Timestamp,
    client: Endpoint,
    server: Endpoint,
    /// Who sent which datagram.
    datagrams: Vec<(Role, Vec<u8>)>,
}

impl Wire {
    /// A handshake and some data both ways.
    fn of_a_short_life() -> Result<Self, Failure> {
        let (client_config, server_config) = ends::configs(6, TransportConfig::default(), TransportConfig::default())?;
        let new = |seed| Endpoint::new(EndpointConfig::default(), [seed; 32]);
        let mut wire = Self { now: Timestamp::from_millis(1), client: new(1), server: new(2), datagrams: Vec::new() };
        wire.server.listen(Some(server_config));
        wire.client.connect(wire.now, &client_config, NAME, reverse(addresses(1))).map_err(failure)?;
        wire.exchange();
        for end in [&mut wire.client, &mut wire.server] {
            let handle = end.handles().next().ok_or_else(|| failure("no connection"))?;
            let connection = end.connection_mut(handle).ok_or_else(|| failure("gone"))?;
            let stream = connection.open(Direction::Bidirectional).ok_or_else(|| failure("no stream"))?;
            connection.write(stream, &[7; 20_000]).map_err(failure)?;
        }
        wire.exchange();
        Ok(wire)
    }

    /// Hands over everything that either end wants to send.
    fn exchange(&mut self) {
        let Self { now, client, server, datagrams } = self;
        let mut hand_over = |role, from: &mut Endpoint, to: &mut Endpoint| {
            let mut buffer = vec![0; 65_535];
            let mut any = false;
            while from.poll_event().is_some() {}
            while let Some(burst) = from.poll_transmit(*now, &mut buffer, &SendLimits::default()) {
                any = true;
                from.on_submitted(&burst, burst.segments, *now);
                for datagram in buffer.get_mut(..burst.len).unwrap_or_default().chunks_mut(burst.segment_size) {
                    datagrams.push((role, datagram.to_vec()));
                    to.handle_datagram(*now, reverse(burst.four_tuple), qbase::Ecn::NotEct, datagram);
                }
            }
            any
        };
        while hand_over(Role::Client, client, server) | hand_over(Role::Server, server, client) {}
    }
}

/// Shows 9000-12.2-4 and 9000-17.2.2-1.
#[test]
fn all_packets_of_a_datagram_have_the_same_ids() -> Result<(), Failure> {
    let wire = Wire::of_a_short_life()?;
    let mut coalesced = 0;
    for (role, datagram) in &wire.datagrams {
        let mut rest = &datagram[..];
        let mut headers = Vec::new();
        while let Ok(header) = ProtectedHeader::parse_with(rest, LOCAL_CID_LEN, FixedBit::Ignored) {
            rest = rest.get(header.end..).unwrap_or_default();
            headers.push(header);
        }
        assert!(rest.is_empty(), "{role:?}: bytes behind the packets of a datagram");
        coalesced += usize::from(headers.len() > 1);
        for header in &headers {
            assert_eq!(header.dcid, headers[0].dcid, "{role:?}: {headers:?}");
            assert!(header.kind == PacketType::OneRtt || header.scid == headers[0].scid, "{role:?}: {headers:?}");
            let is_initial = header.kind == PacketType::Initial;
            assert!(!(*role == Role::Server && is_initial) || header.token.is_empty(), "{header:?}");
        }
    }
    assert!(coalesced >= 2 && wire.datagrams.len() > 20, "{coalesced} of {}", wire.datagrams.len());
    Ok(())
}

/// Shows 9000-14-1.
#[test]
fn a_link_that_carries_less_than_1200_bytes_carries_no_connection() -> Result<(), Failure> {
    for (mtu, works) in [(1_199, false), (1_200, true)] {
        let mut pair = Pair::new(PairConfig::new(1, vec![LinkShape { mtu, ..delay(10) }]))?;
        pair.run_until(|pair| pair.is_confirmed() || pair.client().ended().is_some(), secs(60))?;
        assert_eq!(pair.is_confirmed(), works, "{mtu} bytes");
        let end = pair.client().ended().map(|end| end.by);
        assert_eq!(end, (!works).then_some(ClosedBy::HandshakeTimeout), "{mtu} bytes");
        assert!(works || pair.server().endpoint().is_empty());
    }
    Ok(())
}
