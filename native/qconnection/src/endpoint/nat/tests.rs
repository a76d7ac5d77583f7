//! Services of two endpoints that hear each other at once, in virtual time; sockets are addresses.

use super::*;
use crate::{EndpointConfig, SendLimits, handle::ConnectionHandle};
use qbase::Ecn;
use qtraversal::{
    probe::ProbeConfig,
    stun::{ServerConfig, TransactionId},
};

const START: Timestamp = Timestamp::from_millis(1_000);
const CLIENT: &str = "192.0.2.7:4000";
const SERVER: &str = "198.51.100.1:3478";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn endpoint(seed: u8) -> Endpoint {
    Endpoint::new(EndpointConfig::default(), [seed; 32])
}

fn server() -> Endpoint {
    let mut server = endpoint(2);
    server.serve_stun(Some(ServerConfig { sockets: vec![address(SERVER)], neighbours: Vec::new() }), Forms::ALL);
    server
}

fn ask(ticket: u64, form: Form) -> StunAsk {
    StunAsk { ticket: Ticket(ticket), local: address(CLIENT), server: address(SERVER), form, patience: Patience::SHORT }
}

/// What an endpoint sends now: from, to, bytes.
fn sent(endpoint: &mut Endpoint, now: Timestamp) -> Vec<(FourTuple, Vec<u8>)> {
    let mut buffer = vec![0; 65_535];
    let mut all = Vec::new();
    while let Some(burst) = endpoint.poll_transmit(now, &mut buffer, &SendLimits::default()) {
        all.push((burst.four_tuple, buffer[..burst.len].to_vec()));
        endpoint.on_submitted(&burst, burst.segments, now);
    }
    all
}

/// A datagram as it arrives.
fn hear(endpoint: &mut Endpoint, now: Timestamp, sent: &(FourTuple, Vec<u8>)) -> Received {
    let four_tuple = FourTuple { local: sent.0.remote, remote: sent.0.local };
    endpoint.handle_datagram(now, four_tuple, Ecn::NotEct, &mut sent.1.clone())
}

/// Everything goes to and fro until nobody says anything.
fn converse(a: &mut Endpoint, b: &mut Endpoint, now: Timestamp) {
    loop {
        let said: Vec<_> = sent(a, now).iter().map(|datagram| hear(b, now, datagram)).collect();
        let answered: Vec<_> = sent(b, now).iter().map(|datagram| hear(a, now, datagram)).collect();
        if said.is_empty() && answered.is_empty() {
            return;
        }
    }
}

fn news(endpoint: &mut Endpoint) -> Vec<NatNews> {
    std::iter::from_fn(|| endpoint.poll_nat_news()).collect()
}

/// traversal T-40, T-42, T-45.
#[test]
fn a_question_is_answered_in_every_form() {
    for form in [Form::Rfc, Form::Dquic07, Form::Dquic05] {
        let (mut client, mut server) = (endpoint(1), server());
        client.ask_stun(ask(7, form), START);
        converse(&mut client, &mut server, START);
        let (local, from) = (address(CLIENT), address(SERVER));
        let answer = NatNews::Answer { ticket: Ticket(7), local, mapped: local, from, rtt: Duration::ZERO, tries: 1 };
        assert_eq!(news(&mut client), [answer], "{form:?}");
        assert_eq!(server.stun_statistics(), Some(StunStatistics { requests: 1, answered: 1, ..StunStatistics::default() }));
        assert_eq!(client.nat.forms, Forms::NONE, "nothing is in use any more");
        assert_eq!(client.next_timer(), None);
    }
}

/// traversal T-45.
#[test]
fn a_question_is_repeated_and_given_up_in_time() {
    let mut client = endpoint(1);
    client.ask_stun(ask(7, Form::Rfc), START);
    let mut now = START;
    let mut datagrams = Vec::new();
    while let Some((at, name)) = client.next_timer() {
        assert_eq!(name, qevent::TimerName::Nat);
        datagrams.extend(sent(&mut client, now));
        now = at;
        client.on_timer(now);
    }
    assert_eq!(news(&mut client), [NatNews::Silence { ticket: Ticket(7), tries: 3 }]);
    assert_eq!(now.saturating_since(START), Duration::from_millis(900));
    assert_eq!(datagrams.len(), 3);
    assert!(datagrams.iter().all(|datagram| *datagram == datagrams[0]));
}

/// traversal T-42, attacks G12: who did not ask gets nothing, and the application sees what came.
#[test]
fn attack_g12_stun_that_nobody_asked_for_is_left_to_the_application() {
    let (mut client, mut server) = (endpoint(1), server());
    let message = Message::request(Form::Rfc, TransactionId::from_bytes([9; 16]));
    let mut buffer = [0; MAX_MESSAGE];
    let len = message.encode(&mut buffer).unwrap();
    let request = (FourTuple { local: address(SERVER), remote: address(CLIENT) }, buffer[..len].to_vec());
    assert_eq!(hear(&mut client, START, &request), Received::NotQuic, "no server here");

    client.ask_stun(ask(1, Form::Rfc), START);
    let asked = sent(&mut client, START);
    assert_eq!(hear(&mut client, START, &request), Received::NotQuic, "a client here, but no server");
    assert_eq!(hear(&mut server, START, &asked[0]), Received::Nat);
    let mut answers = sent(&mut server, START);
    let elsewhere = (FourTuple { remote: address("192.0.2.7:4001"), ..answers[0].0 }, answers[0].1.clone());
    assert_eq!(hear(&mut client, START, &elsewhere), Received::NotQuic, "not on the socket that asked");
    let stranger = (FourTuple { local: address("203.0.113.9:3478"), ..answers[0].0 }, answers[0].1.clone());
    assert_eq!(hear(&mut client, START, &stranger), Received::NotQuic, "not from who was asked");
    let mut forged = answers[0].clone();
    forged.1[8] ^= 1;
    assert_eq!(hear(&mut client, START, &forged), Received::NotQuic, "another id");
    assert_eq!(news(&mut client), []);
    let answer = answers.remove(0);
    assert_eq!(hear(&mut client, START, &answer), Received::Nat);
    assert_eq!(hear(&mut client, START, &answer), Received::NotQuic, "once");
    assert_eq!(news(&mut client).len(), 1);
}

/// attacks R2.
#[test]
fn attack_r2_questions_keepers_detections_and_news_have_an_end() {
    let mut client = endpoint(1);
    for ticket in 0..=limits::NAT_ASKS as u64 {
        client.ask_stun(ask(ticket, Form::Rfc), START);
    }
    assert_eq!(news(&mut client), [NatNews::Silence { ticket: Ticket(limits::NAT_ASKS as u64), tries: 0 }]);
    let (local, server) = (address(CLIENT), address(SERVER));
    for ticket in 0..=limits::NAT_KEEPERS as u64 {
        client.keep_mapping(Ticket(1_000 + ticket), local, server, Form::Rfc, START);
    }
    let ticket = Ticket(1_000 + limits::NAT_KEEPERS as u64);
    assert_eq!(news(&mut client), [NatNews::Mapping { ticket, local, event: MappingEvent::Closed }]);
    for ticket in 0..=limits::NAT_DETECTIONS as u64 {
        client.detect_nat(Ticket(2_000 + ticket), local, ProbeConfig::new(vec![server], Form::Rfc, None), Life::Skipped, START);
    }
    assert_eq!(news(&mut client), [NatNews::Report { ticket: Ticket(2_000 + limits::NAT_DETECTIONS as u64), report: None }]);
    for ticket in 0..=limits::NAT_NEWS as u64 {
        client.ask_stun(ask(ticket, Form::Rfc), START);
    }
    let told = news(&mut client);
    assert_eq!((told.len(), &told[0]), (limits::NAT_NEWS, &NatNews::Silence { ticket: Ticket(1), tries: 0 }));
}

/// traversal T-47.
#[test]
fn a_keeper_tells_the_mapping_and_its_end() {
    let (mut client, mut server) = (endpoint(1), server());
    let (local, from) = (address(CLIENT), address(SERVER));
    client.keep_mapping(Ticket(1), address("0.0.0.0:4000"), from, Form::Rfc, START);
    let asked: Vec<_> = sent(&mut client, START).into_iter().map(|(way, bytes)| (FourTuple { local, ..way }, bytes)).collect();
    hear(&mut server, START, &asked[0]);
    for answer in sent(&mut server, START) {
        hear(&mut client, START, &answer);
    }
    let told = |event| NatNews::Mapping { ticket: Ticket(1), local, event };
    assert_eq!(news(&mut client), [told(MappingEvent::Upsert(local))], "with the concrete address of a wildcard socket");
    assert!(client.next_timer().is_some());
    client.cancel_nat(Ticket(1), START);
    assert_eq!(news(&mut client), [told(MappingEvent::Closed)]);
    assert_eq!((client.nat.forms, client.next_timer()), (Forms::NONE, None));
}

fn punch(socket: u64) -> SocketOwner {
    SocketOwner::Punch { handle: ConnectionHandle { index: 0, generation: 0 }, socket }
}

/// traversal T-98, attacks R2: no way of ending leaves a socket behind.
#[test]
fn attack_r2_temporary_sockets_have_an_end_and_none_is_left_behind() {
    let mut endpoint = endpoint(1);
    let beside = address(CLIENT);
    for socket in 0..=limits::TEMPORARY_SOCKETS as u64 {
        endpoint.open_socket(punch(socket), beside, 0, START);
    }
    assert_eq!(endpoint.temporary_sockets(), limits::TEMPORARY_SOCKETS);
    // The wish is taken back, the answer is waited for, the socket is closed.
    endpoint.close_socket(punch(0));
    let Some(SocketWish::Open { id: abandoned, .. }) = endpoint.poll_socket_wish() else { panic!("a wish") };
    endpoint.close_socket(punch(1));
    let Some(SocketWish::Open { id, .. }) = endpoint.poll_socket_wish() else { panic!("a wish") };
    endpoint.on_socket(id, Some(address("192.0.2.7:5002")), START);
    let Some(SocketWish::Open { id: refused, .. }) = endpoint.poll_socket_wish() else { panic!("a wish") };
    endpoint.on_socket(refused, None, START);
    assert_eq!(endpoint.temporary_sockets(), limits::TEMPORARY_SOCKETS - 2);
    endpoint.on_socket(abandoned, Some(address("192.0.2.7:5001")), START);
    endpoint.close_sockets(|_| true);
    let wishes: Vec<_> = std::iter::from_fn(|| endpoint.poll_socket_wish()).collect();
    let close = |local| SocketWish::Close { local: address(local) };
    assert_eq!(wishes, [close("192.0.2.7:5001"), close("192.0.2.7:5002")]);
    assert_eq!(endpoint.temporary_sockets(), 0);
}

/// traversal T-98: a thousand sockets that are opened and closed leave nothing.
#[test]
fn a_thousand_sockets_come_and_go() {
    let mut endpoint = endpoint(1);
    let beside = address(CLIENT);
    for number in 0..1_000_u16 {
        endpoint.open_socket(punch(number.into()), beside, number, START);
        let Some(SocketWish::Open { id, port, .. }) = endpoint.poll_socket_wish() else { panic!("a wish") };
        assert_eq!(port, number);
        let local = SocketAddr::new(beside.ip(), 10_000 + number);
        endpoint.on_socket(id, Some(local), START);
        endpoint.close_socket(punch(number.into()));
        assert_eq!(endpoint.poll_socket_wish(), Some(SocketWish::Close { local }));
        assert_eq!((endpoint.poll_socket_wish(), endpoint.temporary_sockets()), (None, 0));
    }
}

/// attacks R2, G12: requests faster than the socket takes answers fill half of the queue, and the other half is for newcomers.
#[test]
fn attack_g12_a_flood_of_requests_leaves_room_for_other_answers() {
    let mut server = server();
    let mut buffer = [0; MAX_MESSAGE];
    let len = Message::request(Form::Rfc, TransactionId::from_bytes([9; 16])).encode(&mut buffer).unwrap();
    for number in 0..4_000_u32 {
        // Each from a network of its own, so that no rate stops it.
        let from = SocketAddr::new(std::net::Ipv4Addr::from_bits(0x0b00_0000 + number * 256 + 1).into(), 4_000);
        let request = (FourTuple { local: from, remote: address(SERVER) }, buffer[..len].to_vec());
        assert_eq!(hear(&mut server, START, &request), Received::Nat);
    }
    assert_eq!(sent(&mut server, START).len(), limits::ANSWERS_WAITING / 2);
    let statistics = server.stun_statistics().unwrap();
    assert_eq!(statistics.requests, 4_000);
}

/// traversal T-42: a server of the wildcard address answers from the address it was asked at.
#[test]
fn a_server_on_a_wildcard_socket_answers_from_where_it_was_asked() {
    let (mut client, mut server) = (endpoint(1), endpoint(2));
    let sockets = vec![address("0.0.0.0:3478"), address("0.0.0.0:3479")];
    server.serve_stun(Some(ServerConfig { sockets, neighbours: Vec::new() }), Forms::NONE.with(Form::Rfc));
    client.ask_stun(ask(1, Form::Rfc), START);
    converse(&mut client, &mut server, START);
    assert!(matches!(news(&mut client)[..], [NatNews::Answer { from, .. }] if from == address(SERVER)));
    server.serve_stun(None, Forms::ALL);
    client.ask_stun(ask(2, Form::Rfc), START);
    assert_eq!(hear(&mut server, START, &sent(&mut client, START)[0]), Received::NotQuic, "no server any more");
    assert_eq!((server.stun_statistics(), server.nat.forms), (None, Forms::NONE));
}

/// traversal T-45: the servers of a punch are asked one after the other, and the question goes with its socket.
#[test]
fn the_outer_address_of_a_punch_is_asked_of_the_next_server_when_one_is_silent() {
    let (mut client, mut server) = (endpoint(1), server());
    client.open_socket(punch(1), address(CLIENT), 0, START);
    let Some(SocketWish::Open { id, .. }) = client.poll_socket_wish() else { panic!("a wish") };
    let local = address("192.0.2.7:5000");
    client.on_socket(id, Some(local), START);
    let silent = address("198.51.100.9:3478");
    client.learn_outer(punch(1), &[silent, address(SERVER)], Form::Rfc, START);
    let mut now = START;
    let mut asked = Vec::new();
    while asked.last() != Some(&address(SERVER)) {
        for datagram in sent(&mut client, now) {
            assert_eq!(datagram.0.local, local);
            asked.push(datagram.0.remote);
            if datagram.0.remote == address(SERVER) {
                hear(&mut server, now, &datagram);
            }
        }
        if let Some((at, _)) = client.next_timer() {
            now = at;
            client.on_timer(now);
        }
    }
    assert_eq!(asked, [silent, silent, silent, address(SERVER)]);
    let answer = sent(&mut server, now).remove(0);
    assert_eq!(hear(&mut client, now, &answer), Received::Nat);
    assert_eq!((client.next_timer(), news(&mut client).len()), (None, 0), "the connection is told, the application is not");
    client.learn_outer(punch(1), &[silent], Form::Rfc, now);
    client.close_socket(punch(1));
    client.run_nat(now);
    assert_eq!((client.next_timer(), client.nat.forms), (None, Forms::NONE));
}
