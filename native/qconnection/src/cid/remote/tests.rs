//! Cases by rule, and random frames against the bounds.

use super::*;
use proptest::prelude::*;

#[test]
fn the_handshake_id_is_replaced_by_the_servers_choice() {
    let mut cids = RemoteCids::new();
    cids.set_handshake(cid(1));
    cids.set_handshake(cid(2));
    assert_eq!((cids.active(), cids.next_sequence(), cids.has_retirements()), (Some(cid(2)), 1, false));
}

#[test]
fn the_first_id_of_another_path_id_becomes_the_active_one() {
    let mut cids = RemoteCids::new();
    assert_eq!(cids.active(), None);
    cids.on_new(1, 0, cid(1), token(1)).unwrap();
    cids.on_new(0, 0, cid(2), token(2)).unwrap();
    assert_eq!((cids.active(), cids.available()), (Some(cid(1)), 1));
}

#[test]
fn a_rotation_goes_over_to_a_spare_and_gives_the_old_id_back() {
    let mut cids = handshake_and(2);
    assert_eq!(cids.rotate(), Some(cid(1)));
    assert_eq!((cids.active(), cids.next_retirement()), (Some(cid(1)), Some(0)));
    assert_eq!(cids.rotate(), Some(cid(2)));
    assert_eq!(cids.rotate(), None);
    assert_eq!(cids.active(), Some(cid(2)), "without a spare the active one stays");
}

#[test]
fn a_second_network_path_takes_a_spare_and_wins_or_gives_it_back() {
    let mut cids = handshake_and(2);
    let taken = cids.take_unused().unwrap();
    assert_eq!((taken.sequence, cids.active(), cids.available()), (1, Some(cid(0)), 1));
    cids.promote(taken.sequence);
    assert_eq!((cids.active(), cids.next_retirement()), (Some(cid(1)), Some(0)));
    let taken = cids.take_unused().unwrap();
    cids.retire(taken.sequence);
    assert_eq!((cids.active(), cids.cid_of(taken.sequence)), (Some(cid(1)), None));
}

#[test]
fn retirements_are_owed_until_they_arrive() {
    let mut cids = handshake_and(1);
    cids.rotate();
    assert_eq!(cids.next_retirement(), Some(0));
    cids.on_retirement_written(0);
    assert!(!cids.has_retirements());
    cids.on_retire_lost(0);
    assert!(cids.has_retirements());
    cids.on_retirement_written(0);
    cids.on_retire_acked(0);
    cids.on_retire_lost(0);
    assert!(!cids.has_retirements());
}

#[test]
fn retire_prior_to_replaces_every_older_id_at_once() {
    let mut cids = handshake_and(3);
    cids.on_new(4, 4, cid(4), token(4)).unwrap();
    assert_eq!((cids.active(), cids.available()), (Some(cid(4)), 0));
    assert_eq!(owed(&mut cids), vec![0, 1, 2, 3]);
}

#[test]
fn an_id_that_comes_after_it_was_retired_is_given_back_once() {
    let mut cids = handshake_and(0);
    cids.on_new(3, 3, cid(3), token(3)).unwrap();
    assert_eq!(owed(&mut cids), vec![0]);
    cids.on_new(2, 0, cid(2), token(2)).unwrap();
    assert_eq!(owed(&mut cids), vec![2]);
    cids.on_new(2, 0, cid(2), token(2)).unwrap();
    assert_eq!(owed(&mut cids), Vec::<u64>::new());
    assert_eq!((cids.active(), cids.available()), (Some(cid(3)), 0));
}

#[test]
fn a_smaller_retire_prior_to_is_ignored_and_a_larger_one_counts_in_a_repeated_frame() {
    let mut cids = handshake_and(2);
    cids.on_new(2, 1, cid(2), token(2)).unwrap();
    assert_eq!(owed(&mut cids), vec![0]);
    cids.on_new(2, 0, cid(2), token(2)).unwrap();
    assert_eq!((cids.active(), owed(&mut cids)), (Some(cid(1)), vec![]));
}

/// Shows 9000-5.1.2-5 and 9000-5.1.2-7.
#[test]
fn attack_e1_a_flood_of_retirements_that_are_never_acknowledged_ends_the_connection() {
    let mut cids = handshake_and(0);
    for sequence in 1..=limits::RETIRE_CIDS_PER_PATH as u64 {
        cids.on_new(sequence, sequence, cid(sequence), token(sequence)).unwrap();
    }
    let next = limits::RETIRE_CIDS_PER_PATH as u64 + 1;
    assert_eq!(cids.on_new(next, next, cid(next), token(next)).unwrap_err().code, ErrorCode::CONNECTION_ID_LIMIT_ERROR);
}

#[test]
fn attack_e1_retirements_that_are_acknowledged_may_go_on_for_ever() {
    let mut cids = handshake_and(0);
    for sequence in 1..1_000 {
        cids.on_new(sequence, sequence, cid(sequence), token(sequence)).unwrap();
        for retired in owed(&mut cids) {
            cids.on_retire_acked(retired);
        }
    }
    assert_eq!(cids.seen.len(), 1);
}

#[test]
fn attack_e2_impossible_frames_are_refused_with_their_code() {
    let mut cids = handshake_and(1);
    let cases = [
        (cids.on_new(2, 3, cid(2), token(2)), ErrorCode::FRAME_ENCODING_ERROR, "retire prior to above the sequence"),
        (cids.on_new(2, 0, ConnectionId::EMPTY, token(2)), ErrorCode::FRAME_ENCODING_ERROR, "empty id"),
        (cids.on_new(1, 0, cid(2), token(1)), ErrorCode::PROTOCOL_VIOLATION, "one sequence, two ids"),
        (cids.on_new(2, 0, cid(1), token(1)), ErrorCode::PROTOCOL_VIOLATION, "one id, two sequences"),
        (cids.on_new(1, 0, cid(1), token(2)), ErrorCode::PROTOCOL_VIOLATION, "one id, two tokens"),
        (cids.on_new(2, 0, cid(0), token(2)), ErrorCode::PROTOCOL_VIOLATION, "the handshake's id under another sequence"),
    ];
    for (result, code, case) in cases {
        assert_eq!(result.unwrap_err().code, code, "{case}");
    }
}

/// Shows 9000-5.1.1-6.
#[test]
fn attack_e3_a_fifth_active_id_is_a_limit_error() {
    let mut cids = handshake_and(3);
    assert_eq!(cids.on_new(4, 0, cid(4), token(4)).unwrap_err().code, ErrorCode::CONNECTION_ID_LIMIT_ERROR);
    let mut cids = handshake_and(3);
    assert_eq!(cids.on_new(4, 1, cid(4), token(4)), Ok(()), "one came, one went");
}

#[test]
fn attack_e6_a_repeated_frame_is_no_error_even_after_its_id_was_retired() {
    let mut cids = handshake_and(2);
    cids.on_new(1, 0, cid(1), token(1)).unwrap();
    cids.rotate();
    cids.rotate();
    cids.on_new(1, 0, cid(1), token(1)).unwrap();
    assert_eq!((cids.active(), cids.available(), owed(&mut cids)), (Some(cid(2)), 0, vec![0, 1]));
}

#[test]
fn attack_e14_ids_are_recycled_through_a_thousand_migrations() {
    let mut cids = handshake_and(3);
    for sequence in 4..1_004 {
        assert!(cids.rotate().is_some());
        for retired in owed(&mut cids) {
            cids.on_retire_acked(retired);
        }
        cids.on_new(sequence, 0, cid(sequence), token(sequence)).unwrap();
    }
}

#[test]
fn a_peer_with_empty_ids_must_not_issue_others() {
    let mut cids = RemoteCids::new();
    cids.set_handshake(ConnectionId::EMPTY);
    assert_eq!(cids.active(), Some(ConnectionId::EMPTY));
    assert_eq!(cids.on_new(1, 0, cid(1), token(1)).unwrap_err().code, ErrorCode::PROTOCOL_VIOLATION);
    assert_eq!(cids.rotate(), None);
}

/// Shows 9000-9.5-5: there is nothing to take for another address.
#[test]
fn attack_e13_a_peer_without_ids_has_none_for_another_address() {
    let mut cids = RemoteCids::new();
    cids.set_handshake(ConnectionId::EMPTY);
    assert!(cids.is_empty_id());
    assert_eq!((cids.take_unused(), cids.rotate(), cids.active_sequence()), (None, None, Some(0)));
}

#[test]
fn a_path_that_comes_back_finds_the_id_it_left() {
    let mut cids = handshake_and(2);
    let taken = cids.take_unused().unwrap();
    cids.switch_to(Some(taken.sequence));
    assert_eq!((cids.active(), owed(&mut cids)), (Some(taken.cid), Vec::new()), "the one before is not given back");
    cids.switch_to(Some(0));
    assert_eq!(cids.active_sequence(), Some(0));
    cids.retire(taken.sequence);
    assert_eq!(owed(&mut cids), [taken.sequence]);
}

#[test]
fn a_path_without_an_id_takes_the_next_that_comes() {
    let mut cids = handshake_and(0);
    cids.switch_to(None);
    assert_eq!(cids.active(), None);
    assert_eq!(cids.on_new(1, 0, cid(1), token(1)), Ok(()));
    assert_eq!(cids.active_sequence(), Some(1));
}

#[test]
fn attack_a17_only_tokens_of_ids_in_use_are_resets() {
    let mut cids = handshake_and(2);
    assert!(!cids.is_reset_token(&token(0)), "the handshake's token is not known yet");
    cids.set_handshake_token(token(0));
    assert!(cids.is_reset_token(&token(0)));
    assert!(!cids.is_reset_token(&token(1)), "a spare");
    let taken = cids.take_unused().unwrap();
    assert!(cids.is_reset_token(&token(1)));
    cids.retire(taken.sequence);
    assert!(!cids.is_reset_token(&token(1)), "retired");
}

#[test]
fn multipath_mp63_abandoning_retires_everything_without_frames() {
    let mut cids = handshake_and(3);
    cids.rotate();
    cids.retire_all();
    assert_eq!((cids.active(), cids.available(), cids.has_retirements()), (None, 0, false));
    assert!(!cids.is_reset_token(&token(1)));
    assert_eq!(cids.next_sequence(), 4);
}

#[test]
fn multipath_mp46_an_id_held_here_can_be_recognised_elsewhere() {
    let cids = handshake_and(1);
    assert!(cids.holds(&cid(1)));
    assert!(!cids.holds(&cid(2)));
}

proptest! {
    #[test]
    fn random_frames_never_exceed_the_bounds_and_leave_an_active_id_while_one_is_held(
        steps in proptest::collection::vec((0u64..60, 0u64..60, 0u8..8), 1..200),
    ) {
        let mut cids = handshake_and(0);
        let mut given_back = std::collections::BTreeSet::new();
        for (sequence, below, action) in steps {
            match action {
                0 => drop(cids.rotate()),
                1 => if let Some(retired) = cids.next_retirement() {
                    cids.on_retirement_written(retired);
                    prop_assert!(given_back.insert(retired), "{} was given back twice", retired);
                },
                2 => if let Some(&retired) = given_back.last() {
                    cids.on_retire_acked(retired);
                },
                _ => if cids.on_new(sequence, sequence.saturating_sub(below), cid(sequence), token(sequence)).is_err() {
                    return Ok(());
                },
            }
            prop_assert!(cids.held.len() as u64 <= limits::REMOTE_CIDS_PER_PATH);
            prop_assert!(cids.retirements.len() <= limits::RETIRE_CIDS_PER_PATH);
            prop_assert!(cids.seen.len() <= limits::RETIRE_CIDS_PER_PATH);
            prop_assert!(cids.held.iter().all(|held| held.sequence >= cids.retire_prior_to));
            prop_assert_eq!(cids.active().is_some(), !cids.held.is_empty(), "while an id is held, one is active");
        }
    }
}

fn cid(number: u64) -> ConnectionId {
    ConnectionId::new(&[&[0xc1; 4][..], &number.to_be_bytes()].concat()).unwrap()
}

fn token(number: u64) -> ResetToken {
    ResetToken(u128::from(number).to_be_bytes())
}

/// The handshake's id and `spares` more.
fn handshake_and(spares: u64) -> RemoteCids {
    let mut cids = RemoteCids::new();
    cids.set_handshake(cid(0));
    (1..=spares).for_each(|sequence| cids.on_new(sequence, 0, cid(sequence), token(sequence)).unwrap());
    cids
}

/// Writes all frames that are owed.
fn owed(cids: &mut RemoteCids) -> Vec<u64> {
    std::iter::from_fn(|| {
        let sequence = cids.next_retirement()?;
        cids.on_retirement_written(sequence);
        Some(sequence)
    })
    .collect()
}
