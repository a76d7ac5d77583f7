//! The qlog of real connections: every record is JSON of the schema, and it tells what the counters tell
//! (draft-ietf-quic-qlog-main-schema, draft-ietf-quic-qlog-quic-events; attacks R2, I12).

use std::collections::{BTreeMap, BTreeSet};

use qbase::{Direction, Role};
use qconnection::{Connection, RetryPolicy};
use qsim::{Failure, Host, Pair, PairConfig, Writes};
use serde_json::Value;

use crate::common;
use common::{FIRST, delay, ms, secs};

fn writing(config: PairConfig) -> PairConfig {
    PairConfig { qlog: Writes::Always, ..config }
}

/// A transfer over two paths that lose packets, both ways.
fn lossy(seed: u64) -> Result<Pair, Failure> {
    let links = vec![delay(10).at_rate(20_000_000).with_loss(0.03), delay(25).at_rate(20_000_000).with_loss(0.03)];
    let mut pair = Pair::new(writing(PairConfig::new(seed, links)))?;
    pair.client_mut().traffic_mut().send(Direction::Bidirectional, 400_000);
    pair.server_mut().traffic_mut().reply_with(200_000);
    pair.run_until_delivered(secs(60))?;
    pair.run_for(secs(1))?;
    Ok(pair)
}

/// The records of a host's only log: RFC 7464 framing, each one JSON.
fn records(host: &Host) -> Vec<Value> {
    let (_, text) = host.logs().first().expect("a log");
    assert_eq!(host.logs().len(), 1, "one connection, one log");
    assert_eq!(text.first(), Some(&0x1e));
    let texts = text.split(|byte| *byte == 0x1e).skip(1);
    texts.map(|text| {
        assert_eq!(text.last(), Some(&b'\n'), "a whole record");
        serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)))
    }).collect()
}

fn named<'a>(records: &'a [Value], name: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["name"] == name).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn first_record_is_the_header_of_a_sequence() -> Result<(), Failure> {
    let pair = lossy(1)?;
    let mut groups = BTreeSet::new();
    for role in [Role::Client, Role::Server] {
        let header = records(pair.host(role)).swap_remove(0);
        let side = if role.is_client() { "client" } else { "server" };
        assert_eq!(header["file_schema"], "urn:ietf:params:qlog:file:sequential");
        assert_eq!(header["serialization_format"], "application/qlog+json-seq");
        assert_eq!(header["trace"]["vantage_point"]["type"], side);
        assert_eq!(header["trace"]["event_schemas"][0], "urn:ietf:params:qlog:events:quic-13");
        assert_eq!(header["trace"]["common_fields"]["reference_time"]["wall_clock_time"], if role.is_client() { "2025-01-01T00:00:01.000Z" } else { "2025-01-01T00:00:01.010Z" });
        let group = header["trace"]["common_fields"]["group_id"].as_str().expect("text").to_owned();
        assert_eq!(pair.host(role).logs()[0].0, format!("{group}_{side}"));
        groups.insert(group);
    }
    assert_eq!(groups.len(), 1, "both ends name the connection alike");
    Ok(())
}

#[test]
fn every_event_has_the_fields_of_the_schema_and_times_never_run_back() -> Result<(), Failure> {
    for seed in 1..=3 {
        let pair = lossy(seed)?;
        for role in [Role::Client, Role::Server] {
            let records = records(pair.host(role));
            assert!(records.len() > 700, "a whole transfer");
            let mut last = 0.0;
            for record in &records[1..] {
                let time = record["time"].as_f64().expect("a time");
                assert!(time >= last, "{time} after {last}");
                last = time;
                check_event(record);
            }
        }
    }
    Ok(())
}

/// Required fields of the events we write, by the schema.
fn check_event(record: &Value) {
    let data = &record["data"];
    assert!(data.is_object(), "{record}");
    match record["name"].as_str().expect("a name") {
        "quic:packet_sent" | "quic:packet_received" => {
            check_header(&data["header"]);
            number(&data["raw"]["length"]);
            let frames = data["frames"].as_array().expect("frames");
            assert!(!frames.is_empty(), "{record}");
            frames.iter().for_each(check_frame);
        }
        "quic:packet_lost" => check_header(&data["header"]),
        "quic:packet_dropped" | "quic:packet_buffered" => assert!(data["trigger"].is_string()),
        "quic:connection_started" => assert!(data["local"].is_object() && data["remote"]["port_v4"].is_u64(), "{record}"),
        "quic:connection_id_updated" => assert!(data["initiator"].is_string() && data["new"].is_string()),
        "quic:connection_state_updated" | "quic:congestion_state_updated" | "quic:migration_state_updated" | "quic:ecn_state_updated" => {
            assert!(data["new"].is_string(), "{record}");
        }
        "quic:mtu_updated" => assert!(number(&data["new"]) >= 1_200),
        "quic:tuple_assigned" => assert!(data["tuple_id"].is_string()),
        "quic:key_updated" | "quic:key_discarded" => assert!(data["key_type"].as_str().is_some_and(|key| key.ends_with("_secret"))),
        "quic:timer_updated" => assert!(["set", "expired", "cancelled"].contains(&data["event_type"].as_str().expect("text"))),
        "quic:recovery_parameters_set" => assert_eq!(number(&data["timer_granularity"]), 1),
        "quic:recovery_metrics_updated" => assert!(!data.as_object().expect("object").is_empty(), "something changed"),
        "quic:version_information" => assert!(data["chosen_version"] == "00000001" && data.as_object().expect("object").len() == 2, "{record}"),
        "quic:parameters_set" | "quic:alpn_information" | "quic:connection_closed" | "loglevel:info" => {}
        other => panic!("{other} is not among our events"),
    }
}

fn check_header(header: &Value) {
    let kind = header["packet_type"].as_str().expect("a packet type");
    assert!(["initial", "handshake", "1RTT", "retry"].contains(&kind), "{kind}");
    if kind != "retry" {
        number(&header["packet_number"]);
    }
}

fn check_frame(frame: &Value) {
    number(&frame["raw"]["length"]);
    let numbers: &[&str] = match frame["frame_type"].as_str().expect("a frame type") {
        "stream" => &["stream_id", "offset"],
        "crypto" => &["offset"],
        "ack" | "path_ack" => {
            let ranges = frame["acked_ranges"].as_array().expect("ranges");
            assert!(ranges.iter().all(|range| range.as_array().is_some_and(|range| (1..=2).contains(&range.len()))), "{frame}");
            assert!(frame["ack_delay"].is_number() && (frame["frame_type"] == "ack" || frame["path_id"].is_u64()));
            &[]
        }
        "max_data" | "max_streams" | "max_path_id" => &["maximum"],
        "ack_frequency" => &["sequence_number", "ack_eliciting_threshold", "requested_max_ack_delay", "reordering_threshold"],
        "max_stream_data" => &["stream_id", "maximum"],
        "new_connection_id" | "path_new_connection_id" => &["sequence_number", "retire_prior_to"],
        "unknown" => panic!("{frame}"),
        _ => &[],
    };
    numbers.iter().for_each(|name| assert!(frame[*name].is_u64(), "{name} of {frame}"));
}

/// Numbers of the packets in these events, by path and type.
fn numbers(events: &[&Value]) -> BTreeMap<(u64, String), Vec<u64>> {
    let mut numbers: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in events {
        let header = &event["data"]["header"];
        let kind = header["packet_type"].as_str().expect("text").to_owned();
        numbers.entry((number(&event["path_id"]), kind)).or_default().push(number(&header["packet_number"]));
    }
    numbers
}

#[test]
fn every_sent_packet_stands_once_in_the_log_with_its_size() -> Result<(), Failure> {
    let pair = lossy(1)?;
    for role in [Role::Client, Role::Server] {
        let records = records(pair.host(role));
        let statistics = pair.host(role).connection().map(Connection::statistics).expect("alive");
        let sent = named(&records, "quic:packet_sent");
        assert_eq!(sent.len() as u64, statistics.packets_sent);
        let by_space = numbers(&sent);
        assert!(by_space.contains_key(&(0, "1RTT".to_owned())) && by_space.contains_key(&(1, "1RTT".to_owned())), "two paths");
        for (space, numbers) in by_space {
            assert!(numbers.is_sorted_by(|one, next| one < next), "{space:?}: {numbers:?}");
        }
        let bytes: u64 = sent.iter().map(|event| number(&event["data"]["raw"]["length"])).sum();
        assert_eq!(bytes, statistics.bytes_sent, "sizes add up");
        let received = named(&records, "quic:packet_received");
        assert_eq!(received.len() as u64, statistics.packets_received);
        let bytes: u64 = received.iter().map(|event| number(&event["data"]["raw"]["length"])).sum();
        assert_eq!(bytes, statistics.bytes_received);
        let lost = named(&records, "quic:packet_lost");
        let probes = lost.iter().filter(|event| event["data"]["is_mtu_probe_packet"] == true).count();
        assert_eq!((lost.len() - probes) as u64, statistics.packets_lost);
        assert!(statistics.packets_lost > 0, "the links lose packets");
    }
    Ok(())
}

#[test]
fn what_one_end_received_the_other_has_sent() -> Result<(), Failure> {
    let pair = lossy(2)?;
    let (client, server) = (records(pair.client()), records(pair.server()));
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (sent, received) = (named(from, "quic:packet_sent"), named(to, "quic:packet_received"));
        let key = |event: &Value| {
            let header = &event["data"]["header"];
            (number(&event["path_id"]), header["packet_type"].to_string(), number(&header["packet_number"]))
        };
        let sent: BTreeMap<_, _> = sent.into_iter().map(|event| (key(event), &event["data"])).collect();
        for event in received {
            let sent = sent[&key(event)];
            assert_eq!(sent["frames"], event["data"]["frames"]);
            assert_eq!((&sent["raw"], &sent["header"]["dcid"]), (&event["data"]["raw"], &event["data"]["header"]["dcid"]));
            if event["data"]["trigger"].is_null() {
                assert_eq!(sent["datagram_payload_checksum"], event["data"]["datagram_payload_checksum"], "in the same datagram");
            }
        }
    }
    Ok(())
}

#[test]
fn every_path_has_its_own_metrics() -> Result<(), Failure> {
    let pair = lossy(1)?;
    let records = records(pair.client());
    for (path, least) in [(0, 20.0), (1, 50.0)] {
        let of_path: Vec<_> = named(&records, "quic:recovery_metrics_updated").into_iter().filter(|event| event["path_id"] == path).collect();
        let rtt = of_path.iter().filter_map(|event| event["data"]["min_rtt"].as_f64()).next_back().expect("an RTT");
        assert!(rtt >= least && rtt < least + 10.0, "path {path}: {rtt} ms");
        assert!(of_path.iter().any(|event| event["data"]["congestion_window"].is_u64()));
        let tuples = named(&records, "quic:tuple_assigned");
        let tuple = tuples.iter().find(|event| event["path_id"] == path).expect("assigned");
        assert_eq!(tuple["data"]["tuple_remote"]["ip_v4"], format!("10.0.{}.2", path + 1));
    }
    Ok(())
}

/// Event names of a log, runs of the same name as one, without what depends on the order of timers.
fn story(host: &Host) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for record in records(host).into_iter().skip(1) {
        let data = &record["data"];
        let name = record["name"].as_str().expect("text").split_once(':').expect("a namespace").1.to_owned();
        let word = match name.as_str() {
            "timer_updated" | "recovery_metrics_updated" => continue,
            "packet_sent" | "packet_received" => format!("{name} {}", data["header"]["packet_type"].as_str().expect("text")),
            "connection_state_updated" | "congestion_state_updated" | "ecn_state_updated" => format!("{name} {}", data["new"].as_str().expect("text")),
            "key_updated" | "key_discarded" => format!("{name} {}", data["key_type"].as_str().expect("text")),
            _ => name,
        };
        if names.last() != Some(&word) {
            names.push(word);
        }
    }
    names
}

#[test]
fn a_handshake_reads_as_a_story() -> Result<(), Failure> {
    let config = PairConfig::new(1, vec![delay(10)]);
    let off = |transport| qconnection::TransportConfig { max_mtu: 1_200, ecn: false, ..transport };
    let (client, server) = (off(config.client.clone()), off(config.server.clone()));
    let mut pair = Pair::new(writing(PairConfig { client, server, ..config }))?;
    pair.run_until_confirmed(secs(1))?;
    let (client, server) = (story(pair.client()), story(pair.server()));
    assert_eq!((client.as_slice(), server.as_slice()), (CLIENT_STORY.map(str::to_owned).as_slice(), SERVER_STORY.map(str::to_owned).as_slice()), "{client:#?} {server:#?}");
    Ok(())
}

const CLIENT_STORY: [&str; 32] = [
    "connection_started",
    "parameters_set",
    "recovery_parameters_set",
    "version_information",
    "key_updated client_initial_secret",
    "key_updated server_initial_secret",
    "tuple_assigned",
    "ecn_state_updated failed",
    "congestion_state_updated slow_start",
    "connection_state_updated attempted",
    "packet_sent initial",
    "packet_received initial",
    "key_updated client_handshake_secret",
    "key_updated server_handshake_secret",
    "connection_id_updated",
    "connection_state_updated handshake_started",
    "packet_received handshake",
    "key_updated client_1rtt_secret",
    "key_updated server_1rtt_secret",
    "parameters_set",
    "alpn_information",
    "parameters_set",
    "connection_state_updated handshake_complete",
    "packet_sent initial",
    "packet_sent handshake",
    "packet_sent 1RTT",
    "key_discarded client_initial_secret",
    "key_discarded server_initial_secret",
    "packet_received 1RTT",
    "key_discarded client_handshake_secret",
    "key_discarded server_handshake_secret",
    "connection_state_updated handshake_confirmed",
];

const SERVER_STORY: [&str; 32] = [
    "connection_started",
    "parameters_set",
    "recovery_parameters_set",
    "version_information",
    "key_updated client_initial_secret",
    "key_updated server_initial_secret",
    "tuple_assigned",
    "ecn_state_updated failed",
    "congestion_state_updated slow_start",
    "connection_state_updated attempted",
    "packet_received initial",
    "key_updated client_handshake_secret",
    "key_updated server_handshake_secret",
    "key_updated client_1rtt_secret",
    "key_updated server_1rtt_secret",
    "parameters_set",
    "connection_id_updated",
    "connection_state_updated handshake_started",
    "packet_sent initial",
    "packet_sent handshake",
    "packet_received initial",
    "packet_received handshake",
    "key_discarded client_initial_secret",
    "key_discarded server_initial_secret",
    "key_discarded client_handshake_secret",
    "key_discarded server_handshake_secret",
    "alpn_information",
    "parameters_set",
    "connection_state_updated handshake_complete",
    "connection_state_updated handshake_confirmed",
    "packet_received 1RTT",
    "packet_sent 1RTT",
];

#[test]
fn a_retry_stands_in_the_log_of_the_client_and_in_the_ids_of_both() -> Result<(), Failure> {
    let mut pair = Pair::new(writing(PairConfig { retry: RetryPolicy::Always, ..PairConfig::new(1, vec![delay(10)]) }))?;
    pair.run_until_confirmed(secs(1))?;
    let (client, server) = (records(pair.client()), records(pair.server()));
    for records in [&client, &server] {
        records[1..].iter().for_each(check_event_of_retry);
    }
    let retry = named(&client, "quic:packet_received")[0];
    assert_eq!(retry["data"]["header"]["packet_type"], "retry");
    let token = number(&retry["data"]["header"]["token"]["raw"]["length"]);
    let initials: Vec<_> = named(&client, "quic:packet_sent").into_iter().filter(|event| event["data"]["header"]["packet_type"] == "initial").collect();
    assert!(initials[0]["data"]["header"]["token"].is_null());
    let again = initials.iter().find(|event| !event["data"]["header"]["token"].is_null()).expect("a second Initial");
    assert_eq!(number(&again["data"]["header"]["token"]["raw"]["length"]), token);
    assert_eq!(again["data"]["header"]["dcid"], retry["data"]["header"]["scid"]);
    let group = &client[0]["trace"]["common_fields"]["group_id"];
    assert_eq!(group, &initials[0]["data"]["header"]["dcid"]);
    assert_eq!(group, &server[0]["trace"]["common_fields"]["group_id"], "the id of the client's first Initial names both logs");
    let numbers = numbers(&named(&client, "quic:packet_sent"));
    assert!(numbers.values().all(|numbers| numbers.is_sorted_by(|one, next| one < next)), "{numbers:?}");
    Ok(())
}

/// A Retry has neither number nor frames.
fn check_event_of_retry(record: &Value) {
    if record["data"]["header"]["packet_type"] == "retry" {
        assert!(record["data"]["frames"].is_null());
    } else {
        check_event(record);
    }
}

#[test]
fn a_close_is_the_end_of_both_logs() -> Result<(), Failure> {
    let mut pair = Pair::new(writing(PairConfig::new(1, vec![delay(10)])))?;
    pair.run_until_confirmed(secs(1))?;
    let now = pair.now();
    pair.client_mut().connection_mut().expect("alive").close(now, 7, b"enough");
    pair.run_for(secs(10))?;
    for (role, initiator) in [(Role::Client, "local"), (Role::Server, "remote")] {
        let records = records(pair.host(role));
        let closed = named(&records, "quic:connection_closed");
        assert_eq!(closed.len(), 1);
        let data = &closed[0]["data"];
        assert_eq!((&data["initiator"], &data["error_code"], &data["reason"]), (&initiator.into(), &7.into(), &"enough".into()));
        let states = named(&records, "quic:connection_state_updated");
        assert_eq!(states.last().expect("a state")["data"]["new"], "closed", "the log outlives the connection");
        assert!(pair.host(role).connection().is_none());
        let name = if role.is_client() { "quic:packet_sent" } else { "quic:packet_received" };
        let closing = |event: &Value| event["data"]["frames"].as_array().is_some_and(|frames| frames.iter().any(|frame| frame["frame_type"] == "connection_close"));
        let closes = named(&records, name).into_iter().filter(|event| closing(event)).count();
        assert!(closes >= 1, "the frame itself");
    }
    Ok(())
}

#[test]
fn a_log_changes_nothing_on_the_wire() -> Result<(), Failure> {
    let run = |qlog| -> Result<_, Failure> {
        let links = vec![delay(10).at_rate(20_000_000).with_loss(0.03), delay(25).at_rate(20_000_000)];
        let mut pair = Pair::new(PairConfig { qlog, ..PairConfig::new(7, links) })?;
        pair.client_mut().traffic_mut().send(Direction::Bidirectional, 100_000);
        pair.run_until(|pair| pair.server().traffic().received() > 30_000, secs(60))?;
        pair.cut(FIRST);
        pair.run_until_delivered(secs(60))?;
        pair.run_for(ms(100))?;
        Ok((pair.trace_hash(), pair.client().logs().to_vec()))
    };
    let ((quiet, _), (one, logs), (two, same)) = (run(Writes::Asked)?, run(Writes::Always)?, run(Writes::Always)?);
    assert_eq!(quiet, one);
    assert_eq!((one, &logs), (two, &same), "one seed, one log");
    assert!(!logs.is_empty());
    Ok(())
}
