//! Connection ids and stateless reset tokens (RFC 9000 §5.1, §10.3).

use std::fmt;

/// Longest connection id of QUIC version 1, bytes.
pub const MAX_CID_LEN: usize = 20;

/// A connection id of 0 to 20 bytes, kept in place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ConnectionId {
    len: u8,
    bytes: [u8; MAX_CID_LEN],
}

impl ConnectionId {
    /// The id without bytes.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; MAX_CID_LEN] };

    /// An id with these bytes; `None` above 20.
    #[must_use]
    #[inline]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut cid = Self { len: u8::try_from(bytes.len()).ok()?, ..Self::EMPTY };
        cid.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(cid)
    }

    /// The bytes of the id.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Length in bytes, 0 to 20.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// The id has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A stateless reset token (RFC 9000 §10.3). Its `Debug` hides the bytes.
#[derive(Clone, Copy)]
pub struct ResetToken(pub [u8; 16]);

impl PartialEq for ResetToken {
    /// Compares in constant time (RFC 9000 §10.3.1).
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
    }
}

impl Eq for ResetToken {}

impl fmt::Debug for ResetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetToken(..)")
    }
}
