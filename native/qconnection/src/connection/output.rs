//! The next burst: which path, in which situation; starts the steps and does none of them (style §2, outward flow).
//!
//! Called by the endpoint whenever the connection may have something to send.

use super::{Connection, State};
use crate::{
    burst::{self, Burst, Plan, Planned, SendLimits, Situation, limits::Budget, plan::Wants, sources::Allow},
    path::{
        PathState,
        scheduler::{Choice, Reason},
    },
};
use qbase::{EncryptionLevel, PathId, Timestamp};
use qevent::Signals;

impl Connection {
    /// The next burst into `buffer`, or `None`: then [`Connection::next_timer`] tells when to ask again.
    pub(crate) fn poll_transmit(&mut self, now: Timestamp, buffer: &mut [u8], limits: &SendLimits) -> Option<Burst> {
        match self.state {
            State::Closing => return self.poll_close(now, buffer),
            State::Draining | State::Drained => return None,
            State::Handshaking | State::Open => {}
        }
        if self.waits_for_early(now) {
            self.blocked = Signals::WRITTEN;
            return None;
        }
        if let Some(copy) = self.poll_copy(buffer) {
            return Some(copy);
        }
        if let Some(probe) = self.poll_probe(now, buffer) {
            return Some(probe);
        }
        self.aim_load(now);
        if let Some(aside) = self.poll_aside(now, buffer) {
            return Some(aside);
        }
        self.update_keys_if_needed(now);
        self.reinject_stale(now);
        self.prune_datagrams(now);
        let choice = self.choose_data_path(now);
        let mut signals = Signals::NONE;
        let paths = self.paths.len();
        for step in 0..paths {
            let Some(path) = self.paths.id_at(self.cursor.saturating_add(step).checked_rem(paths).unwrap_or(0)) else { continue };
            let (plan, budget, allow) = match self.mtu_probe(now, path) {
                Some(probe) => probe,
                None => match self.plan_burst(now, path, limits, choice) {
                    Some(Ok(order)) => order,
                    Some(Err(why)) => {
                        signals = signals.union(why);
                        self.trace_blocked(now, path, why);
                        continue;
                    }
                    None => continue,
                },
            };
            let written = match burst::write::write(self, now, path, &plan, budget, allow, buffer) {
                Ok(written) => written,
                Err(error) => {
                    self.fail(now, error);
                    return self.poll_close(now, buffer);
                }
            };
            if written.segments == 0 {
                continue;
            }
            self.cursor = self.cursor.saturating_add(step).checked_rem(paths).unwrap_or(0);
            if allow.data && allow.in_flight {
                self.note_progress(now);
            }
            if allow.data && allow.bundle {
                self.scheduling.memory.last = Some(path);
            }
            let reason = match choice {
                _ if allow.mtu_probe.is_some() => Reason::MtuProbe,
                Some(choice) if allow.data => choice.reason,
                _ => Reason::OwnFrames,
            };
            self.note_burst(now, path, &written, reason);
            if self.candidates.is_some() && path == PathId::ZERO && !self.has_received() {
                self.note_first_flight(now, path, buffer.get(..written.len).unwrap_or_default(), written.segment_size);
            }
            return self.network(path).map(|network| Burst {
                connection: Some(self.handle),
                path,
                four_tuple: network.four_tuple,
                ecn: network.pending.ecn,
                hop_limit: None,
                len: written.len,
                segment_size: written.segment_size,
                segments: written.segments,
            });
        }
        self.cursor = self.cursor.saturating_add(1).checked_rem(paths).unwrap_or(0);
        self.blocked = if signals.is_empty() { Signals::TRANSPORT.union(Signals::WRITTEN) } else { signals };
        self.note_silence(now, signals);
        None
    }

    /// What `path` may send now, or why it may not; `None` if it is not in use.
    fn plan_burst(&mut self, now: Timestamp, path: PathId, limits: &SendLimits, choice: Option<Choice>) -> Option<Result<(Plan, Budget, Allow), Signals>> {
        let situation = self.situation(now, path, limits, choice)?;
        let plan = match burst::plan(&situation) {
            Planned::Blocked(why) => return Some(Err(why)),
            Planned::Burst(plan) => plan,
        };
        let allow = Allow {
            in_flight: plan.in_flight,
            probe: situation.budget.probes > 0,
            data: self.carries_data(path, choice),
            bundle: situation.one_rtt.is_some_and(|wants| wants.frames),
            acks: self.has_acks(),
            control: self.has_control(),
            mtu_probe: None,
        };
        Some(Ok((plan, situation.budget, allow)))
    }

    /// Everything the plan for `path` depends on; `None` if the path is not in use or its socket is full.
    pub(crate) fn situation(&mut self, now: Timestamp, path: PathId, limits: &SendLimits, choice: Option<Choice>) -> Option<Situation> {
        let entry = self.paths.get(path)?;
        if !entry.is_live() {
            return None;
        }
        let has_cid = entry.remote_cids.active().is_some();
        let open = entry.state == PathState::Open;
        let handshake_path = path == PathId::ZERO;
        let initial = if handshake_path { self.handshake_wants(EncryptionLevel::Initial, now) } else { None };
        let handshake = if handshake_path { self.handshake_wants(EncryptionLevel::Handshake, now) } else { None };
        let data = self.carries_data(path, choice);
        let complete = self.handshake_complete;
        let zero_rtt = (handshake_path && self.sends_early()).then(|| Wants {
            frames: self.streams.has_data() || self.streams.has_control() || !self.datagrams.send.is_empty(),
            ..Wants::default()
        });
        let sends = self.sends_data();
        let one_rtt = (sends || (handshake_path && self.acknowledges_early())).then(|| Wants {
            ack: self.ack_due_on(path, now),
            frames: sends
                && open
                && (data
                    || self.datagrams.send.has_pinned(path)
                    || self.streams.has_pinned(path)
                    || self.owes_observation(path)
                    || self.network(path).is_some_and(|network| network.ping_owed || (self.may_copy(path, choice) && !network.duplicates.is_empty()))),
            probe: complete && self.network(path).is_some_and(|network| network.space.probes_owed > 0),
        });
        let idle = self.idle_signals(path);
        let probes = [&self.initial, &self.handshake]
            .into_iter()
            .flatten()
            .filter(|_| handshake_path)
            .map(|space| space.space.probes_owed)
            .fold(0_u8, u8::saturating_add);
        let in_flight = self.bytes_in_flight(path);
        let network = self.network_mut(path)?;
        if network.pending.open {
            return None;
        }
        let mtu = usize::from(network.datagram());
        let paced = network.paced(now, mtu as u64);
        let path_frames = network.validation.as_ref().is_some_and(|validation| validation.wants_challenge()) || network.may_respond(in_flight);
        let role = self.role;
        let network = self.network_mut(path)?;
        Some(Situation {
            role,
            datagram: mtu,
            max_segments: limits.max_segments,
            budget: Budget {
                credit: network.amplification.credit(),
                quota: network.window_room(in_flight).min(paced),
                probes: probes.saturating_add(network.space.probes_owed),
            },
            initial,
            zero_rtt,
            handshake,
            one_rtt,
            path_frames: path_frames && complete,
            has_cid,
            idle,
        })
    }

    /// Control frames and data may go out on `path`: the scheduler chose it, or a probe is owed and no other path lives,
    /// so that the probe carries what the peer misses (burst B-63).
    fn carries_data(&self, path: PathId, choice: Option<Choice>) -> bool {
        let chosen = choice.is_some_and(|choice| choice.path == path);
        chosen || (self.network(path).is_some_and(|network| network.space.probes_owed > 0) && !self.has_live_sibling(path))
    }

    /// Copies of other paths' data may go out on `path`: nothing fresh waits, or who decides from outside wants them there now.
    fn may_copy(&self, path: PathId, choice: Option<Choice>) -> bool {
        !self.streams.has_shared() || (self.scheduling.outside.copies_to(path) && !self.carries_data(path, choice))
    }

    fn handshake_wants(&self, level: EncryptionLevel, now: Timestamp) -> Option<Wants> {
        let space = match level {
            EncryptionLevel::Initial => self.initial.as_ref()?,
            _ => self.handshake.as_ref()?,
        };
        Some(Wants { ack: space.space.acks.due(now), frames: space.crypto.has_pending(), probe: space.space.probes_owed > 0 })
    }

    /// An acknowledgement that travels on `path` is due, or a copy of one.
    fn ack_due_on(&self, path: PathId, now: Timestamp) -> bool {
        self.paths.iter().any(|entry| {
            let is_due = entry.network.as_deref().is_some_and(|network| network.space.acks.due(now));
            (is_due && self.ack_carrier(entry.id) == Some(path)) || self.copies_ack_on(entry.id) == Some(path)
        })
    }

    /// Some path has packets to acknowledge, or an acknowledgement to copy.
    fn has_acks(&self) -> bool {
        self.paths.iter().any(|entry| entry.network.as_deref().is_some_and(|network| network.space.acks.pending() || network.ack_copies.is_owed()))
    }

    /// What the sources wait for when they have nothing (burst section 9).
    fn idle_signals(&self, path: PathId) -> Signals {
        let open = self.paths.get(path).is_some_and(|entry| entry.state == PathState::Open);
        let mut signals = Signals::TRANSPORT;
        if !self.handshake_complete {
            signals = signals.union(Signals::KEYS);
        } else if !open {
            signals = signals.union(Signals::PATH_VALIDATE);
        } else if self.streams.blocked_by_credit() {
            signals = signals.union(Signals::FLOW_CONTROL);
        } else if self.streams.has_data() || !self.datagrams.send.is_empty() {
            signals = signals.union(Signals::CONGESTION);
        } else {
            signals = signals.union(Signals::WRITTEN);
        }
        signals
    }
}
