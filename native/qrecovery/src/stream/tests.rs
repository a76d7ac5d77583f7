//! State tables of RFC 9000 §3 and of mux §4.

use super::*;
use qbase::{ErrorCode, frame::Fin};

/// What can happen to a sending part.
#[derive(Clone, Copy, Debug)]
enum SendStep {
    Sent,
    SentFin,
    AllAcked,
    Reset(u64),
    ResetSent,
    ResetAcked,
}

fn send_after(steps: &[SendStep]) -> SendState {
    let mut state = SendState::default();
    for step in steps {
        match *step {
            SendStep::Sent => state.on_sent(Fin::No),
            SendStep::SentFin => state.on_sent(Fin::Yes),
            SendStep::AllAcked => {
                state.on_all_acked();
            }
            SendStep::Reset(code) => {
                state.reset(Abort { code, by: Origin::Local });
            }
            SendStep::ResetSent => state.on_reset_sent(),
            SendStep::ResetAcked => state.on_reset_acked(),
        }
    }
    state
}

#[test]
fn sending_parts_follow_the_machine_of_rfc_9000_3_1() {
    use SendPhase as P;
    use SendStep::{AllAcked, Reset, ResetAcked, ResetSent, Sent, SentFin};
    let cases: [(&[SendStep], SendPhase); 14] = [
        (&[], P::Ready),
        (&[Sent], P::Send),
        (&[SentFin], P::DataSent),
        (&[Sent, SentFin, Sent], P::DataSent),
        (&[Sent, AllAcked], P::Send),
        (&[SentFin, AllAcked], P::DataRecvd),
        (&[Reset(1)], P::Ready),
        (&[Sent, Reset(1)], P::Send),
        (&[Reset(1), ResetSent], P::ResetSent),
        (&[SentFin, Reset(1), ResetSent], P::ResetSent),
        (&[SentFin, Reset(1), AllAcked], P::DataSent),
        (&[Sent, Reset(1), ResetSent, ResetAcked], P::ResetRecvd),
        (&[SentFin, AllAcked, Reset(1), ResetSent], P::DataRecvd),
        (&[ResetSent, ResetAcked], P::Ready),
    ];
    for (steps, phase) in cases {
        assert_eq!(send_after(steps).phase(), phase, "{steps:?}");
    }
}

/// mux R30, R35.
#[test]
fn a_reset_is_owed_once_and_the_first_code_wins() {
    let mut state = send_after(&[SendStep::Sent]);
    assert_eq!(state.reset(Abort { code: 1, by: Origin::Local }), Effect::Changed);
    assert_eq!(state.reset(Abort { code: 2, by: Origin::Peer }), Effect::Nothing);
    assert!(state.owes_reset());
    state.on_reset_sent();
    assert!(!state.owes_reset());
    assert_eq!(state.reset(Abort { code: 3, by: Origin::Peer }), Effect::Nothing);
    assert_eq!(state.abort(), Some(Abort { code: 1, by: Origin::Local }));
    assert_eq!(state.on_reset_lost(), Effect::Changed);
    state.on_reset_acked();
    assert_eq!(state.on_reset_lost(), Effect::Nothing);
}

/// mux R32, attacks D14.
#[test]
fn a_reset_after_everything_arrived_is_nothing() {
    let mut state = send_after(&[SendStep::SentFin, SendStep::AllAcked]);
    assert_eq!(state.reset(Abort { code: 1, by: Origin::Peer }), Effect::Nothing);
    assert_eq!((state.abort(), state.is_terminal()), (None, true));
}

/// What can happen to a receiving part.
#[derive(Clone, Copy, Debug)]
enum RecvStep {
    Bytes(u64),
    Fin(u64),
    AllReceived,
    AllRead,
    Reset(u64),
    ResetTold,
    Stop,
    StopSent,
    StopAcked,
}

fn recv_after(steps: &[RecvStep]) -> Result<RecvState, ErrorCode> {
    let mut state = RecvState::default();
    for step in steps {
        match *step {
            RecvStep::Bytes(end) => state.on_stream(end, Fin::No).map_err(|error| error.code)?,
            RecvStep::Fin(end) => state.on_stream(end, Fin::Yes).map_err(|error| error.code)?,
            RecvStep::AllReceived => state.on_all_received(),
            RecvStep::AllRead => state.on_all_read(),
            RecvStep::Reset(size) => {
                state.on_reset(77, size).map_err(|error| error.code)?;
            }
            RecvStep::ResetTold => state.on_reset_told(),
            RecvStep::Stop => {
                state.stop(88);
            }
            RecvStep::StopSent => state.on_stop_sent(),
            RecvStep::StopAcked => state.on_stop_acked(),
        }
    }
    Ok(state)
}

#[test]
fn receiving_parts_follow_the_machine_of_rfc_9000_3_2() {
    use RecvPhase as P;
    use RecvStep::{AllRead, AllReceived, Bytes, Fin, Reset, ResetTold, Stop, StopAcked, StopSent};
    let cases: [(&[RecvStep], RecvPhase); 18] = [
        (&[], P::Recv),
        (&[Bytes(5)], P::Recv),
        (&[Bytes(5), AllReceived], P::Recv),
        (&[Fin(5)], P::SizeKnown),
        (&[Fin(5), Bytes(5), Fin(5)], P::SizeKnown),
        (&[Fin(5), AllRead], P::SizeKnown),
        (&[Fin(5), AllReceived], P::DataRecvd),
        (&[Fin(5), AllReceived, Reset(5)], P::DataRecvd),
        (&[Fin(5), AllReceived, AllRead], P::DataRead),
        (&[Reset(5)], P::ResetRecvd),
        (&[Fin(5), Reset(5), AllReceived], P::ResetRecvd),
        (&[Reset(5), ResetTold], P::ResetRead),
        (&[Stop], P::Recv),
        (&[Stop, StopSent, StopAcked, Fin(5)], P::DataRead),
        (&[Stop, StopSent, Fin(5)], P::SizeKnown),
        (&[Stop, StopSent, Fin(5), StopAcked], P::DataRead),
        (&[Stop, Reset(5)], P::ResetRead),
        (&[Fin(5), AllReceived, Stop], P::DataRead),
    ];
    for (steps, phase) in cases {
        assert_eq!(recv_after(steps).map(|state| state.phase()), Ok(phase), "{steps:?}");
    }
}

/// attacks D6.
#[test]
fn a_final_size_never_changes_and_is_never_below_bytes_received() {
    use RecvStep::{AllRead, AllReceived, Bytes, Fin, Reset, ResetTold, Stop};
    let cases: [&[RecvStep]; 11] = [
        &[Fin(5), Fin(6)],
        &[Fin(5), Fin(4)],
        &[Fin(5), Bytes(6)],
        &[Bytes(5), Fin(4)],
        &[Bytes(5), Reset(4)],
        &[Fin(5), Reset(6)],
        &[Reset(5), Reset(6)],
        &[Reset(5), Fin(4)],
        &[Reset(5), ResetTold, Bytes(6)],
        &[Fin(5), AllReceived, AllRead, Reset(4)],
        &[Stop, Fin(5), Bytes(6)],
    ];
    for steps in cases {
        assert_eq!(recv_after(steps).err(), Some(ErrorCode::FINAL_SIZE_ERROR), "{steps:?}");
    }
}

#[test]
fn the_furthest_byte_and_the_final_size_are_what_credit_counts() {
    let mut state = recv_after(&[RecvStep::Bytes(10), RecvStep::Bytes(4)]).unwrap();
    assert_eq!((state.highest(), state.growth(12), state.growth(9)), (10, 2, 0));
    assert_eq!(state.final_size(), None);
    state.on_reset(1, 30).unwrap();
    assert_eq!((state.highest(), state.final_size(), state.reset_code()), (30, Some(30), Some(1)));
}

#[test]
fn stop_sending_is_owed_once_and_only_while_bytes_may_come() {
    use RecvStep::{AllRead, AllReceived, Fin, Reset, Stop, StopSent};
    let cases: [(&[RecvStep], bool); 8] = [
        (&[Stop], true),
        (&[Fin(5), Stop], true),
        (&[Stop, StopSent, Stop], false),
        (&[Stop, Reset(0)], false),
        (&[Fin(5), AllReceived, Stop], false),
        (&[Fin(5), AllReceived, AllRead, Stop], false),
        (&[Reset(5), Stop], false),
        (&[], false),
    ];
    for (steps, owed) in cases {
        assert_eq!(recv_after(steps).unwrap().owes_stop(), owed, "{steps:?}");
    }
    let mut state = recv_after(&[Stop]).unwrap();
    assert_eq!((state.stop(99), state.stop_code()), (Effect::Nothing, Some(88)), "the first code wins");
    assert!(state.is_discarding());
}

/// mux §4.
#[test]
fn one_word_sums_up_both_parts() {
    use RecvStep::{AllRead, AllReceived, Bytes, Fin as FinIn, Stop, StopSent};
    use SendStep::{AllAcked, Reset, ResetAcked, ResetSent, Sent, SentFin};
    let cases: [(&[SendStep], &[RecvStep], Summary); 13] = [
        (&[], &[], Summary::Idle),
        (&[Sent], &[], Summary::Open),
        (&[], &[Bytes(1)], Summary::Open),
        (&[SentFin], &[], Summary::HalfLocal),
        (&[SentFin, AllAcked], &[Bytes(1)], Summary::HalfLocal),
        (&[Sent], &[FinIn(1)], Summary::HalfRemote),
        (&[Reset(1)], &[], Summary::Error),
        (&[Sent], &[Stop], Summary::Error),
        (&[Reset(1), ResetSent], &[Stop], Summary::Error),
        (&[Reset(1), ResetSent], &[Stop, StopSent], Summary::Reset),
        (&[Reset(1), ResetSent, ResetAcked], &[], Summary::Reset),
        (&[SentFin, AllAcked], &[FinIn(1), AllReceived, AllRead], Summary::Closed),
        (&[Reset(1), ResetSent, ResetAcked], &[FinIn(1), AllReceived, AllRead], Summary::Closed),
    ];
    for (send, recv, summary) in cases {
        let (send_state, recv_state) = (send_after(send), recv_after(recv).unwrap());
        assert_eq!(Summary::of(Some(&send_state), Some(&recv_state)), summary, "{send:?} {recv:?}");
    }
    assert_eq!(Summary::of(None, Some(&RecvState::default())), Summary::Idle);
    assert_eq!(Summary::of(Some(&send_after(&[SentFin, AllAcked])), None), Summary::Closed);
}

/// Every event in every state of a sending part; ERROR of mux §4 is a state of its own.
#[test]
fn attack_h11_every_event_in_every_state_of_a_sending_part() {
    use SendPhase as P;
    use SendStep::{AllAcked, Reset, ResetAcked, ResetSent, Sent, SentFin};
    let events = [Sent, SentFin, AllAcked, Reset(2), ResetSent, ResetAcked];
    // The phase after each of them; `true`: a reset is owed.
    type Cells = [(SendPhase, bool); 6];
    let rows: [(&[SendStep], Cells); 9] = [
        (&[], [(P::Send, false), (P::DataSent, false), (P::Ready, false), (P::Ready, true), (P::Ready, false), (P::Ready, false)]),
        (&[Sent], [(P::Send, false), (P::DataSent, false), (P::Send, false), (P::Send, true), (P::Send, false), (P::Send, false)]),
        (&[SentFin], [(P::DataSent, false), (P::DataSent, false), (P::DataRecvd, false), (P::DataSent, true), (P::DataSent, false), (P::DataSent, false)]),
        (&[Reset(1)], [(P::Ready, true), (P::Ready, true), (P::Ready, true), (P::Ready, true), (P::ResetSent, false), (P::Ready, true)]),
        (&[Sent, Reset(1)], [(P::Send, true), (P::Send, true), (P::Send, true), (P::Send, true), (P::ResetSent, false), (P::Send, true)]),
        (&[SentFin, Reset(1)], [(P::DataSent, true), (P::DataSent, true), (P::DataSent, true), (P::DataSent, true), (P::ResetSent, false), (P::DataSent, true)]),
        (&[Sent, Reset(1), ResetSent], [(P::ResetSent, false), (P::ResetSent, false), (P::ResetSent, false), (P::ResetSent, false), (P::ResetSent, false), (P::ResetRecvd, false)]),
        (&[SentFin, AllAcked], [(P::DataRecvd, false); 6]),
        (&[Sent, Reset(1), ResetSent, ResetAcked], [(P::ResetRecvd, false); 6]),
    ];
    for (steps, cells) in rows {
        for (event, cell) in events.into_iter().zip(cells) {
            let after = send_after(&[steps, &[event]].concat());
            assert_eq!((after.phase(), after.owes_reset()), cell, "{steps:?}, then {event:?}");
            if steps.iter().any(|step| matches!(step, Reset(_))) {
                assert_eq!(after.abort().map(|abort| abort.code), Some(1), "the first code wins");
            }
        }
    }
}

/// Every event in every state of a receiving part that was not stopped; the final size is 5, and so are bytes. `None`:
/// FINAL_SIZE_ERROR.
#[test]
fn attack_h11_every_event_in_every_state_of_a_receiving_part() {
    use RecvPhase as P;
    use RecvStep::{AllRead, AllReceived, Bytes, Fin, Reset, ResetTold, Stop};
    let events = [Bytes(5), Bytes(6), Fin(5), Fin(6), AllReceived, AllRead, Reset(5), Reset(6), ResetTold, Stop];
    type Cells = [Option<RecvPhase>; 10];
    let same = |phase, stopped| -> Cells {
        let phase = Some(phase);
        [phase, None, phase, None, phase, phase, phase, None, phase, Some(stopped)]
    };
    let rows: [(&[RecvStep], Cells); 6] = [
        (&[Bytes(5)], [
            Some(P::Recv), Some(P::Recv), Some(P::SizeKnown), Some(P::SizeKnown), Some(P::Recv), Some(P::Recv),
            Some(P::ResetRecvd), Some(P::ResetRecvd), Some(P::Recv), Some(P::Recv),
        ]),
        (&[Fin(5)], [
            Some(P::SizeKnown), None, Some(P::SizeKnown), None, Some(P::DataRecvd), Some(P::SizeKnown),
            Some(P::ResetRecvd), None, Some(P::SizeKnown), Some(P::SizeKnown),
        ]),
        (&[Fin(5), AllReceived], {
            let mut cells = same(P::DataRecvd, P::DataRead);
            cells[5] = Some(P::DataRead);
            cells
        }),
        (&[Fin(5), AllReceived, AllRead], same(P::DataRead, P::DataRead)),
        (&[Reset(5)], {
            let mut cells = same(P::ResetRecvd, P::ResetRead);
            cells[8] = Some(P::ResetRead);
            cells
        }),
        (&[Reset(5), ResetTold], same(P::ResetRead, P::ResetRead)),
    ];
    for (steps, cells) in rows {
        for (event, cell) in events.into_iter().zip(cells) {
            let after = recv_after(&[steps, &[event]].concat()).map(|state| state.phase());
            assert_eq!(after, cell.ok_or(ErrorCode::FINAL_SIZE_ERROR), "{steps:?}, then {event:?}");
        }
    }
}

/// The same for a part we stopped: every way leads to an end, and nothing is read.
#[test]
fn attack_h11_every_event_in_every_state_of_a_stopped_part() {
    use RecvPhase as P;
    use RecvStep::{AllRead, AllReceived, Bytes, Fin, Reset, ResetTold, Stop, StopAcked, StopSent};
    let events = [Bytes(5), Fin(5), AllReceived, AllRead, Reset(5), ResetTold, Stop, StopSent, StopAcked];
    // The phase after each of them; `true`: STOP_SENDING is owed.
    type Cells = [(RecvPhase, bool); 9];
    let owed = |phase, last: (RecvPhase, bool)| -> Cells {
        let (phase, sent) = ((phase, true), (phase, false));
        [phase, (P::SizeKnown, true), phase, phase, (P::ResetRead, false), phase, phase, sent, last]
    };
    let told = |phase: RecvPhase, fin: RecvPhase, acked: RecvPhase| -> Cells {
        let cell = (phase, false);
        [cell, (fin, false), cell, cell, (P::ResetRead, false), cell, cell, cell, (acked, false)]
    };
    let rows: [(&[RecvStep], Cells); 6] = [
        (&[Stop], owed(P::Recv, (P::Recv, true))),
        (&[Fin(5), Stop], owed(P::SizeKnown, (P::SizeKnown, true))),
        (&[Stop, StopSent], told(P::Recv, P::SizeKnown, P::Recv)),
        (&[Fin(5), Stop, StopSent], told(P::SizeKnown, P::SizeKnown, P::DataRead)),
        (&[Stop, StopSent, StopAcked], told(P::Recv, P::DataRead, P::Recv)),
        (&[Stop, Reset(5)], [(P::ResetRead, false); 9]),
    ];
    for (steps, cells) in rows {
        for (event, cell) in events.into_iter().zip(cells) {
            let after = recv_after(&[steps, &[event]].concat()).unwrap();
            assert_eq!((after.phase(), after.owes_stop()), cell, "{steps:?}, then {event:?}");
        }
    }
}
