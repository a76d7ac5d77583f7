//! Cuts a GRO train into runs of datagrams with one forward header, so that a batch costs one decision and one send.
//!
//! Headers of one path differ in five bits of the first byte only (those of the datagram behind them). Called by the relay.
//! Never copies.

use crate::forward::ForwardHeader;

/// Neighbouring datagrams of a train with the same header, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// The datagrams, one behind the other.
    pub bytes: &'a [u8],
    /// Bytes of each but the last, which may be shorter.
    pub segment_len: usize,
    /// Their header; `None`: one datagram without.
    pub header: Option<ForwardHeader>,
}

impl<'a> Run<'a> {
    /// The first run of a received GRO train (all datagrams `segment_len` bytes long but the last, which may be shorter; 0: it is
    /// one datagram); `None`: it is empty. The rest of the train begins behind its bytes.
    #[must_use]
    pub fn first(train: &'a [u8], segment_len: usize) -> Option<Self> {
        let segment_len = if segment_len == 0 { train.len() } else { segment_len }.max(1);
        let first = train.chunks(segment_len).next()?;
        let header = ForwardHeader::strip(first).map(|stripped| stripped.header);
        let len = match header {
            None => first.len(),
            Some(header) => {
                let constant = first.get(1..header.size()).unwrap_or_default();
                let same = |segment: &&[u8]| {
                    is_marked(segment) && segment.len() > header.size() && segment.get(1..header.size()) == Some(constant)
                };
                train.chunks(segment_len).take_while(same).map(<[u8]>::len).sum()
            }
        };
        Some(Self { bytes: train.get(..len)?, segment_len, header })
    }

    /// Datagrams in it, at least 1.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len().div_ceil(if self.segment_len == 0 { 1 } else { self.segment_len })
    }

    /// Never: a run has a datagram.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of its longest datagram.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.segment_len.min(self.bytes.len())
    }
}

/// Begins as forwarded datagrams do. Others are not worth a look at what follows.
#[must_use]
pub fn is_marked(segment: &[u8]) -> bool {
    segment.first().is_some_and(|first| first >> 5 == 0b011)
}
