//! Packet and header protection in place: the hottest functions of the house (RFC 9001 §5.3, §5.4; multipath MP-30).
//!
//! Called once per packet by the burst writer and by the input of a connection. A key is either one that the TLS
//! library made or one of our own over ring (`keys`); both stand behind the same two types. Never allocates and never
//! touches bytes outside the packet it is given.

#[cfg(test)]
mod tests;

use std::ops::Range;

use qbase::{PacketNumber, PathId, limits::TAG_LEN};
use ring::aead;

use crate::error::CryptoError;

/// Bytes of ciphertext that header protection samples (RFC 9001 §5.4.2).
pub const SAMPLE_LEN: usize = 16;
/// The sample begins this many bytes after the start of the packet number (RFC 9001 §5.4.2).
const SAMPLE_OFFSET: usize = 4;
/// Longest packet number field, bytes.
const MAX_NUMBER_LEN: usize = 4;
/// Length of the nonce of every AEAD that QUIC uses, bytes.
pub(crate) const NONCE_LEN: usize = 12;
/// Packet numbers end here (RFC 9000 §12.3).
const MAX_NUMBER: PacketNumber = (1 << 62) - 1;

/// Encrypts or decrypts the payloads of one direction. One key serves all paths; the nonce tells them apart.
pub struct PacketKey(Box<dyn rustls::quic::PacketKey>);

impl PacketKey {
    pub(crate) fn new(key: Box<dyn rustls::quic::PacketKey>) -> Self {
        Self(key)
    }

    /// Seals a packet in place.
    ///
    /// `packet` = header of `header_len` bytes (packet number included) ++ plaintext ++ 16 spare bytes for the tag.
    /// Initial, Handshake and 0-RTT packets belong to [`PathId::ZERO`].
    ///
    /// # Errors
    /// [`CryptoError::TooShort`] without room for a tag; [`CryptoError::Seal`] if the packet number is above 2^62-1 or
    /// the payload longer than the AEAD takes.
    #[inline]
    pub fn seal(
        &self,
        path: PathId,
        number: PacketNumber,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<(), CryptoError> {
        let (header, body) = packet.split_at_mut_checked(header_len).ok_or(CryptoError::TooShort)?;
        let (payload, tag_space) = body.split_last_chunk_mut::<TAG_LEN>().ok_or(CryptoError::TooShort)?;
        if number > MAX_NUMBER {
            return Err(CryptoError::Seal);
        }
        let tag = self.0.encrypt_in_place_for_path(path.0, number, header, payload).map_err(|_| CryptoError::Seal)?;
        *tag_space = tag.as_ref().try_into().map_err(|_| CryptoError::Seal)?;
        Ok(())
    }

    /// Opens a packet in place; on success the plaintext lies in the returned range of `packet`.
    ///
    /// `packet` = header of `header_len` bytes, unprotected, ++ ciphertext ++ tag. After a failure the bytes behind the
    /// header are worthless: a second trial needs a copy made before.
    ///
    /// # Errors
    /// [`CryptoError::TooShort`] without a whole tag; [`CryptoError::Open`] if the packet is not authentic.
    #[inline]
    pub fn open(
        &self,
        path: PathId,
        number: PacketNumber,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<Range<usize>, CryptoError> {
        let (header, body) = packet.split_at_mut_checked(header_len).ok_or(CryptoError::TooShort)?;
        if body.len() < TAG_LEN {
            return Err(CryptoError::TooShort);
        }
        if number > MAX_NUMBER {
            return Err(CryptoError::Open);
        }
        let plaintext =
            self.0.decrypt_in_place_for_path(path.0, number, header, body).map_err(|_| CryptoError::Open)?;
        Ok(header_len..header_len.saturating_add(plaintext.len()))
    }

    /// Packets that may be sealed with this key (RFC 9001 §6.6), summed over all paths (multipath MP-33).
    #[must_use]
    pub fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }

    /// Packets of a connection that may fail to open (RFC 9001 §6.6), summed over all paths and keys.
    #[must_use]
    pub fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}

impl std::fmt::Debug for PacketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PacketKey(..)")
    }
}

/// Masks or unmasks the headers of one direction. Not changed by key updates.
pub struct HeaderKey(Box<dyn rustls::quic::HeaderProtectionKey>);

impl HeaderKey {
    pub(crate) fn new(key: Box<dyn rustls::quic::HeaderProtectionKey>) -> Self {
        Self(key)
    }

    /// Masks the header of a sealed packet.
    ///
    /// `packet` is the whole packet from its first byte, `pn_offset` where its packet number begins.
    ///
    /// # Errors
    /// [`CryptoError::TooShort`] if fewer than 20 bytes follow `pn_offset`: the burst writer pads before it seals.
    #[inline]
    pub fn protect(&self, packet: &mut [u8], pn_offset: usize) -> Result<(), CryptoError> {
        let parts = HeaderParts::of(packet, pn_offset).ok_or(CryptoError::TooShort)?;
        self.0.encrypt_in_place(parts.sample, parts.first, parts.number).map_err(|_| CryptoError::TooShort)
    }

    /// Unmasks the header of a received packet and tells the length of its packet number, 1 to 4 bytes.
    ///
    /// `None`: too short for a sample; the packet is dropped.
    #[inline]
    pub fn unprotect(&self, packet: &mut [u8], pn_offset: usize) -> Option<usize> {
        let parts = HeaderParts::of(packet, pn_offset)?;
        self.0.decrypt_in_place(parts.sample, parts.first, parts.number).ok()?;
        Some(usize::from(*parts.first & 0x03).saturating_add(1))
    }
}

impl std::fmt::Debug for HeaderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HeaderKey(..)")
    }
}

/// The three places of a packet that header protection touches.
struct HeaderParts<'a> {
    first: &'a mut u8,
    number: &'a mut [u8],
    sample: &'a [u8],
}

impl<'a> HeaderParts<'a> {
    fn of(packet: &'a mut [u8], pn_offset: usize) -> Option<Self> {
        let (header, rest) = packet.split_at_mut_checked(pn_offset)?;
        let first = header.first_mut()?;
        let (number, rest) = rest.split_at_mut_checked(SAMPLE_OFFSET.min(MAX_NUMBER_LEN))?;
        let sample = rest.get(..SAMPLE_LEN)?;
        Some(Self { first, number, sample })
    }
}

/// The nonce of a packet: IV XOR (path id, 32 bits ++ 00 ++ packet number, 62 bits), big-endian (multipath MP-30).
/// For path 0 it is RFC 9001's (multipath MP-35).
#[inline]
#[must_use]
pub(crate) fn nonce(iv: &[u8; NONCE_LEN], path: PathId, number: PacketNumber) -> [u8; NONCE_LEN] {
    let value = u128::from(path.0) << 64 | u128::from(number & MAX_NUMBER);
    let iv = iv.iter().fold(0_u128, |acc, byte| acc << 8 | u128::from(*byte));
    let [_, _, _, _, nonce @ ..] = (iv ^ value).to_be_bytes();
    nonce
}

/// A packet key of our own: for Initial packets and for secrets that did not come from a session.
pub(crate) struct RingPacketKey {
    pub(crate) key: aead::LessSafeKey,
    pub(crate) iv: [u8; NONCE_LEN],
    /// Packets that may be sealed.
    pub(crate) confidentiality: u64,
    /// Packets that may fail to open.
    pub(crate) integrity: u64,
}

impl RingPacketKey {
    #[inline]
    fn nonce(&self, path: u32, number: PacketNumber) -> aead::Nonce {
        aead::Nonce::assume_unique_for_key(nonce(&self.iv, PathId(path), number))
    }
}

impl rustls::quic::PacketKey for RingPacketKey {
    fn encrypt_in_place(
        &self,
        number: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<rustls::quic::Tag, rustls::Error> {
        self.encrypt_in_place_for_path(0, number, header, payload)
    }

    fn encrypt_in_place_for_path(
        &self,
        path: u32,
        number: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<rustls::quic::Tag, rustls::Error> {
        self.key
            .seal_in_place_separate_tag(self.nonce(path, number), aead::Aad::from(header), payload)
            .map(|tag| rustls::quic::Tag::from(tag.as_ref()))
            .map_err(|_| rustls::Error::EncryptError)
    }

    fn decrypt_in_place<'a>(
        &self,
        number: u64,
        header: &[u8],
        payload: &'a mut [u8],
    ) -> Result<&'a [u8], rustls::Error> {
        self.decrypt_in_place_for_path(0, number, header, payload)
    }

    fn decrypt_in_place_for_path<'a>(
        &self,
        path: u32,
        number: u64,
        header: &[u8],
        payload: &'a mut [u8],
    ) -> Result<&'a [u8], rustls::Error> {
        self.key
            .open_in_place(self.nonce(path, number), aead::Aad::from(header), payload)
            .map(|plaintext| &*plaintext)
            .map_err(|_| rustls::Error::DecryptError)
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        self.confidentiality
    }

    fn integrity_limit(&self) -> u64 {
        self.integrity
    }
}

/// A header key of our own.
pub(crate) struct RingHeaderKey(pub(crate) aead::quic::HeaderProtectionKey);

/// Whether the first byte is masked already when a mask is applied.
#[derive(Clone, Copy)]
enum Masked {
    Yes,
    No,
}

impl RingHeaderKey {
    /// RFC 9001 §5.4.1.
    fn apply(&self, sample: &[u8], first: &mut u8, number: &mut [u8], masked: Masked) -> Result<(), rustls::Error> {
        let [first_mask, number_mask @ ..] = self.0.new_mask(sample).map_err(|_| rustls::Error::DecryptError)?;
        let bits = if *first & 0x80 == 0 { 0x1f } else { 0x0f };
        let unmasked = match masked {
            Masked::Yes => *first ^ (first_mask & bits),
            Masked::No => *first,
        };
        let len = usize::from(unmasked & 0x03).saturating_add(1);
        *first ^= first_mask & bits;
        number.iter_mut().zip(number_mask).take(len).for_each(|(byte, mask)| *byte ^= mask);
        Ok(())
    }
}

impl rustls::quic::HeaderProtectionKey for RingHeaderKey {
    fn encrypt_in_place(&self, sample: &[u8], first: &mut u8, number: &mut [u8]) -> Result<(), rustls::Error> {
        self.apply(sample, first, number, Masked::No)
    }

    fn decrypt_in_place(&self, sample: &[u8], first: &mut u8, number: &mut [u8]) -> Result<(), rustls::Error> {
        self.apply(sample, first, number, Masked::Yes)
    }

    fn sample_len(&self) -> usize {
        SAMPLE_LEN
    }
}
