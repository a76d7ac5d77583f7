//! What the tests of all frames share.

use super::Frame;
use crate::{ErrorCode, Reader, Writer};

/// The bytes that `write` makes of a frame; also asserts that `size` tells their number.
pub(super) fn written(frame: &Frame<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 4_096];
    let mut writer = Writer::new(&mut buffer);
    frame.write(&mut writer);
    assert!(!writer.overflowed());
    assert_eq!(frame.size(), writer.len(), "size of {frame:?}");
    writer.written().to_vec()
}

/// Asserts that the frame and the bytes stand for each other and that no part of the bytes is a frame.
pub(super) fn check(frame: &Frame<'_>, bytes: &[u8]) {
    assert_eq!(written(frame), bytes, "{frame:?}");
    decodes_to(bytes, frame);
    for cut in 0..bytes.len() {
        refuse(&bytes[..cut], ErrorCode::FRAME_ENCODING_ERROR);
    }
}

/// Asserts that the bytes are this frame and nothing more.
pub(super) fn decodes_to(bytes: &[u8], frame: &Frame<'_>) {
    let mut reader = Reader::new(bytes);
    assert_eq!(Frame::decode(&mut reader).as_ref(), Ok(frame), "{bytes:02x?}");
    assert!(reader.is_empty(), "{bytes:02x?} is {frame:?} and more");
}

/// Asserts that the bytes do not start with a frame, and that the error names their frame type.
pub(super) fn refuse(bytes: &[u8], code: ErrorCode) {
    let error = Frame::decode(&mut Reader::new(bytes)).expect_err(&format!("{bytes:02x?} is no frame"));
    assert_eq!(error.code, code, "{bytes:02x?}: {error}");
    assert_eq!(error.frame_type, Reader::new(bytes).varint().ok(), "{bytes:02x?}: {error}");
}
