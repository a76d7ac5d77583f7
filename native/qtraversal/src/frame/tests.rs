//! Frames of both profiles: known bytes, round trips, truncations (traversal V1).

use proptest::prelude::*;
use qbase::ErrorCode;

use super::*;
use crate::address::tests::{address, any_address, any_family};

fn id(local_seq: u64, remote_seq: u64) -> PunchId {
    PunchId { local_seq, remote_seq }
}

fn add(text: &str, kind: AddressKind) -> TraversalFrame {
    TraversalFrame::AddAddress(AddAddress { seq: 5, address: address(text), tier: 0, nat_type: NatType::RestrictedPort, kind })
}

fn punch(text: &str, kind: AddressKind) -> TraversalFrame {
    let address = address(text);
    TraversalFrame::PunchMeNow(PunchMeNow { id: id(1, 2), address, tier: 7, nat_type: NatType::Symmetric, kind })
}

fn read(profile: &dyn Profile, bytes: &[u8]) -> Result<(TraversalFrame, usize), FrameError> {
    let mut reader = Reader::new(bytes);
    let frame_type = reader.varint()?;
    let frame = profile.read(frame_type, &mut reader)?;
    Ok((frame, reader.position()))
}

fn shown(profile: &dyn Profile, frame: &TraversalFrame, bytes: &[u8]) {
    assert_eq!(profile.encode(frame).unwrap().bytes(), bytes, "{frame:?}");
    assert_eq!(read(profile, bytes), Ok((*frame, bytes.len())));
}

/// traversal V1, T-62 to T-65.
#[test]
fn frames_of_profile_dquic_have_known_bytes() {
    let mapped = AddressKind::Mapped;
    shown(&Dquic, &add("192.0.2.1:258", mapped), &[0x80, 0x3d, 0x7e, 0x90, 5, 1, 2, 192, 0, 2, 1, 0, 3]);
    #[rustfmt::skip]
    shown(&Dquic, &add("[2001:db8::1]:258", mapped), &[
        0x80, 0x3d, 0x7e, 0x91, 5, 1, 2, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3,
    ]);
    shown(&Dquic, &punch("192.0.2.1:258", mapped), &[0x80, 0x3d, 0x7e, 0x92, 1, 2, 1, 2, 192, 0, 2, 1, 7, 4]);
    shown(&Dquic, &TraversalFrame::RemoveAddress(RemoveAddress { seq: 64 }), &[0x80, 0x3d, 0x7e, 0x94, 0x40, 64]);
    let hello = PunchHello { id: id(1, 2), probe: 3 };
    shown(&Dquic, &TraversalFrame::PunchHello(hello), &[0x80, 0x3d, 0x7e, 0x95, 1, 2, 3]);
    shown(&Dquic, &TraversalFrame::PunchDone(hello.done()), &[0x80, 0x3d, 0x7e, 0x96, 2, 1, 3]);
}

/// traversal V1, T-100.
#[test]
fn frames_of_profile_braid_have_known_bytes() {
    let head = |last: u8, len: u8| vec![0xa1, 0xb3, 0xa1, last, len];
    let bytes = |last: u8, fields: &[u8]| [head(last, fields.len() as u8), fields.to_vec()].concat();
    shown(&Braid, &add("192.0.2.1:258", AddressKind::Host), &bytes(0xd0, &[5, 192, 0, 2, 1, 1, 2, 0, 3, 0]));
    shown(&Braid, &add("192.0.2.1:258", AddressKind::Mapped), &bytes(0xd0, &[5, 192, 0, 2, 1, 1, 2, 0, 3, 1]));
    let relayed = AddressKind::Relayed { agent: address("192.0.2.9:772") };
    shown(&Braid, &add("192.0.2.1:258", relayed), &bytes(0xd0, &[5, 192, 0, 2, 1, 1, 2, 0, 3, 2, 192, 0, 2, 9, 3, 4]));
    shown(&Braid, &punch("192.0.2.1:258", AddressKind::Host), &bytes(0xd2, &[1, 2, 192, 0, 2, 1, 1, 2, 7, 4, 0]));
    #[rustfmt::skip]
    shown(&Braid, &punch("[2001:db8::1]:258", AddressKind::Mapped), &bytes(0xd3, &[
        1, 2, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 7, 4, 1,
    ]));
    shown(&Braid, &TraversalFrame::RemoveAddress(RemoveAddress { seq: 64 }), &bytes(0xd4, &[0x40, 64]));
    let hello = PunchHello { id: id(1, 2), probe: 3 };
    shown(&Braid, &TraversalFrame::PunchHello(hello), &bytes(0xd5, &[1, 2, 3]));
    shown(&Braid, &TraversalFrame::PunchDone(hello.done()), &bytes(0xd6, &[2, 1, 3]));
}

/// draft-ietf-quic-address-discovery §4: the same in both profiles.
#[test]
fn observed_address_has_the_bytes_of_the_draft() {
    let frame = |text: &str| TraversalFrame::ObservedAddress(ObservedAddress { seq: 2, address: address(text) });
    for profile in [ProfileKind::Braid, ProfileKind::Dquic] {
        let profile = profile.codec();
        shown(profile, &frame("192.0.2.1:258"), &[0x80, 0x9f, 0x81, 0xa6, 2, 192, 0, 2, 1, 1, 2]);
        #[rustfmt::skip]
        shown(profile, &frame("[2001:db8::1]:258"), &[
            0x80, 0x9f, 0x81, 0xa7, 2, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2,
        ]);
    }
}

/// traversal T-63.
#[test]
fn a_nat_type_above_5_is_a_frame_encoding_error() {
    for number in 6..=63 {
        let dquic = [0x80, 0x3d, 0x7e, 0x90, 5, 1, 2, 192, 0, 2, 1, 0, number];
        assert_eq!(read(&Dquic, &dquic), Err(FrameError::NatType));
        let braid = [0xa1, 0xb3, 0xa1, 0xd0, 10, 5, 192, 0, 2, 1, 1, 2, 0, number, 0];
        assert_eq!(read(&Braid, &braid), Err(FrameError::NatType));
    }
    // 259 is 3 in its low 8 bits.
    assert_eq!(read(&Dquic, &[0x80, 0x3d, 0x7e, 0x90, 5, 1, 2, 192, 0, 2, 1, 0, 0x41, 0x03]), Err(FrameError::NatType));
    let error = FrameError::NatType.to_transport_error(0x3d7e90);
    assert_eq!((error.code, error.frame_type), (ErrorCode::FRAME_ENCODING_ERROR, Some(0x3d7e90)));
}

/// traversal T-100: what stands behind the known fields is skipped.
#[test]
fn unknown_trailing_fields_of_profile_braid_are_skipped() {
    let bytes = [0xa1, 0xb3, 0xa1, 0xd4, 5, 9, 1, 2, 3, 4, 0x01];
    let expected = TraversalFrame::RemoveAddress(RemoveAddress { seq: 9 });
    assert_eq!(read(&Braid, &bytes), Ok((expected, bytes.len() - 1)), "the PING behind it is left");
}

#[test]
fn fields_of_profile_braid_do_not_reach_beyond_their_length() {
    assert_eq!(read(&Braid, &[0xa1, 0xb3, 0xa1, 0xd5, 2, 1, 2, 3]), Err(FrameError::Truncated));
    assert_eq!(read(&Braid, &[0xa1, 0xb3, 0xa1, 0xd5, 0]), Err(FrameError::Truncated));
    assert_eq!(read(&Braid, &[0xa1, 0xb3, 0xa1, 0xd5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Err(FrameError::Truncated));
}

/// traversal T-100: kinds 0 to 2, and a punch to a relayed address makes no sense.
#[test]
fn address_kinds_that_do_not_exist_are_refused() {
    for kind in 3..=63 {
        assert_eq!(read(&Braid, &[0xa1, 0xb3, 0xa1, 0xd0, 10, 5, 192, 0, 2, 1, 1, 2, 0, 3, kind]), Err(FrameError::Kind));
    }
    let punch_to_relayed = [0xa1, 0xb3, 0xa1, 0xd2, 17, 1, 2, 192, 0, 2, 1, 1, 2, 7, 4, 2, 192, 0, 2, 9, 3, 4];
    assert_eq!(read(&Braid, &punch_to_relayed), Err(FrameError::Kind));
}

#[test]
fn what_a_profile_cannot_say_is_refused_and_nothing_is_written() {
    let relayed = AddressKind::Relayed { agent: address("192.0.2.9:772") };
    assert_eq!(Dquic.encode(&add("192.0.2.1:258", relayed)).unwrap_err(), Unwritable::Kind);
    assert_eq!(Braid.encode(&punch("192.0.2.1:258", relayed)).unwrap_err(), Unwritable::Kind);
    let families = AddressKind::Relayed { agent: address("[2001:db8::1]:1") };
    assert_eq!(Braid.encode(&add("192.0.2.1:258", families)).unwrap_err(), Unwritable::Address(Unusable::Families));
    let huge = TraversalFrame::RemoveAddress(RemoveAddress { seq: 1 << 62 });
    assert_eq!(Braid.encode(&huge).unwrap_err(), Unwritable::Number);
    let mut buffer = [0; 9];
    let mut writer = Writer::new(&mut buffer);
    assert_eq!(Braid.write(&add("192.0.2.1:258", AddressKind::Host), &mut writer), Err(Unwritable::Room));
    assert!(writer.is_empty() && !writer.overflowed());
}

/// traversal T-60, T-100: the numbers of the two profiles, of the draft and of parameters to be ignored are apart.
#[test]
fn code_points_do_not_collide() {
    let types = [
        code::dquic::ADD_ADDRESS_V4..=code::dquic::PUNCH_DONE,
        code::braid::ADD_ADDRESS_V4..=code::braid::PUNCH_DONE,
        code::discovery::OBSERVED_ADDRESS_V4..=code::discovery::OBSERVED_ADDRESS_V6,
    ];
    for (n, range) in types.iter().enumerate() {
        assert!(types.iter().enumerate().all(|(m, other)| m == n || !other.contains(range.start()) && !other.contains(range.end())));
        for frame_type in range.clone() {
            let row = qbase::frame::traversal::spec(frame_type);
            assert!(row.is_some() && row == qbase::frame::table::spec(frame_type), "{frame_type:#x} is another frame's");
        }
    }
    for frame_type in 0..0x100 {
        assert!(!Braid.owns(frame_type) && !Dquic.owns(frame_type));
    }
    for parameter in [code::braid::PARAMETER, code::discovery::PARAMETER] {
        assert!(parameter <= varint::MAX && parameter % 31 != 27, "{parameter:#x} is reserved to be ignored");
    }
}

/// traversal T-66, T-102.
#[test]
fn all_frames_but_hello_are_reliable_and_ack_eliciting() {
    let (hello, done) = (PunchHello { id: id(0, 0), probe: 0 }, PunchDone { id: id(0, 0), probe: 0 });
    let observed = ObservedAddress { seq: 0, address: address("192.0.2.1:1") };
    let cases = [
        (add("192.0.2.1:1", AddressKind::Host), true, false),
        (punch("192.0.2.1:1", AddressKind::Host), true, false),
        (TraversalFrame::RemoveAddress(RemoveAddress { seq: 0 }), true, false),
        (TraversalFrame::PunchHello(hello), false, true),
        (TraversalFrame::PunchDone(done), true, true),
        (TraversalFrame::ObservedAddress(observed), true, true),
    ];
    for (frame, reliable, probing) in cases {
        assert_eq!((frame.is_reliable(), frame.is_ack_eliciting(), frame.is_probing()), (reliable, reliable, probing), "{}", frame.name());
        for profile in [&Braid as &dyn Profile, &Dquic].into_iter().filter(|profile| profile.encode(&frame).is_ok()) {
            let encoded = profile.encode(&frame).unwrap();
            let row = qbase::frame::table::spec(Reader::new(encoded.bytes()).varint().unwrap()).unwrap();
            assert_eq!((row.name, row.ack_eliciting, row.probing), (frame.name(), reliable, probing));
        }
    }
}

fn any_frame() -> impl Strategy<Value = TraversalFrame> {
    let number = || 0..=varint::MAX;
    let nat = || (0..6_usize).prop_map(|n| NatType::ALL[n]);
    let ids = move || (number(), number()).prop_map(|(local, remote)| id(local, remote));
    let pair = || any_family().prop_flat_map(|family| (any_address(family), any_address(family)));
    prop_oneof![
        (number(), pair(), number(), nat(), 0..3).prop_map(|(seq, (address, agent), tier, nat_type, kind)| {
            let kind = [AddressKind::Host, AddressKind::Mapped, AddressKind::Relayed { agent }][kind as usize];
            TraversalFrame::AddAddress(AddAddress { seq, address, tier, nat_type, kind })
        }),
        (ids(), pair(), number(), nat(), any::<bool>()).prop_map(|(id, (address, _), tier, nat_type, host)| {
            let kind = if host { AddressKind::Host } else { AddressKind::Mapped };
            TraversalFrame::PunchMeNow(PunchMeNow { id, address, tier, nat_type, kind })
        }),
        number().prop_map(|seq| TraversalFrame::RemoveAddress(RemoveAddress { seq })),
        (ids(), number()).prop_map(|(id, probe)| TraversalFrame::PunchHello(PunchHello { id, probe })),
        (ids(), number()).prop_map(|(id, probe)| TraversalFrame::PunchDone(PunchDone { id, probe })),
        (number(), pair()).prop_map(|(seq, (address, _))| TraversalFrame::ObservedAddress(ObservedAddress { seq, address })),
    ]
}

proptest! {
    /// traversal V1.
    #[test]
    fn frames_survive_the_round_trip_and_every_truncation_is_refused(frame in any_frame(), behind in any::<u8>()) {
        for profile in [ProfileKind::Braid, ProfileKind::Dquic] {
            let profile = profile.codec();
            let Ok(encoded) = profile.encode(&frame) else { continue };
            let bytes = encoded.bytes();
            prop_assert_eq!(profile.size(&frame), Ok(bytes.len()));
            let (back, len) = read(profile, &[bytes, &[behind]].concat()).unwrap();
            prop_assert_eq!(len, bytes.len());
            if profile.name() == "braid" {
                prop_assert_eq!(back, frame);
            } else {
                let again = profile.encode(&back).unwrap();
                prop_assert_eq!(again.bytes(), bytes);
            }
            for cut in 0..bytes.len() {
                prop_assert_eq!(read(profile, &bytes[..cut]), Err(FrameError::Truncated), "cut to {}", cut);
            }
        }
    }

    /// attacks D-rows' kind of input: any bytes behind any type.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80), low in 0_u64..8, base in 0..3_usize) {
        let frame_type = [0x3d7e90, 0x21b3a1d0, 0x9f81a6][base] + low;
        for profile in [ProfileKind::Braid, ProfileKind::Dquic] {
            let profile = profile.codec();
            let mut reader = Reader::new(&bytes);
            match profile.read(frame_type, &mut reader) {
                Ok(frame) => {
                    prop_assert!(profile.owns(frame_type));
                    let encoded = profile.encode(&frame).unwrap();
                    prop_assert_eq!(read(profile, encoded.bytes()).unwrap().0, frame);
                }
                Err(FrameError::UnknownType) => prop_assert!(!profile.owns(frame_type)),
                Err(_) => prop_assert!(profile.owns(frame_type)),
            }
        }
    }
}
