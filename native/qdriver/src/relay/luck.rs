//! Seeded luck for losses: same seed and same datagrams, same losses.

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub(super) struct Luck(u64);

impl Luck {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Whether something of this probability happens.
    pub(super) fn strikes(&mut self, probability: f64) -> bool {
        // No draw for a certain outcome, so that a lossless line costs nothing.
        if probability <= 0.0 {
            return false;
        }
        // 53 bits, as many as a double holds exactly.
        ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// A number below `end`; 0 if there is none.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let draw = self.next().checked_rem(end as u64).unwrap_or(0);
        usize::try_from(draw).unwrap_or(0)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
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
