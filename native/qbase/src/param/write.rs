//! Writing our transport parameters (RFC 9000 §18).
//!
//! Called once per handshake, before TLS starts. Leaves out what equals its default and, for a client, what only servers
//! send. Never checks ranges: our own values are ours.

use super::{ACK_DELAY_EXPONENT, MAX_ACK_DELAY, MAX_UDP_PAYLOAD, MIN_CID_LIMIT, TransportParameters, id};
use crate::{ConnectionId, Role, Writer, varint};
use std::time::Duration;

impl TransportParameters {
    /// Appends the parameters of an end with this `role`. With `grease`, also an empty parameter with this id, which
    /// should be one of [`id::reserved`].
    pub fn write(&self, out: &mut Vec<u8>, role: Role, grease: Option<u64>) {
        if role == Role::Server {
            self.write_server_only(out);
        }
        put_number(out, id::MAX_IDLE_TIMEOUT, millis(self.max_idle_timeout), 0);
        put_number(out, id::MAX_UDP_PAYLOAD_SIZE, self.max_udp_payload_size, MAX_UDP_PAYLOAD);
        put_number(out, id::INITIAL_MAX_DATA, self.initial_max_data, 0);
        put_number(out, id::INITIAL_MAX_STREAM_DATA_BIDI_LOCAL, self.initial_max_stream_data_bidi_local, 0);
        put_number(out, id::INITIAL_MAX_STREAM_DATA_BIDI_REMOTE, self.initial_max_stream_data_bidi_remote, 0);
        put_number(out, id::INITIAL_MAX_STREAM_DATA_UNI, self.initial_max_stream_data_uni, 0);
        put_number(out, id::INITIAL_MAX_STREAMS_BIDI, self.initial_max_streams_bidi, 0);
        put_number(out, id::INITIAL_MAX_STREAMS_UNI, self.initial_max_streams_uni, 0);
        put_number(out, id::ACK_DELAY_EXPONENT, self.ack_delay_exponent.into(), ACK_DELAY_EXPONENT.into());
        put_number(out, id::MAX_ACK_DELAY, millis(self.max_ack_delay), millis(MAX_ACK_DELAY));
        if let Some(least) = self.min_ack_delay {
            put_varint_value(out, id::MIN_ACK_DELAY, u64::try_from(least.as_micros()).unwrap_or(varint::MAX));
        }
        if self.disable_active_migration {
            put(out, id::DISABLE_ACTIVE_MIGRATION, &[]);
        }
        put_number(out, id::ACTIVE_CONNECTION_ID_LIMIT, self.active_connection_id_limit, MIN_CID_LIMIT);
        put_cid(out, id::INITIAL_SOURCE_CONNECTION_ID, self.initial_source_connection_id.as_ref());
        put_number(out, id::MAX_DATAGRAM_FRAME_SIZE, self.max_datagram_frame_size, 0);
        if let Some(path) = self.initial_max_path_id {
            // Zero means "multipath, one path id", not "absent" (multipath MP-5).
            put_varint_value(out, id::INITIAL_MAX_PATH_ID, path.0.into());
        }
        if let Some(path) = self.shared_space_max_path_id {
            put_varint_value(out, id::SHARED_SPACE_MAX_PATH_ID, path.0.into());
        }
        if self.grease_quic_bit {
            put(out, id::GREASE_QUIC_BIT, &[]);
        }
        if let Some(information) = &self.version_information {
            let mut value = Vec::new();
            information.write(&mut value);
            put(out, id::VERSION_INFORMATION, &value);
        }
        if let Some(traversal) = &self.traversal {
            let mut value = [0; 24];
            let mut writer = Writer::new(&mut value);
            traversal.write(&mut writer);
            put(out, id::TRAVERSAL, writer.written());
        }
        if let Some(discovery) = self.address_discovery {
            put_varint_value(out, id::ADDRESS_DISCOVERY, discovery.to_wire().into());
        }
        if let Some(id) = grease {
            put(out, id, &[]);
        }
    }

    fn write_server_only(&self, out: &mut Vec<u8>) {
        let original = self.original_destination_connection_id.as_ref();
        put_cid(out, id::ORIGINAL_DESTINATION_CONNECTION_ID, original);
        put_cid(out, id::RETRY_SOURCE_CONNECTION_ID, self.retry_source_connection_id.as_ref());
        if let Some(token) = self.stateless_reset_token {
            put(out, id::STATELESS_RESET_TOKEN, &token.0);
        }
        if let Some(address) = self.preferred_address {
            let mut value = Vec::new();
            address.write(&mut value);
            put(out, id::PREFERRED_ADDRESS, &value);
        }
    }
}

/// Whole milliseconds; what does not fit a varint is its maximum.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(varint::MAX)
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    let mut buffer = [0; 8];
    let mut writer = Writer::new(&mut buffer);
    writer.varint(value);
    out.extend_from_slice(writer.written());
}

fn put(out: &mut Vec<u8>, id: u64, value: &[u8]) {
    put_varint(out, id);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn put_varint_value(out: &mut Vec<u8>, id: u64, value: u64) {
    let value = value.min(varint::MAX);
    put_varint(out, id);
    put_varint(out, varint::size(value) as u64);
    put_varint(out, value);
}

fn put_number(out: &mut Vec<u8>, id: u64, value: u64, default: u64) {
    if value != default {
        put_varint_value(out, id, value);
    }
}

fn put_cid(out: &mut Vec<u8>, id: u64, cid: Option<&ConnectionId>) {
    if let Some(cid) = cid {
        put(out, id, cid.as_bytes());
    }
}
