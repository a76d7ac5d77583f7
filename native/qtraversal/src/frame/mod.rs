//! What ends tell each other about addresses and punches, whatever the bytes (traversal §5, §8; attacks G4).
//!
//! Decides the frames' meaning; a [`Profile`] decides their bytes, so that machines above know no code points (traversal
//! T-101). Called by the connection, which asks first whether the profile was negotiated (traversal T-60). Never keeps state.

mod braid;
pub mod code;
mod dquic;
mod observed;

pub use braid::Braid;
pub use dquic::Dquic;
pub use observed::ObservedAddress;
pub use qbase::param::traversal as param;

use std::net::SocketAddr;

use qbase::{Reader, TransportError, UnexpectedEnd, Writer, varint};

use crate::{NatType, address::Unusable};

/// What an announced address is (traversal T-100). Profile `dquic` does not say it: there all are [`AddressKind::Mapped`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressKind {
    /// Of an interface of the host.
    Host,
    /// As somebody outside saw it.
    Mapped,
    /// Reached through a relay: the announced address is the outer one of an [`Endpoint::Agent`](crate::Endpoint::Agent).
    Relayed {
        /// The relay.
        agent: SocketAddr,
    },
}

/// ADD_ADDRESS: an address of the sender that may be punched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddAddress {
    /// The sender's number of the address: rising by 1 from 0, never reused (traversal T-71).
    pub seq: u64,
    /// The address.
    pub address: SocketAddr,
    /// Group: only addresses of one tier are paired (traversal T-64).
    pub tier: u64,
    /// The NAT before it.
    pub nat_type: NatType,
    /// What it is.
    pub kind: AddressKind,
}

/// PUNCH_ME_NOW: send to this address now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PunchMeNow {
    /// The pair, as the sender sees it.
    pub id: PunchId,
    /// The sender's address, perhaps of a socket made for this punch.
    pub address: SocketAddr,
    /// Group of the address.
    pub tier: u64,
    /// The NAT before it.
    pub nat_type: NatType,
    /// What it is; never [`AddressKind::Relayed`].
    pub kind: AddressKind,
}

/// REMOVE_ADDRESS: an address is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemoveAddress {
    /// The sender's number of it.
    pub seq: u64,
}

/// PUNCH_HELLO: a probe, straight on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PunchHello {
    /// The pair, as the sender sees it.
    pub id: PunchId,
    /// Which probe of a port search; 0: of none (traversal T-93).
    pub probe: u64,
}

/// PUNCH_DONE: a probe arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PunchDone {
    /// The pair, as the sender sees it.
    pub id: PunchId,
    /// The probe's id, copied.
    pub probe: u64,
}

/// Which two announced addresses a punch is about, as one end sees it (traversal T-62).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PunchId {
    /// Number of this end's own address.
    pub local_seq: u64,
    /// Number of the other end's address.
    pub remote_seq: u64,
}

impl PunchId {
    /// As the other end sees it.
    #[must_use]
    pub const fn flipped(self) -> Self {
        Self { local_seq: self.remote_seq, remote_seq: self.local_seq }
    }
}

impl PunchHello {
    /// The answer: numbers flipped, probe copied (traversal T-65). `self` as it was received.
    #[must_use]
    pub const fn done(self) -> PunchDone {
        PunchDone { id: self.id.flipped(), probe: self.probe }
    }
}

/// A frame of traversal or address discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TraversalFrame {
    /// ADD_ADDRESS.
    AddAddress(AddAddress),
    /// PUNCH_ME_NOW.
    PunchMeNow(PunchMeNow),
    /// REMOVE_ADDRESS.
    RemoveAddress(RemoveAddress),
    /// PUNCH_HELLO.
    PunchHello(PunchHello),
    /// PUNCH_DONE.
    PunchDone(PunchDone),
    /// OBSERVED_ADDRESS (draft-ietf-quic-address-discovery). Negotiated by a parameter of its own, in every profile alike.
    ObservedAddress(ObservedAddress),
}

impl TraversalFrame {
    /// The name as specifications spell it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AddAddress(_) => "ADD_ADDRESS",
            Self::PunchMeNow(_) => "PUNCH_ME_NOW",
            Self::RemoveAddress(_) => "REMOVE_ADDRESS",
            Self::PunchHello(_) => "PUNCH_HELLO",
            Self::PunchDone(_) => "PUNCH_DONE",
            Self::ObservedAddress(_) => "OBSERVED_ADDRESS",
        }
    }

    /// A packet with it must be acknowledged: all but PUNCH_HELLO (traversal T-66).
    #[must_use]
    pub const fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::PunchHello(_))
    }

    /// Sent again when lost: all but PUNCH_HELLO. OBSERVED_ADDRESS only on the path it is about.
    #[must_use]
    pub const fn is_reliable(&self) -> bool {
        !matches!(self, Self::PunchHello(_))
    }

    /// A packet of nothing but such frames never migrates a path (traversal T-102, draft-ietf-quic-address-discovery §4). DONE is sent
    /// straight back, too (traversal T-87).
    #[must_use]
    pub const fn is_probing(&self) -> bool {
        matches!(self, Self::PunchHello(_) | Self::PunchDone(_) | Self::ObservedAddress(_))
    }
}

/// Why bytes are no frame of a profile. Each is a FRAME_ENCODING_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FrameError {
    /// The profile has no such type.
    #[error("frame type of no traversal frame")]
    UnknownType,
    /// The bytes end before the frame does.
    #[error("truncated")]
    Truncated,
    /// A NAT type above 5 (traversal T-63).
    #[error("unknown NAT type")]
    NatType,
    /// An address kind that does not exist or may not stand here.
    #[error("unknown address kind")]
    Kind,
}

impl From<UnexpectedEnd> for FrameError {
    fn from(_: UnexpectedEnd) -> Self {
        Self::Truncated
    }
}

impl FrameError {
    /// The error that closes the connection.
    #[must_use]
    pub fn to_transport_error(self, frame_type: u64) -> TransportError {
        let reason = match self {
            Self::UnknownType => "frame type of no traversal frame",
            Self::Truncated => "truncated traversal frame",
            Self::NatType => "unknown NAT type",
            Self::Kind => "unknown address kind",
        };
        TransportError::encoding(reason).by_frame(frame_type)
    }
}

/// Why a frame has no bytes in a profile: a bug of who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unwritable {
    /// The profile has no word for this address kind.
    #[error("the profile cannot say this address kind")]
    Kind,
    /// A number does not fit a varint.
    #[error("number above 2^62-1")]
    Number,
    /// Two addresses of one frame are of two families, or one is no host's.
    #[error("address: {0}")]
    Address(Unusable),
    /// The writer has no room; it holds nothing of the frame.
    #[error("no room")]
    Room,
}

/// How traversal is spelled on the wire. A connection uses exactly one (traversal T-60, T-101).
pub trait Profile {
    /// Its name, as configurations write it.
    fn name(&self) -> &'static str;

    /// A frame of this type is one of this profile's.
    fn owns(&self, frame_type: u64) -> bool;

    /// Takes what follows a frame type. The address in it is not checked for use: see
    /// [`address::ProbePolicy`](crate::address::ProbePolicy).
    ///
    /// # Errors
    /// See [`FrameError`]; then nothing is known about where the next frame starts.
    fn read(&self, frame_type: u64, reader: &mut Reader<'_>) -> Result<TraversalFrame, FrameError>;

    /// The frame's bytes, with its type.
    ///
    /// # Errors
    /// The profile cannot say it.
    fn encode(&self, frame: &TraversalFrame) -> Result<Encoded, Unwritable>;

    /// Bytes of the frame with its type.
    ///
    /// # Errors
    /// The profile cannot say it.
    fn size(&self, frame: &TraversalFrame) -> Result<usize, Unwritable> {
        Ok(self.encode(frame)?.bytes().len())
    }

    /// Puts the frame with its type, or nothing.
    ///
    /// # Errors
    /// The profile cannot say it, or there is no room.
    fn write(&self, frame: &TraversalFrame, writer: &mut Writer<'_>) -> Result<(), Unwritable> {
        let encoded = self.encode(frame)?;
        if writer.remaining() < encoded.bytes().len() {
            return Err(Unwritable::Room);
        }
        writer.bytes(encoded.bytes());
        Ok(())
    }
}

/// A frame's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Encoded {
    buffer: [u8; MAX_FRAME],
    len: usize,
}

/// No frame of any profile is longer, bytes: ADD_ADDRESS of a relayed IPv6 address in profile `braid` takes 4 + 1 + 54.
pub const MAX_FRAME: usize = 64;

impl Encoded {
    /// What `fill` writes.
    ///
    /// # Errors
    /// Those of `fill`, or it wrote more than [`MAX_FRAME`].
    fn build(fill: impl FnOnce(&mut Writer<'_>) -> Result<(), Unwritable>) -> Result<Self, Unwritable> {
        let mut buffer = [0; MAX_FRAME];
        let mut writer = Writer::new(&mut buffer);
        fill(&mut writer)?;
        if writer.overflowed() {
            return Err(Unwritable::Room);
        }
        let len = writer.len();
        Ok(Self { buffer, len })
    }

    /// The bytes, type first.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

/// Puts numbers as varints.
fn put<const N: usize>(writer: &mut Writer<'_>, numbers: [u64; N]) -> Result<(), Unwritable> {
    for number in numbers {
        if number > varint::MAX {
            return Err(Unwritable::Number);
        }
        writer.varint(number);
    }
    Ok(())
}

fn read_nat_type(reader: &mut Reader<'_>) -> Result<NatType, FrameError> {
    NatType::from_wire(reader.varint()?).ok_or(FrameError::NatType)
}

fn read_punch_id(reader: &mut Reader<'_>) -> Result<PunchId, FrameError> {
    Ok(PunchId { local_seq: reader.varint()?, remote_seq: reader.varint()? })
}

/// The profiles there are, as configurations choose them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ProfileKind {
    /// Ours, negotiated.
    #[default]
    Braid,
    /// For peers that speak dquic; never negotiated, only configured.
    Dquic,
}

impl ProfileKind {
    /// Its codec.
    #[must_use]
    pub fn codec(self) -> &'static (dyn Profile + Send + Sync) {
        match self {
            Self::Braid => &Braid,
            Self::Dquic => &Dquic,
        }
    }
}

#[cfg(test)]
mod tests;
