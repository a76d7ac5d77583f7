//! Seeded randomness for ports: splitmix64.
//!
//! Called by searches, whose ports need to be spread, not secret. The seed comes from the connection's own generator; the
//! same seed gives the same ports on every machine (traversal V11). Never used for keys or transaction ids.

use qbase::random::SplitMix;

/// A generator; two with the same seed give the same numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dice(SplitMix);

impl Dice {
    /// The generator of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(SplitMix::new(seed))
    }

    /// 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A port in `first ..= last`; `first` if there is none.
    pub fn port(&mut self, first: u16, last: u16) -> u16 {
        let range = u64::from(last.saturating_sub(first)).saturating_add(1);
        let below = (u128::from(self.next_u64()).saturating_mul(u128::from(range))) >> 64;
        first.saturating_add(u16::try_from(below).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stay_within_their_range_and_cover_it() {
        let mut dice = Dice::new(1);
        let drawn: std::collections::BTreeSet<u16> = (0..1_000).map(|_| dice.port(10, 19)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), (10..=19).collect::<Vec<_>>());
        assert_eq!((dice.port(7, 7), dice.port(9, 3)), (7, 9));
        assert!((0..1_000).map(|_| dice.port(1_024, u16::MAX)).all(|port| port >= 1_024));
    }

    /// traversal V11.
    #[test]
    fn one_seed_is_one_sequence() {
        let draw = |seed| { let mut dice = Dice::new(seed); [(); 8].map(|()| dice.next_u64()) };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }
}
