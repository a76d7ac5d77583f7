//! ProbeBW: cycles of slowing down, cruising, refilling and speeding up (draft-ietf-ccwg-bbr, "ProbeBW").
//!
//! Called by the steps of an ACK and by ProbeRTT when it ends.

use std::time::Duration;

use qbase::Timestamp;

use super::{Bbr3, State, model::UNBOUNDED};

/// Least time between two probes; up to a second is added.
const PROBE_WAIT: Duration = Duration::from_secs(2);
/// Most rounds between two probes, so that Reno and CUBIC flows are not starved.
const RENO_ROUNDS: u64 = 63;
/// Doublings of the growth of `inflight_longterm` at most.
const MAX_GROWTH: u32 = 30;

/// What the ACKs coming in say about the last probe (ack_phase).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feedback {
    /// Nothing.
    None,
    /// The pipe fills.
    Refilling,
    /// Packets of the probe are on their way.
    Starting,
    /// They are being acknowledged.
    Coming,
    /// The probe is over, its last packets are being acknowledged.
    Stopping,
}

/// The cycle of probes.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub feedback: Feedback,
    /// What is lost was sent by a probe, and it was not answered yet (is_bw_probe_sample).
    pub samples: bool,
    /// The last probe lost too much (prev_probe_too_high).
    pub was_too_high: bool,
    /// The last probe stopped where the one before had lost too much (prev_probe_precautionary).
    pub was_precautionary: bool,
    /// Rounds since the last probe (rounds_since_probe_up).
    pub rounds: u64,
    /// When the cycle began.
    cycle_began_at: Timestamp,
    /// Longest time until the next probe.
    wait: Duration,
    /// Rounds in which `inflight_longterm` grew in this probe.
    growing_rounds: u32,
    /// Bytes acknowledged since it last grew.
    acked: u64,
    /// Bytes to be acknowledged before it grows by a datagram.
    acked_per_datagram: u64,
    random: u64,
}

impl Probe {
    pub const fn new() -> Self {
        Self {
            feedback: Feedback::None,
            samples: false,
            was_too_high: false,
            was_precautionary: false,
            rounds: 0,
            cycle_began_at: Timestamp::ZERO,
            wait: Duration::ZERO,
            growing_rounds: 0,
            acked: 0,
            acked_per_datagram: UNBOUNDED,
            random: 0,
        }
    }

    /// PickProbeWait.
    fn pick_wait(&mut self, now: Timestamp, delivered: u64) {
        // SplitMix64 over all that happened so far.
        let mixed = self.random ^ now.as_nanos() ^ delivered.rotate_left(32);
        self.random = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.random;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^= value >> 31;
        self.rounds = value & 1;
        self.wait = PROBE_WAIT.saturating_add(Duration::from_micros((value >> 1).checked_rem(1_000_000).unwrap_or(0)));
    }
}

impl Bbr3 {
    /// UpdateProbeBWCyclePhase.
    pub(super) fn update_probe_bw(&mut self, now: Timestamp, newly_acked: u64) {
        if !self.full_pipe.ever || self.adapt_long_term_model(newly_acked) {
            return;
        }
        match self.state {
            State::Down => {
                if !self.refill_if_due(now) && self.is_time_to_cruise() {
                    self.state = State::Cruise;
                }
            }
            State::Cruise => {
                self.refill_if_due(now);
            }
            State::Refill if self.round.starts => {
                self.probe.samples = true;
                self.start_up();
            }
            State::Up => {
                if self.is_time_to_go_down() {
                    self.probe.was_too_high = false;
                    self.start_down(now);
                }
            }
            State::Refill | State::Startup | State::Drain | State::ProbeRtt => {}
        }
    }

    /// StartProbeBW_DOWN.
    pub(super) fn start_down(&mut self, now: Timestamp) {
        self.model.forget_signals();
        self.probe.acked_per_datagram = UNBOUNDED;
        self.probe.pick_wait(now, self.sampler.delivered());
        self.probe.cycle_began_at = now;
        self.probe.feedback = Feedback::Stopping;
        self.start_round();
        self.state = State::Down;
    }

    /// StartProbeBW_REFILL.
    pub(super) const fn start_refill(&mut self) {
        self.model.forget_short_term();
        (self.probe.growing_rounds, self.probe.acked) = (0, 0);
        self.probe.was_precautionary = false;
        self.probe.feedback = Feedback::Refilling;
        self.start_round();
        self.state = State::Refill;
    }

    /// StartProbeBW_UP.
    fn start_up(&mut self) {
        self.probe.feedback = Feedback::Starting;
        self.start_round();
        self.full_pipe.look_again(self.sample.rate);
        self.state = State::Up;
        self.raise_slope();
    }

    /// IsTimeToProbeBW: after two to three seconds, or as many rounds as a Reno flow takes to double its window.
    fn refill_if_due(&mut self, now: Timestamp) -> bool {
        let waited = now > self.probe.cycle_began_at + self.probe.wait;
        let reno_rounds = self.target_inflight().checked_div(self.mtu).unwrap_or(0).min(RENO_ROUNDS);
        let due = waited || self.probe.rounds >= reno_rounds;
        if due {
            self.start_refill();
        }
        due
    }

    /// IsTimeToCruise: the queue has run off, and there is room for others.
    fn is_time_to_cruise(&self) -> bool {
        self.in_flight <= self.inflight_with_headroom() && self.in_flight <= self.inflight(self.model.max_bw(), 100)
    }

    /// IsTimeToGoDown.
    fn is_time_to_go_down(&mut self) -> bool {
        if self.probe.was_too_high && self.in_flight >= self.model.inflight_longterm {
            self.probe.was_precautionary = true;
            return true;
        }
        if self.is_bound_by_long_term() {
            self.full_pipe.look_again(self.sample.rate);
            return false;
        }
        self.full_pipe.now
    }

    /// The window is used up, and it is `inflight_longterm` that holds it.
    const fn is_bound_by_long_term(&self) -> bool {
        self.round.is_window_limited() && self.control.window >= self.model.inflight_longterm
    }

    /// AdaptLongTermModel: moves the bandwidth filter and `inflight_longterm` on. `true` if that began a state.
    fn adapt_long_term_model(&mut self, newly_acked: u64) -> bool {
        if self.round.starts && self.probe.feedback == Feedback::Starting {
            self.probe.feedback = Feedback::Coming;
        }
        if self.round.starts && self.probe.feedback == Feedback::Stopping {
            self.probe.samples = false;
            self.probe.feedback = Feedback::None;
            if self.state.probes_bandwidth() {
                if !self.sample.app_limited {
                    self.model.advance_cycle();
                }
                if self.probe.was_precautionary && !self.probe.was_too_high {
                    self.start_refill();
                    return true;
                }
            }
        }
        if self.is_inflight_too_high() || self.model.inflight_longterm == UNBOUNDED {
            return false;
        }
        self.model.inflight_longterm = self.model.inflight_longterm.max(self.sample.in_flight);
        if self.state == State::Up {
            self.probe_upward(newly_acked);
        }
        false
    }

    /// RaiseInflightLongtermSlope: growth doubles each round.
    fn raise_slope(&mut self) {
        let datagrams = 1_u64 << self.probe.growing_rounds.min(MAX_GROWTH);
        self.probe.growing_rounds = self.probe.growing_rounds.saturating_add(1).min(MAX_GROWTH);
        self.probe.acked_per_datagram = self.control.window.checked_div(datagrams).unwrap_or(0).max(self.mtu);
    }

    /// ProbeInflightLongtermUpward.
    fn probe_upward(&mut self, newly_acked: u64) {
        if !self.is_bound_by_long_term() {
            return;
        }
        self.probe.acked = self.probe.acked.saturating_add(newly_acked);
        let datagrams = self.probe.acked.checked_div(self.probe.acked_per_datagram).unwrap_or(0);
        self.probe.acked = self.probe.acked.saturating_sub(datagrams.saturating_mul(self.probe.acked_per_datagram));
        let growth = datagrams.saturating_mul(self.mtu);
        self.model.inflight_longterm = self.model.inflight_longterm.saturating_add(growth);
        if self.round.starts {
            self.raise_slope();
        }
    }
}
