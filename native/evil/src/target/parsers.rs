//! Bytes into every reader of the wire; what can be read must survive being written (attacks A1, A4, A8, B4, B6, C3, D17).

use qbase::{
    ConnectionId, FourTuple, Reader, Role, Timestamp, Writer,
    frame::{Frame, ack, table},
    packet::{self, FixedBit, InvariantHeader, PacketType, ProtectedHeader, coalesced, number, retry, version_negotiation},
    param::TransportParameters,
    varint,
};
use qcrypto::TokenKey;

use super::food::Food;

/// Headers of packets of all versions, Retry, Version Negotiation, coalesced packets, packet numbers.
pub fn packet(data: &[u8]) {
    let mut food = Food::new(data);
    let choice = food.byte();
    let cid_len = usize::from(choice & 0x1f).min(20);
    let fixed_bit = if choice & 0x20 == 0 { FixedBit::Required } else { FixedBit::Ignored };
    let truncated = food.number();
    let largest = food.number() & varint::MAX;
    check_number(truncated, usize::from(choice >> 6) + 1, largest);
    let bytes = food.rest();
    if let Ok(header) = ProtectedHeader::parse_with(bytes, cid_len, fixed_bit) {
        check_header(&header, bytes, cid_len);
    }
    if let Ok(read) = retry::parse(bytes) {
        let mut buffer = vec![0; bytes.len()];
        let mut writer = Writer::new(&mut buffer);
        retry::write(&mut writer, read.version, &read.dcid, &read.scid, read.token);
        writer.bytes(&read.tag);
        assert!(!writer.overflowed() && writer.len() == bytes.len(), "a Retry has another length when written");
        let again = retry::parse(&buffer).map(|again| (again.version, again.dcid, again.scid, again.token.len(), again.tag));
        assert_eq!(again, Ok((read.version, read.dcid, read.scid, read.token.len(), read.tag)));
    }
    if let Ok(read) = version_negotiation::parse(bytes) {
        let versions: Vec<u32> = read.versions().collect();
        assert!(!versions.is_empty());
        let mut buffer = vec![0; version_negotiation::size(read.dcid, read.scid, versions.len())];
        let mut writer = Writer::new(&mut buffer);
        version_negotiation::write(&mut writer, choice & 0x3f, read.dcid, read.scid, &versions);
        assert!(!writer.overflowed() && writer.remaining() == 0);
        assert_eq!(version_negotiation::parse(&buffer).map(|again| again.versions().collect()), Ok(versions));
    }
    let mut copy = bytes.to_vec();
    let mut seen = 0;
    for (header, packet) in coalesced::split(&mut copy, cid_len, fixed_bit).flatten() {
        assert_eq!(packet.len(), header.end);
        seen += packet.len();
    }
    assert!(seen <= bytes.len());
}

fn check_number(truncated: u64, len: usize, largest: u64) {
    let mask = (1_u64 << (8 * len)) - 1;
    let decoded = number::decode(truncated & mask, len, Some(largest));
    assert!(decoded <= varint::MAX && decoded & mask == truncated & mask, "{decoded} does not end as it was written");
    if number::encoded_len(decoded, Some(largest)) <= len && decoded > largest {
        assert_eq!(number::decode(decoded & mask, len, Some(largest)), decoded);
    }
}

fn check_header(header: &ProtectedHeader, bytes: &[u8], cid_len: usize) {
    assert!(header.pn_offset <= header.end && header.end <= bytes.len(), "{header:?} reaches beyond {}", bytes.len());
    assert!(header.token.start <= header.token.end && header.token.end <= header.pn_offset);
    assert_eq!(packet::destination_cid(bytes, cid_len), Some(header.dcid.as_bytes()), "routed to another id");
    if header.kind.level().is_some() {
        assert!(header.end - header.pn_offset >= packet::MIN_PROTECTED);
    }
    match InvariantHeader::parse(bytes) {
        Some(invariant) => {
            assert_eq!((invariant.version, invariant.dcid, invariant.scid), (header.version, header.dcid.as_bytes(), header.scid.as_bytes()));
        }
        None => assert_eq!(header.kind, PacketType::OneRtt),
    }
}

/// Frames, one after another.
pub fn frames(data: &[u8]) {
    let mut reader = Reader::new(data);
    while !reader.is_empty() {
        let before = reader.remaining();
        let Ok(frame) = Frame::decode(&mut reader) else { return };
        assert!(reader.remaining() < before, "{frame:?} consumed nothing");
        let spec = table::spec(frame.frame_type());
        assert!(spec.is_some_and(|spec| spec.ack_eliciting == frame.is_ack_eliciting()), "{frame:?} is not as its row says");
        check_frame(&frame);
    }
}

fn check_frame(frame: &Frame<'_>) {
    let size = frame.size();
    let mut buffer = vec![0; size];
    let mut writer = Writer::new(&mut buffer);
    frame.write(&mut writer);
    assert!(!writer.overflowed() && writer.remaining() == 0, "{frame:?} is not of the size it says");
    if size > 0 {
        let mut short = vec![0; size - 1];
        let mut writer = Writer::new(&mut short);
        frame.write(&mut writer);
        assert!(writer.overflowed(), "{frame:?} fits where it cannot");
    }
    let mut reader = Reader::new(&buffer);
    assert_eq!(Frame::decode(&mut reader).as_ref(), Ok(frame), "written and read it is another frame");
    assert!(reader.is_empty());
}

/// Transport parameters of either end.
pub fn parameters(data: &[u8]) {
    let mut food = Food::new(data);
    let role = if food.byte() & 1 == 0 { Role::Client } else { Role::Server };
    let Ok(mut read) = TransportParameters::read(food.rest(), role) else { return };
    // Of a list of versions only those that are spoken are kept, so a choice nobody speaks cannot be written as a client's.
    read.version_information = read.version_information.filter(|versions| versions.available.contains(&versions.chosen));
    assert!(read.active_connection_id_limit >= 2 && read.max_udp_payload_size >= 1_200 && read.ack_delay_exponent <= 20);
    let mut written = Vec::new();
    read.write(&mut written, role, None);
    assert_eq!(TransportParameters::read(&written, role), Ok(read));
}

/// Ranges of an acknowledgement, read from bytes and written from ranges into any room.
pub fn acks(data: &[u8]) {
    let mut food = Food::new(data);
    let frame_type = [table::ACK, table::ACK_ECN, table::PATH_ACK, table::PATH_ACK_ECN][usize::from(food.byte() & 3)];
    let room = usize::from(food.short() % 1_400);
    let mut top = food.number() & varint::MAX;
    let raw = food;
    let mut ranges = Vec::new();
    while !food.is_empty() && ranges.len() < 200 {
        let bottom = top.saturating_sub(food.number());
        ranges.push(bottom..=top);
        let Some(next) = bottom.checked_sub(2).and_then(|next| next.checked_sub(food.number())) else { break };
        top = next;
    }
    let mut buffer = vec![0; room];
    let mut writer = Writer::new(&mut buffer);
    let written = ack::write(&mut writer, None, ranges.iter().cloned(), 7, None, room);
    assert!(!writer.overflowed());
    let len = writer.len();
    match written {
        None => assert_eq!(len, 0, "nothing fits, and something was written"),
        Some(written) => {
            let mut reader = Reader::new(&buffer[..len]);
            let Ok(Frame::Ack(read)) = Frame::decode(&mut reader) else { unreachable!("our own ACK cannot be read") };
            let read: Vec<_> = read.ranges.collect();
            assert_eq!(read, ranges[..written.ranges], "other ranges than those given");
            assert_eq!(read.last().map(|range| *range.start()), Some(written.smallest));
        }
    }
    let mut frame = vec![0; 8];
    let mut writer = Writer::new(&mut frame);
    writer.varint(frame_type);
    let head = writer.len();
    frame.truncate(head);
    frame.extend_from_slice({ raw }.rest());
    if let Ok(Frame::Ack(read)) = Frame::decode(&mut Reader::new(&frame)) {
        let mut above = None;
        for range in read.ranges {
            assert!(range.start() <= range.end() && above.is_none_or(|above| *range.end() + 1 < above), "ranges touch");
            above = Some(*range.start());
        }
    }
}

/// Bytes as an address token: garbage, sealed garbage, and a good seal with a byte changed.
pub fn tokens(data: &[u8]) {
    let mut food = Food::new(data);
    let (kind, at, change) = (food.byte(), usize::from(food.byte()), food.byte());
    let salt = std::array::from_fn(|_| food.byte());
    let content = food.rest();
    let key = TokenKey::new(&[3; 32]);
    assert_eq!(key.open(kind, content), None, "a token nobody sealed opens");
    let Some(mut token) = key.seal(kind, salt, content) else { return };
    assert!(key.open(kind, &token).is_some_and(|opened| opened.content == content && opened.salt == salt));
    let at = at % token.len();
    token[at] ^= change;
    assert_eq!(key.open(kind, &token).is_some(), change == 0, "a changed token opens");
    super::initials::token(&token, content, kind);
}

/// The same id, or a shorter one.
pub(super) fn cid(bytes: &[u8]) -> ConnectionId {
    ConnectionId::new(&bytes[..bytes.len().min(20)]).unwrap_or_default()
}

/// Addresses a datagram comes from, one of four.
pub(super) fn addresses(choice: u8) -> FourTuple {
    crate::arena::addresses(choice & 3)
}

/// Where every target's time begins.
pub(super) const START: Timestamp = Timestamp::from_millis(1_000);
