//! A crowd of clients before one server, driven by hand: floods, replays, ears that hear nothing.
//!
//! Called by the tests of attacks on the address. There is no network between: what one end sends, the other has at once.

use std::sync::Arc;

use qbase::{Ecn, FourTuple, Timestamp};
use qconnection::{
    ClientConfig, Connection, ConnectionHandle, Endpoint, EndpointConfig, Event, SendLimits, ServerConfig,
    TransportConfig, connection::events::CloseInfo,
};
use qevent::DropReason;
use qsim::Failure;

use super::ends::{self, NAME, failure};

/// Many clients of one address and many ports, and a server, with nothing between them.
pub struct Crowd {
    pub now: Timestamp,
    pub clients: Endpoint,
    pub server: Endpoint,
    pub config: Arc<ClientConfig>,
    /// Datagrams of the clients, as the server got them.
    pub heard: Vec<(FourTuple, Vec<u8>)>,
    pub ends: Vec<(ConnectionHandle, CloseInfo)>,
    /// Bytes the server got and sent.
    pub bytes: (u64, u64),
}

/// Whether the clients get what the server sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ears {
    Open,
    Deaf,
}

pub fn addresses(number: u16) -> FourTuple {
    FourTuple { local: ([198, 51, 100, 1], 10_000 + number).into(), remote: ([192, 0, 2, 1], 4_433).into() }
}

pub fn turned(four_tuple: FourTuple) -> FourTuple {
    FourTuple { local: four_tuple.remote, remote: four_tuple.local }
}

impl Crowd {
    pub fn new(change: impl FnOnce(&mut ServerConfig)) -> Result<Self, Failure> {
        let (client, server) = ends::configs(1, TransportConfig::default(), TransportConfig::default())?;
        Ok(Self::with(client, ServerConfig::clone(&server), change))
    }

    pub fn with(config: Arc<ClientConfig>, mut server: ServerConfig, change: impl FnOnce(&mut ServerConfig)) -> Self {
        change(&mut server);
        let mut endpoint = Endpoint::new(EndpointConfig::default(), [3; 32]);
        endpoint.listen(Some(Arc::new(server)));
        Self {
            now: Timestamp::from_millis(1_000),
            clients: Endpoint::new(EndpointConfig::default(), [4; 32]),
            server: endpoint,
            config,
            heard: Vec::new(),
            ends: Vec::new(),
            bytes: (0, 0),
        }
    }

    pub fn dial(&mut self, number: u16) -> Result<ConnectionHandle, Failure> {
        self.clients.connect(self.now, &self.config, NAME, addresses(number)).map_err(failure)
    }

    /// Both ends send all they have, until nothing is left to say.
    pub fn pump(&mut self, ears: Ears) {
        let mut buffer = vec![0; 65_535];
        loop {
            let mut silent = true;
            while let Some(burst) = self.clients.poll_transmit(self.now, &mut buffer, &SendLimits::default()) {
                silent = false;
                self.clients.on_submitted(&burst, burst.segments, self.now);
                for datagram in buffer.get(..burst.len).unwrap_or_default().chunks(burst.segment_size.max(1)) {
                    self.deliver(turned(burst.four_tuple), datagram);
                }
            }
            while let Some(burst) = self.server.poll_transmit(self.now, &mut buffer, &SendLimits::default()) {
                silent = false;
                self.server.on_submitted(&burst, burst.segments, self.now);
                self.bytes.1 += burst.len as u64;
                if ears == Ears::Deaf {
                    continue;
                }
                for datagram in buffer.get_mut(..burst.len).unwrap_or_default().chunks_mut(burst.segment_size.max(1)) {
                    self.clients.handle_datagram(self.now, turned(burst.four_tuple), Ecn::NotEct, datagram);
                }
            }
            while let Some((handle, event)) = self.clients.poll_event() {
                if let Event::Closed(info) = event {
                    self.ends.push((handle, *info));
                }
            }
            while self.server.poll_event().is_some() {}
            if silent {
                return;
            }
        }
    }

    pub fn deliver(&mut self, four_tuple: FourTuple, datagram: &[u8]) {
        let mut bytes = datagram.to_vec();
        self.heard.push((four_tuple, bytes.clone()));
        self.bytes.0 += bytes.len() as u64;
        self.server.handle_datagram(self.now, four_tuple, Ecn::NotEct, &mut bytes);
    }

    /// Time passes.
    pub fn wait(&mut self, time: std::time::Duration, ears: Ears) {
        let end = self.now + time;
        loop {
            let next = [self.clients.next_timer(), self.server.next_timer()].into_iter().flatten().map(|(at, _)| at).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.clients.on_timer(self.now);
            self.server.on_timer(self.now);
            self.pump(ears);
        }
        self.now = end;
    }

    pub fn is_confirmed(&self, handle: ConnectionHandle) -> bool {
        self.clients.connection(handle).is_some_and(Connection::is_confirmed)
    }

    pub fn drops(&self, reason: DropReason) -> u64 {
        self.server.statistics().drops.iter().find(|(of, _)| *of == reason.name()).map_or(0, |(_, count)| count)
    }
}
