//! Over which paths the acknowledgements of a path come, and which of them measure it (multipath MP-37, MP-38).
//!
//! A peer may send copies of them over a quicker path. Copies bring the news first, but their round trip is that of two
//! paths; the path's own acknowledgement, which brings none, measures it. So the numbers that copies told of are kept until
//! the own one names them. Where no own ones come any more, because the peer or the network has it so, whatever comes
//! measures.
//!
//! Called by the connection's part for acknowledgements. Holds [`KEPT`] numbers and no more.

use qbase::{PacketNumber, PathId, Timestamp};
use qcongestion::RttEstimator;
use std::time::Duration;

/// Numbers kept: more than a peer like us sends copies of in two round trips.
pub const KEPT: usize = 64;

/// The ways back of one path.
#[derive(Clone, Copy, Debug)]
pub struct AckWays {
    /// The path that brought the last news.
    news: Option<PathId>,
    /// Round trips of those that came over another path.
    elsewhere: RttEstimator,
    /// Since when no acknowledgement came over the path itself, although others did; `None`: the last one did.
    elsewhere_since: Option<Timestamp>,
    /// Numbers that copies told of, and when they were sent; `next` is the oldest.
    ahead: [Option<(PacketNumber, Timestamp)>; KEPT],
    next: usize,
}

impl Default for AckWays {
    fn default() -> Self {
        Self { news: None, elsewhere: RttEstimator::new(Duration::ZERO), elsewhere_since: None, ahead: [None; KEPT], next: 0 }
    }
}

impl AckWays {
    /// News came over `via`. `true`: the last ones had come over another path.
    pub fn on_news(&mut self, via: PathId) -> bool {
        let is_other = self.news.replace(via).is_some_and(|before| before != via);
        if is_other {
            self.elsewhere.reset();
        }
        is_other
    }

    /// The round trips of the news, if they come over another path.
    #[must_use]
    pub const fn elsewhere(&self) -> Option<&RttEstimator> {
        if self.elsewhere.first_sample_at().is_some() { Some(&self.elsewhere) } else { None }
    }

    /// An acknowledgement came over the path itself. Answers when its `largest` was sent, if a copy had told of that before.
    pub fn on_own(&mut self, largest: PacketNumber) -> Option<Timestamp> {
        self.elsewhere_since = None;
        let kept = self.ahead.iter_mut().find(|kept| kept.is_some_and(|(number, _)| number == largest))?;
        kept.take().map(|(_, sent_at)| sent_at)
    }

    /// News of a packet sent at `sent_at` came over another path. `true`: nothing came over the path itself for longer than
    /// `patience`, so that this measures it.
    pub fn on_elsewhere(&mut self, now: Timestamp, (largest, sent_at): (PacketNumber, Timestamp), patience: Duration) -> bool {
        self.elsewhere.on_sample(now, now.saturating_since(sent_at), Duration::ZERO);
        if let Some(kept) = self.ahead.get_mut(self.next) {
            *kept = Some((largest, sent_at));
        }
        self.next = self.next.saturating_add(1).checked_rem(KEPT).unwrap_or_default();
        now.saturating_since(*self.elsewhere_since.get_or_insert(now)) > patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    const PATIENCE: Duration = Duration::from_millis(400);

    #[test]
    fn the_own_acknowledgement_measures_what_a_copy_has_told() {
        let mut ways = AckWays::default();
        assert!(!ways.on_elsewhere(at(110), (7, at(0)), PATIENCE));
        assert!(!ways.on_elsewhere(at(120), (9, at(10)), PATIENCE));
        assert_eq!([7, 8, 9, 9].map(|number| ways.on_own(number)), [Some(at(0)), None, Some(at(10)), None]);
    }

    #[test]
    fn without_own_acknowledgements_what_comes_measures() {
        let mut ways = AckWays::default();
        let told: Vec<bool> = [110, 500, 510, 511].into_iter().map(|now| ways.on_elsewhere(at(now), (now, at(now - 110)), PATIENCE)).collect();
        assert_eq!(told, [false, false, false, true]);
        ways.on_own(0);
        assert!(!ways.on_elsewhere(at(2_000), (1, at(1_890)), PATIENCE));
    }

    #[test]
    fn a_change_of_the_way_is_told_once() {
        let mut ways = AckWays::default();
        assert_eq!([0, 0, 1, 1, 0].map(|via| ways.on_news(PathId(via))), [false, false, true, false, true]);
    }

    #[test]
    fn the_oldest_number_gives_way() {
        let mut ways = AckWays::default();
        for number in 0..=KEPT as u64 {
            ways.on_elsewhere(at(number), (number, at(number)), PATIENCE);
        }
        assert_eq!([0, 1, KEPT as u64].map(|number| ways.on_own(number)), [None, Some(at(1)), Some(at(KEPT as u64))]);
    }
}
