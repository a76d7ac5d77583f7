//! What a pair is made of, and what it is when nothing is said.
//!
//! Called by the tests that build one.

use std::time::Duration;

use bytes::Bytes;
use qbase::version;
use qconnection::{RetryPolicy, SendLimits, TransportConfig};

use super::TlsSetup;
use crate::{host::Writes, link::LinkShape};

/// A world with two hosts.
#[derive(Clone, Debug)]
pub struct PairConfig {
    /// Where everything random comes from.
    pub seed: u64,
    /// One link each, both ways alike.
    pub links: Vec<LinkShape>,
    /// Transport settings of the client.
    pub client: TransportConfig,
    /// Transport settings of the server.
    pub server: TransportConfig,
    /// What the sockets of both hosts take in one call.
    pub limits: SendLimits,
    /// Which links the client uses by itself.
    pub paths: Paths,
    /// When the server asks for a Retry.
    pub retry: RetryPolicy,
    /// Versions of the client, the first in its first Initial.
    pub client_versions: Vec<u32>,
    /// Version of the client's first Initial; `None`: the first of its versions.
    pub first_version: Option<u32>,
    /// Versions of the server, the preferred one first.
    pub server_versions: Vec<u32>,
    /// The client's token of an earlier connection.
    pub token: Option<Bytes>,
    /// What is asked of TLS.
    pub tls: TlsSetup,
    /// The protocol has parts, and this is the code for streams of the wrong way; `None`: it is an ordinary one.
    pub wrong_way: Option<u64>,
    /// Whether both ends write qlogs.
    pub qlog: Writes,
}

/// Which links the client uses by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paths {
    /// The first; the test opens others.
    First,
    /// All: the first for the handshake, the others as soon as the machine allows.
    #[default]
    All,
}

impl Default for PairConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            links: vec![LinkShape::delayed(Duration::from_millis(10))],
            client: TransportConfig::default(),
            server: TransportConfig::default(),
            limits: SendLimits::default(),
            paths: Paths::default(),
            retry: RetryPolicy::default(),
            client_versions: version::SPOKEN.to_vec(),
            first_version: None,
            server_versions: version::SPOKEN.to_vec(),
            token: None,
            tls: TlsSetup::default(),
            wrong_way: None,
            qlog: Writes::default(),
        }
    }
}

impl PairConfig {
    /// Default settings over these links.
    #[must_use]
    pub fn new(seed: u64, links: Vec<LinkShape>) -> Self {
        Self { seed, links, ..Self::default() }
    }
}
