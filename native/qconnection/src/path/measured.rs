//! What was measured on one network path, exchanged as a whole when the path id moves to another (RFC 9000 §9.4, §13.4.2).
//!
//! Called by the connection's path part. The measurements of an address that is left are kept, so that a path that comes
//! back goes on as before (RFC 9000 §9.3).

use super::{Network, ecn::EcnPath, mtu::MtuSearch};
use crate::config::TransportConfig;
use qbase::{FourTuple, Timestamp};
use qcongestion::{Controller, LossEpisode, Pacer, PersistentCongestion, Reordering, RttEstimator, SlowStart, algorithm, rate::Meter};

/// RTT, congestion state and all else that depends on the network between two addresses.
#[derive(Debug)]
pub struct Measured {
    rtt: RttEstimator,
    controller: Box<dyn Controller>,
    pacer: Pacer,
    search: MtuSearch,
    ecn: EcnPath,
    persistent: PersistentCongestion,
    delivery: Meter,
    episode: LossEpisode,
    reordering: Reordering,
}

impl Measured {
    /// Nothing is measured yet.
    #[must_use]
    pub fn nothing(config: &TransportConfig, four_tuple: FourTuple) -> Self {
        let search = MtuSearch::between(config, four_tuple);
        let mtu = search.current();
        let slow_start = if config.hystart { SlowStart::Leaping } else { SlowStart::Plain };
        Self {
            rtt: RttEstimator::new(config.initial_rtt),
            controller: algorithm::build(config.congestion, slow_start, u64::from(mtu)),
            pacer: Pacer::new(u64::from(mtu)),
            search,
            ecn: EcnPath::new(config.ecn.into()),
            persistent: PersistentCongestion::new(),
            delivery: Meter::new(),
            episode: LossEpisode::new(),
            reordering: Reordering::new(),
        }
    }
}

impl Network {
    /// The path goes over another network path: its measurements become `other`'s, and what was sent before counts for
    /// neither. What the peer counted of marks goes on, because it does so by packet-number space.
    pub fn exchange(&mut self, now: Timestamp, other: &mut Measured) {
        use std::mem::swap;
        other.ecn.continue_from(&self.ecn);
        other.search.continue_from(&self.search, now);
        swap(&mut self.rtt, &mut other.rtt);
        swap(&mut self.controller, &mut other.controller);
        swap(&mut self.pacer, &mut other.pacer);
        swap(&mut self.search, &mut other.search);
        swap(&mut self.ecn, &mut other.ecn);
        swap(&mut self.persistent, &mut other.persistent);
        swap(&mut self.delivery, &mut other.delivery);
        swap(&mut self.episode, &mut other.episode);
        swap(&mut self.reordering, &mut other.reordering);
        let mtu = self.mtu();
        self.controller.on_mtu(u64::from(mtu));
        self.space.sent.on_network_change();
        self.unmeasured.clear();
        self.pacing_until = None;
    }
}
