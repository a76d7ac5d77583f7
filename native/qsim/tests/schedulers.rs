//! Schedulers at home, pins, plans and pickers (burst B-101; multipath MP-37, MP-57, MP-83; attacks F17, F19).

use qbase::{Direction::Unidirectional, PathId, StreamId, Timestamp, frame::PathStatusKind};
use qconnection::{
    Scheduler, TransportConfig,
    path::{
        PathTerms,
        scheduler::{DEFAULT_WEIGHT, Pick, Picker, SchedulerPlan, SchedulerView},
    },
    stream::IfDead,
};
use qsim::{
    Failure, Pair, PairConfig,
    measure::{Case, Home, Target, median},
};

use crate::common;
use common::{FIRST, SECOND, delay, forth, ms, secs};

/// Seeds of the homes: a few, or all fifty with `QSIM_LONG`.
fn seeds(scheduler: Scheduler) -> std::ops::RangeInclusive<u64> {
    match scheduler {
        _ if std::env::var_os("QSIM_LONG").is_some() => 1..=50,
        // Their worlds live from luck: fewer tell nothing.
        Scheduler::Redundant | Scheduler::Deadline(_) => 1..=50,
        _ => 1..=3,
    }
}

#[test]
fn each_scheduler_is_at_home_at_least_as_good_as_min_rtt_and_most_are_better() -> Result<(), Failure> {
    let mut better = 0;
    // A thread each: they are the longest worlds of all scenarios.
    let all = std::thread::scope(|scope| {
        let threads = Home::ALL.map(|home| scope.spawn(move || home.compare(seeds(home.scheduler))));
        threads.map(|thread| thread.join().unwrap())
    });
    for (home, compared) in Home::ALL.into_iter().zip(all) {
        let (own, min_rtt) = compared?;
        let name = home.scheduler.name();
        assert!(own.value <= min_rtt.value * 1.02, "{name}: {own:?} against {min_rtt:?} of min-rtt, {}", home.metric);
        better += usize::from(own.value < min_rtt.value);
        match home.scheduler {
            Scheduler::Weighted => assert!(own.value <= 0.05, "{own:?}"),
            Scheduler::Backup => assert!(own.value < 10.0, "{} kB on the backup while the primary lives", own.value),
            Scheduler::Deadline(_) => assert!(own.extra <= 0.05, "{own:?}"),
            _ => {}
        }
    }
    assert!(better >= 4, "{better} are better");
    Ok(())
}

#[test]
fn downloads_over_two_paths_reach_what_two_paths_can_carry() -> Result<(), Failure> {
    for case in Case::all() {
        let throughput = median(&case.runs(1..=3)?);
        let least = match case.target {
            Target::TimesSingle(times) => times * median(&case.single().runs(1..=3)?),
            Target::Throughput(target) => target,
        };
        assert!(throughput >= least, "{}: {throughput:.2} Mbit/s of {least:.2}", case.name);
        for link in &case.links {
            let alone = median(&Case { links: vec![link.clone()], ..case.clone() }.runs(1..=3)?);
            assert!(throughput >= alone, "{}: {throughput:.2} Mbit/s, {alone:.2} over one of its paths", case.name);
        }
    }
    Ok(())
}

#[test]
fn the_backup_scheduler_changes_paths_at_suspicion() -> Result<(), Failure> {
    let mut pair = two_paths(Scheduler::Backup)?;
    pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
    pair.run_until(|pair| pair.server().traffic().received() > 1_000_000, secs(20))?;
    pair.cut(FIRST);
    let now = pair.now();
    pair.server_mut().traffic_mut().watch_stalls(now);
    pair.run_until_delivered(secs(20))?;
    assert!(pair.server().traffic().longest_stall() <= ms(400), "{:?}", pair.server().traffic().longest_stall());
    Ok(())
}

#[test]
fn a_pinned_stream_keeps_to_its_path_and_moves_when_that_dies() -> Result<(), Failure> {
    let mut pair = two_paths(Scheduler::MinRtt)?;
    let stream = bulk(&mut pair)?;
    pin(&mut pair, stream, Some((PathId(1), IfDead::Move)));
    let before = forth(&pair, FIRST);
    pair.run_for(secs(1))?;
    let (first, second) = (forth(&pair, FIRST) - before, forth(&pair, SECOND));
    assert!(first < 50_000 && second > 500_000, "{first} bytes beside the pin, {second} on it");
    pair.cut(SECOND);
    pair.run_for(secs(1))?;
    assert!(forth(&pair, FIRST) - before > 500_000, "it moved");
    pair.restore(SECOND);
    pair.run_for(secs(1))?;
    let (before, back) = (forth(&pair, FIRST), forth(&pair, SECOND));
    pair.run_for(secs(1))?;
    let (first, second) = (forth(&pair, FIRST) - before, forth(&pair, SECOND) - back);
    assert!(first < 50_000 && second > 500_000, "it is back: {first} beside, {second} on its path");
    Ok(())
}

#[test]
fn a_pinned_stream_may_wait_for_its_path_but_not_beyond_its_end() -> Result<(), Failure> {
    let mut pair = two_paths(Scheduler::MinRtt)?;
    let stream = bulk(&mut pair)?;
    pin(&mut pair, stream, Some((PathId(1), IfDead::Wait)));
    pair.run_for(secs(1))?;
    pair.cut(SECOND);
    pair.run_for(ms(500))?;
    let before = forth(&pair, FIRST);
    pair.run_for(secs(2))?;
    assert!(forth(&pair, FIRST) - before < 50_000, "{} bytes elsewhere while it waits", forth(&pair, FIRST) - before);
    let now = pair.now();
    if let Some(connection) = pair.client_mut().connection_mut() {
        connection.abandon_path(now, PathId(1), 0).unwrap();
    }
    pair.run_for(secs(1))?;
    assert!(forth(&pair, FIRST) - before > 500_000, "the path is gone, and the pin with it");
    Ok(())
}

#[test]
fn a_plan_takes_the_place_of_the_scheduler() -> Result<(), Failure> {
    let mut pair = two_paths(Scheduler::MinRtt)?;
    let plan = SchedulerPlan { order: vec![PathId(1)], reason: "cheap first".to_owned(), ..SchedulerPlan::default() };
    set_plan(&mut pair, Some(plan));
    bulk(&mut pair)?;
    let before = forth(&pair, FIRST);
    pair.run_for(secs(1))?;
    assert!(forth(&pair, FIRST) - before < 50_000 && forth(&pair, SECOND) > 500_000, "only where the plan says");
    let words = pair.client().explain(pair.now()).join("\n");
    assert!(words.contains("scheduler plan") && words.contains("cheap first"), "{words}");
    let weights = vec![(PathId(0), 1), (PathId(1), 3)];
    set_plan(&mut pair, Some(SchedulerPlan { weights, ..SchedulerPlan::default() }));
    let (first, second) = (forth(&pair, FIRST), forth(&pair, SECOND));
    pair.run_for(secs(3))?;
    let (first, second) = (forth(&pair, FIRST) - first, forth(&pair, SECOND) - second);
    let ratio = second as f64 / first as f64;
    assert!((2.7..3.3).contains(&ratio), "{ratio}");
    set_plan(&mut pair, None);
    let before = forth(&pair, FIRST);
    pair.run_for(secs(1))?;
    assert!(forth(&pair, FIRST) - before > 500_000, "min-rtt again");
    Ok(())
}

/// Every second burst on the second path, and none at all in between.
#[derive(Debug)]
struct Turns {
    next: Timestamp,
    asked: u32,
}

impl Picker for Turns {
    fn pick(&mut self, view: SchedulerView<'_>) -> Pick {
        if view.now < self.next {
            return Pick::Wait(self.next);
        }
        self.next = view.now + ms(20);
        self.asked += 1;
        Pick::Send(PathId(self.asked % 2))
    }
}

#[test]
fn a_picker_is_asked_for_every_burst_and_again_when_it_said_so() -> Result<(), Failure> {
    let mut pair = two_paths(Scheduler::MinRtt)?;
    set_picker(&mut pair, Turns { next: Timestamp::ZERO, asked: 0 });
    pair.client_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.run_until_delivered(secs(20))?;
    assert!(forth(&pair, FIRST) > 50_000 && forth(&pair, SECOND) > 50_000, "{} {}", forth(&pair, FIRST), forth(&pair, SECOND));
    Ok(())
}

/// Cannot choose, sends everything twice, or only looks.
#[derive(Debug)]
enum Odd {
    Silent,
    Twice,
}

impl Picker for Odd {
    fn pick(&mut self, view: SchedulerView<'_>) -> Pick {
        assert!(view.paths.iter().all(|candidate| view.facts.iter().any(|path| path.id == candidate.path)));
        match self {
            Self::Silent => Pick::Fallback,
            Self::Twice => Pick::Send(PathId(0)),
        }
    }

    fn reason(&self) -> &'static str {
        "as odd as it gets"
    }

    fn duplicate_on(&self) -> &[PathId] {
        const SECOND: [PathId; 1] = [PathId(1)];
        match self {
            Self::Silent => &[],
            Self::Twice => &SECOND,
        }
    }
}

#[test]
fn a_picker_that_cannot_choose_leaves_it_to_min_rtt() -> Result<(), Failure> {
    let mut pair = two_paths(Scheduler::RoundRobin)?;
    set_picker(&mut pair, Odd::Silent);
    pair.client_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.run_until_delivered(secs(20))?;
    let words = pair.client().explain(pair.now()).join("\n");
    assert!(words.contains("fallback: as odd as it gets"), "{words}");
    Ok(())
}

#[test]
fn a_picker_may_have_everything_copied() -> Result<(), Failure> {
    let mut pair = two_paths(Scheduler::MinRtt)?;
    set_picker(&mut pair, Odd::Twice);
    pair.client_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.run_until_delivered(secs(20))?;
    assert!(forth(&pair, FIRST) > 300_000 && forth(&pair, SECOND) > 200_000, "{} {}", forth(&pair, FIRST), forth(&pair, SECOND));
    Ok(())
}

#[test]
fn the_pins_of_a_plan_end_with_it_and_leave_those_of_the_application_alone() -> Result<(), Failure> {
    let mut pair = two_paths(Scheduler::MinRtt)?;
    let (planned, own) = (bulk(&mut pair)?, bulk(&mut pair)?);
    pin(&mut pair, own, Some((PathId(0), IfDead::Move)));
    let everything = |path| SchedulerPlan { order: vec![PathId(0), PathId(1)], pins: vec![(planned, PathId(path)), (own, PathId(path))], ..SchedulerPlan::default() };
    for path in [1, 0, 1] {
        set_plan(&mut pair, Some(everything(path)));
        assert_eq!((pinned_to(&mut pair, planned), pinned_to(&mut pair, own)), (Some(PathId(path)), Some(PathId(0))));
    }
    set_plan(&mut pair, Some(SchedulerPlan { pins: Vec::new(), ..everything(1) }));
    assert_eq!((pinned_to(&mut pair, planned), pinned_to(&mut pair, own)), (None, Some(PathId(0))));
    set_plan(&mut pair, Some(everything(1)));
    pin(&mut pair, planned, Some((PathId(1), IfDead::Wait)));
    set_plan(&mut pair, None);
    assert_eq!(pinned_to(&mut pair, planned), Some(PathId(1)), "the application's word came later");
    pin(&mut pair, own, None);
    set_plan(&mut pair, Some(everything(1)));
    assert_eq!(pinned_to(&mut pair, own), Some(PathId(1)), "free for a plan again");
    Ok(())
}

/// multipath MP-83.
#[test]
fn the_pin_of_a_plan_gives_way_while_its_path_is_silent() -> Result<(), Failure> {
    let mut pair = two_paths(Scheduler::MinRtt)?;
    let stream = bulk(&mut pair)?;
    set_plan(&mut pair, Some(SchedulerPlan { order: vec![PathId(0), PathId(1)], pins: vec![(stream, PathId(1))], ..SchedulerPlan::default() }));
    pair.run_for(secs(1))?;
    let before = forth(&pair, FIRST);
    pair.cut(SECOND);
    pair.run_for(secs(1))?;
    assert!(forth(&pair, FIRST) - before > 500_000, "it moved");
    set_plan(&mut pair, None);
    pair.restore(SECOND);
    pair.run_for(secs(1))?;
    let (first, second) = (forth(&pair, FIRST), forth(&pair, SECOND));
    pair.run_for(secs(1))?;
    assert!(forth(&pair, FIRST) - first > 500_000 && forth(&pair, SECOND) - second > 500_000, "free, on both paths");
    Ok(())
}

#[test]
fn a_path_keeps_the_words_of_its_last_choice() -> Result<(), Failure> {
    let mut pair = two_paths(Scheduler::MinRtt)?;
    bulk(&mut pair)?;
    set_plan(&mut pair, Some(SchedulerPlan { order: vec![PathId(1)], reason: "the second while it is night".to_owned(), ..SchedulerPlan::default() }));
    pair.run_for(ms(500))?;
    set_plan(&mut pair, Some(SchedulerPlan { order: vec![PathId(0)], reason: "the first by day".to_owned(), ..SchedulerPlan::default() }));
    pair.run_for(ms(500))?;
    let lines = pair.client().explain(pair.now());
    let of = |path: &str| lines.iter().find(|line| line.starts_with(path)).cloned().unwrap_or_default();
    assert!(of("path 1 ").ends_with("the second while it is night") && of("path 0 ").ends_with("the first by day"), "{lines:#?}");
    Ok(())
}

#[test]
fn a_path_is_opened_with_its_weight() -> Result<(), Failure> {
    let client = TransportConfig { scheduler: Scheduler::Weighted, ..TransportConfig::default() };
    let link = delay(10).at_rate(10_000_000);
    let mut pair = Pair::new(PairConfig { client, paths: qsim::Paths::First, ..PairConfig::new(1, vec![link.clone(), link]) })?;
    pair.run_until_confirmed(secs(1))?;
    let (now, four_tuple) = (pair.now(), Pair::four_tuple(SECOND, qbase::Role::Client));
    let terms = PathTerms { status: PathStatusKind::Available, weight: 3 * DEFAULT_WEIGHT };
    if let Some(connection) = pair.client_mut().connection_mut() {
        connection.open_path(now, four_tuple, terms).unwrap();
    }
    pair.run_for(ms(200))?;
    let before = forth(&pair, FIRST);
    pair.client_mut().traffic_mut().send(Unidirectional, 5_000_000);
    pair.run_until_delivered(secs(20))?;
    let ratio = forth(&pair, SECOND) as f64 / (forth(&pair, FIRST) - before) as f64;
    assert!((2.85..3.15).contains(&ratio), "{ratio}");
    Ok(())
}

#[test]
fn coupled_controllers_carry_a_transfer_over_two_paths() -> Result<(), Failure> {
    for congestion in [qcongestion::Algorithm::Lia, qcongestion::Algorithm::Olia, qcongestion::Algorithm::Balia] {
        let client = TransportConfig { congestion, ..TransportConfig::default() };
        let link = delay(10).at_rate(10_000_000);
        let mut pair = Pair::new(PairConfig { client, ..PairConfig::new(1, vec![link.clone(), link]) })?;
        pair.client_mut().traffic_mut().send(Unidirectional, 5_000_000);
        let took = pair.run_until_delivered(secs(20))?;
        assert!(took < ms(2_900), "{congestion:?}: {took:?}");
    }
    Ok(())
}

// ---- helpers ----

/// Both paths of 10 Mbit/s open.
fn two_paths(scheduler: Scheduler) -> Result<Pair, Failure> {
    let client = TransportConfig { scheduler, ..TransportConfig::default() };
    let link = delay(10).at_rate(10_000_000);
    let mut pair = Pair::new(PairConfig { client, ..PairConfig::new(1, vec![link.clone(), link]) })?;
    pair.run_until_confirmed(secs(1))?;
    pair.run_for(ms(200))?;
    Ok(pair)
}

/// A transfer that does not end; its stream.
fn bulk(pair: &mut Pair) -> Result<StreamId, Failure> {
    let id = pair.client_mut().traffic_mut().send(Unidirectional, 1 << 40);
    let opened = |pair: &Pair| pair.client().traffic().outgoing(id).and_then(|outgoing| outgoing.stream);
    pair.run_until(|pair| opened(pair).is_some(), secs(1))?;
    opened(pair).ok_or_else(|| Failure::new("no stream".to_owned()))
}

fn pin(pair: &mut Pair, stream: StreamId, pin: Option<(PathId, IfDead)>) {
    if let Some(connection) = pair.client_mut().connection_mut() {
        connection.pin_stream(stream, pin).unwrap();
    }
}

fn set_picker(pair: &mut Pair, picker: impl Picker + 'static) {
    if let Some(connection) = pair.client_mut().connection_mut() {
        connection.set_picker(Some(Box::new(picker)));
    }
}

fn pinned_to(pair: &mut Pair, stream: StreamId) -> Option<PathId> {
    pair.client_mut().connection_mut().and_then(|connection| connection.streams().pinned_to(stream))
}

fn set_plan(pair: &mut Pair, plan: Option<SchedulerPlan>) {
    if let Some(connection) = pair.client_mut().connection_mut() {
        connection.set_plan(plan).unwrap();
    }
}
