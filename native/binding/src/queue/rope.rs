//! Payload bytes back to back in blocks of 64 KiB that both threads pass to and fro.
//!
//! The I/O thread appends at the back, the JavaScript thread copies out at the front. Blocks that were read go back and
//! are filled again, so that busy streams allocate nothing. Never knows which bytes belong to which record.

use std::collections::VecDeque;

/// Bytes in a block.
pub const BLOCK_BYTES: usize = 65_536;

/// One block: bytes from its start on are filled.
pub struct Block {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Block {
    fn new() -> Self {
        Self { bytes: vec![0; BLOCK_BYTES].into_boxed_slice(), filled: 0 }
    }

    fn room(&self) -> usize {
        self.bytes.len().saturating_sub(self.filled)
    }

    fn content(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Copies the front of `data` in; answers the rest.
    fn fill<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let (head, rest) = data.split_at_checked(self.room()).unwrap_or((data, &[]));
        let end = self.filled.saturating_add(head.len());
        if let Some(space) = self.bytes.get_mut(self.filled..end) {
            space.copy_from_slice(head);
            self.filled = end;
        }
        rest
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({})", self.filled)
    }
}

/// Blocks that are not in use, a bounded number of them.
#[derive(Debug, Default)]
pub struct Spare {
    blocks: Vec<Block>,
}

impl Spare {
    /// Blocks kept at most: 2 MiB.
    const MAX: usize = 32;

    fn take(&mut self) -> Block {
        self.blocks.pop().unwrap_or_else(Block::new)
    }

    /// Keeps a block for later.
    pub fn give(&mut self, mut block: Block) {
        if self.blocks.len() < Self::MAX {
            block.filled = 0;
            self.blocks.push(block);
        }
    }

    /// Takes all blocks of another store.
    pub fn take_all(&mut self, other: &mut Self) {
        if self.blocks.is_empty() {
            std::mem::swap(&mut self.blocks, &mut other.blocks);
        }
        for block in other.blocks.drain(..) {
            self.give(block);
        }
    }
}

/// Bytes in order.
#[derive(Debug, Default)]
pub struct Rope {
    blocks: VecDeque<Block>,
    /// Bytes of the first block that were read.
    read: usize,
}

impl Rope {
    /// Appends a copy of `data`.
    pub fn append(&mut self, data: &[u8], spare: &mut Spare) {
        let mut rest = data;
        if let Some(last) = self.blocks.back_mut() {
            rest = last.fill(rest);
        }
        while !rest.is_empty() {
            let mut block = spare.take();
            rest = block.fill(rest);
            self.blocks.push_back(block);
        }
    }

    /// Moves the bytes of `other` behind these. Few bytes are copied into the last block, so that many small batches
    /// take no more memory than one large one.
    pub fn append_rope(&mut self, other: &mut Self, spare: &mut Spare) {
        while let Some(block) = other.blocks.pop_front() {
            let read = std::mem::take(&mut other.read);
            let content = block.content().get(read..).unwrap_or_default();
            match self.blocks.back_mut() {
                Some(last) if last.room() >= content.len() && content.len() <= BLOCK_BYTES / 4 => {
                    last.fill(content);
                    spare.give(block);
                }
                None => {
                    self.read = read;
                    self.blocks.push_back(block);
                }
                // Only a rope that nobody reads from yet is appended: its first block is whole.
                Some(_) if read == 0 => self.blocks.push_back(block),
                Some(_) => {
                    let content = content.to_vec();
                    self.append(&content, spare);
                }
            }
        }
    }

    /// Copies the first bytes into all of `out` and drops them; blocks that were read go to `spare`. Answers how many
    /// bytes there were: fewer than `out` has if the rope was shorter.
    pub fn read(&mut self, out: &mut [u8], spare: &mut Spare) -> usize {
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some(block) = self.blocks.front() else { break };
            let content = block.content().get(self.read..).unwrap_or_default();
            let len = content.len().min(rest.len());
            if let (Some(from), Some(to)) = (content.get(..len), rest.get_mut(..len)) {
                to.copy_from_slice(from);
            }
            done += len;
            self.read += len;
            if self.read == block.filled {
                self.read = 0;
                if let Some(block) = self.blocks.pop_front() {
                    spare.give(block);
                }
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(batches in prop::collection::vec(prop::collection::vec(0_usize..150_000, 0..6), 1..5), step in 1_usize..100_000) {
            let (mut spare, mut whole) = (Spare::default(), Rope::default());
            let mut expected = Vec::new();
            for (number, batch) in batches.iter().enumerate() {
                let mut rope = Rope::default();
                for &len in batch {
                    let data: Vec<u8> = (0..len).map(|at| (at * 7 + number) as u8).collect();
                    rope.append(&data, &mut spare);
                    expected.extend(data);
                }
                whole.append_rope(&mut rope, &mut spare);
                prop_assert!(rope.blocks.is_empty());
            }
            let mut found = Vec::new();
            let mut buffer = vec![0; step];
            loop {
                let len = whole.read(&mut buffer, &mut spare);
                if len == 0 { break }
                found.extend_from_slice(&buffer[..len]);
            }
            prop_assert!(found == expected);
        }
    }

    #[test]
    fn many_small_batches_share_a_block() {
        let (mut spare, mut whole) = (Spare::default(), Rope::default());
        for _ in 0..500 {
            let mut rope = Rope::default();
            rope.append(&[1; 100], &mut spare);
            whole.append_rope(&mut rope, &mut spare);
        }
        assert_eq!(whole.blocks.len(), 1);
    }

    #[test]
    fn read_blocks_are_used_again() {
        let (mut spare, mut rope) = (Spare::default(), Rope::default());
        let mut out = vec![0; BLOCK_BYTES];
        for _ in 0..100 {
            rope.append(&[1; BLOCK_BYTES], &mut spare);
            assert_eq!(rope.read(&mut out, &mut spare), BLOCK_BYTES);
        }
        assert_eq!(spare.blocks.len(), 1);
    }
}
