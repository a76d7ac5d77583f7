//! dquic's STUN, disguised as Version Negotiation (traversal §4, T-10, T-40, T-41).
//!
//! ```text
//! byte 0     0xC2 request (0.5: also responses)   0xC3 response (0.7)
//! bytes 1-4  0 version      bytes 5-6  0 0 empty CIDs      bytes 7-8  0 extension version
//! [0.5 only: 2 bytes message type: 0x0001 request, 0x0101 response]
//! 16 bytes   transaction id
//! attributes, no count, to the end: a type byte, then a socket address (port first) or nothing
//! ```
//!
//! | type | attribute |
//! |---|---|
//! | 0 / 1 | mapped address v4 / v6 |
//! | 2 / 3 | response address |
//! | 4 / 5 | source address of the server |
//! | 6 / 7 | changed address |
//! | 8 ..= 11 | change request, bit 0 port, bit 1 IP; no value |

use std::net::SocketAddr;

use qbase::{Reader, UnexpectedEnd, Writer};

use super::{Change, Class, Form, Malformed, Message, TransactionId, Unwritable};
use crate::address::wire::{Family, read_address, write_address};

const REQUEST_05: u16 = 0x0001;
const RESPONSE_05: u16 = 0x0101;
const REQUEST: u8 = 0xc2;
const RESPONSE: u8 = 0xc3;
/// Version, CID lengths, extension version.
const ZEROS: [u8; 8] = [0; 8];
const ID: usize = 16;

const MAPPED: u8 = 0;
const RESPONSE_ADDRESS: u8 = 2;
const SOURCE: u8 = 4;
const CHANGED: u8 = 6;
const CHANGE_REQUEST: u8 = 8;
const CHANGE_REQUEST_LAST: u8 = 11;

/// Which of the two forms the head is, if one. 0.5 is told by its message type, which an id of 0.7 of ours never looks like.
pub(super) fn recognize(datagram: &[u8]) -> Option<Form> {
    let mut reader = Reader::new(datagram);
    let first = reader.u8().ok()?;
    if !matches!(first, REQUEST | RESPONSE) || reader.array() != Ok(ZEROS) || reader.remaining() < ID {
        return None;
    }
    let with_type = first == REQUEST && reader.remaining() >= ID.saturating_add(2);
    if with_type && matches!(reader.u16(), Ok(REQUEST_05 | RESPONSE_05)) {
        return Some(Form::Dquic05);
    }
    Some(Form::Dquic07)
}

/// Reads a message. An attribute that is unknown or comes again ends it: attributes have no length (T-41).
pub(super) fn decode(form: Form, datagram: &[u8]) -> Result<Message, Malformed> {
    let mut reader = Reader::new(datagram);
    let first = reader.u8().map_err(|_| Malformed::Head)?;
    if reader.array() != Ok(ZEROS) {
        return Err(Malformed::Head);
    }
    let class = match (form, first) {
        (Form::Dquic05, REQUEST) => match reader.u16() {
            Ok(REQUEST_05) => Class::Request,
            Ok(RESPONSE_05) => Class::Success,
            _ => return Err(Malformed::Head),
        },
        (Form::Dquic07, REQUEST) => Class::Request,
        (Form::Dquic07, RESPONSE) => Class::Success,
        _ => return Err(Malformed::Head),
    };
    let id = TransactionId::from_bytes(reader.array().map_err(|_| Malformed::Head)?);
    // Not `new`: the id stays as the peer chose it.
    let mut message = Message { id, ..Message::new(form, class, id) };
    attributes(&mut message, &mut reader).map_err(|_| Malformed::Truncated)?;
    Ok(message)
}

fn attributes(message: &mut Message, reader: &mut Reader<'_>) -> Result<(), UnexpectedEnd> {
    while let Ok(kind) = reader.u8() {
        let family = if kind & 1 == 0 { Family::V4 } else { Family::V6 };
        let slot = match kind & !1 {
            MAPPED => &mut message.mapped,
            RESPONSE_ADDRESS => &mut message.response_address,
            SOURCE => &mut message.origin,
            CHANGED => &mut message.other,
            _ if (CHANGE_REQUEST..=CHANGE_REQUEST_LAST).contains(&kind) && message.change.is_none() => {
                message.change = Some(Change::from_bits(kind & 3));
                continue;
            }
            _ => return Ok(()),
        };
        if slot.is_some() {
            return Ok(());
        }
        *slot = Some(read_address(reader, family)?);
    }
    Ok(())
}

/// Puts a message; responses in the order source, mapped, changed (T-43).
pub(super) fn encode(message: &Message, writer: &mut Writer<'_>) -> Result<(), Unwritable> {
    let (first, kind) = match message.class {
        Class::Request => (REQUEST, REQUEST_05),
        Class::Success if message.form == Form::Dquic05 => (REQUEST, RESPONSE_05),
        Class::Success => (RESPONSE, RESPONSE_05),
        Class::Indication | Class::Error => return Err(Unwritable),
    };
    if message.response_port.is_some() {
        return Err(Unwritable);
    }
    writer.u8(first);
    writer.bytes(&ZEROS);
    if message.form == Form::Dquic05 {
        writer.u16(kind);
    }
    writer.bytes(message.id.as_bytes());
    let mut put = |kind: u8, address: Option<SocketAddr>| {
        if let Some(address) = address {
            writer.u8(if address.is_ipv4() { kind } else { kind | 1 });
            write_address(writer, address);
        }
    };
    put(SOURCE, message.origin);
    put(MAPPED, message.mapped);
    put(CHANGED, message.other);
    put(RESPONSE_ADDRESS, message.response_address);
    if let Some(change) = message.change {
        writer.u8(CHANGE_REQUEST | change.to_bits());
    }
    Ok(())
}
