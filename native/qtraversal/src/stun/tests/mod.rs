//! STUN: bytes of the three forms, transactions, keep-alive, server.

mod server;

use std::time::Duration;

use proptest::prelude::*;
use qbase::Timestamp;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use self::server::four_sockets;
use super::{keepalive::KeepAliveStep, *};
use crate::{
    address::tests::{address, any_address, any_family},
    nat::MappingLife,
};

const FORMS: [Form; 3] = [Form::Dquic07, Form::Dquic05, Form::Rfc];

fn bytes(message: &Message) -> Vec<u8> {
    let mut buffer = [0; MAX_MESSAGE];
    let len = message.encode(&mut buffer).unwrap();
    buffer[..len].to_vec()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn id() -> TransactionId {
    TransactionId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn random() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

/// traversal V1, T-10, T-40.
#[test]
fn messages_of_dquic_have_known_bytes() {
    let number = "0102030405060708 090a0b0c0d0e0f10";
    let request = Message::request(Form::Dquic07, TransactionId::from_bytes([0x81; 16]));
    assert_eq!(bytes(&request), [vec![0xc2, 0, 0, 0, 0, 0, 0, 0, 0], vec![0x81; 16]].concat());
    let request = Message { change: Some(Change::Both), ..Message::request(Form::Dquic05, id()) };
    assert_eq!(bytes(&request), hex(&format!("c2 00000000 0000 0000 0001 {number} 0b")));
    let answer = |form| {
        let (origin, other) = (Some(address("192.0.2.1:3478")), Some(address("198.51.100.1:3479")));
        Message { mapped: Some(address("[2001:db8::5]:258")), origin, other, ..Message::request(form, id()).success() }
    };
    let attributes = "04 0d96 c0000201  01 0102 20010db8000000000000000000000005  06 0d97 c6336401";
    assert_eq!(bytes(&answer(Form::Dquic05)), hex(&format!("c2 00000000 0000 0000 0101 {number} {attributes}")));
    // The id of a 0.7 message never begins like a type of 0.5.
    assert_eq!(bytes(&answer(Form::Dquic07)), hex(&format!("c3 00000000 0000 0000 {number} {attributes}")));
    let forwarded = Message { response_address: Some(address("192.0.2.7:1")), ..Message::request(Form::Dquic05, id()) };
    assert_eq!(bytes(&forwarded), hex(&format!("c2 00000000 0000 0000 0001 {number} 02 0001 c0000207")));
}

/// traversal T-40: told apart by the type, which an id of ours never looks like.
#[test]
fn an_id_of_dquic_07_never_looks_like_a_type_of_05() {
    for first in [0, 1] {
        let mut id = [9; 16];
        (id[0], id[1]) = (first, 1);
        let request = Message::request(Form::Dquic07, TransactionId::from_bytes(id));
        let with_attributes = Message { change: Some(Change::Port), response_address: Some(address("192.0.2.7:1")), ..request };
        for message in [request, with_attributes] {
            assert_eq!(Forms::ALL.recognize(&bytes(&message)), Some(Form::Dquic07));
        }
    }
}

/// RFC 5769 §2.2, §2.3.
#[test]
fn the_sample_responses_of_rfc_5769_are_read() {
    let head = "2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220";
    let v4 = format!(
        "0101003c {head} 00200008 0001a147e112a643 00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96"
    );
    let v6 = format!(
        "01010048 {head} 00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9 00080014 a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c"
    );
    for (text, mapped) in [(v4, "192.0.2.1:32853"), (v6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")] {
        let datagram = hex(&text);
        assert_eq!(Forms::ALL.recognize(&datagram), Some(Form::Rfc));
        let message = Message::decode(Form::Rfc, &datagram).unwrap();
        assert_eq!((message.class, message.mapped), (Class::Success, Some(address(mapped))));
        assert_eq!(message.fingerprint, Fingerprint::Present);
        assert_eq!(message.id.as_bytes()[..12], hex("b7e7a701bc34d686fa87dfae"));
        assert!(message.unknown.is_empty(), "SOFTWARE may be unknown");
        // The type of FINGERPRINT itself may be another optional attribute's.
        for position in (0..datagram.len()).filter(|n| !(datagram.len() - 8..datagram.len() - 6).contains(n)) {
            let mut wrong = datagram.clone();
            wrong[position] ^= 0x20;
            assert!(Message::decode(Form::Rfc, &wrong).is_err(), "changed at {position}");
        }
    }
}

/// RFC 5769 §2.1: attributes of credentials are no obstacle.
#[test]
fn the_sample_request_of_rfc_5769_is_read() {
    let datagram = hex(
        "00010058 2112a442 b7e7a701bc34d686fa87dfae 80220010 5354554e207465737420636c69656e74 00240004 6e0001ff \
         80290008 932ff9b151263b36 00060009 6576746a3a68367659202020 00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 \
         80280004 e57a3bcf",
    );
    let message = Message::decode(Form::Rfc, &datagram).unwrap();
    assert_eq!(message.class, Class::Request);
    assert!(message.unknown.is_empty());
}

/// traversal T-42; the bytes come from an independent implementation.
#[test]
fn messages_of_an_rfc_5780_server_and_client_are_read() {
    let answer = hex(
        "010100302112a4420102030405060708090a0b0c 002000080001bd53ea12d547 000100080001 9c41cb007105 \
         802b000800010d96cb00710a 802c000800010d97cb00710b",
    );
    let message = Message::decode(Form::Rfc, &answer).unwrap();
    assert_eq!(message.mapped, Some(address("203.0.113.5:40001")));
    assert_eq!(message.origin, Some(address("203.0.113.10:3478")));
    assert_eq!(message.other, Some(address("203.0.113.11:3479")));
    let both = Message { change: Some(Change::Both), fingerprint: Fingerprint::Absent, ..Message::request(Form::Rfc, id()) };
    assert_eq!(bytes(&both), hex("000100082112a4420102030405060708090a0b0c 0003000400000006"));
    let port = Message { response_port: Some(40001), fingerprint: Fingerprint::Absent, ..Message::request(Form::Rfc, id()) };
    assert_eq!(bytes(&port), hex("000100082112a4420102030405060708090a0b0c 002700029c410000"));
    assert_eq!(Message::decode(Form::Rfc, &bytes(&port)).unwrap().response_port, Some(40001));
}

/// attacks G12.
#[test]
fn attack_g12_attributes_of_impossible_length_are_refused() {
    let message = |attributes: &str| {
        let attributes = hex(attributes);
        let mut datagram = hex("0101");
        datagram.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
        datagram.extend_from_slice(&hex("2112a4420102030405060708090a0b0c"));
        datagram.extend_from_slice(&attributes);
        Message::decode(Form::Rfc, &datagram).map(|message| message.mapped)
    };
    assert_eq!(message("00200000"), Err(Malformed::Attribute), "no address in the attribute");
    assert_eq!(message("00200004 00010000"), Err(Malformed::Attribute));
    assert_eq!(message("00200008 00030000 00000000"), Err(Malformed::Attribute), "no such family");
    assert_eq!(message("00200008 00020000 00000000"), Err(Malformed::Attribute), "IPv6 in 8 bytes");
    assert_eq!(message("0020000c 00010000 00000000 00000000"), Err(Malformed::Attribute));
    assert_eq!(message("0020ffff 00010000"), Err(Malformed::Truncated));
    assert_eq!(message("00270000"), Err(Malformed::Attribute));
    assert_eq!(message("00030002 00000000"), Err(Malformed::Attribute));
    assert_eq!(message("00090004 00000263"), Err(Malformed::Attribute), "error 299");
    assert_eq!(message("80280004 00000000"), Err(Malformed::Fingerprint));
    assert_eq!(message(""), Ok(None));
}

/// traversal T-41: attributes have no length, so an unknown one ends the message; each may come once.
#[test]
fn an_unknown_or_repeated_attribute_ends_a_message_of_dquic() {
    let head = "c3 00000000 0000 0000 81818181818181818181818181818181 00 0001 c0000201";
    for tail in ["63 06 0d97 c6336401", "00 0002 c0000202 06 0d97 c6336401", "ff"] {
        let message = Message::decode(Form::Dquic07, &hex(&format!("{head} {tail}"))).unwrap();
        assert_eq!((message.mapped, message.other), (Some(address("192.0.2.1:1")), None), "{tail}");
    }
    assert_eq!(Message::decode(Form::Dquic07, &hex(&format!("{head} 06 0d97 c633"))), Err(Malformed::Truncated));
}

/// RFC 8489 §6.2.1: sends at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s, given up at 39.5 s.
#[test]
fn a_standard_question_is_repeated_seven_times_with_doubling_waits() {
    let server = address("192.0.2.1:3478");
    let request = Message::request(Form::Rfc, id());
    let mut question = Transaction::new(request, server, Expect::Asked, Patience::STANDARD, at(0));
    for due in [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500] {
        assert_eq!(question.poll(at(due)), Step::Send(request), "at {due}");
        assert!(matches!(question.poll(at(due)), Step::Wait(_)));
    }
    assert_eq!(question.poll(at(39_499)), Step::Wait(at(39_500)));
    assert_eq!(question.poll(at(39_500)), Step::Silent);
}

/// traversal T-45, attacks G12: the whole id, the form and the place count.
#[test]
fn attack_g12_an_answer_counts_only_with_the_whole_id_and_from_where_it_was_asked_for() {
    let (server, other) = (address("192.0.2.1:3478"), address("192.0.2.2:3479"));
    let same_ip = address("192.0.2.1:3479");
    for form in FORMS {
        let request = Message::request(form, id());
        let ask = |expect| {
            let mut question = Transaction::new(request, server, expect, Patience::SHORT, at(0));
            assert_eq!(question.poll(at(0)), Step::Send(request));
            question
        };
        let good = Message { mapped: Some(address("198.51.100.7:5")), ..request.success() };
        let asked = ask(Expect::Asked);
        let answer = asked.on_message(&good, server, at(40)).unwrap();
        assert_eq!((answer.round_trip, answer.sent), (Some(Duration::from_millis(40)), 1));
        assert_eq!(asked.on_message(&good, other, at(40)), None);
        for position in 0..if form == Form::Rfc { 12 } else { 16 } {
            let mut forged = *good.id.as_bytes();
            forged[position] ^= 0x10;
            let forged = Message { id: TransactionId::from_bytes(forged), ..good };
            assert_eq!(asked.on_message(&forged, server, at(40)), None, "{form:?} {position}");
        }
        assert_eq!(asked.on_message(&request, server, at(40)), None, "our own request comes back");
        assert_eq!(asked.on_message(&Message { mapped: None, ..good }, server, at(40)), None);
        for (change, right) in [(Change::Both, other), (Change::Port, same_ip)] {
            let changed = ask(Expect::Changed(change));
            for from in [server, other, same_ip] {
                assert_eq!(changed.on_message(&good, from, at(40)).is_some(), from == right, "{change:?} {from}");
            }
        }
        assert!(ask(Expect::Anyone).on_message(&good, other, at(40)).is_some());
        assert!(ask(Expect::From(other)).on_message(&good, server, at(40)).is_none());
    }
}

/// RFC 8489 §6.3.3, §6.3.4.
#[test]
fn a_response_that_needs_more_understanding_is_none_and_an_error_ends_the_question() {
    let server = address("192.0.2.1:3478");
    let request = Message::request(Form::Rfc, id());
    let mut question = Transaction::new(request, server, Expect::Changed(Change::Both), Patience::SHORT, at(0));
    assert_eq!(question.on_message(&request.refusal(420), server, at(0)), None, "nothing was asked yet");
    question.poll(at(0));
    assert_eq!(question.on_message(&request.refusal(420), server, at(1)).unwrap().message.error, Some(420));
    assert_eq!(question.on_message(&request.refusal(420), address("192.0.2.9:3479"), at(1)), None);
    let mut unknown = Unknown::default();
    unknown.push(0x7000);
    let answer = Message { mapped: Some(server), unknown, ..request.success() };
    assert_eq!(question.on_message(&answer, address("192.0.2.9:3479"), at(1)), None);
    question.poll(at(300));
    let answer = Message { mapped: Some(server), ..request.success() };
    let answer = question.on_message(&answer, address("192.0.2.9:3479"), at(350)).unwrap();
    assert_eq!((answer.sent, answer.round_trip), (2, None), "which of the two was answered is not known");
}

/// traversal T-46, T-47.
#[test]
fn keep_alive_asks_every_15_s_and_after_silence_every_second() {
    let server = address("192.0.2.1:3478");
    let (first, second) = (address("198.51.100.7:5"), address("198.51.100.7:6"));
    let mut random = random();
    let mut alive = KeepAlive::new(Form::Dquic07, server, at(0));
    let mut ask = |alive: &mut KeepAlive, now| match alive.poll(now, &mut random) {
        KeepAliveStep::Send(message) => message,
        other => panic!("{other:?}"),
    };
    let request = ask(&mut alive, at(0));
    let answer = |request: Message, mapped| Message { mapped: Some(mapped), ..request.success() };
    assert!(alive.on_message(&answer(request, first), server, at(50)).is_some());
    let mut no_random = super::tests::random();
    assert_eq!(alive.poll(at(50), &mut no_random), KeepAliveStep::Event(MappingEvent::Upsert(first)));
    assert_eq!(alive.poll(at(50), &mut no_random), KeepAliveStep::Wait(at(15_050)));
    assert!(alive.is_active());

    for due in [15_050, 15_350, 15_650] {
        ask(&mut alive, at(due));
    }
    assert_eq!(alive.poll(at(15_950), &mut no_random), KeepAliveStep::Event(MappingEvent::Remove(first)));
    assert!(!alive.is_active());
    assert_eq!(alive.poll(at(15_950), &mut no_random), KeepAliveStep::Wait(at(16_950)));
    let request = ask(&mut alive, at(16_950));
    alive.on_message(&answer(request, second), server, at(17_000)).unwrap();
    assert_eq!(alive.poll(at(17_000), &mut no_random), KeepAliveStep::Event(MappingEvent::Upsert(second)));

    alive.restart(at(18_000));
    assert_eq!(alive.poll(at(18_000), &mut no_random), KeepAliveStep::Event(MappingEvent::Remove(second)));
    ask(&mut alive, at(18_000));
    alive.close();
    assert_eq!(alive.poll(at(18_000), &mut no_random), KeepAliveStep::Event(MappingEvent::Closed));
    assert_eq!(alive.poll(at(99_000), &mut no_random), KeepAliveStep::Nothing);
}

/// traversal T-46: the interval follows a measured life, and a mapping seen to change.
#[test]
fn keep_alive_learns_the_life_of_the_mapping() {
    let server = address("192.0.2.1:3478");
    let mut random = random();
    let mut alive = KeepAlive::new(Form::Rfc, server, at(0));
    let mut exchange = |alive: &mut KeepAlive, now: u64, port: u16| {
        let request = loop {
            match alive.poll(at(now), &mut random) {
                KeepAliveStep::Send(message) => break message,
                KeepAliveStep::Event(_) => {}
                other => panic!("at {now}: {other:?}"),
            }
        };
        let mapped = Some((std::net::Ipv4Addr::new(198, 51, 100, 7), port).into());
        alive.on_message(&Message { mapped, ..request.success() }, server, at(now)).unwrap();
    };
    exchange(&mut alive, 0, 5);
    let life = MappingLife { at_least: Duration::from_secs(100), below: Some(Duration::from_secs(110)) };
    alive.learned(life, at(10_000));
    assert_eq!(alive.interval(), Duration::from_secs(80));
    exchange(&mut alive, 80_000, 5);
    assert_eq!(alive.interval(), Duration::from_secs(80), "it lived");
    exchange(&mut alive, 160_000, 6);
    assert_eq!(alive.interval(), Duration::from_secs(40), "it changed in a silence of 80 s");
    alive.learned(MappingLife { at_least: Duration::ZERO, below: Some(Duration::from_secs(1)) }, at(160_000));
    assert_eq!(alive.interval(), Duration::from_secs(3), "never faster");
    alive.learned(MappingLife { at_least: Duration::from_secs(9_999), below: None }, at(160_000));
    assert_eq!(alive.interval(), Duration::from_secs(300), "never slower");
    alive.learned(MappingLife::default(), at(160_000));
    assert_eq!(alive.interval(), Duration::from_secs(300), "nothing was learned");
}

fn any_message() -> impl Strategy<Value = Message> {
    let address = || prop::option::of(any_family().prop_flat_map(any_address));
    let change = prop::option::of((0..4_u8).prop_map(Change::from_bits));
    (0..3_usize, any::<[u8; 16]>(), address(), address(), address(), change, any::<bool>(), address(), prop::option::of(any::<u16>())).prop_map(
        |(form, id, mapped, origin, other, change, response, response_address, response_port)| {
            let form = FORMS[form];
            let request = Message::request(form, TransactionId::from_bytes(id));
            let message = if response { request.success() } else { request };
            let (response_address, response_port) =
                if form == Form::Rfc { (None, response_port) } else { (response_address, None) };
            Message { mapped, origin, other, change, response_address, response_port, ..message }
        },
    )
}

proptest! {
    /// traversal V1.
    #[test]
    fn messages_survive_the_round_trip(message in any_message()) {
        let datagram = bytes(&message);
        prop_assert_eq!(Forms::ALL.recognize(&datagram), Some(message.form));
        prop_assert_eq!(Message::decode(message.form, &datagram), Ok(message));
        for cut in 0..datagram.len() {
            // Disguised messages have no length: a cut between attributes is a shorter message.
            if let Ok(shorter) = Message::decode(message.form, &datagram[..cut]) {
                prop_assert!(message.form != Form::Rfc);
                prop_assert_eq!(bytes(&shorter), &datagram[..cut]);
            }
        }
        let mut small = vec![0; datagram.len() - 1];
        prop_assert_eq!(message.encode(&mut small), Err(Unwritable));
    }

    /// attacks G12, R1.
    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..120), head in 0..4_usize) {
        let heads: [&[u8]; 4] = [&[], &[0xc2, 0, 0, 0, 0, 0, 0, 0, 0], &[0xc3, 0, 0, 0, 0, 0, 0, 0, 0], &[1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]];
        bytes.splice(0..0, heads[head].iter().copied());
        if head == 3 && bytes.len() >= 20 {
            bytes.truncate(20 + (bytes.len() - 20) / 4 * 4);
            let length = (bytes.len() - 20) as u16;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
        }
        for form in FORMS {
            let _ = Message::decode(form, &bytes);
        }
        if let Some(message) = Forms::ALL.recognize(&bytes).and_then(|form| Message::decode(form, &bytes).ok()) {
            let (asked, client) = (address("192.0.2.1:3478"), address("198.51.100.7:5000"));
            let _ = four_sockets().on_message(&message, bytes.len(), asked, client, at(0));
        }
    }
}
