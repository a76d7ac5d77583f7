//! MUSTs about connection ids, paths and challenges that a server keeps (docs/compliance).

use std::collections::BTreeSet;

use qbase::{
    ConnectionId, EncryptionLevel, PathId,
    frame::{self, Fin, Frame, table},
    limits,
};
use qsim::Failure;

use crate::common;
use common::{
    evil::{arena::{Arena, Setup}, encode, new_cid, own_cid, stream, wire::Packet},
    challenge, ms, secs, write,
};
use EncryptionLevel::OneRtt;

const ONE: PathId = PathId(1);

fn retire(path: Option<PathId>, sequence: u64) -> Frame<'static> {
    Frame::RetireConnectionId(frame::RetireConnectionId { path, sequence })
}

/// Challenges of the server among what was heard, with the size of their datagrams.
fn challenges(arena: &Arena) -> Vec<([u8; 8], usize)> {
    let of = |packet: &Packet| {
        let size = packet.datagram;
        let data = packet.frames().into_iter().filter_map(|frame| match frame {
            Frame::PathChallenge(challenge) => Some(challenge.data),
            _ => None,
        });
        data.map(|data| (data, size)).collect::<Vec<_>>()
    };
    arena.evil.heard.iter().flat_map(of).collect()
}

fn answer(data: [u8; 8]) -> Frame<'static> {
    Frame::PathResponse(frame::PathResponse { data })
}

/// Shows 9000-5.1-1, 9000-5.1-2, 9000-10.3.2-2, 9000-10.3.2-3 and
/// multipath-21-initial-max-path-id-transport-parameter-nego-3.
#[test]
fn connection_ids_are_random_and_never_repeat() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let mut retired = BTreeSet::new();
    for _ in 0..20 {
        for (path, sequence) in arena.evil.ids.keys().copied().collect::<Vec<_>>() {
            if (path, sequence) != (PathId::ZERO, 0) && retired.insert((path, sequence)) {
                arena.say(&[retire(Some(path), sequence)])?;
            }
        }
        arena.ack()?;
        arena.wait(ms(20))?;
    }
    let ids: Vec<ConnectionId> = arena.evil.ids.values().copied().collect();
    assert!(ids.len() > 150, "{} ids", ids.len());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "none twice");
    assert!(ids.iter().all(|id| id.len() == limits::LOCAL_CID_LEN));
    for bit in 0..8 * limits::LOCAL_CID_LEN {
        let set = ids.iter().filter(|id| id.as_bytes()[bit / 8] >> (bit % 8) & 1 == 1).count();
        assert!(set * 10 > ids.len() * 3 && set * 10 < ids.len() * 7, "bit {bit} is set in {set} of {}", ids.len());
    }
    Ok(())
}

/// Shows 9000-5.1.1-2.
#[test]
fn an_issued_id_is_taken_until_the_peer_retires_it() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    let spare = arena.evil.ids.get(&(PathId::ZERO, 1)).copied().ok_or_else(|| Failure::new("no spare id".to_owned()))?;
    let send = |arena: &mut Arena| {
        let before = arena.connection()?.statistics().packets_received;
        let packet = arena.evil.seal(OneRtt, PathId::ZERO, Some(spare), 0, &encode(&[Frame::Ping]))?;
        arena.deliver(packet)?;
        Ok::<_, Failure>(arena.connection()?.statistics().packets_received - before)
    };
    assert_eq!(send(&mut arena)?, 1);
    arena.wait(secs(20))?;
    assert_eq!(send(&mut arena)?, 1, "however long ago it was issued");
    arena.say(&[retire(None, 1)])?;
    assert_eq!(send(&mut arena)?, 0, "retired");
    Ok(())
}

/// Shows 9000-8.2.1-5, 9000-8.2.1-6, 9000-8.2.3-1 and multipath-21-path-initiation-and-validation-path-initiation-6.
/// multipath MP-24.
#[test]
fn a_path_proved_by_small_datagrams_is_challenged_again_in_a_full_one() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[new_cid(Some(ONE), 0, 0), new_cid(Some(ONE), 1, 0)])?;
    arena.forget_heard();
    arena.say_on(ONE, &[Frame::Ping])?;
    let [(first, small)] = challenges(&arena)[..] else { return Err(Failure::new("not one challenge".to_owned())) };
    assert!(small < limits::MIN_INITIAL, "{small} bytes: the credit allows no more");
    arena.forget_heard();
    arena.say_on(ONE, &[answer(first)])?;
    let [(second, full)] = challenges(&arena)[..] else { return Err(Failure::new("no second challenge".to_owned())) };
    assert!(second != first && full >= limits::MIN_INITIAL, "{full} bytes");
    Ok(())
}

/// Shows 9000-8.2.2-6.
#[test]
fn a_response_to_an_unproved_address_stays_within_its_credit() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[new_cid(Some(ONE), 0, 0)])?;
    arena.forget_heard();
    let packet = arena.evil.seal(OneRtt, ONE, None, 0, &encode(&[challenge(9)]))?;
    let received = packet.len();
    arena.deliver(packet)?;
    let answered = arena.count(|frame| matches!(frame, Frame::PathResponse(response) if response.data == [9; 8]));
    assert_eq!(answered, 1);
    let sent: usize = arena.evil.heard.iter().filter(|packet| packet.path == ONE).map(|packet| packet.datagram).sum();
    assert!(sent <= 3 * received, "{sent} bytes for {received}");
    Ok(())
}

/// Shows 9000-8.2.1-4.
#[test]
fn every_challenge_has_random_data_of_its_own() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for path in 1..=limits::INITIAL_MAX_PATH_ID {
        arena.say(&[new_cid(Some(PathId(path)), 0, 0)])?;
        arena.say_on(PathId(path), &[Frame::Ping])?;
        let asked = challenges(&arena);
        if let Some((data, _)) = asked.last() {
            arena.say_on(PathId(path), &[answer(*data)])?;
        }
    }
    let asked: Vec<[u8; 8]> = challenges(&arena).into_iter().map(|(data, _)| data).collect();
    assert!(asked.len() >= 10, "{}", asked.len());
    for (at, one) in asked.iter().enumerate() {
        for other in asked.iter().skip(at + 1) {
            assert!(one.iter().zip(other).filter(|(a, b)| a != b).count() >= 5, "{one:02x?} {other:02x?}");
        }
    }
    Ok(())
}

/// Shows 9000-19.21-1 and multipath-21-connection-lifecycle-and-packet-protection-1.
/// multipath MP-5.
#[test]
fn without_multipath_no_multipath_frame_is_sent() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    arena.say(&[new_cid(None, 1, 0), new_cid(None, 2, 1), retire(None, 1)])?;
    for _ in 0..5 {
        write(&mut arena, 3_000)?;
        arena.say(&[challenge(1), stream(2, 0, b"x", Fin::No)])?;
        arena.ack()?;
        arena.wait(ms(100))?;
    }
    assert!(arena.evil.heard.len() > 10);
    assert_eq!(arena.count(|frame| table::is_multipath(frame.frame_type())), 0);
    assert_eq!(arena.close_code(), None);
    Ok(())
}

/// Shows multipath-21-issuing-new-connection-ids-4.
/// multipath MP-6, MP-48.
#[test]
fn ids_are_issued_only_for_path_ids_the_peer_allows() -> Result<(), Failure> {
    let mut setup = Setup::default();
    setup.parameters.initial_max_path_id = Some(PathId(2));
    let mut arena = Arena::new(&setup)?;
    arena.wait(secs(1))?;
    let highest = |arena: &Arena| arena.evil.ids.keys().map(|(path, _)| *path).max();
    assert_eq!(highest(&arena), Some(PathId(2)));
    arena.say(&[Frame::MaxPathId(frame::MaxPathId { maximum: PathId(4) })])?;
    assert_eq!(highest(&arena), Some(PathId(4)));
    Ok(())
}

/// Shows 9000-19.16-2.
#[test]
fn an_id_is_retired_in_packets_to_another_one() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    arena.forget_heard();
    arena.say(&[new_cid(None, 1, 1)])?;
    arena.wait(secs(1))?;
    let of = |packet: &&Packet| packet.frames().iter().any(|frame| matches!(frame, Frame::RetireConnectionId(retire) if retire.sequence == 0));
    let to: Vec<ConnectionId> = arena.evil.heard.iter().filter(of).map(|packet| packet.dcid).collect();
    assert!(!to.is_empty() && to.iter().all(|dcid| *dcid == own_cid(PathId::ZERO, 1)), "{to:?}");
    Ok(())
}

/// Shows multipath-21-path-initiation-and-validation-path-initiation-8.
/// multipath MP-25.
#[test]
fn a_path_that_cannot_be_validated_is_abandoned_in_words() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[new_cid(Some(ONE), 0, 0)])?;
    arena.say_on(ONE, &[Frame::Ping])?;
    for _ in 0..20 {
        arena.ack()?;
        arena.wait(ms(500))?;
    }
    let abandoned = arena.count(|frame| matches!(frame, Frame::PathAbandon(abandon) if abandon.path == ONE));
    assert!(abandoned >= 1);
    assert_eq!(arena.close_code(), None);
    Ok(())
}

/// Challenges in datagrams that the credit of a new address cut short.
fn small(arena: &Arena) -> Vec<([u8; 8], usize)> {
    challenges(arena).into_iter().filter(|(_, size)| *size < 1_200).collect()
}

/// Shows 9000-9-4, 9000-9.3-1, 9000-9.3-2, 9000-9.3-3 and 9000-9.4-2.
#[test]
fn a_newer_packet_from_another_address_moves_the_path_and_is_validated() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    let path = |arena: &Arena| arena.connection().ok().and_then(|connection| connection.path(PathId::ZERO)).ok_or_else(|| Failure::new("no path".to_owned()));
    arena.say(&[new_cid(None, 1, 0), new_cid(None, 2, 0)])?;
    for _ in 0..30 {
        write(&mut arena, 10_000)?;
        arena.wait(ms(10))?;
        arena.ack()?;
    }
    arena.wait(ms(50))?;
    arena.ack()?;
    assert!(path(&arena)?.smoothed_rtt < ms(100));
    arena.forget_heard();

    let elsewhere = common::evil::arena::addresses(9);
    arena.evil.four_tuple = elsewhere;
    let before = arena.server.statistics();
    let packet = arena.evil.seal(OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
    let received = packet.len() as u64;
    arena.deliver(packet)?;
    assert_eq!(path(&arena)?.four_tuple.remote, elsewhere.remote, "what follows goes there");
    // The other goes to where the client was (RFC 9000 §9.3.3).
    let [(data, _)] = small(&arena)[..] else { return Err(Failure::new("not one challenge".to_owned())) };
    write(&mut arena, 50_000)?;
    arena.wait(ms(200))?;
    let home = challenges(&arena).iter().filter(|(_, size)| *size == 1_200).count() as u64;
    let sent = arena.server.statistics().bytes_sent - before.bytes_sent - home * 1_200;
    assert!(sent <= 3 * received, "{sent} bytes to an unproved address for {received}");

    arena.say(&[answer(data)])?;
    assert_eq!(path(&arena)?.smoothed_rtt, limits::INITIAL_RTT, "nothing is known of the new network");
    let fresh = path(&arena)?;
    assert!(fresh.congestion_window <= 10 * u64::from(fresh.mtu), "{fresh:?}");
    Ok(())
}
