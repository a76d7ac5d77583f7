//! What comes out of the model: pacing rate, size of bursts, window (draft-ietf-ccwg-bbr, "Updating Control Parameters").
//!
//! Called at the end of the steps of an ACK.

use std::time::Duration;

use super::{Bbr3, State, model::UNBOUNDED, percent};
use crate::{
    RttEstimator,
    controller::{MAX_WINDOW, initial_window},
    rate,
};

/// Share of the bandwidth that is paced, percent: one less keeps queues short (PacingMarginPercent).
pub(super) const MARGIN: u64 = 99;
/// Time whose bytes leave as one burst.
const QUANTUM_TIME: Duration = Duration::from_millis(1);
/// Longest burst, bytes.
const MAX_QUANTUM: u64 = 65_536;

/// Outputs of the controller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Control {
    /// Congestion window, bytes (cwnd).
    pub window: u64,
    /// The window before recovery or ProbeRTT (prior_cwnd).
    prior_window: u64,
    /// Bytes per second; `None` before the first RTT sample.
    pub pacing_rate: Option<u64>,
}

impl Control {
    pub fn new(mtu: u64) -> Self {
        Self { window: initial_window(mtu), prior_window: 0, pacing_rate: None }
    }

    /// RestoreCwnd.
    pub fn restore(&mut self) {
        self.window = self.window.max(self.prior_window);
    }

    /// Bytes that leave as one burst (send_quantum).
    pub fn send_quantum(&self, mtu: u64) -> u64 {
        let rate = self.pacing_rate.unwrap_or(0);
        rate::bytes_in(rate, QUANTUM_TIME).min(MAX_QUANTUM).max(mtu.saturating_mul(2))
    }
}

impl State {
    /// Percent of the bandwidth that is sent.
    const fn pacing_gain(self) -> u64 {
        match self {
            Self::Startup => 277,
            Self::Drain => 50,
            Self::Down => 90,
            Self::Cruise | Self::Refill | Self::ProbeRtt => 100,
            Self::Up => 125,
        }
    }

    /// Percent of what the pipe holds that may be in flight.
    const fn window_gain(self) -> u64 {
        match self {
            Self::Startup | Self::Drain | Self::Down | Self::Cruise | Self::Refill => 200,
            Self::Up => 225,
            Self::ProbeRtt => 50,
        }
    }
}

impl Bbr3 {
    /// SaveCwnd: within recovery or ProbeRTT, which hold the window down, only a larger one counts.
    pub(super) fn save_window(&mut self) {
        let held = self.losses.recovering || self.state == State::ProbeRtt;
        let prior = if held { self.control.prior_window } else { 0 };
        self.control.prior_window = prior.max(self.control.window);
    }

    /// InitPacingRate, with the first RTT sample: the pacer spreads the initial window until then.
    pub(super) fn init_pacing_rate(&mut self, rtt: &RttEstimator) {
        if self.control.pacing_rate.is_none() && rtt.first_sample_at().is_some() {
            let nominal = rate::per_second(initial_window(self.mtu), rtt.smoothed().max(Duration::from_micros(1)));
            self.control.pacing_rate = nominal.map(|nominal| percent(nominal, State::Startup.pacing_gain()));
        }
    }

    /// SetPacingRate.
    pub(super) fn set_pacing_rate(&mut self) {
        self.set_pacing_rate_with(self.state.pacing_gain());
    }

    /// SetPacingRateWithGain: never slower before the pipe was full once.
    pub(super) fn set_pacing_rate_with(&mut self, gain: u64) {
        let rate = percent(percent(self.model.bw, gain), MARGIN);
        if self.model.bw > 0 && (self.full_pipe.ever || self.control.pacing_rate.is_none_or(|now| rate > now)) {
            // Slower than a datagram a second would be standing still.
            self.control.pacing_rate = Some(rate.max(self.mtu));
        }
    }

    /// SetCwnd: up by what is acknowledged, down at once.
    pub(super) fn set_window(&mut self, newly_acked: u64) {
        let inflight = self.bdp(self.model.bw, self.state.window_gain());
        let max_inflight = self.with_budget(inflight.saturating_add(self.model.extra_acked()));
        let grown = self.control.window.saturating_add(newly_acked);
        if self.full_pipe.ever {
            self.control.window = grown.min(max_inflight);
        } else if self.control.window < max_inflight || self.sampler.delivered() < initial_window(self.mtu) {
            self.control.window = grown;
        }
        let mut window = self.control.window.max(self.pipe_window());
        if self.state == State::ProbeRtt {
            window = window.min(self.probe_rtt_window());
        }
        let cap = match self.state {
            State::Down | State::Refill | State::Up => self.model.inflight_longterm,
            State::Cruise | State::ProbeRtt => self.inflight_with_headroom(),
            State::Startup | State::Drain => UNBOUNDED,
        };
        let cap = cap.min(self.model.inflight_shortterm).max(self.pipe_window());
        self.control.window = window.min(cap).min(MAX_WINDOW);
    }
}
