//! Damage on the wire: changed bytes and missing tails, as they slip past a UDP checksum of zero.

use crate::random::Random;

/// Changes one to four bytes; every one of them differs from what it was, unless the same place is hit again.
pub fn corrupt(bytes: &mut [u8], random: &mut Random) {
    let hits = 1 + random.below(4);
    for _ in 0..hits {
        let place = random.below(bytes.len() as u64);
        let mask = u8::try_from(1 + random.below(255)).unwrap_or(u8::MAX);
        if let Some(byte) = usize::try_from(place).ok().and_then(|place| bytes.get_mut(place)) {
            *byte ^= mask;
        }
    }
}

/// Cuts the datagram to a random shorter length, zero included.
pub fn truncate(bytes: &mut Vec<u8>, random: &mut Random) {
    let keep = random.below(bytes.len() as u64);
    bytes.truncate(usize::try_from(keep).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corruption_changes_at_most_four_bytes_and_no_length() {
        let mut random = Random::new(1);
        let mut changed = 0;
        for _ in 0..1_000 {
            let mut bytes = [0x55; 100];
            corrupt(&mut bytes, &mut random);
            let hits = bytes.iter().filter(|byte| **byte != 0x55).count();
            assert!(hits <= 4);
            changed += usize::from(hits > 0);
        }
        assert!(changed > 990, "the same byte is rarely hit twice with the same mask");
    }

    #[test]
    fn empty_datagrams_survive_damage() {
        let mut random = Random::new(1);
        corrupt(&mut [], &mut random);
        truncate(&mut Vec::new(), &mut random);
    }

    #[test]
    fn truncation_always_shortens() {
        let mut random = Random::new(2);
        for _ in 0..1_000 {
            let mut bytes = vec![0; 10];
            truncate(&mut bytes, &mut random);
            assert!(bytes.len() < 10);
        }
    }
}
