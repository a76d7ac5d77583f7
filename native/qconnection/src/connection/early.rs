//! 0-RTT on both ends (RFC 9001 §4.6, RFC 9000 §7.4.1; burst section 4 row 2, B-21, B-48).
//!
//! ```text
//!  client  Sent --EncryptedExtensions, handshake complete--> Accepted | Rejected: streams start again in 1-RTT
//!  server  ClientHello read --> Accepted: keys until 3 PTO after completion | Rejected: packets are dropped
//! ```
//! Called by the handshake as TLS goes on. Never writes packets: the burst writer asks whether it may.

use super::{Connection, events::Event};
use qbase::{PacketNumber, PathId, Role, StreamId, TransportError, Timestamp, frame::Ack, param::TransportParameters};
use qcrypto::{DirectionKeys, EarlyStatus};
use qrecovery::received::ReceivedPackets;

/// What a connection knows of its 0-RTT packets.
#[derive(Debug)]
pub(crate) struct Early {
    /// Client: to seal; server: to open.
    pub(crate) keys: Option<DirectionKeys>,
    status: EarlyStatus,
    /// Client: the server's limits of an earlier connection, which hold until its new ones do.
    remembered: TransportParameters,
    /// Client, after a rejection: lower numbers were 0-RTT packets, which the server cannot have.
    first_one_rtt: PacketNumber,
    /// Server: the keys go then (RFC 9001 §4.9.3).
    pub(super) discard_at: Option<Timestamp>,
    /// Client: the first flight waits for early data until then.
    pub(super) held_until: Option<Timestamp>,
}

impl Early {
    fn new(keys: DirectionKeys, status: EarlyStatus, remembered: TransportParameters) -> Box<Self> {
        Box::new(Self { keys: Some(keys), status, remembered, first_one_rtt: 0, discard_at: None, held_until: None })
    }
}

impl Connection {
    /// Client: the ticket has early keys, so streams may be used at once, under remembered limits.
    pub(super) fn offer_early(&mut self) {
        let Some(remembered) = self.tls.remembered_parameters() else { return };
        let (Some(keys), Ok(parameters)) = (self.tls.early_keys(), TransportParameters::read(remembered, Role::Server)) else {
            return;
        };
        let remembered = parameters.remembered();
        self.streams.on_peer_parameters(&remembered);
        self.early = Some(Early::new(keys, EarlyStatus::Sent, remembered));
    }

    /// Server: TLS has read the ClientHello and takes early data.
    pub(super) fn accept_early(&mut self) {
        if self.role.is_client() || self.early.is_some() || self.handshake.is_none() || self.handshake_complete {
            return;
        }
        if let Some(keys) = self.tls.early_keys() {
            self.early = Some(Early::new(keys, EarlyStatus::Accepted, TransportParameters::default()));
            self.events.push_back(Event::EarlyData(EarlyStatus::Accepted));
        } else if self.tls.early_status() == EarlyStatus::Rejected && !std::mem::replace(&mut self.early_refused, true) {
            self.events.push_back(Event::EarlyData(EarlyStatus::Rejected));
        }
    }

    /// The limits that streams follow now are remembered ones (RFC 9000 §7.4.1).
    pub(super) fn uses_remembered_limits(&self) -> bool {
        self.early.as_ref().is_some_and(|early| early.status == EarlyStatus::Sent)
    }

    /// Those limits.
    pub(super) fn remembered_parameters(&self) -> Option<&TransportParameters> {
        self.early.as_ref().filter(|early| early.status == EarlyStatus::Sent).map(|early| &early.remembered)
    }

    /// The handshake is complete: on a client 0-RTT is over one way or the other, on a server it will be soon.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION: the server accepted 0-RTT and lowered a limit (RFC 9000 §7.4.1; attacks B20).
    pub(super) fn settle_early(&mut self, now: Timestamp) -> Result<(), TransportError> {
        let pto = self.largest_pto();
        let Some(early) = &mut self.early else { return Ok(()) };
        if early.status != EarlyStatus::Sent {
            early.discard_at = Some(now + pto.saturating_mul(3));
            return Ok(());
        }
        early.keys = None;
        early.status = match self.tls.early_status() {
            EarlyStatus::Accepted => EarlyStatus::Accepted,
            _ => EarlyStatus::Rejected,
        };
        let status = early.status;
        if status == EarlyStatus::Accepted {
            if !self.peer_parameters.covers(&early.remembered) {
                return Err(TransportError::violation("0-RTT was accepted with lower limits"));
            }
            self.streams.on_peer_parameters(&self.peer_parameters);
        } else {
            let next = self.forget_early_packets();
            if let Some(early) = &mut self.early {
                early.first_one_rtt = next;
            }
            self.streams.rewind(&self.peer_parameters);
        }
        self.events.push_back(Event::EarlyData(status));
        Ok(())
    }

    /// The server has none of the 0-RTT packets: they are not in flight, and their frames are sent again. Numbers go on
    /// (RFC 9001 §4.6.2, RFC 9000 §17.2.3).
    fn forget_early_packets(&mut self) -> PacketNumber {
        let mut settled = std::mem::take(&mut self.settled);
        settled.clear();
        if let Some(network) = self.network_mut(PathId::ZERO) {
            let space = &mut network.space;
            space.sent.drain_all(|_, frames| settled.extend(frames));
            (space.loss_time, space.probes_owed) = (None, 0);
        }
        for frame in settled.drain(..) {
            self.on_frame_lost(frame);
        }
        self.settled = settled;
        self.first_unused()
    }

    /// Client: the server answered with Retry. 0-RTT packets sent so far are gone, what they carried goes out again behind
    /// the next Initial (RFC 9000 §17.2.5.3).
    pub(super) fn repeat_early(&mut self) {
        if self.sends_early() {
            self.forget_early_packets();
        }
    }

    /// Client: a first flight of another version begins. Early data begins with it again if there is a ticket of that
    /// version.
    pub(super) fn withdraw_early(&mut self) {
        if self.early.take().is_some() {
            self.forget_early_packets();
            self.streams.rewind(&TransportParameters::default());
            self.events.push_back(Event::EarlyData(EarlyStatus::Rejected));
        }
    }

    /// An acknowledgement of what a server that rejected 0-RTT cannot have (RFC 9001 §4.6.2).
    pub(super) fn check_early_ack(&self, path: PathId, ack: &Ack<'_>) -> Result<(), TransportError> {
        let Some(early) = &self.early else { return Ok(()) };
        if path == PathId::ZERO && early.first_one_rtt > 0 && ack.ranges.clone().any(|range| *range.start() < early.first_one_rtt) {
            return Err(TransportError::violation("acknowledged a rejected 0-RTT packet"));
        }
        Ok(())
    }

    /// Client: another attempt at the connection stays. Early data of the one before is sent again (multipath MP-91).
    pub(super) fn adopt_rejected_early(&mut self, old: &mut Self) {
        self.early = old.early.take();
        if let Some(early) = &mut self.early {
            (early.keys, early.status, early.first_one_rtt) = (None, EarlyStatus::Rejected, 0);
        }
        self.events.push_back(Event::EarlyData(EarlyStatus::Rejected));
    }

    /// Client: 0-RTT packets may be sent (RFC 9001 §5.6: never once there are 1-RTT keys).
    pub(crate) fn sends_early(&self) -> bool {
        let has_keys = self.early.as_ref().is_some_and(|early| early.keys.is_some());
        let is_refused = self.tls.early_status() == EarlyStatus::Rejected;
        has_keys && self.role.is_client() && self.application.is_none() && self.version == self.versions.first() && !is_refused
    }

    /// Server: 0-RTT packets came and can be acknowledged before the handshake is complete (burst B-27).
    pub(crate) fn acknowledges_early(&self) -> bool {
        !self.role.is_client() && self.application.is_some() && self.early.is_some()
    }

    /// Server: the keys of 0-RTT packets and the numbers received in their space.
    pub(super) fn early_reader(&self) -> Option<(&DirectionKeys, &ReceivedPackets)> {
        let keys = self.early.as_ref()?.keys.as_ref().filter(|_| !self.role.is_client())?;
        Some((keys, self.received(PathId::ZERO)?))
    }

    /// The keys of 0-RTT packets go when their time has come.
    pub(super) fn on_early_timer(&mut self, now: Timestamp) {
        if let Some(early) = &mut self.early
            && early.discard_at.is_some_and(|at| at <= now)
        {
            (early.keys, early.discard_at) = (None, None);
        }
        if !self.waits_for_early(now) {
            self.release_first_flight();
        }
    }

    /// Client with early keys: nothing leaves before [`Self::release_first_flight`], or before `until`, so that what the
    /// application writes first travels in 0-RTT however slowly it does. Without early keys it does nothing.
    pub const fn hold_first_flight(&mut self, until: Timestamp) {
        if let Some(early) = &mut self.early
            && self.role.is_client()
            && self.application.is_none()
        {
            early.held_until = Some(until);
        }
    }

    /// The first flight goes, with all that was written so far.
    pub const fn release_first_flight(&mut self) {
        if let Some(early) = &mut self.early {
            early.held_until = None;
        }
    }

    /// Nothing may leave yet.
    pub(super) fn waits_for_early(&self, now: Timestamp) -> bool {
        self.early.as_ref().and_then(|early| early.held_until).is_some_and(|until| now < until)
    }

    /// What became of early data.
    #[must_use]
    pub fn early_status(&self) -> EarlyStatus {
        let refused = if self.early_refused { EarlyStatus::Rejected } else { EarlyStatus::None };
        self.early.as_ref().map_or(refused, |early| early.status)
    }

    /// The handshake was shortened by a ticket.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.tls.is_resumed()
    }

    /// Bytes of a live stream came or went in 0-RTT packets: they may be a replay (RFC 9001 §9.2).
    #[must_use]
    pub fn is_early_stream(&self, stream: StreamId) -> bool {
        self.streams.is_early(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig},
        burst::SendLimits,
        connection::{Connection, State},
        endpoint::Endpoint,
        handle::ConnectionHandle,
    };
    use qbase::{Ecn, ErrorCode, FourTuple, frame::AckRanges};
    use qcrypto::{
        ClientSessions, ClientTls, ClientTlsOptions, Identity, Pin, Provider, ServerSessions, ServerTls, ServerTlsOptions,
        development,
    };
    use std::{net::SocketAddr, sync::Arc, time::Duration};

    /// Two endpoints that share an instant; the client has a ticket and a connection that has sent early data.
    struct World {
        client: Endpoint,
        server: Endpoint,
        handle: ConnectionHandle,
        sessions: ServerSessions,
    }

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn client_addresses() -> FourTuple {
        FourTuple { local: SocketAddr::from(([192, 0, 2, 1], 5)), remote: SocketAddr::from(([192, 0, 2, 2], 4_433)) }
    }

    impl World {
        fn new() -> Self {
            let unix_time = Duration::from_secs(1_735_689_600);
            let own = development::seeded(&[1; 32], &["server".to_owned()], 365, unix_time).unwrap();
            let provider = Provider::Seeded { seed: [2; 32], unix_time };
            let sessions = ServerSessions::new();
            let tls = ClientTls::new(&ClientTlsOptions {
                pins: vec![Pin::of_certificate(&own.cert_der)],
                alpn: vec![b"test".to_vec()],
                provider: provider.clone(),
                sessions: Some(ClientSessions::new()),
                early_data: true,
                ..ClientTlsOptions::default()
            });
            let transport = Arc::new(TransportConfig::default());
            let dial = Arc::new(ClientConfig::new(tls.unwrap(), Arc::clone(&transport)));
            let tls = ServerTls::new(&ServerTlsOptions {
                identity: Some(Identity::from_pem(own.cert_pem.as_bytes(), own.key_pem.as_bytes()).unwrap()),
                alpn: vec![b"test".to_vec()],
                provider,
                sessions: Some(sessions.clone()),
                early_data: true,
                ..ServerTlsOptions::default()
            });
            let mut server = Endpoint::new(EndpointConfig::default(), [3; 32]);
            server.listen(Some(Arc::new(ServerConfig::new(tls.unwrap(), transport, 16))));
            let mut client = Endpoint::new(EndpointConfig::default(), [4; 32]);
            let handle = client.connect(NOW, &dial, "server", client_addresses()).unwrap();
            let mut world = Self { client, server, handle, sessions };
            world.talk();
            assert!(world.connection().is_confirmed());
            world.handle = world.client.connect(NOW, &dial, "server", client_addresses()).unwrap();
            assert_eq!(world.connection().early_status(), EarlyStatus::Sent);
            let stream = world.connection().open(qbase::Direction::Bidirectional).unwrap();
            world.connection().write(stream, b"early").unwrap();
            world
        }

        fn connection(&mut self) -> &mut Connection {
            self.client.connection_mut(self.handle).unwrap()
        }

        fn talk(&mut self) {
            let four_tuple = client_addresses();
            let back = FourTuple { local: four_tuple.remote, remote: four_tuple.local };
            for _ in 0..20 {
                hand_over(&mut self.client, &mut self.server, back);
                hand_over(&mut self.server, &mut self.client, four_tuple);
            }
        }
    }

    fn hand_over(from: &mut Endpoint, to: &mut Endpoint, four_tuple: FourTuple) {
        let mut buffer = vec![0; 65_535];
        while let Some(burst) = from.poll_transmit(NOW, &mut buffer, &SendLimits::default()) {
            from.on_submitted(&burst, burst.segments, NOW);
            for datagram in buffer[..burst.len].chunks_mut(burst.segment_size) {
                to.handle_datagram(NOW, four_tuple, Ecn::NotEct, datagram);
            }
        }
    }

    /// attacks B20.
    /// Shows 9000-7.4.1-6.
    #[test]
    fn attack_b20_a_server_that_accepts_and_lowers_a_limit_is_closed() {
        let mut world = World::new();
        world.talk();
        assert_eq!((world.connection().state(), world.connection().early_status()), (State::Open, EarlyStatus::Accepted));
        let mut world = World::new();
        world.connection().early.as_mut().unwrap().remembered.initial_max_streams_uni += 1;
        world.talk();
        assert_eq!(world.connection().state(), State::Closing);
        let closed = std::iter::from_fn(|| world.connection().poll_event()).find_map(|event| match event {
            Event::Closed(info) => Some(info.code),
            _ => None,
        });
        assert_eq!(closed, Some(ErrorCode::PROTOCOL_VIOLATION.0));
    }

    /// Shows 9001-4.6.2-2.
    #[test]
    fn an_acknowledgement_of_rejected_early_data_is_a_violation() {
        let mut world = World::new();
        world.sessions.clear();
        world.talk();
        assert_eq!(world.connection().early_status(), EarlyStatus::Rejected);
        let first = world.connection().early.as_ref().unwrap().first_one_rtt;
        assert!(first > 0, "numbers go on");
        let ack = |number| Ack { path: None, largest: number, delay: 0, ranges: AckRanges::one(&(number..=number)), ecn: None };
        assert!(world.connection().check_early_ack(PathId::ZERO, &ack(first - 1)).is_err());
        assert!(world.connection().check_early_ack(PathId::ZERO, &ack(first)).is_ok());
        assert!(world.connection().check_early_ack(PathId(1), &ack(0)).is_ok());
    }

    #[test]
    fn a_first_flight_that_is_held_goes_when_it_is_released_or_its_time_has_come() {
        let mut buffer = vec![0; 65_535];
        let mut poll = |world: &mut World, now| world.client.poll_transmit(now, &mut buffer, &SendLimits::default()).is_some();
        let until = NOW + Duration::from_millis(250);
        let mut world = World::new();
        world.connection().hold_first_flight(until);
        assert!(!poll(&mut world, NOW));
        assert!(world.connection().next_timer().is_some_and(|(at, _)| at == until));
        world.connection().release_first_flight();
        assert!(poll(&mut world, NOW));
        let mut world = World::new();
        world.connection().hold_first_flight(until);
        assert!(!poll(&mut world, NOW));
        world.client.on_timer(until);
        assert!(poll(&mut world, until));
        assert!(world.connection().next_timer().is_some_and(|(at, _)| at > until));
    }

    /// Shows 9001-5.6-8.
    /// Shows 9001-4.9.3-1.
    #[test]
    fn early_keys_are_gone_with_the_first_1rtt_keys() {
        let mut world = World::new();
        assert!(world.connection().sends_early());
        world.talk();
        assert!(!world.connection().sends_early());
        assert!(world.connection().early.as_ref().unwrap().keys.is_none());
    }
}
