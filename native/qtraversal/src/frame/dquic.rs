//! Profile `dquic`: the frames as dquic's peers spell them (traversal §5, T-60 to T-66).
//!
//! | type | fields |
//! |---|---|
//! | 0x3d7e90 / 0x3d7e91 ADD_ADDRESS, v4 / v6 | seq (i), socket address port first, tier (i), NAT type (i) |
//! | 0x3d7e92 / 0x3d7e93 PUNCH_ME_NOW | local seq (i), remote seq (i), socket address, tier (i), NAT type (i) |
//! | 0x3d7e94 REMOVE_ADDRESS | seq (i) |
//! | 0x3d7e95 PUNCH_HELLO, 0x3d7e96 PUNCH_DONE | local seq (i), remote seq (i), probe id (i) |
//!
//! Never negotiates: the connection takes these types only from peers configured so.

use std::net::SocketAddr;

use qbase::{Reader, Writer};

use super::{
    AddAddress, AddressKind, Encoded, FrameError, ObservedAddress, Profile, PunchDone, PunchHello, PunchMeNow, RemoveAddress,
    TraversalFrame, Unwritable, code::dquic as code, put, read_nat_type, read_punch_id,
};
use crate::address::wire::{Family, read_address, write_address};

/// The profile of dquic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dquic;

impl Profile for Dquic {
    fn name(&self) -> &'static str {
        "dquic"
    }

    fn owns(&self, frame_type: u64) -> bool {
        (code::ADD_ADDRESS_V4..=code::PUNCH_DONE).contains(&frame_type) || ObservedAddress::owns(frame_type)
    }

    fn read(&self, frame_type: u64, reader: &mut Reader<'_>) -> Result<TraversalFrame, FrameError> {
        Ok(match frame_type {
            code::ADD_ADDRESS_V4 => TraversalFrame::AddAddress(add_address(reader, Family::V4)?),
            code::ADD_ADDRESS_V6 => TraversalFrame::AddAddress(add_address(reader, Family::V6)?),
            code::PUNCH_ME_NOW_V4 => TraversalFrame::PunchMeNow(punch_me_now(reader, Family::V4)?),
            code::PUNCH_ME_NOW_V6 => TraversalFrame::PunchMeNow(punch_me_now(reader, Family::V6)?),
            code::REMOVE_ADDRESS => TraversalFrame::RemoveAddress(RemoveAddress { seq: reader.varint()? }),
            code::PUNCH_HELLO => {
                TraversalFrame::PunchHello(PunchHello { id: read_punch_id(reader)?, probe: reader.varint()? })
            }
            code::PUNCH_DONE => {
                TraversalFrame::PunchDone(PunchDone { id: read_punch_id(reader)?, probe: reader.varint()? })
            }
            _ => TraversalFrame::ObservedAddress(ObservedAddress::read(frame_type, reader)?),
        })
    }

    fn encode(&self, frame: &TraversalFrame) -> Result<Encoded, Unwritable> {
        Encoded::build(|writer| match frame {
            TraversalFrame::AddAddress(frame) => {
                let types = (code::ADD_ADDRESS_V4, code::ADD_ADDRESS_V6);
                put(writer, [by_family(frame.address, types), frame.seq])?;
                put_address(writer, frame.address, frame.kind)?;
                put(writer, [frame.tier, frame.nat_type.to_wire()])
            }
            TraversalFrame::PunchMeNow(frame) => {
                let types = (code::PUNCH_ME_NOW_V4, code::PUNCH_ME_NOW_V6);
                put(writer, [by_family(frame.address, types), frame.id.local_seq, frame.id.remote_seq])?;
                put_address(writer, frame.address, frame.kind)?;
                put(writer, [frame.tier, frame.nat_type.to_wire()])
            }
            TraversalFrame::RemoveAddress(frame) => put(writer, [code::REMOVE_ADDRESS, frame.seq]),
            TraversalFrame::PunchHello(PunchHello { id, probe }) => {
                put(writer, [code::PUNCH_HELLO, id.local_seq, id.remote_seq, *probe])
            }
            TraversalFrame::PunchDone(PunchDone { id, probe }) => {
                put(writer, [code::PUNCH_DONE, id.local_seq, id.remote_seq, *probe])
            }
            TraversalFrame::ObservedAddress(frame) => frame.put(writer),
        })
    }
}

fn add_address(reader: &mut Reader<'_>, family: Family) -> Result<AddAddress, FrameError> {
    Ok(AddAddress {
        seq: reader.varint()?,
        address: read_address(reader, family)?,
        tier: reader.varint()?,
        nat_type: read_nat_type(reader)?,
        kind: AddressKind::Mapped,
    })
}

fn punch_me_now(reader: &mut Reader<'_>, family: Family) -> Result<PunchMeNow, FrameError> {
    Ok(PunchMeNow {
        id: read_punch_id(reader)?,
        address: read_address(reader, family)?,
        tier: reader.varint()?,
        nat_type: read_nat_type(reader)?,
        kind: AddressKind::Mapped,
    })
}

fn by_family(address: SocketAddr, (v4, v6): (u64, u64)) -> u64 {
    match Family::of(address) {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}

/// A relayed address cannot be said: the peer would punch to the outer address as if it were open.
fn put_address(writer: &mut Writer<'_>, address: SocketAddr, kind: AddressKind) -> Result<(), Unwritable> {
    if matches!(kind, AddressKind::Relayed { .. }) {
        return Err(Unwritable::Kind);
    }
    write_address(writer, address);
    Ok(())
}
