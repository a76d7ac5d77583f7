//! Addresses of an endpoint that has no sockets: names for its ends, which the carrier gives a meaning.
//!
//! Called by the engine through `qdriver`'s `Io`, as the kernel is on the I/O thread. Decides which address an end has that
//! was given none: the carrier's own, or for the other family one that no network routes (RFC 6666, RFC 7600).

use std::{
    collections::VecDeque,
    io::{Error, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use qbase::Timestamp;
use qconnection::Endpoint as Machine;
use qdriver::{
    drive::{Outside, RawError, RawTransmit, SocketFacts},
    socket::{Batching, BindError, BufferSizes, SocketConfig, Stop, bind::Step},
};

/// Our IPv6 address if nobody names one: the discard-only prefix of RFC 6666.
const OWN_V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1)), 1);
/// Our IPv4 address if nobody names one: the dummy address of RFC 7600.
const OWN_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8)), 1);
/// The first port of an address that was named without one.
const FIRST_PORT: u16 = 49_152;
/// Raw datagrams that wait for the carrier (attacks R2); more are refused, as by a full socket.
const RAW_WAITING: usize = 256;

/// What an endpoint over a carrier calls its sockets.
#[derive(Debug)]
pub struct Ports {
    v4: SocketAddr,
    v6: SocketAddr,
    bound: Vec<SocketFacts>,
    raw: VecDeque<RawOut>,
}

/// A datagram that is no QUIC, on its way out.
#[derive(Debug)]
pub struct RawOut {
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Its payload.
    pub bytes: Box<[u8]>,
}

impl Ports {
    /// With this address for datagrams that name none; none: one of each family that no network routes.
    #[must_use]
    pub fn new(local: Option<SocketAddr>) -> Self {
        let own = |default: SocketAddr| local.filter(|local| local.is_ipv4() == default.is_ipv4()).unwrap_or(default);
        let (v4, v6) = (own(OWN_V4), own(OWN_V6));
        let bound = local.map_or_else(|| vec![facts(v6), facts(v4)], |local| vec![facts(local)]);
        Self { v4, v6, bound, raw: VecDeque::new() }
    }

    /// Our address towards a remote, if nobody names one.
    #[must_use]
    pub const fn own(&self, remote: SocketAddr) -> SocketAddr {
        if remote.is_ipv4() { self.v4 } else { self.v6 }
    }

    /// Addresses by name, for people.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.bound.iter().map(|facts| facts.local.to_string()).collect()
    }

    /// The next raw datagram that waits.
    pub fn take_raw(&mut self) -> Option<RawOut> {
        self.raw.pop_front()
    }

    /// A raw datagram waits.
    #[must_use]
    pub fn has_raw(&self) -> bool {
        !self.raw.is_empty()
    }

    /// The whole address behind one whose IP or port may be left open.
    fn complete(&self, wanted: SocketAddr) -> Option<SocketAddr> {
        let own = self.own(wanted);
        let ip = if wanted.ip().is_unspecified() { own.ip() } else { wanted.ip() };
        if wanted.port() != 0 {
            return Some(SocketAddr::new(ip, wanted.port()));
        }
        if ip == own.ip() {
            return Some(own);
        }
        let mut free = (FIRST_PORT..=u16::MAX).map(|port| SocketAddr::new(ip, port));
        free.find(|address| self.bound.iter().all(|facts| facts.local != *address))
    }
}

const fn facts(local: SocketAddr) -> SocketFacts {
    let none = BufferSizes { send: 0, receive: 0 };
    SocketFacts { local, interface: None, wanted: none, granted: none, batching: Batching::Gso }
}

impl Outside<Machine> for Ports {
    /// Any address can be had: it is a name.
    fn bind(&mut self, config: &SocketConfig) -> Result<SocketFacts, BindError> {
        let refuse = |step, kind: ErrorKind| BindError { step, address: config.address, interface: config.interface.clone(), source: Error::from(kind) };
        if config.interface.is_some() {
            return Err(refuse(Step::Interface, ErrorKind::Unsupported));
        }
        let address = self.complete(config.address).ok_or_else(|| refuse(Step::Bind, ErrorKind::AddrInUse))?;
        let facts = facts(address);
        if self.bound.iter().all(|bound| bound.local != address) {
            self.bound.push(facts.clone());
        }
        Ok(facts)
    }

    fn unbind(&mut self, local: SocketAddr, _machine: &mut Machine, _now: Timestamp) -> bool {
        let before = self.bound.len();
        self.bound.retain(|facts| facts.local != local);
        self.bound.len() < before
    }

    fn sockets(&self) -> Box<dyn Iterator<Item = SocketFacts> + '_> {
        Box::new(self.bound.iter().cloned())
    }

    fn source_for(&mut self, remote: SocketAddr) -> Option<SocketAddr> {
        Some(self.own(remote))
    }

    /// A carrier knows no time to live.
    fn send_raw(&mut self, transmit: &RawTransmit<'_>) -> Result<(), RawError> {
        if transmit.local.is_ipv4() != transmit.remote.is_ipv4() {
            return Err(RawError::NoSocket);
        }
        if self.raw.len() >= RAW_WAITING {
            return Err(RawError::Refused(Stop::Full));
        }
        let local = self.complete(transmit.local).ok_or(RawError::NoSocket)?;
        self.raw.push_back(RawOut { local, remote: transmit.remote, bytes: transmit.bytes.into() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::endpoint::EndpointOptions;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    fn bind(ports: &mut Ports, text: &str) -> String {
        let options: EndpointOptions = serde_json::from_str(r#"{"local":[]}"#).expect("options");
        ports.bind(&options.sockets().socket(address(text), None)).expect("bound").local.to_string()
    }

    #[test]
    fn ends_without_a_name_get_the_address_of_the_carrier_or_one_that_leads_nowhere() {
        let mut ports = Ports::new(Some(address("10.0.0.1:7")));
        assert_eq!(ports.names(), ["10.0.0.1:7"]);
        assert_eq!(ports.own(address("192.0.2.1:1")), address("10.0.0.1:7"));
        assert_eq!(ports.own(address("[2001:db8::1]:1")), OWN_V6);
        assert_eq!(bind(&mut ports, "0.0.0.0:0"), "10.0.0.1:7");
        assert_eq!(bind(&mut ports, "[::]:0"), "[100::1]:1");
        assert_eq!(bind(&mut ports, "10.0.0.2:0"), "10.0.0.2:49152");
        assert_eq!(bind(&mut ports, "10.0.0.3:5"), "10.0.0.3:5");
        assert_eq!(ports.names(), ["10.0.0.1:7", "[100::1]:1", "10.0.0.2:49152", "10.0.0.3:5"]);
        assert_eq!(Ports::new(None).names(), ["[100::1]:1", "192.0.0.8:1"]);
    }

    #[test]
    fn raw_datagrams_wait_for_the_carrier_within_a_bound() {
        let mut ports = Ports::new(None);
        let transmit = |bytes| RawTransmit { local: address("0.0.0.0:0"), remote: address("192.0.2.1:1"), hop_limit: None, bytes };
        assert!((0..RAW_WAITING).all(|_| ports.send_raw(&transmit(b"x")).is_ok()));
        assert!(matches!(ports.send_raw(&transmit(b"y")), Err(RawError::Refused(Stop::Full))));
        assert!(ports.take_raw().is_some_and(|raw| raw.local == OWN_V4 && &*raw.bytes == b"x"));
        assert!(ports.send_raw(&transmit(b"z")).is_ok() && ports.has_raw());
    }
}
