//! One stream's bytes: sends as far as the stream takes them, reads as far as they are here.
//!
//! Called once per turn of the driver; nothing waits.

use peer_common::{pattern, protocol};
use qbase::StreamId;
use qconnection::{Connection, stream::ReadError};
use ring::digest::{Context, SHA256};

/// Bytes to send: a few of its own, then patterned ones, then FIN.
pub struct Giver {
    head: Vec<u8>,
    count: u64,
    offset: u64,
    ended: bool,
}

impl Giver {
    /// Sends `head`, then `count` patterned bytes.
    pub const fn new(head: Vec<u8>, count: u64) -> Self {
        Self { head, count, offset: 0, ended: false }
    }

    /// Patterned bytes the stream has taken.
    pub const fn passed(&self) -> u64 {
        self.offset
    }

    /// The stream has taken everything, FIN too.
    pub const fn is_done(&self) -> bool {
        self.ended
    }

    /// Sends on.
    pub fn push(&mut self, connection: &mut Connection, stream: StreamId) -> Result<(), String> {
        while !self.head.is_empty() {
            match write(connection, stream, &self.head)? {
                0 => return Ok(()),
                taken => drop(self.head.drain(..taken)),
            }
        }
        while self.offset < self.count {
            let left = usize::try_from(self.count - self.offset).unwrap_or(usize::MAX);
            let piece = pattern::at(self.offset);
            match write(connection, stream, &piece[..piece.len().min(left)])? {
                0 => return Ok(()),
                taken => self.offset += taken as u64,
            }
        }
        if !self.ended {
            self.ended = true;
            connection.finish(stream).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

fn write(connection: &mut Connection, stream: StreamId, bytes: &[u8]) -> Result<usize, String> {
    connection.write(stream, bytes).map_err(|error| format!("cannot write: {error}"))
}

/// The first bytes of a stream, or all of them.
#[derive(Default)]
pub struct Collector {
    /// What is here.
    pub bytes: Vec<u8>,
    /// Nothing follows.
    pub ended: bool,
}

impl Collector {
    /// Reads on until `wanted` bytes are here.
    pub fn pull(&mut self, connection: &mut Connection, stream: StreamId, wanted: usize) -> Result<(), String> {
        let mut buffer = [0; 64];
        while self.bytes.len() < wanted {
            let room = buffer.len().min(wanted - self.bytes.len());
            match connection.read(stream, &mut buffer[..room]) {
                Ok(length) => self.bytes.extend_from_slice(&buffer[..length]),
                Err(ReadError::Blocked) => break,
                Err(ReadError::Finished) => {
                    self.ended = true;
                    break;
                }
                Err(error) => return Err(format!("cannot read: {error}")),
            }
        }
        Ok(())
    }
}

/// Patterned bytes to receive, checked and hashed.
pub struct Taker {
    count: u64,
    offset: u64,
    hash: Box<Context>,
}

impl Taker {
    /// Expects `count` bytes and FIN.
    pub fn new(count: u64) -> Self {
        Self { count, offset: 0, hash: Box::new(Context::new(&SHA256)) }
    }

    /// Bytes that arrived.
    pub const fn passed(&self) -> u64 {
        self.offset
    }

    /// Reads on; the hash when everything is here.
    pub fn pull(&mut self, connection: &mut Connection, stream: StreamId) -> Result<Option<Vec<u8>>, String> {
        loop {
            let bytes = match connection.peek(stream) {
                Ok(bytes) => bytes,
                Err(ReadError::Blocked) => return Ok(None),
                Err(ReadError::Finished) => break,
                Err(error) => return Err(format!("cannot read: {error}")),
            };
            if !pattern::matches(self.offset, bytes) {
                return Err(format!("wrong bytes at {}", self.offset));
            }
            self.hash.update(bytes);
            let length = bytes.len();
            self.offset += length as u64;
            connection.consume(stream, length);
        }
        if self.offset != self.count {
            return Err(format!("{} bytes instead of {}", self.offset, self.count));
        }
        Ok(Some(Context::clone(&self.hash).finish().as_ref().to_vec()))
    }
}

/// The head of a stream as the server reads it: count and direction.
pub fn read_head(bytes: &[u8]) -> Option<(u64, u8)> {
    let (count, direction) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*count), *direction.first()?)).filter(|_| bytes.len() == protocol::HEAD)
}
