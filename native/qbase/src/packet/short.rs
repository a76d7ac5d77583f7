//! The short header of 1-RTT packets (RFC 9000 §17.3.1).
//!
//! ```text
//! 01S00KPP · DCID · packet number (1 to 4)
//! ```
//!
//! Called by the packet builder and, for the key phase, by the receive path. Never protects: see `qcrypto`.

use super::{FIXED, number};
use crate::{ConnectionId, PacketNumber, Writer};

/// Which of two generations of keys protects a packet (RFC 9001 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum KeyPhase {
    /// Bit 0: the first keys, and every second generation after.
    #[default]
    Zero,
    /// Bit 1.
    One,
}

const KEY_PHASE: u8 = 0x04;

impl KeyPhase {
    /// The phase in an unprotected first byte of a short header.
    #[must_use]
    pub const fn of(first: u8) -> Self {
        if first & KEY_PHASE == 0 { Self::Zero } else { Self::One }
    }

    /// The phase after a key update.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::Zero => Self::One,
            Self::One => Self::Zero,
        }
    }
}

/// The latency spin bit (RFC 9000 §17.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Spin {
    /// Bit 0.
    #[default]
    Zero,
    /// Bit 1.
    One,
}

const SPIN: u8 = 0x20;

impl Spin {
    /// The bit in a first byte of a short header; it is not protected.
    #[must_use]
    pub const fn of(first: u8) -> Self {
        if first & SPIN == 0 { Self::Zero } else { Self::One }
    }
}

/// Bytes of the header.
#[must_use]
pub const fn size(dcid: &ConnectionId, pn_len: usize) -> usize {
    dcid.len().saturating_add(pn_len).saturating_add(1)
}

/// Writes the header with the last `pn_len` (1 to 4) bytes of `pn`; returns where the number stands, counted from the
/// packet's first byte. The writer stands at that byte, which need not be the first of its buffer.
pub fn write(
    writer: &mut Writer<'_>,
    dcid: &ConnectionId,
    pn: PacketNumber,
    pn_len: usize,
    key_phase: KeyPhase,
    spin: Spin,
) -> usize {
    let key_phase = if matches!(key_phase, KeyPhase::One) { KEY_PHASE } else { 0 };
    let spin = if matches!(spin, Spin::One) { SPIN } else { 0 };
    writer.u8(FIXED | spin | key_phase | number::len_bits(pn_len));
    writer.bytes(dcid.as_bytes());
    number::write(writer, pn, pn_len);
    dcid.len().saturating_add(1)
}
