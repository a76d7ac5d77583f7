//! Where the keys of later phases come from: the TLS library's secrets or bare ones (RFC 9001 §6.1).

use crate::{keys::Secret, protect::PacketKey};

/// The packet keys of one phase.
pub(crate) struct PacketKeys {
    pub(crate) local: PacketKey,
    pub(crate) remote: PacketKey,
}

/// Yields the packet keys of one phase after the other, beginning with the second.
pub(crate) trait KeySource: Send + Sync {
    /// The keys of the phase that follows.
    fn next(&mut self) -> PacketKeys;
}

impl KeySource for rustls::quic::Secrets {
    fn next(&mut self) -> PacketKeys {
        let keys = self.next_packet_keys();
        PacketKeys { local: PacketKey::new(keys.local), remote: PacketKey::new(keys.remote) }
    }
}

/// Secrets of our own derivation; each is the secret of the phase that follows.
pub(super) struct BareSecrets {
    pub(super) local: Secret,
    pub(super) remote: Secret,
}

impl KeySource for BareSecrets {
    fn next(&mut self) -> PacketKeys {
        let keys = PacketKeys { local: self.local.packet_key(), remote: self.remote.packet_key() };
        self.local = self.local.next();
        self.remote = self.remote.next();
        keys
    }
}
