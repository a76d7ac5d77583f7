//! Known packets: RFC 9001 appendix A, RFC 9369 appendix A, multipath MP-31, and what forgeries and short packets get.

use proptest::prelude::*;
use qbase::{ConnectionId, PathId, Role, VERSION_1, VERSION_2, limits::TAG_LEN};
use ring::{aead, hkdf};

use super::*;
use crate::{
    keys::{Cipher, Keys, Secret},
    testing::hex,
};

fn initial_dcid() -> ConnectionId {
    ConnectionId::new(&hex("8394c8f03e515708")).unwrap()
}

/// Seals and masks a packet of `header` (packet number last, 1 to 4 bytes) and `payload`.
fn protect(keys: &crate::DirectionKeys, number: u64, pn_len: usize, header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet = [header, payload, &[0; TAG_LEN]].concat();
    keys.packet.seal(PathId::ZERO, number, &mut packet, header.len()).unwrap();
    keys.header.protect(&mut packet, header.len() - pn_len).unwrap();
    packet
}

/// RFC 9001 appendix A.2: the CRYPTO frame, padded to 1162 bytes.
fn client_payload() -> Vec<u8> {
    let mut payload = hex(
        "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000 \
         c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500 \
         050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003 \
         020304000d0010000e0403050306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff050480 \
         00ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff",
    );
    payload.resize(1162, 0);
    payload
}

/// RFC 9001 appendix A.2.
const CLIENT_INITIAL: &str = "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9bd8bab936b47d92ec356c0bab7df5 \
    976d27cd449f63300099f3991c260ec4c60d17b31f8429157bb35a1282a643a8d2262cad67500cadb8e7378c8eb7539ec4d4905f \
    ed1bee1fc8aafba17c750e2c7ace01e6005f80fcb7df621230c83711b39343fa028cea7f7fb5ff89eac2308249a02252155e2347 \
    b63d58c5457afd84d05dfffdb20392844ae812154682e9cf012f9021a6f0be17ddd0c2084dce25ff9b06cde535d0f920a2db1bf3 \
    62c23e596d11a4f5a6cf3948838a3aec4e15daf8500a6ef69ec4e3feb6b1d98e610ac8b7ec3faf6ad760b7bad1db4ba3485e8a94 \
    dc250ae3fdb41ed15fb6a8e5eba0fc3dd60bc8e30c5c4287e53805db059ae0648db2f64264ed5e39be2e20d82df566da8dd5998c \
    cabdae053060ae6c7b4378e846d29f37ed7b4ea9ec5d82e7961b7f25a9323851f681d582363aa5f89937f5a67258bf63ad6f1a0b \
    1d96dbd4faddfcefc5266ba6611722395c906556be52afe3f565636ad1b17d508b73d8743eeb524be22b3dcbc2c7468d54119c74 \
    68449a13d8e3b95811a198f3491de3e7fe942b330407abf82a4ed7c1b311663ac69890f4157015853d91e923037c227a33cdd5ec \
    281ca3f79c44546b9d90ca00f064c99e3dd97911d39fe9c5d0b23a229a234cb36186c4819e8b9c5927726632291d6a418211cc29 \
    62e20fe47feb3edf330f2c603a9d48c0fcb5699dbfe5896425c5bac4aee82e57a85aaf4e2513e4f05796b07ba2ee47d80506f8d2 \
    c25e50fd14de71e6c418559302f939b0e1abd576f279c4b2e0feb85c1f28ff18f58891ffef132eef2fa09346aee33c28eb130ff2 \
    8f5b766953334113211996d20011a198e3fc433f9f2541010ae17c1bf202580f6047472fb36857fe843b19f5984009ddc324044e \
    847a4f4a0ab34f719595de37252d6235365e9b84392b061085349d73203a4a13e96f5432ec0fd4a1ee65accdd5e3904df54c1da5 \
    10b0ff20dcc0c77fcb2c0e0eb605cb0504db87632cf3d8b4dae6e705769d1de354270123cb11450efc60ac47683d7b8d0f811365 \
    565fd98c4c8eb936bcab8d069fc33bd801b03adea2e1fbc5aa463d08ca19896d2bf59a071b851e6c239052172f296bfb5e724047 \
    90a2181014f3b94a4e97d117b438130368cc39dbb2d198065ae3986547926cd2162f40a29f0c3c8745c0f50fba3852e566d44575 \
    c29d39a03f0cda721984b6f440591f355e12d439ff150aab7613499dbd49adabc8676eef023b15b65bfc5ca06948109f23f350db \
    82123535eb8a7433bdabcb909271a6ecbcb58b936a88cd4e8f2e6ff5800175f113253d8fa9ca8885c2f552e657dc603f252e1a8e \
    308f76f0be79e2fb8f5d5fbbe2e30ecadd220723c8c0aea8078cdfcb3868263ff8f0940054da48781893a7e49ad5aff4af300cd8 \
    04a6b6279ab3ff3afb64491c85194aab760d58a606654f9f4400e8b38591356fbf6425aca26dc85244259ff2b19c41b9f96f3ca9 \
    ec1dde434da7d2d392b905ddf3d1f9af93d1af5950bd493f5aa731b4056df31bd267b6b90a079831aaf579be0a39013137aac6d4 \
    04f518cfd46840647e78bfe706ca4cf5e9c5453e9f7cfd2b8b4c8d169a44e55c88d4a9a7f9474241e221af44860018ab0856972e \
    194cd934";

/// RFC 9001 appendix A.3.
const SERVER_PAYLOAD: &str = "02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a045a120013010000 \
    2e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00020304";

/// RFC 9001 appendix A.3.
const SERVER_INITIAL: &str = "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f \
    5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795 \
    d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee";

/// RFC 9001 appendix A.1: key, IV and header protection key of client and server.
#[test]
fn initial_keys_are_those_of_rfc_9001_a_1() {
    let client = Keys::initial(VERSION_1, &initial_dcid(), Role::Client);
    let known = [
        (
            client.local,
            "1f369613dd76d5467730efcbe3b1a22d",
            "fa044b2f42a3fd3b46fb255c",
            "9f50449e04a0e810283a1e9933adedd2",
        ),
        (
            client.remote,
            "cf3a5331653c364c88f0f379b6067e37",
            "0ac1493ca1905853b0bba03e",
            "c206b8d9b9f0f37644430b490eeaa314",
        ),
    ];
    for (keys, key, iv, header) in known {
        let mut expected = *b"payload of a packet";
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_128_GCM, &hex(key)).unwrap());
        let nonce = aead::Nonce::assume_unique_for_key(hex(iv).try_into().unwrap());
        let tag = key.seal_in_place_separate_tag(nonce, aead::Aad::from([0xc0, 0]), &mut expected).unwrap();
        let mask = aead::quic::HeaderProtectionKey::new(&aead::quic::AES_128, &hex(header)).unwrap();
        let [first, second, ..] = mask.new_mask(&expected[3..19]).unwrap();

        let packet = protect(&keys, 0, 1, &[0xc0, 0], b"payload of a packet");
        assert_eq!(packet[2..], [expected.as_slice(), tag.as_ref()].concat());
        assert_eq!(packet[..2], [0xc0 ^ first & 0x0f, second]);
    }
}

#[test]
fn client_initial_is_that_of_rfc_9001_a_2() {
    let keys = Keys::initial(VERSION_1, &initial_dcid(), Role::Client);
    let header = hex("c300000001088394c8f03e5157080000449e00000002");
    let packet = protect(&keys.local, 2, 4, &header, &client_payload());
    assert_eq!(packet, hex(CLIENT_INITIAL));
}

#[test]
fn server_opens_the_client_initial_of_rfc_9001_a_2() {
    let keys = Keys::initial(VERSION_1, &initial_dcid(), Role::Server);
    let mut packet = hex(CLIENT_INITIAL);
    assert_eq!(keys.remote.header.unprotect(&mut packet, 18), Some(4));
    assert_eq!(packet[..22], hex("c300000001088394c8f03e5157080000449e00000002"));
    let plaintext = keys.remote.packet.open(PathId::ZERO, 2, &mut packet, 22).unwrap();
    assert_eq!(packet[plaintext], client_payload());
}

#[test]
fn server_initial_is_that_of_rfc_9001_a_3() {
    let keys = Keys::initial(VERSION_1, &initial_dcid(), Role::Server);
    let header = hex("c1000000010008f067a5502a4262b50040750001");
    let packet = protect(&keys.local, 1, 2, &header, &hex(SERVER_PAYLOAD));
    assert_eq!(packet, hex(SERVER_INITIAL));
}

#[test]
fn client_opens_the_server_initial_of_rfc_9001_a_3() {
    let keys = Keys::initial(VERSION_1, &initial_dcid(), Role::Client);
    let mut packet = hex(SERVER_INITIAL);
    assert_eq!(keys.remote.header.unprotect(&mut packet, 18), Some(2));
    let plaintext = keys.remote.packet.open(PathId::ZERO, 1, &mut packet, 20).unwrap();
    assert_eq!(packet[plaintext], hex(SERVER_PAYLOAD));
}

/// RFC 9369 appendix A.3: the same payload under version 2.
#[test]
fn server_initial_of_version_2_is_that_of_rfc_9369_a_3() {
    let keys = Keys::initial(VERSION_2, &initial_dcid(), Role::Server);
    let header = hex("d16b3343cf0008f067a5502a4262b50040750001");
    let packet = protect(&keys.local, 1, 2, &header, &hex(SERVER_PAYLOAD));
    assert_eq!(
        packet,
        hex("dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d9b89237bbf8726301791
             5358230035f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2c984c707
             f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca84bed8521e2e140")
    );
}

/// RFC 9001 appendix A.5.
const CHACHA_SECRET: &str = "9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b";

#[test]
fn chacha20_short_header_packet_is_that_of_rfc_9001_a_5() {
    let keys = Secret::new(Cipher::ChaCha20Poly1305, VERSION_1, &hex(CHACHA_SECRET)).keys();
    let packet = protect(&keys, 654_360_564, 3, &hex("4200bff4"), &[0x01]);
    assert_eq!(packet, hex("4cfe4189655e5cd55c41f69080575d7999c25a5bfb"));

    let mut received = packet;
    assert_eq!(keys.header.unprotect(&mut received, 1), Some(3));
    assert_eq!(keys.packet.open(PathId::ZERO, 654_360_564, &mut received, 4), Ok(4..5));
    assert_eq!(received[4], 0x01);
}

/// The secret after a key update, RFC 9001 appendix A.5: packets under it equal packets under the updated secret.
#[test]
fn updated_secret_is_that_of_rfc_9001_a_5() {
    let updated = Secret::new(Cipher::ChaCha20Poly1305, VERSION_1, &hex(CHACHA_SECRET)).next();
    let known = Secret::new(
        Cipher::ChaCha20Poly1305,
        VERSION_1,
        &hex("1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9"),
    );
    let sealed = |secret: &Secret| protect(&secret.keys(), 9, 1, &hex("4209"), b"four");
    assert_eq!(sealed(&updated), sealed(&known));
}

#[test]
fn attack_f15_nonce_is_that_of_multipath_mp_31() {
    let iv: [u8; NONCE_LEN] = hex("6b26114b9cba2b63a9e8dd4f").try_into().unwrap();
    assert_eq!(nonce(&iv, PathId(3), 54_321).as_slice(), hex("6b2611489cba2b63a9e8097e"));
}

/// multipath MP-35, with the nonce of RFC 9001 appendix A.5.
/// multipath MP-14: so the switch to the nonces of multipath shows on no packet of path 0.
#[test]
fn nonce_of_path_0_is_that_of_rfc_9001() {
    let iv: [u8; NONCE_LEN] = hex("e0459b3474bdd0e44a41c144").try_into().unwrap();
    assert_eq!(nonce(&iv, PathId::ZERO, 654_360_564).as_slice(), hex("e0459b3474bdd0e46d417eb0"));
}

/// Key and IV of a secret, derived and used with nothing of this crate (multipath MP-30).
fn open_independently(secret: &[u8], path: u32, number: u64, header: &[u8], sealed: &[u8]) -> Vec<u8> {
    struct Len(usize);
    impl hkdf::KeyType for Len {
        fn len(&self) -> usize {
            self.0
        }
    }
    let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret);
    let derive = |label: &str, len: usize| {
        let info =
            [&[0, u8::try_from(len).unwrap(), u8::try_from(label.len()).unwrap()], label.as_bytes(), &[0]].concat();
        let mut out = vec![0; len];
        prk.expand(&[&info], Len(len)).unwrap().fill(&mut out).unwrap();
        out
    };
    let (key, mut nonce) = (derive("tls13 quic key", 16), derive("tls13 quic iv", 12));
    let value = [path.to_be_bytes().as_slice(), &number.to_be_bytes()].concat();
    nonce.iter_mut().zip(value).for_each(|(byte, value)| *byte ^= value);
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_128_GCM, &key).unwrap());
    let nonce = aead::Nonce::assume_unique_for_key(nonce.try_into().unwrap());
    let mut body = sealed.to_vec();
    key.open_in_place(nonce, aead::Aad::from(header), &mut body).unwrap().to_vec()
}

/// multipath MP-9, MP-32: the keys of path 0, and a nonce of 12 bytes with every cipher.
#[test]
fn packet_of_path_3_opens_with_an_independent_computation() {
    let (secret, header) = ([0x5a; 32], hex("4100d431"));
    let key = Secret::new(Cipher::Aes128Gcm, VERSION_1, &secret).packet_key();
    let mut packet = [header.as_slice(), b"over path three", &[0; TAG_LEN]].concat();
    key.seal(PathId(3), 54_321, &mut packet, 4).unwrap();
    assert_eq!(open_independently(&secret, 3, 54_321, &header, &packet[4..]), b"over path three");
}

#[test]
fn packet_opens_on_its_own_path_only() {
    let key = Secret::new(Cipher::Aes128Gcm, VERSION_1, &[1; 32]).packet_key();
    let mut packet = [b"head".as_slice(), b"payload", &[0; TAG_LEN]].concat();
    key.seal(PathId(1), 7, &mut packet, 4).unwrap();
    for (path, number) in [(0, 7), (2, 7), (1, 6), (1, 8)] {
        assert_eq!(key.open(PathId(path), number, &mut packet.clone(), 4), Err(CryptoError::Open));
    }
    assert_eq!(key.open(PathId(1), 7, &mut packet, 4), Ok(4..11));
    assert_eq!(packet[4..11], *b"payload");
}

#[test]
fn packets_without_room_are_refused() {
    let keys = Secret::new(Cipher::Aes128Gcm, VERSION_1, &[1; 32]).keys();
    let mut packet = [0; 30];
    assert_eq!(keys.packet.seal(PathId::ZERO, 0, &mut packet, 15), Err(CryptoError::TooShort));
    assert_eq!(keys.packet.seal(PathId::ZERO, 0, &mut packet, 31), Err(CryptoError::TooShort));
    assert_eq!(keys.packet.open(PathId::ZERO, 0, &mut packet, 15), Err(CryptoError::TooShort));
    assert_eq!(keys.packet.open(PathId::ZERO, 0, &mut packet, 31), Err(CryptoError::TooShort));
    assert_eq!(keys.header.protect(&mut packet, 11), Err(CryptoError::TooShort));
    assert_eq!(keys.header.protect(&mut packet, 0), Err(CryptoError::TooShort));
    assert_eq!(keys.header.unprotect(&mut packet, 11), None);
    assert_eq!(keys.header.unprotect(&mut packet, usize::MAX), None);
    assert_eq!(keys.header.unprotect(&mut packet, 10), Some(usize::from(packet[0] & 3) + 1));
}

#[test]
fn packet_numbers_end_at_2_to_the_62nd() {
    let key = Secret::new(Cipher::Aes128Gcm, VERSION_1, &[1; 32]).packet_key();
    assert_eq!(key.seal(PathId::ZERO, 1 << 62, &mut [0; 40], 4), Err(CryptoError::Seal));
    assert_eq!(key.open(PathId::ZERO, 1 << 62, &mut [0; 40], 4), Err(CryptoError::Open));
    assert_eq!(key.seal(PathId::ZERO, (1 << 62) - 1, &mut [0; 40], 4), Ok(()));
}

#[test]
fn limits_are_those_of_rfc_9001() {
    let limits = |cipher| {
        let key = Secret::new(cipher, VERSION_1, &[1; 32]).packet_key();
        (key.confidentiality_limit(), key.integrity_limit())
    };
    assert_eq!(limits(Cipher::Aes128Gcm), (1 << 23, 1 << 52));
    assert_eq!(limits(Cipher::Aes256Gcm), (1 << 23, 1 << 52));
    assert_eq!(limits(Cipher::ChaCha20Poly1305), (u64::MAX, 1 << 36));
}

proptest! {
    #[test]
    fn what_is_sealed_and_masked_opens_again(
        cipher in prop::sample::select(Cipher::ALL.to_vec()),
        path: u32,
        number in 0..1_u64 << 62,
        pn_len in 1_usize..=4,
        cid_len in 0_usize..=20,
        payload in prop::collection::vec(any::<u8>(), 4..1500),
    ) {
        let keys = Secret::new(cipher, VERSION_1, &[7; 48]).keys();
        let first = 0x40 | u8::try_from(pn_len - 1).unwrap();
        let header = [vec![first], vec![0xcd; cid_len], number.to_be_bytes()[8 - pn_len..].to_vec()].concat();
        let mut packet = [header.as_slice(), &payload, &[0; TAG_LEN]].concat();
        keys.packet.seal(PathId(path), number, &mut packet, header.len()).unwrap();
        keys.header.protect(&mut packet, 1 + cid_len).unwrap();

        prop_assert_eq!(keys.header.unprotect(&mut packet, 1 + cid_len), Some(pn_len));
        prop_assert_eq!(&packet[..header.len()], &header);
        let plaintext = keys.packet.open(PathId(path), number, &mut packet, header.len()).unwrap();
        prop_assert_eq!(&packet[plaintext], &payload);
    }

    #[test]
    fn a_flipped_bit_is_noticed(bit in 0_usize..8 * 40, number in 0_u64..1 << 62) {
        let key = Secret::new(Cipher::Aes128Gcm, VERSION_1, &[7; 32]).packet_key();
        let mut packet = [0x11; 40];
        key.seal(PathId(2), number, &mut packet, 5).unwrap();
        packet[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(key.open(PathId(2), number, &mut packet, 5), Err(CryptoError::Open));
    }

    /// multipath MP-30: no two packets of a connection share a nonce.
    #[test]
    fn attack_f15_nonces_differ_when_path_or_number_differ(a: (u32, u32), b: (u32, u32)) {
        let of = |(path, number): (u32, u32)| nonce(&[0x3c; NONCE_LEN], PathId(path), u64::from(number));
        prop_assert_eq!(of(a) == of(b), a == b);
    }
}
