//! Punching between all kinds of translators of the reference table, in virtual time (traversal V6, V8, V11; attacks G10).
//!
//! `cargo test -p qsim --test traversal`; a program of its own, so that punching is tried without building everything else.

#![cfg(test)]

mod attacks;
mod lab;
mod net;
mod paths;

use std::time::Duration;

use qsim::world::NatKind;
use qtraversal::{
    budget::PortSearch,
    punch::{
        Role, RoundState, matrix,
        strategy::{Context, Plan, Step, Strategy},
    },
};

use self::lab::{Outcome, Setup, run};

/// What the reference table says: 41 pairs by plain opening at the same time, two by ordering, two by a foretold port.
fn is_reached(a: NatKind, b: NatKind) -> bool {
    use NatKind::{AddressRestricted, FullCone, Linux, None, PortRestricted, Sequential};
    let is_open = |kind| matches!(kind, None | FullCone | AddressRestricted);
    let keeps_mapping = |kind| matches!(kind, PortRestricted | Linux);
    is_open(a) || is_open(b) || (keeps_mapping(a) && keeps_mapping(b)) || matches!((a, b), (PortRestricted, Sequential) | (Sequential, PortRestricted))
}

fn table() -> impl Iterator<Item = (NatKind, NatKind)> {
    NatKind::ALL.into_iter().flat_map(|a| NatKind::ALL.map(|b| (a, b)))
}

fn failure(outcome: &Outcome) -> String {
    format!("{:#?}\n{}", outcome.rounds, outcome.log.join("\n"))
}

/// The reference table: 45 of 64 pairs get a direct link in the first round, whoever is ready first; the others end soon and
/// stay where they are (attacks G10).
#[test]
fn the_pairs_of_the_reference_table_that_can_meet_do_and_the_others_stay_on_the_relay() {
    assert_eq!(table().filter(|(a, b)| is_reached(*a, *b)).count(), 45);
    let mut wrong = Vec::new();
    for (a, b) in table() {
        for seed in 0..20 {
            let lag_ms = [0, 3, -3, 20, -20, 35, -35, 60, -60, 150, -150, 400, -400, 1_000, -1_000, 7, -7, 90, -90, 1][seed as usize];
            let outcome = run(Setup { lag_ms, ..Setup::new(a, b, seed) });
            if outcome.works != is_reached(a, b) {
                wrong.push(format!("{} x {} seed {seed} lag {lag_ms}: {}", a.name(), b.name(), outcome.works));
                if std::env::var_os("QB_LAB_LOG").is_some() {
                    println!("{}\n{}", wrong.last().expect("one"), failure(&outcome));
                }
            }
            assert_eq!(outcome.sockets.map(|(_, left)| left), [0, 0], "{} x {} seed {seed}", a.name(), b.name());
            assert!(outcome.probes.iter().all(|sent| *sent <= 80));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Opening at the same time alone reaches 41 pairs; who keeps an order and who foretells a port reaches four more.
#[test]
fn ordering_and_foretelling_reach_the_four_pairs_that_plain_opening_does_not() {
    use NatKind::{Linux, PortRestricted, Sequential};
    let plain = |_: &Context| Plan::new("plain", [Step::Tell, Step::ladder()]);
    let is_added = |a, b| matches!((a, b), (PortRestricted, Linux | Sequential) | (Linux | Sequential, PortRestricted));
    let reached = table().filter(|(a, b)| !is_added(*a, *b) && run(Setup { strategy: plain, ..Setup::new(*a, *b, 1) }).works).count();
    assert_eq!(reached, 41);
    // The port-restricted end is ready last, and its HELLO is there before its frames.
    for (a, b, lag_ms) in [(PortRestricted, Linux, -400), (Linux, PortRestricted, 400), (PortRestricted, Sequential, 0), (Sequential, PortRestricted, 0)] {
        let setup = Setup { lag_ms, ..Setup::new(a, b, 1) };
        let works = [plain as Strategy, matrix::plan].map(|strategy| run(Setup { strategy, ..setup }).works);
        assert_eq!(works, [false, true], "{} x {}", a.name(), b.name());
    }
}

/// The measure of time to the direct path, p50 at most two round trips over the relay and 150 ms for cone pairs.
#[test]
fn cone_pairs_meet_within_two_round_trips_over_the_relay_and_150_ms() {
    let cones = [NatKind::FullCone, NatKind::AddressRestricted, NatKind::PortRestricted];
    let mut times: Vec<Duration> = Vec::new();
    for (a, b) in cones.into_iter().flat_map(|a| cones.map(|b| (a, b))) {
        times.extend((0..20).filter_map(|seed| run(Setup::new(a, b, seed)).first_hole));
    }
    times.sort_unstable();
    assert_eq!(times.len(), 180);
    assert!(times[90] <= Duration::from_millis(2 * 80 + 150), "{:?}", times[90]);
}

/// With datagrams lost, cone pairs meet all the same: HELLOs go up a ladder, DONE comes by two ways.
#[test]
fn cone_pairs_meet_where_a_tenth_is_lost() {
    let cones = [NatKind::None, NatKind::FullCone, NatKind::AddressRestricted, NatKind::PortRestricted];
    let (mut met, mut tried) = (0, 0);
    for (a, b) in cones.into_iter().flat_map(|a| cones.map(|b| (a, b))) {
        for seed in 0..10 {
            let setup = Setup { loss: 0.1, limit: Duration::from_secs(60), ..Setup::new(a, b, seed) };
            met += usize::from(run(setup).works);
            tried += 1;
        }
    }
    assert!(met * 100 >= tried * 97, "{met} of {tried}");
}

/// traversal V6: searches allowed, all active x passive pairs but Symmetric x Symmetric; a search succeeds in 97.6 of 100.
#[test]
fn with_searches_every_active_and_passive_pair_meets() {
    let kinds = [NatKind::FullCone, NatKind::AddressRestricted, NatKind::PortRestricted, NatKind::Symmetric, NatKind::Linux];
    for (a, b) in kinds.into_iter().flat_map(|a| kinds.map(|b| (a, b))) {
        for only in [Some(Role::Client), Some(Role::Server), None] {
            let setup = |seed| Setup { search: PortSearch::Allowed, only, limit: Duration::from_secs(40), ..Setup::new(a, b, seed) };
            let outcomes: Vec<Outcome> = (0..4).map(|seed| run(setup(seed))).collect();
            let met = outcomes.iter().filter(|outcome| outcome.works).count();
            let both_symmetric = a == b && a == NatKind::Symmetric;
            let is_searched = (a == NatKind::Symmetric || b == NatKind::Symmetric) && !both_symmetric;
            let least = if both_symmetric { 0 } else if is_searched { 3 } else { 4 };
            assert!(met >= least && (!both_symmetric || met == 0), "{} x {} {only:?}: {met}", a.name(), b.name());
            assert!(outcomes.iter().all(|outcome| outcome.probes.iter().all(|sent| *sent <= 1_000)));
        }
    }
}

/// traversal V8, T-90, T-91, T-94: the rate of the formula, no socket left, budgets kept.
#[test]
fn a_port_search_succeeds_as_often_as_the_formula_says() {
    let formula = 1.0 - (1.0 - 800.0 / 64_512.0_f64).powi(300);
    let mut met = 0_u32;
    let seeds = 1_000;
    for seed in 0..seeds {
        let only = Some(if seed % 2 == 0 { Role::Client } else { Role::Server });
        let setup = Setup { search: PortSearch::Allowed, only, limit: Duration::from_secs(40), ..Setup::new(NatKind::Symmetric, NatKind::PortRestricted, seed) };
        let outcome = run(setup);
        met += u32::from(outcome.works);
        assert!(outcome.sockets.iter().all(|(most, left)| *most <= 61 && *left == 0), "seed {seed}: {:?}", outcome.sockets);
        assert!(outcome.probes.iter().all(|sent| *sent <= 1_000), "seed {seed}: {:?}", outcome.probes);
        assert_eq!(outcome.leases, [0, 0], "seed {seed}");
    }
    let rate = f64::from(met) / seeds as f64;
    assert!((rate - formula).abs() <= 0.03, "{rate} against {formula}");
}

/// traversal V11.
#[test]
fn one_seed_is_one_history() {
    for (a, b) in [(NatKind::PortRestricted, NatKind::Sequential), (NatKind::Symmetric, NatKind::PortRestricted), (NatKind::Linux, NatKind::Linux)] {
        let setup = Setup { search: PortSearch::Allowed, loss: 0.1, limit: Duration::from_secs(40), ..Setup::new(a, b, 5) };
        let [first, second] = [run(setup), run(setup)];
        assert!(first.log.len() > 5);
        assert_eq!(first.log, second.log);
        assert_ne!(first.log, run(Setup { seed: 6, ..setup }).log);
    }
}

/// attacks G10: where nothing helps, rounds end within five seconds, or thirty with a search.
#[test]
fn attack_g10_rounds_that_cannot_succeed_end_soon() {
    for (search, limit) in [(PortSearch::Off, 5), (PortSearch::Allowed, 30)] {
        for (a, b) in table().filter(|(a, b)| !is_reached(*a, *b)) {
            let outcome = run(Setup { search, limit: Duration::from_secs(3 + limit + 1), ..Setup::new(a, b, 1) });
            for rounds in &outcome.rounds {
                let begun = rounds.iter().filter(|report| report.state == RoundState::Started).count();
                let ended = rounds.iter().filter(|report| matches!(report.state, RoundState::Done | RoundState::Failed(_))).count();
                assert_eq!(begun, ended, "{} x {} within {limit} s: {}", a.name(), b.name(), failure(&outcome));
            }
        }
    }
}
