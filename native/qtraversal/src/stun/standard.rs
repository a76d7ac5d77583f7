//! Standard STUN: Binding of RFC 8489 with the attributes of RFC 5780 (traversal T-42).
//!
//! ```text
//! type (16) | length (16), of what follows the head | magic cookie 0x2112A442 | transaction id (96)
//! attributes: type (16) | length (16) | value | padding to 4 bytes, whatever it holds
//! ```
//! Attributes of credentials are skipped: we have none. Attributes behind MESSAGE-INTEGRITY do not count but FINGERPRINT.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use qbase::{Reader, Writer};

use super::{Change, Class, Fingerprint, Form, Malformed, Message, TransactionId, crc::crc32};
use crate::address::wire::{Family, read_address, write_ip};

const COOKIE: u32 = 0x2112_a442;
/// Its first 16 bits, which hide ports.
const COOKIE_PORT: u16 = 0x2112;
const HEAD: usize = 20;
const BINDING: u16 = 0x0001;
/// Bits of the method in a type; the others are class bits 4 and 8.
const METHOD: u16 = 0x3eef;
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// Bytes of FINGERPRINT with its head.
const FINGERPRINT_SIZE: u16 = 8;
/// Below, attributes must be understood.
const OPTIONAL: u16 = 0x8000;

/// Attribute types (RFC 8489 §18.3, RFC 5780 §9.1; SOURCE-ADDRESS and CHANGED-ADDRESS of RFC 3489 as old servers send them).
mod attribute {
    pub(super) const MAPPED_ADDRESS: u16 = 0x0001;
    pub(super) const CHANGE_REQUEST: u16 = 0x0003;
    pub(super) const SOURCE_ADDRESS: u16 = 0x0004;
    pub(super) const CHANGED_ADDRESS: u16 = 0x0005;
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(super) const REALM: u16 = 0x0014;
    pub(super) const NONCE: u16 = 0x0015;
    pub(super) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const RESPONSE_PORT: u16 = 0x0027;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const RESPONSE_ORIGIN: u16 = 0x802b;
    pub(super) const OTHER_ADDRESS: u16 = 0x802c;
}

/// The head is one of standard STUN: two zero bits, the cookie, and the length of the datagram.
pub(super) fn recognize(datagram: &[u8]) -> bool {
    let mut reader = Reader::new(datagram);
    let (Ok(kind), Ok(length), Ok(cookie)) = (reader.u16(), reader.u16(), reader.u32()) else { return false };
    kind < 0x4000 && cookie == COOKIE && length & 3 == 0 && datagram.len() == usize::from(length).saturating_add(HEAD)
}

pub(super) fn decode(datagram: &[u8]) -> Result<Message, Malformed> {
    if !recognize(datagram) {
        return Err(Malformed::Head);
    }
    let mut reader = Reader::new(datagram);
    let head = |_| Malformed::Head;
    let kind = reader.u16().map_err(head)?;
    if kind & METHOD != BINDING {
        return Err(Malformed::Method);
    }
    let class = match (kind & 0x0100 != 0, kind & 0x0010 != 0) {
        (false, false) => Class::Request,
        (false, true) => Class::Indication,
        (true, false) => Class::Success,
        (true, true) => Class::Error,
    };
    reader.bytes(6).map_err(head)?;
    let [a, b, c, d, e, f, g, h, i, j, k, l] = reader.array().map_err(head)?;
    let id = TransactionId::from_bytes([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0]);
    let mut found = Found::new(id, class);
    while !reader.is_empty() {
        let before = datagram.get(..reader.position()).unwrap_or_default();
        found.attribute(&mut reader, before)?;
    }
    let mut message = found.message;
    message.mapped = found.xor_mapped.or(found.mapped);
    message.origin = message.origin.or(found.old_source);
    message.other = message.other.or(found.old_changed);
    Ok(message)
}

/// What was read so far.
struct Found {
    message: Message,
    xor_mapped: Option<SocketAddr>,
    mapped: Option<SocketAddr>,
    old_source: Option<SocketAddr>,
    old_changed: Option<SocketAddr>,
    /// Behind MESSAGE-INTEGRITY.
    sealed: bool,
}

impl Found {
    const fn new(id: TransactionId, class: Class) -> Self {
        let message = Message::new(Form::Rfc, class, id);
        Self { message, xor_mapped: None, mapped: None, old_source: None, old_changed: None, sealed: false }
    }

    /// Takes one attribute; the first of a type counts. `before`: the datagram up to it.
    fn attribute(&mut self, reader: &mut Reader<'_>, before: &[u8]) -> Result<(), Malformed> {
        let truncated = |_| Malformed::Truncated;
        let kind = reader.u16().map_err(truncated)?;
        let length = usize::from(reader.u16().map_err(truncated)?);
        let mut value = Reader::new(reader.bytes(length).map_err(truncated)?);
        reader.bytes(length.wrapping_neg() & 3).map_err(truncated)?;
        let value = &mut value;
        if kind == attribute::FINGERPRINT {
            let sum = value.u32().map_err(|_| Malformed::Fingerprint)?;
            if !value.is_empty() || !reader.is_empty() || sum != crc32(before) ^ FINGERPRINT_XOR {
                return Err(Malformed::Fingerprint);
            }
            self.message.fingerprint = Fingerprint::Present;
            return Ok(());
        }
        if self.sealed {
            return Ok(());
        }
        let id = self.message.id;
        match kind {
            attribute::XOR_MAPPED_ADDRESS => keep(&mut self.xor_mapped, address(value, Some(id))?),
            attribute::MAPPED_ADDRESS => keep(&mut self.mapped, address(value, None)?),
            attribute::RESPONSE_ORIGIN => keep(&mut self.message.origin, address(value, None)?),
            attribute::OTHER_ADDRESS => keep(&mut self.message.other, address(value, None)?),
            attribute::SOURCE_ADDRESS => keep(&mut self.old_source, address(value, None)?),
            attribute::CHANGED_ADDRESS => keep(&mut self.old_changed, address(value, None)?),
            attribute::CHANGE_REQUEST => {
                let [.., flags] = whole::<4>(value)?;
                keep(&mut self.message.change, Change::from_bits(flags >> 1));
            }
            attribute::RESPONSE_PORT => {
                let port = value.u16().map_err(|_| Malformed::Attribute)?;
                keep(&mut self.message.response_port, port);
            }
            attribute::ERROR_CODE => {
                let [_, _, class, number] = value.array().map_err(|_| Malformed::Attribute)?;
                let class = u16::from(class & 7);
                if !(3..=6).contains(&class) || number > 99 {
                    return Err(Malformed::Attribute);
                }
                keep(&mut self.message.error, class.saturating_mul(100).saturating_add(number.into()));
            }
            attribute::UNKNOWN_ATTRIBUTES => {
                while let Ok(kind) = value.u16() {
                    self.message.unknown.push(kind);
                }
            }
            attribute::MESSAGE_INTEGRITY | attribute::MESSAGE_INTEGRITY_SHA256 => self.sealed = true,
            attribute::USERNAME | attribute::REALM | attribute::NONCE | attribute::PRIORITY => {}
            OPTIONAL.. => {}
            _ => self.message.unknown.push(kind),
        }
        Ok(())
    }
}

fn keep<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn whole<const N: usize>(value: &mut Reader<'_>) -> Result<[u8; N], Malformed> {
    let bytes = value.array().map_err(|_| Malformed::Attribute)?;
    if value.is_empty() { Ok(bytes) } else { Err(Malformed::Attribute) }
}

/// Takes an address; hidden with cookie and id where `hidden` names the id.
fn address(value: &mut Reader<'_>, hidden: Option<TransactionId>) -> Result<SocketAddr, Malformed> {
    let [_, family] = value.array().map_err(|_| Malformed::Attribute)?;
    let family = match family {
        1 => Family::V4,
        2 => Family::V6,
        _ => return Err(Malformed::Attribute),
    };
    let address = read_address(value, family).map_err(|_| Malformed::Attribute)?;
    if !value.is_empty() {
        return Err(Malformed::Attribute);
    }
    Ok(match hidden {
        Some(id) => hide(address, id),
        None => address,
    })
}

/// XOR with the cookie and the id: hides what a NAT would rewrite, and shows what is hidden (RFC 8489 §14.2).
fn hide(address: SocketAddr, id: TransactionId) -> SocketAddr {
    let port = address.port() ^ COOKIE_PORT;
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(Ipv4Addr::from_bits(ip.to_bits() ^ COOKIE).into(), port),
        IpAddr::V6(ip) => {
            let id = u128::from_be_bytes(*id.as_bytes()) >> 32;
            let mask = u128::from(COOKIE) << 96 | id;
            SocketAddr::new(Ipv6Addr::from_bits(ip.to_bits() ^ mask).into(), port)
        }
    }
}

pub(super) fn encode(message: &Message, writer: &mut Writer<'_>) {
    let class = match message.class {
        Class::Request => 0x0000,
        Class::Indication => 0x0010,
        Class::Success => 0x0100,
        Class::Error => 0x0110,
    };
    writer.u16(BINDING | class);
    writer.u16(0);
    writer.u32(COOKIE);
    let [head @ .., _, _, _, _] = *message.id.as_bytes();
    writer.bytes(&head);
    put_address(writer, attribute::XOR_MAPPED_ADDRESS, message.mapped.map(|address| hide(address, message.id)));
    put_address(writer, attribute::RESPONSE_ORIGIN, message.origin);
    put_address(writer, attribute::OTHER_ADDRESS, message.other);
    if let Some(change) = message.change {
        put_head(writer, attribute::CHANGE_REQUEST, 4);
        writer.u32(u32::from(change.to_bits()) << 1);
    }
    if let Some(port) = message.response_port {
        put_head(writer, attribute::RESPONSE_PORT, 2);
        writer.u16(port);
        writer.u16(0);
    }
    if let Some(error) = message.error {
        put_head(writer, attribute::ERROR_CODE, 4);
        writer.u16(0);
        writer.u8(u8::try_from(error / 100).unwrap_or(u8::MAX) & 7);
        writer.u8(u8::try_from(error % 100).unwrap_or(u8::MAX));
    }
    if message.class == Class::Error && !message.unknown.is_empty() {
        let types = message.unknown.types();
        put_head(writer, attribute::UNKNOWN_ATTRIBUTES, u16::try_from(types.len().saturating_mul(2)).unwrap_or(0));
        types.iter().for_each(|kind| writer.u16(*kind));
        writer.zeros(types.len().saturating_mul(2).wrapping_neg() & 3);
    }
    let sum = if message.fingerprint == Fingerprint::Present { FINGERPRINT_SIZE } else { 0 };
    let length = u16::try_from(writer.len().saturating_sub(HEAD)).unwrap_or(u16::MAX).saturating_add(sum);
    if let Some(slot) = writer.written_mut().get_mut(2..4) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
    if message.fingerprint == Fingerprint::Present {
        let crc = crc32(writer.written()) ^ FINGERPRINT_XOR;
        put_head(writer, attribute::FINGERPRINT, 4);
        writer.u32(crc);
    }
}

fn put_head(writer: &mut Writer<'_>, kind: u16, length: u16) {
    writer.u16(kind);
    writer.u16(length);
}

fn put_address(writer: &mut Writer<'_>, kind: u16, address: Option<SocketAddr>) {
    let Some(address) = address else { return };
    let family = Family::of(address);
    put_head(writer, kind, if family == Family::V4 { 8 } else { 20 });
    writer.u16(if family == Family::V4 { 1 } else { 2 });
    writer.u16(address.port());
    write_ip(writer, address.ip());
}
