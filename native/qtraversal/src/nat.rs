//! What a NAT is, in the words of RFC 4787, and what was seen to say so (traversal T-51).
//!
//! Decides how the six types that frames carry (traversal T-63) follow from behaviour. Filled by the detection machine,
//! read by strategies and people. Never sends, never forgets the raw observations.

use std::{net::SocketAddr, time::Duration};

use qbase::Timestamp;

/// The type as frames carry it (traversal §4, T-63): derived, coarser than [`Behaviour`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum NatType {
    /// No answer: UDP does not get through.
    Blocked = 0,
    /// One mapping for all destinations, open to everybody. Also: no NAT and no filter.
    FullCone = 1,
    /// One mapping, open to addresses that were sent to.
    RestrictedCone = 2,
    /// One mapping, open to addresses and ports that were sent to.
    RestrictedPort = 3,
    /// A mapping per destination.
    Symmetric = 4,
    /// One mapping at first sight that changes for later destinations.
    Dynamic = 5,
}

impl NatType {
    /// All types, by number.
    pub const ALL: [Self; 6] =
        [Self::Blocked, Self::FullCone, Self::RestrictedCone, Self::RestrictedPort, Self::Symmetric, Self::Dynamic];

    /// The type of this number on the wire; `None`: there is none (traversal T-63).
    #[must_use]
    pub const fn from_wire(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Blocked,
            1 => Self::FullCone,
            2 => Self::RestrictedCone,
            3 => Self::RestrictedPort,
            4 => Self::Symmetric,
            5 => Self::Dynamic,
            _ => return None,
        })
    }

    /// The number on the wire.
    #[must_use]
    pub const fn to_wire(self) -> u64 {
        self as u64
    }
}

/// How external addresses are given to one internal address and port (RFC 4787 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Mapping {
    /// Too little was seen.
    #[default]
    Unknown,
    /// The mapped address is the socket's own: no translation.
    None,
    /// The same for all destinations.
    EndpointIndependent,
    /// One per destination IP.
    AddressDependent,
    /// One per destination IP and port.
    AddressAndPortDependent,
}

/// Whose packets come in through a mapping (RFC 4787 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Filtering {
    /// Too little was seen.
    #[default]
    Unknown,
    /// Everybody's.
    EndpointIndependent,
    /// Those of IPs that were sent to.
    AddressDependent,
    /// Those of IPs and ports that were sent to.
    AddressAndPortDependent,
}

/// How external ports are chosen (RFC 4787 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PortAllocation {
    /// Too little was seen.
    #[default]
    Unknown,
    /// The internal port, where it is free.
    Preserving,
    /// Each new mapping this far from the one before; negative: downwards. Never 0.
    Sequential {
        /// External ports from one mapping to the next.
        step: i32,
    },
    /// No rule but that even ports stay even and odd ones odd (RFC 4787 §4.2.2).
    Parity,
    /// No rule was seen.
    Random,
}

/// What becomes of packets from inside to an external address of the same NAT (RFC 4787 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Hairpin {
    /// Not tried.
    #[default]
    Unknown,
    /// They are dropped.
    None,
    /// They arrive, and come from an external address, as the RFC asks for.
    External,
    /// They arrive, and come from the internal address.
    Internal,
}

/// How long an idle mapping lives, as far as it is known: between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct MappingLife {
    /// It was still there after this long a silence; zero: not tried.
    pub at_least: Duration,
    /// It was gone after this long a silence; `None`: never seen to go.
    pub below: Option<Duration>,
}

/// What was asked, for a reader of raw observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// Which address do you see? Answered by the server asked.
    Mapping,
    /// The same, answered from another port of the server.
    FromOtherPort,
    /// The same, answered from another IP and port.
    FromOtherAddress,
    /// Which address do you see, you whose packet came first and was filtered?
    MappingAfterContact,
    /// Does a packet to our own mapped address arrive?
    Hairpin,
    /// Is the mapping still there after this silence?
    Life(Duration),
}

/// One thing that was seen: raw, kept as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When the question ended.
    pub at: Timestamp,
    /// Which of the detection's sockets asked; 0 is the socket under test.
    pub socket: u8,
    /// Who was asked.
    pub server: SocketAddr,
    /// What was asked.
    pub question: Question,
    /// Datagrams sent for it.
    pub sent: u8,
    /// Where the answer came from; `None`: silence.
    pub from: Option<SocketAddr>,
    /// The mapped address in it; for a hairpin the source that was seen.
    pub mapped: Option<SocketAddr>,
    /// Since the question; `None`: silence, or it was sent more than once and the answer may be to any of them.
    pub rtt: Option<Duration>,
}

/// Whether a mapping that looked endpoint-independent stayed so for a later destination (traversal T-52).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Constancy {
    /// Not tried.
    #[default]
    Unknown,
    /// It stayed.
    Steady,
    /// It changed, or a further destination got no answer, in most rounds.
    Changing,
}

/// What becomes of the mapping towards a peer whose packet came first and was filtered. A Linux masquerade takes that packet for
/// a connection of its own: it gives the host another port towards this peer. Then the order of a punch decides: this side
/// must send before the other one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum AfterContact {
    /// Not tried.
    #[default]
    Unknown,
    /// It is the same as towards others.
    Keeps,
    /// It is another one.
    Changes,
}

/// Whether UDP gets through at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Reach {
    /// Nothing was asked, or no server could be.
    #[default]
    Unknown,
    /// No server answered.
    Blocked,
    /// Some server answered.
    Open,
}

/// A NAT in the words of RFC 4787, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Behaviour {
    /// Whether anything answered.
    pub reach: Reach,
    /// How addresses are mapped.
    pub mapping: Mapping,
    /// Whose packets come in.
    pub filtering: Filtering,
    /// How ports are chosen.
    pub ports: PortAllocation,
    /// Packets to ourselves.
    pub hairpin: Hairpin,
    /// How long mappings live.
    pub life: MappingLife,
    /// Whether the mapping stays.
    pub constancy: Constancy,
    /// Whether it stays towards a peer that sent first.
    pub after_contact: AfterContact,
    /// The socket's own address, if it is known.
    pub local: Option<SocketAddr>,
    /// The mapped address that the first server saw.
    pub outer: Option<SocketAddr>,
}

impl Behaviour {
    /// The type that frames carry, by the precedence of traversal §4 step 6; `None`: too little is known.
    #[must_use]
    pub fn nat_type(&self) -> Option<NatType> {
        match self.reach {
            Reach::Unknown => return None,
            Reach::Blocked => return Some(NatType::Blocked),
            Reach::Open => {}
        }
        match self.mapping {
            Mapping::Unknown => return None,
            Mapping::AddressDependent | Mapping::AddressAndPortDependent => return Some(NatType::Symmetric),
            Mapping::None | Mapping::EndpointIndependent => {}
        }
        if self.constancy == Constancy::Changing || self.after_contact == AfterContact::Changes {
            return Some(NatType::Dynamic);
        }
        match self.filtering {
            Filtering::Unknown => None,
            Filtering::EndpointIndependent => Some(NatType::FullCone),
            Filtering::AddressDependent => Some(NatType::RestrictedCone),
            Filtering::AddressAndPortDependent => Some(NatType::RestrictedPort),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(mapping: Mapping, filtering: Filtering, constancy: Constancy) -> Behaviour {
        Behaviour { reach: Reach::Open, mapping, filtering, constancy, ..Behaviour::default() }
    }

    /// traversal T-51, and the order of traversal §4 step 6.
    #[test]
    fn the_six_types_follow_from_behaviour_by_precedence() {
        use {Constancy as C, Filtering as F, Mapping as M, NatType as T};
        let cases = [
            (M::None, F::EndpointIndependent, C::Unknown, Some(T::FullCone)),
            (M::None, F::AddressAndPortDependent, C::Unknown, Some(T::RestrictedPort)),
            (M::EndpointIndependent, F::EndpointIndependent, C::Steady, Some(T::FullCone)),
            (M::EndpointIndependent, F::AddressDependent, C::Steady, Some(T::RestrictedCone)),
            (M::EndpointIndependent, F::AddressAndPortDependent, C::Steady, Some(T::RestrictedPort)),
            (M::EndpointIndependent, F::AddressAndPortDependent, C::Changing, Some(T::Dynamic)),
            (M::EndpointIndependent, F::EndpointIndependent, C::Changing, Some(T::Dynamic)),
            (M::AddressDependent, F::EndpointIndependent, C::Changing, Some(T::Symmetric)),
            (M::AddressAndPortDependent, F::Unknown, C::Unknown, Some(T::Symmetric)),
            (M::EndpointIndependent, F::Unknown, C::Steady, None),
            (M::Unknown, F::EndpointIndependent, C::Steady, None),
        ];
        for (mapping, filtering, constancy, expected) in cases {
            assert_eq!(seen(mapping, filtering, constancy).nat_type(), expected, "{mapping:?} {filtering:?} {constancy:?}");
        }
        let blocked = Behaviour { reach: Reach::Blocked, ..seen(M::None, F::EndpointIndependent, C::Steady) };
        assert_eq!(blocked.nat_type(), Some(T::Blocked), "blocked comes before all");
        assert_eq!(Behaviour::default().nat_type(), None);
    }

    /// traversal T-63.
    #[test]
    fn a_type_on_the_wire_is_one_of_six() {
        for (number, kind) in NatType::ALL.into_iter().enumerate() {
            assert_eq!(NatType::from_wire(number as u64), Some(kind));
            assert_eq!(kind.to_wire(), number as u64);
        }
        for number in [6, 255, 256, 257, (1 << 62) - 1] {
            assert_eq!(NatType::from_wire(number), None, "{number}");
        }
    }
}
