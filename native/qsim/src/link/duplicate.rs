//! How many times a datagram goes on the wire. Copies take the wire one after the other, each with its own luck there.

use crate::random::Random;

/// One or two: two for `share` of the datagrams.
pub fn copies(share: f64, random: &mut Random) -> usize {
    if random.chance(share) { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_copied_unless_asked() {
        let mut random = Random::new(1);
        assert!((0..1_000).all(|_| copies(0.0, &mut random) == 1));
        assert!((0..1_000).all(|_| copies(1.0, &mut random) == 2));
    }
}
