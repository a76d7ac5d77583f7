//! Why a datagram or packet was dropped, and how often: drops are counted, the connection lives on.
//!
//! Counted by the endpoint and by each connection, read by statistics under stable names. Never decides about a packet.

use qbase::packet::PacketError;

/// Declares reasons and names, so that none is left out of [`DropReason::ALL`].
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// Why a datagram or packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])* $variant,)+
        }

        impl DropReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in statistics and logs; it never changes.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// The datagram ends inside a header.
    HeaderTruncated = "headerTruncated",
    /// The fixed bit is 0 and nobody allowed that (RFC 9000 §17.2, attacks A9).
    FixedBitClear = "fixedBitClear",
    /// A version we do not speak.
    UnknownVersion = "unknownVersion",
    /// A connection id longer than 20 bytes (attacks A4).
    CidTooLong = "cidTooLong",
    /// The Length field reaches beyond the datagram (attacks A8).
    LengthTooLarge = "lengthTooLarge",
    /// Too short to sample for header protection (attacks A7).
    TooShort = "tooShort",
    /// A Retry without a token (attacks A14).
    EmptyRetryToken = "emptyRetryToken",
    /// A packet of this kind has no place here: a Retry at a server, say.
    WrongType = "wrongType",
    /// A Version Negotiation packet without whole versions (attacks A13).
    MalformedVersions = "malformedVersions",
    /// Coalesced with packets of another connection (attacks A6).
    OtherConnection = "otherConnection",
    /// The header makes no sense in another way.
    MalformedHeader = "malformedHeader",
    /// Not even the first byte is there (attacks A2).
    EmptyDatagram = "emptyDatagram",
    /// Neither QUIC nor anything else we know.
    NotQuic = "notQuic",
    /// The sender's address is on the block list.
    Blocked = "blocked",
    /// An Initial in a datagram below 1,200 bytes (attacks A3).
    ShortInitial = "shortInitial",
    /// A first Initial whose destination connection id is below 8 bytes (attacks A5).
    ShortConnectionId = "shortConnectionId",
    /// No connection has this connection id.
    UnknownConnection = "unknownConnection",
    /// A forward header that names other ends than ours, or came from no relay of ours (traversal T-30, attacks G11).
    Misrouted = "misrouted",
    /// A new way through a relay, and as many as there may be are in use.
    PathwayLimit = "pathwayLimit",
    /// The endpoint has no server to accept it.
    NotListening = "notListening",
    /// Too many half-open connections (attacks L2).
    HalfOpenLimit = "halfOpenLimit",
    /// Too many connections, in all or from this address.
    ConnectionLimit = "connectionLimit",
    /// The application refused or ignored the attempt.
    Refused = "refused",
    /// The endpoint is closing.
    Closing = "closing",
    /// A token that is not ours, or used up (attacks B4).
    InvalidToken = "invalidToken",
    /// A Retry with a wrong tag, or one too many (attacks A14).
    InvalidRetry = "invalidRetry",
    /// A Version Negotiation packet that came too late or offers what was chosen (attacks A11).
    UnexpectedVersionNegotiation = "unexpectedVersionNegotiation",
    /// Its keys are gone, or never were there.
    NoKeys = "noKeys",
    /// Set aside until its keys exist; it is counted again if that fails.
    KeptForKeys = "keptForKeys",
    /// No room to set it aside (attacks L3).
    UndecryptableLimit = "undecryptableLimit",
    /// The AEAD tag does not fit.
    Undecryptable = "undecryptable",
    /// Its number was received before, or is too old to tell (RFC 9000 §12.3).
    Duplicate = "duplicate",
    /// For a path id that is not open, or no longer.
    UnknownPath = "unknownPath",
    /// From an address the connection may not move to now (attacks E12).
    Migration = "migration",
    /// More 4-tuples than a path may have (attacks L12).
    PathLimit = "pathLimit",
    /// An answer was due and the credit of the address did not allow it (RFC 9000 §8.1).
    Amplification = "amplification",
    /// An answer was due and too many of its kind went out already (attacks L20).
    AnswerLimit = "answerLimit",
    /// Datagrams waited for their connection, and too many did (attacks L1).
    QueueFull = "queueFull",
    /// The application has not taken the connection's events, and too many wait (attacks L26).
    EventsWaiting = "eventsWaiting",
    /// The connection is closing or draining.
    ConnectionClosed = "connectionClosed",
}

impl DropReason {
    /// The reason for a packet whose header was refused; names agree.
    #[must_use]
    pub const fn from_packet_error(error: PacketError) -> Self {
        match error {
            PacketError::Truncated => Self::HeaderTruncated,
            PacketError::FixedBitClear => Self::FixedBitClear,
            PacketError::UnknownVersion { .. } => Self::UnknownVersion,
            PacketError::CidTooLong => Self::CidTooLong,
            PacketError::LengthTooLarge => Self::LengthTooLarge,
            PacketError::TooShort => Self::TooShort,
            PacketError::EmptyRetryToken => Self::EmptyRetryToken,
            PacketError::WrongType => Self::WrongType,
            PacketError::MalformedVersions => Self::MalformedVersions,
            PacketError::OtherConnection => Self::OtherConnection,
        }
    }
}

impl From<PacketError> for DropReason {
    fn from(error: PacketError) -> Self {
        Self::from_packet_error(error)
    }
}

/// How often each reason struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropCounters([u64; DropReason::ALL.len()]);

impl Default for DropCounters {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl DropCounters {
    /// Adds one.
    pub const fn count(&mut self, reason: DropReason) {
        if let Some((_, rest)) = self.0.split_at_mut_checked(reason as usize)
            && let Some(counter) = rest.first_mut()
        {
            *counter = counter.saturating_add(1);
        }
    }

    /// Drops for one reason.
    #[must_use]
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// Drops for all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// Every reason's name and count, zeros included, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DropReason::ALL.iter().map(|reason| reason.name()).zip(self.0)
    }

    /// Adds what a set has more than it had at `before`, and sets that to it: a total over sets that come and go.
    pub fn add_news(&mut self, set: &Self, before: &mut Self) {
        for ((counter, now), before) in self.0.iter_mut().zip(set.0).zip(&mut before.0) {
            *counter = counter.saturating_add(now.saturating_sub(*before));
            *before = now;
        }
    }

    /// Adds the counts of another set: those of a connection to the endpoint's, say.
    pub fn add(&mut self, other: &Self) {
        for (counter, more) in self.0.iter_mut().zip(other.0) {
            *counter = counter.saturating_add(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_in_camel_case() {
        let names: std::collections::BTreeSet<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
        for name in names {
            assert!(name.starts_with(|letter: char| letter.is_ascii_lowercase()), "{name}");
            assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric()), "{name}");
        }
    }

    #[test]
    fn public_names_stay() {
        let published = [
            (DropReason::ShortInitial, "shortInitial"),
            (DropReason::UnknownConnection, "unknownConnection"),
            (DropReason::Blocked, "blocked"),
            (DropReason::Undecryptable, "undecryptable"),
            (DropReason::Duplicate, "duplicate"),
            (DropReason::MalformedHeader, "malformedHeader"),
            (DropReason::NoKeys, "noKeys"),
            (DropReason::Amplification, "amplification"),
        ];
        for (reason, name) in published {
            assert_eq!(reason.name(), name);
        }
    }

    #[test]
    fn refused_headers_keep_their_names() {
        let errors = [
            PacketError::Truncated,
            PacketError::FixedBitClear,
            PacketError::UnknownVersion { version: 9 },
            PacketError::CidTooLong,
            PacketError::LengthTooLarge,
            PacketError::TooShort,
            PacketError::EmptyRetryToken,
            PacketError::WrongType,
            PacketError::MalformedVersions,
            PacketError::OtherConnection,
        ];
        for error in errors {
            assert_eq!(DropReason::from(error).name(), error.name());
        }
    }

    #[test]
    fn every_reason_is_counted_in_its_own_place() {
        let mut counters = DropCounters::default();
        for (index, &reason) in DropReason::ALL.iter().enumerate() {
            for _ in 0..=index {
                counters.count(reason);
            }
        }
        for (index, (name, count)) in counters.iter().enumerate() {
            assert_eq!((name, count), (DropReason::ALL[index].name(), index as u64 + 1));
            assert_eq!(counters.get(DropReason::ALL[index]), count);
        }
        assert_eq!(counters.iter().count(), DropReason::ALL.len());
        assert_eq!(counters.total(), counters.iter().map(|(_, count)| count).sum::<u64>());
    }

    #[test]
    fn news_of_a_set_are_added_once() {
        let (mut total, mut set, mut before) = (DropCounters::default(), DropCounters::default(), DropCounters::default());
        set.count(DropReason::Duplicate);
        total.add_news(&set, &mut before);
        total.add_news(&set, &mut before);
        set.count(DropReason::Duplicate);
        set.count(DropReason::NoKeys);
        total.add_news(&set, &mut before);
        assert_eq!((total.get(DropReason::Duplicate), total.get(DropReason::NoKeys), total.total()), (2, 1, 3));
        assert_eq!(before, set);
    }

    #[test]
    fn counters_add_up() {
        let (mut endpoint, mut connection) = (DropCounters::default(), DropCounters::default());
        endpoint.count(DropReason::Duplicate);
        connection.count(DropReason::Duplicate);
        connection.count(DropReason::NoKeys);
        endpoint.add(&connection);
        assert_eq!((endpoint.get(DropReason::Duplicate), endpoint.get(DropReason::NoKeys), endpoint.total()), (2, 1, 3));
    }
}
