//! ECN over links that mark, clear, change and drop marks (RFC 9000 §13.4, RFC 9002 §7.1, burst B-57).

use qbase::{
    Direction::Unidirectional, Ecn, EncryptionLevel, PathId, Role, Writer,
    frame::{EcnCounts, Frame, PathStatusKind, ack},
};
use qconnection::{Connection, PathView, TransportConfig, path::EcnState};
use qevent::{Event, TraceMask};
use qsim::{Directions, EcnTreatment, Failure, LinkDirection, LinkShape, Pair, PairConfig, Queue, script::{Action, When}};

use crate::common;
use common::{
    FIRST, SECOND, delay,
    ends::failure,
    evil::arena::{Arena, Setup},
    for_each_seed, ms, secs,
};

fn treating(ecn: EcnTreatment) -> LinkShape {
    LinkShape { ecn, ..delay(10).at_rate(20_000_000) }
}

fn view(pair: &Pair, role: Role, path: u32) -> Option<PathView> {
    pair.host(role).connection()?.paths().find(|view| view.id == PathId(path))
}

fn state(pair: &Pair, role: Role, path: u32) -> Option<EcnState> {
    view(pair, role, path).map(|view| view.ecn)
}

#[test]
fn both_ends_of_a_clean_path_find_it_capable() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![treating(EcnTreatment::Pass)]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.server_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.run_until_delivered(secs(10))?;
    for role in [Role::Client, Role::Server] {
        assert_eq!(state(&pair, role, 0), Some(EcnState::Capable), "{role:?}");
    }
    Ok(())
}

/// Shows 9002-7.3.1-1.
#[test]
fn marks_slow_a_sender_down_before_the_queue_overflows() -> Result<(), Failure> {
    let transfer = |ecn| {
        let shape = LinkShape { queue: Queue::TailDrop { bytes: 100_000 }, ..treating(ecn) };
        // Longer round trips would end slow start, too.
        let client = TransportConfig { hystart: false, ..TransportConfig::default() };
        // Nor may flow control.
        let server = TransportConfig { stream_window: 1 << 20, connection_window: 4 << 20, ..TransportConfig::default() };
        let mut pair = Pair::new(PairConfig { client, server, ..PairConfig::new(1, vec![shape]) })?;
        pair.client_mut().traffic_mut().send(Unidirectional, 8_000_000);
        let time = pair.run_until_delivered(secs(20))?;
        let link = pair.network().statistics(FIRST, LinkDirection::AToB);
        let marks = view(&pair, Role::Client, 0).map_or(0, |view| view.congestion_marks);
        Ok::<_, Failure>((time, link, marks))
    };
    let (marked_time, marked, told) = transfer(EcnTreatment::Mark)?;
    let (_, dropped, _) = transfer(EcnTreatment::Pass)?;
    assert!(dropped.queue_full > 0, "without marks the queue must overflow: {dropped:?}");
    assert!(marked.marked > 10 && told > 10 && told <= marked.marked, "{} marks, {told} told", marked.marked);
    assert!(marked.queue_full * 3 < dropped.queue_full, "{} and {} drops", marked.queue_full, dropped.queue_full);
    assert!(marked_time < ms(4_200), "8 MB take 3.2 s at least: {marked_time:?}");
    Ok(())
}

/// Shows 9000-13.4.2.2-1.
#[test]
fn networks_that_clear_or_change_marks_are_found_out_and_lose_nothing() -> Result<(), Failure> {
    for treatment in [EcnTreatment::Bleach, EcnTreatment::Remark, EcnTreatment::MarkAll] {
        for_each_seed(0..8, |seed| {
            let mut pair = Pair::new(PairConfig::new(seed, vec![treating(treatment).with_loss(0.01 * (seed % 3) as f64)]))?;
            pair.client_mut().traffic_mut().send(Unidirectional, 500_000);
            pair.run_until_delivered(secs(20))?;
            assert_eq!(state(&pair, Role::Client, 0), Some(EcnState::Failed), "{treatment:?}, seed {seed}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_network_that_drops_marked_packets_costs_a_few_timeouts_and_no_connection() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![treating(EcnTreatment::Drop)]))?;
    pair.run_until_confirmed(secs(6))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 500_000);
    pair.server_mut().traffic_mut().send(Unidirectional, 500_000);
    let time = pair.run_until_delivered(secs(10))?;
    assert!(time < secs(3), "{time:?} for 0.2 s of data");
    for role in [Role::Client, Role::Server] {
        assert_eq!(state(&pair, role, 0), Some(EcnState::Failed), "{role:?}");
    }
    Ok(())
}

#[test]
fn a_network_that_begins_to_drop_marked_packets_stalls_a_transfer_for_a_second_at_most() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![treating(EcnTreatment::Pass)]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
    pair.plan(When::Received(Role::Server, 500_000), Action::Set(FIRST, Box::new(treating(EcnTreatment::Drop)), Directions::Both));
    let time = pair.run_until_delivered(secs(20))?;
    assert!(time < ms(3_000), "{time:?} for 0.8 s of data");
    assert_eq!(state(&pair, Role::Client, 0), Some(EcnState::Failed));
    Ok(())
}

#[test]
fn ecn_survives_loss_reordering_and_duplicates_on_a_path_that_carries_it() -> Result<(), Failure> {
    for_each_seed(0..32, |seed| {
        let shape = LinkShape {
            duplicate: 0.1,
            jitter: ms(seed % 7),
            reorder: Some(qsim::Reorder { probability: 0.1, by: ms(5) }),
            ..treating(EcnTreatment::Mark)
        };
        let mut pair = Pair::new(PairConfig::new(seed, vec![shape.with_loss(0.02)]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 500_000);
        pair.run_until_delivered(secs(60))?;
        assert_eq!(state(&pair, Role::Client, 0), Some(EcnState::Capable), "seed {seed}");
        Ok(())
    })
}

/// multipath MP-39.
#[test]
fn each_path_is_judged_by_itself() -> Result<(), Failure> {
    let links = vec![treating(EcnTreatment::Pass), treating(EcnTreatment::Bleach)];
    let mut pair = Pair::new(PairConfig::new(1, links))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 6_000_000);
    pair.run_until_delivered(secs(20))?;
    assert_eq!(state(&pair, Role::Client, 0), Some(EcnState::Capable));
    assert_eq!(state(&pair, Role::Client, 1), Some(EcnState::Failed));
    Ok(())
}

#[test]
fn a_handshake_over_several_pairs_counts_marks_right_whichever_copy_arrives() -> Result<(), Failure> {
    let links = vec![treating(EcnTreatment::Pass), treating(EcnTreatment::Pass)];
    let mut pair = Pair::new(PairConfig { client: TransportConfig { handshake: qconnection::HandshakeMode::Stagger(ms(50)), ..TransportConfig::default() }, ..PairConfig::new(1, links) })?;
    pair.cut(FIRST);
    pair.run_until_confirmed(secs(5))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.run_until_delivered(secs(10))?;
    assert_eq!(state(&pair, Role::Client, 0), Some(EcnState::Capable));
    Ok(())
}

/// Shows 9000-13.4.1-1.
#[test]
fn an_end_that_sets_no_marks_still_counts_those_of_the_other() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig {
        client: TransportConfig { ecn: false, ..TransportConfig::default() },
        ..PairConfig::new(1, vec![treating(EcnTreatment::Mark)])
    })?;
    pair.client_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.server_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.run_until_delivered(secs(10))?;
    let link = pair.network().statistics(FIRST, LinkDirection::AToB);
    assert_eq!((state(&pair, Role::Client, 0), link.marked), (Some(EcnState::Failed), 0));
    assert_eq!(state(&pair, Role::Server, 0), Some(EcnState::Capable));
    Ok(())
}

/// Shows burst B-57.
#[test]
fn all_segments_of_a_burst_carry_one_mark_and_the_trace_tells_it() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![treating(EcnTreatment::Pass)]))?;
    pair.run_until_confirmed(secs(1))?;
    if let Some(connection) = pair.client_mut().connection_mut() {
        connection.set_trace(TraceMask::BURSTS);
    }
    pair.client_mut().traffic_mut().send(Unidirectional, 200_000);
    pair.run_until_delivered(secs(5))?;
    let trace = |connection: &mut Connection| std::iter::from_fn(|| connection.poll_trace()).collect::<Vec<_>>();
    let records = pair.client_mut().connection_mut().map(trace).unwrap_or_default();
    let marks: Vec<Ecn> = records
        .iter()
        .filter_map(|record| match &record.event {
            Event::BurstSent(burst) => Some(burst.ecn),
            _ => None,
        })
        .collect();
    assert!(marks.iter().filter(|mark| **mark == Ecn::Ect0).count() * 2 > marks.len(), "{marks:?}");
    Ok(())
}

#[test]
fn a_path_opened_later_is_tested_by_itself() -> Result<(), Failure> {
    let links = vec![treating(EcnTreatment::Bleach), treating(EcnTreatment::Pass)];
    let mut pair = Pair::new(PairConfig { paths: qsim::Paths::First, ..PairConfig::new(1, links) })?;
    pair.client_mut().traffic_mut().send(Unidirectional, 200_000);
    pair.run_until_delivered(secs(5))?;
    assert_eq!(state(&pair, Role::Client, 0), Some(EcnState::Failed));
    pair.open_path(SECOND, PathStatusKind::Available)?;
    pair.client_mut().traffic_mut().send(Unidirectional, 6_000_000);
    pair.run_until_delivered(secs(20))?;
    assert_eq!(state(&pair, Role::Client, 1), Some(EcnState::Capable));
    Ok(())
}

/// attacks C7: lies of the peer end marking on that path and nothing else.
#[test]
fn attack_c7_lies_about_marks_disable_ecn_on_one_path_and_close_nothing() -> Result<(), Failure> {
    let lies: [fn(u64) -> Option<EcnCounts>; 5] = [
        |_| None,
        |_| Some(EcnCounts { ect0: 0, ect1: 0, ce: 0 }),
        |sent| Some(EcnCounts { ect0: 0, ect1: sent, ce: 0 }),
        |sent| Some(EcnCounts { ect0: sent, ect1: 0, ce: u64::MAX >> 2 }),
        |sent| Some(EcnCounts { ect0: u64::MAX >> 2, ect1: 0, ce: sent }),
    ];
    for lie in lies {
        let mut arena = Arena::new(&Setup::single_path())?;
        let stream = arena.connection_mut()?.open(Unidirectional).ok_or_else(|| Failure::new("no credit".to_owned()))?;
        arena.connection_mut()?.write(stream, &[7; 5_000]).map_err(failure)?;
        arena.pump()?;
        let numbers = arena.evil.numbers.get(&PathId::ZERO).cloned().unwrap_or_default();
        let largest = numbers.last().copied().unwrap_or_default();
        let first = numbers.first().copied().unwrap_or_default();
        let mut bytes = vec![0; 200];
        let mut writer = Writer::new(&mut bytes);
        ack::write(&mut writer, None, [first..=largest].into_iter(), 0, lie(numbers.len() as u64), 200);
        let len = writer.len();
        arena.send_bytes(EncryptionLevel::OneRtt, &bytes[..len])?;
        assert_eq!(arena.close_code(), None);
        assert_eq!(arena.connection()?.paths().next().map(|view| view.ecn), Some(EcnState::Failed));
        arena.say(&[Frame::Ping])?;
    }
    Ok(())
}

/// attacks C7: a peer that calls everything CE slows its own transfer to the least window; the connection lives.
#[test]
fn attack_c7_a_peer_that_reports_every_packet_as_marked_slows_only_itself() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    let stream = arena.connection_mut()?.open(Unidirectional).ok_or_else(|| Failure::new("no credit".to_owned()))?;
    let mut acked = 0;
    for _ in 0..40 {
        arena.connection_mut()?.write(stream, &[7; 20_000]).map_err(failure)?;
        arena.pump()?;
        let largest = arena.evil.numbers.get(&PathId::ZERO).and_then(|numbers| numbers.last().copied()).unwrap_or_default();
        if largest > acked {
            let mut bytes = vec![0; 200];
            let mut writer = Writer::new(&mut bytes);
            let counts = EcnCounts { ect0: 0, ect1: 0, ce: arena.evil.numbers.values().map(|numbers| numbers.len() as u64).sum() };
            ack::write(&mut writer, None, [largest..=largest].into_iter(), 0, Some(counts), 200);
            let len = writer.len();
            arena.send_bytes(EncryptionLevel::OneRtt, &bytes[..len])?;
            acked = largest;
        }
        arena.wait(ms(20))?;
    }
    let view = arena.connection()?.paths().next().ok_or_else(|| Failure::new("no path".to_owned()))?;
    assert_eq!(arena.close_code(), None);
    assert!(view.congestion_window >= 2_400, "{view:?}");
    Ok(())
}
