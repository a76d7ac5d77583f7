//! MUSTs that a client keeps towards a server that may do anything (docs/compliance).

use qbase::{
    ConnectionId, Direction, EncryptionLevel, ErrorCode, PathId, SpaceId, VERSION_1, Writer,
    frame::{self, Fin, Frame},
    limits::{LOCAL_CID_LEN, MIN_INITIAL, TAG_LEN},
    packet::{LongHeader, LongKind, PacketType, ProtectedHeader, long},
    param::TransportParameters,
};
use qconnection::{Event, connection::SpaceState, stream::StreamEvent};
use qevent::DropReason;
use qsim::Failure;

use crate::common;
use common::{
    ends::failure,
    evil::{
        ack, encode, own_cid,
        stage::{Act, Play, Stage},
        stream,
        wire::Packet,
    },
    secs,
};
use EncryptionLevel::{Handshake, Initial, OneRtt};

fn drops(stage: &Stage, reason: DropReason) -> u64 {
    stage.connection().map_or(0, |connection| connection.drops().get(reason))
}

fn headers(stage: &Stage) -> Vec<ProtectedHeader> {
    stage.raw.iter().filter_map(|datagram| ProtectedHeader::parse(datagram, LOCAL_CID_LEN).ok()).collect()
}

/// Shows 9000-7.2-1 and 9000-7.2-2.
#[test]
fn a_client_keeps_its_first_destination_id_until_the_server_answers() -> Result<(), Failure> {
    let mut stage = Stage::new(&Play::from(Act::Silence))?;
    stage.wait(secs(5))?;
    let before = headers(&stage);
    let first = before.first().map(|header| header.dcid).unwrap_or_default();
    assert!(first.len() >= 8, "{first:?}");
    assert!(before.len() > 2 && before.iter().all(|header| header.dcid == first), "{before:?}");
    stage.raw.clear();
    stage.send_flight()?;
    let after = headers(&stage);
    assert!(!after.is_empty() && after.iter().all(|header| header.dcid == own_cid(PathId::ZERO, 0)), "{after:?}");
    Ok(())
}

/// Shows 9000-7.2-3, 9000-7.2-4 and 9000-7.2-6.
#[test]
fn packets_of_the_server_with_another_source_id_are_dropped_at_every_level() -> Result<(), Failure> {
    let mut stage = Stage::new(&Play::from(Act::Silence))?;
    let stranger = own_cid(PathId::ZERO, 99);
    let flight = std::mem::take(&mut stage.flight);
    for (level, offset, data) in flight {
        stage.flight = vec![(level, offset, data)];
        stage.send_flight()?;
        let before = drops(&stage, DropReason::OtherConnection);
        if level != OneRtt && !stage.connection()?.is_handshake_complete() {
            stage.send_from(Initial, stranger, &[Frame::Ping])?;
            stage.send_from(Handshake, stranger, &[Frame::Ping])?;
            assert_eq!(drops(&stage, DropReason::OtherConnection) - before, 2, "after the server's {level:?} bytes");
            let taken = stage.connection()?.space(SpaceId::Handshake).map(|space| space.received);
            assert_eq!(taken, Some(Vec::new()), "the Handshake packet was not taken");
        }
    }
    assert!(stage.connection()?.is_handshake_complete());
    let to: Vec<ConnectionId> = headers(&stage).into_iter().skip(1).map(|header| header.dcid).collect();
    assert!(to.len() > 1 && to.iter().all(|dcid| *dcid == own_cid(PathId::ZERO, 0)), "{to:?}");
    Ok(())
}

/// Shows 9000-17.2.2-2.
#[test]
fn an_initial_of_the_server_with_a_token_is_dropped() -> Result<(), Failure> {
    let mut stage = Stage::new(&Play::from(Act::Silence))?;
    let header = LongHeader {
        kind: LongKind::Initial { token: b"token" },
        version: VERSION_1,
        dcid: stage.evil.remote.unwrap_or_default(),
        scid: own_cid(PathId::ZERO, 0),
    };
    let payload = encode(&[Frame::Ping]);
    let header_len = header.size(4);
    let mut packet = vec![0; header_len + payload.len() + TAG_LEN];
    let mut writer = Writer::new(&mut packet);
    let start = header.write(&mut writer, 0, 4);
    writer.bytes(&payload);
    long::patch_length(&mut packet, start.length_offset, 4 + payload.len() + TAG_LEN).ok_or_else(|| failure("too long"))?;
    let keys = stage.evil.initial_keys();
    keys.local.packet.seal(PathId::ZERO, 0, &mut packet, header_len).map_err(failure)?;
    keys.local.header.protect(&mut packet, start.pn_offset).map_err(failure)?;
    stage.deliver(packet)?;
    assert_eq!(stage.connection()?.statistics().packets_received, 0);
    assert_eq!(drops(&stage, DropReason::MalformedHeader), 1);
    stage.send_flight()?;
    assert!(stage.connection()?.is_handshake_complete(), "the true one is taken, number 0 and all");
    Ok(())
}

/// Shows 9000-5.2.1-3.
#[test]
fn a_packet_of_another_version_is_dropped() -> Result<(), Failure> {
    let mut stage = Stage::new(&Play::from(Act::Silence))?;
    let mut packet = stage.evil.seal(Initial, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
    packet.splice(1..5, [0x1a, 0x2a, 0x3a, 0x4a]);
    stage.deliver(packet)?;
    assert_eq!(stage.connection()?.statistics().packets_received, 0);
    assert_eq!(drops(&stage, DropReason::UnknownVersion), 1);
    stage.send_flight()?;
    assert!(stage.connection()?.is_handshake_complete());
    Ok(())
}

/// Shows 9000-7.3-1, 9000-7.3-2, 9000-7.3-3 and 9000-7.3-4.
#[test]
fn wrong_connection_ids_in_the_servers_parameters_close_the_connection() -> Result<(), Failure> {
    let changes: [fn(&mut TransportParameters); 5] = [
        |parameters| parameters.original_destination_connection_id = None,
        |parameters| parameters.original_destination_connection_id = Some(own_cid(PathId::ZERO, 5)),
        |parameters| parameters.initial_source_connection_id = None,
        |parameters| parameters.initial_source_connection_id = Some(own_cid(PathId::ZERO, 5)),
        |parameters| parameters.retry_source_connection_id = Some(own_cid(PathId::ZERO, 5)),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let stage = Stage::new(&Play { act: Act::Complete, change, ..Play::default() })?;
        assert_eq!(stage.close_code(), Some(ErrorCode::TRANSPORT_PARAMETER_ERROR.0), "case {number}");
    }
    Ok(())
}

/// Shows 9000-8.1-5, 9000-8.1-6, 9002-6.2.2.1-2, 9002-6.2.2.1-3 and 9002-6.2.2.1-4.
#[test]
fn a_client_with_nothing_in_flight_probes_until_the_server_can_send() -> Result<(), Failure> {
    let mut stage = Stage::new(&Play::from(Act::Silence))?;
    stage.send(Initial, &[ack(None, &(0..=0))])?;
    assert_eq!(stage.connection()?.statistics().bytes_in_flight, 0);
    stage.forget_heard();
    stage.wait(secs(3))?;
    assert!(stage.evil.heard.len() >= 2, "{:?}", stage.evil.heard);
    for packet in &stage.evil.heard {
        assert!(packet.level == Initial && packet.datagram >= MIN_INITIAL, "{packet:?}");
        assert!(packet.frames().iter().any(Frame::is_ack_eliciting), "{packet:?}");
    }

    let mut stage = Stage::new(&Play::from(Act::Silence))?;
    stage.flight.truncate(1);
    stage.send_flight()?;
    stage.send(Initial, &[ack(None, &(0..=0))])?;
    assert!(stage.connection()?.space(SpaceId::Handshake).is_some_and(|space| space.state == SpaceState::Open), "ServerHello came");
    stage.forget_heard();
    stage.wait(secs(3))?;
    let probes: Vec<&Packet> = stage.evil.heard.iter().filter(|packet| packet.frames().iter().any(Frame::is_ack_eliciting)).collect();
    assert!(probes.len() >= 2 && probes.iter().all(|packet| packet.level == Handshake), "{probes:?}");
    Ok(())
}

/// Shows 9001-5.7-1 and 9001-5.7-5.
#[test]
fn a_client_takes_1rtt_packets_only_after_completion() -> Result<(), Failure> {
    let mut stage = Stage::new(&Play::from(Act::Silence))?;
    let readable = |stage: &Stage| stage.events.iter().filter(|event| matches!(event, Event::Stream(StreamEvent::Readable(_)))).count();
    let (level, offset, mut data) = stage.flight.iter().find(|(level, ..)| *level == Handshake).cloned().ok_or_else(|| failure("no flight"))?;
    let last = data.split_off(data.len() - 10);
    stage.flight.retain(|(level, ..)| *level == Initial);
    stage.flight.push((level, offset, data.clone()));
    stage.send_flight()?;
    stage.say(&[stream(3, 0, b"early", Fin::No)])?;
    assert_eq!((readable(&stage), drops(&stage, DropReason::KeptForKeys)), (0, 1), "the server's Finished is missing");
    stage.flight = vec![(level, offset + data.len() as u64, last)];
    stage.send_flight()?;
    assert!(stage.connection()?.is_handshake_complete());
    assert_eq!(readable(&stage), 1, "kept, and taken now");
    Ok(())
}

/// Shows 9001-4.9.1-1 and 9001-4.9.1-3.
#[test]
fn a_client_that_sent_a_handshake_packet_is_done_with_initial_packets() -> Result<(), Failure> {
    let mut stage = Stage::new(&Play::from(Act::Complete))?;
    let state = stage.connection()?.space(SpaceId::Initial).map(|space| space.state);
    assert_eq!(state, Some(SpaceState::Discarded));
    stage.forget_heard();
    stage.send(Initial, &[Frame::Ping])?;
    assert_eq!(drops(&stage, DropReason::NoKeys), 1);
    stage.wait(secs(3))?;
    let kinds: Vec<PacketType> = headers(&stage).into_iter().map(|header| header.kind).collect();
    assert!(!kinds.is_empty() && !kinds.contains(&PacketType::Initial), "{kinds:?}");
    Ok(())
}

/// Shows 9002-6.2.1-3.
#[test]
fn a_client_probes_with_handshake_packets_until_confirmation() -> Result<(), Failure> {
    let mut stage = Stage::new(&Play::from(Act::Complete))?;
    let connection = stage.connection_mut()?;
    let id = connection.open(Direction::Unidirectional).ok_or_else(|| failure("no stream"))?;
    connection.write(id, b"early data of the application").map_err(failure)?;
    stage.pump()?;
    assert!(stage.evil.heard.iter().any(|packet| packet.level == OneRtt), "it is sent");
    stage.forget_heard();
    stage.wait(secs(3))?;
    let probes: Vec<EncryptionLevel> =
        stage.evil.heard.iter().filter(|packet| packet.frames().iter().any(Frame::is_ack_eliciting)).map(|packet| packet.level).collect();
    assert!(!probes.is_empty() && probes.iter().all(|level| *level == Handshake), "{probes:?}");
    stage.say(&[Frame::HandshakeDone])?;
    stage.forget_heard();
    stage.wait(secs(3))?;
    assert!(stage.evil.heard.iter().any(|packet| packet.level == OneRtt && packet.frames().iter().any(Frame::is_ack_eliciting)));
    Ok(())
}

/// Shows 9000-19.7-3.
#[test]
fn a_client_sends_nothing_that_only_servers_send() -> Result<(), Failure> {
    let mut stage = Stage::new(&Play::default())?;
    stage.say(&[Frame::NewToken(frame::NewToken { token: b"a token of the server" })])?;
    let connection = stage.connection_mut()?;
    let id = connection.open(Direction::Bidirectional).ok_or_else(|| failure("no stream"))?;
    connection.write(id, &[1; 5_000]).map_err(failure)?;
    stage.pump()?;
    stage.wait(secs(3))?;
    let mut frames = stage.evil.heard.iter().flat_map(Packet::frames);
    assert!(frames.all(|frame| !matches!(frame, Frame::NewToken(_) | Frame::HandshakeDone)));
    Ok(())
}

/// Shows multipath-21-initial-max-path-id-transport-parameter-nego-4.
/// multipath MP-8.
#[test]
fn multipath_of_a_server_with_an_empty_id_is_a_violation() -> Result<(), Failure> {
    for (offer, code) in [(None, None), (Some(PathId(3)), Some(ErrorCode::PROTOCOL_VIOLATION))] {
        let change: fn(&mut TransportParameters) = match offer {
            None => |parameters| parameters.initial_source_connection_id = Some(ConnectionId::EMPTY),
            Some(_) => |parameters| {
                parameters.initial_source_connection_id = Some(ConnectionId::EMPTY);
                parameters.initial_max_path_id = Some(PathId(3));
            },
        };
        let mut stage = Stage::new(&Play { act: Act::Silence, change, ..Play::default() })?;
        for (level, offset, data) in std::mem::take(&mut stage.flight) {
            for (piece, offset) in data.chunks(1_000).zip((offset..).step_by(1_000)) {
                if level != OneRtt {
                    stage.send_from(level, ConnectionId::EMPTY, &[Frame::Crypto(frame::Crypto { offset, data: piece })])?;
                }
            }
        }
        let end = stage.events.iter().find_map(|event| match event {
            Event::Closed(info) => Some(info.code),
            _ => None,
        });
        assert_eq!(end, code.map(|code| code.0), "{offer:?}");
        assert_eq!(stage.connection()?.is_handshake_complete(), code.is_none());
    }
    Ok(())
}
