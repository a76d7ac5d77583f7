//! The real machine on real sockets: bytes arrive whole, with and without GSO, over one path and several.

use std::net::SocketAddr;

use qconnection::{connection::events::ClosedBy, path::EcnState};

use crate::common::{self, Plan, run};

#[test]
fn a_transfer_over_loopback_arrives_whole() {
    let outcome = run(&Plan::new(vec![8 << 20]));
    assert_eq!(outcome.received, 8 << 20);
    assert_eq!((outcome.closed.by, outcome.closed.code), (ClosedBy::Peer, 7));
    assert!(outcome.client.datagrams_sent > 3 * outcome.client.send_calls, "bursts: {:?}", outcome.client);
    #[cfg(target_os = "linux")]
    assert!(outcome.server.datagrams_received > 2 * outcome.server.messages_received, "trains: {:?}", outcome.server);
}

#[test]
fn a_transfer_without_gso_arrives_whole() {
    let outcome = run(&Plan { max_segments: 1, ..Plan::new(vec![2 << 20]) });
    assert_eq!(outcome.received, 2 << 20);
    assert!(outcome.client.datagrams_sent > 3 * outcome.client.send_calls, "bursts, split by us: {:?}", outcome.client);
}

#[test]
fn marks_pass_through_real_sockets_with_and_without_gso() {
    for max_segments in [64, 1] {
        let outcome = run(&Plan { max_segments, ..Plan::new(vec![1 << 20]) });
        assert_eq!(outcome.paths[0].ecn, EcnState::Capable, "{max_segments} segments");
    }
}

#[test]
fn many_streams_arrive_whole() {
    let outcome = run(&Plan::new((0..100).map(|index| index * 1_000).collect()));
    assert_eq!(outcome.received, (0..100).map(|index| index * 1_000).sum::<u64>());
}

#[test]
fn a_transfer_over_ipv6_arrives_whole() {
    let any: SocketAddr = "[::1]:0".parse().expect("address");
    let outcome = run(&Plan { client: vec![any], server: any, ..Plan::new(vec![1 << 20]) });
    assert_eq!(outcome.received, 1 << 20);
}

#[test]
fn a_server_on_a_wildcard_socket_answers_from_the_address_it_was_asked_at() {
    let plan = Plan { server: "0.0.0.0:0".parse().expect("address"), ..Plan::new(vec![1 << 20]) };
    let (identity, roots) = common::certificate();
    let (server, heard) = common::start_server(&plan, identity);
    let asked = SocketAddr::from(([127, 0, 0, 5], server.sockets()[0].local.port()));
    let plan = Plan { via: vec![Some(asked)], ..plan };
    let outcome = common::run_client(&plan, &server, roots, &heard);
    assert_eq!(outcome.received, 1 << 20);
    assert_eq!(outcome.paths[0].four_tuple.remote, asked);
}

#[test]
fn two_sockets_make_two_paths() {
    let client = vec![SocketAddr::from(([127, 0, 0, 1], 0)), SocketAddr::from(([127, 0, 0, 2], 0))];
    let outcome = run(&Plan { client, via: vec![None, None], ..Plan::new(vec![8 << 20]) });
    assert_eq!(outcome.received, 8 << 20);
    assert_eq!(outcome.paths.len(), 2, "{:?}", outcome.paths);
}
