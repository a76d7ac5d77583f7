//! Logs of connections as records: the machine writes qlog, JavaScript has the files.
//!
//! Called once per turn, after events, so that JavaScript knows a connection before its log. A payload is the name of the
//! log, a line feed, and whole JSON-SEQ records. While too much waits for JavaScript logs stay in the machine, which
//! keeps the newest records (attacks R2, L26).

use qconnection::endpoint::{LogEnd, LogPiece};
use qdriver::Io;

use super::Engine;
use crate::{
    options::to_hex,
    queue::layout::{Kind, PIECE_BYTES, Record},
};

impl Engine {
    /// Hands over what connections have logged.
    pub(super) fn hand_over_logs(&mut self, io: &mut Io<'_>) {
        while !self.is_full()
            && let Some(piece) = io.endpoint.poll_qlog()
        {
            let key = self.table.key(piece.handle).unwrap_or(0);
            let mut payloads = payloads(&piece).peekable();
            while let Some(payload) = payloads.next() {
                let last = piece.end == LogEnd::Last && payloads.peek().is_none();
                self.out.records.append(&payload);
                let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                self.out.records.push(Record::new(Kind::Qlog, key).length(length).small(u32::from(last)));
            }
        }
    }
}

/// The piece in payloads of about [`PIECE_BYTES`], at least one, each with the name in front. Records stay whole.
fn payloads(piece: &LogPiece) -> impl Iterator<Item = Vec<u8>> {
    let side = if piece.role.is_client() { "client" } else { "server" };
    let name = format!("{}_{side}\n", to_hex(piece.odcid.as_bytes()));
    let mut payloads = vec![name.clone().into_bytes()];
    for record in piece.records.split_inclusive(|byte| *byte == b'\n') {
        match payloads.last_mut() {
            Some(payload) if payload.len() == name.len() || payload.len().saturating_add(record.len()) <= PIECE_BYTES => payload.extend_from_slice(record),
            _ => payloads.push([name.as_bytes(), record].concat()),
        }
    }
    payloads.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use qbase::{ConnectionId, Role};

    fn piece(records: Vec<u8>) -> LogPiece {
        let odcid = ConnectionId::new(&[0xab; 2]).expect("short");
        LogPiece { handle: qconnection::ConnectionHandle { index: 0, generation: 0 }, odcid, role: Role::Server, records, end: LogEnd::Last }
    }

    #[test]
    fn payloads_hold_the_name_and_whole_records() {
        let record = [&[0x1e][..], &[b'x'; 1_000], b"\n"].concat();
        let all: Vec<_> = payloads(&piece(record.repeat(200))).collect();
        assert!(all.len() == 4, "200 KB in pieces of 64 KiB: {}", all.len());
        let mut joined = Vec::new();
        for payload in all {
            assert!(payload.len() <= PIECE_BYTES && payload.ends_with(b"\n"));
            joined.extend_from_slice(payload.strip_prefix(b"abab_server\n\x1e").expect("name and record"));
            joined.push(0x1e);
        }
        assert_eq!(joined.len(), record.len() * 200);
        let empty: Vec<_> = payloads(&piece(Vec::new())).collect();
        assert_eq!(empty, [b"abab_server\n".to_vec()], "an end without records is told");
    }
}
