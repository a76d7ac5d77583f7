//! 0-RTT on both ends (RFC 9001 §4.6, RFC 9000 §7.4.1; burst section 4 row 2, B-21, B-48).
//!
//! ```text
//!  client  Sent --EncryptedExtensions, handshake complete--> Accepted | Rejected: streams start again in 1-RTT
//!  server  ClientHello read --> Accepted: keys until 3 PTO after completion | nothing: packets are dropped
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
}

impl Early {
    fn new(keys: DirectionKeys, status: EarlyStatus, remembered: TransportParameters) -> Box<Self> {
        Box::new(Self { keys: Some(keys), status, remembered, first_one_rtt: 0, discard_at: None })
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
        }
    }

    /// The limits that streams follow now are remembered ones (RFC 9000 §7.4.1).
    pub(super) fn uses_remembered_limits(&self) -> bool {
        self.early.as_ref().is_some_and(|early| early.status == EarlyStatus::Sent)
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
        let mut next = 0;
        if let Some(network) = self.network_mut(PathId::ZERO) {
            let space = &mut network.space;
            space.sent.drain_all(|_, frames| settled.extend(frames));
            (space.loss_time, space.probes_owed) = (None, 0);
            next = space.unused_number();
        }
        for frame in settled.drain(..) {
            self.on_frame_lost(frame);
        }
        self.settled = settled;
        next
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

    /// Client: 0-RTT packets may be sent (RFC 9001 §5.6: never once there are 1-RTT keys).
    pub(crate) fn sends_early(&self) -> bool {
        let has_keys = self.early.as_ref().is_some_and(|early| early.keys.is_some());
        has_keys && self.role.is_client() && self.application.is_none() && self.version == self.versions.first()
    }

    /// Server: 0-RTT packets came and can be acknowledged before the handshake is complete (burst B-27).
    pub(crate) fn acknowledges_early(&self) -> bool {
        !self.role.is_client() && self.application.is_some() && self.early.is_some()
    }

    /// Server: the keys of 0-RTT packets and the numbers received in their space.
    pub(super) fn early_reader(&self) -> Option<(&DirectionKeys, &ReceivedPackets)> {
        let keys = self.early.as_ref()?.keys.as_ref().filter(|_| !self.role.is_client())?;
        Some((keys, &self.network(PathId::ZERO)?.space.received))
    }

    /// The keys of 0-RTT packets go when their time has come.
    pub(super) fn on_early_timer(&mut self, now: Timestamp) {
        if let Some(early) = &mut self.early
            && early.discard_at.is_some_and(|at| at <= now)
        {
            (early.keys, early.discard_at) = (None, None);
        }
    }

    /// What became of early data.
    #[must_use]
    pub fn early_status(&self) -> EarlyStatus {
        self.early.as_ref().map_or(EarlyStatus::None, |early| early.status)
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
