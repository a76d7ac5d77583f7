//! The client under attack, its time, and the evil server.
//!
//! Called by the tests that play against a client. There is no network between: what one end sends, the other has at once.
//! The counterpart of [`super::arena`]; the evil server too answers, acknowledges and finishes only what it is told to.

use std::{sync::Arc, time::Duration};

use qbase::{
    ConnectionId, Ecn, EncryptionLevel, FourTuple, PathId, Role, Timestamp, Writer,
    frame::{self, CloseKind, Frame},
    limits::LOCAL_CID_LEN,
    packet::{ProtectedHeader, version_negotiation},
    param::TransportParameters,
};
use qconnection::{ClientConfig, Connection, ConnectionHandle, Endpoint, EndpointConfig, Event, SendLimits, TransportConfig};
use qcrypto::Session;
use qsim::Failure;

use crate::{
    arena::{addresses, reverse},
    encode, ends::{self, NAME, failure}, own_cid,
    peer::Peer,
    wire::Packet,
};

/// How far the handshake goes before the play begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The client has sent its first flight; the server said nothing. Initial packets can be sent.
    Silence,
    /// The server's flight was sent and the client has answered it; HANDSHAKE_DONE was not said.
    Complete,
    /// HANDSHAKE_DONE was said.
    Confirmed,
}

/// What the stage is made of.
#[derive(Clone, Debug)]
pub struct Play {
    /// Settings of the client.
    pub client: TransportConfig,
    /// Where the play begins.
    pub act: Act,
    /// The last word about what the evil server declares.
    pub change: fn(&mut TransportParameters),
    /// Versions of the client, the first in its first Initial.
    pub versions: Vec<u32>,
    /// Versions in a Version Negotiation packet that answers the first Initial; without any there is none.
    pub listed: Vec<u32>,
}

impl Default for Play {
    fn default() -> Self {
        let versions = qbase::version::SPOKEN.to_vec();
        Self { client: TransportConfig::default(), act: Act::Confirmed, change: |_| {}, versions, listed: Vec::new() }
    }
}

impl Play {
    /// A play that begins at this act.
    pub fn from(act: Act) -> Self {
        Self { act, ..Self::default() }
    }
}

/// Steps without end are a failure of the machine.
const MAX_STEPS: usize = 100_000;
/// CRYPTO bytes of one packet.
const PIECE: usize = 1_000;

/// A client and an evil server.
pub struct Stage {
    /// The present instant.
    pub now: Timestamp,
    /// The client's endpoint.
    pub client: Endpoint,
    /// The evil server.
    pub evil: Peer,
    /// The client's connection.
    pub handle: ConnectionHandle,
    /// Events of the client.
    pub events: Vec<Event>,
    /// What the evil server's TLS said and was not sent yet: level, offset, bytes.
    pub flight: Vec<(EncryptionLevel, u64, Vec<u8>)>,
    /// Datagrams of the client as they came, oldest first.
    pub raw: Vec<Vec<u8>>,
    /// Datagrams of the client that went to other addresses than the evil server's; it does not hear them.
    pub elsewhere: usize,
    /// Packets of the client to other addresses.
    pub heard_elsewhere: Vec<Packet>,
    buffer: Vec<u8>,
}

impl Stage {
    /// A client and an evil server, at the act the play names.
    ///
    /// # Errors
    /// The handshake fails.
    pub fn new(play: &Play) -> Result<Self, Failure> {
        let (client, server) = ends::configs(2, play.client.clone(), TransportConfig::default())?;
        let now = Timestamp::from_millis(1_000);
        let mut endpoint = Endpoint::new(EndpointConfig::default(), [5; 32]);
        let client = Arc::new(ClientConfig { versions: play.versions.clone(), ..ClientConfig::clone(&client) });
        let handle = endpoint.connect(now, &client, NAME, seen_by_client()).map_err(failure)?;
        let mut first = first_datagram(&mut endpoint, now)?;
        if !play.listed.is_empty() {
            let mut list = list_of_versions(&first, &play.listed)?;
            endpoint.handle_datagram(now, seen_by_client(), Ecn::NotEct, &mut list);
            first = first_datagram(&mut endpoint, now)?;
        }
        let header = ProtectedHeader::parse(&first, LOCAL_CID_LEN).map_err(failure)?;
        let tls = Session::server(&server.tls, &parameters(play, header.dcid), header.version).map_err(failure)?;
        let mut stage = Self {
            now,
            client: endpoint,
            evil: Peer::server(header.version, tls, addresses(1), header.dcid, header.scid),
            handle,
            events: Vec::new(),
            flight: Vec::new(),
            raw: vec![first.clone()],
            elsewhere: 0,
            heard_elsewhere: Vec::new(),
            buffer: vec![0; 65_535],
        };
        stage.evil.hear(&mut first)?;
        stage.pump()?;
        stage.flight = stage.evil.take_flight();
        if play.act == Act::Silence {
            return Ok(stage);
        }
        stage.send_flight()?;
        if play.act == Act::Confirmed {
            stage.say(&[Frame::HandshakeDone])?;
            if !stage.connection()?.is_confirmed() {
                return Err(failure("the handshake was not completed"));
            }
        }
        Ok(stage)
    }

    /// Sends what the evil server's TLS has to say, honestly.
    ///
    /// # Errors
    /// The client's answer makes no sense.
    pub fn send_flight(&mut self) -> Result<(), Failure> {
        for (level, offset, data) in std::mem::take(&mut self.flight) {
            for (piece, offset) in data.chunks(PIECE).zip((offset..).step_by(PIECE)) {
                self.send(level, &[Frame::Crypto(frame::Crypto { offset, data: piece })])?;
            }
        }
        Ok(())
    }

    /// Sends frames in one packet, and hears the answer.
    ///
    /// # Errors
    /// The packet cannot be made, or the answer makes no sense.
    pub fn send(&mut self, level: EncryptionLevel, frames: &[Frame<'_>]) -> Result<(), Failure> {
        let packet = self.evil.seal(level, PathId::ZERO, None, 0, &encode(frames))?;
        self.deliver(packet)
    }

    /// The same with another source connection id in its header.
    ///
    /// # Errors
    /// See [`Self::send`].
    pub fn send_from(&mut self, level: EncryptionLevel, scid: ConnectionId, frames: &[Frame<'_>]) -> Result<(), Failure> {
        let dcid = self.evil.remote.unwrap_or_default();
        let packet = self.evil.seal_from(level, PathId::ZERO, (dcid, scid), 0, &encode(frames))?;
        self.deliver(packet)
    }

    /// Sends frames in a 1-RTT packet on path 0, and hears the answer.
    ///
    /// # Errors
    /// See [`Self::send`].
    pub fn say(&mut self, frames: &[Frame<'_>]) -> Result<(), Failure> {
        self.send(EncryptionLevel::OneRtt, frames)
    }

    /// Hands a datagram to the client, and hears the answer.
    ///
    /// # Errors
    /// The answer makes no sense.
    pub fn deliver(&mut self, mut packet: Vec<u8>) -> Result<(), Failure> {
        self.client.handle_datagram(self.now, seen_by_client(), Ecn::NotEct, &mut packet);
        self.pump()
    }

    /// Lets the client send all it wants.
    ///
    /// # Errors
    /// It never stops, or its packets make no sense.
    pub fn pump(&mut self) -> Result<(), Failure> {
        for _ in 0..MAX_STEPS {
            while let Some((_, event)) = self.client.poll_event() {
                self.events.push(event);
            }
            let Some(burst) = self.client.poll_transmit(self.now, &mut self.buffer, &SendLimits::default()) else { return Ok(()) };
            let mut bytes = self.buffer.get(..burst.len).unwrap_or_default().to_vec();
            self.client.on_submitted(&burst, burst.segments, self.now);
            if burst.four_tuple.remote != seen_by_client().remote {
                self.elsewhere += burst.segments;
                let before = self.evil.heard.len();
                for datagram in bytes.chunks_mut(burst.segment_size.max(1)) {
                    self.evil.hear(datagram)?;
                }
                self.heard_elsewhere.extend(self.evil.heard.drain(before..));
                continue;
            }
            for datagram in bytes.chunks_mut(burst.segment_size.max(1)) {
                self.raw.push(datagram.to_vec());
                self.evil.hear(datagram)?;
            }
        }
        Err(failure("the client never stops to send"))
    }

    /// Lets time pass, and everything happen that is due.
    ///
    /// # Errors
    /// See [`Self::pump`].
    pub fn wait(&mut self, time: Duration) -> Result<(), Failure> {
        let end = self.now + time;
        for _ in 0..MAX_STEPS {
            let Some((at, _)) = self.client.next_timer().filter(|(at, _)| *at <= end) else {
                self.now = end;
                return Ok(());
            };
            self.now = self.now.max(at);
            self.client.on_timer(self.now);
            self.pump()?;
        }
        Err(failure("time stands still"))
    }

    /// The client's connection.
    ///
    /// # Errors
    /// It is gone.
    pub fn connection(&self) -> Result<&Connection, Failure> {
        self.client.connection(self.handle).ok_or_else(|| failure("the connection is gone"))
    }

    /// The same, to use.
    ///
    /// # Errors
    /// It is gone.
    pub fn connection_mut(&mut self) -> Result<&mut Connection, Failure> {
        self.client.connection_mut(self.handle).ok_or_else(|| failure("the connection is gone"))
    }

    /// The code of the transport's CONNECTION_CLOSE that the evil server heard.
    pub fn close_code(&self) -> Option<u64> {
        self.evil.heard.iter().flat_map(Packet::frames).find_map(|frame| match frame {
            Frame::ConnectionClose(close) if close.kind != CloseKind::Application => Some(close.code),
            _ => None,
        })
    }

    /// Forgets what was heard.
    pub fn forget_heard(&mut self) {
        self.evil.heard.clear();
        self.raw.clear();
    }
}

/// The client's first word.
fn first_datagram(client: &mut Endpoint, now: Timestamp) -> Result<Vec<u8>, Failure> {
    let mut buffer = vec![0; 65_535];
    let burst = client.poll_transmit(now, &mut buffer, &SendLimits::default()).ok_or_else(|| failure("the client is silent"))?;
    client.on_submitted(&burst, burst.segments, now);
    Ok(buffer.get(..burst.len).unwrap_or_default().to_vec())
}

/// A Version Negotiation packet in answer to an Initial.
fn list_of_versions(initial: &[u8], versions: &[u32]) -> Result<Vec<u8>, Failure> {
    let header = ProtectedHeader::parse(initial, LOCAL_CID_LEN).map_err(failure)?;
    let mut buffer = vec![0; 200];
    let mut writer = Writer::new(&mut buffer);
    version_negotiation::write(&mut writer, 0, header.scid.as_bytes(), header.dcid.as_bytes(), versions);
    let len = writer.len();
    buffer.truncate(len);
    Ok(buffer)
}

/// What the evil server declares.
fn parameters(play: &Play, original: ConnectionId) -> Vec<u8> {
    let mut parameters = TransportParameters {
        original_destination_connection_id: Some(original),
        initial_source_connection_id: Some(own_cid(PathId::ZERO, 0)),
        ..ends::generous()
    };
    (play.change)(&mut parameters);
    let mut encoded = Vec::new();
    parameters.write(&mut encoded, Role::Server, None);
    encoded
}

/// Addresses as the client sees them.
fn seen_by_client() -> FourTuple {
    reverse(addresses(1))
}
