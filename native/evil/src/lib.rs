//! Evil ends of QUIC connections: they make an honest handshake, keep the keys, and then send whatever a test wants in any
//! packet. And the bodies of all fuzz targets.
//!
//! Built from our own encoders with all checks left out. [`arena::Arena`] holds the server that an evil client talks to,
//! [`stage::Stage`] the client of an evil server. An evil end never retransmits, never acknowledges and never pads unless it
//! is told to. Called by the tests of attacks and by `native/fuzz`; no part of a product.

pub mod arena;
pub mod ends;
pub mod peer;
pub mod stage;
pub mod target;
pub mod wire;

use qbase::{
    ConnectionId, PathId, ResetToken, StreamId, Writer,
    frame::{self, AckRanges, Frame},
};
use std::ops::RangeInclusive;

/// The bytes of these frames.
pub fn encode(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; frames.iter().map(Frame::size).sum()];
    let mut writer = Writer::new(&mut bytes);
    frames.iter().for_each(|frame| frame.write(&mut writer));
    bytes
}

/// STREAM.
pub fn stream(id: u64, offset: u64, data: &[u8], fin: frame::Fin) -> Frame<'_> {
    Frame::Stream(frame::Stream { stream: StreamId(id), offset, fin: fin == frame::Fin::Yes, data })
}

/// ACK (`path` is `None`) or PATH_ACK of one range.
pub fn ack(path: Option<PathId>, range: &RangeInclusive<u64>) -> Frame<'static> {
    Frame::Ack(frame::Ack { path, largest: *range.end(), delay: 0, ranges: AckRanges::one(range), ecn: None })
}

/// NEW_CONNECTION_ID (`path` is `None`) or PATH_NEW_CONNECTION_ID with an id and a token that depend on the sequence.
pub fn new_cid(path: Option<PathId>, sequence: u64, retire_prior_to: u64) -> Frame<'static> {
    let cid = own_cid(path.unwrap_or_default(), sequence);
    Frame::NewConnectionId(frame::NewConnectionId { path, sequence, retire_prior_to, cid, reset_token: token(sequence) })
}

/// The evil peer's id of this number: the path can be read from it.
pub fn own_cid(path: PathId, sequence: u64) -> ConnectionId {
    let mut bytes = [0xe0; 8];
    let (path_bytes, sequence_bytes) = bytes.split_at_mut(4);
    path_bytes.copy_from_slice(&path.0.to_be_bytes());
    sequence_bytes.copy_from_slice(&u32::try_from(sequence).unwrap_or(u32::MAX).to_be_bytes());
    ConnectionId::new(&bytes).unwrap_or_default()
}

/// A reset token that depends on the sequence.
pub fn token(sequence: u64) -> ResetToken {
    let mut token = [7; 16];
    token.iter_mut().zip(sequence.to_be_bytes()).for_each(|(byte, digit)| *byte = digit);
    ResetToken(token)
}
