//! What a detection is told: servers, their form, patience.

use std::net::SocketAddr;

use crate::stun::{Form, Patience};

/// What to detect with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// One to three servers. dquic's chain is followed by itself, and so are the other sockets of an RFC 5780 server.
    pub servers: Vec<SocketAddr>,
    /// How they speak.
    pub form: Form,
    /// The socket's own address, where it is not bound to a wildcard.
    pub local: Option<SocketAddr>,
    /// Patience for "does anybody answer".
    pub mapping: Patience,
    /// Patience for answers that a filter may stop: silence is a result, so it is asked often enough that loss is not one.
    pub filter: Patience,
    /// Fresh sockets for the filter, the allocation of ports and hairpins, 1 ..= 6; below 2 no hairpin is tried.
    pub fresh_sockets: u8,
}

impl ProbeConfig {
    /// All tests, with servers of this form.
    #[must_use]
    pub const fn new(servers: Vec<SocketAddr>, form: Form, local: Option<SocketAddr>) -> Self {
        let mapping = Patience::MAPPING;
        let filter = Patience::FILTER;
        Self { servers, form, local, mapping, filter, fresh_sockets: MAX_FRESH }
    }
}

/// Most fresh sockets of one detection.
pub(super) const MAX_FRESH: u8 = 6;
