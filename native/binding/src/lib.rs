//! The native module of the npm package: conversions between Node and the core (docs/design/ring).
//!
//! | file | has |
//! |---|---|
//! | `endpoint` | the half of an endpoint on the JavaScript thread |
//! | `engine/` | the half on the I/O thread: commands in, records out |
//! | `queue/`, `link` | what both share |
//! | `wake` | calling JavaScript from the I/O thread |
//! | `options/`, `messages/` | JSON of what is rare |
//! | `stats` | numbers that are read without asking |
//! | `relay`, `certificate` | the link emulator, certificates for development |
//! | `sim/` | endpoints without threads in simulated worlds |
//! | `carrier/` | endpoints without threads over carriers of JavaScript's |
//! | `memory`, `tcp` | arrays and TCP connections of JavaScript |
//! | `error`, `failures` | errors as they cross |
//!
//! Decides nothing about QUIC: that is `qconnection`'s part. Loaded once per Node environment; nothing here is global.

mod carrier;
mod certificate;
mod endpoint;
mod engine;
mod error;
mod failures;
mod link;
mod lock;
mod memory;
mod messages;
mod options;
mod queue;
mod relay;
mod sim;
mod stats;
mod tcp;
mod wake;

use napi::{
    Env,
    bindgen_prelude::{External, Function},
};
use napi_derive::napi;

use self::{carrier::NativeCarrier, endpoint::NativeEndpoint, error::guarded, relay::RelayHandle, sim::NativeWorld};

/// Number of the contract in `src/binding/native.ts`.
const CONTRACT: u32 = 1;

/// What this build can do beyond the base, in the words of the option table.
const FEATURES: [&str; 57] = [
    "verify", "admit", "ping", "spin", "greaseQuicBit", "disableActiveMigration", "hystart", "newTokens", "halfRttData",
    "priority", "scheduler.redundant", "failover", "clientAuth", "reusePort", "secret", "memory", "keylog", "maxConnections", "retry", "versions",
    "firstVersion", "datagrams", "sni", "sessions", "earlyData", "qlog", "ackFrequency", "handshake.race", "handshake.shared",
    "handshake.independent", "multiAddressHandshake", "interface", "preferredAddress", "migrate",
    "scheduler.backup", "scheduler.blest", "scheduler.ecf", "scheduler.deadline", "scheduler.weighted", "scheduler.plan", "pins",
    "congestion.lia", "congestion.olia", "congestion.balia", "ackPath", "sharedSpace", "raw", "carrier", "blockList", "serverId", "connectionIdBytes", "nat", "traversal", "traversal.allow", "relay",
    "reverse", "acknowledged",
];

/// The contract this build answers.
#[napi]
pub fn contract() -> u32 {
    CONTRACT
}

/// Names of what this build can do beyond the base.
#[napi]
pub fn features() -> Vec<&'static str> {
    // Descriptors that are numbers of files.
    FEATURES.iter().copied().chain(cfg!(unix).then_some("splice")).collect()
}

/// Binds the sockets and starts the I/O thread.
#[napi]
pub fn create_endpoint(env: Env, options: String, wake: Function<'_, (), ()>) -> napi::Result<NativeEndpoint> {
    NativeEndpoint::create(env, &options, &wake)
}

/// A world of simulated hosts.
#[napi]
pub fn create_world(options: String) -> napi::Result<NativeWorld> {
    NativeWorld::create(&options)
}

/// A carrier of datagrams in JavaScript's hands.
#[napi]
pub fn create_carrier(options: String) -> napi::Result<NativeCarrier> {
    NativeCarrier::create(&options)
}

/// A self-signed certificate for development.
#[napi]
pub fn create_dev_certificate(options: String) -> napi::Result<String> {
    guarded(|| certificate::create(&options))
}

/// Starts the link emulator.
#[napi]
pub fn relay_start(options: String) -> napi::Result<External<RelayHandle>> {
    guarded(|| RelayHandle::start(&options).map(External::new))
}

/// Cuts or mends a link.
#[napi]
pub fn relay_command(relay: &External<RelayHandle>, command: String) -> napi::Result<()> {
    guarded(|| relay.command(&command))
}

/// What went through the links.
#[napi]
pub fn relay_statistics(relay: &External<RelayHandle>) -> napi::Result<String> {
    guarded(|| relay.statistics())
}

/// Ends the link emulator.
#[napi]
pub fn relay_stop(relay: &External<RelayHandle>) -> napi::Result<()> {
    guarded(|| {
        relay.stop();
        Ok(())
    })
}
