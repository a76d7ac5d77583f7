//! From secrets to keys: HKDF labels of QUIC versions 1 and 2 (RFC 9001 §5.1, §5.2, §6.1; RFC 9369 §3.3).
//!
//! Called for Initial packets, for which no TLS session exists yet, and for secrets that came by another way than a
//! session's own keys. Session keys arrive through `session`. Never keeps a secret longer than the next one needs it.

use qbase::{ConnectionId, Role, VERSION_2};
use ring::{aead, hkdf};

use crate::{
    protect::{HeaderKey, NONCE_LEN, PacketKey, RingHeaderKey, RingPacketKey},
};

/// Keys of one encryption level.
#[derive(Debug)]
pub struct Keys {
    /// Protects what we send.
    pub local: DirectionKeys,
    /// Opens what we receive.
    pub remote: DirectionKeys,
}

impl Keys {
    /// Initial keys, from the destination connection id of the client's first Initial packet (RFC 9001 §5.2).
    ///
    /// `version` is one we speak; any but version 2 takes the salts and labels of version 1.
    #[must_use]
    pub fn initial(version: u32, dcid: &ConnectionId, role: Role) -> Self {
        let labels = Labels::of(version);
        let initial = hkdf::Salt::new(hkdf::HKDF_SHA256, &labels.salt).extract(dcid.as_bytes());
        let secret = |label: &[u8]| Secret {
            cipher: Cipher::Aes128Gcm,
            labels,
            prk: expand(&initial, label, hkdf::HKDF_SHA256, |okm| hkdf::Prk::from(okm)),
        };
        let (client, server) = (secret(b"client in"), secret(b"server in"));
        match role {
            Role::Client => Self { local: client.keys(), remote: server.keys() },
            Role::Server => Self { local: server.keys(), remote: client.keys() },
        }
    }
}

impl Keys {
    /// Keys of one level from its traffic secrets.
    #[must_use]
    pub(crate) fn from_secrets(cipher: Cipher, version: u32, local: &[u8], remote: &[u8]) -> Self {
        let keys = |secret| Secret::new(cipher, version, secret).keys();
        Self { local: keys(local), remote: keys(remote) }
    }
}

impl From<rustls::quic::Keys> for Keys {
    fn from(keys: rustls::quic::Keys) -> Self {
        Self { local: keys.local.into(), remote: keys.remote.into() }
    }
}

/// Keys of one encryption level and direction.
#[derive(Debug)]
pub struct DirectionKeys {
    /// Header protection.
    pub header: HeaderKey,
    /// Packet protection.
    pub packet: PacketKey,
}

impl From<rustls::quic::DirectionalKeys> for DirectionKeys {
    fn from(keys: rustls::quic::DirectionalKeys) -> Self {
        Self { header: HeaderKey::new(keys.header), packet: PacketKey::new(keys.packet) }
    }
}

/// An AEAD with its header protection and hash (RFC 9001 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// TLS_AES_128_GCM_SHA256.
    Aes128Gcm,
    /// TLS_AES_256_GCM_SHA384.
    Aes256Gcm,
    /// TLS_CHACHA20_POLY1305_SHA256.
    ChaCha20Poly1305,
}

impl Cipher {
    /// All of them, in order of preference.
    pub const ALL: [Self; 3] = [Self::Aes128Gcm, Self::Aes256Gcm, Self::ChaCha20Poly1305];

    /// The name in the TLS registry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "TLS_AES_128_GCM_SHA256",
            Self::Aes256Gcm => "TLS_AES_256_GCM_SHA384",
            Self::ChaCha20Poly1305 => "TLS_CHACHA20_POLY1305_SHA256",
        }
    }

    /// The cipher with this registry name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cipher| cipher.name() == name)
    }

    pub(crate) fn of_suite(suite: rustls::CipherSuite) -> Option<Self> {
        match suite {
            rustls::CipherSuite::TLS13_AES_128_GCM_SHA256 => Some(Self::Aes128Gcm),
            rustls::CipherSuite::TLS13_AES_256_GCM_SHA384 => Some(Self::Aes256Gcm),
            rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    fn hash(self) -> hkdf::Algorithm {
        match self {
            Self::Aes128Gcm | Self::ChaCha20Poly1305 => hkdf::HKDF_SHA256,
            Self::Aes256Gcm => hkdf::HKDF_SHA384,
        }
    }

    fn aead(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }

    fn header(self) -> &'static aead::quic::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::quic::AES_128,
            Self::Aes256Gcm => &aead::quic::AES_256,
            Self::ChaCha20Poly1305 => &aead::quic::CHACHA20,
        }
    }

    /// Packets sealed with one key at most (RFC 9001 §6.6).
    fn confidentiality_limit(self) -> u64 {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 1 << 23,
            Self::ChaCha20Poly1305 => u64::MAX,
        }
    }

    /// Packets of a connection that may fail to open (RFC 9001 §6.6).
    fn integrity_limit(self) -> u64 {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 1 << 52,
            Self::ChaCha20Poly1305 => 1 << 36,
        }
    }
}

/// The secret of one direction and generation.
pub(crate) struct Secret {
    cipher: Cipher,
    labels: &'static Labels,
    prk: hkdf::Prk,
}

impl Secret {
    /// A traffic secret as TLS delivers it.
    #[must_use]
    pub(crate) fn new(cipher: Cipher, version: u32, secret: &[u8]) -> Self {
        Self { cipher, labels: Labels::of(version), prk: hkdf::Prk::new_less_safe(cipher.hash(), secret) }
    }

    /// Header and packet keys (RFC 9001 §5.1).
    #[must_use]
    pub(crate) fn keys(&self) -> DirectionKeys {
        DirectionKeys { header: self.header_key(), packet: self.packet_key() }
    }

    /// The packet key alone: all that a key update renews.
    #[must_use]
    pub(crate) fn packet_key(&self) -> PacketKey {
        PacketKey::new(Box::new(RingPacketKey {
            key: aead::LessSafeKey::new(expand(&self.prk, self.labels.key, self.cipher.aead(), |okm| {
                aead::UnboundKey::from(okm)
            })),
            iv: expand_bytes(&self.prk, self.labels.iv),
            confidentiality: self.cipher.confidentiality_limit(),
            integrity: self.cipher.integrity_limit(),
        }))
    }

    fn header_key(&self) -> HeaderKey {
        HeaderKey::new(Box::new(RingHeaderKey(expand(&self.prk, self.labels.header, self.cipher.header(), |okm| {
            aead::quic::HeaderProtectionKey::from(okm)
        }))))
    }

    /// The secret of the next key phase (RFC 9001 §6.1).
    #[must_use]
    pub(crate) fn next(&self) -> Self {
        Self { prk: expand(&self.prk, self.labels.update, self.cipher.hash(), |okm| hkdf::Prk::from(okm)), ..*self }
    }
}

/// What differs between QUIC versions (RFC 9001 §5.1, §5.2, §6.1; RFC 9369 §3.3).
struct Labels {
    salt: [u8; 20],
    key: &'static [u8],
    iv: &'static [u8],
    header: &'static [u8],
    update: &'static [u8],
}

impl Labels {
    fn of(version: u32) -> &'static Self {
        if version == VERSION_2 { &LABELS_V2 } else { &LABELS_V1 }
    }
}

static LABELS_V1: Labels = Labels {
    salt: [
        0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb,
        0x7f, 0x0a,
    ],
    key: b"quic key",
    iv: b"quic iv",
    header: b"quic hp",
    update: b"quic ku",
};

static LABELS_V2: Labels = Labels {
    salt: [
        0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd,
        0x2e, 0xd9,
    ],
    key: b"quicv2 key",
    iv: b"quicv2 iv",
    header: b"quicv2 hp",
    update: b"quicv2 ku",
};

/// HKDF-Expand-Label without context (RFC 8446 §7.1).
#[expect(clippy::expect_used, reason = "every length asked for here is a constant of a cipher, far below 255 hashes")]
fn expand<L: hkdf::KeyType, T>(
    prk: &hkdf::Prk,
    label: &[u8],
    length: L,
    make: impl FnOnce(hkdf::Okm<'_, L>) -> T,
) -> T {
    const PREFIX: &[u8] = b"tls13 ";
    let output_len = u16::try_from(length.len()).unwrap_or(u16::MAX).to_be_bytes();
    let label_len = [u8::try_from(PREFIX.len().saturating_add(label.len())).unwrap_or(u8::MAX)];
    let info: [&[u8]; 5] = [&output_len, &label_len, PREFIX, label, &[0]];
    make(prk.expand(&info, length).expect("output of at most 48 bytes"))
}

/// The IV, which no type of ring stands for.
#[expect(clippy::expect_used, reason = "filled with exactly the length that was asked for")]
fn expand_bytes(prk: &hkdf::Prk, label: &[u8]) -> [u8; NONCE_LEN] {
    struct NonceLength;
    impl hkdf::KeyType for NonceLength {
        fn len(&self) -> usize {
            NONCE_LEN
        }
    }
    let mut bytes = [0; NONCE_LEN];
    expand(prk, label, NonceLength, |okm| okm.fill(&mut bytes)).expect("12 bytes into 12 bytes");
    bytes
}
