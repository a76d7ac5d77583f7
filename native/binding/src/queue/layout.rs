//! Records and commands as they cross: 8 words of 32 bits (docs/design/ring, section 1; `src/binding/native.ts`).
//!
//! | word | |
//! |---|---|
//! | 0 | kind (bits 0-7), flags (bits 8-31) |
//! | 1 | connection key; 0 = the endpoint |
//! | 2 | payload bytes |
//! | 3 | c, a small number |
//! | 4-5 | a, a float64: stream id |
//! | 6-7 | b, a float64, or a uint64 error code with the low word first |
//!
//! Decides nothing: the engine makes records, the endpoint reads commands.

/// Words of a record or command.
pub const WORDS: usize = 8;
/// Longest payload of one DATA record, bytes.
pub const PIECE_BYTES: usize = 65_536;
/// Bytes of one stream handed over beyond what CONSUMED told.
pub const AHEAD_BYTES: u64 = 524_288;
/// Longest JSON payload, bytes.
pub const EVENT_BYTES: usize = 131_072;
/// In the answer of `drain`: records are left.
pub const DRAIN_MORE: u32 = 0x1_0000;
/// Numbers that cross as float64 are below this.
pub const SAFE_INTEGER: u64 = 1 << 53;

/// Kinds of records, native to JavaScript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Bytes of a stream.
    Data = 1,
    /// Bytes left the send queue of a stream.
    Writable = 2,
    /// All bytes of a stream and FIN are acknowledged.
    Finished = 3,
    /// The peer sent STOP_SENDING.
    Stopped = 4,
    /// The peer sent RESET_STREAM.
    Reset = 5,
    /// How many streams we may have opened.
    Streams = 6,
    /// Bytes left the send queues of a connection.
    ConnectionWritable = 7,
    /// A message of the peer.
    Datagram = 8,
    /// What became of a message of ours.
    DatagramFate = 9,
    /// Messages left the send queue, or another size is possible.
    DatagramRoom = 10,
    /// A datagram that is no QUIC.
    Raw = 11,
    /// What became of a TCP connection that is joined to a stream.
    Splice = 12,
    /// JSON of an event.
    Event = 16,
    /// JSON of a burst or of a silence.
    Trace = 17,
    /// JSON of an ACK.
    Acks = 18,
    /// A key log line.
    Keylog = 19,
    /// Records of a qlog, behind its name.
    Qlog = 20,
}

/// Flag of DATA: the bytes end the stream.
pub const FIN: u32 = 1;
/// Flag of DATA and RESET: first record of a stream the peer opened.
pub const OPENED: u32 = 2;
/// Flag of DATA and RESET with [`OPENED`]: bytes of the stream came in 0-RTT.
pub const EARLY: u32 = 4;
/// Flag of WRITE: the payload is the tail of its `flush` call.
pub const TAIL: u32 = 2;

/// One record, ready to be copied out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record(pub [u32; WORDS]);

impl Record {
    /// A record of this kind for a connection (0: the endpoint), everything else zero.
    #[must_use]
    pub const fn new(kind: Kind, key: u32) -> Self {
        Self([kind as u32, key, 0, 0, 0, 0, 0, 0])
    }

    /// With these flags.
    #[must_use]
    pub const fn flags(mut self, flags: u32) -> Self {
        self.0[0] |= flags << 8;
        self
    }

    /// With a payload of so many bytes.
    #[must_use]
    pub const fn length(mut self, bytes: u32) -> Self {
        self.0[2] = bytes;
        self
    }

    /// With the small number c.
    #[must_use]
    pub const fn small(mut self, c: u32) -> Self {
        self.0[3] = c;
        self
    }

    /// With the stream id a.
    #[must_use]
    pub fn stream(mut self, id: u64) -> Self {
        [self.0[4], self.0[5]] = float_words(id);
        self
    }

    /// With the number b.
    #[must_use]
    pub fn number(mut self, value: u64) -> Self {
        [self.0[6], self.0[7]] = float_words(value);
        self
    }

    /// With an instant on the endpoint's clock as b, ms with its fraction.
    #[must_use]
    pub const fn instant(mut self, at_ms: f64) -> Self {
        [self.0[6], self.0[7]] = words_of(at_ms);
        self
    }

    /// With the error code b.
    #[must_use]
    pub const fn code(mut self, code: u64) -> Self {
        self.0[6] = code as u32;
        self.0[7] = (code >> 32) as u32;
        self
    }

    /// Bytes of its payload.
    #[must_use]
    pub const fn payload_len(&self) -> usize {
        self.0[2] as usize
    }

    /// Its payload may be handed over in parts.
    #[must_use]
    pub const fn is_data(&self) -> bool {
        self.0[0] & 0xff == Kind::Data as u32
    }

    /// This record with the bytes of the DATA record behind it; `None`: they do not belong to one piece of one stream.
    #[must_use]
    pub fn joined(self, next: Self) -> Option<Self> {
        let [head, key, bytes, ..] = self.0;
        let [next_head, next_key, more, ..] = next.0;
        let length = bytes.saturating_add(more);
        let fits = self.is_data() && next.is_data() && key == next_key && self.0[4..6] == next.0[4..6] && length as usize <= PIECE_BYTES;
        // The end and the news of a stream stand at its edges: nothing comes behind the one, nothing before the other.
        let open = head & (FIN << 8) == 0 && next_head & (OPENED << 8) == 0;
        let mut joined = self;
        joined.0[0] |= next_head;
        joined.0[2] = length;
        (fits && open).then_some(joined)
    }

    /// Cuts the first `bytes` of a DATA record off: they keep OPENED, the rest keeps FIN.
    #[must_use]
    pub const fn split(self, bytes: u32) -> (Self, Self) {
        let (mut first, mut rest) = (self, self);
        first.0[0] &= !(FIN << 8);
        first.0[2] = bytes;
        rest.0[0] &= !((OPENED | EARLY) << 8);
        rest.0[2] = self.0[2].saturating_sub(bytes);
        (first, rest)
    }
}

/// The two words of a float64; `value` is below 2^53, larger ones lose their last digits.
const fn float_words(value: u64) -> [u32; 2] {
    words_of(value as f64)
}

const fn words_of(value: f64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Opens the next stream of its direction.
    Open,
    /// Sends bytes.
    Write,
    /// RESET_STREAM.
    Reset,
    /// STOP_SENDING.
    Stop,
    /// The consumer took bytes.
    Consumed,
    /// JavaScript has let go of the stream.
    Release,
    /// Changes the priority.
    Priority,
    /// Sends a message.
    Datagram,
    /// Keeps a stream on a path.
    Pin,
    /// Sends a datagram that is no QUIC.
    Raw,
}

/// One command as it crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawCommand {
    /// What to do.
    pub verb: Verb,
    /// Flags of the verb.
    pub flags: u32,
    /// The connection.
    pub key: u32,
    /// Payload bytes.
    pub length: usize,
    /// c.
    pub small: u32,
    /// a.
    pub stream: u64,
    /// b as a number; zero if it is none.
    pub number: u64,
    /// b as an error code.
    pub code: u64,
}

impl RawCommand {
    /// Reads one command; `None`: an unknown kind, or a stream id that is no whole number below 2^53.
    #[must_use]
    pub fn read(words: &[u32; WORDS]) -> Option<Self> {
        let [head, key, length, small, a0, a1, b0, b1] = *words;
        let verb = match head & 0xff {
            1 => Verb::Open,
            2 => Verb::Write,
            3 => Verb::Reset,
            4 => Verb::Stop,
            5 => Verb::Consumed,
            6 => Verb::Release,
            7 => Verb::Priority,
            8 => Verb::Datagram,
            9 => Verb::Pin,
            10 => Verb::Raw,
            _ => return None,
        };
        Some(Self {
            verb,
            flags: head >> 8,
            key,
            length: usize::try_from(length).ok()?,
            small,
            stream: whole([a0, a1])?,
            number: if matches!(verb, Verb::Consumed | Verb::Datagram) { whole([b0, b1])? } else { 0 },
            code: u64::from(b0) | u64::from(b1) << 32,
        })
    }
}

/// The whole number below 2^53 behind two words of a float64.
fn whole([low, high]: [u32; 2]) -> Option<u64> {
    let [a, b, c, d] = low.to_ne_bytes();
    let [e, f, g, h] = high.to_ne_bytes();
    let value = f64::from_ne_bytes([a, b, c, d, e, f, g, h]);
    (value.fract() == 0.0 && (0.0..SAFE_INTEGER as f64).contains(&value)).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float_of(words: &[u32]) -> f64 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        f64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
    }

    #[test]
    fn records_have_the_layout_that_javascript_reads() {
        let Record(words) = Record::new(Kind::Data, 7).flags(FIN | OPENED).length(5).small(9).stream(1 << 40).number(12);
        assert_eq!(words[..4], [1 | 3 << 8, 7, 5, 9]);
        assert_eq!((float_of(&words[4..6]), float_of(&words[6..])), ((1_u64 << 40) as f64, 12.0));
        let Record(words) = Record::new(Kind::Reset, 1).code(0x0123_4567_89ab_cdef);
        assert_eq!(words[6..], [0x89ab_cdef, 0x0123_4567]);
    }

    #[test]
    fn a_split_record_opens_with_its_first_part_and_ends_with_its_last() {
        let record = Record::new(Kind::Data, 1).flags(FIN | OPENED).length(100).stream(4);
        let (first, rest) = record.split(30);
        assert_eq!((first.0[0] >> 8, first.payload_len()), (OPENED, 30));
        assert_eq!((rest.0[0] >> 8, rest.payload_len()), (FIN, 70));
    }

    #[test]
    fn commands_are_read_as_javascript_writes_them() {
        let Record(mut words) = Record::new(Kind::Writable, 3).flags(FIN).length(10).stream(8);
        let command = RawCommand::read(&words).expect("command");
        assert_eq!((command.verb, command.flags, command.key, command.length, command.stream), (Verb::Write, FIN, 3, 10, 8));
        words[0] = 3;
        words[6..].copy_from_slice(&[5, 1]);
        assert_eq!(RawCommand::read(&words).map(|command| command.code), Some(5 | 1 << 32));
        let Record(words) = Record::new(Kind::Reset, 3).stream(8).number(1 << 50);
        assert_eq!(RawCommand::read(&words).map(|command| (command.verb, command.number)), Some((Verb::Consumed, 1 << 50)));
    }

    /// attacks I9.
    #[test]
    fn nonsense_is_no_command() {
        for kind in [0, 11, 255] {
            assert_eq!(RawCommand::read(&[kind, 1, 0, 0, 0, 0, 0, 0]), None);
        }
        for id in [-1.0, 0.5, f64::NAN, f64::INFINITY, 2e16] {
            let bytes = f64::to_ne_bytes(id);
            let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four"));
            assert_eq!(RawCommand::read(&[1, 1, 0, 0, word(0), word(4), 0, 0]), None, "{id}");
        }
    }
}
