//! Seeded randomness: xoshiro256++ (Blackman and Vigna), filled by splitmix64.
//!
//! Called by the links and the harness. The numbers are good enough for simulations and nothing else: never used for
//! keys outside of them. The same seed gives the same numbers on every machine.

use std::time::Duration;

use qbase::random::{GOLDEN, splitmix};

/// A generator; two with the same seed give the same numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The generator of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        let first = seed.wrapping_add(GOLDEN);
        let second = first.wrapping_add(GOLDEN);
        let third = second.wrapping_add(GOLDEN);
        let fourth = third.wrapping_add(GOLDEN);
        Self { state: [splitmix(first), splitmix(second), splitmix(third), splitmix(fourth)] }
    }

    /// The generator of a part of the world: independent of all other labels, so that one part drawing more numbers
    /// leaves the others alone.
    #[must_use]
    pub const fn labelled(seed: u64, label: u64) -> Self {
        Self::new(splitmix(seed.wrapping_add(GOLDEN)) ^ splitmix(label.wrapping_mul(GOLDEN).wrapping_add(1)))
    }

    /// 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c_mixed, d_mixed) = (c ^ a, d ^ b);
        self.state = [a ^ d_mixed, b ^ c_mixed, c_mixed ^ (b << 17), d_mixed.rotate_left(45)];
        result
    }

    /// A number in `0 .. bound`; 0 when the bound is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        let product = self.next_u64() as u128 * bound as u128;
        (product >> 64) as u64
    }

    /// A number in `0.0 .. 1.0`.
    pub const fn fraction(&mut self) -> f64 {
        // 53 bits fill the mantissa: exact on every machine
        (self.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// True with this probability (0 never, 1 always). A probability of 0 draws no number.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.fraction() < probability
    }

    /// A time in `0 ..= limit`. A limit of zero draws no number.
    pub fn duration_up_to(&mut self, limit: Duration) -> Duration {
        if limit.is_zero() {
            return Duration::ZERO;
        }
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.below(nanos.saturating_add(1)))
    }

    /// Fills the buffer with random bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(word) {
                *to = from;
            }
        }
    }

    /// 32 bytes: the seed of something bigger.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_published_generator() {
        // xoshiro256++ with state 1, 2, 3, 4
        let mut random = Random { state: [1, 2, 3, 4] };
        let numbers: Vec<u64> = (0..4).map(|_| random.next_u64()).collect();
        assert_eq!(numbers, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn same_seed_same_numbers_and_labels_differ() {
        let numbers = |mut random: Random| (0..8).map(|_| random.next_u64()).collect::<Vec<_>>();
        assert_eq!(numbers(Random::new(7)), numbers(Random::new(7)));
        assert_ne!(numbers(Random::new(7)), numbers(Random::new(8)));
        assert_ne!(numbers(Random::labelled(7, 0)), numbers(Random::labelled(7, 1)));
        assert_ne!(numbers(Random::labelled(7, 0)), numbers(Random::labelled(8, 0)));
    }

    #[test]
    fn chance_keeps_its_share() {
        let mut random = Random::new(1);
        let hits = (0..100_000).filter(|_| random.chance(0.1)).count();
        assert!((9_500..10_500).contains(&hits), "{hits} of 100,000 at 10 %");
        assert!(!(0..1_000).any(|_| random.chance(0.0)));
        assert!((0..1_000).all(|_| random.chance(1.0)));
    }

    #[test]
    fn bounded_numbers_stay_below_their_bound() {
        let mut random = Random::new(2);
        let mut seen = [false; 5];
        for _ in 0..1_000 {
            seen[usize::try_from(random.below(5)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(random.below(0), 0);
        assert!((0..1_000).all(|_| random.duration_up_to(Duration::from_nanos(9)) <= Duration::from_nanos(9)));
    }

    #[test]
    fn fill_covers_odd_lengths() {
        let mut bytes = [0; 13];
        Random::new(3).fill(&mut bytes);
        assert!(bytes.iter().filter(|byte| **byte != 0).count() > 8);
    }
}
