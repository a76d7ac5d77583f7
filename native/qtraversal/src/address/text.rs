//! The written form of endpoints: `ip:port`, or `agent-outer` (traversal T-1).
//!
//! Called where people configure and read addresses. Never resolves names; whether an address can be used is asked elsewhere.

use std::{fmt, net::SocketAddr, str::FromStr};

use super::{Endpoint, Pathway};

/// Not an endpoint's written form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address `ip:port` or a pair `agent-outer` of two")]
pub struct ParseError;

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(address) => address.fmt(f),
            Self::Agent { agent, outer } => write!(f, "{agent}-{outer}"),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Endpoint {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let address = |text: &str| text.parse::<SocketAddr>().map_err(|_| ParseError);
        match text.split_once('-') {
            None => Ok(Self::Direct(address(text)?)),
            Some((agent, outer)) => Ok(Self::Agent { agent: address(agent)?, outer: address(outer)? }),
        }
    }
}

impl fmt::Debug for Pathway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} => {}", self.local, self.remote)
    }
}
