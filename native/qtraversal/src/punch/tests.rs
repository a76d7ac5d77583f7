//! What the puncher does with frames and timers: ties, cancelling, bounds, strategies. No NATs here: two machines, or one and a
//! hostile peer's frames.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    NatType, Traversal, TraversalConfig,
    book::LocalAddress,
    budget::{BudgetOptions, PortSearch},
    frame::{AddAddress, RemoveAddress},
    nat::PortAllocation,
    punch::strategy::{Pace, Plan, Target},
    traversal::Start,
};

const START: Timestamp = Timestamp::from_millis(1_000);

fn address(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

fn add(seq: u64, address: SocketAddr, nat_type: NatType) -> AddAddress {
    AddAddress { seq, address, tier: 0, nat_type, kind: AddressKind::Mapped }
}

/// One end with one announced address, after its handshake.
struct End {
    traversal: Traversal,
    budget: ProbeBudget,
    outputs: Vec<(Timestamp, Output)>,
}

impl End {
    fn new(role: Role, nat_type: NatType, start: Start, search: PortSearch) -> Self {
        let config = TraversalConfig { role, seed: 1, policy: ProbePolicy::default(), start, peer_keeps: 16 };
        let mut end = Self { traversal: Traversal::new(config), budget: ProbeBudget::new(BudgetOptions::new(search)), outputs: Vec::new() };
        end.traversal.on_handshake_complete(START, &mut end.budget).expect("nothing waits");
        let ip = if role == Role::Client { "9.9.9.1:5000" } else { "9.9.9.2:6000" };
        let local = LocalAddress {
            bind: Bind(0),
            device: 1,
            address: address(ip),
            tier: 0,
            nat_type,
            kind: AddressKind::Mapped,
            ports: PortAllocation::Unknown,
        };
        end.traversal.announce(local, START, &mut end.budget).expect("announced");
        while end.traversal.poll_output().is_some() {}
        end
    }

    fn frame(&mut self, frame: TraversalFrame, hole: Option<Hole>, now: Timestamp) {
        self.traversal.on_frame(&frame, hole, now, &mut self.budget).expect("no violation");
        self.drain(now);
    }

    fn drain(&mut self, now: Timestamp) {
        let Self { traversal, outputs, .. } = self;
        outputs.extend(std::iter::from_fn(|| traversal.poll_output()).map(|output| (now, output)));
    }

    /// Runs timers up to this instant.
    fn run_until(&mut self, until: Timestamp) {
        let mut turns = 0;
        while let Some(at) = self.traversal.next_timer().filter(|at| *at <= until) {
            self.traversal.on_timer(at, &mut self.budget);
            self.drain(at);
            turns += 1;
            assert!(turns < 100_000, "timers stand still");
        }
    }

    fn probes(&self) -> impl Iterator<Item = (Timestamp, Probe)> {
        self.outputs.iter().filter_map(|(at, output)| if let Output::Probe(probe) = output { Some((*at, *probe)) } else { None })
    }

    fn reports(&self) -> Vec<(RoundState, Side)> {
        let report = |output: &Output| if let Output::Round(report) = output { Some((report.state, report.side)) } else { None };
        self.outputs.iter().filter_map(|(_, output)| report(output)).collect()
    }
}

fn tell(peer_seq: u64, our_seq: u64, address: SocketAddr) -> TraversalFrame {
    let id = PunchId { local_seq: peer_seq, remote_seq: our_seq };
    TraversalFrame::PunchMeNow(PunchMeNow { id, address, tier: 0, nat_type: NatType::RestrictedPort, kind: AddressKind::Mapped })
}

fn after(ms: u64) -> Timestamp {
    START + Duration::from_millis(ms)
}

/// traversal V7, T-82: both are active before either hears of the other, whatever the delays.
#[test]
fn of_two_active_ends_the_server_alone_yields() {
    let kinds = [NatType::RestrictedCone, NatType::RestrictedPort];
    for seed in 0..1_000 {
        let mut dice = Dice::new(seed);
        let mut ends = [Role::Client, Role::Server].map(|role| End::new(role, kinds[usize::from(dice.port(0, 1))], Start::Automatic, PortSearch::Off));
        let types = [0, 1].map(|end: usize| ends[end].traversal.book().local(0).expect("announced").nat_type);
        // What each said is heard by the other after some time; nothing else gets through.
        let delay = [dice.port(50, 400), dice.port(50, 400)].map(u64::from);
        let begin = [0, u64::from(dice.port(0, 49))];
        let mut wire: BTreeMap<(u64, usize), Vec<TraversalFrame>> = BTreeMap::new();
        let addresses = [address("9.9.9.1:5000"), address("9.9.9.2:6000")];
        for end in [0, 1] {
            wire.entry((begin[end], end)).or_default().push(TraversalFrame::AddAddress(add(0, addresses[1 - end], types[1 - end])));
        }
        let mut heard = [0, 0];
        for ms in 0..3_000 {
            for end in [0, 1] {
                let frames = wire.remove(&(ms, end)).unwrap_or_default();
                let before = heard[end];
                frames.into_iter().for_each(|frame| ends[end].frame(frame, None, after(ms)));
                ends[end].run_until(after(ms));
                let said = &ends[end].outputs;
                let tells: Vec<_> = said.iter().filter_map(|(_, output)| match output {
                    Output::Frame(frame @ TraversalFrame::PunchMeNow(_)) => Some(*frame),
                    _ => None,
                }).collect();
                for frame in tells.iter().skip(before) {
                    wire.entry((ms + delay[end], 1 - end)).or_default().push(*frame);
                }
                heard[end] = tells.len();
            }
        }
        let yielded = ends.each_mut().map(|end| end.traversal.puncher().statistics().yielded);
        assert_eq!(yielded, [0, 1], "seed {seed}");
        assert!(ends[0].reports().iter().all(|(_, side)| *side == Side::Active), "seed {seed}");
        assert!(ends[1].reports().contains(&(RoundState::Yielded, Side::Passive)), "seed {seed}");
    }
}

/// traversal V9, T-76.
#[test]
fn a_removed_address_ends_its_punch_and_nothing_more_is_said_about_it() {
    for removes in [Role::Client, Role::Server] {
        let mut end = End::new(Role::Client, NatType::RestrictedPort, Start::Automatic, PortSearch::Off);
        end.frame(TraversalFrame::AddAddress(add(3, address("9.9.9.2:6000"), NatType::FullCone)), None, START);
        end.run_until(after(150));
        let hole = Hole { from: Socket::Bound(Bind(0)), remote: address("9.9.9.2:6001") };
        assert_eq!((end.traversal.puncher().running(), end.probes().count()), (1, 2), "two rungs of the ladder");
        if removes == Role::Server {
            end.frame(TraversalFrame::RemoveAddress(RemoveAddress { seq: 3 }), None, after(150));
        } else {
            end.traversal.withdraw(0, after(150), &mut end.budget).expect("announced");
            end.drain(after(150));
        }
        assert!(end.reports().contains(&(RoundState::Failed(Reason::Cancelled), Side::Active)));
        let said = end.outputs.len();
        end.run_until(after(400_000));
        end.frame(tell(3, 0, address("9.9.9.2:6000")), None, after(400_000));
        let hello = PunchHello { id: PunchId { local_seq: 3, remote_seq: 0 }, probe: 0 };
        end.frame(TraversalFrame::PunchHello(hello), Some(hole), after(400_001));
        end.run_until(after(800_000));
        assert_eq!(end.outputs.len(), said, "{removes:?}: {:?}", &end.outputs[said..]);
        assert_eq!(end.traversal.puncher().running(), 0);
    }
}

/// traversal V12, T-67, T-97; attacks G1, G3, L22: frames of a hostile peer aim at victims.
#[test]
fn attack_g1_a_peer_that_names_victims_gets_no_more_sent_than_the_bounds() {
    for (search, per_ip) in [(PortSearch::Off, 80), (PortSearch::Allowed, 1_000)] {
        let mut end = End::new(Role::Server, NatType::RestrictedPort, Start::Automatic, search);
        for seq in 0..200_u64 {
            let victim = SocketAddr::new(address("8.8.8.8:0").ip(), 10_000 + u16::try_from(seq).expect("small"));
            end.frame(TraversalFrame::AddAddress(add(seq, victim, NatType::Symmetric)), None, after(seq * 900));
            for port in 0..5 {
                end.frame(tell(seq, 0, SocketAddr::new(victim.ip(), 20_000 + port)), None, after(seq * 900 + 100));
                end.frame(tell(seq, 0, SocketAddr::new(address("7.7.7.7:0").ip(), 20_000 + port)), None, after(seq * 900 + 200));
            }
            end.run_until(after(seq * 900 + 300));
        }
        end.run_until(after(400_000));
        let mut by_ip: BTreeMap<_, Vec<Timestamp>> = BTreeMap::new();
        let mut ports: BTreeMap<_, BTreeSet<u16>> = BTreeMap::new();
        for (at, probe) in end.probes() {
            by_ip.entry(probe.to.ip()).or_default().push(at);
            ports.entry(probe.to.ip()).or_default().insert(probe.to.port());
        }
        assert!(!by_ip.is_empty());
        for (ip, times) in &by_ip {
            let most = times.iter().map(|from| times.iter().filter(|at| **at >= *from && at.saturating_since(*from) < Duration::from_secs(60)).count()).max();
            assert!(most <= Some(per_ip), "{ip}: {most:?} in a minute");
            assert!(search == PortSearch::Allowed || times.len() <= 400, "{ip}: {}", times.len());
        }
        assert!(end.traversal.puncher().statistics().ignored > 0);
        let rounds = end.traversal.puncher().statistics().rounds;
        assert!(rounds <= 5 * 8, "{rounds} rounds in seven minutes");
        if search == PortSearch::Off {
            // Two ports per window, and eight windows.
            assert!(ports.values().all(|ports| ports.len() <= 16), "{ports:?}");
        }
    }
}

/// attacks G1: one ladder per address and round.
#[test]
fn attack_g1_one_round_sends_at_most_five_datagrams_to_an_address_however_often_it_is_named() {
    let mut end = End::new(Role::Server, NatType::RestrictedPort, Start::Automatic, PortSearch::Off);
    for turn in 0..40 {
        let port = 6_000 + u16::try_from(turn % 2).expect("small");
        end.frame(tell(9, 0, SocketAddr::new(address("9.9.9.2:0").ip(), port)), None, after(turn * 100));
        end.run_until(after(turn * 100 + 99));
    }
    end.run_until(after(20_000));
    let mut targets: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    end.probes().for_each(|(_, probe)| *targets.entry(probe.to).or_default() += 1);
    assert_eq!(targets.len(), 2);
    assert!(targets.values().all(|sent| *sent <= 5), "{targets:?}");
    assert_eq!(end.traversal.puncher().statistics().rounds, 1);
}

/// attacks G2, B19; traversal T-67.
#[test]
fn attack_b19_frames_of_early_data_wait_for_the_handshake() {
    let config = TraversalConfig { role: Role::Server, seed: 1, policy: ProbePolicy::default(), start: Start::Automatic, peer_keeps: 16 };
    let (mut traversal, mut budget) = (Traversal::new(config), ProbeBudget::new(BudgetOptions::new(PortSearch::Off)));
    let local = LocalAddress {
        bind: Bind(0),
        device: 1,
        address: address("9.9.9.1:5000"),
        tier: 0,
        nat_type: NatType::FullCone,
        kind: AddressKind::Mapped,
        ports: PortAllocation::Unknown,
    };
    traversal.announce(local, START, &mut budget).expect("announced");
    for seq in 0..40 {
        let frame = TraversalFrame::AddAddress(add(seq, address("9.9.9.2:6000"), NatType::FullCone));
        traversal.on_frame(&frame, None, START, &mut budget).expect("kept");
    }
    assert!(std::iter::from_fn(|| traversal.poll_output()).all(|output| matches!(output, Output::Frame(TraversalFrame::AddAddress(_)))));
    assert_eq!((traversal.early_dropped(), traversal.next_timer()), (8, None));
    traversal.on_handshake_complete(START, &mut budget).expect("no violation");
    assert!(std::iter::from_fn(|| traversal.poll_output()).any(|output| matches!(output, Output::Probe(_))));
    assert_eq!(traversal.book().remotes().count(), limits::TRAVERSAL_ADDRESSES);
}

/// attacks G9.
#[test]
fn attack_g9_with_a_direct_path_nothing_is_punched() {
    let mut end = End::new(Role::Client, NatType::RestrictedPort, Start::Automatic, PortSearch::Off);
    end.traversal.on_direct_path(START, &mut end.budget);
    end.frame(TraversalFrame::AddAddress(add(0, address("9.9.9.2:6000"), NatType::FullCone)), None, START);
    end.frame(tell(0, 0, address("9.9.9.2:6000")), None, START);
    end.run_until(after(100_000));
    assert_eq!((end.traversal.puncher().statistics().rounds, end.outputs.len()), (0, 0));
    end.traversal.on_direct_lost(after(100_000), &mut end.budget);
    assert_eq!(end.traversal.puncher().statistics().rounds, 1, "and it begins when the path is lost");
}

/// traversal T-84, T-87, T-65.
#[test]
fn a_hello_that_nobody_waits_for_is_answered_once_over_the_connection_and_three_times_straight_back() {
    let mut end = End::new(Role::Client, NatType::RestrictedPort, Start::ByHand, PortSearch::Off);
    let hole = Hole { from: Socket::Bound(Bind(0)), remote: address("9.9.9.2:6001") };
    let hello = PunchHello { id: PunchId { local_seq: 4, remote_seq: 0 }, probe: 17 };
    end.frame(TraversalFrame::PunchHello(hello), Some(hole), START);
    end.run_until(after(10_000));
    let done = TraversalFrame::PunchDone(hello.done());
    let frames = end.outputs.iter().filter(|(_, output)| matches!(output, Output::Frame(frame) if *frame == done)).count();
    let copies: Vec<_> = end.probes().filter(|(_, probe)| probe.frame == done && probe.to == hole.remote).map(|(at, _)| at).collect();
    assert_eq!((frames, copies), (1, vec![START, after(30), after(60)]));
    let established = end.outputs.iter().filter(|(_, output)| matches!(output, Output::Established { hole: found, .. } if *found == hole)).count();
    assert_eq!(established, 1);
    let said = end.outputs.len();
    end.frame(TraversalFrame::PunchHello(hello), Some(hole), after(10_000));
    end.run_until(after(20_000));
    assert_eq!(end.outputs.len(), said + 1, "one more copy for a repeated one");
    end.frame(TraversalFrame::PunchHello(PunchHello { id: PunchId { local_seq: 4, remote_seq: 9 }, probe: 0 }), Some(hole), after(20_000));
    assert_eq!(end.outputs.len(), said + 1, "about no address of ours");
}

/// traversal T-88.
#[test]
fn the_ladder_has_five_rungs_each_twice_as_far_from_the_next() {
    let mut end = End::new(Role::Client, NatType::RestrictedPort, Start::Automatic, PortSearch::Off);
    end.frame(TraversalFrame::AddAddress(add(0, address("9.9.9.2:6000"), NatType::FullCone)), None, START);
    end.run_until(after(6_000));
    let rungs: Vec<_> = end.probes().map(|(at, probe)| (at.saturating_since(START).as_millis(), probe.ttl)).collect();
    assert_eq!(rungs, [(0, 64), (100, 64), (300, 64), (700, 64), (1_500, 64)]);
    assert_eq!(end.reports(), [(RoundState::Started, Side::Active), (RoundState::Failed(Reason::Silence), Side::Active)]);
    let failed = end.outputs.iter().find(|(_, output)| matches!(output, Output::Round(RoundReport { state: RoundState::Failed(_), .. })));
    assert_eq!(failed.map(|(at, _)| *at), Some(after(3_100)));
}

/// traversal T-95.
#[test]
fn knocks_leave_in_bursts_of_sixteen_two_hundred_a_second_and_end_with_the_first_hello() {
    let mut end = End::new(Role::Client, NatType::RestrictedPort, Start::Automatic, PortSearch::Allowed);
    end.frame(TraversalFrame::AddAddress(add(0, address("9.9.9.2:6000"), NatType::Symmetric)), None, START);
    end.run_until(after(2_000));
    let sent: Vec<_> = end.probes().collect();
    assert!(sent.iter().all(|(_, probe)| probe.ttl == strategy::KNOCK_TTL));
    for (at, _) in &sent {
        let burst = sent.iter().filter(|(other, _)| other == at).count();
        let second = sent.iter().filter(|(other, _)| other >= at && other.saturating_since(*at) < Duration::from_secs(1)).count();
        assert!(burst <= 16 && second <= 208, "{burst} {second}");
    }
    let hole = Hole { from: Socket::Bound(Bind(0)), remote: address("9.9.9.2:31000") };
    end.frame(TraversalFrame::PunchHello(PunchHello { id: PunchId { local_seq: 0, remote_seq: 0 }, probe: 5 }), Some(hole), after(2_000));
    let knocks = end.probes().filter(|(_, probe)| matches!(probe.frame, TraversalFrame::PunchHello(_))).count();
    end.run_until(after(60_000));
    let later = end.probes().filter(|(_, probe)| matches!(probe.frame, TraversalFrame::PunchHello(_))).count();
    assert_eq!(later, knocks);
    assert_eq!(end.budget.leases(), (1, 0), "given back, its ports charged");
}

/// traversal T-83, T-67.
#[test]
fn a_silent_peer_is_tried_four_times_and_eight_punches_run_at_once() {
    let mut end = End::new(Role::Client, NatType::RestrictedPort, Start::Automatic, PortSearch::Off);
    end.frame(TraversalFrame::AddAddress(add(0, address("9.9.9.2:6000"), NatType::FullCone)), None, START);
    end.run_until(after(1_000_000));
    assert_eq!(end.traversal.puncher().statistics().rounds, 4);
    assert_eq!(end.traversal.next_timer(), None, "no promise hangs");
    let mut end = End::new(Role::Client, NatType::RestrictedPort, Start::Automatic, PortSearch::Off);
    for seq in 0..16 {
        let remote = SocketAddr::from(([9, 9, 8, u8::try_from(seq).expect("small")], 6_000));
        end.frame(TraversalFrame::AddAddress(add(seq, remote, NatType::FullCone)), None, START);
    }
    assert_eq!(end.traversal.puncher().running(), limits::PUNCH_ROUNDS.min(limits::PUNCHES_RUNNING));
    end.run_until(after(2_000_000));
    assert!(end.traversal.puncher().statistics().rounds > 16, "the others had their turn");
}

/// A strategy is a value: its steps run in order, and an open plan asks for more.
#[test]
fn another_strategy_decides_order_rounds_and_intervals() {
    let mut end = End::new(Role::Client, NatType::RestrictedPort, Start::ByHand, PortSearch::Off);
    end.frame(TraversalFrame::AddAddress(add(0, address("9.9.9.2:6000"), NatType::FullCone)), None, START);
    end.traversal.puncher().set_strategy(|context| {
        assert_eq!((context.role, context.side, context.round), (Role::Client, Side::Active, 1));
        Plan { then: Then::Ask, ..Plan::new("mine", [Step::Hello { to: Target::Port(6_001), times: 2, pace: Pace::Every(Duration::from_millis(70)), ttl: 9 }]) }
    });
    let id = PunchId { local_seq: 0, remote_seq: 0 };
    end.traversal.punch(id, START, &mut end.budget);
    end.drain(START);
    end.run_until(after(140));
    let sent: Vec<_> = end.probes().map(|(at, probe)| (at, probe.to.port(), probe.ttl)).collect();
    assert_eq!(sent, [(START, 6_001, 9), (after(70), 6_001, 9)]);
    assert!(matches!(end.outputs.last(), Some((_, Output::WantsSteps { .. }))));
    end.traversal.feed(id, vec![Step::Tell, Step::Hello { to: Target::Address(address("8.8.8.8:6000")), times: 1, pace: Pace::AtOnce, ttl: 64 }], Then::Fail, after(150), &mut end.budget);
    end.drain(after(150));
    assert_eq!(end.reports().last(), Some(&(RoundState::Failed(Reason::Refused), Side::Active)), "an IP the peer did not name");
    assert_eq!(end.probes().count(), 2);
}

/// traversal §7: both tables, row by row; searches allowed.
#[test]
fn the_tables_of_strategies_are_those_of_the_specification_and_its_corrections() {
    use NatType::{Blocked, Dynamic, FullCone, RestrictedCone, RestrictedPort, Symmetric};
    let name = |side, own, remote, search, step| {
        let ports = if step { PortAllocation::Sequential { step: 1 } } else { PortAllocation::Unknown };
        let (address, kind) = (address("9.9.9.1:5000"), AddressKind::Mapped);
        let local = LocalAddress { bind: Bind(0), device: 1, address, tier: 0, nat_type: own, kind, ports };
        let remote = PunchMeNow { id: PunchId { local_seq: 0, remote_seq: 0 }, address, tier: 0, nat_type: remote, kind };
        matrix::plan(&Context { role: Role::Client, side, local, remote, rtt: Duration::from_millis(100), round: 1, search }).name
    };
    let kinds = [FullCone, RestrictedCone, RestrictedPort, Symmetric, Dynamic];
    let active = [
        ["A1", "A6", "A6", "A6", "A6"],
        ["A1", "A6", "A6", "A6", "A6"],
        ["A1", "A6", "A6", "A7", "A4"],
        ["A1", "A4", "A3", "none", "A8"],
        ["A1", "A5", "A5", "A2", "A9"],
    ];
    let passive = [
        ["P1", "P1", "P1", "P1", "P1"],
        ["P1", "P1", "P1", "P4", "P1"],
        ["P1", "P1", "P1", "P7", "P1"],
        ["P1", "P1", "P3", "none", "P3"],
        ["P1", "P1", "P5", "P7", "P1"],
    ];
    for (side, table) in [(Side::Active, active), (Side::Passive, passive)] {
        for (own, row) in kinds.into_iter().zip(table) {
            assert_eq!(kinds.map(|remote| name(side, own, remote, PortSearch::Allowed, false)), row, "{side:?} {own:?}");
        }
        for other in NatType::ALL {
            assert_eq!((name(side, Blocked, other, PortSearch::Allowed, false), name(side, other, Blocked, PortSearch::Allowed, false)), ("none", "none"));
        }
    }
    let without = |side, own, remote, step| name(side, own, remote, PortSearch::Off, step);
    assert_eq!(without(Side::Active, Symmetric, RestrictedPort, true), "A10");
    assert_eq!(without(Side::Passive, Symmetric, RestrictedPort, true), "P10");
    assert_eq!(without(Side::Active, Symmetric, RestrictedPort, false), "none");
    assert_eq!(without(Side::Active, RestrictedPort, Symmetric, false), "A10w");
    assert_eq!(without(Side::Passive, RestrictedPort, Symmetric, false), "P10w");
    assert_eq!(without(Side::Active, Dynamic, Symmetric, false), "none");
}
