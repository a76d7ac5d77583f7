//! Two engines over loopback, driven through their queues as JavaScript does it.

mod nat;
mod side;
mod splice;

use std::time::Duration;

use qconnection::{Endpoint, EndpointConfig};
use qdriver::Driver;
use qevent::DropReason;

use self::side::{PATIENCE, Seen, Side};
use super::*;
use crate::{
    messages::orders::Question,
    options::{
        connect::{Dial, TlsCache},
        endpoint::EndpointOptions,
        server::Listen,
        tls::Surroundings,
    },
    queue::{
        answer::Answer,
        commands::{self, Command},
        layout::{AHEAD_BYTES, FIN, OPENED, Record, WORDS},
        records::channel,
    },
    stats::DROP_CELLS,
};

const LIMITS: &str = r#""limits":{"sendBufferBytes":8388608,"connectionSendBufferBytes":16777216}"#;

/// A command: records and commands have one layout.
fn command(kind: u32, flags: u32, key: u32, length: usize, stream: u64, number: u64) -> [u32; WORDS] {
    let record = Record::new(Kind::Data, key).flags(flags).length(length as u32).stream(stream).number(number);
    let Record(mut words) = record;
    words[0] = words[0] & !0xff | kind;
    words
}

fn open(key: u32, stream: u64) -> [u32; WORDS] {
    command(1, 0, key, 0, stream, 0)
}

fn write(key: u32, stream: u64, length: usize, flags: u32) -> [u32; WORDS] {
    command(2, flags, key, length, stream, 0)
}

/// A server, a client, and a connection between them whose handshake is complete; its key is 1 at both.
fn pair() -> (Side, Side) {
    pair_with("", "", 1)
}

fn pair_with(server_fields: &str, client_fields: &str, paths: usize) -> (Side, Side) {
    let (mut server, own) = listening(server_fields);
    let locals: Vec<String> = (1..=paths).map(|host| format!(r#"{{"local":"127.0.0.{host}:0"}}"#)).collect();
    let mut client = dialling(&own, &[server.address()], client_fields, &locals.join(","));
    client.until_event("opened");
    server.until_event("opened");
    (server, client)
}

/// A server, and its certificate.
fn listening(fields: &str) -> (Side, qcrypto::development::DevelopmentCertificate) {
    listening_within(fields, LIMITS)
}

/// As above, with limits of its own.
fn listening_within(fields: &str, limits: &str) -> (Side, qcrypto::development::DevelopmentCertificate) {
    let own = qcrypto::development::seeded(&[1; 32], &["localhost".to_owned()], 36_500, Duration::from_secs(1_700_000_000)).expect("certificate");
    let mut server = Side::new(r#"{"local":["127.0.0.1:0"]}"#);
    let tls = serde_json::json!({"alpn": ["x"], "cert": [own.cert_pem], "key": own.key_pem});
    let listen = Listen::read(&format!(r#"{{"tls":{tls},"transport":{{{fields}{limits}}}}}"#), &Surroundings::default());
    server.send(Command::Listen(Box::new(listen.unwrap_or_else(|error| panic!("{error:?}")))));
    (server, own)
}

/// A client whose connection 1 begins.
fn dialling(own: &qcrypto::development::DevelopmentCertificate, remotes: &[String], fields: &str, paths: &str) -> Side {
    let mut client = Side::new(r#"{"local":[]}"#);
    dial_from(&mut client, own, remotes, &format!("{fields}{LIMITS}"), paths);
    client
}

/// Begins connection 1 of a side.
fn dial_from(client: &mut Side, own: &qcrypto::development::DevelopmentCertificate, remotes: &[String], transport: &str, paths: &str) {
    let tls = serde_json::json!({"alpn": ["x"], "ca": [own.cert_pem]});
    let remotes = serde_json::json!(remotes);
    let json = format!(
        r#"{{"id":"c0","remotes":{remotes},"serverName":"localhost","tls":{tls},"transport":{{{transport}}},"paths":[{paths}],"handshake":{{"mode":"single"}}}}"#
    );
    let dial = Dial::read(&json, &mut TlsCache::default(), &Surroundings::default()).unwrap_or_else(|error| panic!("{error:?}"));
    let key = client.link.next_key().expect("key");
    client.send(Command::Connect(key, Box::new(dial)));
}

#[test]
fn the_handshake_is_told_with_the_streams_it_allows() {
    let (server, client) = pair();
    for side in [&server, &client] {
        let kinds: Vec<(u32, String)> = side.seen.iter().filter(|seen| seen.key == 1).map(|seen| (seen.kind, seen.event()["type"].to_string())).collect();
        let opened = kinds.iter().position(|(_, name)| name == "\"opened\"").expect("opened");
        let streams = kinds.iter().filter(|(kind, _)| *kind == 6).count();
        assert_eq!((streams, kinds[opened - 1].0), (2, 6), "{kinds:?}");
    }
    assert_eq!(server.seen.iter().find(|seen| seen.key == 1).expect("record").event()["type"], "connection");
}

#[test]
fn a_planner_is_asked_before_anything_may_be_sent_and_again_when_it_has_answered() {
    let (mut server, own) = listening("");
    let mut client = dialling(&own, &[server.address()], r#""plans":true,"#, "{}");
    let plan = client.until_event("plan");
    assert_eq!((plan["view"]["paths"][0]["id"].as_u64(), plan["view"]["queuedBytes"].as_u64()), (Some(0), Some(0)));
    client.until_event("confirmed");
    let place = |client: &Side, name: &str| client.seen.iter().position(|seen| seen.event()["type"] == name);
    assert!(place(&client, "plan") < place(&client, "opened"));
    let plans = |client: &Side| client.seen.iter().filter(|seen| seen.event()["type"] == "plan").count();
    client.flush(&[open(1, 0), write(1, 0, 5, FIN)], b"hello");
    client.linger();
    assert_eq!(plans(&client), 1, "nobody is asked twice before the answer");
    client.order(1, r#"{"do":"plan","plan":{"order":[0],"reason":"there is only one"}}"#);
    client.flush(&[open(1, 4), write(1, 4, 5, FIN)], b"again");
    client.until("the next plan", |seen| seen.event()["type"] == "plan" && seen.event() != plan);
    server.until("the second request", |seen| seen.kind == 1 && seen.stream == 4);
}

/// streams-over-ring: a small request is one record.
#[test]
fn a_small_request_is_one_record() {
    let (mut server, mut client) = pair();
    client.flush(&[open(1, 0), write(1, 0, 5, FIN)], b"hello");
    let record = server.until("request", |seen| seen.kind == 1);
    assert_eq!((record.flags, record.stream, record.payload.as_slice()), (FIN | OPENED, 0, &b"hello"[..]));
    client.until("acknowledgement", |seen| seen.kind == 3 && seen.stream == 0);
}

#[test]
fn streams_of_the_peer_come_in_the_order_of_ids_none_left_out() {
    let (mut server, mut client) = pair();
    client.flush(&[open(1, 0), open(1, 4), open(1, 8), open(1, 2), write(1, 8, 1, FIN)], b"x");
    server.until("the third stream", |seen| seen.kind == 1 && seen.stream == 8);
    let opened: Vec<u64> = server.seen.iter().filter(|seen| seen.kind == 1 && seen.flags & OPENED != 0).map(|seen| seen.stream).collect();
    assert_eq!(opened, [0, 4, 8]);
    client.flush(&[write(1, 0, 2, FIN)], b"yz");
    server.until("the first stream", |seen| seen.kind == 1 && seen.stream == 0 && seen.flags == FIN);
    assert_eq!(server.bytes_of(0), b"yz");
}

/// attacks L26, D15.
#[test]
fn bytes_that_nobody_consumes_stay_in_the_engine() {
    let (mut server, mut client) = pair();
    let data: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    client.flush(&[open(1, 0), write(1, 0, data.len(), FIN)], &data);
    server.until("much of it", |seen| seen.kind == 1);
    server.linger();
    assert_eq!(server.bytes_of(0).len() as u64, AHEAD_BYTES);
    while server.bytes_of(0).len() < data.len() {
        let consumed = server.bytes_of(0).len() as u64;
        server.flush(&[command(5, 0, 1, 0, 0, consumed)], &[]);
        server.drain();
    }
    assert!(server.bytes_of(0) == data);
    assert!(server.seen.iter().rfind(|seen| seen.kind == 1).is_some_and(|seen| seen.flags == FIN));
}

#[test]
fn room_in_the_send_queues_is_told_before_javascript_needs_it() {
    let (mut server, mut client) = pair();
    let data = vec![7; 8_388_608];
    client.flush(&[open(1, 0), write(1, 0, data.len(), 0)], &data);
    let mut told = 0;
    while told < 4_194_304 {
        server.drain();
        let consumed = server.bytes_of(0).len() as u64;
        server.flush(&[command(5, 0, 1, 0, 0, consumed)], &[]);
        client.drain();
        told = client.seen.iter().filter(|seen| seen.kind == 2).map(|seen| seen.number).max().unwrap_or(0);
    }
    assert!(client.seen.iter().any(|seen| seen.kind == 7), "the connection's share is 16 MiB / 4");
}

#[test]
fn a_reset_and_a_stop_cross_with_their_codes() {
    let (mut server, mut client) = pair();
    client.flush(&[open(1, 0), write(1, 0, 1, 0)], b"x");
    server.until("stream", |seen| seen.kind == 1);
    let code = (1 << 61) + 5;
    let words = |kind| {
        let Record(mut words) = Record::new(Kind::Data, 1).stream(0).code(code);
        words[0] = kind;
        words
    };
    client.flush(&[words(3)], &[]);
    assert_eq!(server.until("reset", |seen| seen.kind == 5).code, code);
    client.flush(&[words(4)], &[]);
    assert_eq!(server.until("stop", |seen| seen.kind == 4).code, code);
}

#[test]
fn a_stream_id_that_javascript_counted_wrong_closes_the_connection() {
    let (_server, mut client) = pair();
    client.flush(&[open(1, 4)], &[]);
    assert_eq!(client.until_event("closed")["info"]["error"]["code"], "QB_INTERNAL");
}

#[test]
fn complete_streams_are_handed_over_before_the_end() {
    let (mut server, mut client) = pair();
    // More than is handed over unasked, and no more than the stream's window lets come on top of that.
    let data = vec![3; 700_000];
    client.flush(&[open(1, 0), write(1, 0, data.len(), FIN)], &data);
    client.order(1, r#"{"do":"close","layer":"application","code":0,"reason":"","drainMs":5000}"#);
    let end = server.until_event("closed");
    assert_eq!((end["info"]["by"].as_str(), &end["info"]["error"]), (Some("peer"), &serde_json::Value::Null));
    assert_eq!(server.bytes_of(0).len(), data.len());
    assert_eq!(server.seen.last().map(|seen| seen.event()["type"].to_string()).as_deref(), Some("\"closed\""));
}

/// mux R43.
#[test]
fn a_place_is_given_to_the_next_stream_when_javascript_releases_one() {
    let (mut server, mut client) = pair();
    let limit = |side: &Side| side.seen.iter().filter(|seen| seen.kind == 6).map(|seen| seen.number).max();
    for index in 0..100 {
        client.flush(&[open(1, index * 4), write(1, index * 4, 1, FIN)], b"x");
    }
    server.until("the last stream", |seen| seen.kind == 1 && seen.stream == 396);
    for index in 0..100 {
        server.flush(&[write(1, index * 4, 0, FIN)], &[]);
    }
    client.until("answers", |seen| seen.kind == 1 && seen.stream == 396);
    client.linger();
    assert_eq!(limit(&client), Some(100));
    for index in 0..100 {
        server.flush(&[command(6, 0, 1, 0, index * 4, 0)], &[]);
    }
    client.until("room for more streams", |seen| seen.kind == 6 && seen.number > 100);
}

#[test]
fn further_paths_open_by_options_and_by_order() {
    let (mut server, mut client) = pair_with("", r#""scheduler":{"name":"round-robin"},"#, 2);
    let is_open = |path: u64| move |seen: &Seen| seen.event()["type"] == "path" && seen.event()["path"] == path && seen.event()["facts"]["state"] == "open";
    client.until("second path", is_open(1));
    server.until("second path", is_open(1));
    client.order(1, r#"{"do":"open-path","ticket":9,"spec":{"local":"127.0.0.3:0","status":"backup"}}"#);
    let opened = client.until("third path", is_open(2)).event();
    assert_eq!((opened["ticket"].as_u64(), opened["facts"]["status"].as_str()), (Some(9), Some("backup")));
    client.order(1, r#"{"do":"abandon-path","path":1,"code":62}"#);
    server.until("end of the second path", |seen| seen.event()["path"] == 1 && seen.event()["facts"]["state"] == "abandoning");
    client.order(1, r#"{"do":"open-path","ticket":10,"spec":{"local":"192.0.2.1:0"}}"#);
    assert_eq!(client.until_event("path-failed")["error"]["code"], "QB_BIND_FAILED");
}

#[test]
fn questions_are_answered_and_those_about_nobody_refused() {
    let (_server, mut client) = pair();
    let mut ask = |key: u32, json: &str| {
        let question: Question = serde_json::from_str(json).expect("question");
        let answer = Answer::default();
        client.send(Command::Question(key, question, answer.clone()));
        answer.wait(PATIENCE).expect("answer")
    };
    assert!(ask(1, r#"{"ask":"explain","about":"connection"}"#).expect("json").contains("path 0"));
    assert!(ask(1, r#"{"ask":"space","space":"application","path":0}"#).expect("json").contains("\"open\""));
    assert_eq!(ask(1, r#"{"ask":"space","space":"application","path":5}"#).expect("json"), "null");
    assert_eq!(ask(7, r#"{"ask":"update-key"}"#).expect_err("nobody").facts().code, "QB_CONNECTION_CLOSED");
}

#[test]
fn traces_cross_while_somebody_listens() {
    let (_server, mut client) = pair();
    client.order(1, r#"{"do":"trace","mask":1}"#);
    client.flush(&[open(1, 0), write(1, 0, 3, FIN)], b"abc");
    let burst = client.until("burst", |seen| seen.kind == 17 && String::from_utf8_lossy(&seen.payload).contains("\"kind\":\"burst\""));
    let burst: serde_json::Value = serde_json::from_slice(&burst.payload).expect("json");
    assert!(burst["segments"][0]["packets"][0]["frames"].to_string().contains("STREAM"), "{burst}");
}

#[test]
fn numbers_follow_what_happens() {
    let (mut server, mut client) = pair();
    client.flush(&[open(1, 0), write(1, 0, 5, FIN)], b"hello");
    server.until("stream", |seen| seen.kind == 1);
    client.linger();
    let mut row = [0.0; 32];
    assert!(client.link.pages.read(1, 1, 0, &mut row) && row[2] == 5.0, "stream bytes sent: {row:?}");
    assert!(server.link.pages.read(1, 1, 0, &mut row) && row[3] == 5.0, "stream bytes received: {row:?}");
    assert!(client.link.pages.read(2, 1, 0, &mut row) && row[13] > 1_200.0, "bytes sent on the path: {row:?}");
    assert!(client.link.pages.read(0, 0, 0, &mut row) && row[6] == 1.0, "connections: {row:?}");
}

#[test]
fn drops_stand_in_the_page_of_the_endpoint_and_outlive_their_connection() {
    let (mut server, mut client) = pair();
    let address = server.address();
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    // An Initial in a datagram below 1,200 bytes: dropped before there is a connection (attacks A3).
    let mut initial = vec![0xc0, 0, 0, 0, 1, 8];
    initial.extend([7; 8]);
    initial.extend([0, 0, 0x40, 64]);
    initial.extend([7; 64]);
    let mut row = [0.0; DROP_CELLS];
    let place = |reason: DropReason| DropReason::ALL.iter().position(|other| *other == reason).expect("known");
    // Loopback may lose one; asking about the drops is what the page is for.
    for _ in 0..1_000 {
        stranger.send_to(&initial, &address).expect("sent");
        server.linger();
        assert!(server.link.pages.read(3, 0, 0, &mut row));
        if row[place(DropReason::ShortInitial)] > 0.0 {
            break;
        }
    }
    assert!(row[place(DropReason::ShortInitial)] >= 1.0, "{row:?}");
    let before: f64 = row.iter().sum();
    client.send(Command::Close);
    client.until_event("endpoint-closed");
    server.until_event("closed");
    server.linger();
    assert!(server.link.pages.read(3, 0, 0, &mut row) && row.iter().sum::<f64>() >= before, "{row:?}");
}

#[test]
fn a_closed_endpoint_has_freed_its_address_when_it_says_so() {
    let (mut server, mut client) = pair();
    let address = server.address();
    server.send(Command::Close);
    server.until_event("endpoint-closed");
    assert!(server.link.has_ended());
    assert!(std::net::UdpSocket::bind(&address).is_ok(), "{address} is still taken");
    assert_eq!(client.until_event("closed")["info"]["by"], "peer");
    let names: Vec<String> = server.seen.iter().rev().take(2).map(|seen| seen.event()["type"].to_string()).collect();
    assert_eq!(names, ["\"endpoint-closed\"", "\"closed\""]);
    server.thread.take().expect("thread").join().expect("ended in order");
}

#[test]
fn an_address_that_does_not_answer_ends_the_connection_by_its_time_limit() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    let mut client = Side::new(r#"{"local":[]}"#);
    let json = format!(
        r#"{{"id":"c0","remotes":["{}"],"serverName":"localhost","tls":{{"alpn":["x"],"verify":"none"}},"transport":{{"limits":{{"handshakeTimeoutMs":50,"sendBufferBytes":1,"connectionSendBufferBytes":1}}}},"paths":[{{}}],"handshake":{{"mode":"single"}}}}"#,
        silent.local_addr().expect("address")
    );
    let dial = Dial::read(&json, &mut TlsCache::default(), &Surroundings::default()).unwrap_or_else(|error| panic!("{error:?}"));
    client.send(Command::Connect(1, Box::new(dial)));
    assert_eq!(client.until_event("closed")["info"]["error"]["code"], "QB_CONNECT_TIMEOUT");
}

#[test]
fn the_next_address_is_tried_when_the_first_one_is_silent() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    let (mut server, own) = listening("");
    let remotes = [silent.local_addr().expect("address").to_string(), server.address()];
    let mut client = dialling(&own, &remotes, "", "{}");
    assert_eq!(client.until_event("opened")["remote"].as_str(), Some(server.address().as_str()));
    server.until_event("confirmed");
    client.linger();
    assert!(client.link.pages.read(1, 1, 0, &mut [0.0; 32]));
    let paths: Vec<_> = client.seen.iter().map(Seen::event).filter(|event| event["type"] == "path" || event["type"] == "path-waiting").collect();
    assert_eq!(paths.len(), 1, "the silent address is no path: {paths:?}");
}

/// An engine on a thread that panics in its third turn.
struct Bomb(Engine, u32);

impl Application for Bomb {
    fn on_turn(&mut self, io: &mut Io<'_>) {
        self.0.on_turn(io);
        self.1 += 1;
        io.wake_at(io.now);
        assert!(self.1 < 3, "thrown on purpose");
    }
}

#[test]
fn a_panic_of_the_thread_ends_the_endpoint_and_nothing_else() {
    let link = Arc::new(Link::new(0));
    let (sender, receiver) = commands::channel();
    let (writer, reader) = channel();
    let options: EndpointOptions = serde_json::from_str(r#"{"local":["127.0.0.1:0"]}"#).expect("options");
    let engine = Engine::new(Arc::clone(&link), Arc::new(Wake::default()), receiver, writer, options.sockets());
    let machine = Endpoint::new(EndpointConfig::default(), [9; 32]);
    let thread = Driver::spawn(options.driver(), machine, Bomb(engine, 0)).expect("thread");
    let mut side = Side { link, commands: sender, records: reader, thread: Some(thread), seen: Vec::new() };
    side.wake();
    assert_eq!(side.until_event("endpoint-closed")["error"]["code"], "QB_INTERNAL");
    assert!(side.thread.take().expect("thread").join().is_err());
}

#[test]
fn an_engine_that_panics_says_so() {
    let link = Arc::new(Link::new(0));
    let (_sender, receiver) = commands::channel();
    let (writer, mut reader) = channel();
    let options: EndpointOptions = serde_json::from_str(r#"{"local":[]}"#).expect("options");
    let mut engine = Engine::new(Arc::clone(&link), Arc::new(Wake::default()), receiver, writer, options.sockets());
    engine.pace.started = true;
    engine.broken = Some("boom".to_owned());
    drop(engine);
    let (mut words, mut staging) = (vec![0; WORDS], vec![0; 65_536]);
    assert_eq!(reader.drain(&mut words, &mut staging).map(|drained| drained.answer), Ok(1));
    let event: serde_json::Value = serde_json::from_slice(&staging[..words[2] as usize]).expect("json");
    assert_eq!((event["type"].as_str(), event["error"]["code"].as_str()), (Some("endpoint-closed"), Some("QB_INTERNAL")));
    assert!(link.has_ended() && event["error"]["message"].to_string().contains("boom"));
}
