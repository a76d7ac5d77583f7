//! Seeded numbers for what needs spreading and no secrecy: splitmix64 (Steele, Lea and Flood).
//!
//! Called where the same seed must give the same choices on every machine: ports of searches, losses of relays, and to fill
//! larger generators. Never used for keys, connection ids or anything else that a stranger must not guess.

/// What the counter grows by each step: 2^64 divided by the golden ratio.
pub const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads a counter over all 64 bits.
#[must_use]
pub const fn splitmix(counter: u64) -> u64 {
    let z = (counter ^ (counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A generator; two with the same seed give the same numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitMix {
    counter: u64,
}

impl SplitMix {
    /// The generator of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { counter: seed }
    }

    /// 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(GOLDEN);
        splitmix(self.counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_the_published_generator() {
        let mut numbers = SplitMix::new(0);
        assert_eq!([(); 3].map(|()| numbers.next_u64()), [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
    }
}
