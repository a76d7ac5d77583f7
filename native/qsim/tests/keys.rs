//! Key updates with two paths under way (RFC 9001 §6, multipath MP-33, MP-34; attacks B24).

use crate::common;

use common::{delay, for_each_seed, ms, secs};
use qbase::{Direction::Unidirectional, Role};
use qconnection::{Event, TransportConfig};
use qsim::{Failure, Pair, PairConfig};

/// Packets one key may protect: more than a window holds, so that an update can be acknowledged before the next.
const LIMIT: u64 = 1_200;

fn updates(pair: &Pair, role: Role) -> u64 {
    pair.host(role).connection().map_or(0, |connection| connection.statistics().key_updates)
}

#[test]
fn attack_b24_keys_are_updated_before_a_lowered_aead_limit_counted_over_all_paths() -> Result<(), Failure> {
    for_each_seed(0..10, |seed| {
        let client = TransportConfig { confidentiality_limit: Some(LIMIT), ..TransportConfig::default() };
        let links = vec![delay(5).at_rate(20_000_000), delay(9).at_rate(20_000_000)];
        let server = TransportConfig { stream_window: 1 << 20, connection_window: 4 << 20, ..TransportConfig::default() };
        let mut pair = Pair::new(PairConfig { client, server, ..PairConfig::new(seed, links) })?;
        pair.client_mut().traffic_mut().send(Unidirectional, 6_000_000);
        pair.run_until_delivered(secs(30))?;
        let sent = pair.client().connection().map_or(0, |connection| connection.statistics().packets_sent);
        assert!(sent > 3 * LIMIT, "seed {seed}: {sent} packets need several keys");
        assert!(updates(&pair, Role::Client) >= sent / LIMIT, "seed {seed}: {} updates", updates(&pair, Role::Client));
        assert_eq!(updates(&pair, Role::Client), updates(&pair, Role::Server), "seed {seed}: both ends follow");
        Ok(())
    })
}

#[test]
fn an_update_on_request_loses_nothing_on_either_path() -> Result<(), Failure> {
    for_each_seed(0..40, |seed| {
        let links = vec![delay(5 + seed % 5).at_rate(10_000_000).with_loss(0.02), delay(30).at_rate(10_000_000).with_loss(0.02)];
        let mut pair = Pair::new(PairConfig::new(seed, links))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 500_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 500_000);
        pair.run_until_confirmed(secs(20))?;
        pair.run_for(ms(50 + 7 * seed))?;
        let now = pair.now();
        let role = if seed % 2 == 0 { Role::Client } else { Role::Server };
        let started = pair.host_mut(role).connection_mut().is_some_and(|connection| connection.update_key(now));
        pair.run_until_delivered(secs(60))?;
        assert!(started, "seed {seed}");
        assert!(pair.host(role.peer()).news().iter().any(|(_, event)| *event == Event::KeyUpdated), "seed {seed}: the peer answers");
        Ok(())
    })
}
