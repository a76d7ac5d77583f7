//! What concerns NATs, over loopback: connections through a relay that is a socket of the test's.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use qtraversal::forward::ForwardHeader;

use super::{LIMITS, PATIENCE, Side, dial_from, listening};
use crate::{messages::orders::Question, queue::{answer::Answer, commands::Command}};

/// A socket that passes forward datagrams on as they are, to whomever they name.
struct Relay {
    address: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("timeout");
        let address = socket.local_addr().expect("address").to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_535];
            while !ends.load(Ordering::Relaxed) {
                let Ok((len, _)) = socket.recv_from(&mut buffer) else { continue };
                let Some(to) = ForwardHeader::strip(&buffer[..len]).map(|stripped| stripped.header.destination.outer()) else { continue };
                socket.send_to(&buffer[..len], to).expect("sent");
            }
        });
        Self { address, stop, thread: Some(thread) }
    }

    /// The order by which a side learns that this relay knows it.
    fn register(&self, side: &mut Side) {
        let (relay, local) = (&self.address, side.address());
        side.order(0, &format!(r#"{{"do":"register","local":"{local}","relay":"{relay}","outer":"{local}"}}"#));
    }

    /// How peers call a side.
    fn name_of(&self, side: &Side) -> String {
        format!("{}-{}", self.address, side.address())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join).transpose().expect("relay");
    }
}

/// No address that stands for a way may be seen by JavaScript.
fn no_stand_in(side: &Side) {
    for seen in &side.seen {
        let text = String::from_utf8_lossy(&seen.payload);
        assert!(!text.contains("\"240.0.") && !text.contains(" 240.0."), "{text}");
    }
}

/// traversal T-1, T-2.
#[test]
fn a_connection_over_a_relay_is_told_by_relay_and_outer_address() {
    let relay = Relay::start();
    let (mut server, own) = listening("");
    let mut client = Side::new(r#"{"local":["127.0.0.1:0"]}"#);
    relay.register(&mut server);
    relay.register(&mut client);
    dial_from(&mut client, &own, &[relay.name_of(&server)], LIMITS, "{}");
    let opened = client.until_event("opened");
    assert_eq!(opened["remote"], relay.name_of(&server));
    assert_eq!(opened["info"]["winner"]["remote"], relay.name_of(&server));
    assert_eq!(client.until_event("handshake")["steps"][0]["remote"], relay.name_of(&server));
    assert_eq!(server.until_event("connection")["remote"], relay.name_of(&client));
    assert_eq!(server.until_event("path")["remote"], relay.name_of(&client));
    client.until_event("confirmed");
    let direct = server.address();
    client.order(1, &format!(r#"{{"do":"open-path","ticket":7,"spec":{{"remote":"{direct}"}}}}"#));
    let path = client.until("a direct path", |seen| seen.event()["type"] == "path" && seen.event()["path"] == 1 && seen.event()["facts"]["state"] == "open").event();
    assert_eq!((&path["remote"], path["ticket"].as_u64()), (&direct.into(), Some(7)));
    client.order(1, r#"{"do":"trace","mask":1}"#);
    client.order(1, r#"{"do":"abandon-path","path":0,"code":62}"#);
    let gone = client.until("the end of the relayed path", |seen| seen.event()["path"] == 0 && seen.event()["facts"]["state"] == "abandoned").event();
    assert_eq!(gone["remote"], relay.name_of(&server));
    for side in [&client, &server] {
        no_stand_in(side);
    }
}

#[test]
fn a_path_over_a_relay_opens_beside_a_direct_one() {
    let relay = Relay::start();
    let (mut server, own) = listening("");
    let mut client = Side::new(r#"{"local":["127.0.0.1:0"]}"#);
    dial_from(&mut client, &own, &[server.address()], LIMITS, "{}");
    client.until_event("confirmed");
    let name = relay.name_of(&server);
    let open = |ticket: u32| format!(r#"{{"do":"open-path","ticket":{ticket},"spec":{{"remote":"{name}","status":"backup"}}}}"#);
    client.order(1, &open(3));
    let error = client.until_event("path-failed")["error"].clone();
    assert_eq!((error["code"].as_str(), error["field"].as_str(), &error["value"]), (Some("QB_NO_PATH"), Some("remote"), &name.clone().into()));
    assert!(error["message"].to_string().contains("registered with a relay"), "{error}");
    relay.register(&mut server);
    relay.register(&mut client);
    client.order(1, &open(4));
    let path = client.until("a relayed path", |seen| seen.event()["type"] == "path" && seen.event()["path"] == 1 && seen.event()["facts"]["state"] == "open").event();
    assert_eq!((&path["remote"], path["facts"]["status"].as_str()), (&name.into(), Some("backup")));
    client.order(1, r#"{"do":"migrate-path","ticket":5,"path":1,"spec":{"local":"127.0.0.2:0"}}"#);
    assert_eq!(client.until_event("path-migrated")["error"]["code"], "QB_PATH_LIMIT");
    no_stand_in(&client);
}

#[test]
fn a_connection_to_a_peer_behind_a_relay_that_does_not_know_us_ends_at_once() {
    let relay = Relay::start();
    let (mut server, own) = listening("");
    relay.register(&mut server);
    let mut client = Side::new(r#"{"local":["127.0.0.1:0"]}"#);
    dial_from(&mut client, &own, &[relay.name_of(&server)], LIMITS, "{}");
    let error = client.until_event("closed")["info"]["error"].clone();
    assert_eq!((error["code"].as_str(), &error["value"]), (Some("QB_NO_PATH"), &relay.name_of(&server).into()), "{error}");
}

#[test]
fn registrations_that_cannot_be_are_refused_and_one_that_ends_is_none() {
    let relay = Relay::start();
    let mut side = Side::new(r#"{"local":["127.0.0.1:0"]}"#);
    for (at, (local, outer, reason)) in [("0.0.0.0:1", "127.0.0.1:9", "unspecified"), ("127.0.0.1:1", "127.0.0.1:0", "port 0"), ("127.0.0.1:1", "[::1]:9", "famil")].into_iter().enumerate() {
        side.order(0, &format!(r#"{{"do":"register","local":"{local}","relay":"{}","outer":"{outer}"}}"#, relay.address));
        let refused = |side: &Side| side.seen.iter().map(super::Seen::event).filter(|event| event["type"] == "register-refused").collect::<Vec<_>>();
        side.until("a refusal", |seen| seen.event()["type"] == "register-refused" && seen.event()["reason"].to_string().contains(reason));
        assert_eq!(refused(&side).len(), at + 1);
    }
    let (mut server, own) = listening("");
    relay.register(&mut server);
    relay.register(&mut side);
    let local = side.address();
    side.order(0, &format!(r#"{{"do":"unregister","local":"{local}","relay":"{}"}}"#, relay.address));
    dial_from(&mut side, &own, &[relay.name_of(&server)], LIMITS, "{}");
    assert_eq!(side.until_event("closed")["info"]["error"]["code"], "QB_NO_PATH");
}

/// A side that answers STUN requests at its address.
fn stun_server() -> Side {
    let mut server = Side::new(r#"{"local":["127.0.0.1:0"]}"#);
    let address = server.address();
    server.order(0, &format!(r#"{{"do":"stun-serve","config":{{"sockets":["{address}"],"neighbours":[],"forms":["rfc5780","dquic"]}}}}"#));
    server
}

fn statistics(side: &mut Side) -> serde_json::Value {
    let answer = Answer::default();
    side.send(Command::Question(0, Question::NatStatistics, answer.clone()));
    serde_json::from_str(&answer.wait(PATIENCE).expect("answer").expect("json")).expect("json")
}

/// traversal T-42, T-45, T-46.
#[test]
fn questions_to_a_server_are_answered_and_mappings_kept() {
    let mut server = stun_server();
    let mut client = Side::new(r#"{"local":["127.0.0.1:0"]}"#);
    let (local, at) = (client.address(), server.address());
    for (ticket, form) in [(1, "rfc5780"), (2, "dquic")] {
        client.order(0, &format!(r#"{{"do":"nat-ask","ticket":{ticket},"local":"{local}","server":"{at}","form":"{form}","timeoutMs":5000,"tries":5}}"#));
        let answer = client.until("an answer", |seen| seen.event()["type"] == "nat-answer" && seen.event()["ticket"] == ticket).event();
        assert_eq!((&answer["local"], &answer["mapped"], &answer["from"]), (&local.clone().into(), &local.clone().into(), &at.clone().into()));
        assert!(answer["rttMs"].as_f64().is_some_and(|rtt| rtt > 0.0) && answer["tries"].as_u64() >= Some(1));
    }
    client.order(0, &format!(r#"{{"do":"nat-keep","ticket":3,"local":"{local}","server":"{at}","form":"rfc5780"}}"#));
    assert_eq!(client.until_event("nat-mapping")["mapped"], local);
    client.order(0, r#"{"do":"nat-cancel","ticket":3}"#);
    client.until("its end", |seen| seen.event()["type"] == "nat-mapping" && seen.event()["mapped"].is_null());
    let served = statistics(&mut server);
    assert!(served["stun"]["answered"].as_u64() >= Some(3) && served["relay"].is_null(), "{served}");
    assert!(statistics(&mut client)["stun"].is_null());
    server.order(0, r#"{"do":"stun-serve","config":null}"#);
    assert!(statistics(&mut server)["stun"].is_null());
    client.order(0, &format!(r#"{{"do":"nat-ask","ticket":4,"local":"{local}","server":"{at}","form":"rfc5780","timeoutMs":10,"tries":2}}"#));
    let silence = client.until_event("nat-silence");
    assert_eq!((silence["ticket"].as_u64(), silence["tries"].as_u64()), (Some(4), Some(2)));
}

#[test]
fn clients_are_admitted_by_a_relay_and_by_nobody_else() {
    let mut side = Side::new(r#"{"local":["127.0.0.1:0"]}"#);
    let admit = r#"{"do":"relay-admit","client":"127.0.0.1:9","forMs":60000}"#;
    side.order(0, admit);
    assert_eq!(side.until_event("relay-refused")["reason"], "off");
    let agent = side.address();
    side.order(0, &format!(r#"{{"do":"relay-serve","config":{{"agent":["{agent}"],"allow":[],"allowPrivate":true,"bytesPerSecond":1000000,"burstBytes":1000000}}}}"#));
    side.order(0, admit);
    assert_eq!(statistics(&mut side)["relay"]["registrations"], 1);
    side.order(0, r#"{"do":"relay-forget","client":"127.0.0.1:9"}"#);
    let told = statistics(&mut side);
    assert_eq!((&told["relay"]["registrations"], &told["relay"]["drops"]["loop"]), (&0.into(), &0.into()));
    side.order(0, r#"{"do":"relay-serve","config":null}"#);
    assert!(statistics(&mut side)["relay"].is_null());
}
