//! Any bytes as payload of packets with real keys into a connection that is up (attacks C, D, E, F; D17 to D19).

use std::{net::SocketAddr, time::Duration};

use qbase::{
    Direction, EncryptionLevel, PathId, StreamId,
    param::{AddressDiscovery, TraversalParameter},
};
use qconnection::{Connection, TraversalSettings, connection::traversal::AnnouncedAddress};
use qtraversal::{NatType, frame::AddressKind, nat::PortAllocation};

use super::{food::Food, initials::expect_peace};
use crate::{arena::{Arena, Setup, Way, addresses}, stage::{Play, Stage}};

/// Packets of an evil client to a server whose application reads and writes.
pub fn client_frames(data: &[u8]) {
    let mut food = Food::new(data);
    let choice = food.byte();
    let mut setup = if choice & 1 == 0 { Setup::default() } else { Setup::single_path() };
    // Such a peer gets ACK_FREQUENCY and IMMEDIATE_ACK as well.
    setup.parameters.min_ack_delay = (choice & 2 != 0).then_some(qbase::limits::MIN_ACK_DELAY);
    if choice & 4 != 0 {
        // A peer behind a relay, or not, that may be punched to.
        setup.server.traversal = Some(TraversalSettings::default());
        setup.parameters.traversal = Some(TraversalParameter::default());
        setup.parameters.address_discovery = Some(AddressDiscovery::Both);
        setup.way = if choice & 8 == 0 { Way::Relayed } else { Way::Straight };
    }
    let mut arena = Arena::new(&setup).unwrap_or_else(|failure| unreachable!("{failure}"));
    if choice & 4 != 0 {
        announce(&mut arena);
    }
    let mut steps = 0;
    while !food.is_empty() && steps < 200 && arena.connection().is_ok() {
        steps += 1;
        let choice = food.byte();
        match choice & 7 {
            0..=4 => {
                let path = PathId(if choice & 0x80 == 0 { 0 } else { u32::from(choice >> 5 & 3) });
                let level = match choice >> 3 & 3 {
                    3 => EncryptionLevel::Handshake,
                    _ => EncryptionLevel::OneRtt,
                };
                let bits = if choice & 0x60 == 0x60 { 0x18 } else { 0 };
                let payload = food.piece();
                if let Ok(packet) = arena.evil.seal(level, path, None, bits, payload) {
                    let from = if choice & 7 == 4 { addresses(1 + (choice >> 6)) } else { arena.evil.four_tuple };
                    arena.inject(packet, from);
                    expect_peace(arena.pump());
                }
            }
            5 => expect_peace(arena.ack()),
            6 => expect_peace(arena.wait(Duration::from_micros(food.number() % 20_000_000))),
            _ => {
                let (verb, stream, len) = (choice >> 3, StreamId(u64::from(food.byte() & 0xf)), usize::from(food.short()));
                if let Ok(connection) = arena.connection_mut() {
                    use_stream(connection, verb, stream, len);
                }
                expect_peace(arena.pump());
            }
        }
        arena.evil.heard.clear();
    }
    expect_peace(arena.wait(Duration::from_secs(200)));
    let left = arena.server.statistics();
    assert_eq!((left.connections, left.routes, left.reset_tokens, left.pool_bytes_used, left.half_open), (0, 0, 0, 0, 0));
}

/// Packets of an evil server to a client whose application reads and writes.
pub fn server_frames(data: &[u8]) {
    let mut food = Food::new(data);
    let mut stage = Stage::new(&Play::default()).unwrap_or_else(|failure| unreachable!("{failure}"));
    let mut steps = 0;
    while !food.is_empty() && steps < 200 && stage.connection().is_ok() {
        steps += 1;
        let choice = food.byte();
        match choice & 7 {
            0..=5 => {
                let packet = stage.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, None, 0, food.piece());
                if let Ok(packet) = packet {
                    expect_peace(stage.deliver(packet));
                }
            }
            6 => expect_peace(stage.wait(Duration::from_micros(food.number() % 20_000_000))),
            _ => {
                let (verb, stream, len) = (choice >> 3, StreamId(u64::from(food.byte() & 0xf)), usize::from(food.short()));
                if let Ok(connection) = stage.connection_mut() {
                    use_stream(connection, verb, stream, len);
                }
                expect_peace(stage.pump());
            }
        }
        stage.forget_heard();
    }
    expect_peace(stage.wait(Duration::from_secs(200)));
    let left = stage.client.statistics();
    assert_eq!((left.connections, left.routes, left.reset_tokens, left.pool_bytes_used), (0, 0, 0, 0));
}

/// The server has an address that punches may start from.
fn announce(arena: &mut Arena) {
    let now = arena.now;
    let address = SocketAddr::from(([198, 51, 100, 200], 4_433));
    let announced = AnnouncedAddress { address, kind: AddressKind::Mapped, tier: 0, nat_type: NatType::Dynamic, ports: PortAllocation::Preserving };
    if let Ok(connection) = arena.connection_mut() {
        // With traversal on there is room for the first.
        let _ = connection.announce_address(now, addresses(1).local, announced);
    }
    expect_peace(arena.pump());
}

/// What the honest application does.
fn use_stream(connection: &mut Connection, verb: u8, stream: StreamId, len: usize) {
    match verb & 7 {
        0 => {
            connection.accept(Direction::Bidirectional);
            connection.accept(Direction::Unidirectional);
        }
        1 => drop(connection.read(stream, &mut vec![0; len])),
        2 => drop(connection.write(stream, &vec![7; len])),
        3 => drop(connection.finish(stream)),
        4 => drop(connection.reset(stream, 1)),
        5 => drop(connection.stop(stream, 1)),
        6 => {
            connection.open(Direction::Bidirectional);
            connection.open(Direction::Unidirectional);
        }
        _ => while connection.receive_datagram().is_some() {},
    }
}
