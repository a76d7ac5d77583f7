//! Cuts a GRO train into runs of datagrams with one forward header, so that a batch costs one decision and one send.
//!
//! Headers of one path differ in five bits of the first byte only (those of the datagram behind them). Called by the relay.
//! Never copies.

use std::iter;

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

impl Run<'_> {
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
    pub(super) fn longest(&self) -> usize {
        self.segment_len.min(self.bytes.len())
    }
}

/// The runs of a train, in order. A `segment_len` of 0 means that the train is one datagram.
pub(super) fn runs(train: &[u8], segment_len: usize) -> impl Iterator<Item = Run<'_>> {
    let segment_len = if segment_len == 0 { train.len().max(1) } else { segment_len };
    let mut rest = train;
    iter::from_fn(move || {
        let first = rest.chunks(segment_len).next()?;
        let header = ForwardHeader::strip(first).map(|stripped| stripped.header);
        let len = match header {
            None => first.len(),
            Some(header) => {
                let constant = first.get(1..header.size()).unwrap_or_default();
                let same = |segment: &&[u8]| {
                    is_marked(segment) && segment.len() > header.size() && segment.get(1..header.size()) == Some(constant)
                };
                rest.chunks(segment_len).take_while(same).map(<[u8]>::len).sum()
            }
        };
        let (bytes, after) = rest.split_at_checked(len)?;
        rest = after;
        Some(Run { bytes, segment_len, header })
    })
}

/// Begins as forwarded datagrams do; the second byte is compared with one that was read.
fn is_marked(segment: &[u8]) -> bool {
    segment.first().is_some_and(|first| first >> 5 == 0b011)
}
