//! Packets through a relay: ours against a forwarder that looks at nothing.
//!
//! ```text
//! relay
//! forwarder
//! load --case trains|singles --connect ADDR --seconds S
//! ```
//! Relay and forwarder print their address, work until their stdin ends and print their report; the load prints its own. The
//! receiver makes itself known by a STUN request and repeats it each second: a relay's client does so. Ours answers by
//! its rules and finds the way by the forward header of every datagram; the forwarder sends such a request back and everything
//! else to who sent the last one.

mod channel;
mod forwarder;
mod load;
mod relay;

use std::process::ExitCode;

use bench_common::report;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let outcome = match arguments.next().as_deref() {
        Some("relay") => relay::serve(),
        Some("forwarder") => forwarder::serve().map_err(|error| error.to_string()),
        Some("load") => load::Options::parse(arguments).and_then(|options| load::run(&options).map_err(|error| error.to_string())),
        _ => {
            eprintln!("relay, forwarder or load");
            return ExitCode::from(2);
        }
    };
    report::finish(outcome)
}
