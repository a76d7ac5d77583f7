//! Startup and Drain: find the bandwidth by doubling, then let the queue run off (draft-ietf-ccwg-bbr, "Startup", "Drain").
//!
//! Called by the steps of an ACK.

use qbase::Timestamp;

use super::{Bbr3, State, percent};

/// Growth that shows that the pipe is not full, percent.
const GROWTH: u64 = 125;
/// Rounds without it that show that it is.
const FLAT_ROUNDS: u8 = 3;
/// ACKs that report losses in one round before Startup takes them seriously (BBRStartupFullLossCnt).
const LOSS_EVENTS: u8 = 6;
/// Rounds after which Drain ends anyway.
const DRAIN_ROUNDS: u64 = 3;

/// Whether more speed brings more bandwidth.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FullPipe {
    /// It did not, at least once (full_bw_reached).
    pub ever: bool,
    /// It does not, since the last look began (full_bw_now).
    pub now: bool,
    /// Rate to exceed (full_bw).
    pub rate: u64,
    /// Rounds in which it was not.
    flat: u8,
    /// Round in which Drain began.
    pub drain_round: u64,
}

impl FullPipe {
    /// ResetFullBW, with `rate` to exceed.
    pub const fn look_again(&mut self, rate: u64) {
        (self.now, self.rate, self.flat) = (false, rate, 0);
    }
}

impl Bbr3 {
    /// CheckFullBWReached: three rounds without a quarter more.
    pub(super) fn check_full_pipe(&mut self) {
        if self.full_pipe.now || !self.round.starts || self.sample.app_limited {
            return;
        }
        if self.sample.rate >= percent(self.full_pipe.rate, GROWTH) {
            self.full_pipe.look_again(self.sample.rate);
            return;
        }
        self.full_pipe.flat = self.full_pipe.flat.saturating_add(1);
        if self.full_pipe.flat >= FLAT_ROUNDS {
            self.full_pipe.now = true;
            self.full_pipe.ever = true;
        }
    }

    /// CheckStartupDone.
    pub(super) fn check_startup_done(&mut self) {
        if self.state != State::Startup {
            return;
        }
        let serious = self.losses.recovering && self.losses.events >= LOSS_EVENTS;
        if self.model.loss_round_starts {
            if serious && self.is_inflight_too_high() {
                self.leave_startup_by_loss();
            }
            self.losses.events = 0;
        }
        if self.full_pipe.ever {
            self.state = State::Drain;
            self.full_pipe.drain_round = self.round.count;
        }
    }

    /// The queue of the bottleneck overflowed: the pipe is full.
    pub(super) fn leave_startup_by_loss(&mut self) {
        self.losses.undo.state = Some(State::Startup);
        self.full_pipe.ever = true;
        self.model.inflight_longterm = self.bdp(self.model.max_bw(), 100).max(self.model.inflight_latest);
    }

    /// CheckDrainDone.
    pub(super) fn check_drain_done(&mut self, now: Timestamp) {
        if self.state != State::Drain {
            return;
        }
        let late = self.round.count > self.full_pipe.drain_round.saturating_add(DRAIN_ROUNDS);
        if late || self.in_flight <= self.inflight(self.model.bw, 100) {
            self.start_down(now);
        }
    }
}
