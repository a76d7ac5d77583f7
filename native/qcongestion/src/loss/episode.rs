//! Whether a congestion event had a cause: packets lost in one recovery period that arrive after all (RFC 9438 §4.9.2).
//!
//! An episode is what controllers answer once: it starts with the loss of a packet sent after the episode before had
//! started. Losses are found in the order of sending, so the packets of an episode are those sent since its first one.
//! Fed by the path with losses and late acknowledgements. Never changes a window.

use qbase::Timestamp;

/// What a late acknowledgement says about the newest episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Packets are missing still, or the frame told of another episode.
    Open,
    /// All of its packets arrived: there was no congestion.
    None,
}

/// The newest episode of losses of one path.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossEpisode {
    /// When it started; `None` before the first.
    start: Option<Timestamp>,
    /// When its first lost packet was sent.
    from: Timestamp,
    /// Its lost packets that did not arrive.
    missing: u64,
}

impl LossEpisode {
    /// A path without losses.
    #[must_use]
    pub const fn new() -> Self {
        Self { start: None, from: Timestamp::ZERO, missing: 0 }
    }

    /// `packets`, sent from `oldest` to `newest`, were declared lost. `true` if that starts an episode.
    pub fn on_lost(&mut self, now: Timestamp, packets: u64, oldest: Timestamp, newest: Timestamp) -> bool {
        let starts = self.start.is_none_or(|start| newest > start);
        if starts {
            *self = Self { start: Some(now), from: oldest, missing: 0 };
        }
        self.missing = self.missing.saturating_add(packets);
        starts
    }

    /// `packets` declared lost, the oldest sent at `oldest`, were acknowledged after all.
    pub fn on_late(&mut self, packets: u64, oldest: Timestamp) -> Cause {
        if oldest < self.from || self.missing == 0 {
            return Cause::Open;
        }
        self.missing = self.missing.saturating_sub(packets);
        if self.missing == 0 { Cause::None } else { Cause::Open }
    }

    /// The path goes over another network now (RFC 9000 §9.4).
    pub const fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn an_episode_has_no_cause_once_all_its_packets_arrived() {
        let mut episode = LossEpisode::new();
        assert!(episode.on_lost(at(100), 2, at(10), at(11)));
        assert!(!episode.on_lost(at(105), 1, at(12), at(12)), "sent before the start");
        assert_eq!(episode.on_late(1, at(10)), Cause::Open);
        assert_eq!(episode.on_late(2, at(11)), Cause::None);
        assert_eq!(episode.on_late(1, at(11)), Cause::Open, "told once");
    }

    #[test]
    fn one_packet_that_never_arrives_is_cause_enough() {
        let mut episode = LossEpisode::new();
        episode.on_lost(at(100), 3, at(10), at(12));
        assert_eq!(episode.on_late(2, at(10)), Cause::Open);
        assert!(episode.on_lost(at(200), 1, at(150), at(150)));
        assert_eq!(episode.on_late(1, at(12)), Cause::Open, "a packet of an older episode");
        assert_eq!(episode.on_late(1, at(150)), Cause::None);
    }

    #[test]
    fn packets_of_another_network_tell_nothing() {
        let mut episode = LossEpisode::new();
        episode.on_lost(at(100), 1, at(10), at(10));
        episode.reset();
        assert_eq!(episode.on_late(1, at(10)), Cause::Open);
    }
}
