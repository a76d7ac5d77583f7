//! Datagrams that are no QUIC: kept for one turn, bounded, without an allocation each (attacks R1).
//!
//! Called by the loop (fills) and by the application through [`super::Io`] (reads). What finds no room is counted.

use std::ops::Range;

use qbase::{Ecn, FourTuple, Timestamp};

/// Datagrams per turn.
const DATAGRAMS: usize = 256;
/// Their bytes per turn.
const BYTES: usize = 256 * 1_024;

/// The datagrams of one turn.
#[derive(Debug, Default)]
pub(super) struct RawInbox {
    records: Vec<Record>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Record {
    at: Timestamp,
    four_tuple: FourTuple,
    ecn: Ecn,
    range: Range<usize>,
}

/// A datagram that is no QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawDatagram<'a> {
    /// When its batch was read.
    pub at: Timestamp,
    /// Addresses as seen by us.
    pub four_tuple: FourTuple,
    /// Its mark.
    pub ecn: Ecn,
    /// Its payload.
    pub bytes: &'a [u8],
}

/// Whether a datagram found room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    No,
}

impl RawInbox {
    pub(super) fn push(&mut self, at: Timestamp, four_tuple: FourTuple, ecn: Ecn, bytes: &[u8]) -> Kept {
        let start = self.bytes.len();
        let end = start.saturating_add(bytes.len());
        if self.records.len() >= DATAGRAMS || end > BYTES {
            return Kept::No;
        }
        self.bytes.extend_from_slice(bytes);
        self.records.push(Record { at, four_tuple, ecn, range: start..end });
        Kept::Yes
    }

    pub(super) fn datagrams(&self) -> impl Iterator<Item = RawDatagram<'_>> {
        self.records.iter().map(|record| RawDatagram {
            at: record.at,
            four_tuple: record.four_tuple,
            ecn: record.ecn,
            bytes: self.bytes.get(record.range.clone()).unwrap_or_default(),
        })
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_flood_of_raw_datagrams_fills_a_turn_and_no_more() {
        let address = (Ipv4Addr::LOCALHOST, 1).into();
        let four_tuple = FourTuple { local: address, remote: address };
        let mut inbox = RawInbox::default();
        let mut push = |bytes: &[u8]| inbox.push(Timestamp::ZERO, four_tuple, Ecn::NotEct, bytes);
        assert!((0..DATAGRAMS).all(|_| push(b"x") == Kept::Yes));
        assert_eq!(push(b"x"), Kept::No);
        inbox.clear();
        let large = vec![0; 60_000];
        let kept = (0..10).filter(|_| inbox.push(Timestamp::ZERO, four_tuple, Ecn::NotEct, &large) == Kept::Yes);
        assert_eq!(kept.count(), BYTES / 60_000);
    }
}
