//! BBR, version 3: a model of the path – its bandwidth, its round trip, what may be in flight – steers pacing and window
//! (draft-ietf-ccwg-bbr).
//!
//! ```text
//!  Startup --plateau or loss--> Drain --queue gone--> Down -> Cruise -> Refill -> Up -> Down …
//!     all --5 s without a short round trip--> ProbeRtt --200 ms and a round--> Startup or Cruise
//! ```
//! Called through [`Controller`] by the path that owns it. `model` keeps the estimates, `startup`, `probe_bw` and
//! `probe_rtt` the states, `loss` what losses change and how that is undone, `control` what comes out. Rates are bytes per
//! second, gains percent. A lost batch is one lost "packet" of the draft, a burst one sent "packet". Randomness is a
//! function of what the controller has seen: it only keeps flows from probing in step. CE marks count as loss, since the
//! draft leaves ECN open (RFC 9002 §7.3.1).

mod control;
mod filter;
mod loss;
mod model;
mod probe_bw;
mod probe_rtt;
mod startup;
#[cfg(test)]
mod tests;

use qbase::Timestamp;

use crate::{
    Acked, Controller, Lost, Persistence, Phase, RttEstimator,
    controller::{MAX_WINDOW, MIN_MTU, initial_window, minimum_window},
    rate::{Sample, Sampler},
};
use control::Control;
use loss::Losses;
use model::{Model, Round};
use probe_bw::Probe;
use probe_rtt::RoundTrip;
use startup::FullPipe;

/// Where BBR stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Doubles the rate each round until the pipe is full.
    Startup,
    /// Lets the queue of Startup run off.
    Drain,
    /// ProbeBW_DOWN: sends slower than the path delivers.
    Down,
    /// ProbeBW_CRUISE: sends as fast as the path delivers.
    Cruise,
    /// ProbeBW_REFILL: fills the pipe for a round.
    Refill,
    /// ProbeBW_UP: sends faster, to see whether the path delivers more.
    Up,
    /// Empties the queue to see the round trip without it.
    ProbeRtt,
}

impl State {
    /// One of the states of ProbeBW.
    const fn probes_bandwidth(self) -> bool {
        matches!(self, Self::Down | Self::Cruise | Self::Refill | Self::Up)
    }

    /// Looks for more bandwidth (IsProbingBW).
    const fn accelerates(self) -> bool {
        matches!(self, Self::Startup | Self::Refill | Self::Up)
    }
}

/// BBRv3 of one path.
#[derive(Clone, Debug)]
pub struct Bbr3 {
    mtu: u64,
    state: State,
    /// Bytes in flight at the last call.
    in_flight: u64,
    sampler: Sampler,
    /// What the newest ACK told (RS).
    sample: Sample,
    round: Round,
    model: Model,
    full_pipe: FullPipe,
    probe: Probe,
    round_trip: RoundTrip,
    losses: Losses,
    control: Control,
}

impl Bbr3 {
    /// A new path whose datagrams have at most `mtu` bytes.
    #[must_use]
    pub fn new(mtu: u64) -> Self {
        let mtu = mtu.clamp(MIN_MTU, MAX_WINDOW / 2);
        Self {
            mtu,
            state: State::Startup,
            in_flight: 0,
            sampler: Sampler::new(),
            sample: Sample::default(),
            round: Round::default(),
            model: Model::new(),
            full_pipe: FullPipe::default(),
            probe: Probe::new(),
            round_trip: RoundTrip::new(),
            losses: Losses::default(),
            control: Control::new(mtu),
        }
    }
}

impl Controller for Bbr3 {
    fn on_sent(&mut self, now: Timestamp, bytes: u64, bytes_in_flight: u64) {
        if bytes_in_flight <= bytes && self.sampler.is_app_limited() {
            self.restart_from_idle(now);
        }
        self.in_flight = bytes_in_flight;
        self.sampler.on_sent(now, bytes, bytes_in_flight);
        if bytes_in_flight.saturating_add(self.mtu) > self.control.window {
            self.round.window_limited = true;
        }
    }

    fn on_acked(&mut self, now: Timestamp, acked: &Acked, rtt: &RttEstimator) {
        self.in_flight = acked.bytes_in_flight;
        let min_rtt = self.round_trip.min.unwrap_or_default();
        self.sample = self.sampler.on_acked(now, acked.newest_sent_at, acked.bytes, rtt, min_rtt);
        self.init_pacing_rate(rtt);
        self.end_recovery(acked.newest_sent_at);

        self.update_latest_delivery_signals();
        self.update_congestion_signals();
        self.update_ack_aggregation(now, acked.bytes);
        self.check_full_pipe();
        self.check_startup_done();
        self.check_drain_done(now);
        self.update_probe_bw(now, acked.bytes);
        self.update_min_rtt(now, acked.rtt_sample);
        self.check_probe_rtt(now);
        self.advance_latest_delivery_signals();
        self.model.bound_bandwidth();

        self.set_pacing_rate();
        self.set_window(acked.bytes);
    }

    fn on_lost(&mut self, now: Timestamp, lost: &Lost) {
        self.in_flight = self.in_flight.saturating_sub(lost.bytes);
        self.on_loss(now, lost);
        if lost.persistent == Persistence::Established {
            self.save_window();
            self.control.window = minimum_window(self.mtu);
        }
    }

    fn on_late(&mut self, _now: Timestamp, bytes: u64) {
        self.sampler.on_late(bytes);
    }

    fn on_spurious_loss(&mut self, _now: Timestamp) {
        self.undo_losses();
    }

    fn on_app_limited(&mut self, bytes_in_flight: u64) {
        self.sampler.on_app_limited(bytes_in_flight);
    }

    fn on_way_back(&mut self) {
        self.forget_min_rtt();
    }

    fn on_ecn_ce(&mut self, now: Timestamp, sent_at: Timestamp) {
        self.on_mark(now, sent_at);
    }

    fn on_idle_restart(&mut self, _now: Timestamp) {
        // The model stays and is paced; the window is what a new path may put into flight.
        self.control.window = self.control.window.min(initial_window(self.mtu));
    }

    fn reset(&mut self) {
        *self = Self::new(self.mtu);
    }

    fn on_mtu(&mut self, mtu: u64) {
        let untouched = self.control.window == initial_window(self.mtu) && self.sampler.delivered() == 0;
        self.mtu = mtu.clamp(MIN_MTU, MAX_WINDOW / 2);
        let window = if untouched { initial_window(self.mtu) } else { self.control.window };
        self.control.window = window.clamp(minimum_window(self.mtu), MAX_WINDOW);
    }

    fn window(&self) -> u64 {
        self.control.window
    }

    fn pacing_rate(&self) -> Option<u64> {
        self.control.pacing_rate
    }

    fn ssthresh(&self) -> u64 {
        u64::MAX
    }

    fn phase(&self) -> Phase {
        if self.losses.recovering {
            Phase::Recovery
        } else if self.state == State::Startup {
            Phase::SlowStart
        } else {
            Phase::CongestionAvoidance
        }
    }

    fn name(&self) -> &'static str {
        "bbr3"
    }
}

/// `percent` of a value.
fn percent(value: u64, percent: u64) -> u64 {
    scaled(value, percent, 100)
}

/// `value * numerator / denominator`, rounded down; the value itself for a denominator of zero.
fn scaled(value: u64, numerator: u64, denominator: u64) -> u64 {
    let product = u128::from(value).saturating_mul(u128::from(numerator));
    product.checked_div(u128::from(denominator)).map_or(value, |scaled| u64::try_from(scaled).unwrap_or(u64::MAX))
}
