//! CONNECTION_CLOSE (RFC 9000 §19.19): the sender ends the connection.
//!
//! ```text
//! 0x1c by the transport · code (i) · frame type (i) · length (i) · reason phrase
//! 0x1d by the application · code (i) · length (i) · reason phrase
//! ```
//!
//! Called by the frame decoder and the closing part. Never trusts the phrase to be text (attacks D20).

use super::{malformed::Malformed, table};
use crate::{Reader, Writer, varint};
use std::borrow::Cow;

/// The end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionClose<'a> {
    /// Whose codes `code` is from.
    pub kind: CloseKind,
    /// Why, 0 ..= 2^62-1.
    pub code: u64,
    /// Words for people, meant to be UTF-8.
    pub reason: &'a [u8],
}

/// Who closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseKind {
    /// The transport (0x1c).
    Transport {
        /// Type of the frame that caused the error; 0 if unknown.
        frame_type: u64,
    },
    /// The application (0x1d).
    Application,
}

impl<'a> ConnectionClose<'a> {
    pub(super) fn read_transport(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let code = reader.varint()?;
        let kind = CloseKind::Transport { frame_type: reader.varint()? };
        Ok(Self { kind, code, reason: reader.prefixed()? })
    }

    pub(super) fn read_application(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self { kind: CloseKind::Application, code: reader.varint()?, reason: reader.prefixed()? })
    }

    /// The type code of this kind.
    #[must_use]
    pub const fn frame_type(&self) -> u64 {
        match self.kind {
            CloseKind::Transport { .. } => table::CONNECTION_CLOSE,
            CloseKind::Application => table::CONNECTION_CLOSE_APPLICATION,
        }
    }

    /// The reason phrase as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn reason_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.reason)
    }

    /// The same frame with as much of the reason phrase, cut between characters, as fits into `room` bytes.
    /// `None` if it does not fit even without one.
    #[must_use]
    pub fn fit(self, room: usize) -> Option<Self> {
        if self.size() <= room {
            return Some(self);
        }
        let bare = Self { reason: &[], ..self };
        // The length field of the cut phrase is never wider than that of the whole one.
        let length_field = varint::size(self.reason.len() as u64).saturating_sub(1);
        let left = room.checked_sub(bare.size())?;
        let mut cut = left.saturating_sub(length_field);
        while cut > 0 && self.reason.get(cut).is_some_and(|byte| byte & 0xc0 == 0x80) {
            cut = cut.saturating_sub(1);
        }
        Some(Self { reason: self.reason.get(..cut).unwrap_or_default(), ..self })
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        let frame_type = match self.kind {
            CloseKind::Transport { frame_type } => varint::size(frame_type),
            CloseKind::Application => 0,
        };
        varint::sizes([self.frame_type(), self.code, self.reason.len() as u64])
            .saturating_add(frame_type)
            .saturating_add(self.reason.len())
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(self.frame_type());
        writer.varint(self.code);
        if let CloseKind::Transport { frame_type } = self.kind {
            writer.varint(frame_type);
        }
        writer.varint(self.reason.len() as u64);
        writer.bytes(self.reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, testing::check};

    fn transport(reason: &[u8]) -> ConnectionClose<'_> {
        ConnectionClose { kind: CloseKind::Transport { frame_type: 0x3e75 }, code: 0xa, reason }
    }

    #[test]
    fn known_bytes_are_read_and_written_in_both_kinds() {
        check(&Frame::ConnectionClose(transport(b"bad")), b"\x1c\x0a\x7e\x75\x03bad");
        let application = ConnectionClose { kind: CloseKind::Application, code: 0x100, reason: b"" };
        check(&Frame::ConnectionClose(application), &[0x1d, 0x41, 0x00, 0x00]);
    }

    #[test]
    fn a_reason_of_1200_bytes_that_is_no_text_is_read_and_shown_with_replacements() {
        // attacks D20
        let reason = [0xff; 1_200];
        let bytes = [[0x1c, 0x0a, 0x00, 0x44, 0xb0].as_slice(), &reason].concat();
        let Ok(Frame::ConnectionClose(frame)) = Frame::decode(&mut Reader::new(&bytes)) else { panic!() };
        assert_eq!(frame.reason, reason);
        assert_eq!(frame.reason_text().chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count(), 1_200);
    }

    #[test]
    fn a_reason_is_cut_between_characters_to_fit_the_room() {
        let phrase = "größe ".repeat(20);
        let whole = transport(phrase.as_bytes());
        for room in 0..=whole.size() {
            match whole.fit(room) {
                Some(cut) => {
                    assert!(cut.size() <= room, "{room}");
                    assert!(room - cut.size() <= 2 || cut == whole, "as much as fits: {room}");
                    assert!(std::str::from_utf8(cut.reason).is_ok(), "{room}");
                }
                None => assert!(room < transport(b"").size(), "{room}"),
            }
        }
        assert_eq!(whole.fit(whole.size()), Some(whole));
        assert!(transport(&[0x80; 50]).fit(20).is_some(), "bytes that are no text are cut too");
    }
}
