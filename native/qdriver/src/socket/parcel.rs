//! What is handed to a socket: the bytes of one burst and where they go.

use std::net::{IpAddr, SocketAddr};

use qbase::Ecn;

/// One burst to one address: equal segments in one buffer, the last may be shorter (burst B-4).
#[derive(Clone, Copy, Debug)]
pub struct Parcel<'a> {
    /// Where to.
    pub remote: SocketAddr,
    /// Source address to send from; `None` or unspecified: the kernel picks.
    pub source: Option<IpAddr>,
    /// Mark on every datagram.
    pub ecn: Ecn,
    /// Time to live (hop limit) of these datagrams only; `None`: the system's default.
    pub hop_limit: Option<u8>,
    /// Bytes of every segment but the last; 0 counts as "all in one".
    pub segment_size: usize,
    /// All segments, one after the other. An empty slice is one empty datagram.
    pub bytes: &'a [u8],
}

impl<'a> Parcel<'a> {
    /// Datagrams in it, at least one.
    #[must_use]
    pub const fn segments(&self) -> usize {
        let segments = self.bytes.len().div_ceil(self.stride());
        if segments == 0 { 1 } else { segments }
    }

    /// What is left without the first `segments`.
    #[must_use]
    pub fn without(&self, segments: usize) -> Self {
        let start = segments.saturating_mul(self.stride()).min(self.bytes.len());
        Self { bytes: self.bytes.get(start..).unwrap_or_default(), ..*self }
    }

    /// The datagrams, in order.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let empty: Option<&'a [u8]> = self.bytes.is_empty().then_some(&[]);
        self.bytes.chunks(self.stride()).chain(empty)
    }

    /// Distance between datagrams, never zero.
    const fn stride(&self) -> usize {
        if self.segment_size == 0 { usize::MAX } else { self.segment_size }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_parcel_counts_and_splits_its_datagrams() {
        let cases: [(usize, usize, &[usize]); 6] = [
            (0, 1_200, &[0]),
            (1, 1_200, &[1]),
            (1_200, 1_200, &[1_200]),
            (1_201, 1_200, &[1_200, 1]),
            (3_600, 1_200, &[1_200, 1_200, 1_200]),
            (50, 0, &[50]),
        ];
        for (length, segment_size, expected) in cases {
            let bytes = vec![0; length];
            let parcel = parcel(&bytes, segment_size);
            let sizes: Vec<_> = parcel.datagrams().map(<[u8]>::len).collect();
            assert_eq!(sizes, expected);
            assert_eq!(parcel.segments(), expected.len());
        }
    }

    #[test]
    fn the_rest_of_a_parcel_begins_at_a_datagram() {
        let bytes: Vec<u8> = (0..25).collect();
        let parcel = parcel(&bytes, 10);
        assert_eq!(parcel.without(2).bytes, &bytes[20..]);
        assert_eq!(parcel.without(0).segments(), 3);
        assert!(parcel.without(9).bytes.is_empty());
    }

    fn parcel(bytes: &[u8], segment_size: usize) -> Parcel<'_> {
        let remote = (Ipv4Addr::LOCALHOST, 1).into();
        Parcel { remote, source: None, ecn: Ecn::NotEct, hop_limit: None, segment_size, bytes }
    }
}
