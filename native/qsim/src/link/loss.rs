//! Which datagrams get lost: never, each with a probability, in bursts, or exactly those of a list.
//!
//! Called once for each datagram offered to a direction.

use std::sync::Arc;

use crate::random::Random;

/// How a direction loses datagrams.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum LossModel {
    /// Nothing is lost.
    #[default]
    None,
    /// Each datagram with this probability, 0 to 1, whatever happened before.
    Independent(f64),
    /// Two states that datagrams move between (Gilbert 1960, Elliott 1963): losses come in bursts.
    GilbertElliott(GilbertElliott),
    /// Exactly these, by their number in this direction, from 0, in rising order. Numbers count what was offered
    /// since the link exists.
    List(Arc<[u64]>),
}

impl LossModel {
    /// Loses exactly the datagrams with these numbers, counted from 0; any order.
    #[must_use]
    pub fn list(numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut numbers: Vec<u64> = numbers.into_iter().collect();
        numbers.sort_unstable();
        Self::List(numbers.into())
    }

    /// Bursts with a mean length of `burst` datagrams (at least 1) that lose `share` of all, 0 to below 1.
    #[must_use]
    pub fn bursty(share: f64, burst: f64) -> Self {
        let bad_to_good = 1.0 / burst.max(1.0);
        let good_to_bad = bad_to_good * share / (1.0 - share).max(f64::EPSILON);
        Self::GilbertElliott(GilbertElliott { good_to_bad, bad_to_good, loss_good: 0.0, loss_bad: 1.0 })
    }
}

/// Probabilities of the two-state model, each 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GilbertElliott {
    /// From the good state to the bad one, per datagram.
    pub good_to_bad: f64,
    /// From the bad state to the good one, per datagram.
    pub bad_to_good: f64,
    /// Loss in the good state; usually 0.
    pub loss_good: f64,
    /// Loss in the bad state; usually 1.
    pub loss_bad: f64,
}

/// State of the two-state model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Weather {
    #[default]
    Good,
    Bad,
}

/// What a direction remembers between datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossState {
    weather: Weather,
}

impl LossState {
    /// The datagram with this number is lost.
    pub fn loses(&mut self, model: &LossModel, number: u64, random: &mut Random) -> bool {
        match model {
            LossModel::None => false,
            LossModel::Independent(probability) => random.chance(*probability),
            LossModel::GilbertElliott(chances) => self.gilbert_elliott(chances, random),
            LossModel::List(numbers) => numbers.binary_search(&number).is_ok(),
        }
    }

    /// Moves to the next state, then asks its probability.
    fn gilbert_elliott(&mut self, chances: &GilbertElliott, random: &mut Random) -> bool {
        self.weather = match self.weather {
            Weather::Good if random.chance(chances.good_to_bad) => Weather::Bad,
            Weather::Bad if random.chance(chances.bad_to_good) => Weather::Good,
            unchanged => unchanged,
        };
        match self.weather {
            Weather::Good => random.chance(chances.loss_good),
            Weather::Bad => random.chance(chances.loss_bad),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(model: &LossModel, datagrams: u64) -> Vec<u64> {
        let (mut state, mut random) = (LossState::default(), Random::new(11));
        (0..datagrams).filter(|number| state.loses(model, *number, &mut random)).collect()
    }

    #[test]
    fn nothing_is_lost_by_default() {
        assert_eq!(losses(&LossModel::default(), 1_000), []);
    }

    #[test]
    fn independent_losses_keep_their_share() {
        let lost = losses(&LossModel::Independent(0.05), 100_000).len();
        assert!((4_700..5_300).contains(&lost), "{lost} of 100,000 at 5 %");
    }

    #[test]
    fn a_list_loses_exactly_its_numbers() {
        assert_eq!(losses(&LossModel::list([7, 0, 3]), 100), [0, 3, 7]);
    }

    #[test]
    fn bursts_keep_their_share_and_length() {
        let lost = losses(&LossModel::bursty(0.1, 5.0), 200_000);
        let bursts = 1 + lost.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        let (share, length) = (lost.len() as f64 / 200_000.0, lost.len() as f64 / bursts as f64);
        assert!((0.09..0.11).contains(&share), "share {share}");
        assert!((4.7..5.3).contains(&length), "mean length {length}");
    }
}
