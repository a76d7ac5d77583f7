//! PADDING (RFC 9000 §19.1): zero bytes without meaning. A run of them is one value here.
//!
//! Called by the frame decoder and by the packet builder. Never counts as ack-eliciting.

use crate::{Reader, Writer};

/// A run of PADDING frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// Frames in the run; each is one zero byte. At least 1 when received.
    pub len: usize,
}

/// Zeros compared at once.
const CHUNK: usize = 32;

impl Padding {
    /// Swallows all zero bytes at the cursor, to which `before` were already taken.
    pub(super) fn read(reader: &mut Reader<'_>, before: usize) -> Self {
        let rest = reader.rest();
        let (chunks, _) = rest.as_chunks::<CHUNK>();
        let whole = chunks.iter().take_while(|chunk| **chunk == [0; CHUNK]).count().saturating_mul(CHUNK);
        let tail = rest.get(whole..).unwrap_or_default().iter().take_while(|byte| **byte == 0).count();
        let zeros = whole.saturating_add(tail);
        // The zeros were just seen, so they are there to be taken.
        let taken = reader.bytes(zeros).map_or(0, <[u8]>::len);
        Self { len: taken.saturating_add(before) }
    }

    /// Bytes on the wire.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.len
    }

    /// Writes the zeros.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.zeros(self.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    #[test]
    fn a_run_of_zeros_is_one_frame_of_any_length() {
        for len in [1, 2, 31, 32, 33, 64, 1_162] {
            let mut bytes = vec![0; len];
            bytes.push(1);
            let mut reader = Reader::new(&bytes);
            assert_eq!(Frame::decode(&mut reader), Ok(Frame::Padding(Padding { len })));
            assert_eq!(reader.rest(), [1], "what follows the run of {len} stays");
            bytes.pop();
            let mut reader = Reader::new(&bytes);
            assert_eq!(Frame::decode(&mut reader), Ok(Frame::Padding(Padding { len })));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn padding_is_written_as_zeros() {
        let mut buffer = [7; 5];
        let mut writer = Writer::new(&mut buffer);
        Padding { len: 3 }.write(&mut writer);
        assert_eq!(Padding { len: 3 }.size(), 3);
        assert_eq!(buffer, [0, 0, 0, 7, 7]);
    }
}
