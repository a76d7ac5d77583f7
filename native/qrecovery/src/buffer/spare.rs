//! Send memory that goes round.
//!
//! Called by send buffers when they need or free a block. Owned by a connection, so that its streams pass blocks on to
//! each other: full-sized ones of busy streams, and the small ones that streams begin with. Never hands out more than was
//! given: without a spare one a block is allocated.

use super::BLOCK_LEN;

/// Bytes in a small block.
pub(super) const SMALL_BLOCK: usize = 128;

/// Small blocks kept at most: 8 KiB, the beginnings of as many streams.
const SMALL_BLOCKS: usize = 64;

/// Blocks that send buffers of one connection pass on to each other, so that neither a busy stream nor many small ones
/// one after another allocate.
#[derive(Debug)]
pub struct SpareBlocks {
    /// Of [`BLOCK_LEN`] bytes.
    blocks: Vec<Vec<u8>>,
    /// Of [`SMALL_BLOCK`] bytes.
    small: Vec<Vec<u8>>,
    /// Blocks kept at most.
    max: usize,
}

impl SpareBlocks {
    /// No blocks yet; at most `max` are kept.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { blocks: Vec::new(), small: Vec::new(), max }
    }

    /// Frees the full-sized blocks kept, for quiet times. The small ones stay.
    pub fn clear(&mut self) {
        self.blocks = Vec::new();
    }

    /// Full-sized blocks kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// No full-sized blocks are kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// An empty block of at least `len` bytes, at most [`BLOCK_LEN`] of them.
    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        let kept = match len {
            ..=SMALL_BLOCK => self.small.pop(),
            BLOCK_LEN.. => self.blocks.pop(),
            _ => None,
        };
        kept.unwrap_or_else(|| Vec::with_capacity(len.clamp(SMALL_BLOCK, BLOCK_LEN)))
    }

    /// Keeps a block for the next who needs one like it.
    pub(super) fn give(&mut self, mut block: Vec<u8>) {
        let (list, max) = match block.capacity() {
            SMALL_BLOCK => (&mut self.small, SMALL_BLOCKS),
            BLOCK_LEN => (&mut self.blocks, self.max),
            _ => return,
        };
        if list.len() < max {
            block.clear();
            list.push(block);
        }
    }
}
