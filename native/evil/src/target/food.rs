//! Reads decisions out of the bytes of a fuzzer.
//!
//! Called by the targets. Never fails: behind the last byte everything is zero.

/// Bytes not used yet.
#[derive(Clone, Copy, Debug)]
pub struct Food<'a>(&'a [u8]);

impl<'a> Food<'a> {
    /// All of it.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub const fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// The next two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number of any size: the first byte tells how many follow, as in a varint, so that small ones are frequent.
    pub fn number(&mut self) -> u64 {
        let first = self.byte();
        let more = match first >> 6 {
            0 => 0,
            1 => 1,
            2 => 3,
            _ => 7,
        };
        (0..more).fold(u64::from(first & 0x3f), |number, _| number << 8 | u64::from(self.byte()))
    }

    /// So many bytes, or what is left.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        head
    }

    /// A piece with its length, one or two bytes, in front.
    pub fn piece(&mut self) -> &'a [u8] {
        let len = self.byte();
        let len = if len < 0xc0 { usize::from(len) } else { usize::from(len & 0x3f) << 8 | usize::from(self.byte()) };
        self.bytes(len)
    }

    /// All that is left.
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.0;
        self.0 = &[];
        rest
    }
}
