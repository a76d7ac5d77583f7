//! The next instant something happens by itself, its name, and what happens then (RFC 9002 §6, RFC 9000 §10).
//!
//! Called by the endpoint once per turn. Timers of parts are asked for, not stored; only deadlines of the whole
//! connection stand here.

use super::{Connection, State, close::CloseCause};
use crate::{config::TransportConfig, path::{PathState, network::Siblings}};
use qbase::{EncryptionLevel, PathId, Timestamp};
use qevent::TimerName;
use std::time::Duration;

/// A path whose validation failed is asked again if an authentic packet came so recently.
const STILL_HEARD: Duration = Duration::from_secs(1);

/// PTOs in a row from which on probes repeat the last acknowledgement.
const ACK_REPEATED_FROM: u32 = 3;

/// Deadlines of the whole connection.
#[derive(Debug)]
pub(crate) struct Timers {
    /// Smaller of both ends' idle timeouts; `None`: never.
    idle_timeout: Option<Duration>,
    /// Since when nothing happened.
    idle_since: Timestamp,
    /// An ack-eliciting packet was sent since the last one was received (RFC 9000 §10.1).
    sent_since_received: bool,
    /// The handshake must be complete by then.
    handshake_deadline: Option<Timestamp>,
    /// Closing or draining ends then.
    pub(super) close_deadline: Option<Timestamp>,
    keep_alive: Option<Duration>,
    last_keep_alive: Timestamp,
}

impl Timers {
    pub(crate) fn new(now: Timestamp, config: &TransportConfig) -> Self {
        let on = |duration: Duration| (!duration.is_zero()).then_some(duration);
        Self {
            idle_timeout: on(config.idle_timeout),
            idle_since: now,
            sent_since_received: false,
            handshake_deadline: on(config.handshake_timeout).map(|timeout| now + timeout),
            close_deadline: None,
            keep_alive: on(config.keep_alive),
            last_keep_alive: now,
        }
    }

    pub(super) const fn on_handshake_complete(&mut self) {
        self.handshake_deadline = None;
    }

    /// The peer's idle timeout: the smaller of both counts, zero means none (RFC 9000 §10.1).
    pub(super) fn on_peer_idle_timeout(&mut self, theirs: Duration) {
        if !theirs.is_zero() {
            self.idle_timeout = Some(self.idle_timeout.map_or(theirs, |ours| ours.min(theirs)));
        }
    }

    pub(super) const fn on_authentic_packet(&mut self, now: Timestamp) {
        self.idle_since = now;
        self.sent_since_received = false;
    }

    pub(super) const fn on_ack_eliciting_sent(&mut self, now: Timestamp) {
        if !self.sent_since_received {
            self.idle_since = now;
            self.sent_since_received = true;
        }
    }

    /// It left on a path that answers: until the answer, or for so long, nothing more is needed.
    pub(super) const fn on_alive(&mut self, now: Timestamp) {
        self.last_keep_alive = now;
    }

    fn idle_deadline(&self, pto: Duration) -> Option<Timestamp> {
        self.idle_timeout.map(|timeout| self.idle_since + timeout.max(pto.saturating_mul(3)))
    }
}

/// An instant with its name; the earliest wins.
#[derive(Clone, Copy)]
struct Earliest(Option<(Timestamp, TimerName)>);

impl Earliest {
    fn add(&mut self, at: Option<Timestamp>, name: TimerName) {
        if let Some(at) = at
            && self.0.is_none_or(|(earliest, _)| at < earliest)
        {
            self.0 = Some((at, name));
        }
    }
}

impl Connection {
    /// When to call [`Connection::on_timer`] next, and for what.
    #[must_use]
    pub fn next_timer(&self) -> Option<(Timestamp, TimerName)> {
        let mut earliest = Earliest(None);
        match self.state {
            State::Drained => return None,
            State::Closing | State::Draining => {
                earliest.add(self.timers.close_deadline, TimerName::Close);
                return earliest.0;
            }
            State::Handshaking | State::Open => {}
        }
        earliest.add(self.timers.idle_deadline(self.largest_pto()), TimerName::Idle);
        earliest.add(self.timers.handshake_deadline, TimerName::Handshake);
        earliest.add(self.keep_alive_at(), TimerName::KeepAlive);
        earliest.add(self.reinject_at, TimerName::Reinject);
        earliest.add(self.scheduling.ask_at, TimerName::Scheduler);
        earliest.add(self.traversal_timer(), TimerName::Traversal);
        earliest.add(self.datagrams.send.expires_at(), TimerName::DatagramExpiry);
        earliest.add(self.candidates.as_ref().and_then(|candidates| candidates.next_at()), TimerName::HandshakeAttempt);
        earliest.add(self.application.as_ref().and_then(|application| application.keys.next_timer()), TimerName::KeyDiscard);
        earliest.add(self.early.as_ref().and_then(|early| early.discard_at), TimerName::KeyDiscard);
        earliest.add(self.early.as_ref().and_then(|early| early.held_until), TimerName::HandshakeAttempt);
        let may_answer = self.network(PathId::ZERO).is_some_and(|network| network.amplification.credit() > 0 && !network.pending.open);
        for space in [&self.initial, &self.handshake].into_iter().flatten() {
            // An acknowledgement that the credit holds back waits for the peer's next datagram, not for time.
            earliest.add(space.space.acks.deadline().filter(|_| may_answer), TimerName::AckDelay);
            earliest.add(space.space.loss_time, TimerName::Loss);
        }
        for entry in self.paths.iter() {
            let Some(network) = entry.network.as_deref() else { continue };
            // Without a carrier only an arrival helps: it brings credit and a turn to send.
            let ack_at = network.space.acks.deadline().filter(|_| self.ack_carrier(entry.id).is_some());
            earliest.add(ack_at, TimerName::AckDelay);
            if entry.is_live() {
                earliest.add(network.space.loss_time, TimerName::Loss);
                earliest.add(self.pto_at(entry.id).map(|(at, _)| at), TimerName::Pto);
                earliest.add(network.pacing_until, TimerName::Pacing);
                earliest.add(network.validation.as_ref().and_then(|validation| validation.next_timer()), TimerName::PathValidation);
                for side in network.sides() {
                    earliest.add(side.next_timer(), TimerName::PathValidation);
                }
            } else {
                let forget_at = entry.abandon.filter(|abandon| !abandon.owed).map(|abandon| abandon.forget_at);
                earliest.add(forget_at, TimerName::PathForget);
            }
        }
        earliest.0
    }

    /// Does what is due.
    pub fn on_timer(&mut self, now: Timestamp) {
        self.run_timers(now);
        self.log_facts(now);
    }

    fn run_timers(&mut self, now: Timestamp) {
        if let (State::Closing | State::Draining, Some(deadline)) = (self.state, self.timers.close_deadline) {
            if deadline <= now {
                self.drain_out();
            }
            return;
        }
        if !matches!(self.state, State::Handshaking | State::Open) {
            return;
        }
        if self.timers.idle_deadline(self.largest_pto()).is_some_and(|deadline| deadline <= now) {
            return self.close_silently(now, CloseCause::IdleTimeout);
        }
        if self.timers.handshake_deadline.is_some_and(|deadline| deadline <= now) {
            return self.close_silently(now, CloseCause::HandshakeTimeout);
        }
        if self.keep_alive_at().is_some_and(|at| at <= now) {
            self.timers.last_keep_alive = now;
            self.ask_for_life();
        }
        if let Some(application) = &mut self.application {
            application.keys.on_timer(now);
        }
        self.prune_datagrams(now);
        self.on_traversal_timer(now);
        self.on_early_timer(now);
        self.on_stagger_timer(now);
        self.on_loss_timers(now);
        self.on_pto_timers(now);
        self.on_validation_timers(now);
        self.forget_abandoned(now);
    }

    /// PING on every path that has not fallen silent; where all have, with whatever goes out. One path may have been cut unnoticed.
    fn ask_for_life(&mut self) {
        let mut asked = 0_usize;
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at) else { break };
            let entry = self.paths.get_mut(path).filter(|entry| entry.state == PathState::Open);
            if let Some(network) = entry.and_then(|entry| entry.network.as_deref_mut()).filter(|network| network.suspect_since.is_none()) {
                network.ping_owed = true;
                asked = asked.saturating_add(1);
            }
        }
        self.control.ping |= asked == 0;
    }

    fn keep_alive_at(&self) -> Option<Timestamp> {
        let interval = self.timers.keep_alive.filter(|_| self.handshake_complete)?;
        Some(self.timers.idle_since.max(self.timers.last_keep_alive) + interval)
    }

    fn on_loss_timers(&mut self, now: Timestamp) {
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if self.initial.as_ref().is_some_and(|space| due(space.space.loss_time)) {
            self.detect_losses(now, EncryptionLevel::Initial, PathId::ZERO);
        }
        if self.handshake.as_ref().is_some_and(|space| due(space.space.loss_time)) {
            self.detect_losses(now, EncryptionLevel::Handshake, PathId::ZERO);
        }
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at) else { break };
            if self.network(path).is_some_and(|network| due(network.space.loss_time)) {
                self.detect_losses(now, EncryptionLevel::OneRtt, path);
            }
        }
    }

    /// When the PTO of a path fires and for which level (RFC 9002 §6.2.1, appendix A.8).
    pub(crate) fn pto_at(&self, path: PathId) -> Option<(Timestamp, EncryptionLevel)> {
        let network = self.network(path)?;
        let siblings = self.siblings(path);
        // At the anti-amplification limit nothing could be sent: the peer's next datagram helps (RFC 9002 §6.2.2.1), or
        // another address that the peer was heard from.
        if network.amplification.credit() == 0 && !(path == PathId::ZERO && self.can_answer_some_caller()) {
            return None;
        }
        let handshake_path = path == PathId::ZERO;
        if handshake_path && !self.confirmed {
            let spaces = [(&self.initial, EncryptionLevel::Initial), (&self.handshake, EncryptionLevel::Handshake)];
            let interval = network.backed_off_pto(Duration::ZERO, siblings);
            let earliest = spaces
                .into_iter()
                .filter_map(|(space, level)| {
                    let space = &space.as_ref()?.space;
                    if !space.is_waiting_for_ack() || space.loss_time.is_some() {
                        return None;
                    }
                    Some((space.sent.last_ack_eliciting_sent_at()?.max(network.pto_fired_at) + interval, level))
                })
                .min_by_key(|(at, _)| *at);
            return earliest.or_else(|| self.anti_deadlock_at(interval));
        }
        if !self.confirmed || !network.space.is_waiting_for_ack() || network.space.loss_time.is_some() {
            return None;
        }
        let max_ack_delay = self.peer_max_ack_delay();
        let last_sent = network.space.sent.last_ack_eliciting_sent_at()?.max(network.pto_fired_at);
        let interval = network.backed_off_pto(max_ack_delay, siblings);
        if siblings == Siblings::Live && network.suspect_since.is_none() {
            // With another path to go to, silence counts from the last answer, however much was sent since.
            let patience = network.patience(max_ack_delay, self.config.max_stall);
            return Some((network.progress_at.max(network.pto_fired_at) + patience, EncryptionLevel::OneRtt));
        }
        Some((last_sent + interval, EncryptionLevel::OneRtt))
    }

    /// A client keeps probing until the server can send freely (RFC 9002 §6.2.2.1, burst B-64).
    fn anti_deadlock_at(&self, interval: Duration) -> Option<(Timestamp, EncryptionLevel)> {
        if !self.role.is_client() || self.confirmed {
            return None;
        }
        let level = if self.handshake.is_some() { EncryptionLevel::Handshake } else { EncryptionLevel::Initial };
        let since = self.network(PathId::ZERO)?.last_ack_eliciting_at?;
        Some((since + interval, level))
    }

    fn on_pto_timers(&mut self, now: Timestamp) {
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at) else { break };
            if !self.paths.get(path).is_some_and(|entry| entry.is_live()) {
                continue;
            }
            if let Some((due, level)) = self.pto_at(path)
                && due <= now
            {
                self.on_pto(now, path, level);
            }
        }
    }

    /// A PTO: two probes, the oldest data again, and with other paths alive suspicion (RFC 9002 §6.2.4, burst B-63, B-65).
    fn on_pto(&mut self, now: Timestamp, path: PathId, level: EncryptionLevel) {
        if let Some(network) = self.network_mut(path) {
            network.pto_count = network.pto_count.saturating_add(1);
            network.pto_fired_at = now;
            network.ecn.on_pto(network.pto_count);
        }
        // Our own acknowledgement may be what was lost. In the handshake the peer asks again, over another path it would make
        // a dead one look alive, and told late it spoils the peer's idea of the round trip: not before several PTOs.
        let is_lossy = self.network(path).is_some_and(|network| network.pto_count >= ACK_REPEATED_FROM);
        let repeats_ack = level == EncryptionLevel::OneRtt && is_lossy && self.siblings(path) == Siblings::None;
        if let Some(space) = self.space_mut(level, path) {
            space.probes_owed = 2;
            if repeats_ack && space.received.largest().is_some() {
                space.acks.repeat();
            }
        }
        if let Some(network) = self.network_mut(path) {
            // The anti-deadlock timer counts from here when nothing is in flight.
            network.last_ack_eliciting_at = Some(now);
        }
        self.counters.ptos = self.counters.ptos.saturating_add(1);
        if level != EncryptionLevel::OneRtt && !self.confirmed {
            self.on_handshake_pto(now);
        }
        if level == EncryptionLevel::OneRtt && path == PathId::ZERO && self.confirmed {
            self.go_home(now);
            self.go_to_spare(now);
        }
        if level == EncryptionLevel::OneRtt && self.has_live_sibling(path) {
            self.suspect_path(now, path);
        } else {
            self.offer_again(level, path, 2);
        }
        if level == EncryptionLevel::Initial && self.sends_early() {
            // The probe's datagram has room for what may be lost with it.
            self.offer_again(EncryptionLevel::ZeroRtt, path, 2);
        }
        // The other space of the handshake rides along: the peer can use neither without the other (RFC 9002 §6.2.4).
        match level {
            EncryptionLevel::Initial if self.handshake.as_ref().is_some_and(|space| space.crypto.has_unacked()) => {
                self.offer_again(EncryptionLevel::Handshake, path, 2);
            }
            EncryptionLevel::Handshake if self.initial.as_ref().is_some_and(|space| space.crypto.has_unacked()) => {
                self.offer_again(EncryptionLevel::Initial, path, 2);
            }
            _ => {}
        }
    }

    /// The handshake stays without an answer where it is: another address may have one.
    fn on_handshake_pto(&mut self, now: Timestamp) {
        if !self.role.is_client() {
            self.answer_next_caller(now);
        } else if self.has_received() {
            self.on_handshake_silence(now);
        } else {
            self.on_first_flight_unanswered(now);
        }
    }

    fn on_validation_timers(&mut self, now: Timestamp) {
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at) else { break };
            self.on_side_timers(now, path);
            let Some(entry) = self.paths.get_mut(path) else { continue };
            let validating = entry.state == PathState::Validating;
            let Some(network) = entry.network.as_deref_mut() else { continue };
            let Some(validation) = &mut network.validation else { continue };
            validation.on_timer(now);
            if !validation.has_failed() {
                continue;
            }
            network.validation = None;
            if self.go_back(now, path) {
                continue;
            }
            let Some(network) = self.network(path) else { continue };
            // A peer whose packets arrive is there, however many answers were lost: ask it again.
            let heard = network.counters.last_received_at.is_some_and(|at| now.saturating_since(at) < STILL_HEARD);
            if heard {
                self.challenge(now, path);
                continue;
            }
            if validating && path != PathId::ZERO || self.paths.live_count() > 1 {
                self.begin_abandon(
                    now,
                    path,
                    qbase::ErrorCode::PATH_UNSTABLE_OR_POOR.0,
                    super::events::Cause::Timer,
                    "challenges were not answered",
                );
            }
        }
    }
}
