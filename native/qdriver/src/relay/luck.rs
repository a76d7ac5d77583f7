//! Seeded luck for losses: same seed and same datagrams, same losses.

use qbase::random::SplitMix;

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub(super) struct Luck(SplitMix);

impl Luck {
    pub(super) const fn new(seed: u64) -> Self {
        Self(SplitMix::new(seed))
    }

    /// Whether something of this probability happens.
    pub(super) fn strikes(&mut self, probability: f64) -> bool {
        // No draw for a certain outcome, so that a lossless line costs nothing.
        if probability <= 0.0 {
            return false;
        }
        // 53 bits, as many as a double holds exactly.
        ((self.0.next_u64() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// A number below `end`; 0 if there is none.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let draw = self.0.next_u64().checked_rem(end as u64).unwrap_or(0);
        usize::try_from(draw).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luck_repeats_with_its_seed_and_keeps_its_share() {
        let draw = |seed, probability| {
            let mut luck = Luck::new(seed);
            (0..100_000).map(|_| luck.strikes(probability)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 0.3), draw(7, 0.3));
        assert_ne!(draw(7, 0.3), draw(8, 0.3));
        let share = draw(1, 0.3).iter().filter(|lost| **lost).count();
        assert!((29_000..31_000).contains(&share), "{share}");
        assert!(draw(1, 0.0).iter().all(|lost| !lost));
        assert!(draw(1, 1.0).iter().all(|lost| *lost));
    }
}
