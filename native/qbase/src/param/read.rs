//! Reading the peer's transport parameters (RFC 9000 §7.4, §18; attacks B6, B8, B9).
//!
//! Called once per handshake by the connection. Every fault is TRANSPORT_PARAMETER_ERROR. Unknown parameters
//! and unknown versions cost nothing but their bytes.

use super::{AddressDiscovery, MIN_CID_LIMIT, PreferredAddress, TransportParameters, TraversalParameter, VersionInformation, id};
use crate::{
    ConnectionId, ErrorCode, PathId, Reader, ResetToken, Role, TransportError, UnexpectedEnd, limits,
    stream_id::MAX_STREAM_COUNT,
};
use std::time::Duration;

/// What is wrong with a parameter; a [`TransportError`] at the edge.
#[derive(Clone, Copy)]
struct Invalid(&'static str);

impl From<UnexpectedEnd> for Invalid {
    fn from(_: UnexpectedEnd) -> Self {
        Self("a transport parameter is cut short")
    }
}

impl From<Invalid> for TransportError {
    fn from(Invalid(reason): Invalid) -> Self {
        Self::new(ErrorCode::TRANSPORT_PARAMETER_ERROR, reason)
    }
}

impl TransportParameters {
    /// Reads the parameters that `from` sent; absent ones have their defaults.
    ///
    /// # Errors
    /// TRANSPORT_PARAMETER_ERROR: a value is malformed or out of its range, a known parameter comes twice, a client sent one
    /// that only servers may send, or two of them exclude each other.
    pub fn read(bytes: &[u8], from: Role) -> Result<Self, TransportError> {
        let mut reader = Reader::new(bytes);
        let mut parameters = Self::default();
        let mut seen = Seen::default();
        while !reader.is_empty() {
            let (id, value) = entry(&mut reader)?;
            seen.insert(id)?;
            if from.is_client() && is_server_only(id) {
                return Err(Invalid("a client sent a parameter of servers").into());
            }
            let mut value = Reader::new(value);
            if id == id::VERSION_INFORMATION {
                let information = VersionInformation::read(value.take_rest(), from);
                parameters.version_information = Some(information.ok_or(Invalid("version_information is malformed"))?);
            } else if id == id::TRAVERSAL {
                parameters.traversal = Some(TraversalParameter::read(value.take_rest())?);
            } else if id == id::ADDRESS_DISCOVERY {
                parameters.address_discovery = Some(AddressDiscovery::read(value.take_rest())?);
            } else if parameters.set(id, &mut value)? == Known::Yes && !value.is_empty() {
                return Err(Invalid("a transport parameter is longer than its value").into());
            }
        }
        if parameters.min_ack_delay.is_some_and(|least| least > parameters.max_ack_delay) {
            return Err(Invalid("min_ack_delay is above max_ack_delay").into());
        }
        if parameters.initial_max_path_id.is_some() && parameters.shared_space_max_path_id.is_some() {
            return Err(Invalid("two ways to use several paths at once").into());
        }
        Ok(parameters)
    }

    /// Takes one value. What is left of it is checked by the caller.
    fn set(&mut self, id: u64, value: &mut Reader<'_>) -> Result<Known, Invalid> {
        match id {
            id::ORIGINAL_DESTINATION_CONNECTION_ID => self.original_destination_connection_id = Some(cid(value)?),
            id::MAX_IDLE_TIMEOUT => self.max_idle_timeout = Duration::from_millis(value.varint()?),
            id::STATELESS_RESET_TOKEN => self.stateless_reset_token = Some(ResetToken(value.array()?)),
            id::MAX_UDP_PAYLOAD_SIZE => {
                self.max_udp_payload_size =
                    at_least(value, limits::MIN_INITIAL as u64, "max_udp_payload_size is below 1200")?;
            }
            id::INITIAL_MAX_DATA => self.initial_max_data = value.varint()?,
            id::INITIAL_MAX_STREAM_DATA_BIDI_LOCAL => self.initial_max_stream_data_bidi_local = value.varint()?,
            id::INITIAL_MAX_STREAM_DATA_BIDI_REMOTE => self.initial_max_stream_data_bidi_remote = value.varint()?,
            id::INITIAL_MAX_STREAM_DATA_UNI => self.initial_max_stream_data_uni = value.varint()?,
            id::INITIAL_MAX_STREAMS_BIDI => self.initial_max_streams_bidi = stream_count(value)?,
            id::INITIAL_MAX_STREAMS_UNI => self.initial_max_streams_uni = stream_count(value)?,
            id::ACK_DELAY_EXPONENT => {
                // At most 20, so it fits.
                self.ack_delay_exponent = at_most(value, 20, "ack_delay_exponent is above 20")? as u8;
            }
            id::MAX_ACK_DELAY => {
                let millis = at_most(value, (1 << 14) - 1, "max_ack_delay is 2^14 ms or more")?;
                self.max_ack_delay = Duration::from_millis(millis);
            }
            id::MIN_ACK_DELAY => self.min_ack_delay = Some(Duration::from_micros(value.varint()?)),
            id::DISABLE_ACTIVE_MIGRATION => self.disable_active_migration = true,
            id::PREFERRED_ADDRESS => {
                let address = PreferredAddress::read(value)?;
                let reason = "the connection id of preferred_address is not 1 to 20 bytes long";
                self.preferred_address = Some(address.ok_or(Invalid(reason))?);
            }
            id::ACTIVE_CONNECTION_ID_LIMIT => {
                self.active_connection_id_limit =
                    at_least(value, MIN_CID_LIMIT, "active_connection_id_limit is below 2")?;
            }
            id::INITIAL_SOURCE_CONNECTION_ID => self.initial_source_connection_id = Some(cid(value)?),
            id::RETRY_SOURCE_CONNECTION_ID => self.retry_source_connection_id = Some(cid(value)?),
            id::INITIAL_MAX_PATH_ID => {
                let path = PathId::from_wire(value.varint()?);
                self.initial_max_path_id = Some(path.ok_or(Invalid("initial_max_path_id is above 2^32-1"))?);
            }
            id::SHARED_SPACE_MAX_PATH_ID => {
                let path = PathId::from_wire(value.varint()?);
                self.shared_space_max_path_id = Some(path.ok_or(Invalid("shared_space_max_path_id is above 2^32-1"))?);
            }
            id::MAX_DATAGRAM_FRAME_SIZE => self.max_datagram_frame_size = value.varint()?,
            id::GREASE_QUIC_BIT => self.grease_quic_bit = true,
            _ => return Ok(Known::No),
        }
        Ok(Known::Yes)
    }
}

/// Whether a parameter means something to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Its value must be exact.
    Yes,
    /// Ignored.
    No,
}

/// The known parameters that came already, one bit each.
#[derive(Default)]
struct Seen(u64);

impl Seen {
    /// Unknown parameters may repeat: remembering them would cost memory that the peer decides on.
    fn insert(&mut self, id: u64) -> Result<(), Invalid> {
        let bit = match id {
            id::GREASE_QUIC_BIT => 63,
            id::MIN_ACK_DELAY => 61,
            id::SHARED_SPACE_MAX_PATH_ID => 60,
            id::TRAVERSAL => 59,
            id::ADDRESS_DISCOVERY => 58,
            0..=id::VERSION_INFORMATION | id::MAX_DATAGRAM_FRAME_SIZE | id::INITIAL_MAX_PATH_ID => id,
            _ => return Ok(()),
        };
        let mask = 1 << bit;
        if self.0 & mask != 0 {
            return Err(Invalid("a transport parameter comes twice"));
        }
        self.0 |= mask;
        Ok(())
    }
}

const fn is_server_only(id: u64) -> bool {
    matches!(
        id,
        id::ORIGINAL_DESTINATION_CONNECTION_ID
            | id::STATELESS_RESET_TOKEN
            | id::PREFERRED_ADDRESS
            | id::RETRY_SOURCE_CONNECTION_ID
    )
}

/// Reads id, length and value.
fn entry<'a>(reader: &mut Reader<'a>) -> Result<(u64, &'a [u8]), Invalid> {
    Ok((reader.varint()?, reader.prefixed()?))
}

/// The whole value as a connection id.
fn cid(value: &mut Reader<'_>) -> Result<ConnectionId, Invalid> {
    ConnectionId::new(value.take_rest()).ok_or(Invalid("a connection id is longer than 20 bytes"))
}

fn stream_count(value: &mut Reader<'_>) -> Result<u64, Invalid> {
    at_most(value, MAX_STREAM_COUNT, "more than 2^60 streams")
}

fn at_least(value: &mut Reader<'_>, least: u64, otherwise: &'static str) -> Result<u64, Invalid> {
    let number = value.varint()?;
    if number < least { Err(Invalid(otherwise)) } else { Ok(number) }
}

fn at_most(value: &mut Reader<'_>, most: u64, otherwise: &'static str) -> Result<u64, Invalid> {
    let number = value.varint()?;
    if number > most { Err(Invalid(otherwise)) } else { Ok(number) }
}
