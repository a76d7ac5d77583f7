//! The network behind one path: address, validation, RTT, congestion, pacing, numbers (RFC 9002, multipath MP-17).
//!
//! Called by the connection for everything that is measured or limited per path. Never chooses what is sent.

use super::{ack_ways::AckWays, amplify::Amplification, unmeasured::Unmeasured, validate::{Responses, Validation}};
use super::{duplicates::Duplicates, ecn::EcnPath, mtu::{self, MtuSearch, Reach}, scheduler::Chosen, side::Side, spin::SpinState};
use crate::{burst::{acknowledge::AckCopies, record::PendingBurst}, config::TransportConfig, space::Space};
use qbase::{FourTuple, PacketNumber, PathId, Timestamp, limits};
use qcongestion::{Controller, LossEpisode, Pacer, PersistentCongestion, Reordering, RttEstimator, SlowStart, algorithm, loss::Cause, pto, rate::Meter};
use qrecovery::sent::Late;
use std::{ops::Range, time::Duration};

/// Longest time between two probes of a suspect path while another path lives: a path that comes back is used again
/// soon, and the probes (two small packets) cost next to nothing.
pub const SUSPECT_PROBE_INTERVAL: Duration = Duration::from_millis(150);
/// Longest time between two probes while all paths are silent, so that the connection goes on within a
/// second of their return (attacks F18).
pub const DARK_PROBE_INTERVAL: Duration = Duration::from_millis(900);

/// A window that was not used up for so long is not valid any more (RFC 7661's non-validated period).
pub const WINDOW_VALIDITY: Duration = Duration::from_secs(300);

/// What a path did so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct PathCounters {
    /// UDP payload bytes sent.
    pub bytes_sent: u64,
    /// UDP payload bytes of datagrams with an authentic packet.
    pub bytes_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Authentic packets received.
    pub packets_received: u64,
    /// Packets declared lost.
    pub packets_lost: u64,
    /// Packets declared lost whose acknowledgement came after all.
    pub packets_spuriously_lost: u64,
    /// Stream bytes copied to other paths because this one was silent.
    pub bytes_reinjected: u64,
    /// Bursts sent.
    pub bursts: u64,
    /// Segments in those bursts.
    pub segments: u64,
    /// Send calls that failed.
    pub send_errors: u64,
    /// When the last authentic packet came.
    pub last_received_at: Option<Timestamp>,
}

/// State of the network behind one path.
#[derive(Debug)]
pub struct Network {
    /// Our address and the peer's.
    pub four_tuple: FourTuple,
    /// How much may be sent before the address is proved.
    pub amplification: Amplification,
    /// The challenge under way.
    pub validation: Option<Validation>,
    /// Responses owed.
    pub responses: Responses,
    /// Application packet numbers.
    pub space: Space,
    /// RTT.
    pub rtt: RttEstimator,
    /// Congestion controller.
    pub controller: Box<dyn Controller>,
    /// Pacer.
    pub pacer: Pacer,
    /// PTOs in a row without an acknowledgement (RFC 9002 §6.2.1).
    pub pto_count: u32,
    /// UDP payload of full packets, and the search for more.
    pub search: MtuSearch,
    /// What is known about ECN on it.
    pub ecn: EcnPath,
    /// The sender had less to send than window and pacer allowed (RFC 9002 §7.8).
    pub app_limited: bool,
    /// When the window or the pacer last held data back.
    pub window_used_at: Timestamp,
    /// Since when the path is silent (multipath MP-83).
    pub suspect_since: Option<Timestamp>,
    /// The address it was at before, proved, in case the present one is not (RFC 9000 §9.3.2).
    pub left: Option<Box<Side>>,
    /// An address it may go to; one at a time (attacks L12).
    pub candidate: Option<Box<Side>>,
    /// When the last address began to be validated after a move: once per PTO at most (attacks E11).
    pub challenged_at: Option<Timestamp>,
    /// Number of our connection id that the peer uses on it, at first that of the handshake: a change goes with a move that
    /// the peer meant.
    pub peer_uses: Option<u64>,
    /// The spin bit of its packets.
    pub spin: SpinState,
    /// Largest number of a packet that could move the path to another address (RFC 9000 §9.3).
    pub largest_non_probing: Option<PacketNumber>,
    /// When the path last answered, or began to wait for an answer: silence is counted from here.
    pub progress_at: Timestamp,
    /// When the last PTO fired: the next one counts from here if nothing could be sent since.
    pub pto_fired_at: Timestamp,
    /// When the last ack-eliciting packet went out, in any space of this path.
    pub last_ack_eliciting_at: Option<Timestamp>,
    /// Rows of losses that tell persistent congestion (RFC 9002 §7.6).
    pub persistent: PersistentCongestion,
    /// How fast the path delivers, for statistics.
    pub delivery: Meter,
    /// The newest losses, and whether they had a cause (RFC 9438 §4.9).
    pub episode: LossEpisode,
    /// How much reordering loss detection allows for (RFC 9002 §6.1).
    pub reordering: Reordering,
    /// The burst that waits for its socket (burst B-7: at most one per path).
    pub pending: PendingBurst,
    /// When the application was last told that a socket refused to send here.
    pub send_error_told_at: Option<Timestamp>,
    /// The application waits for an answer on this path: a PING is owed.
    pub ping_owed: bool,
    /// Records of other paths' data to copy here (scheduler `redundant`, plans).
    pub duplicates: Duplicates,
    /// Bytes it carried, divided by its weight (scheduler `weighted`).
    pub served: u64,
    /// When and why a scheduler chose it last.
    pub chosen: Option<Chosen>,
    /// The pacer lets the next full packet go at this instant.
    pub pacing_until: Option<Timestamp>,
    /// Packets with lower numbers were copied to other paths, or judged to arrive soon enough by themselves.
    pub copied_below: PacketNumber,
    /// Packets with these numbers were copied when nothing else was left to send.
    pub copied: Range<PacketNumber>,
    /// Packets with lower numbers were copied because their acknowledgement is overdue.
    pub overdue_below: PacketNumber,
    /// Path over which the acknowledgements came that measured this one.
    pub acked_via: Option<PathId>,
    /// Packets whose own acknowledgement may still give a sample; of use in shared-space mode only.
    pub unmeasured: Unmeasured,
    /// Paths over which they come.
    pub ack_ways: AckWays,
    /// Copies of acknowledgements of what the peer sent here.
    pub ack_copies: AckCopies,
    /// Totals.
    pub counters: PathCounters,
}

impl Network {
    /// The state of a new network path between these addresses.
    #[must_use]
    pub fn new(config: &TransportConfig, four_tuple: FourTuple, amplification: Amplification, first_skip: u64) -> Self {
        let slow_start = if config.hystart { SlowStart::Leaping } else { SlowStart::Plain };
        let search = MtuSearch::between(config, four_tuple);
        let mtu = search.current();
        Self {
            four_tuple,
            amplification,
            validation: None,
            responses: Responses::new(),
            space: Space::new(limits::ACK_RANGES, config.max_ack_delay, first_skip),
            rtt: RttEstimator::new(config.initial_rtt),
            controller: algorithm::build(config.congestion, slow_start, u64::from(mtu)),
            pacer: Pacer::new(u64::from(mtu)),
            pto_count: 0,
            search,
            ecn: EcnPath::new(config.ecn.into()),
            app_limited: true,
            window_used_at: Timestamp::ZERO,
            suspect_since: None,
            left: None,
            candidate: None,
            challenged_at: None,
            peer_uses: Some(0),
            spin: SpinState::default(),
            largest_non_probing: None,
            progress_at: Timestamp::ZERO,
            pto_fired_at: Timestamp::ZERO,
            last_ack_eliciting_at: None,
            persistent: PersistentCongestion::new(),
            delivery: Meter::new(),
            episode: LossEpisode::new(),
            reordering: Reordering::new(),
            pending: PendingBurst::default(),
            send_error_told_at: None,
            ping_owed: false,
            duplicates: Duplicates::default(),
            served: 0,
            chosen: None,
            pacing_until: None,
            acked_via: None,
            unmeasured: Unmeasured::default(),
            ack_ways: AckWays::default(),
            ack_copies: AckCopies::default(),
            copied_below: 0,
            copied: 0..0,
            overdue_below: 0,
            counters: PathCounters::default(),
        }
    }

    /// The handshake takes another address pair; nothing was measured yet.
    pub fn aim(&mut self, config: &TransportConfig, four_tuple: FourTuple) {
        if Reach::of(self.four_tuple) != Reach::of(four_tuple) || self.four_tuple.reserve() != four_tuple.reserve() {
            self.search = MtuSearch::between(config, four_tuple);
        }
        self.four_tuple = four_tuple;
    }

    /// The round trip in which news of what was sent come back: the path's own, or a shorter one over another path.
    #[must_use]
    pub const fn loop_rtt(&self) -> &RttEstimator {
        match self.ack_ways.elsewhere() {
            Some(rtt) => rtt,
            None => &self.rtt,
        }
    }

    /// Bytes the pacer allows now, in datagrams of `mtu`.
    pub fn paced(&mut self, now: Timestamp, mtu: u64) -> u64 {
        let rtt = *self.loop_rtt();
        self.pacer.budget(now, self.controller.as_ref(), &rtt, mtu)
    }

    /// UDP payload of full packets, bytes.
    #[must_use]
    pub const fn mtu(&self) -> u16 {
        self.search.current()
    }

    /// UDP payload of the next datagrams. After a PTO they are as small as every path carries: if the larger ones only
    /// vanish, these are answered and tell so (attacks E16).
    #[must_use]
    pub fn datagram(&self) -> u16 {
        if self.pto_count > 0 { mtu::BASE } else { self.mtu() }
    }

    /// The further addresses, the one it left first.
    pub fn sides(&self) -> impl Iterator<Item = &Side> {
        [&self.left, &self.candidate].into_iter().flatten().map(|side| &**side)
    }

    /// The further addresses, to change.
    pub fn sides_mut(&mut self) -> impl Iterator<Item = &mut Side> {
        [&mut self.left, &mut self.candidate].into_iter().flatten().map(|side| &mut **side)
    }

    /// The PTO without back-off (RFC 9002 §6.2.1).
    #[must_use]
    pub fn pto(&self, max_ack_delay: Duration) -> Duration {
        pto::interval(&self.rtt, max_ack_delay, 0)
    }

    /// The PTO with back-off; with other paths around the back-off ends early.
    #[must_use]
    pub fn backed_off_pto(&self, max_ack_delay: Duration, siblings: Siblings) -> Duration {
        let backed_off = pto::interval(&self.rtt, max_ack_delay, self.pto_count);
        let pto = self.pto(max_ack_delay);
        match siblings {
            Siblings::Live => backed_off.min(SUSPECT_PROBE_INTERVAL.max(pto)),
            // A single path is no different: with a longer back-off an outage of 29 s could reach the idle timeout.
            Siblings::None if self.rtt.first_sample_at().is_none() => backed_off,
            Siblings::Silent | Siblings::None => backed_off.min(DARK_PROBE_INTERVAL.max(pto)),
        }
    }

    /// How long the path may be silent before its data goes to the others: one PTO, less where the application was
    /// promised a shorter stall, but never less than a round trip with its usual jitter (multipath MP-83).
    #[must_use]
    pub fn patience(&self, max_ack_delay: Duration, max_stall: Duration) -> Duration {
        let round_trip = self.rtt.smoothed().saturating_mul(3).checked_div(2).unwrap_or_default();
        self.pto(max_ack_delay).min(round_trip.max(max_stall.checked_div(2).unwrap_or_default()))
    }

    /// A PATH_RESPONSE for the path's own address is owed and may leave. A few pass a full window, so that a peer whose
    /// path has just come back gets its answer; a flood of challenges makes no more (attacks E7, L8).
    #[must_use]
    pub fn may_respond(&self, in_flight: u64) -> bool {
        let beyond = (limits::PATH_RESPONSES_PER_PATH.saturating_mul(limits::MIN_INITIAL)) as u64;
        in_flight < self.controller.window().saturating_add(beyond) && self.responses.has_for(self.four_tuple)
    }

    /// Packets declared lost were acknowledged after all: detection learns from it, and a congestion event of which
    /// nothing is missing any more is undone.
    pub fn on_late(&mut self, now: Timestamp, late: &Late) {
        self.counters.packets_spuriously_lost = self.counters.packets_spuriously_lost.saturating_add(late.packets);
        self.reordering.on_late(late.distance, now.saturating_since(late.oldest_sent_at), &self.rtt);
        self.controller.on_late(now, late.bytes);
        if self.episode.on_late(late.in_flight, late.oldest_sent_at) == Cause::None {
            self.controller.on_spurious_loss(now);
        }
    }

    /// There is data; window and pacer leave `window` and `paced` bytes.
    pub fn note_use(&mut self, now: Timestamp, window: u64, paced: u64) {
        let mtu = u64::from(self.mtu());
        self.app_limited = window >= mtu && paced >= mtu;
        if !self.app_limited {
            self.window_used_at = now;
        }
        self.pacing_until = (window >= mtu && paced < mtu).then(|| self.pacer.next_at(now, mtu));
    }

    /// There is nothing to send here while `in_flight` bytes are on their way: the window is not the limit unless it is
    /// full (RFC 9002 §7.8).
    pub fn note_nothing_to_send(&mut self, in_flight: u64) {
        self.pacing_until = None;
        self.app_limited = self.window_room(in_flight) >= u64::from(self.mtu());
        if self.app_limited {
            self.controller.on_app_limited(in_flight);
        }
    }

    /// Data is there and nothing in flight. After silence longer than a PTO the first burst is at most the initial
    /// window, the rest is paced (RFC 9002 §7.7); a window unused for [`WINDOW_VALIDITY`] shrinks (RFC 7661).
    pub fn restart_after_idle(&mut self, now: Timestamp, max_ack_delay: Duration) {
        let Some(last) = self.last_ack_eliciting_at else { return };
        if now.saturating_since(last) < self.pto(max_ack_delay) {
            return;
        }
        self.pacer.restart(now);
        if now.saturating_since(self.window_used_at) >= WINDOW_VALIDITY {
            self.window_used_at = now;
            self.controller.on_idle_restart(now);
        }
    }

    /// Bytes the congestion window leaves while `in_flight` are on their way.
    #[must_use]
    pub fn window_room(&self, in_flight: u64) -> u64 {
        self.controller.window().saturating_sub(in_flight)
    }
}

/// Whether other paths of the connection are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Siblings {
    /// At least one other path is open and answering.
    Live,
    /// There are others, all of them silent.
    Silent,
    /// This is the only one.
    None,
}
