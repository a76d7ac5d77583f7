//! Profile `braid`: our frames (traversal T-100).
//!
//! Every frame has a length behind its type, the bytes after it that are the frame's; what stands there after the known
//! fields is skipped, so that later versions can add some.
//!
//! | type | fields behind type (i) and length (i) |
//! |---|---|
//! | 0x21b3a1d0 / 0x21b3a1d1 ADD_ADDRESS, v4 / v6 | seq (i), IP, port (16), tier (i), NAT type (i), kind (i); kind 2: IP and port of the agent |
//! | 0x21b3a1d2 / 0x21b3a1d3 PUNCH_ME_NOW | local seq (i), remote seq (i), IP, port (16), tier (i), NAT type (i), kind (i), not 2 |
//! | 0x21b3a1d4 REMOVE_ADDRESS | seq (i) |
//! | 0x21b3a1d5 PUNCH_HELLO, 0x21b3a1d6 PUNCH_DONE | local seq (i), remote seq (i), probe id (i) |
//!
//! Kinds: 0 host, 1 mapped, 2 relayed. The connection takes these types only after both ends sent the parameter.

use std::net::SocketAddr;

use qbase::{Reader, Writer};

use super::{
    AddAddress, AddressKind, Encoded, FrameError, ObservedAddress, Profile, PunchDone, PunchHello, PunchMeNow, RemoveAddress,
    TraversalFrame, Unwritable, code::braid as code, put, read_nat_type, read_punch_id,
};
use crate::address::{
    Unusable,
    wire::{Family, read_address_ip_first, write_address_ip_first},
};

/// Our profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Braid;

/// Numbers of address kinds.
const HOST: u64 = 0;
const MAPPED: u64 = 1;
const RELAYED: u64 = 2;

impl Profile for Braid {
    fn name(&self) -> &'static str {
        "braid"
    }

    fn owns(&self, frame_type: u64) -> bool {
        (code::ADD_ADDRESS_V4..=code::PUNCH_DONE).contains(&frame_type) || ObservedAddress::owns(frame_type)
    }

    fn read(&self, frame_type: u64, reader: &mut Reader<'_>) -> Result<TraversalFrame, FrameError> {
        if ObservedAddress::owns(frame_type) {
            return ObservedAddress::read(frame_type, reader).map(TraversalFrame::ObservedAddress);
        }
        if !self.owns(frame_type) {
            return Err(FrameError::UnknownType);
        }
        let mut fields = Reader::new(reader.prefixed()?);
        let fields = &mut fields;
        Ok(match frame_type {
            code::ADD_ADDRESS_V4 => TraversalFrame::AddAddress(add_address(fields, Family::V4)?),
            code::ADD_ADDRESS_V6 => TraversalFrame::AddAddress(add_address(fields, Family::V6)?),
            code::PUNCH_ME_NOW_V4 => TraversalFrame::PunchMeNow(punch_me_now(fields, Family::V4)?),
            code::PUNCH_ME_NOW_V6 => TraversalFrame::PunchMeNow(punch_me_now(fields, Family::V6)?),
            code::REMOVE_ADDRESS => TraversalFrame::RemoveAddress(RemoveAddress { seq: fields.varint()? }),
            code::PUNCH_HELLO => {
                TraversalFrame::PunchHello(PunchHello { id: read_punch_id(fields)?, probe: fields.varint()? })
            }
            _ => TraversalFrame::PunchDone(PunchDone { id: read_punch_id(fields)?, probe: fields.varint()? }),
        })
    }

    fn encode(&self, frame: &TraversalFrame) -> Result<Encoded, Unwritable> {
        if let TraversalFrame::ObservedAddress(frame) = frame {
            return Encoded::build(|writer| frame.put(writer));
        }
        let fields = Encoded::build(|writer| put_fields(writer, frame))?;
        Encoded::build(|writer| {
            let bytes = fields.bytes();
            put(writer, [type_of(frame), bytes.len() as u64])?;
            writer.bytes(bytes);
            Ok(())
        })
    }
}

fn type_of(frame: &TraversalFrame) -> u64 {
    match frame {
        TraversalFrame::AddAddress(frame) => match Family::of(frame.address) {
            Family::V4 => code::ADD_ADDRESS_V4,
            Family::V6 => code::ADD_ADDRESS_V6,
        },
        TraversalFrame::PunchMeNow(frame) => match Family::of(frame.address) {
            Family::V4 => code::PUNCH_ME_NOW_V4,
            Family::V6 => code::PUNCH_ME_NOW_V6,
        },
        TraversalFrame::RemoveAddress(_) => code::REMOVE_ADDRESS,
        TraversalFrame::PunchHello(_) => code::PUNCH_HELLO,
        // OBSERVED_ADDRESS has no such head.
        TraversalFrame::PunchDone(_) | TraversalFrame::ObservedAddress(_) => code::PUNCH_DONE,
    }
}

fn put_fields(writer: &mut Writer<'_>, frame: &TraversalFrame) -> Result<(), Unwritable> {
    match frame {
        TraversalFrame::AddAddress(frame) => {
            put(writer, [frame.seq])?;
            write_address_ip_first(writer, frame.address);
            put(writer, [frame.tier, frame.nat_type.to_wire()])?;
            put_kind(writer, frame.kind, frame.address)
        }
        TraversalFrame::PunchMeNow(frame) => {
            if matches!(frame.kind, AddressKind::Relayed { .. }) {
                return Err(Unwritable::Kind);
            }
            put(writer, [frame.id.local_seq, frame.id.remote_seq])?;
            write_address_ip_first(writer, frame.address);
            put(writer, [frame.tier, frame.nat_type.to_wire()])?;
            put_kind(writer, frame.kind, frame.address)
        }
        TraversalFrame::RemoveAddress(frame) => put(writer, [frame.seq]),
        TraversalFrame::PunchHello(PunchHello { id, probe }) | TraversalFrame::PunchDone(PunchDone { id, probe }) => {
            put(writer, [id.local_seq, id.remote_seq, *probe])
        }
        TraversalFrame::ObservedAddress(frame) => frame.put(writer),
    }
}

fn put_kind(writer: &mut Writer<'_>, kind: AddressKind, outer: SocketAddr) -> Result<(), Unwritable> {
    match kind {
        AddressKind::Host => put(writer, [HOST]),
        AddressKind::Mapped => put(writer, [MAPPED]),
        AddressKind::Relayed { agent } => {
            if Family::of(agent) != Family::of(outer) {
                return Err(Unwritable::Address(Unusable::Families));
            }
            put(writer, [RELAYED])?;
            write_address_ip_first(writer, agent);
            Ok(())
        }
    }
}

fn add_address(fields: &mut Reader<'_>, family: Family) -> Result<AddAddress, FrameError> {
    Ok(AddAddress {
        seq: fields.varint()?,
        address: read_address_ip_first(fields, family)?,
        tier: fields.varint()?,
        nat_type: read_nat_type(fields)?,
        kind: match fields.varint()? {
            HOST => AddressKind::Host,
            MAPPED => AddressKind::Mapped,
            RELAYED => AddressKind::Relayed { agent: read_address_ip_first(fields, family)? },
            _ => return Err(FrameError::Kind),
        },
    })
}

fn punch_me_now(fields: &mut Reader<'_>, family: Family) -> Result<PunchMeNow, FrameError> {
    Ok(PunchMeNow {
        id: read_punch_id(fields)?,
        address: read_address_ip_first(fields, family)?,
        tier: fields.varint()?,
        nat_type: read_nat_type(fields)?,
        kind: match fields.varint()? {
            HOST => AddressKind::Host,
            MAPPED => AddressKind::Mapped,
            _ => return Err(FrameError::Kind),
        },
    })
}
