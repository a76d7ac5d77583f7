//! What a line does to single datagrams by chance or by list: lose them, flip a bit of them. Pure but for its luck.

use super::super::{config::LineConfig, luck::Luck};

/// Numbers that a drop list can name.
const LISTED: u64 = 64;

/// What happens to a datagram on its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It passes.
    Whole,
    /// It passes with one bit flipped: the byte's place, the bit.
    Corrupted { at: usize, mask: u8 },
    /// It is lost.
    Lost,
}

/// The luck of a line, and how long its misfortune has lasted.
#[derive(Debug)]
pub(super) struct Faulty {
    luck: Luck,
    in_a_row: u32,
}

impl Faulty {
    pub(super) const fn new(seed: u64) -> Self {
        Self { luck: Luck::new(seed), in_a_row: 0 }
    }

    /// The fate of datagram number `number` (from 1) of `len` bytes.
    pub(super) fn fate(&mut self, config: &LineConfig, number: u64, len: usize) -> Fate {
        let is_listed = number.checked_sub(1).is_some_and(|bit| bit < LISTED && config.drop_list >> bit & 1 == 1);
        if is_listed || config.max_datagram.is_some_and(|max| len > max) {
            return Fate::Lost;
        }
        let may_strike = config.max_in_a_row == 0 || self.in_a_row < config.max_in_a_row;
        let fate = if may_strike && self.luck.strikes(config.loss) {
            Fate::Lost
        } else if may_strike && len > 0 && self.luck.strikes(config.corruption) {
            let at = self.luck.below(len);
            Fate::Corrupted { at, mask: 1_u8.rotate_left(u32::try_from(self.luck.below(8)).unwrap_or(0)) }
        } else {
            Fate::Whole
        };
        self.in_a_row = if fate == Fate::Whole { 0 } else { self.in_a_row.saturating_add(1) };
        fate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_and_oversized_datagrams_are_lost_and_nothing_else() {
        let config = LineConfig { drop_list: 0b0110, max_datagram: Some(1_472), ..LineConfig::default() };
        let mut faulty = Faulty::new(1);
        let lost: Vec<u64> = (1..=70).filter(|number| faulty.fate(&config, *number, 1_200) == Fate::Lost).collect();
        assert_eq!(lost, [2, 3]);
        assert_eq!(faulty.fate(&config, 1, 1_472), Fate::Whole);
        assert_eq!(faulty.fate(&config, 1, 1_473), Fate::Lost);
    }

    #[test]
    fn misfortune_ends_after_the_longest_run_allowed() {
        let config = LineConfig { loss: 1.0, max_in_a_row: 3, ..LineConfig::default() };
        let mut faulty = Faulty::new(1);
        let fates: Vec<bool> = (1..=8).map(|number| faulty.fate(&config, number, 100) == Fate::Lost).collect();
        assert_eq!(fates, [true, true, true, false, true, true, true, false]);
    }

    #[test]
    fn corruption_flips_one_bit_inside_the_datagram_and_keeps_its_share() {
        let config = LineConfig { corruption: 0.3, ..LineConfig::default() };
        let mut faulty = Faulty::new(7);
        let mut corrupted = 0;
        for number in 1..=10_000 {
            if let Fate::Corrupted { at, mask } = faulty.fate(&config, number, 20) {
                assert!(at < 20 && mask.count_ones() == 1);
                corrupted += 1;
            }
        }
        assert!((2_700..3_300).contains(&corrupted), "{corrupted}");
        assert_eq!(faulty.fate(&LineConfig { corruption: 1.0, ..LineConfig::default() }, 1, 0), Fate::Whole);
    }
}
