//! The one table of frame types: code, name, packets that may carry it, how it counts (RFC 9000 §12.4 table 3;
//! RFC 9221 §4; draft-ietf-quic-multipath-21 §4, multipath MP-2, MP-70, MP-73; draft-ietf-quic-ack-frequency §10).
//!
//! Called by the decoder (codes), the connection (which packets may carry what, attacks D19) and telemetry (names).
//! Never looks at a frame's fields.

use super::traversal;
use crate::EncryptionLevel;

/// Codes of the frame types; `*_LAST` closes a range whose low bits are flags.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal),+ $(,)?) => {
        $($(#[$doc])* pub const $name: u64 = $value;)+
    };
}

codes! {
    /// PADDING.
    PADDING = 0x00,
    /// PING.
    PING = 0x01,
    /// ACK without ECN counts.
    ACK = 0x02,
    /// ACK with ECN counts.
    ACK_ECN = 0x03,
    /// RESET_STREAM.
    RESET_STREAM = 0x04,
    /// STOP_SENDING.
    STOP_SENDING = 0x05,
    /// CRYPTO.
    CRYPTO = 0x06,
    /// NEW_TOKEN.
    NEW_TOKEN = 0x07,
    /// STREAM without offset, length and end.
    STREAM = 0x08,
    /// STREAM with offset, length and end.
    STREAM_LAST = 0x0f,
    /// MAX_DATA.
    MAX_DATA = 0x10,
    /// MAX_STREAM_DATA.
    MAX_STREAM_DATA = 0x11,
    /// MAX_STREAMS for bidirectional streams.
    MAX_STREAMS_BIDI = 0x12,
    /// MAX_STREAMS for unidirectional streams.
    MAX_STREAMS_UNI = 0x13,
    /// DATA_BLOCKED.
    DATA_BLOCKED = 0x14,
    /// STREAM_DATA_BLOCKED.
    STREAM_DATA_BLOCKED = 0x15,
    /// STREAMS_BLOCKED for bidirectional streams.
    STREAMS_BLOCKED_BIDI = 0x16,
    /// STREAMS_BLOCKED for unidirectional streams.
    STREAMS_BLOCKED_UNI = 0x17,
    /// NEW_CONNECTION_ID.
    NEW_CONNECTION_ID = 0x18,
    /// RETIRE_CONNECTION_ID.
    RETIRE_CONNECTION_ID = 0x19,
    /// PATH_CHALLENGE.
    PATH_CHALLENGE = 0x1a,
    /// PATH_RESPONSE.
    PATH_RESPONSE = 0x1b,
    /// CONNECTION_CLOSE by the transport.
    CONNECTION_CLOSE = 0x1c,
    /// CONNECTION_CLOSE by the application.
    CONNECTION_CLOSE_APPLICATION = 0x1d,
    /// HANDSHAKE_DONE.
    HANDSHAKE_DONE = 0x1e,
    /// IMMEDIATE_ACK.
    IMMEDIATE_ACK = 0x1f,
    /// DATAGRAM that extends to the end of the packet.
    DATAGRAM = 0x30,
    /// DATAGRAM with a length.
    DATAGRAM_LEN = 0x31,
    /// PATH_ACK without ECN counts.
    PATH_ACK = 0x3e,
    /// PATH_ACK with ECN counts.
    PATH_ACK_ECN = 0x3f,
    /// ACK_FREQUENCY.
    ACK_FREQUENCY = 0xaf,
    /// PATH_ABANDON.
    PATH_ABANDON = 0x3e75,
    /// PATH_STATUS_BACKUP.
    PATH_STATUS_BACKUP = 0x3e76,
    /// PATH_STATUS_AVAILABLE.
    PATH_STATUS_AVAILABLE = 0x3e77,
    /// PATH_NEW_CONNECTION_ID.
    PATH_NEW_CONNECTION_ID = 0x3e78,
    /// PATH_RETIRE_CONNECTION_ID.
    PATH_RETIRE_CONNECTION_ID = 0x3e79,
    /// MAX_PATH_ID.
    MAX_PATH_ID = 0x3e7a,
    /// PATHS_BLOCKED.
    PATHS_BLOCKED = 0x3e7b,
    /// PATH_CIDS_BLOCKED.
    PATH_CIDS_BLOCKED = 0x3e7c,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameType {
    /// Smallest code of the type.
    pub first: u64,
    /// Largest code; above `first` when low bits are flags.
    pub last: u64,
    /// Name as the RFC spells it.
    pub name: &'static str,
    /// Packets that may carry it, one bit per level.
    levels: u8,
    /// A packet with it must be acknowledged (RFC 9000 §13.2, mark N absent).
    pub ack_eliciting: bool,
    /// It may probe a new network path (RFC 9000 §9.1, mark P).
    pub probing: bool,
    /// What must be negotiated before it exists.
    pub extension: Extension,
}

/// To what a frame type belongs. Where an extension is not negotiated, its types are unknown ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// RFC 9000 and RFC 9221.
    None,
    /// Multipath (multipath MP-5, MP-72).
    Multipath,
    /// ACK frequency: who offers `min_ack_delay` takes its frames.
    AckFrequency,
    /// Traversal in profile `braid`, which both ends offered (traversal T-60, T-100).
    TraversalBraid,
    /// Traversal in profile `dquic`, which is configured (traversal T-60).
    TraversalDquic,
    /// OBSERVED_ADDRESS: who asks takes it (draft-ietf-quic-address-discovery §3).
    AddressDiscovery,
}

/// Levels as in the "Pkts" column of table 3.
mod pkts {
    pub(super) const I: u8 = 1;
    pub(super) const H: u8 = 2;
    pub(super) const Z: u8 = 4;
    pub(super) const O: u8 = 8;
    /// `IH01`
    pub(super) const ALL: u8 = I | H | Z | O;
    /// `IH_1`
    pub(super) const NOT_0RTT: u8 = I | H | O;
    /// `__01`
    pub(super) const DATA: u8 = Z | O;
    /// `___1`
    pub(super) const ONE_RTT: u8 = O;
}

impl FrameType {
    /// An ack-eliciting, non-probing type of the base protocol.
    const fn new(first: u64, name: &'static str, levels: u8) -> Self {
        Self { first, last: first, name, levels, ack_eliciting: true, probing: false, extension: Extension::None }
    }

    /// A type of the multipath extension: 1-RTT packets only, never probing.
    const fn multipath(first: u64, name: &'static str) -> Self {
        Self { extension: Extension::Multipath, ..Self::new(first, name, pkts::ONE_RTT) }
    }

    /// A type of the ACK frequency extension: no 0-RTT packet has one, because `min_ack_delay` is not remembered.
    const fn ack_frequency(first: u64, name: &'static str) -> Self {
        Self { extension: Extension::AckFrequency, ..Self::new(first, name, pkts::ONE_RTT) }
    }

    /// A type of traversal or address discovery.
    pub(super) const fn traversal(first: u64, name: &'static str, extension: Extension) -> Self {
        Self { extension, ..Self::new(first, name, pkts::DATA) }
    }

    pub(super) const fn up_to(self, last: u64) -> Self {
        Self { last, ..self }
    }

    pub(super) const fn not_ack_eliciting(self) -> Self {
        Self { ack_eliciting: false, ..self }
    }

    pub(super) const fn probing(self) -> Self {
        Self { probing: true, ..self }
    }

    /// Packets of `level` may carry it.
    #[must_use]
    pub const fn allows(&self, level: EncryptionLevel) -> bool {
        let bit = match level {
            EncryptionLevel::Initial => pkts::I,
            EncryptionLevel::Handshake => pkts::H,
            EncryptionLevel::ZeroRtt => pkts::Z,
            EncryptionLevel::OneRtt => pkts::O,
        };
        self.levels & bit != 0
    }
}

/// All frame types that [`Frame`](super::Frame) knows, by rising code: 22 of RFC 9000 and RFC 9221, 9 of multipath, 2 of ACK
/// frequency. Those of traversal, which come behind them, stand in [`traversal::TABLE`].
pub static TABLE: [FrameType; 33] = [
    FrameType::new(PADDING, "PADDING", pkts::ALL).not_ack_eliciting().probing(),
    FrameType::new(PING, "PING", pkts::ALL),
    FrameType::new(ACK, "ACK", pkts::NOT_0RTT).up_to(ACK_ECN).not_ack_eliciting(),
    FrameType::new(RESET_STREAM, "RESET_STREAM", pkts::DATA),
    FrameType::new(STOP_SENDING, "STOP_SENDING", pkts::DATA),
    FrameType::new(CRYPTO, "CRYPTO", pkts::NOT_0RTT),
    FrameType::new(NEW_TOKEN, "NEW_TOKEN", pkts::ONE_RTT),
    FrameType::new(STREAM, "STREAM", pkts::DATA).up_to(STREAM_LAST),
    FrameType::new(MAX_DATA, "MAX_DATA", pkts::DATA),
    FrameType::new(MAX_STREAM_DATA, "MAX_STREAM_DATA", pkts::DATA),
    FrameType::new(MAX_STREAMS_BIDI, "MAX_STREAMS", pkts::DATA).up_to(MAX_STREAMS_UNI),
    FrameType::new(DATA_BLOCKED, "DATA_BLOCKED", pkts::DATA),
    FrameType::new(STREAM_DATA_BLOCKED, "STREAM_DATA_BLOCKED", pkts::DATA),
    FrameType::new(STREAMS_BLOCKED_BIDI, "STREAMS_BLOCKED", pkts::DATA).up_to(STREAMS_BLOCKED_UNI),
    FrameType::new(NEW_CONNECTION_ID, "NEW_CONNECTION_ID", pkts::DATA).probing(),
    FrameType::new(RETIRE_CONNECTION_ID, "RETIRE_CONNECTION_ID", pkts::DATA),
    FrameType::new(PATH_CHALLENGE, "PATH_CHALLENGE", pkts::DATA).probing(),
    FrameType::new(PATH_RESPONSE, "PATH_RESPONSE", pkts::ONE_RTT).probing(),
    FrameType::new(CONNECTION_CLOSE, "CONNECTION_CLOSE", pkts::ALL).not_ack_eliciting(),
    FrameType::new(CONNECTION_CLOSE_APPLICATION, "CONNECTION_CLOSE", pkts::DATA).not_ack_eliciting(),
    FrameType::new(HANDSHAKE_DONE, "HANDSHAKE_DONE", pkts::ONE_RTT),
    FrameType::ack_frequency(IMMEDIATE_ACK, "IMMEDIATE_ACK"),
    FrameType::new(DATAGRAM, "DATAGRAM", pkts::DATA).up_to(DATAGRAM_LEN),
    FrameType::multipath(PATH_ACK, "PATH_ACK").up_to(PATH_ACK_ECN).not_ack_eliciting(),
    FrameType::ack_frequency(ACK_FREQUENCY, "ACK_FREQUENCY"),
    FrameType::multipath(PATH_ABANDON, "PATH_ABANDON"),
    FrameType::multipath(PATH_STATUS_BACKUP, "PATH_STATUS_BACKUP"),
    FrameType::multipath(PATH_STATUS_AVAILABLE, "PATH_STATUS_AVAILABLE"),
    FrameType::multipath(PATH_NEW_CONNECTION_ID, "PATH_NEW_CONNECTION_ID"),
    FrameType::multipath(PATH_RETIRE_CONNECTION_ID, "PATH_RETIRE_CONNECTION_ID"),
    FrameType::multipath(MAX_PATH_ID, "MAX_PATH_ID"),
    FrameType::multipath(PATHS_BLOCKED, "PATHS_BLOCKED"),
    FrameType::multipath(PATH_CIDS_BLOCKED, "PATH_CIDS_BLOCKED"),
];

/// The row of a type code; `None` for unknown types.
#[must_use]
pub fn spec(frame_type: u64) -> Option<&'static FrameType> {
    let row = TABLE.partition_point(|row| row.last < frame_type);
    match TABLE.get(row) {
        Some(row) => Some(row).filter(|row| row.first <= frame_type),
        None => traversal::spec(frame_type),
    }
}

/// Packets of `level` may carry frames of this type; never true for unknown types.
#[must_use]
pub fn allowed(frame_type: u64, level: EncryptionLevel) -> bool {
    spec(frame_type).is_some_and(|row| row.allows(level))
}

/// The type belongs to the multipath extension: where that is not negotiated, it is an unknown type (multipath MP-72).
#[must_use]
pub fn is_multipath(frame_type: u64) -> bool {
    spec(frame_type).is_some_and(|row| row.extension == Extension::Multipath)
}

/// The name of a type as the RFC spells it; `"UNKNOWN"` for unknown types.
#[must_use]
pub fn name(frame_type: u64) -> &'static str {
    spec(frame_type).map_or("UNKNOWN", |row| row.name)
}
