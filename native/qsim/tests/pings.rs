//! Round-trip times that the application asks for.

use std::time::Duration;

use qbase::{PathId, limits};
use qconnection::{Connection, Event, connection::PingError};
use qsim::{Failure, LossModel, Pair, PairConfig};

use crate::common;
use common::{delay, for_each_seed, ms, secs};

/// Asks, and answers the ping's id.
fn ping(pair: &mut Pair, path: Option<u32>) -> Result<u64, PingError> {
    let now = pair.now();
    let connection = pair.client_mut().connection_mut().ok_or(PingError::Closed)?;
    connection.ping_path(now, path.map(PathId))
}

fn answers(pair: &Pair) -> Vec<(u64, u32, Duration)> {
    let pong = |event: &Event| match event {
        Event::Pong { id, path, rtt } => Some((*id, path.0, *rtt)),
        _ => None,
    };
    pair.client().news().iter().filter_map(|(_, event)| pong(event)).collect()
}

/// Two paths in use, of 20 and of 60 milliseconds.
fn two_paths() -> Result<Pair, Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10), delay(30)]))?;
    pair.run_until(|pair| pair.client().connection().is_some_and(|connection| connection.paths().count() == 2), secs(2))?;
    pair.run_for(secs(1))?;
    Ok(pair)
}

#[test]
fn the_path_that_was_asked_answers_with_its_own_round_trip_time() -> Result<(), Failure> {
    for (path, time) in [(0, ms(20)), (1, ms(60))] {
        let mut pair = two_paths()?;
        assert_eq!(ping(&mut pair, Some(path)), Ok(1));
        pair.run_until(|pair| !answers(pair).is_empty(), secs(1))?;
        let [(id, on, rtt)] = answers(&pair).try_into().map_err(|_| Failure::new("one answer".to_owned()))?;
        assert_eq!((id, on), (1, path));
        assert!(rtt >= time && rtt < time + ms(1), "{rtt:?}: the delay of the acknowledgement is not in it");
    }
    Ok(())
}

#[test]
fn of_all_paths_the_first_to_answer_counts_once() -> Result<(), Failure> {
    let mut pair = two_paths()?;
    assert_eq!((ping(&mut pair, None), ping(&mut pair, None)), (Ok(1), Ok(2)));
    pair.run_for(secs(1))?;
    assert_eq!(answers(&pair).iter().map(|(id, path, _)| (*id, *path)).collect::<Vec<_>>(), [(1, 0), (2, 0)]);
    Ok(())
}

#[test]
fn a_ping_before_the_handshake_is_complete_waits_for_it() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    assert_eq!(ping(&mut pair, None), Ok(1));
    pair.run_until(|pair| !answers(pair).is_empty(), secs(1))?;
    assert!(pair.client().connection().is_some_and(Connection::is_handshake_complete));
    assert!(pair.elapsed() >= ms(40));
    Ok(())
}

#[test]
fn a_lost_ping_is_sent_again() -> Result<(), Failure> {
    for_each_seed(0..30, |seed| {
        let mut pair = Pair::new(PairConfig::new(seed, vec![delay(10).losing(LossModel::Independent(0.3))]))?;
        pair.run_until_confirmed(secs(9))?;
        for id in 1..=5 {
            assert_eq!(ping(&mut pair, None), Ok(id), "seed {seed}");
            pair.run_until(|pair| answers(pair).len() as u64 == id, secs(20))?;
        }
        Ok(())
    })
}

#[test]
fn there_are_no_more_pings_at_once_than_may_wait_and_none_for_strange_paths() -> Result<(), Failure> {
    let mut pair = two_paths()?;
    for id in 1..=limits::PINGS_WAITING as u64 {
        assert_eq!(ping(&mut pair, Some(1)), Ok(id));
    }
    assert_eq!(ping(&mut pair, None), Err(PingError::TooMany));
    assert_eq!(ping(&mut pair, Some(5)), Err(PingError::UnknownPath));
    pair.run_for(secs(1))?;
    assert_eq!(answers(&pair).len(), limits::PINGS_WAITING, "one PING answers all that were asked before it");
    assert!(ping(&mut pair, None).is_ok());
    Ok(())
}
