//! The application decides whom to let in, before anything is computed for a client (attacks L2, R5, R7).

use qbase::{ErrorCode, limits};
use qconnection::{
    Connection, RetryPolicy,
    connection::events::ClosedBy,
    endpoint::{Admission, Attempt, AttemptId, EndpointNews},
};
use qevent::DropReason;
use qsim::Failure;

use crate::common;
use common::{
    crowd::{Crowd, Ears, addresses, turned},
    ends, ms, secs,
};

/// A server that asks, and its first client.
fn asking() -> Result<Crowd, Failure> {
    let mut crowd = Crowd::new(|_| {})?;
    crowd.server.set_admission(Admission::Asked);
    Ok(crowd)
}

/// Attempts the server was told of since this was asked last.
fn attempts(crowd: &mut Crowd) -> Vec<Attempt> {
    news(crowd).into_iter().filter_map(|news| if let EndpointNews::Attempt(attempt) = news { Some(*attempt) } else { None }).collect()
}

fn news(crowd: &mut Crowd) -> Vec<EndpointNews> {
    std::iter::from_fn(|| crowd.server.poll_news()).collect()
}

/// Dials, and the attempt it makes.
fn attempt(crowd: &mut Crowd, number: u16) -> Result<(qconnection::ConnectionHandle, Attempt), Failure> {
    let handle = crowd.dial(number)?;
    crowd.pump(Ears::Open);
    let [attempt] = attempts(crowd).try_into().map_err(|other| Failure::new(format!("one attempt, not {other:?}")))?;
    Ok((handle, attempt))
}

#[test]
fn an_attempt_tells_who_asks_for_what_and_costs_no_answer() -> Result<(), Failure> {
    let mut crowd = asking()?;
    let (_, attempt) = attempt(&mut crowd, 1)?;
    assert_eq!(attempt.four_tuple, turned(addresses(1)));
    assert_eq!((attempt.server_name.as_deref(), attempt.validated), (Some(ends::NAME), false));
    assert_eq!(attempt.protocols.len(), 1);
    let statistics = crowd.server.statistics();
    assert_eq!((statistics.connections, statistics.half_open, crowd.bytes.1), (0, 1, 0), "it waits");
    Ok(())
}

#[test]
fn who_is_accepted_late_is_connected_as_if_at_once() -> Result<(), Failure> {
    let mut crowd = asking()?;
    let (client, attempt) = attempt(&mut crowd, 1)?;
    crowd.wait(secs(3), Ears::Open);
    assert!(attempts(&mut crowd).is_empty(), "what the client repeats is the same attempt");
    let now = crowd.now;
    assert!(crowd.server.accept_attempt(now, attempt.id, None).is_some());
    crowd.pump(Ears::Open);
    assert!(crowd.is_confirmed(client));
    assert!(crowd.server.accept_attempt(now, attempt.id, None).is_none(), "a second verdict finds nothing");
    assert_eq!(crowd.server.statistics().accepted, 1);
    Ok(())
}

/// attacks B5: any verdict, and any second one, at once, late, or when nobody is there any more.
#[test]
fn attack_b5_a_verdict_that_comes_twice_or_too_late_finds_nothing_and_leaves_nothing() -> Result<(), Failure> {
    type Verdict = fn(&mut Crowd, AttemptId) -> bool;
    let verdicts: [Verdict; 4] = [
        |crowd, id| crowd.server.accept_attempt(crowd.now, id, None).is_some(),
        |crowd, id| {
            crowd.server.refuse_attempt(crowd.now, id);
            false
        },
        |crowd, id| {
            crowd.server.ignore_attempt(id);
            false
        },
        |crowd, id| crowd.server.retry_attempt(crowd.now, id).is_some(),
    ];
    for (number, first) in verdicts.iter().enumerate() {
        for second in &verdicts {
            let mut crowd = asking()?;
            let (_, attempt) = attempt(&mut crowd, 1)?;
            assert_eq!(first(&mut crowd, attempt.id), number == 0);
            assert!(!second(&mut crowd, attempt.id) && !second(&mut crowd, AttemptId(attempt.id.0 + 7)), "a second verdict finds nothing");
            crowd.pump(Ears::Open);
            assert!(!second(&mut crowd, attempt.id));
        }
        // Late: nobody decided for longer than an attempt waits; and for a client that has gone meanwhile.
        for wait in [secs(6), secs(4)] {
            let mut crowd = asking()?;
            let (_, attempt) = attempt(&mut crowd, 1)?;
            crowd.wait(wait, Ears::Deaf);
            first(&mut crowd, attempt.id);
            crowd.wait(secs(60), Ears::Deaf);
            let left = crowd.server.statistics();
            assert_eq!((left.connections, left.half_open, left.routes, left.pool_bytes_used, left.windows_reserved), (0, 0, 0, 0, 0), "verdict {number} after {wait:?}");
        }
    }
    Ok(())
}

#[test]
fn who_is_refused_hears_so_at_once_and_again() -> Result<(), Failure> {
    let mut crowd = asking()?;
    let (client, attempt) = attempt(&mut crowd, 1)?;
    let first = crowd.heard.first().cloned();
    let now = crowd.now;
    crowd.server.refuse_attempt(now, attempt.id);
    crowd.pump(Ears::Open);
    let end = crowd.ends.iter().find(|(handle, _)| *handle == client).map(|(_, end)| (end.by, end.code));
    assert_eq!(end, Some((ClosedBy::Peer, ErrorCode::CONNECTION_REFUSED.0)));
    assert!(matches!(news(&mut crowd).as_slice(), [EndpointNews::Refused { remote, .. }] if *remote == addresses(1).local));
    let (four_tuple, bytes) = first.ok_or_else(|| Failure::new("nothing was sent".to_owned()))?;
    crowd.deliver(four_tuple, &bytes);
    assert_eq!((crowd.server.statistics().half_open, crowd.server.statistics().refused), (0, 2));
    Ok(())
}

#[test]
fn who_is_ignored_hears_nothing_however_often_it_asks() -> Result<(), Failure> {
    let mut crowd = asking()?;
    let (client, attempt) = attempt(&mut crowd, 1)?;
    crowd.server.ignore_attempt(attempt.id);
    crowd.wait(secs(20), Ears::Open);
    assert!(news(&mut crowd).is_empty());
    assert_eq!((crowd.bytes.1, crowd.server.statistics().half_open), (0, 0));
    assert!(crowd.drops(DropReason::Refused) > 1);
    assert_eq!(crowd.ends.iter().find(|(handle, _)| *handle == client).map(|(_, end)| end.by), Some(ClosedBy::HandshakeTimeout));
    Ok(())
}

/// A lost Retry is sent again, and one who has proved its address is not asked for more.
#[test]
fn who_must_prove_its_address_comes_again_validated() -> Result<(), Failure> {
    let mut crowd = asking()?;
    let (client, first) = attempt(&mut crowd, 1)?;
    let now = crowd.now;
    assert!(crowd.server.retry_attempt(now, first.id).is_none());
    crowd.pump(Ears::Deaf);
    assert!(matches!(news(&mut crowd).as_slice(), [EndpointNews::Retried { .. }]));
    crowd.wait(secs(4), Ears::Open);
    let again = attempts(&mut crowd);
    assert_eq!(again.iter().map(|attempt| attempt.validated).collect::<Vec<_>>(), [true]);
    let (now, id) = (crowd.now, again.first().map_or(AttemptId(0), |attempt| attempt.id));
    assert!(crowd.server.retry_attempt(now, id).is_some(), "it is let in");
    crowd.pump(Ears::Open);
    assert!(crowd.is_confirmed(client));
    assert!(crowd.clients.connection(client).is_some_and(Connection::used_retry));
    Ok(())
}

/// attacks L2.
#[test]
fn attack_l2_attempts_that_nobody_decides_are_refused_after_five_seconds() -> Result<(), Failure> {
    let mut crowd = asking()?;
    let (_, attempt) = attempt(&mut crowd, 1)?;
    crowd.wait(limits::ATTEMPT_PATIENCE - ms(1), Ears::Open);
    assert_eq!(crowd.server.statistics().half_open, 1);
    crowd.wait(ms(2), Ears::Open);
    assert_eq!(crowd.server.statistics().half_open, 0);
    assert!(news(&mut crowd).contains(&EndpointNews::AttemptOver(attempt.id)));
    let (now, id) = (crowd.now, attempt.id);
    assert!(crowd.server.accept_attempt(now, id, None).is_none(), "a late verdict changes nothing");
    Ok(())
}

/// attacks L2, attacks R5.
#[test]
fn attack_l2_waiting_attempts_count_as_half_open_and_are_bounded() -> Result<(), Failure> {
    let mut crowd = asking()?;
    for number in 0..64 {
        crowd.dial(number)?;
    }
    crowd.pump(Ears::Deaf);
    assert_eq!((crowd.server.statistics().half_open, crowd.server.statistics().retries), (64, 0));
    crowd.dial(64)?;
    crowd.pump(Ears::Deaf);
    assert_eq!((crowd.server.statistics().half_open, crowd.server.statistics().retries), (64, 1), "the next proves its address");
    let mut crowd = Crowd::new(|server| server.retry = RetryPolicy::Never)?;
    crowd.server.set_admission(Admission::Asked);
    for number in 0..1_100 {
        crowd.dial(number)?;
    }
    crowd.pump(Ears::Deaf);
    assert_eq!(crowd.server.statistics().half_open, limits::HALF_OPEN_MAX as u64);
    assert_eq!(attempts(&mut crowd).len(), limits::HALF_OPEN_MAX);
    crowd.wait(limits::ATTEMPT_PATIENCE * 5, Ears::Deaf);
    let statistics = crowd.server.statistics();
    assert_eq!((statistics.half_open, statistics.connections, statistics.routes), (0, 0, 0), "nothing stays");
    Ok(())
}

/// attacks L2: of one attempt eight datagrams are kept.
#[test]
fn attack_l2_a_client_that_repeats_itself_is_kept_eight_times_at_most() -> Result<(), Failure> {
    let mut crowd = asking()?;
    let (_, attempt) = attempt(&mut crowd, 1)?;
    let (four_tuple, bytes) = crowd.heard.first().cloned().ok_or_else(|| Failure::new("nothing was sent".to_owned()))?;
    for _ in 1..limits::ATTEMPT_DATAGRAMS {
        crowd.deliver(four_tuple, &bytes);
    }
    assert_eq!(crowd.drops(DropReason::QueueFull), 0);
    crowd.deliver(four_tuple, &bytes);
    assert_eq!(crowd.drops(DropReason::QueueFull), 1);
    let now = crowd.now;
    assert!(crowd.server.accept_attempt(now, attempt.id, None).is_some());
    Ok(())
}

/// attacks R7.
#[test]
fn attack_r7_a_forged_first_packet_is_no_attempt() -> Result<(), Failure> {
    let mut crowd = asking()?;
    crowd.dial(1)?;
    crowd.pump(Ears::Deaf);
    let (four_tuple, mut bytes) = crowd.heard.first().cloned().ok_or_else(|| Failure::new("nothing was sent".to_owned()))?;
    crowd.server.set_admission(Admission::Asked);
    // Another DCID: other keys than those that sealed it.
    bytes.iter_mut().skip(6).take(1).for_each(|byte| *byte ^= 1);
    attempts(&mut crowd);
    crowd.deliver(four_tuple, &bytes);
    assert!(attempts(&mut crowd).is_empty());
    assert_eq!((crowd.server.statistics().half_open, crowd.drops(DropReason::Undecryptable)), (1, 1));
    Ok(())
}

#[test]
fn nobody_is_asked_where_all_are_welcome() -> Result<(), Failure> {
    let mut crowd = asking()?;
    crowd.server.set_admission(Admission::Open);
    let client = crowd.dial(1)?;
    crowd.pump(Ears::Open);
    assert!(crowd.is_confirmed(client) && news(&mut crowd).is_empty());
    Ok(())
}
