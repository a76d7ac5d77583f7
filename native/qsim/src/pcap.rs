//! What was on the links as a pcapng file, with the keys inside: other tools open it and read the packets.
//!
//! ```text
//!   section header · one interface a link · secrets (TLS key log) · one packet a datagram
//! ```
//! Packets are raw IP with nanoseconds; a datagram that did not get through has its fate as a comment. Called by exports.
//! Decides nothing.

use std::{net::IpAddr, time::Duration};

use qbase::Ecn;

use crate::{clock::Clock, trace::Fate, wires::Observation};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const SECRETS: u32 = 10;
/// Raw IPv4 or IPv6, by the first half byte.
const LINK_TYPE_RAW: u16 = 101;
/// Secrets of TLS in the format of SSLKEYLOGFILE.
const TLS_KEY_LOG: u32 = 0x544c_534b;
const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const OPTION_NAME: u16 = 2;
const OPTION_RESOLUTION: u16 = 9;
const UDP: u8 = 17;

/// A whole file. `links`: their names by number; `epoch`: time of day at the start of the world, since 1970.
#[must_use]
pub fn file(links: &[String], keys: &[String], observed: &[Observation], epoch: Duration) -> Vec<u8> {
    let mut out = Vec::new();
    let mut header = Vec::from(0x1a2b_3c4d_u32.to_le_bytes());
    header.extend([1, 0, 0, 0]);
    header.extend(u64::MAX.to_le_bytes());
    block(&mut out, SECTION, &header);
    for name in links {
        let mut body = Vec::from(LINK_TYPE_RAW.to_le_bytes());
        body.extend([0; 6]);
        option(&mut body, OPTION_NAME, name.as_bytes());
        option(&mut body, OPTION_RESOLUTION, &[9]);
        option(&mut body, OPTION_END, &[]);
        block(&mut out, INTERFACE, &body);
    }
    if !keys.is_empty() {
        let mut text = keys.join("\n").into_bytes();
        text.push(b'\n');
        let mut body = Vec::from(TLS_KEY_LOG.to_le_bytes());
        body.extend(length(&text).to_le_bytes());
        body.extend(text);
        pad(&mut body);
        block(&mut out, SECRETS, &body);
    }
    for seen in observed {
        packet(&mut out, seen, epoch);
    }
    out
}

fn packet(out: &mut Vec<u8>, seen: &Observation, epoch: Duration) {
    let datagram = ip(seen);
    let nanos = epoch.saturating_add(seen.event.at.saturating_since(Clock::START)).as_nanos();
    let [high, low] = [nanos >> 32, nanos & 0xffff_ffff].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
    let mut body = Vec::with_capacity(datagram.len().saturating_add(64));
    for word in [seen.event.link.0, high, low, length(&datagram), length(&datagram)] {
        body.extend(word.to_le_bytes());
    }
    body.extend(datagram);
    pad(&mut body);
    if seen.event.fate != Fate::Delivered {
        option(&mut body, OPTION_COMMENT, format!("dropped: {}", seen.event.fate.name()).as_bytes());
        option(&mut body, OPTION_END, &[]);
    }
    block(out, PACKET, &body);
}

/// The datagram with its headers.
fn ip(seen: &Observation) -> Vec<u8> {
    let (to, from) = (seen.four_tuple.local, seen.four_tuple.remote);
    let ecn = match seen.ecn {
        Ecn::NotEct => 0,
        Ecn::Ect1 => 1,
        Ecn::Ect0 => 2,
        Ecn::Ce => 3,
    };
    let udp_length = u16::try_from(seen.bytes.len().saturating_add(8)).unwrap_or(u16::MAX);
    let mut udp = Vec::with_capacity(seen.bytes.len().saturating_add(8));
    for field in [from.port(), to.port(), udp_length, 0] {
        udp.extend(field.to_be_bytes());
    }
    udp.extend(&seen.bytes);
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = udp_length.saturating_add(20).to_be_bytes();
            let mut head = vec![0x45, ecn, total[0], total[1], 0, 0, 0x40, 0, 64, UDP, 0, 0];
            head.extend(from.octets());
            head.extend(to.octets());
            let sum = checksum(&[&head]).to_be_bytes();
            head.splice(10..12, sum);
            // A UDP checksum of zero is none.
            [head, udp].concat()
        }
        (from, to) => {
            let [from, to] = [from, to].map(|ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            });
            let length = udp_length.to_be_bytes();
            let sum = checksum(&[&from, &to, &[0, 0], &length, &[0, 0, 0, UDP], &udp]);
            udp.splice(6..8, if sum == 0 { [0xff, 0xff] } else { sum.to_be_bytes() });
            let head = [0x60, ecn << 4, 0, 0, length[0], length[1], UDP, 64];
            [&head[..], &from, &to, &udp].concat()
        }
    }
}

/// The Internet checksum (RFC 1071); only the last part may have an odd length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        let word = [pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)];
        sum = sum.saturating_add(u64::from(u16::from_be_bytes(word)));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff).saturating_add(sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let total = length(body).saturating_add(12).to_le_bytes();
    out.extend(kind.to_le_bytes());
    out.extend(total);
    out.extend(body);
    out.extend(total);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    body.extend(value);
    pad(body);
}

/// Blocks are made of 32-bit words.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use qbase::FourTuple;

    use super::*;
    use crate::{link::LinkDirection, trace::TraceEvent, wires::LinkId};

    fn seen(from: &str, to: &str, fate: Fate) -> Observation {
        let event = TraceEvent {
            at: Clock::START + Duration::from_nanos(5),
            link: LinkId(0),
            direction: LinkDirection::AToB,
            len: 3,
            fate,
            arrives_at: None,
        };
        let four_tuple = FourTuple { local: to.parse().expect("address"), remote: from.parse().expect("address") };
        Observation { event, four_tuple, ecn: Ecn::Ect0, bytes: vec![1, 2, 3] }
    }

    /// Kinds and bodies of all blocks.
    fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("word"));
        let mut found = Vec::new();
        while !file.is_empty() {
            let total = usize::try_from(word(file, 4)).expect("length");
            assert_eq!((total % 4, word(file, total - 4)), (0, word(file, 4)), "both lengths agree");
            found.push((word(file, 0), file[8..total - 4].to_vec()));
            file = &file[total..];
        }
        found
    }

    #[test]
    fn a_file_has_links_keys_and_datagrams_in_this_order() {
        let observed = [seen("10.0.1.1:1", "10.0.1.2:2", Fate::Delivered), seen("10.0.1.2:2", "10.0.1.1:1", Fate::Loss)];
        let file = file(&["a".to_owned()], &["CLIENT_RANDOM 00 11".to_owned()], &observed, Duration::from_secs(1));
        let blocks = blocks(&file);
        assert_eq!(blocks.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [SECTION, INTERFACE, SECRETS, PACKET, PACKET]);
        assert!(blocks[2].1.windows(6).any(|text| text == b"CLIENT"));
        let (delivered, lost) = (&blocks[3].1, &blocks[4].1);
        assert_eq!(delivered[4..12], [&0_u32.to_le_bytes()[..], &1_000_000_005_u32.to_le_bytes()].concat());
        assert_eq!(delivered[20..22], [0x45, 2]);
        assert!(lost.windows(13).any(|text| text == b"dropped: loss"));
    }

    #[test]
    fn checksums_of_headers_add_up() {
        let v4 = ip(&seen("10.0.1.1:1", "10.0.1.2:2", Fate::Delivered));
        assert_eq!((v4.len(), checksum(&[&v4[..20]])), (31, 0));
        let v6 = ip(&seen("[fd00::1]:1", "[fd00::2]:2", Fate::Delivered));
        assert_eq!(checksum(&[&v6[8..40], &[0, 0, 0, 11], &[0, 0, 0, UDP], &v6[40..]]), 0);
    }
}
