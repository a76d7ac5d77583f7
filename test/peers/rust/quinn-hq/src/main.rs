//! Client and server of the quic-interop-runner over quinn.
//!
//! Told by environment variables, as `quicbraid interop` is (docs/interop.md). Exit 127: quinn does not have the case.

mod client;
mod environment;
mod server;
mod tls;

use std::{error::Error, process::ExitCode};

use environment::{Environment, Role};

/// What can go wrong, in words.
type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// The exit code for cases that are not there.
const UNSUPPORTED: u8 = 127;

/// Version 2, choosing a first version and following a preferred address are not in quinn.
const CLIENT_LACKS: [&str; 2] = ["v2", "versionnegotiation"];
const SERVER_LACKS: [&str; 1] = ["v2"];

const CASES: [&str; 25] = [
    "handshake",
    "transfer",
    "multiconnect",
    "versionnegotiation",
    "longrtt",
    "chacha20",
    "multiplexing",
    "retry",
    "resumption",
    "zerortt",
    "blackhole",
    "keyupdate",
    "ecn",
    "amplificationlimit",
    "handshakeloss",
    "transferloss",
    "handshakecorruption",
    "transfercorruption",
    "ipv6",
    "v2",
    "rebind-port",
    "rebind-addr",
    "connectionmigration",
    "goodput",
    "crosstraffic",
];

fn main() -> ExitCode {
    let environment = match Environment::read() {
        Ok(environment) => environment,
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::FAILURE;
        }
    };
    let case = environment.case.as_str();
    let lacks: &[&str] = match environment.role {
        Role::Client => &CLIENT_LACKS,
        Role::Server => &SERVER_LACKS,
    };
    if lacks.contains(&case) || !CASES.contains(&case) {
        eprintln!("case {case} is not supported");
        return ExitCode::from(UNSUPPORTED);
    }
    let outcome = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Into::into).and_then(
        |runtime| match environment.role {
            Role::Client => runtime.block_on(client::run(&environment)),
            Role::Server => runtime.block_on(server::run(environment)),
        },
    );
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
