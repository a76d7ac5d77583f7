//! Handshakes whose pair of addresses is late or falls silent: what is measured, and what a client tries instead (multipath
//! MP-88, MP-92, MP-93).

use qbase::{PathId, limits};
use qconnection::{HandshakeMode, TransportConfig};
use qsim::{Failure, Pair, PairConfig};

use crate::common;
use common::{FIRST, delay, ms, secs};

/// multipath MP-88: a copy's round trip begins when the copy leaves.
#[test]
fn the_round_trip_of_a_later_pair_counts_from_its_own_copy() -> Result<(), Failure> {
    for interval in [ms(50), limits::STAGGER, ms(400)] {
        let client = TransportConfig { handshake: HandshakeMode::Stagger(interval), ..TransportConfig::default() };
        let mut pair = Pair::new(PairConfig { client, ..PairConfig::new(1, vec![delay(10), delay(20)]) })?;
        pair.cut(FIRST);
        pair.run_until_confirmed(secs(5))?;
        let rtt = pair.client().connection().and_then(|connection| connection.path(PathId::ZERO)).map(|path| path.smoothed_rtt);
        assert!(rtt.is_some_and(|rtt| rtt >= ms(40) && rtt < ms(45)), "{interval:?}: {rtt:?}");
    }
    Ok(())
}
