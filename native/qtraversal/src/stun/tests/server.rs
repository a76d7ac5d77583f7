//! The server: who is answered, from where, and who is not.

use qbase::limits;

use super::{super::{server::Ignored, *}, *};

pub(super) fn four_sockets() -> Server {
    let sockets = ["192.0.2.1:3478", "192.0.2.1:3479", "192.0.2.2:3478", "192.0.2.2:3479"].map(address).to_vec();
    Server::new(ServerConfig { sockets, neighbours: Vec::new() }, 1)
}

/// traversal T-43, RFC 5780 §6.1.
#[test]
fn a_server_of_four_sockets_answers_from_the_one_asked_for() {
    let asked = address("192.0.2.1:3478");
    let client = address("198.51.100.7:5000");
    let cases = [
        (None, "192.0.2.1:3478"),
        (Some(Change::Nothing), "192.0.2.1:3478"),
        (Some(Change::Port), "192.0.2.1:3479"),
        (Some(Change::Ip), "192.0.2.2:3478"),
        (Some(Change::Both), "192.0.2.2:3479"),
    ];
    for form in FORMS {
        for (change, from) in cases {
            let mut server = four_sockets();
            let request = Message { change, ..Message::request(form, id()) };
            let size = bytes(&request).len();
            let reply = server.on_message(&request, size, asked, client, at(0)).unwrap();
            assert_eq!((reply.from, reply.to), (address(from), client), "{form:?} {change:?}");
            assert_eq!(reply.message.mapped, Some(client));
            assert_eq!(reply.message.origin, Some(address(from)));
            assert_eq!(reply.message.other, Some(address("192.0.2.2:3479")));
            assert_eq!(reply.message.id, request.id);
            assert!(bytes(&reply.message).len() + 28 <= 3 * (size + 28), "never three times what came");
        }
    }
}

/// traversal T-43, T-44.
#[test]
fn a_change_request_goes_by_the_neighbour_that_has_the_address() {
    let (s1, s2) = (address("192.0.2.1:3478"), address("192.0.2.2:3479"));
    let client = address("198.51.100.7:5000");
    let server = |own, other| Server::new(ServerConfig { sockets: vec![own], neighbours: vec![other] }, 1);
    let (mut first, mut second) = (server(s1, s2), server(s2, s1));
    for form in [Form::Dquic07, Form::Dquic05] {
        let request = Message { change: Some(Change::Both), ..Message::request(form, id()) };
        let passed = first.on_message(&request, 26, s1, client, at(0)).unwrap();
        assert_eq!((passed.from, passed.to), (s1, s2));
        assert_eq!((passed.message.change, passed.message.response_address), (None, Some(client)));
        let reply = second.on_message(&passed.message, 33, s2, s1, at(0)).unwrap();
        assert_eq!((reply.from, reply.to), (s2, client));
        assert_eq!((reply.message.mapped, reply.message.id), (Some(client), request.id));
        let port = Message { change: Some(Change::Port), ..request };
        assert_eq!(first.on_message(&port, 26, s1, client, at(0)), Err(Ignored::NoNeighbour), "nobody has it");
        let plain = Message::request(form, id());
        assert_eq!(first.on_message(&plain, 25, s1, client, at(0)).unwrap().message.other, Some(s2));
    }
}

/// traversal T-44: no reflector.
#[test]
fn a_response_address_from_a_stranger_is_not_honoured() {
    let (s1, s2) = (address("192.0.2.1:3478"), address("192.0.2.2:3479"));
    let mut server = Server::new(ServerConfig { sockets: vec![s1], neighbours: vec![s2] }, 1);
    let victim = address("203.0.113.99:53");
    for form in [Form::Dquic07, Form::Dquic05] {
        let request = Message { response_address: Some(victim), ..Message::request(form, id()) };
        assert_eq!(server.on_message(&request, 33, s1, address("198.51.100.7:5000"), at(0)), Err(Ignored::Stranger));
        assert_eq!(server.on_message(&request, 33, s1, s2, at(0)).unwrap().to, victim, "a neighbour's is");
        let loops = Message { change: Some(Change::Both), ..request };
        assert_eq!(server.on_message(&loops, 34, s1, s2, at(0)), Err(Ignored::NoNeighbour), "passed on once at most");
    }
}

/// RFC 8489 §6.3.1, RFC 5780 §7.5; attacks G12.
#[test]
fn a_server_answers_requests_it_understands_and_nothing_else() {
    let mut server = four_sockets();
    let (asked, client) = (address("192.0.2.1:3478"), address("198.51.100.7:5000"));
    let request = Message::request(Form::Rfc, id());
    let mut unknown = Unknown::default();
    unknown.push(0x0026);
    let reply = server.on_message(&Message { unknown, ..request }, 28, asked, client, at(0)).unwrap();
    assert_eq!((reply.message.class, reply.message.error), (Class::Error, Some(420)));
    let read = Message::decode(Form::Rfc, &bytes(&reply.message)).unwrap();
    assert_eq!((read.error, read.unknown.types()), (Some(420), &[0x0026][..]));
    let low = Message { response_port: Some(53), ..request };
    assert_eq!(server.on_message(&low, 36, asked, client, at(0)).unwrap().message.error, Some(400));
    let high = Message { response_port: Some(6_000), ..request };
    let reply = server.on_message(&high, 36, asked, client, at(0)).unwrap();
    assert_eq!((reply.to, reply.message.mapped), (address("198.51.100.7:6000"), Some(client)));
    for class in [Class::Success, Class::Error, Class::Indication] {
        let message = Message { class, ..request };
        assert_eq!(server.on_message(&message, 28, asked, client, at(0)), Err(Ignored::NoRequest));
    }
    assert_eq!(server.on_message(&request, 28, address("192.0.2.9:1"), client, at(0)), Err(Ignored::Address));
    assert_eq!(server.on_message(&request, 28, asked, address("198.51.100.7:0"), at(0)), Err(Ignored::Address));
}

/// attacks R2.
#[test]
fn a_source_is_answered_up_to_its_rate() {
    let mut server = four_sockets();
    let (asked, client) = (address("192.0.2.1:3478"), address("198.51.100.7:5000"));
    let request = Message::request(Form::Rfc, id());
    for _ in 0..limits::STUN_BURST_PER_SOURCE {
        assert!(server.on_message(&request, 28, asked, client, at(1_000)).is_ok());
    }
    assert_eq!(server.on_message(&request, 28, asked, client, at(1_000)), Err(Ignored::Rate));
    assert!(server.on_message(&request, 28, asked, client, at(2_000)).is_ok());
}
