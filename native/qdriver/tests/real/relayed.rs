//! The real machine over links of the relay: losses, two paths, a cut in the middle of a transfer.

use std::{net::SocketAddr, time::Duration};

use qdriver::relay::{Act, Counted, LineConfig, LinkConfig, Relay, RelayConfig, Script, Step};

use crate::common::{self, Outcome, Plan};

const MEGABYTE: usize = 1 << 20;

#[test]
fn a_transfer_over_a_lossy_slow_link_arrives_whole() {
    let line = LineConfig {
        bits_per_second: Some(50_000_000),
        delay: Duration::from_millis(2),
        loss: 0.01,
        ..LineConfig::default()
    };
    let (outcome, relay) = run_over(vec![line], Script::default(), 2 * MEGABYTE);
    assert_eq!(outcome.received, 2 * MEGABYTE as u64);
    assert!(relay.counters(0).up.lost > 0);
}

#[test]
fn a_transfer_survives_the_cut_of_one_of_two_links() {
    let line = LineConfig {
        bits_per_second: Some(80_000_000),
        delay: Duration::from_millis(5),
        ..LineConfig::default()
    };
    let cut = Step { at_bytes: 3 * MEGABYTE as u64, link: 0, act: Act::Cut };
    let script = Script { counted: Counted::Up, steps: vec![cut] };
    let (outcome, relay) = run_over(vec![line; 2], script, 8 * MEGABYTE);
    assert_eq!(outcome.received, 8 * MEGABYTE as u64);
    assert!(relay.is_cut(0));
    assert!(relay.counters(1).up.bytes_out > 4 * MEGABYTE as u64, "{:?}", relay.counters(1));
}

/// Sends `bytes` from a client with one path per link to a server behind all of them.
fn run_over(lines: Vec<LineConfig>, script: Script, bytes: usize) -> (Outcome, Relay) {
    let plan = Plan::new(vec![bytes]);
    let (identity, roots) = common::certificate();
    let (server, heard) = common::start_server(&plan, identity);
    let target = server.sockets()[0].local;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let links = lines.iter().map(|line| LinkConfig::new(any, target).with_lines(*line)).collect();
    let relay = Relay::spawn(RelayConfig { script, ..RelayConfig::new(links) }).expect("relay");
    let via = relay.links().iter().map(|link| Some(link.listen)).collect();
    let plan = Plan { client: vec![any; lines.len()], via, ..plan };
    (common::run_client(&plan, &server, roots, &heard), relay)
}
