//! Names of the timers: what happens by itself at the instant `next_timer()` gives.
//!
//! Given by the part that set the timer, shown by traces and `explain()`. Never holds the instant.

/// Declares the names, so that none is left out of [`TimerName::ALL`].
macro_rules! timers {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// What a timer is for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum TimerName {
            $($(#[$doc])* $variant,)+
        }

        impl TimerName {
            /// Every timer.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name, as in the public interface.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

timers! {
    /// A packet counts as lost by its age (RFC 9002 §6.1.2).
    Loss = "loss",
    /// A probe timeout (RFC 9002 §6.2).
    Pto = "pto",
    /// An ACK waited long enough (RFC 9000 §13.2.1).
    AckDelay = "ack-delay",
    /// The pacer lets the next burst go (RFC 9002 §7.7).
    Pacing = "pacing",
    /// Nothing was heard for too long (RFC 9000 §10.1).
    Idle = "idle",
    /// The handshake took too long.
    Handshake = "handshake",
    /// Closing or draining ends (RFC 9000 §10.2).
    Close = "close",
    /// A PATH_CHALLENGE is repeated or given up (RFC 9000 §8.2.4).
    PathValidation = "path-validation",
    /// One path was silent for too long (burst B-69).
    PathIdle = "path-idle",
    /// An abandoned path is forgotten (multipath MP-64).
    PathForget = "path-forget",
    /// A request to open a path gives up waiting (multipath MP-81).
    PathOpen = "path-open",
    /// A punch goes on, or a way through NATs is kept open (traversal T-88, T-98).
    Traversal = "traversal",
    /// Old keys are discarded (RFC 9001 §6.5).
    KeyDiscard = "key-discard",
    /// A heartbeat keeps the path alive (burst B-67).
    Heartbeat = "heartbeat",
    /// Memory came free for a connection that waits for it, or was offered long enough (mux R3).
    Buffers = "buffers",
    /// A PING keeps the connection alive (RFC 9000 §10.1.2).
    KeepAlive = "keep-alive",
    /// Data that a slow path holds up is copied to a quicker one (multipath MP-83).
    Reinject = "reinject",
    /// A message that waits to be sent is too old (RFC 9221 §5.4).
    DatagramExpiry = "datagram-expiry",
    /// A larger datagram is tried (RFC 9000 §14.3).
    MtuProbe = "mtu-probe",
    /// The next candidate of the handshake starts (multipath MP-88), or a first flight that waited for early data.
    HandshakeAttempt = "handshake-attempt",
    /// The answer of a certificate check is overdue.
    Verify = "verify",
    /// A scheduler that waits wants to be asked again (burst B-101).
    Scheduler = "scheduler",
    /// A STUN server is asked again, or a mapping kept open (traversal T-45, T-46).
    Nat = "nat",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_in_kebab_case() {
        let names: std::collections::BTreeSet<_> = TimerName::ALL.iter().map(|timer| timer.name()).collect();
        assert_eq!(names.len(), TimerName::ALL.len());
        for name in names {
            assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-'), "{name}");
        }
    }
}
