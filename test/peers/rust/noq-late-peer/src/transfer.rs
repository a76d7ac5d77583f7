//! One stream of the transfer protocol, either end of it: a little at a time, nothing waits.

use noq_proto::{Connection, ReadError, StreamId, WriteError};
use peer_common::{pattern, protocol};

use crate::Failure;

/// A stream and how far it is.
pub struct Transfer {
    id: StreamId,
    /// Bytes of our own that go first.
    head: Vec<u8>,
    /// Patterned bytes we send after them: how many, and how many went.
    give: (u64, u64),
    finished: bool,
    /// Patterned bytes we get, if any, and how many came.
    take: (u64, u64),
    /// What comes that is no pattern: the head, or the hash.
    words: Vec<u8>,
    /// Such bytes that are still missing.
    missing: usize,
    /// We ask, and check the hash of what was uploaded; else we answer.
    asks: bool,
    direction: u8,
    ended: bool,
}

impl Transfer {
    /// The client's end.
    pub fn asking(id: StreamId, direction: u8, count: u64) -> Self {
        let (give, take, missing) = match direction {
            protocol::UP => (count, 0, protocol::HASH),
            _ => (0, count, 0),
        };
        let head = protocol::head(count, direction).to_vec();
        Self { head, give: (give, 0), take: (take, 0), missing, asks: true, direction, ..Self::serving(id) }
    }

    /// The server's end, which hears what is wanted.
    pub const fn serving(id: StreamId) -> Self {
        Self {
            id,
            head: Vec::new(),
            give: (0, 0),
            finished: false,
            take: (0, 0),
            words: Vec::new(),
            missing: protocol::HEAD,
            asks: false,
            direction: 0,
            ended: false,
        }
    }

    /// All that was to come is here, and right.
    pub const fn is_done(&self) -> bool {
        self.ended && self.finished
    }

    /// Patterned bytes that arrived.
    pub const fn taken(&self) -> u64 {
        self.take.1
    }

    /// Patterned bytes that were sent.
    pub const fn given(&self) -> u64 {
        self.give.1
    }

    /// As far as it goes now.
    pub fn turn(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        if !self.ended {
            self.read(connection)?;
        }
        let may_answer = self.asks || self.direction == protocol::DOWN || self.ended;
        if !self.finished && may_answer && self.direction != 0 {
            self.write(connection)?;
        }
        Ok(())
    }

    fn read(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let mut stream = connection.recv_stream(self.id);
        let mut chunks = stream.read(true)?;
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => self.on_bytes(&chunk.bytes)?,
                Ok(None) => {
                    self.ended = true;
                    break;
                }
                Err(ReadError::Blocked) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let _ = chunks.finalize();
        if self.ended { self.on_end() } else { Ok(()) }
    }

    fn on_bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let (words, rest) = bytes.split_at(self.missing.min(bytes.len()));
        self.words.extend_from_slice(words);
        self.missing -= words.len();
        if !self.asks && self.missing == 0 && self.direction == 0 {
            let (count, direction) = self.words.split_first_chunk::<8>().ok_or("no head")?;
            let count = u64::from_be_bytes(*count);
            self.direction = *direction.first().ok_or("no direction")?;
            match self.direction {
                protocol::UP => self.take.0 = count,
                protocol::DOWN => self.give.0 = count,
                other => return Err(format!("direction {other:#x}").into()),
            }
        }
        if !pattern::matches(self.take.1, rest) {
            return Err(format!("wrong bytes at {}", self.take.1).into());
        }
        self.take.1 += rest.len() as u64;
        Ok(())
    }

    fn on_end(&mut self) -> Result<(), Failure> {
        if self.take.0 != self.take.1 || self.missing > 0 {
            return Err(format!("{} bytes instead of {}", self.take.1, self.take.0).into());
        }
        if self.asks && self.direction == protocol::UP && self.words != protocol::expected_hash(self.give.0) {
            return Err("the server's hash differs".into());
        }
        if !self.asks && self.direction == protocol::UP {
            self.head = protocol::expected_hash(self.take.0);
        }
        Ok(())
    }

    fn write(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let mut stream = connection.send_stream(self.id);
        loop {
            let left = usize::try_from(self.give.0 - self.give.1).unwrap_or(usize::MAX);
            let piece = pattern::at(self.give.1);
            let bytes = if self.head.is_empty() { &piece[..piece.len().min(left)] } else { &self.head[..] };
            if bytes.is_empty() {
                self.finished = true;
                return stream.finish().map_err(Into::into);
            }
            match stream.write(bytes) {
                Ok(taken) if self.head.is_empty() => self.give.1 += taken as u64,
                Ok(taken) => drop(self.head.drain(..taken)),
                Err(WriteError::Blocked) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
