//! Who is heard and let in: addresses on the block list, shares of an address, ids for load balancers, ports where nobody
//! listens (attacks L28, A24; draft-ietf-quic-load-balancers).

use std::{net::{IpAddr, SocketAddr}, sync::Arc};

use qbase::{ErrorCode, FourTuple, PathId, packet::{destination_cid, source_cid}};
use qconnection::{
    ClientConfig, ConnectionHandle, Endpoint, EndpointConfig, RetryPolicy, SendLimits, TransportConfig,
    cid::{CidShape, FirstOctet, ServerId},
    config::HandshakeMode,
    connection::{Afterwards, Candidate, events::ClosedBy},
    endpoint::{AddressRange, BlockList},
};
use qevent::DropReason;
use qsim::Failure;

use crate::common;
use common::{
    crowd::{Crowd, Ears, addresses},
    ends::{NAME, failure},
    ms, secs,
};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

/// Client number `number` of another address than that of [`addresses`].
fn from(address: &str, number: u16) -> FourTuple {
    FourTuple { local: (ip(address), 10_000 + number).into(), ..addresses(number) }
}

fn dial(crowd: &mut Crowd, four_tuple: FourTuple) -> Result<ConnectionHandle, Failure> {
    crowd.clients.connect(crowd.now, &crowd.config, NAME, four_tuple).map_err(failure)
}

// ---- shares of an address ----

#[test]
fn attack_l28_an_address_gets_its_share_of_connections_and_others_get_theirs() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.max_per_address = 3)?;
    let mut flood = Vec::new();
    for number in 0..8 {
        flood.push(crowd.dial(number)?);
        crowd.pump(Ears::Open);
    }
    assert_eq!(flood.iter().filter(|handle| crowd.is_confirmed(**handle)).count(), 3);
    assert_eq!((crowd.server.len(), crowd.drops(DropReason::ConnectionLimit)), (3, 5));
    assert!(crowd.ends.iter().all(|(_, info)| (info.by, info.code) == (ClosedBy::Peer, ErrorCode::CONNECTION_REFUSED.0)));
    assert_eq!(crowd.ends.first().map(|(_, info)| info.reason.as_str()), Some("too many connections from this address"));
    let honest = dial(&mut crowd, from("198.51.100.2", 100))?;
    crowd.pump(Ears::Open);
    assert!(crowd.is_confirmed(honest), "a flood from one address takes no other's place");
    Ok(())
}

#[test]
fn a_place_is_free_again_when_its_connection_is_gone() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.max_per_address = 1)?;
    let first = crowd.dial(0)?;
    crowd.pump(Ears::Open);
    let now = crowd.now;
    crowd.clients.connection_mut(first).map(|connection| connection.close(now, 0, b"")).unwrap_or_default();
    crowd.wait(secs(5), Ears::Open);
    let second = crowd.dial(1)?;
    crowd.pump(Ears::Open);
    assert!(crowd.is_confirmed(second));
    Ok(())
}

#[test]
fn connections_of_our_own_take_no_place_of_a_server() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.max_connections = 1)?;
    // The server's endpoint dials, too.
    for number in 0..5 {
        crowd.server.connect(crowd.now, &crowd.config, NAME, addresses(50 + number)).map_err(failure)?;
    }
    let client = crowd.dial(0)?;
    crowd.pump(Ears::Open);
    assert!(crowd.is_confirmed(client));
    Ok(())
}

// ---- the block list ----

#[test]
fn who_is_blocked_is_counted_and_gets_no_answer_of_any_kind() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|server| server.retry = RetryPolicy::Always)?;
    crowd.server.block(BlockList::new(&[AddressRange::network(ip("198.51.100.0"), 24).expect("network")]));
    crowd.dial(0)?;
    crowd.pump(Ears::Open);
    for rubbish in [&b"\x00stun"[..], b"\x40short", b"\xc0\x1a\x2a\x3a\x4a\x08aaaaaaaa\x00", b""] {
        crowd.deliver(common::crowd::turned(addresses(1)), rubbish);
    }
    crowd.pump(Ears::Open);
    let statistics = crowd.server.statistics();
    assert_eq!(crowd.drops(DropReason::Blocked), crowd.heard.len() as u64);
    assert_eq!((statistics.drops.total(), crowd.bytes.1, statistics.half_open), (crowd.heard.len() as u64, 0, 0));
    let free = dial(&mut crowd, from("203.0.113.1", 2))?;
    crowd.pump(Ears::Open);
    assert!(crowd.is_confirmed(free));
    Ok(())
}

#[test]
fn a_rule_that_comes_later_silences_a_connection_that_is_open_until_it_goes() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|_| {})?;
    let client = crowd.dial(0)?;
    crowd.pump(Ears::Open);
    let ping = |crowd: &mut Crowd| {
        let now = crowd.now;
        crowd.clients.connection_mut(client).map(|connection| connection.ping_path(now, None).is_ok())
    };
    crowd.server.block(BlockList::new(&[AddressRange::new(ip("198.51.100.1"), ip("198.51.100.1")).expect("range")]));
    assert_eq!(ping(&mut crowd), Some(true));
    crowd.pump(Ears::Open);
    crowd.wait(ms(200), Ears::Open);
    let heard = crowd.drops(DropReason::Blocked);
    assert!(heard > 0);
    crowd.server.block(BlockList::default());
    crowd.wait(secs(2), Ears::Open);
    assert_eq!(crowd.drops(DropReason::Blocked), heard);
    assert!(crowd.is_confirmed(client) && crowd.ends.is_empty());
    Ok(())
}

// ---- ids for load balancers ----

/// The server's id, as a load balancer of the configuration reads it.
const SERVER: [u8; 3] = [0xa1, 0xb2, 0xc3];
const CONFIGURATION: u8 = 5;

fn with_server_id(retry: RetryPolicy) -> Result<(Crowd, CidShape), Failure> {
    let mut crowd = Crowd::new(|server| server.retry = retry)?;
    let server = ServerId::new(&SERVER, CONFIGURATION, FirstOctet::Length).map_err(failure)?;
    let shape = CidShape::new(Some(server), None).map_err(failure)?;
    let (_, mut listening) = common::ends::configs(1, TransportConfig::default(), TransportConfig::default())?;
    Arc::make_mut(&mut listening).retry = retry;
    crowd.server = Endpoint::new(EndpointConfig { shape, ..EndpointConfig::default() }, [3; 32]);
    crowd.server.listen(Some(listening));
    Ok((crowd, shape))
}

fn is_routable(id: &[u8], shape: CidShape) -> bool {
    id.len() == shape.len() && id.first() == Some(&(CONFIGURATION << 5 | (shape.len() - 1) as u8)) && id.get(1..4) == Some(&SERVER[..])
}

#[test]
fn every_id_that_a_client_addresses_leads_to_its_server() -> Result<(), Failure> {
    for retry in [RetryPolicy::Never, RetryPolicy::Always] {
        let (mut crowd, shape) = with_server_id(retry)?;
        let client = crowd.dial(0)?;
        crowd.pump(Ears::Open);
        assert!(crowd.is_confirmed(client), "{retry:?}");
        let mut ids = std::collections::BTreeSet::new();
        for round in 0..12 {
            let now = crowd.now;
            if let Some(connection) = crowd.clients.connection_mut(client) {
                connection.rotate_cid(PathId::ZERO);
                connection.ping_path(now, None).map_err(failure)?;
            }
            crowd.pump(Ears::Open);
            crowd.wait(ms(100), Ears::Open);
            assert!(crowd.ends.is_empty(), "{retry:?} round {round}");
        }
        let chosen = crowd.heard.first().and_then(|(_, bytes)| destination_cid(bytes, shape.len()).map(<[u8]>::to_vec));
        for (_, bytes) in &crowd.heard {
            let id = destination_cid(bytes, shape.len()).map(<[u8]>::to_vec);
            if id == chosen {
                continue;
            }
            assert!(id.as_deref().is_some_and(|id| is_routable(id, shape)), "{retry:?} {id:02x?}");
            ids.extend(id);
        }
        assert!(ids.len() > 5, "{retry:?}: ids changed");
    }
    Ok(())
}

/// Nonces of four bytes repeat sooner or later; a thousand connections are all reached.
#[test]
fn short_nonces_lead_every_client_to_its_own_connection() -> Result<(), Failure> {
    let server = ServerId::new(&[7; 15], 0, FirstOctet::Random).map_err(failure)?;
    let shape = CidShape::new(Some(server), Some(20)).map_err(failure)?;
    let mut crowd = Crowd::new(|_| {})?;
    let (_, listening) = common::ends::configs(1, TransportConfig::default(), TransportConfig::default())?;
    crowd.server = Endpoint::new(EndpointConfig { shape, ..EndpointConfig::default() }, [3; 32]);
    crowd.server.listen(Some(listening));
    for number in 0..200 {
        let client = crowd.dial(number)?;
        crowd.pump(Ears::Open);
        assert!(crowd.is_confirmed(client), "{number}");
    }
    Ok(())
}

#[test]
fn a_client_with_long_ids_hears_its_server() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|_| {})?;
    let shape = CidShape::new(None, Some(20)).map_err(failure)?;
    crowd.clients = Endpoint::new(EndpointConfig { shape, ..EndpointConfig::default() }, [4; 32]);
    let client = crowd.dial(0)?;
    crowd.pump(Ears::Open);
    assert!(crowd.is_confirmed(client));
    assert_eq!(crowd.heard.first().and_then(|(_, bytes)| source_cid(bytes)).map(<[u8]>::len), Some(20));
    Ok(())
}

// ---- ports where nobody listens ----

/// The next datagram of the clients and where it goes.
fn next_datagram(crowd: &mut Crowd) -> Option<(SocketAddr, Vec<u8>)> {
    let mut buffer = vec![0; 65_535];
    let burst = crowd.clients.poll_transmit(crowd.now, &mut buffer, &SendLimits::default())?;
    crowd.clients.on_submitted(&burst, burst.segments, crowd.now);
    Some((burst.four_tuple.remote, buffer.get(..burst.segment_size.min(burst.len))?.to_vec()))
}

fn ends_of(crowd: &mut Crowd) -> Vec<ClosedBy> {
    crowd.pump(Ears::Deaf);
    crowd.ends.iter().map(|(_, info)| info.by).collect()
}

#[test]
fn a_dial_to_a_closed_port_ends_when_its_host_says_so() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|_| {})?;
    crowd.dial(0)?;
    assert!(crowd.clients.awaits_answer());
    let (remote, bytes) = next_datagram(&mut crowd).ok_or_else(|| Failure::new("no datagram".to_owned()))?;
    crowd.clients.on_port_unreachable(crowd.now, remote, &bytes[..40]);
    assert_eq!(ends_of(&mut crowd), [ClosedBy::Unreachable]);
    assert!(!crowd.clients.awaits_answer() && crowd.clients.is_empty());
    Ok(())
}

/// attacks A24. Shows 9000-14.2.1-4.
#[test]
fn attack_a24_forged_words_about_ports_end_nothing() -> Result<(), Failure> {
    let mut crowd = Crowd::new(|_| {})?;
    let client = crowd.dial(0)?;
    let (remote, bytes) = next_datagram(&mut crowd).ok_or_else(|| Failure::new("no datagram".to_owned()))?;
    let mut other_id = bytes.clone();
    if let Some(byte) = other_id.get_mut(16) {
        *byte ^= 1;
    }
    let now = crowd.now;
    crowd.clients.on_port_unreachable(now, remote, &other_id);
    crowd.clients.on_port_unreachable(now, ([192, 0, 2, 1], 4_434).into(), &bytes);
    crowd.clients.on_port_unreachable(now, ([192, 0, 2, 2], 4_433).into(), &bytes);
    for cut in 0..23 {
        crowd.clients.on_port_unreachable(now, remote, &bytes[..cut]);
    }
    crowd.clients.on_port_unreachable(now, remote, b"");
    assert!(crowd.clients.awaits_answer(), "none of them was about it");
    crowd.deliver(common::crowd::turned(addresses(0)), &bytes);
    crowd.pump(Ears::Open);
    crowd.wait(secs(5), Ears::Open);
    assert!(crowd.is_confirmed(client), "{:?}", crowd.ends);
    // Even one that quotes it right: the server has been heard.
    let now = crowd.now;
    crowd.clients.on_port_unreachable(now, remote, &bytes);
    assert!(ends_of(&mut crowd).is_empty());
    assert!(crowd.is_confirmed(client) && !crowd.clients.awaits_answer());
    Ok(())
}

#[test]
fn a_closed_port_makes_way_for_the_next_address_and_the_last_one_ends_the_dial() -> Result<(), Failure> {
    for mode in [HandshakeMode::Stagger(secs(3)), HandshakeMode::Single, HandshakeMode::Race, HandshakeMode::Shared, HandshakeMode::Independent] {
        let mut crowd = Crowd::new(|_| {})?;
        let mut config = ClientConfig::clone(&crowd.config);
        config.transport = Arc::new(TransportConfig { handshake: mode, ..TransportConfig::default() });
        let four_tuples: [FourTuple; 2] = [addresses(0), FourTuple { remote: ([192, 0, 2, 9], 4_433).into(), ..addresses(0) }];
        let candidates = four_tuples.map(|four_tuple| Candidate { four_tuple, afterwards: Afterwards::Nothing });
        crowd.clients.connect_over(crowd.now, &Arc::new(config), NAME, &candidates).map_err(failure)?;
        let mut refused = Vec::new();
        for _ in 0..20 {
            let Some((remote, bytes)) = next_datagram(&mut crowd) else { break };
            crowd.clients.on_port_unreachable(crowd.now, remote, &bytes);
            if !refused.contains(&remote) {
                refused.push(remote);
            }
        }
        assert_eq!(refused.len(), 2, "{mode:?}: the other one was tried at once");
        assert_eq!(ends_of(&mut crowd), [ClosedBy::Unreachable], "{mode:?}");
    }
    Ok(())
}
