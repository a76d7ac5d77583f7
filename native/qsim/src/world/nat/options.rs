//! What an address translator is like, in the words of RFC 4787, and the kinds that have names.
//!
//! Chosen by whoever builds a world; read by the translator. Decides nothing.

use std::time::Duration;

/// On what a mapping, or leave to answer, depends (RFC 4787 §4.1, §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dependence {
    /// On nothing: one for all peers.
    #[default]
    EndpointIndependent,
    /// On the peer's address.
    Address,
    /// On the peer's address and port.
    AddressPort,
}

/// Which outside port an inside one gets (RFC 4787 §4.2). It is of the inside one's range, 1-1023 or 1024-65535.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortChoice {
    /// The same if it is free.
    #[default]
    Preserving,
    /// The one after the last.
    Sequential,
    /// Any.
    Random,
    /// The next that is even where the inside one is.
    Parity,
}

/// What keeps a mapping alive (RFC 4787 §4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// What leaves by it.
    #[default]
    Outbound,
    /// That, and what the filter lets in.
    Both,
}

/// What a datagram keeps alive (RFC 4787 §4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefreshScope {
    /// The mapping with the leave of all its peers.
    #[default]
    Mapping,
    /// The mapping with the leave of this peer alone.
    Session,
}

/// Something a translator does or does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habit {
    /// It does.
    Yes,
    /// It does not.
    #[default]
    No,
}

/// What a translator is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatOptions {
    /// On what mappings depend.
    pub mapping: Dependence,
    /// On what leave to answer depends.
    pub filtering: Dependence,
    /// Which ports it gives.
    pub ports: PortChoice,
    /// Inside hosts reach each other by their outside addresses (RFC 4787 §6).
    pub hairpin: Habit,
    /// How long a mapping lives that nothing refreshes.
    pub timeout: Duration,
    /// What refreshes it.
    pub refresh: Refresh,
    /// How much of it is refreshed at once.
    pub scope: RefreshScope,
    /// It tracks flows, as Linux does it for masquerading: every pair of an inside address and a peer is a flow of its own,
    /// kept alive from both sides, and keeps its port while no other flow with that peer has it. A peer whose datagram
    /// came first has begun such a flow with the translator itself, so that ours gets another port. `mapping`, `filtering`,
    /// `refresh` and `scope` say nothing then.
    pub linux: Habit,
    /// Nothing passes.
    pub blocked: Habit,
}

impl Default for NatOptions {
    fn default() -> Self {
        Self {
            mapping: Dependence::EndpointIndependent,
            filtering: Dependence::AddressPort,
            ports: PortChoice::Preserving,
            hairpin: Habit::No,
            timeout: Duration::from_secs(120),
            refresh: Refresh::Outbound,
            scope: RefreshScope::Mapping,
            linux: Habit::No,
            blocked: Habit::No,
        }
    }
}

/// The eight kinds of the reference table: what hosts on the Internet mostly stand behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NatKind {
    /// No translator at all.
    None,
    /// Endpoint-independent mapping and filtering.
    FullCone,
    /// Endpoint-independent mapping, address-dependent filtering.
    AddressRestricted,
    /// Endpoint-independent mapping, filtering by address and port.
    PortRestricted,
    /// Mapping and filtering by address and port, random ports.
    Symmetric,
    /// The connection tracker of Linux, masquerading.
    Linux,
    /// Address-dependent mapping, filtering by address and port, random ports.
    AddressDependent,
    /// Mapping and filtering by address and port, one port after the other.
    Sequential,
}

impl NatKind {
    /// All of them, in the order of the reference table.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::FullCone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Symmetric,
        Self::Linux,
        Self::AddressDependent,
        Self::Sequential,
    ];

    /// The name people and the TypeScript face use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FullCone => "full-cone",
            Self::AddressRestricted => "addr-restricted",
            Self::PortRestricted => "port-restricted",
            Self::Symmetric => "symmetric",
            Self::Linux => "linux",
            Self::AddressDependent => "adm-apdf",
            Self::Sequential => "apdm-apdf-sequential",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The translator of this kind; `None`: there is none.
    #[must_use]
    pub fn options(self) -> Option<NatOptions> {
        let (mapping, filtering, ports) = match self {
            Self::None => return None,
            Self::FullCone => (Dependence::EndpointIndependent, Dependence::EndpointIndependent, PortChoice::Preserving),
            Self::AddressRestricted => (Dependence::EndpointIndependent, Dependence::Address, PortChoice::Preserving),
            Self::PortRestricted | Self::Linux => (Dependence::EndpointIndependent, Dependence::AddressPort, PortChoice::Preserving),
            Self::Symmetric => (Dependence::AddressPort, Dependence::AddressPort, PortChoice::Random),
            Self::AddressDependent => (Dependence::Address, Dependence::AddressPort, PortChoice::Random),
            Self::Sequential => (Dependence::AddressPort, Dependence::AddressPort, PortChoice::Sequential),
        };
        let linux = if self == Self::Linux { Habit::Yes } else { Habit::No };
        Some(NatOptions { mapping, filtering, ports, linux, ..NatOptions::default() })
    }
}
