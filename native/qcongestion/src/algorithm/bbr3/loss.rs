//! What losses change, and how that is undone when nothing was lost (draft-ietf-ccwg-bbr, "Updating the Model Upon Packet
//! Loss", "Updating the Model Upon Detecting a Spurious Loss Recovery").
//!
//! Called with each batch of losses, with marks, and with the news that an episode of losses had no cause.

use qbase::Timestamp;

use super::{Bbr3, State, model::{BETA, Model, UNBOUNDED}, percent, scaled};
use crate::{Lost, rate::Sample};

/// Losses per round trip that a probe tolerates, percent (LossThresh).
pub(super) const LOSS_THRESHOLD: u64 = 2;

/// The state before the losses of a round.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Undo {
    /// The state the losses ended, if they did.
    pub state: Option<State>,
    bw_shortterm: u64,
    inflight_shortterm: u64,
    inflight_longterm: u64,
}

/// Losses of one path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    /// Since a loss, until a packet sent after it is acknowledged.
    pub recovering: bool,
    /// When that began.
    recovery_start: Option<Timestamp>,
    /// ACKs and timers of this loss round that reported losses.
    pub events: u8,
    pub undo: Undo,
    /// Loss while cruising, millionths: what probes cannot be blamed for.
    background: u64,
}

impl Losses {
    /// A loss round ended. What is lost while the rate only follows the path's is not the work of probes; the draft's one
    /// threshold would have a path with 2 % of random losses end half of all probes at once.
    pub fn learn(&mut self, state: State, model: &Model, delivered: u64) {
        if state == State::Cruise {
            let delivered = delivered.saturating_sub(model.loss_round_began_at);
            let lost = if model.loss_in_round { model.lost_in_round } else { 0 };
            let share = scaled(lost, 1_000_000, delivered.saturating_add(lost).max(1));
            self.background = self.background.saturating_mul(7).saturating_add(share) / 8;
        }
    }

    /// Losses per round trip that a probe may cause, millionths.
    fn tolerated(&self) -> u64 {
        let threshold = LOSS_THRESHOLD.saturating_mul(10_000);
        threshold.saturating_add(self.background.min(threshold))
    }
}

impl Bbr3 {
    /// HandleLostPacket, for a batch.
    pub(super) fn on_loss(&mut self, now: Timestamp, lost: &Lost) {
        let sample = self.sampler.on_lost(lost.newest_sent_at, lost.bytes);
        self.start_recovery(now, lost.newest_sent_at);
        self.losses.events = self.losses.events.saturating_add(1);
        self.note_loss();
        self.model.lost_in_round = self.model.lost_in_round.saturating_add(lost.bytes);
        if let (true, Some(sample)) = (self.probe.samples, sample)
            && self.is_too_high(&sample)
        {
            let inflight = inflight_at_loss(&sample, lost.bytes, self.losses.tolerated());
            self.on_inflight_too_high(now, (!sample.app_limited).then_some(inflight));
        }
    }

    /// A mark says of the queue what a loss says.
    pub(super) fn on_mark(&mut self, now: Timestamp, sent_at: Timestamp) {
        if !self.start_recovery(now, sent_at) {
            return;
        }
        self.note_loss();
        if self.state == State::Startup {
            self.leave_startup_by_loss();
        } else if self.probe.samples {
            self.on_inflight_too_high(now, (!self.sample.app_limited).then_some(self.sample.in_flight));
        }
        // A mark is never spurious.
        self.losses.undo = Undo::default();
    }

    /// A packet sent at `sent_at` was acknowledged: the round trip since the loss is over.
    pub(super) fn end_recovery(&mut self, sent_at: Timestamp) {
        if self.losses.recovering && self.losses.recovery_start.is_none_or(|start| sent_at > start) {
            self.losses.recovering = false;
            self.control.restore();
        }
    }

    /// IsInflightTooHigh, of the newest ACK.
    pub(super) fn is_inflight_too_high(&self) -> bool {
        self.is_too_high(&self.sample)
    }

    /// More than is tolerated of what was in flight was lost.
    fn is_too_high(&self, sample: &Sample) -> bool {
        sample.lost > scaled(sample.in_flight, self.losses.tolerated(), 1_000_000)
    }

    /// HandleSpuriousLossDetection.
    pub(super) fn undo_losses(&mut self) {
        let undo = std::mem::take(&mut self.losses.undo);
        self.control.restore();
        self.losses.recovering = false;
        self.model.loss_in_round = false;
        self.full_pipe.look_again(0);
        let model = &mut self.model;
        model.bw_shortterm = model.bw_shortterm.max(undo.bw_shortterm);
        model.inflight_shortterm = model.inflight_shortterm.max(undo.inflight_shortterm);
        model.inflight_longterm = model.inflight_longterm.max(undo.inflight_longterm);
        match undo.state {
            Some(State::Startup) if self.state != State::Startup => {
                self.full_pipe.ever = false;
                if self.state != State::ProbeRtt {
                    self.state = State::Startup;
                }
            }
            Some(State::Up) if !matches!(self.state, State::Up | State::ProbeRtt) => self.start_refill(),
            _ => {}
        }
    }

    /// Enters recovery with the loss of a packet sent at `sent_at`; `false` if that belongs to the one before.
    fn start_recovery(&mut self, now: Timestamp, sent_at: Timestamp) -> bool {
        let starts = self.losses.recovery_start.is_none_or(|start| sent_at > start);
        if starts {
            self.save_window();
            self.losses.recovery_start = Some(now);
            self.losses.recovering = true;
        }
        starts
    }

    /// NoteLoss: the first one begins a loss round.
    fn note_loss(&mut self) {
        if !self.model.loss_in_round {
            self.model.loss_round_ends_at = self.sampler.delivered();
            self.model.delivered_before_loss = self.sampler.delivered();
            self.model.lost_in_round = 0;
            self.losses.undo = Undo {
                state: None,
                bw_shortterm: self.model.bw_shortterm,
                inflight_shortterm: self.model.inflight_shortterm,
                inflight_longterm: self.model.inflight_longterm,
            };
        }
        self.model.loss_in_round = true;
    }

    /// HandleInflightTooHigh: `inflight` was more than the path takes; `None`: the application had limited it.
    fn on_inflight_too_high(&mut self, now: Timestamp, inflight: Option<u64>) {
        self.probe.was_too_high = true;
        self.probe.samples = false;
        if let Some(inflight) = inflight {
            let least = percent(self.target_inflight(), BETA);
            self.model.inflight_longterm = inflight.max(least).min(UNBOUNDED.saturating_sub(1));
        }
        if self.state == State::Up {
            self.losses.undo.state = Some(State::Up);
            self.start_down(now);
        }
    }
}

/// InflightAtLoss: what was in flight when losses passed the threshold, in millionths, `size` bytes being lost at once.
fn inflight_at_loss(sample: &Sample, size: u64, threshold: u64) -> u64 {
    let before = sample.in_flight.saturating_sub(size);
    let lost_before = sample.lost.saturating_sub(size);
    let left = scaled(before, threshold, 1_000_000).saturating_sub(lost_before);
    before.saturating_add(scaled(left, 1_000_000, 1_000_000_u64.saturating_sub(threshold)))
}
