//! What an endpoint and its connections are told before they start.
//!
//! Called by the application through the driver. Never checks what the TLS configuration holds: that is `qcrypto`'s job.

use crate::{cid::CidShape, connection::traversal::TraversalSettings, endpoint::BlockList, path::scheduler::Scheduler};
use bytes::Bytes;
use crate::stream::ResetDelivery;
use qbase::{limits, param::{AddressDiscovery, TransportParameters}, version};
use qcongestion::algorithm::Algorithm;
use std::{net::{SocketAddrV4, SocketAddrV6}, sync::Arc, time::Duration};

/// Which multipath wire mode is offered (multipath MP-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multipath {
    /// `initial_max_path_id` is not sent: one path.
    Off,
    /// The IETF extension is offered and used if the peer offers it too.
    Auto,
    /// As `Auto`, and the connection fails when the peer does not offer it.
    Require,
    /// One packet-number space over all paths, our own experiment, is offered in its place and used if the peer offers it
    /// too; else one path (multipath MP-98).
    SharedSpace,
}

/// How a client with several address pairs makes its handshake (multipath MP-87…MP-91).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeMode {
    /// The first pair; at each PTO the next one, round robin.
    Single,
    /// The next pair starts after so long without an answer; it gets copies of what the first one got.
    Stagger(Duration),
    /// All pairs get copies at once.
    Race,
    /// All pairs get packets of their own at once, out of one number space.
    Shared,
    /// Each pair gets a connection attempt of its own; the first that is complete stays.
    Independent,
}

impl HandshakeMode {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Stagger(_) => "stagger",
            Self::Race => "race",
            Self::Shared => "shared",
            Self::Independent => "independent",
        }
    }
}

/// On which path the packets of a path are acknowledged (multipath MP-37).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AckPath {
    /// On the path they came over while it answers, so that each path stands for itself.
    #[default]
    Same,
    /// On the quickest path that answers: the peer hears sooner of slow paths, and no path is heard of while that one is
    /// silent.
    Fastest,
}

/// What the spin bit tells observers of the round-trip time (RFC 9000 §17.4; burst B-89).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Spin {
    /// Nothing: it is 0.
    Off,
    /// Nothing: it is drawn for each connection id.
    #[default]
    Random,
    /// The truth, except on one path in sixteen.
    On,
}

/// Addresses at which a server would rather be reached, one of each family at most (RFC 9000 §9.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PreferredAddresses {
    /// The IPv4 address.
    pub ipv4: Option<SocketAddrV4>,
    /// The IPv6 address.
    pub ipv6: Option<SocketAddrV6>,
}

impl PreferredAddresses {
    /// There is one.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.ipv4.is_some() || self.ipv6.is_some()
    }
}

/// Whether a client goes to the address its server prefers (attacks E15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FollowPreferred {
    /// Never.
    Never,
    /// If it is of the same kind as the address dialled or a wider one: from a public one never to a private one, from
    /// a private one never to this host.
    #[default]
    Scoped,
    /// Wherever it is.
    Always,
}

/// Settings of one connection's transport; the defaults are those of [`limits`].
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Idle timeout we offer; zero disables it.
    pub idle_timeout: Duration,
    /// Time for the handshake to complete.
    pub handshake_timeout: Duration,
    /// Longest delay of our ACKs.
    pub max_ack_delay: Duration,
    /// RTT assumed before the first sample.
    pub initial_rtt: Duration,
    /// UDP payload of every packet until path MTU discovery raises it, 1200 to 65507 bytes.
    pub initial_mtu: u16,
    /// The largest UDP payload that path MTU discovery tries, bytes; at or below `initial_mtu` it is off. Over IPv6 values up
    /// to 1472, which fit Ethernet over IPv4 only, count as 1452.
    pub max_mtu: u16,
    /// The same for paths to an address of the host's own (127.0.0.0/8, ::1), tried first there; no more than `max_mtu`: nothing is.
    pub loopback_mtu: u16,
    /// First receive window of each stream, bytes.
    pub stream_window: u64,
    /// Receive window that a stream may grow to, bytes; no more than the first one: it keeps its size.
    pub max_stream_window: u64,
    /// First receive window of the connection, bytes. The endpoint may grant less (mux R20).
    pub connection_window: u64,
    /// Receive window that the connection may grow to, bytes; no more than the first one: it keeps its size.
    pub max_connection_window: u64,
    /// Bidirectional streams the peer may have open.
    pub bidirectional_streams: u64,
    /// Unidirectional streams the peer may have open.
    pub unidirectional_streams: u64,
    /// Unsent and unacknowledged bytes `write` accepts per stream.
    pub send_buffer: usize,
    /// The same per connection.
    pub connection_send_buffer: usize,
    /// What becomes of bytes that were not read when the peer resets their stream (mux R33).
    pub reset_delivery: ResetDelivery,
    /// Largest DATAGRAM frame we take, bytes with type and length (RFC 9221 §3); 0: none.
    pub max_datagram_frame: u64,
    /// Congestion controller of every path.
    pub congestion: Algorithm,
    /// Slow start of the loss-based controllers ends when round trips grow longer (HyStart++).
    pub hystart: bool,
    /// The peer may ask for fewer or earlier ACKs, and where it allows the same it is asked (draft-ietf-quic-ack-frequency).
    pub ack_frequency: bool,
    /// Which path carries data.
    pub scheduler: Scheduler,
    /// Client: what is done with several address pairs.
    pub handshake: HandshakeMode,
    /// Client: so many address pairs are tried at most; others wait for the handshake to be confirmed.
    pub max_candidates: usize,
    /// Server: the first flight of one client may come from several addresses (multipath MP-96).
    pub multi_address_handshake: bool,
    /// Which path carries acknowledgements.
    pub ack_path: AckPath,
    /// Multipath mode offered.
    pub multipath: Multipath,
    /// Paths wanted at once, 1 to [`limits::OPEN_PATHS`].
    pub max_paths: u32,
    /// A path that stays silent this long while others live is abandoned (multipath MP-83).
    pub abandon_after: Duration,
    /// Longest stall the application should see when a path dies: bounds the time to suspicion (multipath MP-83).
    pub max_stall: Duration,
    /// A PING goes out when nothing was sent for so long; zero is off.
    pub keep_alive: Duration,
    /// Packets are marked ECT(0) on paths that carry marks (RFC 9000 §13.4).
    pub ecn: bool,
    /// The handshake waits for the application's word on the peer's certificates (`Connection::verdict`), under the
    /// handshake timeout.
    pub hold_for_verdict: bool,
    /// Server: data may go out before the client has shown that it is there (0.5-RTT), to whoever sent its ClientHello, or
    /// sent a copy of it. Not for servers that ask for certificates.
    pub half_rtt: bool,
    /// The spin bit of our short headers.
    pub spin: Spin,
    /// The fixed bit of packets may be 0, both ways, once both ends have said so (RFC 9287).
    pub grease_quic_bit: bool,
    /// The peer is told not to come from other addresses by its own will; what a NAT does is followed (RFC 9000 §9).
    pub disable_active_migration: bool,
    /// Server: where clients are asked to go after the handshake. The endpoint must hear there.
    pub preferred_address: PreferredAddresses,
    /// Client: whether it goes where its server asks it to.
    pub follow_preferred: FollowPreferred,
    /// Ways through NATs are looked for; `None`: no frame about them is sent or taken.
    pub traversal: Option<TraversalSettings>,
    /// Packets one key may protect, in place of the AEAD's own limit; for tests.
    pub confidentiality_limit: Option<u64>,
    /// Packet number of 1-RTT packets at which the connection ends, in place of 2^62-1; for tests.
    pub last_packet_number: Option<u64>,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            idle_timeout: limits::IDLE_TIMEOUT,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            max_ack_delay: limits::MAX_ACK_DELAY,
            initial_rtt: limits::INITIAL_RTT,
            initial_mtu: limits::MIN_INITIAL as u16,
            max_mtu: limits::MAX_MTU,
            loopback_mtu: limits::LOOPBACK_MTU,
            stream_window: limits::STREAM_WINDOW,
            max_stream_window: limits::MAX_STREAM_WINDOW,
            connection_window: limits::CONNECTION_WINDOW,
            max_connection_window: limits::MAX_CONNECTION_WINDOW,
            bidirectional_streams: limits::PEER_STREAMS,
            unidirectional_streams: limits::PEER_STREAMS,
            send_buffer: 256 * 1_024,
            connection_send_buffer: 8 * 1_024 * 1_024,
            reset_delivery: ResetDelivery::default(),
            max_datagram_frame: limits::MAX_DATAGRAM_FRAME,
            congestion: Algorithm::Cubic,
            hystart: true,
            ack_frequency: true,
            scheduler: Scheduler::MinRtt,
            handshake: HandshakeMode::Stagger(limits::STAGGER),
            max_candidates: limits::HANDSHAKE_CANDIDATES,
            multi_address_handshake: true,
            ack_path: AckPath::Same,
            multipath: Multipath::Auto,
            max_paths: limits::INITIAL_MAX_PATH_ID + 1,
            abandon_after: Duration::from_secs(10),
            max_stall: Duration::from_millis(300),
            keep_alive: Duration::ZERO,
            ecn: true,
            hold_for_verdict: false,
            half_rtt: false,
            spin: Spin::default(),
            grease_quic_bit: true,
            disable_active_migration: false,
            preferred_address: PreferredAddresses::default(),
            follow_preferred: FollowPreferred::default(),
            traversal: None,
            confidentiality_limit: None,
            last_packet_number: None,
        }
    }
}

impl TransportConfig {
    /// The transport parameters these settings announce, without connection ids (RFC 9000 §18.2).
    #[must_use]
    pub fn parameters(&self) -> TransportParameters {
        self.parameters_within(self.connection_window)
    }

    /// The same, promising the peer no more than `window` bytes at once (mux R20).
    #[must_use]
    pub fn parameters_within(&self, window: u64) -> TransportParameters {
        let stream_window = self.stream_window.min(window);
        let max_path_id = qbase::PathId(self.max_paths.clamp(1, limits::OPEN_PATHS as u32).saturating_sub(1));
        TransportParameters {
            max_idle_timeout: self.idle_timeout,
            max_ack_delay: self.max_ack_delay,
            // The other one goes out in whole milliseconds.
            min_ack_delay: self.ack_frequency.then(|| limits::MIN_ACK_DELAY.min(Duration::from_millis(self.max_ack_delay.as_millis() as u64))),
            ack_delay_exponent: limits::ACK_DELAY_EXPONENT,
            initial_max_data: window,
            initial_max_stream_data_bidi_local: stream_window,
            initial_max_stream_data_bidi_remote: stream_window,
            initial_max_stream_data_uni: stream_window,
            initial_max_streams_bidi: self.bidirectional_streams,
            initial_max_streams_uni: self.unidirectional_streams,
            active_connection_id_limit: limits::REMOTE_CIDS_PER_PATH,
            max_datagram_frame_size: self.max_datagram_frame,
            disable_active_migration: self.disable_active_migration,
            grease_quic_bit: self.grease_quic_bit,
            initial_max_path_id: match self.multipath {
                Multipath::Off | Multipath::SharedSpace => None,
                Multipath::Auto | Multipath::Require => Some(max_path_id),
            },
            // Never both (multipath MP-99).
            shared_space_max_path_id: (self.multipath == Multipath::SharedSpace).then_some(max_path_id),
            traversal: self.traversal.as_ref().and_then(TraversalSettings::parameter),
            address_discovery: self.traversal.is_some().then_some(AddressDiscovery::Both),
            ..TransportParameters::default()
        }
    }
}

/// Settings of the server side.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Identity, ALPN and client verification.
    pub tls: qcrypto::ServerTls,
    /// Transport settings of accepted connections.
    pub transport: Arc<TransportConfig>,
    /// Accepted connections alive at once; more are refused (attacks L28).
    pub max_connections: usize,
    /// Of those, from one IPv4 address or one IPv6 network of 64 bits.
    pub max_per_address: usize,
    /// When clients must prove their address before anything is kept for them.
    pub retry: RetryPolicy,
    /// QUIC versions accepted, the preferred one first: it is taken wherever the client offers it (RFC 9368 §2.3).
    pub versions: Vec<u32>,
    /// Clients get a token for their next connection (RFC 9000 §8.1.3).
    pub new_tokens: bool,
}

impl ServerConfig {
    /// The defaults around what has none.
    #[must_use]
    pub fn new(tls: qcrypto::ServerTls, transport: Arc<TransportConfig>, max_connections: usize) -> Self {
        let versions = version::SPOKEN.to_vec();
        Self { tls, transport, max_connections, max_per_address: limits::CONNECTIONS_PER_ADDRESS, retry: RetryPolicy::default(), versions, new_tokens: true }
    }
}

/// When a server answers a first Initial with Retry (RFC 9000 §8.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RetryPolicy {
    /// Whenever no valid token comes with it.
    Always,
    /// While [`limits::HALF_OPEN_BEFORE_RETRY`] handshakes are under way (attacks L2).
    #[default]
    Auto,
    /// Never.
    Never,
}

/// Settings of an outgoing connection.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Trust, ALPN and own identity.
    pub tls: qcrypto::ClientTls,
    /// Transport settings.
    pub transport: Arc<TransportConfig>,
    /// QUIC versions offered in order of preference; the first Initial has the first (RFC 9368 §2.5).
    pub versions: Vec<u32>,
    /// Version of the first Initial instead; a reserved one makes every server answer with its own (RFC 9000 §6.3).
    pub first_version: Option<u32>,
    /// What an `Event::NewToken` of an earlier connection to this server brought. Each should be used once
    /// (RFC 9000 §8.1.3).
    pub token: Option<Bytes>,
}

impl ClientConfig {
    /// The defaults around what has none.
    #[must_use]
    pub fn new(tls: qcrypto::ClientTls, transport: Arc<TransportConfig>) -> Self {
        Self { tls, transport, versions: version::SPOKEN.to_vec(), first_version: None, token: None }
    }
}

/// Bytes of one buffer of an endpoint's memory (mux R1).
pub const POOL_BLOCK_BYTES: usize = qrecovery::buffer::BLOCK_LEN;

/// Settings of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Secret that the keys of stateless resets and of address tokens come from, the same on all machines of a fleet.
    pub secret: [u8; 32],
    /// Memory of received bytes and of bytes to send over all connections, bytes (mux R1).
    pub pool_bytes: usize,
    /// How far receive windows may add up beyond `pool_bytes`, percent, 100 to 800. Above 100 a connection whose bytes find
    /// no memory is closed with INTERNAL_ERROR (mux R20).
    pub overcommit_percent: u32,
    /// Time since 1970 at [`Timestamp::ZERO`](qbase::Timestamp::ZERO): tokens outlive the process that made them, so
    /// their age is counted in time of day.
    pub unix_at_zero: Duration,
    /// Every connection writes a qlog; `Endpoint::poll_qlog` hands it out.
    pub qlog: bool,
    /// What the connection ids look like that are issued here.
    pub shape: CidShape,
    /// Whose datagrams are dropped unread.
    pub blocked: BlockList,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self { secret: [0; 32], pool_bytes: 64 * 1_024 * 1_024, overcommit_percent: 100, unix_at_zero: Duration::ZERO, qlog: false, shape: CidShape::default(), blocked: BlockList::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qbase::Role;

    /// Shows 9000-18.2-8.
    #[test]
    fn what_is_announced_keeps_the_rules_for_values() {
        for multipath in [Multipath::Off, Multipath::Auto, Multipath::SharedSpace] {
            let parameters = TransportConfig { multipath, ..TransportConfig::default() }.parameters();
            assert!(parameters.active_connection_id_limit >= 2);
            let mut encoded = Vec::new();
            parameters.write(&mut encoded, Role::Server, None);
            assert_eq!(TransportParameters::read(&encoded, Role::Server), Ok(parameters), "a strict reader takes it");
        }
    }
}
