//! The pair that answers first carries the handshake (multipath MP-92…MP-95; burst B-112, B-115).
//!
//! Called by the input for the first authentic packet, Retry or Version Negotiation, and by the PTO when the pair falls
//! silent. Answers count only if they are authentic: what anybody can write locks nothing.

use super::{Afterwards, Lock, StepKind};
use crate::{config::HandshakeMode, connection::{Connection, input::Opened}, path::{PathTerms, measured::Measured, side::is_same_path}};
use qbase::{EncryptionLevel, FourTuple, PathId, Timestamp};

/// PTOs of silence after which a locked pair is left, once.
const SILENT_PTOS: u32 = 2;

impl Connection {
    /// An authentic packet of the server came: its pair is the handshake's (multipath MP-92).
    pub(in crate::connection) fn lock_candidate(&mut self, opened: &Opened) {
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        candidates.silent_ptos = 0;
        if candidates.is_undecided() {
            self.lock_to(opened.arrival.now, opened.arrival.four_tuple, "the first authentic packet came");
        }
    }

    /// The handshake stays with the pair of these addresses: further copies have no use, and a token is bound to it
    /// (multipath MP-93).
    pub(in crate::connection) fn lock_to(&mut self, now: Timestamp, answered: FourTuple, reason: &'static str) {
        let Some(candidates) = self.candidates.as_deref_mut().filter(|candidates| candidates.is_undecided()) else { return };
        candidates.lock = if candidates.lock == Lock::Open { Lock::Locked } else { Lock::Relocked };
        if candidates.is_rival {
            // The first that is complete stays (multipath MP-91).
            let current = candidates.current;
            return self.tell_step(now, current, StepKind::Answered, reason);
        }
        let started = |at: &usize| candidates.list.get(*at).is_some_and(|entry| entry.facts.is_started() && is_same_path(entry.four_tuple, answered));
        let others = (0..candidates.list.len()).filter(|at| *at != candidates.current);
        let winner = std::iter::once(candidates.current).chain(others).find(started).unwrap_or(candidates.current);
        (candidates.next_at, candidates.copying) = (None, None);
        candidates.owed.clear();
        candidates.loads.clear();
        candidates.flight = Vec::new();
        let losers: Vec<usize> = candidates.list.iter().enumerate().filter(|(at, entry)| *at != winner && entry.facts.is_trying()).map(|(at, _)| at).collect();
        let moves = candidates.current != winner;
        self.tell_step(now, winner, StepKind::Answered, reason);
        self.tell_step(now, winner, StepKind::Locked, reason);
        for loser in losers {
            self.tell_step(now, loser, StepKind::Muted, "another one was answered first");
        }
        self.drop_other_ways(winner);
        if moves {
            self.aim(winner);
            self.count_from_copies(winner);
        }
        self.settle_requests(winner);
    }

    /// `stagger`, `race`: what this pair got are copies, which left later than the first pair's packets: its round trip
    /// counts from there.
    fn count_from_copies(&mut self, winner: usize) {
        let Some(candidates) = self.candidates.as_deref().filter(|candidates| candidates.copies()) else { return };
        let Some(at) = candidates.list.get(winner).and_then(|entry| entry.facts.first_sent_at()) else { return };
        if let Some(initial) = &mut self.initial {
            initial.space.sent.on_copies_answered(at);
        }
        if let Some(network) = self.network_mut(PathId::ZERO) {
            network.space.sent.on_copies_answered(at);
        }
    }

    /// `shared`: what went to other pairs is not on its way any more, without a word about congestion (burst B-115). Early
    /// data goes out again.
    fn drop_other_ways(&mut self, winner: usize) {
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        let ways = std::mem::take(&mut candidates.ways);
        let elsewhere = |level: EncryptionLevel, number| ways.iter().any(|way| (way.0, way.1) == (level, number) && way.2 != winner);
        if let Some(initial) = &mut self.initial {
            initial.space.sent.withdraw(|number| elsewhere(EncryptionLevel::Initial, number), |_, _| {});
        }
        if !ways.iter().any(|way| way.0 == EncryptionLevel::OneRtt && way.2 != winner) {
            return;
        }
        let mut settled = std::mem::take(&mut self.settled);
        settled.clear();
        if let Some(network) = self.network_mut(PathId::ZERO) {
            network.space.sent.withdraw(|number| elsewhere(EncryptionLevel::OneRtt, number), |_, frames| settled.extend(frames));
        }
        for frame in settled.drain(..) {
            self.on_frame_lost(frame);
        }
        self.settled = settled;
    }

    /// The winner's request is fulfilled by path 0; the others wait for the confirmation, in the order of their pairs
    /// (multipath MP-95).
    pub(super) fn settle_requests(&mut self, winner: usize) {
        let Some(candidates) = self.candidates.as_deref() else { return };
        let Some(won) = candidates.list.get(winner) else { return };
        let fulfils = if let Afterwards::InsteadOf(other) = won.afterwards { other } else { winner };
        let asked = candidates.list.get(fulfils).unwrap_or(won);
        let (ticket, request) = (asked.ticket, asked.request());
        let of_pair = |ticket: u64| candidates.list.iter().any(|entry| entry.ticket == ticket);
        let later: Vec<_> = self.opens.iter().filter(|open| !of_pair(open.ticket)).copied().collect();
        let told = |ticket: u64| self.opens.iter().find(|open| open.ticket == ticket).and_then(|open| open.told);
        let others = candidates.list.iter().enumerate().filter(|(at, _)| *at != winner && *at != fulfils).filter_map(|(_, entry)| entry.request());
        let opens = others.map(|open| super::PendingOpen { told: told(open.ticket), ..open }).chain(later).collect();
        self.opens = opens;
        if let Some(entry) = self.paths.get_mut(PathId::ZERO) {
            entry.ticket = (ticket != 0).then_some(ticket);
            let terms = request.map_or(PathTerms::AVAILABLE, |request| request.terms);
            entry.status.set_local(terms.status);
            entry.weight = terms.weight.max(1);
        }
    }

    /// A PTO fired and nothing had come since the last one: a pair that stays silent is left once for the next
    /// (multipath MP-92). A server learns of it by the next packet.
    pub(in crate::connection) fn on_handshake_silence(&mut self, now: Timestamp) {
        let token_bound = self.cids.retry.is_some();
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        let tries = matches!(candidates.lock, Lock::Locked | Lock::Unlocked);
        if !tries || candidates.mode == HandshakeMode::Independent || token_bound {
            return;
        }
        candidates.silent_ptos = candidates.silent_ptos.saturating_add(1);
        if candidates.lock == Lock::Locked && candidates.silent_ptos < SILENT_PTOS {
            return;
        }
        let len = candidates.list.len();
        let usable = |at: &usize| candidates.list.get(*at).is_some_and(|entry| !entry.facts.has_failed());
        let mut order = (1..len).filter_map(|step| candidates.current.saturating_add(step).checked_rem(len));
        let Some(next) = order.find(usable) else { return };
        if candidates.lock == Lock::Unlocked {
            // Until somebody answers each PTO tries the next one: the silence may have been the server's, and the pair that
            // was left the only one that works.
            self.aim(next);
            return self.measure_anew(now);
        }
        let silent = candidates.current;
        candidates.lock = Lock::Unlocked;
        self.tell_step(now, silent, StepKind::Unlocked, "silent for two PTOs");
        self.tell_step(now, next, StepKind::Started, "the locked one fell silent");
        self.aim(next);
        self.measure_anew(now);
    }

    /// Nothing that was measured holds for the pair that is tried now, and what was sent before is not in flight there.
    fn measure_anew(&mut self, now: Timestamp) {
        for space in [&mut self.initial, &mut self.handshake].into_iter().flatten() {
            space.space.sent.on_network_change();
        }
        let (config, complete) = (std::sync::Arc::clone(&self.config), self.handshake_complete);
        let Some(network) = self.network_mut(PathId::ZERO) else { return };
        // Two ways to one server differ less than a way differs from the default for an unknown server.
        let doubled = network.rtt.smoothed().saturating_mul(2).min(config.initial_rtt);
        let mut left = Measured::nothing(&config, network.four_tuple);
        network.exchange(now, &mut left);
        network.rtt.suggest_initial(doubled);
        network.pto_count = 0;
        if complete {
            // A server that is done with the handshake follows nothing else.
            network.space.probes_owed = network.space.probes_owed.max(1);
        }
    }

    /// The handshake is confirmed: what is left of the pairs are facts.
    pub(in crate::connection) fn end_candidates(&mut self) {
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        candidates.lock = Lock::Over;
        candidates.list.shrink_to_fit();
        candidates.ways = Vec::new();
        candidates.owed = std::collections::VecDeque::new();
        candidates.loads = std::collections::VecDeque::new();
    }
}
