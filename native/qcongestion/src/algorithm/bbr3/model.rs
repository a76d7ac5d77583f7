//! What BBR believes of the path: bandwidth, bytes that may be in flight, aggregation (draft-ietf-ccwg-bbr, "Updating
//! Network Path Model Parameters").
//!
//! Called by the steps of an ACK. Never decides a state.

use std::time::Duration;

use qbase::Timestamp;

use super::{Bbr3, State, control::MARGIN, filter::WindowedMax, loss::LOSS_THRESHOLD, percent, scaled};
use crate::{controller::initial_window, rate};

/// No bound.
pub(super) const UNBOUNDED: u64 = u64::MAX;
/// Multiplicative decrease after losses, percent (Beta).
pub(super) const BETA: u64 = 70;
/// Part of `inflight_longterm` left to others, percent (Headroom).
const HEADROOM: u64 = 15;
/// Rounds that aggregation is remembered for once the pipe is full (ExtraAckedFilterLen).
const AGGREGATION_ROUNDS: u64 = 10;
/// Datagrams that keep a pipe with delayed ACKs moving (MinPipeCwnd).
const PIPE_DATAGRAMS: u64 = 4;

/// Round trips told by packets: a round ends when something is acknowledged that was sent after it began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// Bytes delivered when it began (next_round_delivered).
    pub began_at: u64,
    /// Rounds so far.
    pub count: u64,
    /// The newest ACK began one.
    pub starts: bool,
    /// The window was used up in this round.
    pub window_limited: bool,
    /// The window was used up in the round before.
    pub was_window_limited: bool,
}

impl Round {
    /// The window was used up within the last round trip (C.is_cwnd_limited).
    pub const fn is_window_limited(self) -> bool {
        self.window_limited || self.was_window_limited
    }
}

/// The path model.
#[derive(Clone, Debug)]
pub(super) struct Model {
    /// Largest rate samples of the previous and of this cycle (max_bw_filter).
    cycles: [u64; 2],
    /// Bound after losses in this cycle (bw_shortterm).
    pub bw_shortterm: u64,
    /// The rate to send at: least of the two (bw).
    pub bw: u64,
    /// Most that can be in flight without much loss (inflight_longterm).
    pub inflight_longterm: u64,
    /// Bound after losses in this cycle (inflight_shortterm).
    pub inflight_shortterm: u64,
    /// Largest rate sample of this loss round (bw_latest).
    pub bw_latest: u64,
    /// Most bytes delivered in a round trip of this loss round (inflight_latest).
    pub inflight_latest: u64,
    /// Bytes delivered when the loss round ends (loss_round_delivered).
    pub loss_round_ends_at: u64,
    /// Bytes delivered when it began.
    pub loss_round_began_at: u64,
    /// The newest ACK began a loss round.
    pub loss_round_starts: bool,
    /// Something was lost in this loss round.
    pub loss_in_round: bool,
    /// Bytes lost in this loss round.
    pub lost_in_round: u64,
    /// Bytes delivered when the first of them was lost.
    pub delivered_before_loss: u64,
    /// When the count of surplus bytes began (extra_acked_interval_start).
    pub surplus_since: Timestamp,
    /// Bytes acknowledged since.
    surplus_acked: u64,
    /// Surplus of the last rounds (extra_acked_filter).
    surplus: WindowedMax,
}

impl Model {
    /// A path of which nothing is known.
    pub const fn new() -> Self {
        Self {
            cycles: [0; 2],
            bw_shortterm: UNBOUNDED,
            bw: 0,
            inflight_longterm: UNBOUNDED,
            inflight_shortterm: UNBOUNDED,
            bw_latest: 0,
            inflight_latest: 0,
            loss_round_ends_at: 0,
            loss_round_began_at: 0,
            loss_round_starts: false,
            loss_in_round: false,
            lost_in_round: 0,
            delivered_before_loss: 0,
            surplus_since: Timestamp::ZERO,
            surplus_acked: 0,
            surplus: WindowedMax::new(),
        }
    }

    /// Largest rate of this and the previous cycle (max_bw).
    pub fn max_bw(&self) -> u64 {
        let [previous, this] = self.cycles;
        previous.max(this)
    }

    /// A cycle ends (AdvanceMaxBwFilter). One without samples leaves the filter alone.
    pub const fn advance_cycle(&mut self) {
        let [_, this] = self.cycles;
        if this > 0 {
            self.cycles = [this, 0];
        }
    }

    fn take_rate(&mut self, rate: u64) {
        let [_, this] = &mut self.cycles;
        *this = rate.max(*this);
    }

    /// BoundBWForModel.
    pub fn bound_bandwidth(&mut self) {
        self.bw = self.max_bw().min(self.bw_shortterm);
    }

    /// ResetShortTermModel.
    pub const fn forget_short_term(&mut self) {
        (self.bw_shortterm, self.inflight_shortterm) = (UNBOUNDED, UNBOUNDED);
    }

    /// ResetCongestionSignals.
    pub const fn forget_signals(&mut self) {
        self.loss_in_round = false;
        (self.bw_latest, self.inflight_latest) = (0, 0);
    }

    /// Bytes that aggregation delivers at once (extra_acked).
    pub const fn extra_acked(&self) -> u64 {
        self.surplus.largest()
    }
}

impl Bbr3 {
    /// Largest delivery within a loss round; finds where such a round ends.
    pub(super) fn update_latest_delivery_signals(&mut self) {
        let (model, sample) = (&mut self.model, &self.sample);
        model.bw_latest = model.bw_latest.max(sample.rate);
        model.inflight_latest = model.inflight_latest.max(sample.delivered);
        model.loss_round_starts = sample.prior_delivered >= model.loss_round_ends_at;
        if model.loss_round_starts {
            model.loss_round_ends_at = self.sampler.delivered();
        }
    }

    /// Begins a loss round with the newest sample.
    pub(super) const fn advance_latest_delivery_signals(&mut self) {
        if self.model.loss_round_starts {
            self.model.bw_latest = self.sample.rate;
            self.model.inflight_latest = self.sample.delivered;
        }
    }

    /// Rounds, bandwidth, and once a round the answer to losses.
    pub(super) fn update_congestion_signals(&mut self) {
        self.update_round();
        let sample = self.sample;
        if sample.rate > 0 && (sample.rate >= self.model.max_bw() || !sample.app_limited) {
            self.model.take_rate(sample.rate);
        }
        if self.model.loss_round_starts {
            self.lower_bounds();
            self.model.loss_in_round = false;
            self.model.loss_round_began_at = self.sampler.delivered();
        }
    }

    fn update_round(&mut self) {
        self.round.starts = self.sample.prior_delivered >= self.round.began_at;
        if self.round.starts {
            self.start_round();
            self.round.count = self.round.count.saturating_add(1);
            self.probe.rounds = self.probe.rounds.saturating_add(1);
            self.round.was_window_limited = self.round.window_limited;
            self.round.window_limited = false;
        }
    }

    /// StartRound.
    pub(super) const fn start_round(&mut self) {
        self.round.began_at = self.sampler.delivered();
    }

    /// AdaptLowerBoundsFromCongestion: losses outside of probes pull the short-term bounds towards what is delivered.
    ///
    /// What is delivered falls short of what the bounds let out by the losses and by the pacing margin. The draft takes all
    /// of that for a slower path, so that random losses well below the threshold that probes tolerate halve the rate
    /// within a cycle. Here the margin and losses up to that threshold are added again. ProbeRTT, whose window makes for
    /// little delivery, lowers nothing.
    fn lower_bounds(&mut self) {
        self.losses.learn(self.state, &self.model, self.sampler.delivered());
        if self.state.accelerates() || self.state == State::ProbeRtt || !self.model.loss_in_round {
            return;
        }
        let model = &mut self.model;
        let bw = if model.bw_shortterm == UNBOUNDED { model.max_bw() } else { model.bw_shortterm };
        let inflight =
            if model.inflight_shortterm == UNBOUNDED { self.control.window } else { model.inflight_shortterm };
        let delivered = self.sampler.delivered().saturating_sub(model.delivered_before_loss);
        let sent = delivered.saturating_add(model.lost_in_round).max(1);
        let lost = model.lost_in_round.min(percent(sent, LOSS_THRESHOLD));
        let with_losses = |value: u64| scaled(value, sent, sent.saturating_sub(lost));
        let bw_latest = scaled(with_losses(model.bw_latest), 100, MARGIN);
        model.bw_shortterm = bw_latest.max(percent(bw, BETA));
        model.inflight_shortterm = with_losses(model.inflight_latest).max(percent(inflight, BETA));
    }

    /// UpdateACKAggregation: how much more is acknowledged at once than the bandwidth explains.
    pub(super) fn update_ack_aggregation(&mut self, now: Timestamp, newly_acked: u64) {
        let model = &mut self.model;
        let mut expected = rate::bytes_in(model.bw, now.saturating_since(model.surplus_since));
        if model.surplus_acked <= expected {
            model.surplus_acked = 0;
            model.surplus_since = now;
            expected = 0;
        }
        model.surplus_acked = model.surplus_acked.saturating_add(newly_acked);
        let extra = model.surplus_acked.saturating_sub(expected).min(self.control.window);
        let rounds = if self.full_pipe.ever { AGGREGATION_ROUNDS } else { 1 };
        model.surplus.update(rounds, self.round.count, extra);
    }

    /// Bytes a round trip without a queue holds at `bw`, times `gain` percent; the initial window while nothing is known.
    pub(super) fn bdp(&self, bw: u64, gain: u64) -> u64 {
        match self.round_trip.min {
            None => initial_window(self.mtu),
            Some(min_rtt) => percent(rate::bytes_in(bw, min_rtt.max(Duration::from_nanos(1))), gain),
        }
    }

    /// QuantizationBudget: what bursts and delayed ACKs need at least.
    pub(super) fn with_budget(&self, inflight: u64) -> u64 {
        let least = inflight.max(self.control.send_quantum(self.mtu)).max(self.pipe_window());
        if self.state == State::Up { least.saturating_add(self.mtu.saturating_mul(2)) } else { least }
    }

    /// Inflight(): the pipe at `bw`, filled `gain` percent.
    pub(super) fn inflight(&self, bw: u64, gain: u64) -> u64 {
        self.with_budget(self.bdp(bw, gain))
    }

    /// TargetInflight.
    pub(super) fn target_inflight(&self) -> u64 {
        self.bdp(self.model.bw, 100).min(self.control.window)
    }

    /// InflightWithHeadroom: leaves room in the bottleneck to other flows.
    pub(super) fn inflight_with_headroom(&self) -> u64 {
        let longterm = self.model.inflight_longterm;
        if longterm == UNBOUNDED {
            return UNBOUNDED;
        }
        longterm.saturating_sub(percent(longterm, HEADROOM).max(self.mtu)).max(self.pipe_window())
    }

    /// The least window that keeps a pipe with delayed ACKs moving.
    pub(super) const fn pipe_window(&self) -> u64 {
        self.mtu.saturating_mul(PIPE_DATAGRAMS)
    }
}
