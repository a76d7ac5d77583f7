//! The round trip without a queue: a filter over ten seconds, and ProbeRTT to refresh it (draft-ietf-ccwg-bbr, "ProbeRTT",
//! "Restarting From Idle").
//!
//! Called by the steps of an ACK and by sending after silence.

use std::time::Duration;

use qbase::Timestamp;

use super::{Bbr3, State, probe_bw::Feedback};

/// A least RTT holds so long (MinRTTFilterLen).
const FILTER_TIME: Duration = Duration::from_secs(10);
/// The queue runs off at least this often (ProbeRTTInterval).
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// Time with little in flight (ProbeRTTDuration).
const PROBE_TIME: Duration = Duration::from_millis(200);
/// In flight meanwhile, percent of what the pipe holds (ProbeRTTCwndGain).
const PROBE_GAIN: u64 = 50;

/// Round trips without a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundTrip {
    /// The least of ten seconds (min_rtt); `None` before the first sample.
    pub min: Option<Duration>,
    min_at: Timestamp,
    /// The least of five seconds (probe_rtt_min_delay).
    recent: Option<Duration>,
    recent_at: Timestamp,
    /// `recent` is older than that.
    expired: bool,
    /// When ProbeRTT may end; `None` until little is in flight (probe_rtt_done_stamp).
    done_at: Option<Timestamp>,
    /// A round has passed since (probe_rtt_round_done).
    round_done: bool,
    /// Sending starts after silence, which emptied the queue as well (idle_restart).
    idle_restart: bool,
}

impl RoundTrip {
    pub const fn new() -> Self {
        Self {
            min: None,
            min_at: Timestamp::ZERO,
            recent: None,
            recent_at: Timestamp::ZERO,
            expired: false,
            done_at: None,
            round_done: false,
            idle_restart: false,
        }
    }
}

impl Bbr3 {
    /// UpdateMinRTT.
    pub(super) fn update_min_rtt(&mut self, now: Timestamp, sample: Option<Duration>) {
        let known = &mut self.round_trip;
        known.expired = known.recent.is_some() && now > known.recent_at + PROBE_INTERVAL;
        if let Some(sample) = sample
            && (known.expired || known.recent.is_none_or(|recent| sample < recent))
        {
            known.recent = Some(sample);
            known.recent_at = now;
        }
        let min_expired = now > known.min_at + FILTER_TIME;
        if let Some(recent) = known.recent
            && (min_expired || known.min.is_none_or(|min| recent < min))
        {
            known.min = Some(recent);
            known.min_at = known.recent_at;
        }
    }

    /// Acknowledgements take another way: the least round trip is that of the next sample.
    pub(super) const fn forget_min_rtt(&mut self) {
        (self.round_trip.min, self.round_trip.recent) = (None, None);
    }

    /// CheckProbeRTT.
    pub(super) fn check_probe_rtt(&mut self, now: Timestamp) {
        if self.state != State::ProbeRtt && self.round_trip.expired && !self.round_trip.idle_restart {
            self.save_window();
            self.state = State::ProbeRtt;
            self.round_trip.done_at = None;
            self.probe.feedback = Feedback::Stopping;
            self.start_round();
        }
        if self.state == State::ProbeRtt {
            self.handle_probe_rtt(now);
        }
        if self.sample.delivered > 0 {
            self.round_trip.idle_restart = false;
        }
    }

    /// HandleProbeRTT: what is sent with so little in flight says nothing about the bandwidth.
    fn handle_probe_rtt(&mut self, now: Timestamp) {
        self.sampler.on_app_limited(self.in_flight);
        if self.round_trip.done_at.is_some() {
            self.round_trip.round_done |= self.round.starts;
            if self.round_trip.round_done {
                self.check_probe_rtt_done(now);
            }
        } else if self.in_flight <= self.probe_rtt_window() {
            self.round_trip.done_at = Some(now + PROBE_TIME);
            self.round_trip.round_done = false;
            self.start_round();
        }
    }

    /// CheckProbeRTTDone and ExitProbeRTT.
    fn check_probe_rtt_done(&mut self, now: Timestamp) {
        if self.round_trip.done_at.is_none_or(|done_at| now <= done_at) {
            return;
        }
        self.round_trip.recent_at = now;
        self.control.restore();
        self.model.forget_short_term();
        if self.full_pipe.ever {
            self.start_down(now);
            self.state = State::Cruise;
        } else {
            self.state = State::Startup;
        }
    }

    /// ProbeRTTCwnd.
    pub(super) fn probe_rtt_window(&self) -> u64 {
        self.bdp(self.model.bw, PROBE_GAIN).max(self.pipe_window())
    }

    /// HandleRestartFromIdle: nothing was in flight because there was nothing to send.
    pub(super) fn restart_from_idle(&mut self, now: Timestamp) {
        self.round_trip.idle_restart = true;
        self.model.surplus_since = now;
        if self.state.probes_bandwidth() {
            self.set_pacing_rate_with(100);
        } else if self.state == State::ProbeRtt {
            self.check_probe_rtt_done(now);
        }
    }
}
