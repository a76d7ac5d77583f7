//! What a client remembers of a server's parameters for the 0-RTT packets of a later connection (RFC 9000 §7.4.1;
//! RFC 9221 §3; multipath MP-10).
//!
//! Called by clients when they begin with 0-RTT and when the server has accepted it, and by the server's ticket store.
//! Never decides whether 0-RTT is used.

use super::TransportParameters;

impl TransportParameters {
    /// The part of a server's parameters that may be used before its new ones are known; everything else has its default.
    /// Never `initial_max_path_id` (attacks F16) or `shared_space_max_path_id` (multipath MP-99), no connection id, no token, nothing about acknowledgements.
    #[must_use]
    pub fn remembered(&self) -> Self {
        Self {
            max_idle_timeout: self.max_idle_timeout,
            max_udp_payload_size: self.max_udp_payload_size,
            initial_max_data: self.initial_max_data,
            initial_max_stream_data_bidi_local: self.initial_max_stream_data_bidi_local,
            initial_max_stream_data_bidi_remote: self.initial_max_stream_data_bidi_remote,
            initial_max_stream_data_uni: self.initial_max_stream_data_uni,
            initial_max_streams_bidi: self.initial_max_streams_bidi,
            initial_max_streams_uni: self.initial_max_streams_uni,
            disable_active_migration: self.disable_active_migration,
            active_connection_id_limit: self.active_connection_id_limit,
            max_datagram_frame_size: self.max_datagram_frame_size,
            address_discovery: self.address_discovery,
            ..Self::default()
        }
    }

    /// No limit that 0-RTT data may rely on is smaller than in `remembered`, and what was said of address discovery stands
    /// (draft-ietf-quic-address-discovery §3).
    #[must_use]
    pub fn covers(&self, remembered: &Self) -> bool {
        let discovery = remembered.address_discovery.is_none() || remembered.address_discovery == self.address_discovery;
        discovery && self.limits().into_iter().zip(remembered.limits()).all(|(new, old)| new >= old)
    }

    /// The limits that a server which accepts 0-RTT must not lower.
    const fn limits(&self) -> [u64; 8] {
        [
            self.active_connection_id_limit,
            self.initial_max_data,
            self.initial_max_stream_data_bidi_local,
            self.initial_max_stream_data_bidi_remote,
            self.initial_max_stream_data_uni,
            self.initial_max_streams_bidi,
            self.initial_max_streams_uni,
            self.max_datagram_frame_size,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param::{AddressDiscovery, TraversalParameter};
    use crate::{ConnectionId, PathId, ResetToken};
    use std::time::Duration;

    fn full() -> TransportParameters {
        TransportParameters {
            original_destination_connection_id: ConnectionId::new(b"original"),
            max_idle_timeout: Duration::from_secs(7),
            stateless_reset_token: Some(ResetToken([1; 16])),
            max_udp_payload_size: 1_452,
            initial_max_data: 10,
            initial_max_stream_data_bidi_local: 11,
            initial_max_stream_data_bidi_remote: 12,
            initial_max_stream_data_uni: 13,
            initial_max_streams_bidi: 14,
            initial_max_streams_uni: 15,
            ack_delay_exponent: 5,
            max_ack_delay: Duration::from_millis(99),
            min_ack_delay: Some(Duration::from_millis(1)),
            disable_active_migration: true,
            preferred_address: None,
            active_connection_id_limit: 4,
            initial_source_connection_id: ConnectionId::new(b"source"),
            retry_source_connection_id: ConnectionId::new(b"retry"),
            initial_max_path_id: Some(PathId(7)),
            shared_space_max_path_id: None,
            max_datagram_frame_size: 16,
            grease_quic_bit: true,
            version_information: None,
            traversal: Some(TraversalParameter::default()),
            address_discovery: Some(AddressDiscovery::Both),
        }
    }

    /// Shows 9000-7.4.1-2.
    /// Shows 9000-7.4.1-4.
    #[test]
    fn limits_are_remembered_and_what_belongs_to_one_connection_is_not() {
        let (full, remembered) = (full(), full().remembered());
        assert!(remembered.covers(&full) && full.covers(&remembered), "every limit");
        assert_eq!(remembered.max_idle_timeout, full.max_idle_timeout);
        assert_eq!(remembered.max_udp_payload_size, full.max_udp_payload_size);
        assert!(remembered.disable_active_migration);
        let plain = TransportParameters::default();
        assert_eq!(remembered.ack_delay_exponent, plain.ack_delay_exponent);
        assert_eq!((remembered.max_ack_delay, remembered.min_ack_delay), (plain.max_ack_delay, None));
        assert_eq!(remembered.initial_source_connection_id, None);
        assert_eq!(remembered.original_destination_connection_id, None);
        assert_eq!(remembered.retry_source_connection_id, None);
        assert_eq!(remembered.preferred_address, None);
        assert_eq!(remembered.stateless_reset_token, None);
        assert_eq!(remembered.traversal, None);
    }

    /// attacks F16, multipath MP-10.
    #[test]
    fn attack_f16_the_largest_path_id_is_never_remembered() {
        assert_eq!(full().remembered().initial_max_path_id, None);
        let shared = TransportParameters { initial_max_path_id: None, shared_space_max_path_id: Some(PathId(7)), ..full() };
        assert_eq!(shared.remembered().max_path_id(), None);
    }

    #[test]
    fn one_lowered_limit_is_enough_not_to_cover() {
        let old = full().remembered();
        let lower: [fn(&mut TransportParameters); 8] = [
            |new| new.active_connection_id_limit -= 1,
            |new| new.initial_max_data -= 1,
            |new| new.initial_max_stream_data_bidi_local -= 1,
            |new| new.initial_max_stream_data_bidi_remote -= 1,
            |new| new.initial_max_stream_data_uni -= 1,
            |new| new.initial_max_streams_bidi -= 1,
            |new| new.initial_max_streams_uni -= 1,
            |new| new.max_datagram_frame_size -= 1,
        ];
        for change in lower {
            let mut new = full();
            change(&mut new);
            assert!(!new.covers(&old));
        }
        assert!(!TransportParameters { address_discovery: None, ..old.clone() }.covers(&old));
        assert!(old.covers(&TransportParameters { address_discovery: None, ..old.clone() }));
        let larger = TransportParameters { initial_max_data: 100, ack_delay_exponent: 0, ..full() };
        assert!(larger.covers(&old));
    }
}
