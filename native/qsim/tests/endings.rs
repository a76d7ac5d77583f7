//! Connections that end leave nothing behind: routes, blocks, timers, half-open counts (attacks R5, B28).

use std::sync::Arc;

use qbase::{EncryptionLevel, frame::{self, CloseKind, Fin, Frame}};
use qconnection::{Endpoint, EndpointConfig, Multipath, TransportConfig};
use qsim::Failure;

use crate::common;
use common::{
    ends::{self, NAME, failure},
    evil::{arena::{Arena, Setup, addresses, reverse}, new_cid, stream},
    secs,
};

/// Everything that counts what lives at an endpoint is zero.
fn assert_nothing_is_left(name: &str, endpoint: &Endpoint) {
    let statistics = endpoint.statistics();
    let left = (statistics.connections, statistics.half_open, statistics.routes, statistics.pool_bytes_used);
    assert_eq!(left, (0, 0, 0, 0), "{name}: connections, half-open ones, routes, bytes");
    assert_eq!(endpoint.next_timer(), None, "{name}");
}

#[test]
fn attack_r5_however_a_connection_ends_nothing_is_left_of_it() -> Result<(), Failure> {
    let close = |kind| Frame::ConnectionClose(frame::ConnectionClose { kind, code: 0, reason: b"" });
    let endings: Vec<(&str, Vec<Frame<'_>>)> = vec![
        ("the peer closes", vec![close(CloseKind::Application)]),
        ("the peer's transport closes", vec![close(CloseKind::Transport { frame_type: 0 })]),
        ("a rule is broken", vec![Frame::HandshakeDone]),
        ("silence", vec![Frame::Ping]),
    ];
    for (name, last) in endings {
        let mut arena = Arena::new(&Setup::default())?;
        for index in 0..50 {
            arena.say(&[stream(4 * index, 3, b"bytes that nobody reads", Fin::No)])?;
            arena.say(&[stream(2 + 4 * index, 0, b"an end that nobody reads", Fin::Yes)])?;
        }
        arena.say(&[new_cid(Some(qbase::PathId(1)), 0, 0)])?;
        arena.say_on(qbase::PathId(1), &[Frame::Ping])?;
        assert!(arena.server.statistics().pool_bytes_used > 0 && arena.server.statistics().routes > 8);
        arena.say(&last)?;
        arena.wait(secs(60))?;
        assert_nothing_is_left(name, &arena.server);
    }
    Ok(())
}

#[test]
fn attack_r5_our_own_close_leaves_nothing_even_of_bytes_read_last() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[stream(2, 0, &[1; 1_000], Fin::No), ])?;
    arena.say(&[stream(6, 0, &[1; 1_000], Fin::No), ])?;
    let now = arena.now;
    let mut buffer = [0; 1_000];
    let connection = arena.connection_mut()?;
    connection.read(qbase::StreamId(2), &mut buffer).map_err(failure)?;
    connection.close(now, 0, b"enough");
    arena.wait(secs(60))?;
    assert_nothing_is_left("our close", &arena.server);
    Ok(())
}

#[test]
fn attack_b28_handshakes_given_up_at_any_step_are_forgotten() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    assert_eq!(arena.server.statistics().half_open, 1);
    arena.wait(secs(60))?;
    assert_nothing_is_left("silence after the first flight", &arena.server);

    let mut arena = Arena::new(&Setup::during_handshake())?;
    arena.send(EncryptionLevel::Handshake, &[Frame::HandshakeDone])?;
    arena.wait(secs(60))?;
    assert_nothing_is_left("a rule broken in the handshake", &arena.server);

    let mut arena = Arena::new(&Setup::during_handshake())?;
    for data in [&b"half a"[..], b"n hour", b" later"] {
        let packet = arena.evil.seal(EncryptionLevel::OneRtt, qbase::PathId::ZERO, None, 0, data)?;
        arena.inject(packet, arena.evil.four_tuple);
    }
    arena.wait(secs(60))?;
    assert_nothing_is_left("packets that waited for keys", &arena.server);
    Ok(())
}

#[test]
fn attack_b28_clients_that_lack_what_the_server_requires_are_not_half_open_for_ever() -> Result<(), Failure> {
    let mut setup = Setup::single_path();
    setup.server.multipath = Multipath::Require;
    setup.stage = common::evil::arena::Stage::Flight;
    let mut arena = Arena::new(&setup)?;
    arena.send_flight()?;
    arena.wait(secs(60))?;
    assert_nothing_is_left("no multipath", &arena.server);
    Ok(())
}

#[test]
fn attack_k4_a_hundred_honest_connections_leave_nothing_at_either_end() -> Result<(), Failure> {
    let (client, server) = ends::configs(9, TransportConfig::default(), TransportConfig::default())?;
    let mut ends = [Endpoint::new(EndpointConfig::default(), [1; 32]), Endpoint::new(EndpointConfig::default(), [2; 32])];
    let [left, right] = &mut ends;
    right.listen(Some(server));
    let mut now = qbase::Timestamp::from_millis(1);
    for number in 0..100 {
        left.connect(now, &Arc::clone(&client), NAME, reverse(addresses(number))).map_err(failure)?;
    }
    exchange(left, right, now);
    assert_eq!((left.len(), right.len(), right.statistics().half_open), (100, 100, 0));
    for end in [&mut *left, &mut *right] {
        let handles: Vec<_> = end.handles().collect();
        for handle in handles {
            let connection = end.connection_mut(handle).ok_or_else(|| failure("gone"))?;
            let stream = connection.open(qbase::Direction::Bidirectional).ok_or_else(|| failure("no stream"))?;
            connection.write(stream, &[7; 3_000]).map_err(failure)?;
        }
    }
    exchange(left, right, now);
    let handles: Vec<_> = left.handles().collect();
    for handle in handles {
        left.connection_mut(handle).ok_or_else(|| failure("gone"))?.close(now, 0, b"done");
    }
    exchange(left, right, now);
    while let Some(at) = qbase::Timestamp::earliest(left.next_timer().map(|(at, _)| at), right.next_timer().map(|(at, _)| at)) {
        now = now.max(at);
        left.on_timer(now);
        right.on_timer(now);
        exchange(left, right, now);
    }
    assert_nothing_is_left("client", left);
    assert_nothing_is_left("server", right);
    Ok(())
}

/// Hands everything from end to end until both are silent.
fn exchange(left: &mut Endpoint, right: &mut Endpoint, now: qbase::Timestamp) {
    let mut buffer = vec![0; 65_535];
    while hand_over(left, right, now, &mut buffer) | hand_over(right, left, now, &mut buffer) {}
}

/// Hands everything one end wants to send to the other; whether there was anything.
fn hand_over(from: &mut Endpoint, to: &mut Endpoint, now: qbase::Timestamp, buffer: &mut [u8]) -> bool {
    let mut any = false;
    while from.poll_event().is_some() {}
    while let Some(burst) = from.poll_transmit(now, buffer, &qconnection::SendLimits::default()) {
        any = true;
        from.on_submitted(&burst, burst.segments, now);
        for datagram in buffer.get_mut(..burst.len).unwrap_or_default().chunks_mut(burst.segment_size) {
            to.handle_datagram(now, reverse(burst.four_tuple), qbase::Ecn::NotEct, datagram);
        }
    }
    while from.poll_event().is_some() {}
    any
}
