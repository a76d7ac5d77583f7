//! Commands on their way to the I/O thread: stream commands of `flush`, and orders, in one line.
//!
//! Decides how bytes are copied: those of the arena of one `flush` become one allocation that its chunks share, a tail
//! becomes one of its own, and neither is copied again before it is sent. Small chunks are copied once more by the
//! machine into its own blocks, so that a few bytes do not keep a large arena alive. Never knows connections.

use std::{
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use bytes::Bytes;
use qconnection::path::scheduler::Picker;

use super::{
    answer::Answer,
    layout::{self, FIN, TAIL, Verb, WORDS},
};
use crate::{
    engine::splice::SpliceCounters,
    error::NativeError,
    lock::{Lock, lock},
    messages::orders::{Admit, Order, Question},
    options::{connect::Dial, server::Listen},
};

/// Something for the engine to do.
pub enum Command {
    /// To a stream.
    Stream(StreamCommand),
    /// A message to be sent.
    Datagram(DatagramCommand),
    /// A datagram that is no QUIC, to be sent.
    Raw(RawCommand),
    /// A connection of our own, under this key.
    Connect(u32, Box<Dial>),
    /// Newcomers are welcome on these terms.
    Listen(Box<Listen>),
    /// Newcomers are not welcome.
    Unlisten,
    /// A verdict on an attempt; with terms of its own, if it is let in on those.
    Admit(u64, Admit, Option<Box<Listen>>),
    /// To a connection.
    Order(u32, Box<Order>),
    /// About a connection (0: the endpoint).
    Question(u32, Question, Answer),
    /// Asks for every burst of a connection from now on.
    Picker(u32, Box<dyn Picker>),
    /// Joins a TCP connection and a stream.
    Splice(Box<SpliceStart>),
    /// What JavaScript had got of the stream, to be written to TCP first.
    SpliceGo(u32, Vec<u8>),
    /// Lets the TCP connection of a splice go.
    SpliceCut(u32),
    /// Closes the endpoint.
    Close,
}

/// A TCP connection and the stream it is joined to.
#[derive(Debug)]
pub struct SpliceStart {
    /// JavaScript's name for the pair.
    pub id: u32,
    /// The connection.
    pub key: u32,
    /// The stream's id.
    pub stream: u64,
    /// Connected.
    pub tcp: TcpStream,
    /// To be counted in.
    pub counters: Arc<SpliceCounters>,
}

/// Something to do with one stream.
#[derive(Debug)]
pub struct StreamCommand {
    /// The connection.
    pub key: u32,
    /// The stream's id.
    pub stream: u64,
    /// What to do.
    pub action: Action,
}

/// What to do with a stream.
#[derive(Debug)]
pub enum Action {
    /// Opens it.
    Open(Priority),
    /// Sends bytes, perhaps its last ones.
    Write(Bytes, Ending),
    /// RESET_STREAM with this code.
    Reset(u64),
    /// STOP_SENDING with this code.
    Stop(u64),
    /// The consumer took so many bytes in all.
    Consumed(u64),
    /// Nobody uses it any more.
    Release,
    /// Changes when its bytes go out.
    Priority(Priority),
    /// Keeps its bytes on a path; none: frees it.
    Pin(Option<u32>),
}

/// A message to be sent once.
#[derive(Debug)]
pub struct DatagramCommand {
    /// The connection.
    pub key: u32,
    /// JavaScript's number for it: 1, 2, … on each connection.
    pub id: u64,
    /// Only on this path.
    pub path: Option<u32>,
    /// It is given up when it has not left for so long, ms; 0: never.
    pub expires_ms: u64,
    /// Its bytes.
    pub data: Bytes,
}

/// A datagram that is no QUIC, to be sent at once or not at all.
#[derive(Debug)]
pub struct RawCommand {
    /// Our address; none: the first socket of the family.
    pub local: Option<SocketAddr>,
    /// Where it goes.
    pub remote: SocketAddr,
    /// Time to live; none: as the system likes.
    pub ttl: Option<u8>,
    /// Its bytes.
    pub data: Bytes,
}

impl RawCommand {
    /// `remote LF local LF bytes`, where `local` may be empty.
    fn read(payload: &[u8], ttl: u32) -> Option<Self> {
        let mut parts = payload.splitn(3, |byte| *byte == b'\n');
        let mut text = || std::str::from_utf8(parts.next()?).ok();
        let (remote, local) = (text()?.parse().ok()?, text()?);
        let local = if local.is_empty() { None } else { Some(local.parse().ok()?) };
        // It waits for one turn at most, but must not keep a large arena alive for that.
        let data = Bytes::copy_from_slice(parts.next()?);
        Some(Self { local, remote, ttl: u8::try_from(ttl).ok().filter(|ttl| *ttl > 0), data })
    }
}

/// Whether bytes are the last ones of their stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// More may follow.
    Open,
    /// FIN.
    Fin,
}

/// When the bytes of a stream go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 first, 7 last.
    pub urgency: u8,
    /// It takes turns with others of its urgency.
    pub incremental: bool,
    /// OPEN: the first acknowledgement of its bytes is told, as room is.
    pub acknowledged: bool,
}

impl Priority {
    const fn read(word: u32) -> Self {
        Self { urgency: (word & 0xff) as u8, incremental: word & 0x100 != 0, acknowledged: word & 0x200 != 0 }
    }
}

/// Largest arena that a message may keep alive while it waits, bytes.
const ARENA_KEPT: usize = 65_536;

/// Both ends of a queue.
#[must_use]
pub fn channel() -> (Sender, Receiver) {
    let shared = Arc::<Lock<Vec<Command>>>::default();
    (Sender { shared: Arc::clone(&shared), batch: Vec::new() }, Receiver { shared, batch: Vec::new() })
}

/// The JavaScript thread's end.
pub struct Sender {
    shared: Arc<Lock<Vec<Command>>>,
    batch: Vec<Command>,
}

/// The I/O thread's end.
pub struct Receiver {
    shared: Arc<Lock<Vec<Command>>>,
    batch: Vec<Command>,
}

/// The arguments of `flush`.
#[derive(Clone, Copy, Debug)]
pub struct Flush<'a> {
    /// 8 words a command.
    pub commands: &'a [u32],
    /// Commands.
    pub count: usize,
    /// Their payloads.
    pub arena: &'a [u8],
    /// Payload of the last one, if it says so.
    pub tail: Option<&'a [u8]>,
}

impl Sender {
    /// Takes over all commands of a `flush`, or none.
    ///
    /// # Errors
    /// QB_INTERNAL: they are not what the contract says.
    pub fn flush(&mut self, flush: &Flush<'_>) -> Result<(), NativeError> {
        let held = self.batch.len();
        let read = self.read(flush);
        if read.is_err() {
            self.batch.truncate(held);
        }
        lock(&self.shared).append(&mut self.batch);
        read
    }

    /// Appends one command that is none of a stream.
    pub fn push(&mut self, command: Command) {
        self.batch.push(command);
        lock(&self.shared).append(&mut self.batch);
    }

    /// Keeps a command back until the next one that is not kept back: both are then seen in one turn.
    pub fn hold(&mut self, command: Command) {
        self.batch.push(command);
    }

    /// Nobody takes commands any more: those that wait are dropped, and what they hold.
    pub fn drop_rest(&mut self) {
        self.batch.clear();
        lock(&self.shared).clear();
    }

    /// Reads commands into the batch.
    fn read(&mut self, flush: &Flush<'_>) -> Result<(), NativeError> {
        let broken = || NativeError::internal("flush was called with commands that break the contract");
        let (commands, _) = flush.commands.as_chunks::<WORDS>();
        let commands = commands.get(..flush.count).ok_or_else(broken)?;
        let used = arena_bytes(commands).filter(|used| *used <= flush.arena.len()).ok_or_else(broken)?;
        let mut arena = Bytes::copy_from_slice(flush.arena.get(..used).unwrap_or_default());
        for (index, words) in commands.iter().enumerate() {
            let command = layout::RawCommand::read(words).ok_or_else(broken)?;
            let action = match command.verb {
                Verb::Open => Action::Open(Priority::read(command.small)),
                Verb::Write => {
                    let is_tail = command.flags & TAIL != 0;
                    let bytes = match (is_tail, flush.tail) {
                        (false, _) => arena.split_to(command.length.min(arena.len())),
                        (true, Some(tail)) if index + 1 == commands.len() && tail.len() == command.length => {
                            Bytes::copy_from_slice(tail)
                        }
                        (true, _) => return Err(broken()),
                    };
                    let ending = if command.flags & FIN != 0 { Ending::Fin } else { Ending::Open };
                    Action::Write(bytes, ending)
                }
                Verb::Reset => Action::Reset(command.code),
                Verb::Stop => Action::Stop(command.code),
                Verb::Consumed => Action::Consumed(command.number),
                Verb::Release => Action::Release,
                Verb::Priority => Action::Priority(Priority::read(command.small)),
                Verb::Pin => Action::Pin(command.small.checked_sub(1)),
                Verb::Datagram => {
                    let data = arena.split_to(command.length.min(arena.len()));
                    // A message that waits must not keep a large arena alive.
                    let data = if used > ARENA_KEPT { Bytes::copy_from_slice(&data) } else { data };
                    let path = command.small.checked_sub(1);
                    let command = DatagramCommand { key: command.key, id: command.stream, path, expires_ms: command.number, data };
                    self.batch.push(Command::Datagram(command));
                    continue;
                }
                Verb::Raw => {
                    let payload = arena.split_to(command.length.min(arena.len()));
                    self.batch.push(Command::Raw(RawCommand::read(&payload, command.small).ok_or_else(broken)?));
                    continue;
                }
            };
            self.batch.push(Command::Stream(StreamCommand { key: command.key, stream: command.stream, action }));
        }
        Ok(())
    }
}

/// Bytes of the arena that WRITE, DATAGRAM and RAW commands name.
fn arena_bytes(commands: &[[u32; WORDS]]) -> Option<usize> {
    let commands = commands.iter().filter_map(layout::RawCommand::read);
    let in_arena = commands.filter(|command| match command.verb {
        Verb::Write => command.flags & TAIL == 0,
        Verb::Datagram | Verb::Raw => true,
        _ => false,
    });
    in_arena.map(|command| command.length).try_fold(0_usize, usize::checked_add)
}

impl Receiver {
    /// Takes everything that has come. The list is reused: give it back with [`Receiver::give_back`].
    pub fn take(&mut self) -> Vec<Command> {
        let mut batch = std::mem::take(&mut self.batch);
        std::mem::swap(&mut *lock(&self.shared), &mut batch);
        batch
    }

    /// Takes the emptied list back.
    pub fn give_back(&mut self, mut batch: Vec<Command>) {
        batch.clear();
        self.batch = batch;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::layout::{Kind, Record};

    /// The words of a command: records and commands have one layout.
    fn words(kind: u32, flags: u32, length: u32, stream: u64) -> [u32; WORDS] {
        let Record(mut words) = Record::new(Kind::Data, 5).flags(flags).length(length).stream(stream);
        words[0] = words[0] & !0xff | kind;
        words
    }

    fn flush(commands: &[[u32; WORDS]], arena: &[u8], tail: Option<&[u8]>) -> Result<Vec<StreamCommand>, NativeError> {
        let (mut sender, mut receiver) = channel();
        let list = commands.as_flattened();
        sender.flush(&Flush { commands: list, count: commands.len(), arena, tail })?;
        Ok(receiver.take().into_iter().filter_map(|command| if let Command::Stream(command) = command { Some(command) } else { None }).collect())
    }

    #[test]
    fn payloads_lie_back_to_back_in_the_order_of_their_commands() {
        let commands = [words(1, 0, 0, 0), words(2, 0, 3, 0), words(2, FIN, 0, 0), words(2, 0, 4, 4), words(2, FIN | TAIL, 2, 8)];
        let taken = flush(&commands, b"abcdefgrest", Some(b"zz")).expect("flush");
        let writes: Vec<_> = taken
            .iter()
            .filter_map(|command| if let Action::Write(bytes, ending) = &command.action { Some((command.stream, &bytes[..], *ending)) } else { None })
            .collect();
        let expected: Vec<(u64, &[u8], Ending)> =
            vec![(0, b"abc", Ending::Open), (0, b"", Ending::Fin), (4, b"defg", Ending::Open), (8, b"zz", Ending::Fin)];
        assert_eq!(writes, expected);
        assert!(matches!(taken[0].action, Action::Open(_)));
    }

    /// attacks I9.
    #[test]
    fn commands_that_break_the_contract_are_refused_whole() {
        let open = words(1, 0, 0, 0);
        for (commands, arena, tail) in [
            (vec![open, words(2, 0, 5, 0)], &b"abc"[..], None),
            (vec![open, words(2, TAIL, 5, 0)], b"", None),
            (vec![open, words(2, TAIL, 5, 0)], b"", Some(&b"abc"[..])),
            (vec![words(2, TAIL, 3, 0), open], b"", Some(b"abc")),
            (vec![open, words(99, 0, 0, 0)], b"", None),
        ] {
            assert_eq!(flush(&commands, arena, tail).expect_err("refused").facts().code, "QB_INTERNAL");
        }
        let (mut sender, mut receiver) = channel();
        assert!(sender.flush(&Flush { commands: open.as_slice(), count: 2, arena: &[], tail: None }).is_err());
        assert!(receiver.take().is_empty());
    }

    #[test]
    fn a_pin_names_a_path_or_none() {
        let mut pin = words(9, 0, 0, 4);
        pin[3] = 3;
        let taken = flush(&[pin, words(9, 0, 0, 4)], b"", None).expect("flush");
        assert!(matches!((&taken[0].action, &taken[1].action), (Action::Pin(Some(2)), Action::Pin(None))));
    }

    #[test]
    fn raw_datagrams_name_their_addresses_before_their_bytes() {
        let sent = |payload: &[u8], ttl| {
            let (mut sender, mut receiver) = channel();
            let mut command = words(10, 0, payload.len() as u32, 0);
            command[3] = ttl;
            sender.flush(&Flush { commands: &command, count: 1, arena: payload, tail: None })?;
            Ok::<_, NativeError>(receiver.take().pop())
        };
        let Ok(Some(Command::Raw(raw))) = sent(b"192.0.2.1:7\n[::1]:5\na\nb", 3) else { panic!("no raw datagram") };
        assert_eq!((raw.remote.to_string().as_str(), raw.ttl, &raw.data[..]), ("192.0.2.1:7", Some(3), &b"a\nb"[..]));
        assert_eq!(raw.local.map(|local| local.to_string()).as_deref(), Some("[::1]:5"));
        assert!(matches!(sent(b"[::1]:7\n\n", 0), Ok(Some(Command::Raw(raw))) if raw.local.is_none() && raw.ttl.is_none() && raw.data.is_empty()));
        for nonsense in [&b""[..], b"192.0.2.1:7", b"192.0.2.1:7\n", b"x\n\nabc", b"192.0.2.1:7\ny\nabc", b"\xff\n\nabc"] {
            assert!(sent(nonsense, 0).is_err(), "{nonsense:?}");
        }
    }

    #[test]
    fn messages_share_the_arena_with_writes() {
        let (mut sender, mut receiver) = channel();
        let mut message = words(8, 0, 2, 7);
        message[3] = 4;
        let commands = [words(1, 0, 0, 0), words(2, 0, 3, 0), message, words(2, FIN, 1, 0)];
        sender.flush(&Flush { commands: commands.as_flattened(), count: 4, arena: b"abcdefg", tail: None }).expect("flush");
        let taken = receiver.take();
        let [Command::Stream(_), Command::Stream(_), Command::Datagram(message), Command::Stream(last)] = taken.as_slice() else {
            panic!("{} commands", taken.len());
        };
        assert_eq!((message.key, message.id, message.path, &message.data[..]), (5, 7, Some(3), &b"de"[..]));
        assert!(matches!(&last.action, Action::Write(bytes, Ending::Fin) if &bytes[..] == b"f"));
        let too_long = words(8, 0, 9, 1);
        assert!(sender.flush(&Flush { commands: &too_long, count: 1, arena: b"abc", tail: None }).is_err());
    }

    #[test]
    fn orders_stay_between_the_stream_commands_they_came_between() {
        let (mut sender, mut receiver) = channel();
        let open = words(1, 0, 0, 0);
        sender.flush(&Flush { commands: &open, count: 1, arena: &[], tail: None }).expect("flush");
        sender.push(Command::Unlisten);
        sender.flush(&Flush { commands: &open, count: 1, arena: &[], tail: None }).expect("flush");
        assert!(matches!(receiver.take().as_slice(), [Command::Stream(_), Command::Unlisten, Command::Stream(_)]));
    }

    #[test]
    fn what_nobody_took_is_dropped() {
        let (mut sender, mut receiver) = channel();
        let held = Arc::<SpliceCounters>::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
        let start = || {
            let tcp = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
            Command::Splice(Box::new(SpliceStart { id: 1, key: 1, stream: 0, tcp, counters: Arc::clone(&held) }))
        };
        sender.push(start());
        sender.hold(start());
        sender.drop_rest();
        assert_eq!((Arc::strong_count(&held), receiver.take().len()), (1, 0));
    }

    #[test]
    fn what_is_held_comes_with_the_next_command_even_after_a_broken_one() {
        let (mut sender, mut receiver) = channel();
        sender.hold(Command::Unlisten);
        assert!(receiver.take().is_empty());
        assert!(sender.flush(&Flush { commands: &[], count: 1, arena: &[], tail: None }).is_err());
        assert!(matches!(receiver.take().as_slice(), [Command::Unlisten]));
    }
}
