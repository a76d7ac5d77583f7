//! Stateless resets: a server that lost its memory (RFC 9000 §10.3; attacks A15 to A18, K2, K3).

use qbase::{ConnectionId, Direction::Unidirectional, FourTuple, ResetToken, Role};
use qconnection::connection::events::ClosedBy;
use qsim::{Failure, LinkDirection, Pair, PairConfig, Random, Restart};

use crate::common;
use common::{FIRST, SECOND, delay, for_each_seed, ms, secs};

fn connected(seed: u64, links: usize) -> Result<Pair, Failure> {
    let mut pair = Pair::new(PairConfig::new(seed, vec![delay(10); links]))?;
    pair.run_until_confirmed(secs(1))?;
    pair.run_for(secs(1))?;
    Ok(pair)
}

fn to_server(port: u16) -> FourTuple {
    FourTuple { remote: ([203, 0, 113, 7], port).into(), ..Pair::four_tuple(FIRST, Role::Server) }
}

/// Shows 9000-10.3.1-5.
#[test]
fn attack_k2_a_restarted_server_with_the_same_secret_is_recognised_within_a_round_trip() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let mut pair = connected(seed, 1)?;
        pair.server_mut().restart(Restart::SameSecret);
        pair.client_mut().traffic_mut().send(Unidirectional, 100_000);
        let time = pair.run_until(|pair| pair.client().ended().is_some(), secs(5))?;
        assert!(time <= ms(21), "seed {seed}: {time:?}");
        assert_eq!(pair.client().ended().map(|end| end.by), Some(ClosedBy::Reset));
        let sent = pair.client().sent().datagrams;
        pair.run_until(|pair| pair.client().endpoint().is_empty(), secs(5))?;
        assert_eq!(pair.client().sent().datagrams, sent, "nothing is sent after a reset");
        assert_eq!(pair.client().endpoint().statistics().reset_tokens, 0);
        Ok(())
    })
}

#[test]
fn attack_k2_a_reset_is_recognised_on_every_path() -> Result<(), Failure> {
    for (first, second) in [(true, false), (false, true)] {
        let mut pair = connected(1, 2)?;
        pair.server_mut().restart(Restart::SameSecret);
        if !first {
            pair.cut(FIRST);
        }
        if !second {
            pair.cut(SECOND);
        }
        pair.client_mut().traffic_mut().send(Unidirectional, 1_000_000);
        // A cut path shows nothing before its PTO; the other one tells within a round trip of its first packet.
        let time = pair.run_until(|pair| pair.client().ended().is_some(), secs(5))?;
        assert_eq!(pair.client().ended().map(|end| end.by), Some(ClosedBy::Reset));
        assert!(time <= ms(500), "{time:?}");
    }
    Ok(())
}

#[test]
fn attack_k3_a_restarted_server_with_another_secret_is_noticed_by_the_idle_timeout() -> Result<(), Failure> {
    let mut pair = connected(1, 1)?;
    pair.server_mut().restart(Restart::OtherSecret);
    pair.client_mut().traffic_mut().send(Unidirectional, 10_000);
    pair.run_until(|pair| pair.client().ended().is_some(), secs(120))?;
    assert_eq!(pair.client().ended().map(|end| end.by), Some(ClosedBy::IdleTimeout));
    assert!(pair.server().endpoint().statistics().resets > 0, "it said what it could");
    Ok(())
}

/// Shows 9000-10.3-8, 9000-10.3-7 and 9000-10.3.3-1.
#[test]
fn attack_a15_a_reset_is_smaller_than_its_trigger_and_looks_like_any_packet() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    pair.run_until_confirmed(secs(1))?;
    pair.network_mut().keep_payloads();
    let mut random = Random::new(5);
    let mut sizes = std::collections::BTreeSet::new();
    for len in (0..=60).chain([1_200; 40]) {
        // One a second: the ration is not what this is about.
        pair.run_for(secs(1))?;
        let before = pair.network().kept().len();
        let mut bytes = vec![0; len];
        random.fill(&mut bytes);
        if let Some(first) = bytes.first_mut() {
            *first = 0x40 | *first & 0x3f;
        }
        pair.inject(Role::Server, FIRST, &mut bytes);
        pair.run_for(ms(1))?;
        let answers: Vec<_> = pair.network().kept().iter().skip(before).map(|(_, bytes)| bytes.clone()).collect();
        if len < 22 {
            assert!(answers.is_empty(), "{len} bytes");
            continue;
        }
        let answer = answers.first().cloned().unwrap_or_default();
        assert_eq!(answers.len(), 1, "{len} bytes");
        assert!(answer.len() >= 21 && answer.len() < len, "{} for {len}", answer.len());
        assert_eq!(answer.first().map(|first| first & 0xc0), Some(0x40), "a short header");
        if len <= 43 {
            assert_eq!(answer.len(), len - 1);
        } else {
            sizes.insert(answer.len());
        }
    }
    assert!(sizes.len() > 5, "sizes vary: {sizes:?}");
    Ok(())
}

#[test]
fn attack_a15_a_flood_of_unknown_ids_gets_what_the_ration_allows() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    pair.run_until_confirmed(secs(1))?;
    pair.run_for(secs(2))?;
    let before = pair.server().endpoint().statistics().resets;
    let mut random = Random::new(5);
    for number in 0..5_000_u16 {
        let mut bytes = vec![0; 60];
        random.fill(&mut bytes);
        if let Some(first) = bytes.first_mut() {
            *first = 0x40 | *first & 0x3f;
        }
        pair.inject_from(Role::Server, to_server(number + 1), &mut bytes);
    }
    let granted = pair.server().endpoint().statistics().resets - before;
    assert_eq!(granted, u64::from(qbase::limits::STATELESS_ANSWERS_PER_ADDRESS), "one address, whatever its port");
    Ok(())
}

/// attacks A16: two endpoints that know nothing answer each other's answers.
#[test]
fn attack_a16_resets_between_two_endpoints_die_out() -> Result<(), Failure> {
    let mut pair = connected(1, 1)?;
    pair.server_mut().restart(Restart::OtherSecret);
    pair.client_mut().restart(Restart::OtherSecret);
    let offered = |pair: &Pair| {
        let sent = |direction| pair.network().statistics(FIRST, direction).offered;
        sent(LinkDirection::AToB) + sent(LinkDirection::BToA)
    };
    let before = offered(&pair);
    let mut bytes = vec![0x55; 1_200];
    pair.inject(Role::Server, FIRST, &mut bytes);
    pair.run_for(secs(5))?;
    assert!(offered(&pair) - before < 60, "{}", offered(&pair) - before);
    let after = offered(&pair);
    pair.run_for(secs(60))?;
    assert_eq!(offered(&pair), after, "silence");
    Ok(())
}

/// Shows 9000-10.3.2-1 and 9000-10.3.2-5.
#[test]
fn attack_a18_a_token_needs_the_secret_and_the_whole_id() -> Result<(), Failure> {
    let mut pair = connected(1, 1)?;
    let ids: Vec<ConnectionId> = (0..=255_u8).filter_map(|byte| ConnectionId::new(&[1, 2, 3, 4, 5, 6, 7, byte])).collect();
    let before: Vec<ResetToken> = ids.iter().map(|id| token(&pair, *id)).collect();
    let different: std::collections::BTreeSet<[u8; 16]> = before.iter().map(|token| token.0).collect();
    assert_eq!(different.len(), 256, "no two ids share a token");
    pair.server_mut().restart(Restart::SameSecret);
    assert!(ids.iter().zip(&before).all(|(id, known)| token(&pair, *id) == *known), "the same machine, or its neighbour");
    pair.server_mut().restart(Restart::OtherSecret);
    assert!(ids.iter().zip(&before).all(|(id, known)| token(&pair, *id) != *known));
    Ok(())
}

/// The client's tokens are unknown to an attacker, so it guesses.
#[test]
fn attack_a17_random_endings_end_nothing() -> Result<(), Failure> {
    let mut random = Random::new(5);
    let mut pair = connected(1, 2)?;
    for _ in 0..2_000 {
        let mut bytes = vec![0; 21 + usize::try_from(random.below(60)).unwrap_or_default()];
        random.fill(&mut bytes);
        if let Some(first) = bytes.first_mut() {
            *first = 0x40 | *first & 0x3f;
        }
        pair.inject(Role::Client, FIRST, &mut bytes);
    }
    pair.client_mut().traffic_mut().send(Unidirectional, 10_000);
    pair.run_until_delivered(secs(5))?;
    assert!(pair.client().ended().is_none());
    Ok(())
}

/// The secret of the server in a world of this seed, as its host draws it.
fn token(pair: &Pair, cid: ConnectionId) -> ResetToken {
    pair.server().endpoint().reset_token(&cid)
}

/// Shows 9000-10.3.1-2, 9000-10.3.1-3 and 9000-10.3-9.
#[test]
fn a_reset_counts_only_with_a_token_in_use_and_from_the_address_of_its_path() -> Result<(), Failure> {
    let end = |pair: &Pair| pair.client().ended().map(|end| end.by);
    let datagram = |first: u8, token: ResetToken| [[first].as_slice(), &[0x5a; 30], &token.0].concat();
    let mut pair = connected(1, 2)?;
    let ids: Vec<_> = pair.server().connection().map(|connection| connection.local_cids_of(qbase::PathId::ZERO)).unwrap_or_default();
    assert!(ids.len() > 1, "the client holds a spare id");
    let used = token(&pair, *ids.first().unwrap_or(&ConnectionId::EMPTY));
    let spare = token(&pair, *ids.last().unwrap_or(&ConnectionId::EMPTY));
    pair.inject(Role::Client, FIRST, &mut datagram(0x41, spare));
    assert_eq!(end(&pair), None, "an id that carried nothing");
    pair.inject(Role::Client, SECOND, &mut datagram(0x41, used));
    let elsewhere = FourTuple { remote: ([203, 0, 113, 5], 4_433).into(), ..Pair::four_tuple(FIRST, Role::Client) };
    pair.inject_from(Role::Client, elsewhere, &mut datagram(0x41, used));
    pair.run_for(ms(1))?;
    assert_eq!(end(&pair), None, "from another address");
    // A long header of an unknown version does as well (RFC 9000 §10.3).
    pair.inject(Role::Client, FIRST, &mut datagram(0xc1, used));
    pair.run_for(ms(1))?;
    assert_eq!(end(&pair), Some(ClosedBy::Reset));
    Ok(())
}

/// Shows 9000-10.3.1-2: a reset may be addressed to an id that the client knows.
#[test]
fn a_reset_in_a_datagram_that_is_routed_but_cannot_be_decrypted_counts() -> Result<(), Failure> {
    let mut pair = connected(1, 1)?;
    let used = pair.server().connection().map(|connection| connection.local_cids_of(qbase::PathId::ZERO)).unwrap_or_default();
    let token = token(&pair, *used.first().unwrap_or(&ConnectionId::EMPTY));
    let own = pair.client().connection().map(|connection| connection.local_cids_of(qbase::PathId::ZERO)).unwrap_or_default();
    let own = own.first().copied().unwrap_or_default();
    let mut bytes = [[0x41].as_slice(), own.as_bytes(), &[0x33; 40], &token.0].concat();
    pair.inject(Role::Client, FIRST, &mut bytes);
    pair.run_for(ms(1))?;
    assert_eq!(pair.client().ended().map(|end| end.by), Some(ClosedBy::Reset));
    Ok(())
}
