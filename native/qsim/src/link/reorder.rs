//! Reordering: some datagrams take a longer way and are overtaken.

use std::time::Duration;

use crate::random::Random;

/// Which share is held back, and by how much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reorder {
    /// Share of datagrams held back, 0 to 1.
    pub probability: f64,
    /// Added to their delay. They do not hold back the ones behind them.
    pub by: Duration,
}

impl Reorder {
    /// The extra delay of the next datagram, if it is one of those.
    pub fn draw(reorder: Option<Self>, random: &mut Random) -> Option<Duration> {
        reorder.filter(|reorder| random.chance(reorder.probability)).map(|reorder| reorder.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_asked_share_is_held_back() {
        let by = Duration::from_millis(7);
        let mut random = Random::new(1);
        let reorder = Some(Reorder { probability: 0.25, by });
        let held = (0..10_000).filter(|_| Reorder::draw(reorder, &mut random) == Some(by)).count();
        assert!((2_300..2_700).contains(&held), "{held} of 10,000 at 25 %");
        assert_eq!(Reorder::draw(None, &mut random), None);
    }
}
