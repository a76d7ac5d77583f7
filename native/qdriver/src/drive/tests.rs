//! The loop with a machine that does what a test says: budgets, held bursts, errors, waking, ending.
//!
//! Tests of single turns run the loop on the test's own thread; tests of the thread use [`Driver`]. Nothing is timed.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use qbase::{Ecn, FourTuple, Timestamp};

use super::{turn::Loop, *};

/// Longest wait for something that will happen.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_train_of_datagrams_reaches_the_machine_in_order_with_its_mark_and_addresses() {
    let mut bench = Bench::new(2);
    let (from, to) = (bench.local(0), bench.local(1));
    let bytes: Vec<u8> = (0..5_000).map(|index| (index / 1_000) as u8).collect();
    bench.plan(Planned { ecn: Ecn::Ect0, ..planned(from, to, &bytes, 1_000) });
    bench.turns_until(|facts| facts.iter().filter(|fact| matches!(fact, Fact::Datagram { .. })).count() == 5);
    let four_tuple = FourTuple { local: to, remote: from };
    let arrived: Vec<_> = bench.facts.iter().filter(|fact| matches!(fact, Fact::Datagram { .. })).cloned().collect();
    let expected: Vec<_> = bytes
        .chunks(1_000)
        .map(|chunk| Fact::Datagram { four_tuple, ecn: Ecn::Ect0, bytes: chunk.to_vec() })
        .collect();
    assert_eq!(arrived, expected);
    assert!(bench.facts.contains(&Fact::Submitted { number: 0, segments: 5 }));
}

/// traversal T-32: what goes on leaves in one call by the socket it came by, with its mark; the rest is the machine's.
#[test]
fn runs_of_a_train_go_on_are_taken_and_are_dropped_as_the_machine_says() {
    let mut bench = Bench::new(3);
    let (from, via, to) = (bench.local(0), bench.local(1), bench.local(2));
    bench.inner.parts().0.onward = Some((via, to));
    let train: Vec<u8> = b"FFFTTDF".iter().flat_map(|first| [[*first].as_slice(), &[7; 999]].concat()).collect();
    bench.plan(Planned { ecn: Ecn::Ect0, ..planned(from, via, &train[..6_500], 1_000) });
    bench.turns_until(|facts| facts.iter().filter(|fact| matches!(fact, Fact::Datagram { .. })).count() == 6);
    let arrived = |remote: SocketAddr, local: SocketAddr| {
        let is_it = move |fact: &&Fact| matches!(fact, Fact::Datagram { four_tuple, .. } if *four_tuple == FourTuple { local, remote });
        let datagrams = bench.facts.iter().filter(is_it).map(|fact| match fact {
            Fact::Datagram { ecn, bytes, .. } => (*ecn, bytes.clone()),
            _ => unreachable!(),
        });
        datagrams.collect::<Vec<_>>()
    };
    let marked = |range: std::ops::Range<usize>| train[range].chunks(1_000).map(|bytes| (Ecn::Ect0, bytes.to_vec())).collect::<Vec<_>>();
    assert_eq!(arrived(from, via), marked(3_000..5_000));
    assert_eq!(arrived(via, to), [marked(0..3_000), marked(6_000..6_500)].concat(), "from the socket it came by");
    let statistics = bench.inner.parts().2;
    assert_eq!((statistics.datagrams_received, statistics.datagrams_sent), (7 + 4, 7 + 4));
    #[cfg(target_os = "linux")]
    assert_eq!(statistics.send_calls, 3, "the burst, and one call a run");
}

/// A relay keeps no queue: what a full socket does not take is dropped, and the machine hears how much.
#[test]
fn what_a_full_socket_does_not_take_of_a_run_is_dropped() {
    let mut bench = Bench::new(3);
    let (from, via, to) = (bench.local(0), bench.local(1), bench.local(2));
    bench.inner.parts().0.onward = Some((via, to));
    bench.inject(via, &[libc::EAGAIN]);
    bench.plan(planned(from, via, &[b'F'; 2_500], 1_000));
    bench.turns_until(|facts| facts.contains(&Fact::Unsent { datagrams: 3, bytes: 2_500 }));
    assert_eq!(bench.inner.parts().2.bursts_held, 0);
}

#[test]
fn bursts_of_our_own_that_wait_for_a_socket_come_before_what_a_relay_sends_on() {
    let mut bench = Bench::new(3);
    let (from, via, to) = (bench.local(0), bench.local(1), bench.local(2));
    bench.inner.parts().0.onward = Some((via, to));
    // Far more refusals than turns are needed.
    bench.inject(via, &[libc::ENOBUFS; 10_000]);
    bench.plan(planned(via, from, b"own", 3));
    bench.plan(planned(from, via, &[b'F'; 50], 50));
    bench.turns_until(|facts| facts.contains(&Fact::Unsent { datagrams: 1, bytes: 50 }));
    assert_eq!(bench.inner.parts().2.bursts_held, 1);
}

#[test]
fn a_full_socket_keeps_its_bursts_and_blocks_no_other_socket() {
    let mut bench = Bench::new(2);
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let (full, free, to) = (bench.local(0), bench.local(1), sink.local_addr().expect("address"));
    bench.inject(full, &[libc::EAGAIN]);
    bench.plan(planned(full, to, b"first", 5));
    bench.plan(planned(full, to, b"second", 6));
    bench.plan(planned(free, to, b"other", 5));
    bench.inner.turn();
    bench.collect();
    assert_eq!(bench.facts, [Fact::Submitted { number: 2, segments: 1 }]);
    assert_eq!(bench.inner.parts().2.bursts_held, 2);
    bench.turns_until(|facts| facts.len() == 3);
    assert_eq!(bench.facts[1..], [
        Fact::Submitted { number: 0, segments: 1 },
        Fact::Submitted { number: 1, segments: 1 }
    ]);
    assert_eq!(receive_all(&sink, 3), [b"other".to_vec(), b"first".to_vec(), b"second".to_vec()]);
}

#[test]
fn attack_j7_a_burst_refused_for_want_of_buffers_goes_out_after_rests() {
    let mut bench = Bench::new(1);
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let (from, to) = (bench.local(0), sink.local_addr().expect("address"));
    bench.inject(from, &[libc::ENOBUFS, libc::ENOBUFS, libc::ENOBUFS]);
    bench.plan(planned(from, to, b"patient", 7));
    bench.turns_until(|facts| !facts.is_empty());
    assert_eq!(bench.facts, [Fact::Submitted { number: 0, segments: 1 }]);
    assert_eq!(receive_all(&sink, 1), [b"patient".to_vec()]);
    assert_eq!(bench.inner.parts().2.send_errors, 0);
}

#[test]
fn attack_j7_a_failing_way_is_reported_and_the_next_burst_still_goes() {
    for (errno, failure) in [
        (libc::ENETUNREACH, SendFailure::Unreachable),
        (libc::EHOSTUNREACH, SendFailure::HostUnreachable),
        (libc::EPERM, SendFailure::NotPermitted),
        (libc::EBADF, SendFailure::NoSocket),
        (libc::EMSGSIZE, SendFailure::TooLarge),
        (libc::EFAULT, SendFailure::Other),
    ] {
        let mut bench = Bench::new(1);
        let from = bench.local(0);
        bench.inject(from, &[errno]);
        bench.plan(planned(from, from, b"lost", 4));
        bench.plan(planned(from, from, b"kept", 4));
        bench.inner.turn();
        bench.collect();
        let expected = [Fact::Failed { number: 0, failure }, Fact::Submitted { number: 1, segments: 1 }];
        assert_eq!(bench.facts[..2], expected, "errno {errno}");
    }
}

#[test]
fn a_way_that_fails_again_is_reported_later_and_does_not_spin() {
    let mut bench = Bench::new(1);
    let from = bench.local(0);
    bench.inject(from, &[libc::EPERM, libc::EPERM]);
    bench.plan(planned(from, from, b"lost", 4));
    bench.plan(planned(from, from, b"lost", 4));
    bench.inner.turn();
    bench.collect();
    assert_eq!(bench.facts.len(), 1);
    bench.turns_until(|facts| facts.len() == 2);
    assert_eq!(bench.facts[1], Fact::Failed { number: 1, failure: SendFailure::NotPermitted });
}

#[test]
fn a_burst_that_no_socket_can_send_is_reported() {
    let mut bench = Bench::new(1);
    let strange = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 77), 9));
    let remote = bench.local(0);
    bench.plan(planned(strange, remote, b"x", 1));
    bench.inner.turn();
    bench.collect();
    assert_eq!(bench.facts, [Fact::Failed { number: 0, failure: SendFailure::NoSocket }]);
}

#[cfg(target_os = "linux")]
#[test]
fn attack_a2_a_flood_of_empty_datagrams_is_read_in_portions_and_timers_run() {
    let mut bench = Bench::new(1);
    let flood = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    for _ in 0..200 {
        flood.send_to(&[], bench.local(0)).expect("send");
    }
    bench.inner.parts().0.timer = Some(Timestamp::ZERO);
    bench.inner.wait().expect("wait");
    bench.inner.turn();
    bench.collect();
    assert_eq!(bench.inner.parts().2.messages_received, 64);
    assert_eq!(bench.facts, [Fact::Timer]);
    bench.turns_while(|statistics| statistics.empty_datagrams < 200);
    assert_eq!(bench.inner.parts().2.datagrams_received, 0);
}

#[test]
fn timers_run_while_there_is_always_more_to_send() {
    let mut bench = Bench::new(1);
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let (from, to) = (bench.local(0), sink.local_addr().expect("address"));
    for _ in 0..200 {
        bench.plan(planned(from, to, b"x", 1));
    }
    bench.inner.turn();
    bench.inner.parts().0.timer = Some(Timestamp::ZERO);
    bench.inner.wait().expect("wait");
    bench.inner.turn();
    bench.collect();
    assert!(bench.facts.contains(&Fact::Timer));
    assert!(bench.facts.len() < 200, "one turn has a budget for bursts, too");
}

#[cfg(target_os = "linux")]
#[test]
fn attack_a23_a_flooded_socket_does_not_delay_an_honest_one() {
    let mut bench = Bench::new(2);
    let flood = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    for _ in 0..150 {
        flood.send_to(b"flood", bench.local(0)).expect("send");
    }
    flood.send_to(b"honest", bench.local(1)).expect("send");
    bench.inner.wait().expect("wait");
    bench.inner.turn();
    bench.collect();
    let honest = |fact: &&Fact| matches!(fact, Fact::Datagram { bytes, .. } if bytes == b"honest");
    assert_eq!(bench.facts.iter().filter(honest).count(), 1);
    assert_eq!(bench.inner.parts().2.messages_received, 65);
}

#[test]
fn errors_of_receive_calls_are_counted_and_cost_no_datagram() {
    let mut bench = Bench::new(1);
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let local = bench.local(0);
    let (_, sockets, _) = bench.inner.parts();
    sockets.get_mut(0).expect("socket").socket.inject_receive(&[libc::ECONNREFUSED, libc::EHOSTUNREACH]);
    sender.send_to(b"safe", local).expect("send");
    bench.turns_until(|facts| facts.iter().any(|fact| matches!(fact, Fact::Datagram { .. })));
    assert_eq!(bench.inner.parts().2.receive_errors, 2);
}

#[test]
fn a_socket_that_only_fails_does_not_spin() {
    let mut bench = Bench::new(1);
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    sender.send_to(b"first", bench.local(0)).expect("send");
    let (_, sockets, _) = bench.inner.parts();
    sockets.get_mut(0).expect("socket").socket.inject_receive(&[libc::EIO; 8]);
    bench.inner.wait().expect("wait");
    bench.inner.turn();
    let (_, sockets, statistics) = bench.inner.parts();
    assert_eq!(statistics.receive_errors, 8);
    assert!(!sockets.has_readable(), "it waits for the next report");
}

#[test]
fn closing_a_socket_cancels_what_waited_for_it() {
    let (mut bench, commands) = Bench::with_commands(1);
    let from = bench.local(0);
    bench.inject(from, &[libc::EAGAIN]);
    bench.plan(planned(from, from, b"stuck", 5));
    bench.inner.turn();
    commands.send(Box::new(move |io| assert!(io.unbind(from) && !io.unbind(from)))).expect("command");
    bench.inner.turn();
    bench.collect();
    assert_eq!(bench.facts, [Fact::Submitted { number: 0, segments: 0 }]);
}

#[test]
fn datagrams_that_are_no_quic_go_to_the_application_and_back() {
    let (mut bench, commands) = Bench::with_commands(1);
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    peer.send_to(b"raw question", bench.local(0)).expect("send");
    let (done, answered) = channel();
    commands
        .send(Box::new(move |io| {
            let questions: Vec<_> = io.raw().map(|raw| (raw.four_tuple, raw.bytes.to_vec())).collect();
            for (four_tuple, bytes) in questions {
                assert_eq!(bytes, b"raw question");
                let FourTuple { local, remote } = four_tuple;
                let answer = RawTransmit { local, remote, hop_limit: Some(5), bytes: b"raw answer" };
                io.send_raw(&answer).expect("sent");
                done.send(()).expect("told");
            }
        }))
        .expect("command");
    bench.inner.wait().expect("wait");
    bench.inner.turn();
    answered.try_recv().expect("the application saw it in the same turn");
    assert_eq!(receive_all(&peer, 1), [b"raw answer".to_vec()]);
}

#[test]
fn a_socket_bound_by_the_application_receives() {
    let (mut bench, commands) = Bench::with_commands(0);
    let (tell, told) = channel();
    commands
        .send(Box::new(move |io| {
            let facts = io.bind(&SocketConfig::new((Ipv4Addr::LOCALHOST, 0).into())).expect("bind");
            let taken = io.bind(&SocketConfig::new(facts.local)).expect_err("taken");
            assert_eq!(taken.address, facts.local);
            tell.send(facts.local).expect("told");
        }))
        .expect("command");
    bench.inner.turn();
    let local = told.try_recv().expect("bound");
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    peer.send_to(b"hello", local).expect("send");
    bench.turns_until(|facts| !facts.is_empty());
    assert!(matches!(&bench.facts[0], Fact::Datagram { bytes, .. } if bytes == b"hello"));
}

#[test]
fn wakes_from_other_threads_make_turns_and_none_is_lost() {
    let (tell, told) = channel();
    let (commands, application) = Program::new();
    let handle = Driver::spawn(config(1), Fake::new().0, application).expect("spawn");
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let (waker, commands, tell) = (handle.waker(), commands.clone(), tell.clone());
            std::thread::spawn(move || {
                for number in 0..250 {
                    let tell = tell.clone();
                    commands.send(Box::new(move |_| tell.send((thread, number)).expect("told"))).expect("command");
                    waker.wake();
                }
            })
        })
        .collect();
    drop(tell);
    let mut seen = [0; 4];
    for _ in 0..1_000 {
        let (thread, number): (usize, usize) = told.recv_timeout(PATIENCE).expect("no wake is lost");
        assert_eq!(number, seen[thread]);
        seen[thread] += 1;
    }
    for thread in threads {
        thread.join().expect("thread");
    }
    handle.stop().expect("clean end");
}

#[test]
fn stopping_takes_one_more_turn_and_joins() {
    let (commands, application) = Program::new();
    let (tell, told) = channel();
    let handle = Driver::spawn(config(1), Fake::new().0, application).expect("spawn");
    commands.send(Box::new(move |_| tell.send(()).expect("told"))).expect("command");
    handle.stop().expect("clean end");
    told.try_recv().expect("the last turn saw the command");
    assert!(commands.send(Box::new(|_| ())).is_err(), "the application is gone");
}

#[test]
fn dropping_the_handle_joins() {
    let (commands, application) = Program::new();
    drop(Driver::spawn(config(1), Fake::new().0, application).expect("spawn"));
    assert!(commands.send(Box::new(|_| ())).is_err(), "the application is gone");
}

#[test]
fn the_application_can_end_the_thread_and_its_last_bursts_go_out() {
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let to = sink.local_addr().expect("address");
    let (commands, application) = Program::new();
    let handle = Driver::spawn(config(1), Fake::new().0, application).expect("spawn");
    let from = handle.sockets()[0].local;
    commands
        .send(Box::new(move |io| {
            io.endpoint.outgoing.push_back(planned(from, to, b"goodbye", 7));
            io.stop();
        }))
        .expect("command");
    handle.waker().wake();
    handle.join().expect("clean end");
    assert_eq!(receive_all(&sink, 1), [b"goodbye".to_vec()]);
}

#[test]
fn a_wish_to_be_called_is_kept() {
    struct Clockwork(usize);
    impl Application<Fake> for Clockwork {
        fn on_turn(&mut self, io: &mut Io<'_, Fake>) {
            self.0 += 1;
            if self.0 == 5 {
                return io.stop();
            }
            io.wake_at(io.now + Duration::from_micros(300));
        }
    }
    let handle = Driver::spawn(config(1), Fake::new().0, Clockwork(0)).expect("spawn");
    handle.waker().wake();
    handle.join().expect("five turns, one wake");
}

#[test]
fn a_panic_of_the_application_is_told_to_the_one_who_joins() {
    let (commands, application) = Program::new();
    let handle = Driver::spawn(config(1), Fake::new().0, application).expect("spawn");
    commands.send(Box::new(|_| panic!("out of ideas"))).expect("command");
    handle.waker().wake();
    let error = handle.join().expect_err("it panicked");
    assert!(matches!(&error, DriverError::Panicked(words) if words == "out of ideas"), "{error}");
}

#[test]
fn a_driver_without_its_port_does_not_start() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let address = taken.local_addr().expect("address");
    let config = DriverConfig { sockets: vec![SocketConfig::new(address)], ..DriverConfig::default() };
    let error = Driver::spawn(config, Fake::new().0, Program::new().1).expect_err("taken");
    assert!(matches!(error, SpawnError::Bind(error) if error.address == address));
}

/// What the fake machine saw.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    Datagram { four_tuple: FourTuple, ecn: Ecn, bytes: Vec<u8> },
    Submitted { number: usize, segments: usize },
    Failed { number: usize, failure: SendFailure },
    Unsent { datagrams: usize, bytes: usize },
    Timer,
}

/// A burst the fake machine shall send.
#[derive(Clone, Debug)]
struct Planned {
    four_tuple: FourTuple,
    ecn: Ecn,
    bytes: Vec<u8>,
    segment_size: usize,
}

fn planned(local: SocketAddr, remote: SocketAddr, bytes: &[u8], segment_size: usize) -> Planned {
    Planned { four_tuple: FourTuple { local, remote }, ecn: Ecn::NotEct, bytes: bytes.to_vec(), segment_size }
}

/// A machine that sends what it is given and reports what it sees; "raw…" is no QUIC to it.
#[derive(Debug)]
struct Fake {
    outgoing: VecDeque<Planned>,
    made: usize,
    timer: Option<Timestamp>,
    /// What comes to the first address and begins with F goes on to the second; what begins with D is dropped.
    onward: Option<(SocketAddr, SocketAddr)>,
    facts: Sender<Fact>,
}

impl Fake {
    fn new() -> (Self, Receiver<Fact>) {
        let (facts, seen) = channel();
        (Self { outgoing: VecDeque::new(), made: 0, timer: None, onward: None, facts }, seen)
    }

    fn tell(&self, fact: Fact) {
        self.facts.send(fact).unwrap_or_default();
    }
}

impl Machine for Fake {
    type Burst = (usize, Departure);

    fn handle_datagram(&mut self, _: Timestamp, four_tuple: FourTuple, ecn: Ecn, datagram: &mut [u8]) -> Received {
        if datagram.starts_with(b"raw") {
            return Received::NotQuic;
        }
        self.tell(Fact::Datagram { four_tuple, ecn, bytes: datagram.to_vec() });
        Received::Quic
    }

    fn route_run(&mut self, _: Timestamp, four_tuple: FourTuple, train: &[u8], segment_len: usize) -> RoutedRun {
        let first = train[0];
        let fate = match (first, self.onward) {
            (b'F', Some((via, to))) if via == four_tuple.local => RunFate::Forward(to),
            (b'D', Some(_)) => RunFate::Drop,
            _ => RunFate::Take,
        };
        let same = train.chunks(segment_len).take_while(|datagram| datagram[0] == first);
        RoutedRun { len: same.map(<[u8]>::len).sum(), fate }
    }

    fn on_unsent(&mut self, datagrams: usize, bytes: usize) {
        self.tell(Fact::Unsent { datagrams, bytes });
    }

    fn poll_transmit(&mut self, _: Timestamp, buffer: &mut [u8], max_segments: usize) -> Option<Self::Burst> {
        let planned = self.outgoing.pop_front()?;
        assert!(planned.bytes.len().div_ceil(planned.segment_size) <= max_segments);
        buffer[..planned.bytes.len()].copy_from_slice(&planned.bytes);
        let Planned { four_tuple, ecn, bytes, segment_size } = planned;
        let number = self.made;
        self.made += 1;
        Some((number, Departure { four_tuple, ecn, hop_limit: None, len: bytes.len(), segment_size, path: None }))
    }

    fn departure(burst: &Self::Burst) -> Departure {
        burst.1
    }

    fn on_submitted(&mut self, burst: &Self::Burst, segments: usize, _: Timestamp) {
        self.tell(Fact::Submitted { number: burst.0, segments });
    }

    fn on_send_error(&mut self, burst: &Self::Burst, failure: SendFailure, _: Timestamp) {
        self.tell(Fact::Failed { number: burst.0, failure });
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.timer
    }

    fn on_timer(&mut self, _: Timestamp) {
        self.timer = None;
        self.tell(Fact::Timer);
    }
}

type Command = Box<dyn FnOnce(&mut Io<'_, Fake>) + Send>;

/// An application that does what it is sent.
struct Program {
    commands: Receiver<Command>,
}

impl Program {
    fn new() -> (Sender<Command>, Self) {
        let (sender, commands) = channel();
        (sender, Self { commands })
    }
}

impl Application<Fake> for Program {
    fn on_turn(&mut self, io: &mut Io<'_, Fake>) {
        while let Ok(command) = self.commands.try_recv() {
            command(io);
        }
    }
}

/// A loop on the test's own thread.
struct Bench {
    inner: Loop<Fake, Program>,
    seen: Receiver<Fact>,
    facts: Vec<Fact>,
}

impl Bench {
    fn new(sockets: usize) -> Self {
        Self::with_commands(sockets).0
    }

    fn with_commands(sockets: usize) -> (Self, Sender<Command>) {
        let poller = Poller::new().expect("poller");
        let waker = Waker::new(poller.registry(), BELL).expect("waker");
        let mut bound = Sockets::new(64);
        for socket in &config(sockets).sockets {
            bound.bind(poller.registry(), socket).expect("bind");
        }
        let (machine, seen) = Fake::new();
        let (commands, application) = Program::new();
        let inner = Loop::new(machine, application, bound, poller, waker);
        (Self { inner, seen, facts: Vec::new() }, commands)
    }

    fn local(&mut self, slot: usize) -> SocketAddr {
        self.inner.parts().1.get_mut(slot).expect("socket").socket.local()
    }

    fn inject(&mut self, local: SocketAddr, errnos: &[i32]) {
        let four_tuple = FourTuple { local, remote: local };
        self.inner.parts().1.find(four_tuple).expect("socket").socket.inject(errnos);
    }

    fn plan(&mut self, planned: Planned) {
        self.inner.parts().0.outgoing.push_back(planned);
    }

    fn collect(&mut self) {
        self.facts.extend(self.seen.try_iter());
    }

    /// Takes turns until the facts so far satisfy `enough`.
    fn turns_until(&mut self, enough: impl Fn(&[Fact]) -> bool) {
        self.collect();
        while !enough(&self.facts) {
            self.inner.wait().expect("wait");
            self.inner.turn();
            self.collect();
        }
    }

    fn turns_while(&mut self, more: impl Fn(&DriverStatistics) -> bool) {
        while more(self.inner.parts().2) {
            self.inner.wait().expect("wait");
            self.inner.turn();
        }
    }
}

fn config(sockets: usize) -> DriverConfig {
    let socket = SocketConfig::new((Ipv4Addr::LOCALHOST, 0).into());
    DriverConfig { sockets: vec![socket; sockets], ..DriverConfig::default() }
}

/// The next `count` datagrams of a plain socket.
fn receive_all(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut buffer = vec![0; 65_536];
    (0..count)
        .map(|_| {
            let length = socket.recv(&mut buffer).expect("datagram");
            buffer[..length].to_vec()
        })
        .collect()
}
