//! One endpoint without Node: its queues in the hands of a test.

use std::{sync::Arc, time::Duration};

use qbase::Timestamp;
use qconnection::{Endpoint, EndpointConfig};
use qdriver::{Application, Driver, DriverHandle};

use crate::{
    engine::Engine,
    link::Link,
    messages::orders::Order,
    options::endpoint::EndpointOptions,
    queue::{
        commands::{self, Command, Flush, Sender},
        layout::{DRAIN_MORE, WORDS},
        records::{Reader, channel},
    },
    wake::Wake,
};

/// How long a test waits for what must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// One endpoint and what it told.
pub(super) struct Side {
    pub(super) link: Arc<Link>,
    pub(super) commands: Sender,
    pub(super) records: Reader,
    pub(super) thread: Option<DriverHandle>,
    pub(super) seen: Vec<Seen>,
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) key: u32,
    pub(super) small: u32,
    pub(super) stream: u64,
    pub(super) number: u64,
    pub(super) code: u64,
    pub(super) payload: Vec<u8>,
}

impl Seen {
    pub(super) fn event(&self) -> serde_json::Value {
        if self.kind == 16 { serde_json::from_slice(&self.payload).expect("json") } else { serde_json::Value::Null }
    }
}

impl Side {
    pub(super) fn new(options: &str) -> Self {
        Self::driven(options, |engine| engine)
    }

    /// With something around the engine.
    pub(super) fn driven<A: Application>(options: &str, around: impl FnOnce(Engine) -> A) -> Self {
        let options: EndpointOptions = serde_json::from_str(options).expect("options");
        let link = Arc::new(Link::new(0));
        let (sender, receiver) = commands::channel();
        let (writer, reader) = channel();
        let engine = Engine::new(Arc::clone(&link), Arc::new(Wake::default()), receiver, writer, options.sockets());
        let machine = Endpoint::new(EndpointConfig::default(), [options.local.len() as u8; 32]);
        let thread = Driver::spawn(options.driver(), machine, around(engine)).expect("thread");
        Self { link, commands: sender, records: reader, thread: Some(thread), seen: Vec::new() }
    }

    pub(super) fn address(&self) -> String {
        self.thread.as_ref().expect("thread").sockets()[0].local.to_string()
    }

    pub(super) fn send(&mut self, command: Command) {
        self.commands.push(command);
        self.wake();
    }

    pub(super) fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.waker().wake();
        }
    }

    pub(super) fn order(&mut self, key: u32, json: &str) {
        let order: Order = serde_json::from_str(json).expect("order");
        self.send(Command::Order(key, Box::new(order)));
    }

    pub(super) fn flush(&mut self, commands: &[[u32; WORDS]], arena: &[u8]) {
        let flush = Flush { commands: commands.as_flattened(), count: commands.len(), arena, tail: None };
        self.commands.flush(&flush).expect("flush");
        self.wake();
    }

    /// Drains what is there.
    pub(super) fn drain(&mut self) {
        let (mut words, mut staging) = (vec![0; 256 * WORDS], vec![0; 262_144]);
        loop {
            let drained = self.records.drain(&mut words, &mut staging).expect("drain");
            if drained.resume {
                self.wake();
            }
            let mut offset = 0;
            for words in words.chunks_exact(WORDS).take((drained.answer & 0xffff) as usize) {
                let end = offset + words[2] as usize;
                let float = |at: usize| {
                    let [a, b, c, d] = words[at].to_ne_bytes();
                    let [e, f, g, h] = words[at + 1].to_ne_bytes();
                    f64::from_ne_bytes([a, b, c, d, e, f, g, h])
                };
                self.seen.push(Seen {
                    kind: words[0] & 0xff,
                    flags: words[0] >> 8,
                    key: words[1],
                    small: words[3],
                    stream: float(4) as u64,
                    number: float(6) as u64,
                    code: u64::from(words[6]) | u64::from(words[7]) << 32,
                    payload: staging[offset..end].to_vec(),
                });
                offset = end;
            }
            if drained.answer & DRAIN_MORE == 0 {
                return;
            }
        }
    }

    /// Drains until something fits, and answers it.
    pub(super) fn until(&mut self, what: &str, fits: impl Fn(&Seen) -> bool) -> Seen {
        let clock = qdriver::Clock::start();
        loop {
            self.drain();
            if let Some(seen) = self.seen.iter().find(|seen| fits(seen)) {
                return seen.clone();
            }
            assert!(clock.now().saturating_since(Timestamp::ZERO) < PATIENCE, "no {what} in {:#?}", self.words());
            std::thread::yield_now();
        }
    }

    pub(super) fn until_event(&mut self, name: &str) -> serde_json::Value {
        self.until(name, |seen| seen.event()["type"] == name).event()
    }

    /// Drains for a while, for what must not come.
    pub(super) fn linger(&mut self) {
        let clock = qdriver::Clock::start();
        while clock.now() < Timestamp::from_millis(100) {
            self.drain();
            std::thread::yield_now();
        }
    }

    pub(super) fn bytes_of(&self, stream: u64) -> Vec<u8> {
        let pieces = self.seen.iter().filter(|seen| seen.kind == 1 && seen.stream == stream);
        pieces.flat_map(|seen| seen.payload.iter().copied()).collect()
    }

    pub(super) fn words(&self) -> Vec<String> {
        let word = |seen: &Seen| format!("{}/{} {} {}: {}", seen.kind, seen.flags, seen.key, seen.stream, String::from_utf8_lossy(&seen.payload[..seen.payload.len().min(200)]));
        self.seen.iter().map(word).collect()
    }
}
