//! Memory of bytes to send (mux R1 to R3, R10).
//!
//! The bytes lie in the send buffers of a connection; the pool counts them in whole blocks, so that what all connections
//! send and receive together keeps to one maximum. Called by the stream room. A connection is lent what nobody has claimed
//! while the application writes, and afterwards keeps what the bytes need that are not acknowledged.

use super::{BLOCK_LEN, BufferPool, TRANSMIT_RESERVE};

/// [`BLOCK_LEN`] as an amount.
const BLOCK: u64 = BLOCK_LEN as u64;

impl BufferPool {
    /// Bytes that a connection may take now for sending, beside what it has: nothing while others wait (mux R3).
    #[must_use]
    #[inline]
    pub fn free_for_sending(&self) -> u64 {
        if self.seats.is_waited_for() { 0 } else { self.unclaimed() }
    }

    /// A connection had `held` bytes of send memory and needs `needed`: answers what it has from now on, whole blocks. What
    /// comes free is kept for those who wait.
    #[inline]
    pub fn settle_sending(&mut self, held: u64, needed: u64) -> u64 {
        let kept = needed.div_ceil(BLOCK).saturating_mul(BLOCK);
        if kept != held {
            self.sending = self.sending.saturating_sub(held).saturating_add(kept);
            self.wake();
        }
        kept
    }

    /// Bytes of send memory in use.
    #[must_use]
    pub const fn sending(&self) -> u64 {
        self.sending
    }

    /// Bytes of whole blocks that are nobody's: what is left below the maximum, and the reserve in any case.
    #[inline]
    pub(super) fn unclaimed(&self) -> u64 {
        let claimed = self.sending.saturating_add(self.seats.kept());
        let common = self.max_bytes().saturating_sub(self.used_bytes as u64).saturating_sub(claimed);
        let reserve = (TRANSMIT_RESERVE as u64).saturating_mul(BLOCK).saturating_sub(claimed);
        let free = common.max(reserve);
        free.saturating_sub(free.checked_rem(BLOCK).unwrap_or(0))
    }
}
