//! What a peer can make wait, and what is left after the end (attacks D21, L15, L26).

use qbase::{
    ErrorCode, PathId, StreamId,
    frame::{self, Fin, Frame, PathStatusKind},
    limits,
};
use qconnection::connection::{State, events::PathEventKind};
use qconnection::Event;
use qevent::DropReason;
use qsim::Failure;

use crate::common;
use common::{
    evil::{
        arena::{Arena, Setup},
        stream,
    },
    ms,
};

/// Change of status in one packet.
const PER_PACKET: u64 = 50;

#[test]
fn attack_l26_reading_pauses_while_a_thousand_events_wait_and_goes_on_when_they_are_taken() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.is_deaf = true;
    let mut sequence = 0;
    let mut flood = |arena: &mut Arena| {
        let frames: Vec<Frame<'_>> = (0..PER_PACKET)
            .map(|_| {
                sequence += 1;
                let status = if sequence % 2 == 0 { PathStatusKind::Available } else { PathStatusKind::Backup };
                Frame::PathStatus(frame::PathStatus { path: PathId::ZERO, status, sequence })
            })
            .collect();
        arena.say(&frames)
    };
    for _ in 0..100 {
        flood(&mut arena)?;
    }
    let waiting = arena.connection()?.statistics().events_waiting as u64;
    assert!((limits::EVENTS_WAITING as u64..limits::EVENTS_WAITING as u64 + PER_PACKET).contains(&waiting), "{waiting} events");
    let paused = arena.connection()?.drops().get(DropReason::EventsWaiting);
    assert!(paused > 70, "{paused} datagrams were not read");
    assert_eq!(arena.close_code(), None);
    arena.is_deaf = false;
    arena.pump()?;
    assert_eq!(arena.connection()?.statistics().events_waiting, 0);
    let told = arena.events.iter().filter(|event| matches!(event, Event::Path(event) if matches!(event.kind, PathEventKind::Status(_)))).count();
    assert_eq!(told as u64, waiting, "none was dropped");
    arena.say(&[stream(2, 0, b"goes on", Fin::Yes)])?;
    assert_eq!(arena.read(StreamId(2))?, b"goes on");
    assert_eq!(arena.connection()?.drops().get(DropReason::EventsWaiting), paused);
    Ok(())
}

#[test]
fn attack_l15_no_flood_makes_more_control_frames_wait_than_its_parts_may_owe() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let mut peak = 0;
    for round in 0..200_u64 {
        let mut frames = vec![
            Frame::PathChallenge(frame::PathChallenge { data: round.to_be_bytes() }),
            Frame::DataBlocked(frame::DataBlocked { limit: round }),
        ];
        for index in 0..10 {
            let id = (round % 10 * 10 + index) * 4;
            frames.push(Frame::StopSending(frame::StopSending { stream: StreamId(id), code: round }));
            frames.push(Frame::StreamDataBlocked(frame::StreamDataBlocked { stream: StreamId(id), limit: round }));
            frames.push(stream(id + 2, 0, &[1; 1], Fin::No));
        }
        // Nothing is acknowledged: the congestion window fills, and what is owed waits.
        arena.say(&frames)?;
        peak = peak.max(arena.connection()?.statistics().control_waiting);
    }
    assert_eq!(arena.close_code(), None);
    assert!(peak <= limits::CONTROL_FRAMES, "{peak} frames wait");
    Ok(())
}

#[test]
fn attack_d21_after_the_end_a_flood_finds_no_memory_and_few_answers() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for index in 0..20 {
        arena.say(&[stream(2 + 4 * index, 0, &[1; 1_000], Fin::No)])?;
        arena.say(&[Frame::Datagram(frame::Datagram { data: &[2; 1_000] })])?;
    }
    let now = arena.now;
    let connection = arena.connection_mut()?;
    let ours = connection.open(qbase::Direction::Unidirectional).unwrap();
    connection.write(ours, &[3; 100_000]).unwrap();
    arena.pump()?;
    assert!(arena.server.statistics().pool_bytes_used >= 20_000);
    let connection = arena.connection_mut()?;
    connection.close(now, 7, b"enough");
    arena.pump()?;
    assert_eq!(arena.connection()?.state(), State::Closing);
    let before = arena.count(|frame| matches!(frame, Frame::ConnectionClose(_)));
    for _ in 0..1_000 {
        arena.say(&[stream(2, 1_000, &[1; 1_000], Fin::No)])?;
    }
    let answers = arena.count(|frame| matches!(frame, Frame::ConnectionClose(_))) - before;
    assert!(answers <= 10, "{answers} answers to 1000 packets");
    let connection = arena.connection()?;
    assert_eq!(connection.state(), State::Closing, "3 PTO are not over");
    let (streams, all) = (connection.stream_facts().statistics(), connection.statistics());
    assert_eq!((streams.open, streams.held, streams.queued, streams.queued_again), (0, 0, 0, 0));
    assert_eq!((all.messages.waiting, all.bytes_in_flight, all.events_waiting), (0, 0, 0));
    assert_eq!(arena.server.statistics().pool_bytes_used, 0);
    arena.wait(ms(5_000))?;
    assert!(arena.connection().is_err(), "gone");
    assert_eq!(arena.server.statistics().windows_reserved, 0);
    Ok(())
}

#[test]
fn what_came_before_the_peers_close_can_be_read_after_it() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.is_deaf = true;
    let close = frame::ConnectionClose { kind: frame::CloseKind::Application, code: ErrorCode::NO_ERROR.0, reason: b"" };
    arena.say(&[stream(2, 0, b"the whole answer", Fin::Yes), Frame::ConnectionClose(close)])?;
    for _ in 0..10 {
        arena.say(&[Frame::Ping])?;
    }
    let closed = arena.connection_mut()?.poll_event();
    assert!(matches!(closed, Some(Event::Closed(_) | Event::HandshakeComplete | Event::Confirmed)), "{closed:?}");
    assert_eq!(arena.read(StreamId(2))?, b"the whole answer");
    Ok(())
}
