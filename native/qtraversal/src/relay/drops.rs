//! Why a relay drops, and how often it did (traversal T-33).

/// A reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Dropped {
    /// No forward header.
    NoHeader,
    /// We are no agent, and it is not for us.
    NoAgent,
    /// Who shall get it, or who sends it on through us, is not registered.
    NotRegistered,
    /// It is registered, but was silent for too long.
    Silent,
    /// The source endpoint is not whom it comes from.
    Spoofed,
    /// It was here before, or would go back to where it came from.
    Loop,
    /// It would go to ourselves.
    Own,
    /// It would go to where the Internet does not reach.
    NotGlobal,
    /// It would go to no host, or from one family to the other.
    Unusable,
    /// Longer than we forward.
    TooLong,
    /// Its source sends too much.
    SourceRate,
    /// Its destination gets too much.
    DestinationRate,
    /// One of its ends is on the block list.
    Blocked,
    /// The socket was full: a relay keeps no queue.
    NoRoom,
}

impl Dropped {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 14] = [
        Self::NoHeader,
        Self::NoAgent,
        Self::NotRegistered,
        Self::Silent,
        Self::Spoofed,
        Self::Loop,
        Self::Own,
        Self::NotGlobal,
        Self::Unusable,
        Self::TooLong,
        Self::SourceRate,
        Self::DestinationRate,
        Self::Blocked,
        Self::NoRoom,
    ];

    /// As metrics name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoHeader => "no_header",
            Self::NoAgent => "no_agent",
            Self::NotRegistered => "not_registered",
            Self::Silent => "silent",
            Self::Spoofed => "spoofed",
            Self::Loop => "loop",
            Self::Own => "own",
            Self::NotGlobal => "not_global",
            Self::Unusable => "unusable",
            Self::TooLong => "too_long",
            Self::SourceRate => "source_rate",
            Self::DestinationRate => "destination_rate",
            Self::Blocked => "blocked",
            Self::NoRoom => "no_room",
        }
    }
}

/// Datagrams dropped, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Drops([u64; Dropped::ALL.len()]);

impl Drops {
    /// Dropped for this reason.
    #[must_use]
    pub fn of(&self, reason: Dropped) -> u64 {
        self.0.get(usize::from(reason as u8)).copied().unwrap_or(0)
    }

    /// Dropped at all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub(super) fn add(&mut self, reason: Dropped, datagrams: u64) {
        if let Some(count) = self.0.get_mut(usize::from(reason as u8)) {
            *count = count.saturating_add(datagrams);
        }
    }
}
