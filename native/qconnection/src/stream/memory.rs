//! Memory for what the application writes (mux R1 to R5, R10, R13).
//!
//! The bytes lie in the send buffers of the streams; the endpoint's pool counts them. While the application has the
//! connection in its hands, it may write into what the pool has left; afterwards the connection keeps what its bytes need
//! until they are acknowledged. A write that was cut short for want of memory puts the connection into the pool's line, and
//! the block that comes free for it is told to its streams one at a time, in the order in which they asked. Called by the
//! connection for the endpoint, and by the verbs that write. Without a pool (tests of streams alone) nothing is short.
//!
//! What was written before goes out, and is repeated, whatever the pool has: it is in memory already.

use super::Streams;
use qrecovery::buffer::{BufferPool, Waiter};

/// What the pool counts for the streams of a connection.
#[derive(Debug)]
pub(super) struct SendMemory {
    /// Bytes, whole blocks.
    lease: u64,
    /// Bytes not acknowledged that there may be while the application writes.
    ceiling: u64,
    /// A write was cut short, and no block has come since.
    short: bool,
    /// Bytes of a block that came, while nobody has tried to write since.
    offered: u64,
}

impl Default for SendMemory {
    fn default() -> Self {
        Self { lease: 0, ceiling: u64::MAX, short: false, offered: 0 }
    }
}

impl SendMemory {
    /// A stream wants to write: bytes it may, when `unacked` are held already.
    #[inline]
    pub(super) const fn room(&mut self, unacked: u64) -> u64 {
        self.offered = 0;
        self.ceiling.saturating_sub(unacked)
    }

    /// A write was cut short for want of memory.
    pub(super) const fn note_short(&mut self) {
        self.short = true;
    }

    /// Nobody writes any more; what is held goes back with the next settling.
    pub(super) const fn forget(&mut self) {
        (self.short, self.offered) = (false, 0);
    }

    /// No stream may be told that it can write.
    #[inline]
    pub(super) const fn is_short(&self) -> bool {
        self.short
    }
}

impl Streams {
    /// The application is about to write: `free` bytes are left in the pool.
    #[inline]
    pub fn lend(&mut self, free: u64) {
        self.memory.ceiling = self.memory.lease.saturating_add(free);
    }

    /// Keeps what the bytes held need and gives the rest back, or gets into the pool's line. Called whenever something
    /// happened to the connection.
    #[inline]
    pub fn settle_memory(&mut self, waiter: Waiter, pool: &mut BufferPool) {
        let memory = &mut self.memory;
        let needed = self.totals.unacked.saturating_add(memory.offered);
        if memory.lease != 0 || needed != 0 {
            memory.lease = pool.settle_sending(memory.lease, needed);
        }
        if !memory.short {
            return self.offer_room();
        }
        if self.room.live() > 0 {
            return pool.wait(waiter);
        }
        // Who wanted to write has ended meanwhile.
        memory.short = false;
        pool.leave(waiter);
    }

    /// The connection is over: what was written and not acknowledged is sent no more, and its memory goes. What was received
    /// can still be read.
    pub fn drop_unacked(&mut self) {
        if self.totals.unacked == 0 {
            return;
        }
        for (_, stream) in self.map.iter_mut() {
            if let Some(part) = &mut stream.send {
                part.buffer.clear(&mut self.spare);
                part.wants_room = false;
                self.room.lose(&mut part.room);
            }
        }
        (self.totals.unsent, self.totals.again, self.totals.unacked) = (0, 0, 0);
        self.memory.forget();
    }

    /// The pool kept `bytes` for this connection: the first of the streams that were cut short may go on.
    pub fn on_memory(&mut self, bytes: u64) {
        self.memory.lease = self.memory.lease.saturating_add(bytes);
        self.memory.short = false;
        self.memory.offered = bytes;
        while let Some(key) = self.take_room_seat() {
            if self.offer_room_to(key) {
                return;
            }
        }
    }

    /// Nobody used the block that was offered: it goes back with the next settling.
    pub const fn take_back_offer(&mut self) {
        self.memory.offered = 0;
    }

    /// A block was offered that nobody has used.
    #[must_use]
    pub const fn has_offer(&self) -> bool {
        self.memory.offered > 0
    }

    /// The connection waits for memory to send with.
    #[must_use]
    #[inline]
    pub const fn waits_for_memory(&self) -> bool {
        self.memory.short
    }

    /// Bytes of the pool that the streams' send buffers hold.
    #[must_use]
    pub const fn send_memory(&self) -> u64 {
        self.memory.lease
    }
}
