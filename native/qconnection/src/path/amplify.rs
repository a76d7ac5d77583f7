//! Anti-amplification: how much may be sent to an address that nobody proved to be the peer's (RFC 9000 §8.1).
//!
//! Decides the credit of one network path, in bytes of whole UDP payloads (burst B-44 to B-46; attacks B2, E10). Called
//! when a datagram arrives, when a burst was submitted, and when validation ends. Never reserves: the burst counts down
//! its own copy of the credit while it grows (burst B-17).

use qbase::limits;

/// What is known about the peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Address {
    /// Nothing: bytes sent are paid for with bytes received.
    Unproved,
    /// It is the peer's, or we chose it ourselves.
    Proved,
    /// Given up: nothing is sent there any more.
    Aborted,
}

/// The credit towards one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amplification {
    address: Address,
    /// Bytes of all datagrams received from the address, once per datagram and whole, whatever they held.
    received: u64,
    /// Bytes handed to the socket.
    sent: u64,
}

impl Amplification {
    /// An address that the peer named or sent from: credit comes with what is received.
    #[must_use]
    pub const fn limited() -> Self {
        Self { address: Address::Unproved, received: 0, sent: 0 }
    }

    /// An address we chose ourselves, or one that a valid token vouches for.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { address: Address::Proved, received: 0, sent: 0 }
    }

    /// A datagram with this many bytes of UDP payload arrived from the address.
    pub const fn on_received(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
    }

    /// The socket took this many bytes of UDP payload, forward header included.
    pub const fn on_sent(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_add(bytes);
    }

    /// Bytes that may be sent now; `u64::MAX` to a proved address, 0 to an aborted one.
    #[must_use]
    pub const fn credit(&self) -> u64 {
        match self.address {
            Address::Unproved => self.received.saturating_mul(limits::AMPLIFICATION).saturating_sub(self.sent),
            Address::Proved => u64::MAX,
            Address::Aborted => 0,
        }
    }

    /// The address is proved: a Handshake packet, a token or a PATH_RESPONSE came (burst B-46). An aborted one stays so.
    pub fn validate(&mut self) {
        if self.address == Address::Unproved {
            self.address = Address::Proved;
        }
    }

    /// Something was sent to the address.
    #[must_use]
    pub const fn has_sent(&self) -> bool {
        self.sent > 0
    }

    /// The path is given up (burst B-6): no credit, for ever.
    pub const fn abort(&mut self) {
        self.address = Address::Aborted;
    }

    /// The address is proved.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.address == Address::Proved
    }

    /// The path was given up.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.address == Address::Aborted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_bytes_may_be_sent_per_byte_received() {
        let mut amplification = Amplification::limited();
        assert_eq!(amplification.credit(), 0);
        amplification.on_received(1_200);
        assert_eq!(amplification.credit(), 3_600);
        amplification.on_sent(3_000);
        assert_eq!(amplification.credit(), 600);
        amplification.on_received(1);
        assert_eq!(amplification.credit(), 603);
    }

    #[test]
    fn what_was_sent_beyond_the_credit_is_paid_for_first() {
        let mut amplification = Amplification::limited();
        amplification.on_received(100);
        amplification.on_sent(400);
        assert_eq!(amplification.credit(), 0);
        amplification.on_received(50);
        assert_eq!(amplification.credit(), 50);
    }

    #[test]
    fn a_proved_address_has_no_limit() {
        let mut amplification = Amplification::limited();
        amplification.on_sent(1);
        amplification.validate();
        assert_eq!((amplification.credit(), amplification.is_validated()), (u64::MAX, true));
        assert_eq!(Amplification::unlimited().credit(), u64::MAX);
    }

    #[test]
    fn an_aborted_path_gets_no_credit_back() {
        let mut amplification = Amplification::unlimited();
        amplification.abort();
        amplification.on_received(1_200);
        amplification.validate();
        assert_eq!((amplification.credit(), amplification.is_aborted()), (0, true));
    }

    proptest! {
        #[test]
        fn no_more_than_three_times_the_bytes_received_are_ever_sent(
            steps in proptest::collection::vec((any::<bool>(), 0u64..70_000), 0..100),
        ) {
            let mut amplification = Amplification::limited();
            let (mut received, mut sent) = (0u64, 0u64);
            for (is_arrival, bytes) in steps {
                if is_arrival {
                    amplification.on_received(bytes);
                    received += bytes;
                } else {
                    let bytes = bytes.min(amplification.credit());
                    amplification.on_sent(bytes);
                    sent += bytes;
                }
                prop_assert!(sent <= 3 * received);
            }
        }
    }
}
