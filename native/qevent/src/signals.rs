//! Why nothing goes out: a set of reasons, each naming the event that ends it (burst section 9).
//!
//! Raised by sources and constraints of the burst planner, shown by traces and `explain()`. Never holds times.

use std::fmt;

/// A set of reasons to be silent. "Blocked" always has at least one (burst B-70).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Signals(u16);

/// Names of the bits, lowest first.
const NAMES: [&str; Signals::COUNT] = [
    "CONGESTION",
    "FLOW_CONTROL",
    "TRANSPORT",
    "WRITTEN",
    "CONNECTION_ID",
    "CREDIT",
    "KEYS",
    "PING",
    "TLS_FIN",
    "PATH_VALIDATE",
];

impl Signals {
    /// Number of different signals.
    pub const COUNT: usize = 10;
    /// No reason.
    pub const NONE: Self = Self(0);
    /// Room in the congestion window, the pacer or the packet.
    pub const CONGESTION: Self = Self(1 << 0);
    /// Credit of the connection or of a stream.
    pub const FLOW_CONTROL: Self = Self(1 << 1);
    /// An ACK due, a loss, a control frame, a challenge or response.
    pub const TRANSPORT: Self = Self(1 << 2);
    /// Fresh data of the application.
    pub const WRITTEN: Self = Self(1 << 3);
    /// A connection id of the peer for the path.
    pub const CONNECTION_ID: Self = Self(1 << 4);
    /// Bytes that may go to an address not yet validated.
    pub const CREDIT: Self = Self(1 << 5);
    /// Keys of the level.
    pub const KEYS: Self = Self(1 << 6);
    /// A probe timeout.
    pub const PING: Self = Self(1 << 7);
    /// The end of the handshake, which ends 0-RTT.
    pub const TLS_FIN: Self = Self(1 << 8);
    /// Validation of the path.
    pub const PATH_VALIDATE: Self = Self(1 << 9);
    /// Every reason.
    pub const ALL: Self = Self((1 << Self::COUNT) - 1);

    /// The set with these bits; bits without a name are left out.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The set as bits, in the order of the constants.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// What is in one set or the other.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Everything of `other` is in the set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Something of `other` is in the set: an event of `other` wakes who waits for `self` (burst B-71).
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// No reason is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The signals of the set, one by one, in the order of the constants.
    pub fn iter(self) -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(|bit| Self(1 << bit)).filter(move |&signal| self.contains(signal))
    }

    /// Their names, as in the public interface.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter(move |&(bit, _)| self.contains(Self(1 << bit))).map(|(_, name)| name)
    }
}

impl std::ops::BitOr for Signals {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl std::ops::BitOrAssign for Signals {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

/// The names with spaces between; `nothing` for the empty set.
impl fmt::Display for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        for (index, name) in self.names().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How often each signal was among the reasons of a "blocked".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SignalCounters([u64; Signals::COUNT]);

impl SignalCounters {
    /// Adds one to every signal of the set.
    pub fn count(&mut self, signals: Signals) {
        for (bit, counter) in self.0.iter_mut().enumerate() {
            *counter = counter.saturating_add(u64::from(signals.contains(Signals(1 << bit))));
        }
    }

    /// Every signal's name and count, in the order of the constants.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_has_the_name_of_its_constant() {
        let constants = [
            (Signals::CONGESTION, "CONGESTION", 0),
            (Signals::FLOW_CONTROL, "FLOW_CONTROL", 1),
            (Signals::TRANSPORT, "TRANSPORT", 2),
            (Signals::WRITTEN, "WRITTEN", 3),
            (Signals::CONNECTION_ID, "CONNECTION_ID", 4),
            (Signals::CREDIT, "CREDIT", 5),
            (Signals::KEYS, "KEYS", 6),
            (Signals::PING, "PING", 7),
            (Signals::TLS_FIN, "TLS_FIN", 8),
            (Signals::PATH_VALIDATE, "PATH_VALIDATE", 9),
        ];
        assert_eq!(constants.len(), Signals::COUNT);
        for (signal, name, bit) in constants {
            assert_eq!((signal.names().collect::<Vec<_>>(), signal.bits()), (vec![name], 1 << bit));
        }
        assert_eq!(Signals::ALL.iter().fold(Signals::NONE, Signals::union), Signals::ALL);
        assert_eq!(Signals::ALL.names().count(), Signals::COUNT);
    }

    #[test]
    fn sets_unite_and_compare() {
        let set = Signals::CREDIT.union(Signals::KEYS);
        assert_eq!(set, Signals::KEYS | Signals::CREDIT);
        assert!(set.contains(Signals::KEYS) && set.contains(Signals::NONE) && !set.contains(Signals::ALL));
        assert!(set.intersects(Signals::ALL) && !set.intersects(Signals::PING) && !set.intersects(Signals::NONE));
        assert!(Signals::NONE.is_empty() && !set.is_empty());
        assert_eq!(set.iter().collect::<Vec<_>>(), [Signals::CREDIT, Signals::KEYS]);
        let mut growing = Signals::NONE;
        growing |= set;
        assert_eq!(growing, set);
    }

    #[test]
    fn unknown_bits_are_left_out() {
        assert_eq!(Signals::from_bits(u16::MAX), Signals::ALL);
        assert_eq!(Signals::from_bits(Signals::PING.bits()), Signals::PING);
    }

    #[test]
    fn sets_read_as_words() {
        assert_eq!((Signals::TRANSPORT | Signals::WRITTEN).to_string(), "TRANSPORT WRITTEN");
        assert_eq!(Signals::NONE.to_string(), "nothing");
    }

    #[test]
    fn counters_count_each_signal_of_a_set() {
        let mut counters = SignalCounters::default();
        counters.count(Signals::TRANSPORT | Signals::WRITTEN);
        counters.count(Signals::WRITTEN);
        let counted: Vec<_> = counters.iter().filter(|&(_, count)| count > 0).collect();
        assert_eq!(counted, [("TRANSPORT", 1), ("WRITTEN", 2)]);
        assert_eq!(counters.iter().count(), Signals::COUNT);
    }
}
