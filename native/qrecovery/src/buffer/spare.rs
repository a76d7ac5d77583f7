//! Send memory that goes round.
//!
//! Called by send buffers when they need or free a full-sized block. Owned by a connection, so that its streams pass
//! blocks on to each other. Never hands out more than was given: without a spare one a block is allocated.

use super::BLOCK_LEN;

/// Blocks of [`BLOCK_LEN`] bytes that send buffers of one connection pass on to each other, so that a busy stream
/// allocates nothing.
#[derive(Debug)]
pub struct SpareBlocks {
    blocks: Vec<Vec<u8>>,
    /// Blocks kept at most.
    max: usize,
}

impl SpareBlocks {
    /// No blocks yet; at most `max` are kept.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { blocks: Vec::new(), max }
    }

    /// Frees the blocks kept, for quiet times.
    pub fn clear(&mut self) {
        self.blocks = Vec::new();
    }

    /// Blocks kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// No blocks are kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// An empty block of full size.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.blocks.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK_LEN))
    }

    /// Keeps a block of full size for the next who needs one.
    pub(super) fn give(&mut self, mut block: Vec<u8>) {
        if block.capacity() == BLOCK_LEN && self.blocks.len() < self.max {
            block.clear();
            self.blocks.push(block);
        }
    }
}
