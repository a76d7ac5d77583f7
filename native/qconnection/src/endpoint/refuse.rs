//! Refusal: an Initial packet with CONNECTION_CLOSE and nothing behind it (RFC 9000 §5.2.2, §8.1.2).
//!
//! Called by the accept step for clients there is no room for and for bad tokens. Rationed (attacks L20), keeps no state,
//! and is far smaller than the Initial that it answers.

use super::{Endpoint, EndpointNews};
use qbase::{
    ErrorCode, FourTuple, PathId, Role, Timestamp, Writer,
    frame::{CloseKind, ConnectionClose},
    limits::TAG_LEN,
    packet::{LongHeader, LongKind, ProtectedHeader, long, number},
};
use qcrypto::Keys;
use qevent::DropReason;

/// Code and words of a refusal.
pub(super) type Refusal = (ErrorCode, &'static str);

/// Bytes of the longest refusal.
const MAX_REFUSAL: usize = 256;
/// Bytes of its packet number: with them the shortest frame is enough to sample.
const NUMBER_LEN: usize = 4;

impl Endpoint {
    /// Tells a client that its attempt ends here, as far as the ration goes. Only a packet that opens is answered: a
    /// token that was damaged on its way must not end an honest attempt.
    pub(super) fn refuse(&mut self, now: Timestamp, four_tuple: FourTuple, header: &ProtectedHeader, bytes: &mut [u8], refusal: Refusal) {
        if !self.rations.closes.take(now, four_tuple.remote.ip()) {
            return self.drops.count(DropReason::AnswerLimit);
        }
        let keys = Keys::initial(header.version, &header.dcid, Role::Server);
        if open(&keys, header, bytes).is_none() {
            return self.drops.count(DropReason::Undecryptable);
        }
        if let Some(bytes) = self.refusal(header, &keys, refusal) {
            self.counters.refused = self.counters.refused.saturating_add(1);
            self.admission.tell(EndpointNews::Refused { remote: four_tuple.remote, reason: refusal.1 });
            self.answer(four_tuple, bytes);
        }
    }

    fn refusal(&mut self, header: &ProtectedHeader, keys: &Keys, refusal: Refusal) -> Option<Vec<u8>> {
        let (dcid, scid) = (header.scid, self.new_cid());
        let mut packet = vec![0; MAX_REFUSAL];
        let mut writer = Writer::new(&mut packet);
        let start = LongHeader { kind: LongKind::Initial { token: &[] }, version: header.version, dcid, scid }.write(&mut writer, 0, NUMBER_LEN);
        let header_len = writer.len();
        let kind = CloseKind::Transport { frame_type: 0 };
        ConnectionClose { kind, code: refusal.0.0, reason: refusal.1.as_bytes() }.write(&mut writer);
        writer.zeros(TAG_LEN);
        if writer.overflowed() {
            return None;
        }
        let len = writer.len();
        packet.truncate(len);
        long::patch_length(&mut packet, start.length_offset, len.saturating_sub(start.pn_offset))?;
        keys.local.packet.seal(PathId::ZERO, 0, &mut packet, header_len).ok()?;
        keys.local.header.protect(&mut packet, start.pn_offset).ok()?;
        Some(packet)
    }
}

/// The payload of a client's first packet, opened in place; `None`: it is not authentic, as far as an Initial packet can be.
pub(super) fn open<'a>(keys: &Keys, header: &ProtectedHeader, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
    let packet = bytes.get_mut(..header.end)?;
    let number_at = header.pn_offset;
    let number_len = keys.remote.header.unprotect(packet, number_at)?;
    let number = number::read(packet, number_at, number_len).map(|read| number::decode(read, number_len, None))?;
    let header_len = number_at.saturating_add(number_len);
    let payload = keys.remote.packet.open(PathId::ZERO, number, packet, header_len).ok()?;
    packet.get(payload)
}
