//! Wishes about acknowledgements, both ways (draft-ietf-quic-ack-frequency).
//!
//! Called by the dispatch (ACK_FREQUENCY), the acknowledgements (what to ask for, which wish arrived) and the burst writer.
//! When an ACK is due stands in `qcongestion::ack_policy`, what a window can do with in `qcongestion::ack_frequency`.
//!
//! The draft knows one path. With multipath the frame changes the delay that an end announced in its one `max_ack_delay`, so
//! it counts for the application spaces of all path ids, those opened later included, and one row of sequence numbers serves
//! them all. IMMEDIATE_ACK counts for the space of the packet that holds it.

use super::{Connection, input::Opened};
use qbase::{EncryptionLevel, PathId, Timestamp, TransportError, frame};
use qcongestion::{
    AckFrequency,
    ack_frequency::{PathNeeds, is_news},
};
use std::time::Duration;

/// Time between two reviews of what is asked for at least; more on paths with a longer RTT.
const REVIEW_INTERVAL: Duration = Duration::from_millis(10);
/// `max_ack_delay` is below 2^14 ms (RFC 9000 §18.2).
const MAX_ACK_DELAY_END: Duration = Duration::from_millis(1 << 14);

/// What both ends want of each other's acknowledgements.
#[derive(Debug, Default)]
pub(crate) struct AckWishes {
    /// Largest sequence number of the peer's wishes.
    heard: Option<u64>,
    /// The peer's newest wish: paths begin with it.
    peer: Option<AckFrequency>,
    /// Our newest wish, sent or about to be.
    asked: Option<AckFrequency>,
    /// It waits to be sent.
    owed: bool,
    /// Sequence number of the next frame.
    next_sequence: u64,
    /// Longest delay that the peer may go by because of our wishes: the last one that arrived and all later ones.
    longest: Duration,
    /// What is asked for is looked at again then.
    review_at: Timestamp,
}

impl AckWishes {
    /// A frame that waits to be sent.
    pub(crate) fn owed(&self) -> Option<frame::AckFrequency> {
        let wish = self.asked.filter(|_| self.owed)?;
        Some(frame::AckFrequency {
            sequence: self.next_sequence,
            threshold: wish.threshold,
            max_ack_delay_micros: u64::try_from(wish.max_ack_delay.as_micros()).unwrap_or(u64::MAX),
            reordering: wish.reordering,
        })
    }

    /// It was written.
    pub(crate) fn on_written(&mut self) {
        self.owed = false;
        self.next_sequence = self.next_sequence.saturating_add(1);
        self.longest = self.longest.max(self.asked.map_or(Duration::ZERO, |wish| wish.max_ack_delay));
    }

    /// The frame with this number arrived: if it is the newest, the peer goes by nothing else any more.
    pub(super) fn on_acked(&mut self, sequence: u64) {
        if let Some(wish) = self.asked.filter(|_| !self.owed && sequence.checked_add(1) == Some(self.next_sequence)) {
            self.longest = wish.max_ack_delay;
        }
    }

    /// The frame with this number was lost: the newest wish is told again, under a number of its own.
    pub(super) const fn on_lost(&mut self, sequence: u64) {
        if sequence.saturating_add(1) == self.next_sequence {
            self.owed = true;
        }
    }

    /// A path goes elsewhere, with a small window and an RTT that nobody knows: acknowledgements as at the start are wanted
    /// until it is measured (draft §8.4).
    pub(super) const fn on_move(&mut self) {
        if let Some(wish) = &mut self.asked {
            wish.threshold = 1;
            self.owed = true;
            self.review_at = Timestamp::ZERO;
        }
    }

    /// What the peer wants of a path that begins now.
    pub(super) const fn of_new_path(&self) -> Option<AckFrequency> {
        self.peer
    }
}

impl Connection {
    /// ACK_FREQUENCY (draft §4).
    pub(super) fn on_ack_frequency(&mut self, wish: frame::AckFrequency) -> Result<(), TransportError> {
        let delay = Duration::from_micros(wish.max_ack_delay_micros);
        let least = self.config.parameters().min_ack_delay.unwrap_or_default();
        if delay < least || delay >= MAX_ACK_DELAY_END {
            return Err(TransportError::violation("the requested delay is below min_ack_delay or 2^14 ms and more"));
        }
        if self.ack_wishes.heard.is_some_and(|heard| wish.sequence <= heard) {
            return Ok(());
        }
        let asked = AckFrequency { threshold: wish.threshold, max_ack_delay: delay, reordering: wish.reordering };
        self.ack_wishes.heard = Some(wish.sequence);
        self.ack_wishes.peer = Some(asked);
        for entry in self.paths.iter_mut() {
            if let Some(network) = entry.network.as_deref_mut() {
                network.space.acks.on_asked(asked);
            }
        }
        Ok(())
    }

    /// The peer takes ACK_FREQUENCY and IMMEDIATE_ACK, and we use them.
    pub(crate) fn asks_for_acks(&self) -> bool {
        self.config.ack_frequency && self.peer_parameters.min_ack_delay.is_some()
    }

    /// Longest the peer may delay an acknowledgement: what it announced, or more if we asked for more. Never less: what is
    /// asked for to get news earlier is no reason to lose patience earlier (draft §7).
    pub(super) fn peer_max_ack_delay(&self) -> Duration {
        self.peer_parameters.max_ack_delay.max(self.ack_wishes.longest)
    }

    /// Packets of `path` were acknowledged: perhaps the peer should acknowledge less often, or more. At most once a round trip.
    pub(super) fn review_ack_wishes(&mut self, opened: &Opened, path: PathId, bytes_acked: u64) {
        let now = opened.arrival.now;
        if opened.level != EncryptionLevel::OneRtt || now < self.ack_wishes.review_at || !self.asks_for_acks() || !self.confirmed {
            return;
        }
        let Some(least) = self.peer_parameters.min_ack_delay else { return };
        let Some(needs) = self.ack_needs(path, bytes_acked) else { return };
        self.ack_wishes.review_at = now + needs.smoothed_rtt.max(REVIEW_INTERVAL);
        let wanted = needs.wanted(least);
        if is_news(self.ack_wishes.asked.as_ref(), &wanted) {
            self.ack_wishes.asked = Some(wanted);
            self.ack_wishes.owed = true;
        }
    }

    /// What the paths that carry data need together; `None` if none does.
    fn ack_needs(&self, path: PathId, bytes_acked: u64) -> Option<PathNeeds> {
        let networks = self.paths.iter().filter_map(|entry| Some((entry.id, entry.network.as_deref()?)));
        let busy = networks.filter(|(id, network)| {
            let acked = if *id == path { bytes_acked } else { 0 };
            let carried = network.space.sent.bytes_in_flight().saturating_add(acked);
            network.suspect_since.is_none() && network.rtt.first_sample_at().is_some() && carried > u64::from(network.mtu()).saturating_mul(2)
        });
        let needs = busy.map(|(_, network)| PathNeeds {
            window_packets: network.controller.window().checked_div(u64::from(network.mtu())).unwrap_or_default(),
            smoothed_rtt: network.rtt.smoothed(),
            packet_threshold: network.reordering.packet_threshold(),
        });
        needs.reduce(PathNeeds::and)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn wish(millis: u64) -> Option<AckFrequency> {
        Some(AckFrequency { threshold: 4, max_ack_delay: Duration::from_millis(millis), reordering: 3 })
    }

    fn ask(wishes: &mut AckWishes, millis: u64) -> u64 {
        (wishes.asked, wishes.owed) = (wish(millis), true);
        let sequence = wishes.owed().map(|frame| frame.sequence);
        wishes.on_written();
        sequence.unwrap_or(u64::MAX)
    }

    /// draft-ietf-quic-ack-frequency §7: the larger of the delay in force and those in flight.
    #[test]
    fn the_longest_delay_counts_until_the_newest_wish_has_arrived() {
        let mut wishes = AckWishes::default();
        let first = ask(&mut wishes, 80);
        assert_eq!(wishes.longest, Duration::from_millis(80));
        let second = ask(&mut wishes, 10);
        wishes.on_acked(first);
        assert_eq!(wishes.longest, Duration::from_millis(80), "the second may be lost");
        wishes.on_acked(second);
        assert_eq!(wishes.longest, Duration::from_millis(10));
    }

    #[test]
    fn only_the_newest_wish_is_told_again_and_under_a_number_of_its_own() {
        let mut wishes = AckWishes::default();
        let (first, second) = (ask(&mut wishes, 80), ask(&mut wishes, 10));
        assert_eq!((first, second), (0, 1));
        wishes.on_lost(first);
        assert_eq!(wishes.owed(), None);
        wishes.on_lost(second);
        assert_eq!(wishes.owed().map(|frame| (frame.sequence, frame.max_ack_delay_micros)), Some((2, 10_000)));
        wishes.on_acked(second);
        assert!(wishes.owed().is_some(), "it is written again");
    }

    #[test]
    fn a_path_that_moves_is_acknowledged_as_at_the_start() {
        let mut wishes = AckWishes::default();
        wishes.on_move();
        assert_eq!(wishes.owed(), None, "nothing was ever asked for");
        ask(&mut wishes, 10);
        wishes.on_move();
        assert_eq!(wishes.owed().map(|frame| frame.threshold), Some(1));
    }
}
