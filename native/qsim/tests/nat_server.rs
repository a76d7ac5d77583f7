//! Our STUN server among strangers, and STUN beside QUIC on one socket (traversal T-42…T-44; attacks G11, G12, R1, R2).

use std::net::SocketAddr;

use qbase::{Direction::Unidirectional, FourTuple, Role};
use qconnection::{
    Event, TransportConfig,
    endpoint::nat::{Life, NatNews, StunAsk, Ticket},
};
use qsim::{Failure, LinkShape, Random, Town, world::NatKind};
use qtraversal::{
    probe::ProbeConfig,
    stun::{Change, Form, Forms, Message, Patience, ServerConfig},
};

use crate::common::{
    ms, secs,
    stun::{Asking, PORT, request},
};

/// Heads of IPv4 and UDP, bytes.
const HEADS: usize = 28;

/// Datagrams that came to a resident, by their length on the wire.
fn heard(town: &Town, resident: usize) -> Vec<usize> {
    town.host(resident).raw().iter().map(|(_, _, bytes)| bytes.len() + HEADS).collect()
}

/// traversal T-42: at most three bytes for one, whatever is asked, heads counted.
#[test]
fn attack_r1_no_request_is_answered_with_more_than_three_times_its_bytes() -> Result<(), Failure> {
    for form in [Form::Rfc, Form::Dquic07, Form::Dquic05] {
        for change in [None, Some(Change::Port), Some(Change::Ip), Some(Change::Both)] {
            let mut asking = Asking::new(1, None, 0.0)?;
            let bytes = request(form, 9, |message| Message { change, ..message });
            let four_tuple = FourTuple { local: asking.local(), remote: asking.sockets[0] };
            asking.town.post(asking.client, four_tuple, &bytes);
            asking.town.run_for(secs(1))?;
            let sent = asking.town.host(asking.server).sent();
            let on_the_wire = sent.bytes + sent.datagrams * HEADS as u64;
            assert!(sent.datagrams == 1 && on_the_wire <= 3 * (bytes.len() + HEADS) as u64, "{form:?} {change:?}: {sent:?}");
        }
    }
    Ok(())
}

/// traversal T-42: 60 at once and 20 a second to one network.
#[test]
fn attack_r2_a_flood_of_requests_is_answered_at_the_rate_of_one_network() -> Result<(), Failure> {
    let mut asking = Asking::new(1, None, 0.0)?;
    for round in 0..100 {
        for port in 0..100 {
            let local = SocketAddr::new(asking.local().ip(), 20_000 + round * 100 + port);
            asking.town.post(asking.client, FourTuple { local, remote: asking.sockets[usize::from(port % 4)] }, &request(Form::Rfc, 9, |message| message));
        }
        asking.town.run_for(ms(10))?;
    }
    asking.town.run_for(secs(1))?;
    let statistics = asking.town.host(asking.server).endpoint().stun_statistics().expect("a server");
    assert_eq!((statistics.requests, statistics.answered + statistics.ignored), (10_000, 10_000));
    assert!((60..=81).contains(&statistics.answered), "{statistics:?}");
    assert_eq!(statistics.over_rate, statistics.ignored);
    assert_eq!(heard(&asking.town, asking.client).len() as u64, statistics.answered);
    Ok(())
}

/// Two servers with one socket each, neighbours of each other, a victim and a stranger.
struct Neighbours {
    town: Town,
    servers: [usize; 2],
    sockets: [SocketAddr; 2],
    victim: usize,
    stranger: usize,
}

fn neighbours() -> Result<Neighbours, Failure> {
    let mut town = Town::new(1)?;
    let link = LinkShape::delayed(ms(5));
    let servers = [town.settle(Role::Server, &link, None)?, town.settle(Role::Server, &link, None)?];
    let (victim, stranger) = (town.settle(Role::Client, &link, None)?, town.settle(Role::Client, &link, None)?);
    let sockets = [town.socket(servers[0], 0, 3_478), town.socket(servers[1], 0, 3_479)];
    for (server, other) in [(0, 1), (1, 0)] {
        let config = ServerConfig { sockets: vec![sockets[server]], neighbours: vec![sockets[other]] };
        town.host_mut(servers[server]).endpoint_mut().serve_stun(Some(config), Forms::ALL);
    }
    Ok(Neighbours { town, servers, sockets, victim, stranger })
}

/// traversal T-44: a response address counts from neighbours only.
#[test]
fn attack_g12_nobody_aims_our_answers_at_a_victim() -> Result<(), Failure> {
    let Neighbours { mut town, servers, sockets, victim, stranger } = neighbours()?;
    let target = town.socket(victim, 0, 53);
    for form in [Form::Dquic07, Form::Dquic05] {
        for remote in sockets {
            let bytes = request(form, 9, |message| Message { response_address: Some(target), ..message });
            town.post(stranger, FourTuple { local: town.socket(stranger, 0, 4_000), remote }, &bytes);
            // A port of the stranger's own, but one that belongs to a service.
            let bytes = request(Form::Rfc, 9, |message| Message { response_port: Some(53), ..message });
            town.post(stranger, FourTuple { local: town.socket(stranger, 0, 4_000), remote }, &bytes);
        }
    }
    town.run_for(secs(1))?;
    assert_eq!((town.host(victim).sent().received, town.host(victim).raw().len()), (0, 0));
    assert!(town.host(stranger).raw().iter().all(|(_, four_tuple, _)| four_tuple.local.port() == 4_000), "refusals go to who asked");
    let strangers: u64 = servers.iter().map(|server| town.host(*server).endpoint().stun_statistics().expect("a server").from_strangers).sum();
    assert_eq!(strangers, 4);
    Ok(())
}

/// traversal T-43: the neighbour that has the wanted address answers in our place.
#[test]
fn a_change_request_is_passed_to_the_neighbour_that_can_serve_it() -> Result<(), Failure> {
    let Neighbours { mut town, servers, sockets, stranger, .. } = neighbours()?;
    let local = town.socket(stranger, 0, 4_000);
    for form in [Form::Dquic07, Form::Dquic05] {
        let bytes = request(form, 9, |message| Message { change: Some(Change::Both), ..message });
        town.post(stranger, FourTuple { local, remote: sockets[0] }, &bytes);
    }
    town.run_for(secs(1))?;
    let [asked, neighbour] = servers.map(|server| (town.host(server).sent().received, town.host(server).sent().datagrams));
    assert_eq!((asked, neighbour, town.host(stranger).sent().received), ((2, 2), (2, 2), 2));
    Ok(())
}

/// A client that downloads nothing and uploads much, over the socket that everything else here uses, too.
fn connected(kind: NatKind) -> Result<Asking, Failure> {
    let mut asking = Asking::new(1, kind.options(), 0.0)?;
    asking.town.listen(asking.server, TransportConfig::default())?;
    // The STUN server's own socket is the QUIC server's, too.
    let four_tuple = FourTuple { local: asking.local(), remote: asking.sockets[0] };
    asking.town.dial(asking.client, TransportConfig::default(), four_tuple)?;
    let client = asking.client;
    asking.town.run_until(|town| town.host(client).connection().is_some_and(|connection| connection.is_confirmed()), secs(5))?;
    Ok(asking)
}

fn finish(asking: &mut Asking) -> Result<(), Failure> {
    let (client, server) = (asking.client, asking.server);
    asking.town.run_until(|town| town.host(server).traffic().has_all_of(town.host(client).traffic()), secs(60))?;
    let closed = |resident| asking.town.host(resident).first(|event: &Event| matches!(event, Event::Closed(_)));
    assert_eq!((closed(client), closed(server)), (None, None));
    Ok(())
}

/// traversal T-50: detection runs on the socket that is used, and a keeper and questions with it.
#[test]
fn a_connection_on_the_same_socket_is_not_disturbed() -> Result<(), Failure> {
    for kind in [NatKind::None, NatKind::PortRestricted, NatKind::Linux] {
        let mut asking = connected(kind)?;
        let (now, local, sockets) = (asking.town.now(), asking.local(), asking.sockets);
        let client = asking.town.host_mut(asking.client);
        client.traffic_mut().send(Unidirectional, 3_000_000);
        let endpoint = client.endpoint_mut();
        endpoint.detect_nat(Ticket(1), local, ProbeConfig::new(vec![sockets[0]], Form::Rfc, None), Life::Skipped, now);
        endpoint.keep_mapping(Ticket(2), local, sockets[0], Form::Dquic07, now);
        for (ticket, server) in (3..).zip(sockets) {
            endpoint.ask_stun(StunAsk { ticket: Ticket(ticket), local, server, form: Form::Dquic05, patience: Patience::SHORT }, now);
        }
        finish(&mut asking)?;
        asking.town.run_for(secs(60))?;
        assert!((3..7).all(|ticket| matches!(asking.news(ticket).next(), Some(NatNews::Answer { .. }))), "{}", kind.name());
        assert!(asking.news(1).any(|news| matches!(news, NatNews::Report { report: Some(_), .. })));
        assert_eq!(asking.news(2).count(), 1);
        for resident in [asking.client, asking.server] {
            assert_eq!(asking.town.host(resident).raw().len(), 0, "nothing strayed");
        }
    }
    Ok(())
}

/// attacks G12, R1: bytes that look like STUN cost a datagram each and change nothing.
#[test]
fn attack_g12_a_flood_of_forged_stun_changes_nothing() -> Result<(), Failure> {
    let mut asking = connected(NatKind::None)?;
    let (now, local, sockets) = (asking.town.now(), asking.local(), asking.sockets);
    let client = asking.town.host_mut(asking.client);
    client.traffic_mut().send(Unidirectional, 3_000_000);
    client.endpoint_mut().keep_mapping(Ticket(2), local, sockets[0], Form::Rfc, now);
    let mut random = Random::labelled(5, 5);
    let evil = asking.town.settle(Role::Client, &LinkShape::delayed(ms(1)), None)?;
    for round in 0..200_u32 {
        for number in 0..20_u32 {
            // A true head, and behind it anything; from where the server would answer, as far as a stranger can.
            let form = [Form::Rfc, Form::Dquic07, Form::Dquic05][(number % 3) as usize];
            let mut bytes = request(form, number as u8, |message| message.success());
            bytes.extend(random.seed());
            if form == Form::Rfc {
                bytes[2..4].copy_from_slice(&32_u16.to_be_bytes());
                bytes.truncate(52);
                bytes[20..52].copy_from_slice(&random.seed());
            }
            let from = SocketAddr::new(asking.town.socket(evil, 0, 3_478).ip(), 3_478 + (round % 2) as u16);
            asking.town.post(evil, FourTuple { local: from, remote: local }, &bytes);
            asking.town.post(evil, FourTuple { local: from, remote: sockets[0] }, &bytes);
        }
        asking.town.run_for(ms(5))?;
    }
    finish(&mut asking)?;
    asking.town.run_for(secs(20))?;
    assert_eq!(asking.news(2).count(), 1, "the mapping, once");
    let server = asking.town.host(asking.server).endpoint();
    let statistics = server.stun_statistics().expect("a server");
    assert_eq!(statistics.requests, statistics.answered, "responses are no requests");
    assert!(statistics.requests < 10, "{statistics:?}");
    assert_eq!(asking.town.socket(asking.client, 0, PORT), local);
    Ok(())
}
