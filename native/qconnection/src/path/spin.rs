//! The latency spin bit of one path (RFC 9000 §17.4; burst B-89).
//!
//! Decides the bit of short headers. Called by the segment writer, by the input where the bit spins, and whenever the
//! path's connection id changes. Never draws random numbers: the caller does.

use crate::config::Spin as Policy;
use qbase::{PacketNumber, Role, packet::Spin};

/// Of so many paths one does not spin although it might, so that those who never do are not the only ones.
pub const QUIET_SHARE: u64 = 16;

/// The spin bit of one path.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpinState {
    value: Spin,
    /// The bit really spins.
    spins: bool,
    /// Largest number of a packet received while it spun.
    largest: Option<PacketNumber>,
}

impl SpinState {
    /// The bit of a path with a new connection id; `luck` is random.
    #[must_use]
    pub const fn new(policy: Policy, luck: u64) -> Self {
        let quiet = if luck & (1 << 32) == 0 { Spin::Zero } else { Spin::One };
        match policy {
            Policy::Off => Self { value: Spin::Zero, spins: false, largest: None },
            Policy::On if !luck.is_multiple_of(QUIET_SHARE) => Self { value: Spin::Zero, spins: true, largest: None },
            Policy::On | Policy::Random => Self { value: quiet, spins: false, largest: None },
        }
    }

    /// The path's connection id changed: a bit that spins begins at 0, one that does not is drawn anew
    /// (RFC 9000 §17.4).
    pub const fn on_new_id(&mut self, policy: Policy, luck: u64) {
        if self.spins {
            self.value = Spin::Zero;
        } else {
            self.value = Self::new(if matches!(policy, Policy::Off) { Policy::Off } else { Policy::Random }, luck).value;
        }
    }

    /// The bit of the packets sent now.
    #[must_use]
    pub const fn value(&self) -> Spin {
        self.value
    }

    /// The bit really spins.
    #[must_use]
    pub const fn is_spinning(&self) -> bool {
        self.spins
    }

    /// A packet came with this bit: a server repeats it, a client turns it over.
    pub fn on_received(&mut self, role: Role, number: PacketNumber, bit: Spin) {
        if !self.spins || self.largest.is_some_and(|largest| number <= largest) {
            return;
        }
        self.largest = Some(number);
        self.value = match (role, bit) {
            (Role::Server, bit) => bit,
            (Role::Client, Spin::Zero) => Spin::One,
            (Role::Client, Spin::One) => Spin::Zero,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows 9000-17.4-4.
    #[test]
    fn one_path_in_sixteen_at_least_does_not_spin() {
        let spinning = (0..1_600).filter(|luck| SpinState::new(Policy::On, *luck).is_spinning()).count();
        assert_eq!(spinning, 1_500);
    }

    /// Shows 9000-17.4-2, 9000-17.4-3, 9000-17.4-5 and 9000-17.4-6.
    #[test]
    fn a_bit_that_is_off_stays_zero_and_a_random_one_follows_luck_alone() {
        for luck in [0, 1 << 32, u64::MAX] {
            let mut off = SpinState::new(Policy::Off, luck);
            let mut random = SpinState::new(Policy::Random, luck);
            let drawn = random.value();
            for number in 0..4 {
                off.on_received(Role::Server, number, Spin::One);
                random.on_received(Role::Server, number, Spin::One);
                assert_eq!((off.value(), random.value()), (Spin::Zero, drawn), "what comes in is ignored");
            }
            off.on_new_id(Policy::Off, !luck);
            random.on_new_id(Policy::Random, !luck);
            assert_eq!(off.value(), Spin::Zero);
            assert_ne!(random.value(), drawn, "drawn anew for each connection id");
        }
    }

    #[test]
    fn a_server_repeats_the_newest_bit_and_a_client_turns_it_over() {
        let mut server = SpinState::new(Policy::On, 1);
        let mut client = server;
        server.on_received(Role::Server, 4, Spin::One);
        assert_eq!(server.value(), Spin::One);
        server.on_received(Role::Server, 3, Spin::Zero);
        assert_eq!(server.value(), Spin::One, "an older packet does not count");
        client.on_received(Role::Client, 0, Spin::Zero);
        assert_eq!(client.value(), Spin::One);
        client.on_received(Role::Client, 1, Spin::One);
        assert_eq!(client.value(), Spin::Zero);
        server.on_new_id(Policy::On, 0);
        assert_eq!(server.value(), Spin::Zero, "reset with the connection id");
    }
}
