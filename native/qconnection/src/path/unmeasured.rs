//! Packets of a path that another path's ACK acknowledged first, until the path's own ACK names them (multipath MP-105).
//!
//! Where all paths share one packet-number space, the ACKs of a quick path also tell what came over a slow one. They say
//! nothing of the slow path's round trip; its own ACK does, when it comes. Called by the acknowledgements of the connection.

use qbase::{PacketNumber, Timestamp, limits};
use std::{collections::VecDeque, time::Duration};

/// Numbers and send times of such packets, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Unmeasured {
    packets: VecDeque<(PacketNumber, Timestamp)>,
    /// A sample that the congestion controller has not heard of.
    untold: Option<Duration>,
}

impl Unmeasured {
    /// Another path's ACK told that this ack-eliciting packet came. Numbers that do not rise are left out. When the list is
    /// full every second packet is dropped: which one the peer will name nobody knows.
    pub fn keep(&mut self, number: PacketNumber, sent_at: Timestamp) {
        if self.packets.back().is_some_and(|(newest, _)| *newest >= number) {
            return;
        }
        if self.packets.len() >= limits::UNMEASURED_PACKETS {
            let mut stays = false;
            self.packets.retain(|_| {
                stays = !stays;
                stays
            });
        }
        self.packets.push_back((number, sent_at));
    }

    /// The path's own ACK names `largest`: when that was sent, if it is one of these. It and all before it are forgotten.
    pub fn take(&mut self, largest: PacketNumber) -> Option<Timestamp> {
        let before = self.packets.partition_point(|(number, _)| *number < largest);
        let found = self.packets.get(before).filter(|(number, _)| *number == largest).map(|(_, sent_at)| *sent_at);
        self.packets.drain(..before.saturating_add(usize::from(found.is_some())));
        found
    }

    /// Such a packet gave this sample.
    pub const fn on_sample(&mut self, sample: Duration) {
        self.untold = Some(sample);
    }

    /// The sample that waits for the next acknowledgement the congestion controller hears of.
    pub const fn take_sample(&mut self) -> Option<Duration> {
        self.untold.take()
    }

    /// The path goes over another network.
    pub fn clear(&mut self) {
        self.packets.clear();
        self.untold = None;
    }

    /// Packets kept, for gauges.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// None is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl IntoIterator<Item = u64>) -> Unmeasured {
        let mut unmeasured = Unmeasured::default();
        numbers.into_iter().for_each(|number| unmeasured.keep(number, Timestamp::from_millis(number)));
        unmeasured
    }

    /// multipath MP-105
    #[test]
    fn the_paths_own_ack_measures_a_packet_it_names_once() {
        let mut unmeasured = of([3, 7, 9, 9, 8, 12]);
        assert_eq!((unmeasured.take(8), unmeasured.len()), (None, 2), "3 and 7 are too old to be named");
        assert_eq!(unmeasured.take(9), Some(Timestamp::from_millis(9)));
        assert_eq!((unmeasured.take(9), unmeasured.take(100)), (None, None));
        assert!(unmeasured.is_empty());
    }

    #[test]
    fn a_sample_is_told_to_the_controller_once_and_not_on_another_network() {
        let mut unmeasured = of([1]);
        unmeasured.on_sample(Duration::from_millis(5));
        assert_eq!((unmeasured.take_sample(), unmeasured.take_sample()), (Some(Duration::from_millis(5)), None));
        unmeasured.on_sample(Duration::from_millis(5));
        unmeasured.clear();
        assert_eq!((unmeasured.take_sample(), unmeasured.len()), (None, 0));
    }

    // attacks R2
    #[test]
    fn a_full_list_is_thinned_and_still_has_old_and_new_packets() {
        let most = limits::UNMEASURED_PACKETS;
        assert_eq!(of(0..most as u64).len(), most);
        let mut unmeasured = of(0..=most as u64);
        assert_eq!(unmeasured.len(), most / 2 + 1);
        assert!(unmeasured.take(0).is_some() && unmeasured.take(most as u64).is_some());
        assert!(of(0..100_000).len() <= most);
    }
}
