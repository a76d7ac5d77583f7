//! Sealed address tokens, and the keys an endpoint derives from its one secret (RFC 9000 §8.1.1, §8.1.4, §10.3.2).
//!
//! ```text
//! token   kind (1) · salt (16) · sealed content · tag (16)
//! ```
//!
//! Every token has a key of its own, made from the salt: as many tokens as a server likes may be sealed with random
//! salts. Called by the endpoint, which knows what stands inside. Never draws random numbers and never judges content.

use ring::{aead, hkdf, hmac};

/// Bytes of a token before its content.
const PREFIX: usize = 1 + SALT_LEN;
/// Random bytes of a token; they also name it in a replay filter.
pub const SALT_LEN: usize = 16;
/// Bytes of a token that are not content.
pub const OVERHEAD: usize = PREFIX + qbase::limits::TAG_LEN;

/// A key of one purpose, derived from an endpoint's secret: HMAC-SHA256 of the purpose's name.
#[must_use]
pub fn derive_key(secret: &[u8; 32], purpose: &str) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose.as_bytes());
    let mut key = [0; 32];
    key.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    key
}

/// Seals and opens tokens. Tokens of one kind never open as another.
pub struct TokenKey(hkdf::Prk);

/// A token that opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedToken {
    /// Unique to the token.
    pub salt: [u8; SALT_LEN],
    /// What was sealed.
    pub content: Vec<u8>,
}

impl TokenKey {
    /// The key of an endpoint with this secret.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &derive_key(secret, "quicbraid address token")))
    }

    /// A token of `kind`; `salt` must be random and is never used twice.
    #[must_use]
    pub fn seal(&self, kind: u8, salt: [u8; SALT_LEN], content: &[u8]) -> Option<Vec<u8>> {
        let mut token = Vec::with_capacity(content.len().saturating_add(OVERHEAD));
        token.push(kind);
        token.extend_from_slice(&salt);
        token.extend_from_slice(content);
        let (prefix, sealed) = token.split_at_mut_checked(PREFIX)?;
        let tag = self.key(prefix)?.seal_in_place_separate_tag(nonce(), aead::Aad::empty(), sealed).ok()?;
        token.extend_from_slice(tag.as_ref());
        Some(token)
    }

    /// The content of a token of this key and `kind`; `None` for anything else.
    #[must_use]
    pub fn open(&self, kind: u8, token: &[u8]) -> Option<OpenedToken> {
        let (prefix, sealed) = token.split_at_checked(PREFIX)?;
        let salt = *prefix.last_chunk::<SALT_LEN>().filter(|_| prefix.first() == Some(&kind))?;
        let mut content = sealed.to_vec();
        let len = self.key(prefix)?.open_in_place(nonce(), aead::Aad::empty(), &mut content).ok()?.len();
        content.truncate(len);
        Some(OpenedToken { salt, content })
    }

    /// The key of the one token with this prefix.
    fn key(&self, prefix: &[u8]) -> Option<aead::LessSafeKey> {
        let info = [prefix];
        let okm = self.0.expand(&info, &aead::AES_256_GCM).ok()?;
        Some(aead::LessSafeKey::new(aead::UnboundKey::from(okm)))
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

/// A key protects one token, so its nonce need not vary.
fn nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn sealed() -> Vec<u8> {
        TokenKey::new(&SECRET).seal(1, [9; SALT_LEN], b"content").unwrap()
    }

    #[test]
    fn a_token_opens_with_its_kind_and_key_only() {
        let token = sealed();
        assert_eq!(token.len(), OVERHEAD + 7);
        let opened = TokenKey::new(&SECRET).open(1, &token).unwrap();
        assert_eq!((opened.salt, opened.content.as_slice()), ([9; SALT_LEN], b"content".as_slice()));
        assert_eq!(TokenKey::new(&SECRET).open(2, &token), None, "another kind");
        assert_eq!(TokenKey::new(&[8; 32]).open(1, &token), None, "another key");
        let mut relabelled = token;
        relabelled[0] = 2;
        assert_eq!(TokenKey::new(&SECRET).open(2, &relabelled), None, "another kind by its label");
    }

    /// Shows 9000-8.1.4-2.
    #[test]
    fn attack_b4_no_bit_of_a_token_can_be_changed_and_no_byte_left_out() {
        let (key, token) = (TokenKey::new(&SECRET), sealed());
        for bit in 0..token.len() * 8 {
            let mut flipped = token.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(flipped[0], &flipped), None, "bit {bit}");
        }
        (0..token.len()).for_each(|len| assert_eq!(key.open(1, &token[..len]), None, "{len} bytes"));
    }

    #[test]
    fn the_content_cannot_be_seen_and_purposes_have_different_keys() {
        assert!(!sealed().windows(7).any(|window| window == b"content"));
        assert_ne!(derive_key(&SECRET, "a"), derive_key(&SECRET, "b"));
        assert_ne!(derive_key(&SECRET, "a"), SECRET);
    }
}
