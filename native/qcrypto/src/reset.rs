//! Stateless reset tokens (RFC 9000 §10.3.2): made from a static key and a connection id, so that an endpoint that lost
//! its state makes the same token again.

use qbase::{ConnectionId, ResetToken};
use ring::hmac;

/// The token of a connection id: the first 16 bytes of HMAC-SHA256 of the id under `key`.
#[must_use]
pub fn reset_token(key: &[u8; 32], cid: &ConnectionId) -> ResetToken {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), cid.as_bytes());
    let mut token = [0; 16];
    token.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    ResetToken(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    /// RFC 4231 §4.2 with its key filled up with zeros, which HMAC does anyway.
    #[test]
    fn token_is_the_beginning_of_hmac_sha256() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let token = reset_token(&key, &ConnectionId::new(b"Hi There").unwrap());
        assert_eq!(token.0.as_slice(), hex("b0344c61d8db38535ca8afceaf0bf12b"));
    }

    #[test]
    fn token_depends_on_key_and_id() {
        let cid = ConnectionId::new(&[1, 2, 3]).unwrap();
        let token = reset_token(&[7; 32], &cid);
        assert_eq!(token, reset_token(&[7; 32], &cid));
        assert_ne!(token, reset_token(&[8; 32], &cid));
        assert_ne!(token, reset_token(&[7; 32], &ConnectionId::new(&[1, 2, 4]).unwrap()));
    }
}
