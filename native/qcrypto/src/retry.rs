//! The Retry integrity tag (RFC 9001 §5.8, RFC 9369 §3.3.3): shows that whoever sent a Retry saw the client's Initial.

use qbase::{ConnectionId, VERSION_2, limits::TAG_LEN};
use ring::aead;

/// The tag that ends a Retry packet.
///
/// `original_dcid` is the destination connection id of the Initial that it answers, `retry` the whole packet up to the
/// tag. Compare with [`is_retry_authentic`].
#[must_use]
#[expect(clippy::expect_used, reason = "constant keys of the right length, and nothing to encrypt")]
pub fn retry_tag(version: u32, original_dcid: &ConnectionId, retry: &[u8]) -> [u8; TAG_LEN] {
    let (key, nonce) = if version == VERSION_2 { (KEY_V2, NONCE_V2) } else { (KEY_V1, NONCE_V1) };
    let key = aead::UnboundKey::new(&aead::AES_128_GCM, &key).expect("16 bytes are a key of AES-128");
    let cid = original_dcid.as_bytes();
    let mut pseudo_packet = Vec::with_capacity(1_usize.saturating_add(cid.len()).saturating_add(retry.len()));
    pseudo_packet.push(u8::try_from(cid.len()).unwrap_or(u8::MAX));
    pseudo_packet.extend_from_slice(cid);
    pseudo_packet.extend_from_slice(retry);
    let tag = aead::LessSafeKey::new(key)
        .seal_in_place_separate_tag(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(pseudo_packet), &mut [])
        .expect("an empty payload is never too long");
    tag.as_ref().try_into().expect("a tag of 16 bytes")
}

/// Does this Retry packet, tag included, answer the Initial that was sent to `original_dcid`?
#[must_use]
pub fn is_retry_authentic(version: u32, original_dcid: &ConnectionId, retry: &[u8]) -> bool {
    retry.split_last_chunk::<TAG_LEN>().is_some_and(|(packet, tag)| {
        let expected = retry_tag(version, original_dcid, packet);
        expected.iter().zip(tag).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    })
}

const KEY_V1: [u8; 16] =
    [0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e];
const NONCE_V1: [u8; 12] = [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb];
const KEY_V2: [u8; 16] =
    [0x8f, 0xb4, 0xb0, 0x1b, 0x56, 0xac, 0x48, 0xe2, 0x60, 0xfb, 0xcb, 0xce, 0xad, 0x7c, 0xcc, 0x92];
const NONCE_V2: [u8; 12] = [0xd8, 0x69, 0x69, 0xbc, 0x2d, 0x7c, 0x6d, 0x99, 0x90, 0xef, 0xb0, 0x4a];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    fn original_dcid() -> ConnectionId {
        ConnectionId::new(&hex("8394c8f03e515708")).unwrap()
    }

    /// RFC 9001 appendix A.4.
    const RETRY: &str = "ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba";

    #[test]
    fn tag_is_that_of_rfc_9001_a_4() {
        let retry = hex(RETRY);
        let (packet, tag) = retry.split_last_chunk::<TAG_LEN>().unwrap();
        assert_eq!(&retry_tag(qbase::VERSION_1, &original_dcid(), packet), tag);
    }

    /// RFC 9369 appendix A.4.
    #[test]
    fn tag_of_version_2_is_that_of_rfc_9369_a_4() {
        let retry = hex("cf6b3343cf0008f067a5502a4262b5746f6b656ec8646ce8bfe33952d955543665dcc7b6");
        assert!(is_retry_authentic(VERSION_2, &original_dcid(), &retry));
    }

    #[test]
    fn retry_with_any_bit_flipped_is_refused() {
        let retry = hex(RETRY);
        assert!(is_retry_authentic(qbase::VERSION_1, &original_dcid(), &retry));
        for bit in 0..retry.len() * 8 {
            let mut flipped = retry.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_retry_authentic(qbase::VERSION_1, &original_dcid(), &flipped), "bit {bit}");
        }
    }

    #[test]
    fn retry_for_another_connection_or_without_a_whole_tag_is_refused() {
        let retry = hex(RETRY);
        assert!(!is_retry_authentic(qbase::VERSION_1, &ConnectionId::EMPTY, &retry));
        assert!(!is_retry_authentic(qbase::VERSION_1, &original_dcid(), &retry[..15]));
        assert!(!is_retry_authentic(VERSION_2, &original_dcid(), &retry));
    }
}
