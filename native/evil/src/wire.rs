//! Packets of the evil client: how they are sealed, how the server's are opened.

use qbase::{
    ConnectionId, EncryptionLevel, PathId, Reader, VERSION_1, Writer,
    frame::Frame,
    limits::TAG_LEN,
    packet::{KeyPhase, LongHeader, LongKind, long, number, short},
};
use qcrypto::{Keys, OneRttKeys};
use qsim::Failure;

use crate::ends::failure;

/// Length of every packet number the evil client writes: then even an empty packet is long enough to be protected.
const NUMBER_LEN: usize = 4;

/// A packet of the server, opened.
#[derive(Clone, Debug)]
pub struct Packet {
    /// What protected it.
    pub level: EncryptionLevel,
    /// The path id of its destination connection id.
    pub path: PathId,
    /// Its number.
    pub number: u64,
    /// Its frames, encoded.
    pub payload: Vec<u8>,
    /// UDP payload of the datagram it came in, bytes.
    pub datagram: usize,
    /// Its destination connection id.
    pub dcid: ConnectionId,
    /// Its source connection id; empty in short headers.
    pub scid: ConnectionId,
    /// Bytes of the token in its header.
    pub token: usize,
}

impl Packet {
    /// Its frames, up to the first that cannot be read.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame<'_>> {
        let mut reader = Reader::new(&self.payload);
        std::iter::from_fn(|| if reader.is_empty() { None } else { Frame::decode(&mut reader).ok() }).collect()
    }
}

/// Where a packet goes and what stands in its header.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// What protects it.
    pub level: EncryptionLevel,
    /// The path id of its number.
    pub path: PathId,
    /// Destination connection id.
    pub dcid: ConnectionId,
    /// Source connection id; long headers only.
    pub scid: ConnectionId,
    /// Its number.
    pub number: u64,
    /// Bits to set in the first byte before it is protected.
    pub first_bits: u8,
}

/// Seals a packet with keys of a long header.
///
/// # Errors
/// The packet is too long for its header.
pub fn seal_long(envelope: &Envelope, keys: &Keys, payload: &[u8]) -> Result<Vec<u8>, Failure> {
    seal_long_of(VERSION_1, envelope, keys, payload)
}

/// The same in another version.
///
/// # Errors
/// The packet is too long for its header.
pub fn seal_long_of(version: u32, envelope: &Envelope, keys: &Keys, payload: &[u8]) -> Result<Vec<u8>, Failure> {
    let kind = match envelope.level {
        EncryptionLevel::Initial => LongKind::Initial { token: &[] },
        EncryptionLevel::ZeroRtt => LongKind::ZeroRtt,
        _ => LongKind::Handshake,
    };
    seal_kind(version, envelope, keys, kind, payload)
}

/// Seals an Initial packet with a token.
///
/// # Errors
/// The packet is too long for its header.
pub fn seal_initial(envelope: &Envelope, keys: &Keys, token: &[u8], payload: &[u8]) -> Result<Vec<u8>, Failure> {
    seal_kind(VERSION_1, envelope, keys, LongKind::Initial { token }, payload)
}

fn seal_kind(version: u32, envelope: &Envelope, keys: &Keys, kind: LongKind<'_>, payload: &[u8]) -> Result<Vec<u8>, Failure> {
    let header = LongHeader { kind, version, dcid: envelope.dcid, scid: envelope.scid };
    let header_len = header.size(NUMBER_LEN);
    let mut packet = vec![0; header_len + payload.len() + TAG_LEN];
    let mut writer = Writer::new(&mut packet);
    let start = header.write(&mut writer, envelope.number, NUMBER_LEN);
    writer.bytes(payload);
    long::patch_length(&mut packet, start.length_offset, NUMBER_LEN + payload.len() + TAG_LEN)
        .ok_or_else(|| failure("too long"))?;
    set_bits(&mut packet, envelope.first_bits);
    keys.local.packet.seal(PathId::ZERO, envelope.number, &mut packet, header_len).map_err(failure)?;
    keys.local.header.protect(&mut packet, start.pn_offset).map_err(failure)?;
    Ok(packet)
}

/// Seals a 1-RTT packet.
///
/// # Errors
/// The packet is too long for its header.
pub fn seal_short(envelope: &Envelope, keys: &mut OneRttKeys, payload: &[u8]) -> Result<Vec<u8>, Failure> {
    let header_len = short::size(&envelope.dcid, NUMBER_LEN);
    let mut packet = vec![0; header_len + payload.len() + TAG_LEN];
    let mut writer = Writer::new(&mut packet);
    let phase = keys.seal_phase();
    let spin = short::Spin::default();
    let offset = short::write(&mut writer, &envelope.dcid, envelope.number, NUMBER_LEN, phase, spin);
    writer.bytes(payload);
    set_bits(&mut packet, envelope.first_bits);
    keys.seal(envelope.path, envelope.number, &mut packet, header_len).map_err(failure)?;
    keys.local_header().protect(&mut packet, offset).map_err(failure)?;
    Ok(packet)
}

fn set_bits(packet: &mut [u8], bits: u8) {
    if let Some(first) = packet.first_mut() {
        *first ^= bits;
    }
}

/// Opens a long-header packet of the server: number and payload.
#[must_use]
pub fn open_long(keys: &Keys, packet: &mut [u8], pn_offset: usize, largest: Option<u64>) -> Option<(u64, Vec<u8>)> {
    let len = keys.remote.header.unprotect(packet, pn_offset)?;
    let number = number::decode(number::read(packet, pn_offset, len)?, len, largest);
    let plaintext = keys.remote.packet.open(PathId::ZERO, number, packet, pn_offset + len).ok()?;
    Some((number, packet.get(plaintext)?.to_vec()))
}

/// Opens a 1-RTT packet of the server: number and payload.
pub fn open_short(
    keys: &mut OneRttKeys,
    path: PathId,
    packet: &mut [u8],
    pn_offset: usize,
    largest: Option<u64>,
) -> Option<(u64, Vec<u8>)> {
    let len = keys.remote_header().unprotect(packet, pn_offset)?;
    let number = number::decode(number::read(packet, pn_offset, len)?, len, largest);
    let phase = KeyPhase::of(*packet.first()?);
    let incoming = qcrypto::Incoming { path, number, phase, largest };
    let opened = keys.open(incoming, packet, pn_offset + len).ok()?;
    Some((number, packet.get(opened.plaintext)?.to_vec()))
}
