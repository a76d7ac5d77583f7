//! Transport parameters: what each end declares in the handshake (RFC 9000 §7.4, §18; RFC 9221 §3; RFC 9287 §3; RFC 9368 §3;
//! multipath MP-1, MP-98; draft-ietf-quic-ack-frequency §3; traversal T-100; draft-ietf-quic-address-discovery §3).
//!
//! Called by the connection: [`TransportParameters::write`] before TLS starts, [`TransportParameters::read`] on the peer's
//! bytes. Never compares connection ids with those of packets and never decides what is negotiated.

pub mod id;
mod preferred_address;
mod read;
mod remembered;
pub mod traversal;
mod version_information;
mod write;

pub use preferred_address::PreferredAddress;
pub use traversal::{AddressDiscovery, TraversalParameter};
pub use version_information::VersionInformation;

use crate::{ConnectionId, PathId, ResetToken};
use std::time::Duration;

/// The declarations of one end. [`Default`] has the values that hold where a parameter is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportParameters {
    /// Destination id of the client's first Initial. Servers only.
    pub original_destination_connection_id: Option<ConnectionId>,
    /// Silence after which the connection ends, whole milliseconds; zero for none.
    pub max_idle_timeout: Duration,
    /// Stateless reset token of the handshake's connection id. Servers only.
    pub stateless_reset_token: Option<ResetToken>,
    /// Largest UDP payload accepted, bytes, at least 1200.
    pub max_udp_payload_size: u64,
    /// Bytes the peer may send on all streams together.
    pub initial_max_data: u64,
    /// Bytes the peer may send on a bidirectional stream that this end opened.
    pub initial_max_stream_data_bidi_local: u64,
    /// Bytes the peer may send on a bidirectional stream that the peer opened.
    pub initial_max_stream_data_bidi_remote: u64,
    /// Bytes the peer may send on a unidirectional stream.
    pub initial_max_stream_data_uni: u64,
    /// Bidirectional streams the peer may open, at most 2^60.
    pub initial_max_streams_bidi: u64,
    /// Unidirectional streams the peer may open, at most 2^60.
    pub initial_max_streams_uni: u64,
    /// ACK Delay fields of this end are microseconds divided by 2 to this power; at most 20.
    pub ack_delay_exponent: u8,
    /// Longest this end delays an acknowledgement, whole milliseconds below 2^14.
    pub max_ack_delay: Duration,
    /// Least delay of acknowledgements that the peer may ask this end for, whole microseconds, at most `max_ack_delay`;
    /// `None`: ACK_FREQUENCY and IMMEDIATE_ACK are unknown here.
    pub min_ack_delay: Option<Duration>,
    /// The peer must not move to another address while it talks to the handshake's address.
    pub disable_active_migration: bool,
    /// Another address of the server. Servers only.
    pub preferred_address: Option<PreferredAddress>,
    /// Connection ids of the peer kept (per path id with multipath, MP-11), at least 2.
    pub active_connection_id_limit: u64,
    /// Source id of this end's first Initial.
    pub initial_source_connection_id: Option<ConnectionId>,
    /// Source id of the Retry packet, if one was sent. Servers only.
    pub retry_source_connection_id: Option<ConnectionId>,
    /// Largest path id accepted; `None` without multipath (multipath MP-5, MP-6).
    pub initial_max_path_id: Option<PathId>,
    /// The same for one packet-number space over all paths; never together with the other one (multipath MP-98, MP-99).
    pub shared_space_max_path_id: Option<PathId>,
    /// Largest DATAGRAM frame accepted, bytes with type and length; 0 for none (RFC 9221 §3).
    pub max_datagram_frame_size: u64,
    /// The fixed bit of packets to this end may be 0 (RFC 9287 §3).
    pub grease_quic_bit: bool,
    /// Version of the connection and versions available (RFC 9368 §3).
    pub version_information: Option<VersionInformation>,
    /// What this end does about NATs, in profile `braid`; `None`: nothing (traversal T-100).
    pub traversal: Option<TraversalParameter>,
    /// Whether this end tells, or wants to be told, of addresses as they are seen (draft-ietf-quic-address-discovery §3).
    pub address_discovery: Option<AddressDiscovery>,
}

/// Largest UDP payload there is: the default of `max_udp_payload_size`.
const MAX_UDP_PAYLOAD: u64 = 65_527;
/// Default of `ack_delay_exponent`.
const ACK_DELAY_EXPONENT: u8 = 3;
/// Default of `max_ack_delay`.
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// Default and smallest value of `active_connection_id_limit`.
const MIN_CID_LIMIT: u64 = 2;

impl Default for TransportParameters {
    fn default() -> Self {
        Self {
            original_destination_connection_id: None,
            max_idle_timeout: Duration::ZERO,
            stateless_reset_token: None,
            max_udp_payload_size: MAX_UDP_PAYLOAD,
            initial_max_data: 0,
            initial_max_stream_data_bidi_local: 0,
            initial_max_stream_data_bidi_remote: 0,
            initial_max_stream_data_uni: 0,
            initial_max_streams_bidi: 0,
            initial_max_streams_uni: 0,
            ack_delay_exponent: ACK_DELAY_EXPONENT,
            max_ack_delay: MAX_ACK_DELAY,
            min_ack_delay: None,
            disable_active_migration: false,
            preferred_address: None,
            active_connection_id_limit: MIN_CID_LIMIT,
            initial_source_connection_id: None,
            retry_source_connection_id: None,
            initial_max_path_id: None,
            shared_space_max_path_id: None,
            max_datagram_frame_size: 0,
            grease_quic_bit: false,
            version_information: None,
            traversal: None,
            address_discovery: None,
        }
    }
}

impl TransportParameters {
    /// Largest path id accepted in whichever way several paths were offered; `None`: they were not.
    #[must_use]
    pub const fn max_path_id(&self) -> Option<PathId> {
        match self.initial_max_path_id {
            Some(path) => Some(path),
            None => self.shared_space_max_path_id,
        }
    }
}

#[cfg(test)]
mod tests;
