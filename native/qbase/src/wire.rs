//! Cursors over bytes: [`Reader`] takes, [`Writer`] puts.
//!
//! Called by every wire format. A reader never goes past its slice and a writer never grows its buffer: callers ask
//! [`Writer::remaining`] (or a format's `size`) first, and a write without room is refused and remembered.

use crate::varint;

/// The bytes ended before the value did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unexpected end of bytes")]
pub struct UnexpectedEnd;

/// A cursor over received bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Length of the slice at the start, to tell positions.
    total: usize,
}

impl<'a> Reader<'a> {
    /// A cursor at the first of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, total: bytes.len() }
    }

    /// Bytes not yet taken.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Bytes taken so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.total.saturating_sub(self.rest.len())
    }

    /// Nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Looks at the next byte without taking it.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Looks at everything that is left without taking it.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// Nothing is left.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, UnexpectedEnd> {
        let (&first, rest) = self.rest.split_first().ok_or(UnexpectedEnd)?;
        self.rest = rest;
        Ok(first)
    }

    /// Takes `len` bytes.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], UnexpectedEnd> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(UnexpectedEnd)?;
        self.rest = rest;
        Ok(head)
    }

    /// Takes exactly `N` bytes as an array.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], UnexpectedEnd> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(UnexpectedEnd)?;
        self.rest = rest;
        Ok(*head)
    }

    /// Takes a big-endian 16-bit number.
    ///
    /// # Errors
    /// Fewer than 2 bytes are left.
    pub fn u16(&mut self) -> Result<u16, UnexpectedEnd> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes a big-endian 32-bit number.
    ///
    /// # Errors
    /// Fewer than 4 bytes are left.
    pub fn u32(&mut self) -> Result<u32, UnexpectedEnd> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes a varint of any length (RFC 9000 §16).
    ///
    /// # Errors
    /// The encoding is cut short.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, UnexpectedEnd> {
        let first = self.u8()?;
        let head = u64::from(first & 0x3f);
        match first >> 6 {
            0 => Ok(head),
            1 => Ok(head << 8 | u64::from(self.u8()?)),
            2 => {
                let [a, b, c] = self.array()?;
                Ok(head << 24 | u64::from(u32::from_be_bytes([0, a, b, c])))
            }
            _ => {
                let [a, b, c, d, e, f, g] = self.array()?;
                Ok(head << 56 | u64::from_be_bytes([0, a, b, c, d, e, f, g]))
            }
        }
    }

    /// Takes a varint length and as many bytes as it says.
    ///
    /// # Errors
    /// Fewer bytes are left than the length says.
    #[inline]
    pub fn prefixed(&mut self) -> Result<&'a [u8], UnexpectedEnd> {
        let len = usize::try_from(self.varint()?).map_err(|_| UnexpectedEnd)?;
        self.bytes(len)
    }

    /// Takes everything that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

/// A cursor over a buffer to fill. Writing past the end writes nothing and sets [`Writer::overflowed`].
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
    overflowed: bool,
}

impl<'a> Writer<'a> {
    /// A cursor at the first byte of `buffer`.
    #[must_use]
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0, overflowed: false }
    }

    /// Bytes written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Nothing is written yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that still fit.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.buffer.len().saturating_sub(self.len)
    }

    /// A write did not fit and was left out: what was written is incomplete.
    #[must_use]
    pub const fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// The bytes written so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// The bytes written so far, to patch.
    #[must_use]
    pub fn written_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(..self.len).unwrap_or_default()
    }

    /// Reserves `len` bytes to be filled by the caller and moves past them; `None` without room.
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        let end = self.len.checked_add(len)?;
        let Some(slot) = self.buffer.get_mut(self.len..end) else {
            self.overflowed = true;
            return None;
        };
        self.len = end;
        Some(slot)
    }

    /// Takes back everything after position `len`.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Puts one byte.
    #[inline]
    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    /// Puts a big-endian 16-bit number.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Puts a big-endian 32-bit number.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Puts `bytes` as they are.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        if let Some(slot) = self.reserve(bytes.len()) {
            slot.copy_from_slice(bytes);
        }
    }

    /// Puts the shortest varint of `value`; values above [`varint::MAX`] are written as that maximum.
    #[inline]
    pub fn varint(&mut self, value: u64) {
        let value = value.min(varint::MAX);
        match varint::size(value) {
            1 => self.u8(value as u8),
            2 => self.u16(value as u16 | 0x4000),
            4 => self.u32(value as u32 | 0x8000_0000),
            _ => self.bytes(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
        }
    }

    /// Puts `value` (at most 16383) as a two-byte varint whatever its size, so that it can be patched later.
    pub fn varint2(&mut self, value: u16) {
        self.u16(value & 0x3fff | 0x4000);
    }

    /// Puts `len` zero bytes.
    pub fn zeros(&mut self, len: usize) {
        if let Some(slot) = self.reserve(len) {
            slot.fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_varints_of_rfc_9000_appendix_a1_are_read_and_written() {
        let cases: [(&[u8], u64); 4] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ];
        for (bytes, value) in cases {
            assert_eq!(Reader::new(bytes).varint(), Ok(value));
            let mut buffer = [0; 8];
            let mut writer = Writer::new(&mut buffer);
            writer.varint(value);
            assert_eq!(writer.written(), bytes);
        }
        assert_eq!(Reader::new(&[0x40, 0x25]).varint(), Ok(37), "a longer encoding is legal outside frame types");
    }

    #[test]
    fn a_write_without_room_changes_nothing_and_is_remembered() {
        let mut buffer = [7; 3];
        let mut writer = Writer::new(&mut buffer);
        writer.u8(1);
        writer.u32(5);
        assert!(writer.overflowed());
        assert_eq!(writer.written(), [1]);
        assert_eq!(buffer, [1, 7, 7]);
    }

    proptest! {
        #[test]
        fn every_varint_survives_the_round_trip_and_every_truncation_is_refused(value in 0..=varint::MAX) {
            let mut buffer = [0; 8];
            let mut writer = Writer::new(&mut buffer);
            writer.varint(value);
            let bytes = writer.written();
            prop_assert_eq!(bytes.len(), varint::size(value));
            prop_assert_eq!(Reader::new(bytes).varint(), Ok(value));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Reader::new(&bytes[..cut]).varint(), Err(UnexpectedEnd));
            }
        }
    }
}
