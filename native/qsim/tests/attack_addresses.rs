//! Floods of first packets, forged tokens, refusals, large certificates (attacks A3, A5, A11, B1 to B4, B17, B18, L2).

use std::sync::Arc;

use qbase::{
    ConnectionId, Ecn, EncryptionLevel, ErrorCode, FourTuple, PathId, VERSION_1, VERSION_2, limits,
    packet::{ProtectedHeader, version_negotiation},
    param::VersionInformation,
};
use qconnection::{
    ClientConfig, Connection, Event, RetryPolicy, SendLimits, ServerConfig, TransportConfig,
    connection::events::ClosedBy,
};
use qevent::DropReason;
use qsim::Failure;

use crate::common;
use common::{
    crowd::{Crowd, Ears, addresses, turned},
    ends::{self, failure},
    evil::{arena::{Arena, Setup}, own_cid, wire::{self, Envelope}},
    ms, secs,
};

// ---- floods ----

#[test]
fn attack_b1_the_65th_half_open_handshake_must_prove_its_address() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|_| {})?;
    for number in 0..64 {
        crowd.dial(number)?;
    }
    crowd.pump(Ears::Deaf);
    let before = crowd.server.statistics();
    assert_eq!((before.half_open, before.retries), (limits::HALF_OPEN_BEFORE_RETRY as u64, 0));
    let honest = crowd.dial(64)?;
    crowd.pump(Ears::Open);
    let after = crowd.server.statistics();
    assert_eq!((after.retries, after.half_open), (1, 64), "it was let in with its token and is done");
    assert!(crowd.is_confirmed(honest));
    assert!(crowd.clients.connection(honest).is_some_and(Connection::used_retry));
    Ok(())
}

#[test]
fn attack_b1_a_flood_without_tokens_keeps_nothing() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.retry = RetryPolicy::Always)?;
    for number in 0..200 {
        crowd.dial(number)?;
    }
    crowd.pump(Ears::Deaf);
    let statistics = crowd.server.statistics();
    assert_eq!((statistics.connections, statistics.routes, statistics.half_open), (0, 0, 0));
    assert_eq!(statistics.retries, crowd.heard.len() as u64, "each is answered: a ration would lock honest clients out");
    assert!(crowd.bytes.1 * 3 < crowd.bytes.0, "{:?}", crowd.bytes);
    Ok(())
}

#[test]
fn attack_b1_over_the_hard_cap_first_packets_are_dropped() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| {
        server.retry = RetryPolicy::Never;
        // All come from one address.
        server.max_per_address = usize::MAX;
    })?;
    for number in 0..=limits::HALF_OPEN_MAX {
        crowd.dial(number as u16)?;
    }
    crowd.pump(Ears::Deaf);
    assert_eq!(crowd.server.statistics().half_open, limits::HALF_OPEN_MAX as u64);
    assert_eq!(crowd.drops(DropReason::HalfOpenLimit), 1);
    crowd.wait(secs(60), Ears::Deaf);
    assert_eq!(crowd.server.statistics().half_open, 0, "and all of them go");
    assert!(crowd.server.is_empty());
    Ok(())
}

/// attacks L1, R2: answers that the socket does not take are bounded.
#[test]
fn attack_l1_answers_that_wait_for_the_socket_are_bounded() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.retry = RetryPolicy::Always)?;
    let packet = initial(b"attacker", b"")?;
    for number in 0..=limits::ANSWERS_WAITING {
        crowd.deliver(turned(addresses(number as u16)), &packet);
    }
    assert_eq!(crowd.drops(DropReason::QueueFull), 1);
    let mut buffer = vec![0; 65_535];
    let waiting = std::iter::from_fn(|| crowd.server.poll_transmit(crowd.now, &mut buffer, &SendLimits::default()));
    assert_eq!(waiting.count(), limits::ANSWERS_WAITING);
    Ok(())
}

/// Shows 9000-5.2.2-5.
#[test]
fn a_client_there_is_no_room_for_is_refused() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.max_connections = 1)?;
    let first = crowd.dial(0)?;
    crowd.pump(Ears::Open);
    let second = crowd.dial(1)?;
    crowd.pump(Ears::Open);
    assert!(crowd.is_confirmed(first));
    let end = crowd.ends.first().map(|(handle, info)| (*handle, info.by, info.code));
    assert_eq!(end, Some((second, ClosedBy::Peer, ErrorCode::CONNECTION_REFUSED.0)));
    assert_eq!((crowd.server.len(), crowd.server.statistics().refused), (1, 1));
    Ok(())
}

#[test]
fn attack_l20_refusals_are_rationed_by_address() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.max_connections = 0)?;
    for number in 0..50 {
        crowd.dial(number)?;
    }
    crowd.pump(Ears::Deaf);
    assert_eq!(crowd.server.statistics().refused, u64::from(limits::STATELESS_ANSWERS_PER_ADDRESS));
    assert!(crowd.bytes.1 < 2_000, "{:?}", crowd.bytes);
    Ok(())
}

// ---- packets that begin nothing ----

fn nothing_came_of_it(crowd: &mut Crowd) -> bool {
    crowd.pump(Ears::Deaf);
    let statistics = crowd.server.statistics();
    (statistics.connections, statistics.routes, statistics.accepted, crowd.bytes.1) == (0, 0, 0, 0)
}

/// Shows 9000-5.2.2-8.
#[test]
fn attack_a3_an_initial_in_a_small_datagram_begins_nothing() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|_| {})?;
    crowd.dial(1)?;
    let mut buffer = vec![0; 65_535];
    let first = crowd.clients.poll_transmit(crowd.now, &mut buffer, &SendLimits::default());
    let len = first.map_or(0, |burst| burst.segment_size);
    assert!(len >= limits::MIN_INITIAL);
    let whole = buffer.get(..len).unwrap_or_default().to_vec();
    for cut in [1, 2, 600, limits::MIN_INITIAL - 40] {
        // The Length field is left as it is: what is missing is the end of the packet.
        crowd.deliver(turned(addresses(1)), whole.get(..limits::MIN_INITIAL - cut).unwrap_or_default());
    }
    assert!(nothing_came_of_it(&mut crowd));
    crowd.deliver(turned(addresses(1)), &whole);
    crowd.pump(Ears::Deaf);
    assert_eq!(crowd.server.len(), 1, "the whole of it begins a connection");
    Ok(())
}

/// Shows 9000-7.2-1.
#[test]
fn attack_a5_an_initial_to_a_short_id_begins_nothing() -> Result<(), Failure> {
    for retry in [RetryPolicy::Never, RetryPolicy::Always] {
        let mut crowd = Crowd::new(|server| server.retry = retry)?;
        for len in 0..8 {
            crowd.deliver(turned(addresses(1)), &initial(b"attacker".get(..len).unwrap_or_default(), b"")?);
        }
        assert!(nothing_came_of_it(&mut crowd));
        assert_eq!(crowd.drops(DropReason::ShortConnectionId), 8);
    }
    Ok(())
}

/// attacks A4: lengths that version 1 does not know are dropped, 20 is served.
#[test]
fn attack_a4_ids_of_20_bytes_are_served_and_longer_ones_dropped() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.retry = RetryPolicy::Always)?;
    for len in 21..=255_u8 {
        let mut packet = [[0xc0, 0, 0, 0, 1, len].as_slice(), &vec![7; len.into()], &[len], &vec![8; len.into()]].concat();
        packet.resize(1_200, 0);
        crowd.deliver(turned(addresses(1)), &packet);
    }
    assert!(nothing_came_of_it(&mut crowd));
    crowd.deliver(turned(addresses(1)), &initial(&[7; 20], b"")?);
    crowd.pump(Ears::Deaf);
    assert_eq!(crowd.server.statistics().retries, 1);
    Ok(())
}

#[test]
fn attack_a1_random_datagrams_of_every_small_length_get_nothing_but_rationed_resets() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|_| {})?;
    let mut random = qsim::Random::new(11);
    for len in (0..=64).chain([1_200; 200]) {
        let mut bytes = vec![0; len];
        random.fill(&mut bytes);
        crowd.deliver(turned(addresses(1)), &bytes);
    }
    crowd.pump(Ears::Deaf);
    let statistics = crowd.server.statistics();
    assert_eq!((statistics.connections, statistics.routes), (0, 0));
    let each = u64::from(limits::STATELESS_ANSWERS_PER_ADDRESS);
    assert!(statistics.resets <= each && statistics.version_negotiations <= each && statistics.refused == 0);
    assert!(crowd.bytes.1 * 3 < crowd.bytes.0);
    Ok(())
}

// ---- tokens ----

/// An Initial of a client with this token: it opens, but what it holds is no handshake.
fn initial(dcid: &[u8], token: &[u8]) -> Result<Vec<u8>, Failure> {
    let dcid = ConnectionId::new(dcid).unwrap_or_default();
    let envelope =
        Envelope { level: EncryptionLevel::Initial, path: PathId::ZERO, dcid, scid: own_cid(PathId::ZERO, 0), number: 0, first_bits: 0 };
    let keys = qcrypto::Keys::initial(VERSION_1, &dcid, qbase::Role::Client);
    wire::seal_initial(&envelope, &keys, token, &vec![0x01; 1_200 - token.len()])
}

/// Shows 9000-8.1.2-2 and 9000-8.1.4-1.
#[test]
fn attack_b4_no_forged_token_opens_a_connection_where_one_is_asked_for() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.retry = RetryPolicy::Always)?;
    let mut tokens: Vec<Vec<u8>> = vec![Vec::new(), vec![0; 1], vec![0xff; 200]];
    for kind in [0xb1, 0xb2] {
        tokens.extend((0..120).map(|len| [[kind].as_slice(), &vec![0x5c; len]].concat()));
    }
    for token in &tokens {
        let packet = initial(b"attacker", token)?;
        crowd.deliver(turned(addresses(7)), &packet);
        crowd.pump(Ears::Deaf);
        crowd.wait(ms(300), Ears::Deaf);
    }
    let statistics = crowd.server.statistics();
    assert_eq!((statistics.connections, statistics.accepted, statistics.routes), (0, 0, 0));
    assert_eq!(statistics.retries, 3 + 120, "a token that is none is as good as none");
    assert_eq!((crowd.drops(DropReason::InvalidToken), statistics.refused), (120, 120), "one like a Retry's ends the attempt");
    assert!(crowd.bytes.1 < crowd.bytes.0);
    Ok(())
}

/// Shows 9000-8.1.4-6.
#[test]
fn attack_b4_a_replayed_retry_token_opens_no_second_connection() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.retry = RetryPolicy::Always)?;
    let handle = crowd.dial(1)?;
    crowd.pump(Ears::Open);
    assert!(crowd.is_confirmed(handle));
    let with_token = crowd.heard.iter().find(|(_, bytes)| {
        ProtectedHeader::parse(bytes, limits::LOCAL_CID_LEN).is_ok_and(|header| !header.token.is_empty())
    });
    let (four_tuple, replay) = with_token.cloned().ok_or_else(|| failure("no Initial has a token"))?;
    if let Some(connection) = crowd.clients.connection_mut(handle) {
        connection.close(crowd.now, 0, b"");
    }
    crowd.pump(Ears::Open);
    crowd.wait(secs(5), Ears::Open);
    assert!(crowd.server.is_empty());
    crowd.deliver(four_tuple, &replay);
    crowd.deliver(FourTuple { remote: ([203, 0, 113, 5], 999).into(), ..four_tuple }, &replay);
    crowd.pump(Ears::Deaf);
    assert!(crowd.server.is_empty(), "neither from there nor from elsewhere");
    assert_eq!(crowd.drops(DropReason::InvalidToken), 2);
    Ok(())
}

#[test]
fn attack_b4_the_same_token_of_a_frame_serves_one_connection() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.retry = RetryPolicy::Always)?;
    let handle = crowd.dial(1)?;
    let mut token = None;
    crowd.pump(Ears::Deaf);
    crowd.wait(secs(1), Ears::Deaf);
    let _ = handle;
    // Events are read by hand here: the token is one.
    let mut fresh = Crowd::new(|server| server.retry = RetryPolicy::Never)?;
    let first = fresh.dial(1)?;
    let mut buffer = vec![0; 65_535];
    for _ in 0..20 {
        while let Some(burst) = fresh.clients.poll_transmit(fresh.now, &mut buffer, &SendLimits::default()) {
            fresh.clients.on_submitted(&burst, burst.segments, fresh.now);
            let bytes = buffer.get(..burst.len).unwrap_or_default().to_vec();
            bytes.chunks(burst.segment_size.max(1)).for_each(|datagram| fresh.deliver(turned(burst.four_tuple), datagram));
        }
        while let Some(burst) = fresh.server.poll_transmit(fresh.now, &mut buffer, &SendLimits::default()) {
            fresh.server.on_submitted(&burst, burst.segments, fresh.now);
            for datagram in buffer.get_mut(..burst.len).unwrap_or_default().chunks_mut(burst.segment_size.max(1)) {
                fresh.clients.handle_datagram(fresh.now, turned(burst.four_tuple), Ecn::NotEct, datagram);
            }
        }
        while let Some(event) = fresh.clients.poll_event_of(first) {
            if let Event::NewToken(bytes) = event {
                token = Some(bytes);
            }
        }
    }
    let token = token.ok_or_else(|| failure("no token came"))?;
    // Both servers have the same secret. The clock of the second stands a little later.
    crowd.config = Arc::new(ClientConfig { token: Some(token), ..ClientConfig::clone(&crowd.config) });
    let before = crowd.server.statistics().retries;
    let (second, third) = (crowd.dial(2)?, crowd.dial(3)?);
    crowd.pump(Ears::Open);
    assert!(crowd.is_confirmed(second) && crowd.is_confirmed(third));
    assert_eq!(crowd.server.statistics().retries - before, 1, "the second to use it must prove its address anew");
    Ok(())
}

// ---- versions ----

/// Shows 9000-5.2.2-1, 9000-5.2.2-3 and 9368-incompatible-version-negotiation-incompat-vn-1.
#[test]
fn attack_a11_an_unknown_version_gets_a_list_if_its_packet_is_large_enough() -> Result<(), Failure> {
    let mut buffer = vec![0; 65_535];
    for (ids, len) in [(8_usize, 1_200_usize), (255, 1_200), (0, 1_200), (8, 1_199), (8, 100)] {
        let mut crowd = Crowd::new(|_| {})?;
        let mut packet = vec![0xc3, 0xfa, 0xce, 0xb0, 0x0c, ids as u8];
        packet.extend(vec![0xd; ids]);
        packet.push(ids as u8);
        packet.extend(vec![0x5; ids]);
        packet.resize(len, 0);
        crowd.deliver(turned(addresses(1)), &packet);
        let answer = crowd.server.poll_transmit(crowd.now, &mut buffer, &SendLimits::default());
        assert_eq!(answer.is_some(), len >= 1_200, "{len} bytes");
        let Some(answer) = answer else { continue };
        assert!(answer.len <= len);
        let list = version_negotiation::parse(buffer.get(..answer.len).unwrap_or_default()).map_err(failure)?;
        assert_eq!((list.dcid, list.scid), (vec![0x5; ids].as_slice(), vec![0xd; ids].as_slice()), "ids are echoed");
        let versions: Vec<u32> = list.versions().collect();
        assert!(versions.contains(&VERSION_1) && versions.contains(&VERSION_2));
        assert_eq!(versions.iter().filter(|version| **version & 0x0f0f_0f0f == 0x0a0a_0a0a).count(), 1, "one is greased");
    }
    Ok(())
}

#[test]
fn attack_a11_version_negotiation_is_rationed() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|_| {})?;
    let packet = [[0xc3, 0xfa, 0xce, 0xb0, 0x0c, 8].as_slice(), &[9; 8], &[0], &[0; 1_200]].concat();
    for _ in 0..1_000 {
        crowd.deliver(turned(addresses(1)), &packet);
    }
    assert_eq!(crowd.server.statistics().version_negotiations, u64::from(limits::STATELESS_ANSWERS_PER_ADDRESS));
    Ok(())
}

/// Shows 9368-version-downgrade-prevention-downgrade-8, 9368-version-downgrade-prevention-downgrade-9 and
/// 9368-version-downgrade-prevention-downgrade-10.
#[test]
fn attack_b17_a_client_whose_choice_is_not_its_packets_version_is_refused() -> Result<(), Failure> {
    let mut setup = Setup::during_handshake();
    setup.parameters.version_information = Some(VersionInformation { chosen: VERSION_2, available: vec![VERSION_2, VERSION_1] });
    let arena = Arena::new(&setup)?;
    assert_eq!(arena.close_code().map(|(code, _)| code), Some(ErrorCode::VERSION_NEGOTIATION_ERROR.0));
    Ok(())
}

/// Shows 9369-compatible-negotiation-requirements-9.
#[test]
fn attack_b18_types_of_the_other_version_open_nothing() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.versions = vec![VERSION_1])?;
    let mut packet = initial(b"attacker", b"")?;
    packet.resize(1_200, 0);
    // A Retry of version 2 and a Handshake packet of version 1 begin with the same bits as other types do elsewhere.
    for first in [0xd0, 0xe0, 0xf0] {
        let mut other = packet.clone();
        if let Some(byte) = other.first_mut() {
            *byte = first;
        }
        crowd.deliver(turned(addresses(1)), &other);
    }
    crowd.pump(Ears::Deaf);
    assert_eq!((crowd.server.len(), crowd.bytes.1), (0, 0));
    Ok(())
}

// ---- large certificates ----

/// A server whose chain has about 20 KiB, and a client that trusts it.
fn large_chain() -> Result<(Arc<ClientConfig>, ServerConfig), Failure> {
    let (client, server) = ends::tls_of_chain(9, 20_000)?;
    let transport = Arc::new(TransportConfig::default());
    let client = ClientConfig::new(client, Arc::clone(&transport));
    Ok((Arc::new(client), ServerConfig::new(server, transport, 16)))
}

/// Shows 9000-8.1-2 and 9000-8.1-3.
#[test]
fn attack_b2_a_silent_client_gets_three_times_its_bytes_of_a_large_certificate_and_no_more() -> Result<(), Failure> {
    let (client, server) = large_chain()?;
    let mut crowd = Crowd::with(client, server, |_| {});
    crowd.dial(1)?;
    crowd.pump(Ears::Deaf);
    let (received, sent) = crowd.bytes;
    assert!(sent <= 3 * received && sent + 100 > 3 * received, "{sent} bytes for {received}");
    for _ in 0..100 {
        crowd.wait(ms(100), Ears::Deaf);
        let (received, sent) = crowd.bytes;
        assert!(sent <= 3 * received, "{sent} bytes for {received}");
    }
    Ok(())
}

/// Shows 9000-8.1-5 and 9000-8.1-6.
#[test]
fn attack_b3_a_server_at_its_limit_goes_on_when_the_client_probes() -> Result<(), Failure> {
    let (client, server) = large_chain()?;
    let mut crowd = Crowd::with(client, server, |_| {});
    let handle = crowd.dial(1)?;
    crowd.pump(Ears::Deaf);
    let stuck = crowd.now;
    for _ in 0..60 {
        crowd.wait(ms(50), Ears::Open);
        if crowd.is_confirmed(handle) {
            break;
        }
    }
    assert!(crowd.is_confirmed(handle), "everything the server sent first was lost");
    let pto = limits::INITIAL_RTT * 3;
    assert!(crowd.now.saturating_since(stuck) <= pto * 3, "{:?}", crowd.now.saturating_since(stuck));
    Ok(())
}

#[test]
fn a_large_certificate_needs_no_credit_after_a_retry() -> Result<(), Failure> {
    let (client, server) = large_chain()?;
    let mut crowd = Crowd::with(client, server, |server| server.retry = RetryPolicy::Always);
    let handle = crowd.dial(1)?;
    crowd.pump(Ears::Open);
    // The pacer spreads the flight; nothing else holds it back.
    crowd.wait(ms(500), Ears::Open);
    assert!(crowd.is_confirmed(handle));
    Ok(())
}

#[test]
fn attack_b4_a_token_that_was_damaged_on_its_way_ends_nothing() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.retry = RetryPolicy::Always)?;
    let mut packet = initial(b"attacker", &[0xb1; 100])?;
    if let Some(byte) = packet.get_mut(60) {
        *byte ^= 1;
    }
    crowd.deliver(turned(addresses(1)), &packet);
    crowd.pump(Ears::Deaf);
    assert_eq!((crowd.bytes.1, crowd.drops(DropReason::Undecryptable)), (0, 1));
    Ok(())
}
