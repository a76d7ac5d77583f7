//! TCP connections joined to streams: real ones on loopback, on the thread of an endpoint.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread::spawn,
};

use super::*;
use crate::{engine::splice::SpliceCounters, queue::commands::SpliceStart};

const STARTED: u32 = 1;
const INWARD_ENDED: u32 = 2;
const OUTWARD_ENDED: u32 = 3;
const FAILED: u32 = 4;
/// Of a turn, both directions of the last one that moved bytes included.
const MOST_PER_TURN: u64 = 2 * 1_024 * 1_024 + 2 * 256 * 1_024;

/// A connection of TCP: our end, and the one that a test holds.
fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    let far = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    far.set_read_timeout(Some(PATIENCE)).expect("patience");
    (listener.accept().expect("accept").0, far)
}

impl Side {
    /// Joins a stream of connection 1 to a TCP connection, whose other end it answers.
    fn splice(&mut self, id: u32, stream: u64, counters: &Arc<SpliceCounters>) -> TcpStream {
        let (tcp, far) = connected();
        qdriver::tcp::reset_if_cut(&tcp).expect("linger");
        self.send(Command::Splice(Box::new(SpliceStart { id, key: 1, stream, tcp, counters: Arc::clone(counters) })));
        far
    }

    /// What was told of a splice, in order.
    fn news(&self, id: u32) -> Vec<u32> {
        self.seen.iter().filter(|seen| seen.kind == 12 && seen.stream == u64::from(id)).map(|seen| seen.small).collect()
    }

    fn until_news(&mut self, id: u32, news: u32) -> Seen {
        self.until("news of the splice", |seen| seen.kind == 12 && seen.stream == u64::from(id) && seen.small == news)
    }

    /// Drains until so many bytes of a stream are here.
    fn until_bytes(&mut self, stream: u64, count: usize) -> Vec<u8> {
        self.while_not("bytes of the stream", |side| side.length_of(stream) >= count);
        self.bytes_of(stream)
    }

    /// Drains, and does what `is_done` does besides answering, until it is so.
    fn while_not(&mut self, what: &str, mut is_done: impl FnMut(&mut Self) -> bool) {
        let clock = qdriver::Clock::start();
        while !is_done(self) {
            self.drain();
            assert!(clock.now().saturating_since(Timestamp::ZERO) < PATIENCE, "no {what} in {:#?}", self.words());
            std::thread::yield_now();
        }
    }

    fn length_of(&self, stream: u64) -> usize {
        self.seen.iter().filter(|seen| seen.kind == 1 && seen.stream == stream).map(|seen| seen.payload.len()).sum()
    }

    /// The consumer takes all that is here.
    fn consume(&mut self, streams: &[u64]) {
        let commands: Vec<_> = streams.iter().map(|id| command(5, 0, 1, 0, *id, self.length_of(*id) as u64)).collect();
        self.flush(&commands, &[]);
    }

    /// RESET_STREAM (3) or STOP_SENDING (4).
    fn abort(&mut self, verb: u32, stream: u64, code: u64) {
        let Record(mut words) = Record::new(Kind::Data, 1).stream(stream).code(code);
        words[0] = verb;
        self.flush(&[words], &[]);
    }
}

/// Limits of an end: bytes that a stream and a connection may have unsent, and windows that do not grow, of a stream and of a connection.
fn limits([stream, connection]: [u64; 2], [of_stream, of_connection]: [u64; 2]) -> String {
    format!(
        r#""limits":{{"sendBufferBytes":{stream},"connectionSendBufferBytes":{connection},"streamWindowBytes":{of_stream},"maxStreamWindowBytes":{of_stream},"connectionWindowBytes":{of_connection},"maxConnectionWindowBytes":{of_connection}}}"#
    )
}

/// A server with these limits, and a client whose engine has something around it.
fn pair_within<A: Application>(server: &str, client: &str, around: impl FnOnce(Engine) -> A) -> (Side, Side) {
    let (mut server, own) = listening_within("", server);
    let mut dialling = Side::driven(r#"{"local":[]}"#, around);
    dial_from(&mut dialling, &own, &[server.address()], client, "{}");
    dialling.until_event("opened");
    server.until_event("opened");
    (server, dialling)
}

/// Counts turns, and the bytes that splices move in one.
struct Gauge {
    engine: Engine,
    counters: Vec<Arc<SpliceCounters>>,
    turns: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
}

impl Gauge {
    fn moved(&self) -> u64 {
        self.counters.iter().map(|counters| counters.read().iter().sum::<f64>() as u64).sum()
    }
}

impl Application for Gauge {
    fn on_turn(&mut self, io: &mut Io<'_>) {
        let before = self.moved();
        self.engine.on_turn(io);
        self.most.fetch_max(self.moved() - before, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes for as long as somebody reads.
fn feed(mut far: TcpStream) {
    spawn(move || while far.write_all(&[7; 65_536]).is_ok() {});
}

/// Joins the next streams of a client, from `first` on, to TCP connections that have something to say, all in one turn; answers the far ends.
fn splice_all(client: &mut Side, first: u64, counters: &[Arc<SpliceCounters>]) -> Vec<TcpStream> {
    let streams = (first..).step_by(4);
    let opens: Vec<_> = streams.clone().take(counters.len()).map(|stream| open(1, stream)).collect();
    client.flush(&opens, &[]);
    let fars = (1_u32..).zip(streams).zip(counters).map(|((id, stream), counters)| {
        let (tcp, mut far) = connected();
        far.set_nonblocking(true).expect("option");
        // As much as the kernel takes, within reason.
        for _ in 0..16 {
            far.write(&[7; 65_536]).unwrap_or_default();
        }
        far.set_nonblocking(false).expect("option");
        client.commands.hold(Command::Splice(Box::new(SpliceStart { id, key: 1, stream, tcp, counters: Arc::clone(counters) })));
        far
    });
    let fars = fars.collect();
    client.flush(&[], &[]);
    fars
}

/// What the client of `without_credit` has sent: as much as is handed over unasked, and a window behind that.
const SENT: u64 = AHEAD_BYTES + 65_536;
/// Bytes that streams of that client may have unsent, and all of them together.
const UNSENT: u64 = 1_048_576;

/// A connection whose client has nothing on its way and may send no more, since nobody consumes at the server.
fn without_credit<A: Application>(around: impl FnOnce(Engine) -> A) -> (Side, Side) {
    let (mut server, mut client) = pair_within(&limits([65_536; 2], [65_536; 2]), &limits([UNSENT; 2], [65_536; 2]), around);
    client.flush(&[open(1, 0), write(1, 0, SENT as usize, 0)], &vec![1; SENT as usize]);
    client.while_not("bytes that have left", |side| {
        server.drain();
        let mut row = [0.0; 32];
        assert!(side.link.pages.read(1, 1, 0, &mut row));
        row[2] as u64 >= SENT
    });
    (server, client)
}

fn counted(count: usize) -> Vec<Arc<SpliceCounters>> {
    (0..count).map(|_| Arc::default()).collect()
}

fn inward(counters: &SpliceCounters) -> u64 {
    counters.read()[0] as u64
}

fn outward(counters: &SpliceCounters) -> u64 {
    counters.read()[1] as u64
}

/// tunnel T40, T41, T46.
#[test]
fn each_direction_ends_by_itself_in_either_order() {
    for order in [[INWARD_ENDED, OUTWARD_ENDED], [OUTWARD_ENDED, INWARD_ENDED]] {
        let (mut server, mut client) = pair();
        let counters = Arc::default();
        client.flush(&[open(1, 0)], &[]);
        let mut far = client.splice(1, 0, &counters);
        far.write_all(b"question").expect("write");
        assert_eq!(server.until_bytes(0, 8), b"question");
        for end in order {
            if end == INWARD_ENDED {
                far.write_all(b"!").expect("write");
                far.shutdown(Shutdown::Write).expect("shutdown");
                server.until("the end", |seen| seen.kind == 1 && seen.stream == 0 && seen.flags & FIN != 0);
                assert_eq!(server.bytes_of(0), b"question!");
            } else {
                server.flush(&[write(1, 0, 6, FIN)], b"answer");
                let mut answer = Vec::new();
                far.read_to_end(&mut answer).expect("in order");
                assert_eq!(answer, b"answer");
            }
            client.until_news(1, end);
        }
        client.until("all acknowledged", |seen| seen.kind == 3 && seen.stream == 0);
        client.linger();
        assert_eq!(client.news(1), [STARTED, order[0], order[1]], "each once");
        assert_eq!((inward(&counters), outward(&counters)), (9, 6));
        assert_eq!(far.read(&mut [0; 1]).expect("no reset"), 0);
    }
}

#[test]
fn an_end_without_bytes_is_passed_on() {
    let (mut server, mut client) = pair();
    client.flush(&[open(1, 0)], &[]);
    let mut far = client.splice(1, 0, &Arc::default());
    far.shutdown(Shutdown::Write).expect("shutdown");
    let end = server.until("the end", |seen| seen.kind == 1 && seen.stream == 0 && seen.flags & FIN != 0);
    assert!(end.payload.is_empty());
    server.flush(&[write(1, 0, 0, FIN)], &[]);
    assert_eq!(far.read(&mut [0; 1]).expect("in order"), 0);
}

/// tunnel T40: FIN behind more than the windows take.
#[test]
fn the_end_of_tcp_waits_behind_the_bytes_before_it() {
    let (mut server, mut client) = pair_within(&limits([65_536, 65_536], [65_536; 2]), &limits([65_536, 131_072], [65_536; 2]), |engine| engine);
    client.flush(&[open(1, 0)], &[]);
    let mut far = client.splice(1, 0, &Arc::default());
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let sent = bytes.clone();
    let feeder = spawn(move || {
        far.write_all(&sent).expect("write");
        far.shutdown(Shutdown::Write).expect("shutdown");
        far
    });
    server.while_not("all of it", |side| {
        side.consume(&[0]);
        side.length_of(0) >= bytes.len()
    });
    server.until("the end", |seen| seen.kind == 1 && seen.stream == 0 && seen.flags & FIN != 0);
    assert!(server.bytes_of(0) == bytes);
    drop(feeder.join().expect("feeder"));
}

/// tunnel T42.
#[test]
fn a_reset_of_tcp_is_told_once() {
    let (mut server, mut client) = pair();
    client.flush(&[open(1, 0)], &[]);
    let mut far = client.splice(1, 0, &Arc::default());
    far.write_all(b"x").expect("write");
    server.until_bytes(0, 1);
    qdriver::tcp::reset_if_cut(&far).expect("linger");
    drop(far);
    client.until_news(1, FAILED);
    server.flush(&[write(1, 0, 5, FIN)], b"where");
    client.linger();
    assert_eq!(client.news(1), [STARTED, FAILED]);
    client.send(Command::SpliceCut(1));
    client.abort(3, 0, 9);
    assert_eq!(server.until("the reset", |seen| seen.kind == 5 && seen.stream == 0).code, 9);
}

/// tunnel T43: never a FIN.
#[test]
fn a_reset_of_the_stream_reaches_tcp_as_one() {
    let (mut server, mut client) = pair();
    client.flush(&[open(1, 0)], &[]);
    let mut far = client.splice(1, 0, &Arc::default());
    far.write_all(b"x").expect("write");
    server.until_bytes(0, 1);
    server.flush(&[write(1, 0, 4, 0)], b"half");
    let mut half = [0; 4];
    far.read_exact(&mut half).expect("first half");
    server.abort(3, 0, 11);
    assert_eq!(client.until("the reset", |seen| seen.kind == 5 && seen.stream == 0).code, 11);
    client.send(Command::SpliceCut(1));
    assert_eq!(far.read(&mut [0; 1]).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    client.linger();
    assert_eq!(client.news(1), [STARTED]);
}

/// tunnel T44.
#[test]
fn after_stop_sending_tcp_is_not_read_and_the_other_direction_goes_on() {
    let (mut server, mut client) = pair();
    let counters = Arc::default();
    client.flush(&[open(1, 0)], &[]);
    let mut far = client.splice(1, 0, &counters);
    far.write_all(b"x").expect("write");
    server.until_bytes(0, 1);
    server.abort(4, 0, 12);
    assert_eq!(client.until("the stop", |seen| seen.kind == 4 && seen.stream == 0).code, 12);
    far.write_all(b"nobody reads this").expect("write");
    server.flush(&[write(1, 0, 6, FIN)], b"answer");
    client.until_news(1, OUTWARD_ENDED);
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).expect("in order");
    assert_eq!((answer.as_slice(), inward(&counters)), (&b"answer"[..], 1));
}

/// tunnel T51; attacks D15: whose TCP takes nothing is given no credit.
#[test]
fn credit_follows_what_tcp_took() {
    const WINDOW: u64 = 65_536;
    let bytes = vec![5; 8_388_608];
    let (mut server, mut client) = pair_within(LIMITS, &limits([65_536; 2], [WINDOW; 2]), |engine| engine);
    let counters = Arc::default();
    client.flush(&[open(1, 0)], &[]);
    let mut far = client.splice(1, 0, &counters);
    far.write_all(b"x").expect("write");
    server.until_bytes(0, 1);
    server.flush(&[write(1, 0, bytes.len(), FIN)], &bytes);
    let mut quiet = 0;
    while quiet < 2 {
        let before = outward(&counters);
        client.linger();
        let mut row = [0.0; 32];
        assert!(client.link.pages.read(1, 1, 0, &mut row));
        assert!(row[3] as u64 <= outward(&counters) + WINDOW, "{} came and {} went", row[3], outward(&counters));
        quiet = if outward(&counters) == before { quiet + 1 } else { 0 };
    }
    let mut all = Vec::new();
    far.read_to_end(&mut all).expect("in order");
    assert!(all == bytes);
}

/// What JavaScript had got comes first, whatever comes meanwhile.
#[test]
fn bytes_that_are_given_back_go_before_those_that_came_later() {
    let (mut server, mut client) = pair();
    client.flush(&[open(1, 0), write(1, 0, 4, 0)], b"head");
    server.until_bytes(0, 4);
    let mut far = server.splice(1, 0, &Arc::default());
    assert_eq!(server.until_news(1, STARTED).number, 4);
    client.flush(&[write(1, 0, 4, FIN)], b"tail");
    server.linger();
    server.send(Command::SpliceGo(1, b"head".to_vec()));
    let mut all = Vec::new();
    far.read_to_end(&mut all).expect("in order");
    assert_eq!(all, b"headtail");
    assert_eq!(server.length_of(0), 4, "nothing of it crosses any more");
}

/// The same when the connection has ended before JavaScript has given them back: they are complete, and in order.
#[test]
fn bytes_that_are_given_back_after_the_end_of_the_connection_go_first_too() {
    let (mut server, mut client) = pair();
    client.flush(&[open(1, 0), write(1, 0, 4, 0)], b"head");
    server.until_bytes(0, 4);
    let mut far = server.splice(1, 0, &Arc::default());
    server.until_news(1, STARTED);
    client.flush(&[write(1, 0, 4, FIN)], b"tail");
    client.until("all acknowledged", |seen| seen.kind == 3 && seen.stream == 0);
    client.order(1, r#"{"do":"close","layer":"application","code":0,"reason":"","drainMs":0}"#);
    server.until_event("closed");
    server.linger();
    assert_eq!(server.news(1), [STARTED], "TCP has got nothing, and no end");
    server.send(Command::SpliceGo(1, b"head".to_vec()));
    let mut all = Vec::new();
    far.read_to_end(&mut all).expect("in order");
    assert_eq!(all, b"headtail");
    server.until_news(1, OUTWARD_ENDED);
}

/// tunnel T45.
#[test]
fn at_the_end_of_a_connection_what_is_complete_goes_out_and_the_rest_is_cut() {
    let (mut server, mut client) = pair();
    client.flush(&[open(1, 0), open(1, 4)], &[]);
    let mut whole = client.splice(1, 0, &Arc::default());
    let mut part = client.splice(2, 4, &Arc::default());
    for far in [&mut whole, &mut part] {
        far.write_all(b"x").expect("write");
    }
    server.until_bytes(0, 1);
    server.until_bytes(4, 1);
    let bytes = vec![6; 300_000];
    server.flush(&[write(1, 0, bytes.len(), FIN), write(1, 4, 4, 0)], &[&bytes[..], b"half"].concat());
    server.order(1, r#"{"do":"close","layer":"application","code":0,"reason":"","drainMs":5000}"#);
    client.until_event("closed");
    let mut all = Vec::new();
    whole.read_to_end(&mut all).expect("in order");
    assert_eq!(all, bytes);
    let mut half = [0; 4];
    part.read_exact(&mut half).expect("what was there");
    client.send(Command::SpliceCut(2));
    assert_eq!(part.read(&mut half).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    assert_eq!(client.news(2), [STARTED]);
}

/// attacks I5: threads of an environment that ends stop so.
#[test]
fn an_endpoint_that_stops_resets_what_has_not_ended() {
    let (mut server, mut client) = pair();
    client.flush(&[open(1, 0)], &[]);
    let mut far = client.splice(1, 0, &Arc::default());
    far.write_all(b"x").expect("write");
    server.until_bytes(0, 1);
    client.thread.take().expect("thread").stop().expect("in order");
    assert_eq!(far.read(&mut [0; 1]).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_splice_of_a_stream_that_is_gone_waits_for_its_cut() {
    let (_server, mut client) = pair();
    let mut far = client.splice(1, 400, &Arc::default());
    assert_eq!(client.until_news(1, STARTED).number, 0);
    far.write_all(b"x").expect("write");
    client.send(Command::SpliceGo(1, b"y".to_vec()));
    client.send(Command::SpliceCut(1));
    assert_eq!(far.read(&mut [0; 1]).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    client.send(Command::SpliceCut(1));
    client.linger();
    assert_eq!(client.news(1), [STARTED]);
}

/// attacks A2, A23: timers and datagrams do not wait for all TCP connections at once.
#[test]
fn a_turn_moves_so_much_and_no_more_however_many_have_something() {
    const COUNT: usize = 40;
    let counters = counted(COUNT);
    let most = Arc::<AtomicU64>::default();
    let (_server, mut client) = pair_within(LIMITS, LIMITS, |engine| Gauge { engine, counters: counters.clone(), turns: Arc::default(), most: Arc::clone(&most) });
    let _fars = splice_all(&mut client, 0, &counters);
    client.while_not("a byte of each", |_| counters.iter().all(|counters| inward(counters) > 0));
    assert!(most.load(Ordering::Relaxed) <= MOST_PER_TURN, "{} bytes in one turn", most.load(Ordering::Relaxed));
}

/// tunnel T52.
#[test]
fn one_that_always_has_more_leaves_the_others_room() {
    let counters = counted(3);
    let (mut server, mut client) = pair_within(LIMITS, &limits([262_144, 65_536], [1_048_576; 2]), |engine| engine);
    let _fars = splice_all(&mut client, 0, &counters);
    let total = || counters.iter().map(|counters| inward(counters)).sum::<u64>();
    server.while_not("half a MiB", |side| {
        side.consume(&[0, 4, 8]);
        total() > 524_288
    });
    let each: Vec<u64> = counters.iter().map(|counters| inward(counters)).collect();
    assert!(each.iter().all(|bytes| *bytes >= 65_536), "{each:?}");
}

/// A connection that is stuck, with more to send than its buffers take, costs no turns.
#[test]
fn nobody_is_busy_while_the_peer_gives_no_credit() {
    const WRITTEN: usize = 800_000;
    let counters = counted(3);
    let turns = Arc::<AtomicU64>::default();
    let (_server, mut client) = without_credit(|engine| Gauge { engine, counters: counters.clone(), turns: Arc::clone(&turns), most: Arc::default() });
    // JavaScript waits to hear of room, too.
    client.flush(&[open(1, 4), write(1, 4, WRITTEN, 0)], &vec![1; WRITTEN]);
    let _fars = splice_all(&mut client, 8, &counters);
    client.while_not("full buffers", |_| counters.iter().map(|counters| inward(counters)).sum::<u64>() + WRITTEN as u64 > UNSENT - 16_384);
    client.linger();
    let before = turns.load(Ordering::Relaxed);
    client.linger();
    let spent = turns.load(Ordering::Relaxed) - before;
    assert!(spent < 200, "{spent} turns in 100 ms without a byte moved");
}

/// What JavaScript wrote before the splice is still in its half of the buffers: nothing of it has left.
#[test]
fn bytes_written_before_a_splice_count_until_they_have_left() {
    let (_server, mut client) = without_credit(|engine| engine);
    for id in 1..=2_u32 {
        let stream = u64::from(id) * 4;
        client.flush(&[open(1, stream), write(1, stream, 300_000, 0)], &vec![2; 300_000]);
        feed(client.splice(id, stream, &Arc::default()));
        client.until_news(id, STARTED);
    }
    for _ in 0..3 {
        client.wake();
        client.linger();
    }
    let told = client.seen.iter().filter(|seen| seen.kind == 7).map(|seen| seen.number).max();
    assert!(told <= Some(SENT), "{told:?}");
}
