//! What passes a link, written as packet captures: one file as its clients see the link, one as the target sees it.
//!
//! Classic pcap with nanoseconds, link type RAW (IP), headers made up from addresses and ECN mark; checksums stay zero. Called by
//! [`super::link`]. A file that cannot be written any more is left; the link carries on.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use qbase::{Ecn, Timestamp};

/// Little-endian, nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
const SNAP_LEN: u32 = 65_535;
/// LINKTYPE_RAW: an IPv4 or IPv6 header comes first.
const LINK_TYPE: u32 = 101;
const UDP: u8 = 17;
const UDP_HEADER: u16 = 8;
const IPV4_HEADER: u16 = 20;
const HOP_LIMIT: u8 = 64;

/// Where the captures of a link go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureFiles {
    /// Between clients and the link: what they sent, before any loss, and what reached them.
    pub client: PathBuf,
    /// Between the link and the target.
    pub target: PathBuf,
}

/// Both captures of a link.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) client: PcapFile,
    pub(super) target: PcapFile,
}

impl Capture {
    pub(super) fn create(files: &CaptureFiles) -> io::Result<Self> {
        Ok(Self { client: PcapFile::create(&files.client)?, target: PcapFile::create(&files.target)? })
    }
}

/// One capture.
#[derive(Debug)]
pub(super) struct PcapFile {
    /// `None`: a write has failed.
    out: Option<BufWriter<File>>,
}

impl PcapFile {
    fn create(path: &Path) -> io::Result<Self> {
        let mut out = BufWriter::new(File::create(path)?);
        let mut header = Vec::with_capacity(24);
        header.extend(MAGIC.to_le_bytes());
        header.extend(2_u16.to_le_bytes());
        header.extend(4_u16.to_le_bytes());
        header.extend([0; 8]);
        header.extend(SNAP_LEN.to_le_bytes());
        header.extend(LINK_TYPE.to_le_bytes());
        out.write_all(&header)?;
        Ok(Self { out: Some(out) })
    }

    /// A datagram passes here. Too long for an IP packet: left out.
    pub(super) fn record(&mut self, now: Timestamp, from: SocketAddr, to: SocketAddr, ecn: Ecn, payload: &[u8]) {
        let Some(out) = &mut self.out else { return };
        let Some(headers) = headers(from, to, ecn, payload.len()) else { return };
        let len = u32::try_from(headers.len().saturating_add(payload.len())).unwrap_or(SNAP_LEN);
        let nanos = now.as_nanos();
        let mut written = Ok(());
        for word in [nanos / 1_000_000_000, nanos % 1_000_000_000, len.into(), len.into()] {
            let word = u32::try_from(word).unwrap_or(u32::MAX);
            written = written.and_then(|()| out.write_all(&word.to_le_bytes()));
        }
        if written.and_then(|()| out.write_all(&headers)).and_then(|()| out.write_all(payload)).is_err() {
            self.out = None;
        }
    }

    /// What was recorded so far is in the file.
    pub(super) fn flush(&mut self) {
        if self.out.as_mut().is_some_and(|out| out.flush().is_err()) {
            self.out = None;
        }
    }
}

/// IP and UDP headers; `None`: the families differ, or it is too long.
fn headers(from: SocketAddr, to: SocketAddr, ecn: Ecn, payload: usize) -> Option<Vec<u8>> {
    let udp_len = u16::try_from(payload).ok()?.checked_add(UDP_HEADER)?;
    let mut bytes = Vec::with_capacity(48);
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend([0x45, ecn as u8]);
            bytes.extend(udp_len.checked_add(IPV4_HEADER)?.to_be_bytes());
            // No identification, "don't fragment".
            bytes.extend([0, 0, 0x40, 0, HOP_LIMIT, UDP, 0, 0]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            // Version 6, then the traffic class, whose low two bits are the ECN mark, across two bytes.
            bytes.extend([0x60, (ecn as u8) << 4, 0, 0]);
            bytes.extend(udp_len.to_be_bytes());
            bytes.extend([UDP, HOP_LIMIT]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        _ => return None,
    }
    bytes.extend(from.port().to_be_bytes());
    bytes.extend(to.port().to_be_bytes());
    bytes.extend(udp_len.to_be_bytes());
    bytes.extend([0, 0]);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_hold_addresses_ports_lengths_and_the_ecn_mark() {
        let four = headers(addr("192.0.2.1:4433"), addr("198.51.100.2:50000"), Ecn::Ect0, 100).expect("one family");
        assert_eq!(four.len(), 28);
        assert_eq!(&four[..4], [0x45, 2, 0, 128]);
        assert_eq!(&four[12..24], [192, 0, 2, 1, 198, 51, 100, 2, 0x11, 0x51, 0xc3, 0x50]);
        assert_eq!(&four[24..], [0, 108, 0, 0]);
        let six = headers(addr("[::1]:1"), addr("[::1]:2"), Ecn::Ce, 7).expect("one family");
        assert_eq!((six.len(), &six[..8]), (48, &[0x60, 0x30, 0, 0, 0, 15, UDP, HOP_LIMIT][..]));
        assert_eq!(headers(addr("192.0.2.1:1"), addr("[::1]:1"), Ecn::NotEct, 0), None);
        assert_eq!(headers(addr("192.0.2.1:1"), addr("192.0.2.1:1"), Ecn::NotEct, 65_520), None);
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }
}
