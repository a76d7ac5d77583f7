//! What the engine tells: `NativeEvent` and its parts, answers, traces.

use serde::Serialize;

use super::{JsonCode, PathUse, nat::{events::NatEvent, punch::PunchEvent}, plans::View};
use crate::error::NativeError;

/// Payload of an EVENT record.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Event {
    /// A newcomer: first record of its key.
    Connection { at_ms: f64, id: String, remote: String, local: String, server_name: Option<String>, attempt: Option<u64> },
    /// What a client's handshake did since the last time.
    Handshake { at_ms: f64, steps: Vec<Step> },
    /// The handshake waits for JavaScript's word on the peer: the order `verdict`.
    Verify { at_ms: f64, peer: Box<Peer>, server_name: Option<String>, default_error: Option<String> },
    /// The handshake is complete.
    Opened {
        at_ms: f64,
        id: String,
        remote: String,
        local: String,
        server_name: Option<String>,
        peer: Option<Peer>,
        info: Box<HandshakeInfo>,
        /// The ends of its protocol have parts to play.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        polarised: bool,
    },
    /// The handshake is confirmed.
    Confirmed { at_ms: f64 },
    /// Keys were updated.
    KeyUpdate { at_ms: f64 },
    /// The server gave tickets for later connections; they stay in this process.
    Tickets { at_ms: f64, count: u32 },
    /// What became of early data.
    Early {
        at_ms: f64,
        status: &'static str,
        alpn: Option<String>,
        server_name: Option<String>,
        /// As in `opened`.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        polarised: bool,
    },
    /// The server gave a token for a later connection, in hex.
    Token { at_ms: f64, bytes: String },
    /// A server may send before the handshake is complete.
    HalfRtt {
        at_ms: f64,
        alpn: Option<String>,
        server_name: Option<String>,
        /// As in `opened`.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        polarised: bool,
    },
    /// A path answered a ping.
    Pong { at_ms: f64, ticket: u64, path: u32, rtt_ms: f64 },
    /// A ping will not be answered.
    PingFailed { at_ms: f64, ticket: u64, error: NativeError },
    /// A scheduler of JavaScript's is asked: the order `plan`.
    Plan { at_ms: f64, view: View },
    /// What was negotiated.
    Multipath { at_ms: f64, mode: &'static str, reason: &'static str },
    /// A change of a path, with the facts after it.
    Path {
        at_ms: f64,
        path: u32,
        local: String,
        remote: String,
        interface: Option<String>,
        ticket: Option<u64>,
        facts: PathFacts,
        change: Option<PathChange>,
    },
    /// An opening path cannot go on yet.
    PathWaiting {
        at_ms: f64,
        path: u32,
        ticket: Option<u64>,
        #[serde(rename = "for")]
        waits_for: &'static str,
        reason: &'static str,
    },
    /// An opening path failed.
    PathFailed { at_ms: f64, ticket: u64, error: NativeError },
    /// What came of a `migrate-path`; the facts of the path came before.
    PathMigrated { at_ms: f64, ticket: u64, error: Option<NativeError> },
    /// The end: last record of its key.
    Closed { at_ms: f64, info: CloseInfo },
    /// A client wants in; JavaScript decides.
    Attempt { at_ms: f64, attempt: u64, remote: String, local: String, server_name: Option<String>, alpn: Vec<String>, validated: bool },
    /// An attempt is over without a connection.
    AttemptOver { at_ms: f64, attempt: u64 },
    /// A client was refused.
    Refused { at_ms: f64, remote: String, reason: &'static str },
    /// A client must prove its address.
    Retried { at_ms: f64, remote: String, reason: &'static str },
    /// A socket was bound.
    Bound { at_ms: f64, local: String, reason: &'static str },
    /// The kernel gave a smaller buffer than asked for.
    BufferClamped { at_ms: f64, local: String, wanted_bytes: usize, got_bytes: usize },
    /// The thread ends: last record of all.
    EndpointClosed { at_ms: f64, error: Option<NativeError> },
    /// What the endpoint learned of NATs.
    #[serde(untagged)]
    Nat(NatEvent),
    /// How a connection gets through NATs.
    #[serde(untagged)]
    Punch(PunchEvent),
}

/// Who the peer is.
#[derive(Debug, Serialize)]
pub struct Peer {
    /// Base64 of DER, leaf first.
    pub chain: Vec<String>,
    /// As openssl prints it.
    pub fingerprint: String,
    /// `sha256//BASE64` of the public key.
    pub pin: String,
    /// Names in the leaf.
    pub names: Vec<String>,
}

/// How the handshake went.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HandshakeInfo {
    pub ms: f64,
    pub alpn: String,
    pub cipher: &'static str,
    pub version: &'static str,
    pub resumed: bool,
    pub retry: bool,
    pub multipath: &'static str,
    pub mode: &'static str,
    pub winner: Winner,
    pub datagrams_sent: u64,
    pub datagrams_received: u64,
    pub coalesced: u64,
}

/// A step of a handshake with one of its address pairs.
#[derive(Debug, Serialize)]
pub struct Step {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub attempt: u8,
    pub local: String,
    pub remote: String,
    pub reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datagrams: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packets: Vec<&'static str>,
}

/// The address pair that carried the handshake.
#[derive(Debug, Serialize)]
pub struct Winner {
    pub local: String,
    pub remote: String,
}

/// Facts of a path.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PathFacts {
    pub state: &'static str,
    pub suspect: bool,
    pub status: PathUse,
    pub peer_status: &'static str,
    pub reason: &'static str,
    pub at_ms: f64,
}

/// What changed of a path.
#[derive(Debug, Default, Serialize)]
pub struct PathChange {
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'static str>,
    pub reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<PathUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu_bytes: Option<u16>,
}

/// How a connection ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CloseInfo {
    pub by: &'static str,
    pub layer: &'static str,
    pub error_code: JsonCode,
    pub code_name: String,
    pub reason: String,
    pub path: Option<u32>,
    /// None: an orderly end.
    pub error: Option<NativeError>,
}

/// Answer of the question `explain`.
#[derive(Debug, Serialize)]
pub struct Explanation {
    pub lines: Vec<String>,
    pub paths: Vec<PathExplanation>,
}

/// Why a path is silent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PathExplanation {
    pub id: u32,
    pub blocked: Vec<&'static str>,
    pub wake_at_ms: Option<f64>,
    pub timer: Option<&'static str>,
    pub reason: String,
}

/// Answer of the question `space`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Space {
    pub state: &'static str,
    pub largest_sent: Option<u64>,
    pub largest_acknowledged: Option<u64>,
    pub largest_received: Option<u64>,
    /// Highest first, `[low, high]`.
    pub received: Vec<(u64, u64)>,
}
