//! Transport parameters: known bytes, round trips, every fault.

use super::*;
use crate::{ErrorCode, Role, TransportError, Writer, varint};
use proptest::{collection::vec, option, prelude::*};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

fn cid(bytes: &[u8]) -> ConnectionId {
    ConnectionId::new(bytes).unwrap()
}

/// One parameter: id, length, value.
fn entry(id: u64, value: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; value.len() + 16];
    let mut writer = Writer::new(&mut buffer);
    writer.varint(id);
    writer.varint(value.len() as u64);
    writer.bytes(value);
    writer.written().to_vec()
}

fn number(value: u64) -> Vec<u8> {
    let mut buffer = [0; 8];
    let mut writer = Writer::new(&mut buffer);
    writer.varint(value);
    writer.written().to_vec()
}

fn written(parameters: &TransportParameters, role: Role) -> Vec<u8> {
    let mut out = Vec::new();
    parameters.write(&mut out, role, None);
    out
}

/// Reads one parameter sent by a server.
fn read_one(id: u64, value: &[u8]) -> Result<TransportParameters, TransportError> {
    TransportParameters::read(&entry(id, value), Role::Server)
}

#[track_caller]
fn refused(result: Result<TransportParameters, TransportError>) {
    let error = result.expect_err("the parameters are at fault");
    assert_eq!((error.code, error.frame_type), (ErrorCode::TRANSPORT_PARAMETER_ERROR, None), "{error}");
}

/// A preferred_address value with an id of `len` bytes.
fn preferred(len: u8) -> Vec<u8> {
    let addresses = [[192, 0, 2, 1, 0x11, 0x51].as_slice(), &[0; 18]].concat();
    [addresses.as_slice(), &[len], &vec![7; len.into()], &[9; 16]].concat()
}

#[test]
fn the_parameters_in_the_client_hello_of_rfc_9001_appendix_a2_are_read() {
    let bytes = [
        [0x04, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff].as_slice(),
        &[0x05, 0x04, 0x80, 0x00, 0xff, 0xff, 0x07, 0x04, 0x80, 0x00, 0xff, 0xff, 0x08, 0x01, 0x10],
        &[0x01, 0x04, 0x80, 0x00, 0x75, 0x30, 0x09, 0x01, 0x10],
        &[0x0f, 0x08, 0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08, 0x06, 0x04, 0x80, 0x00, 0xff, 0xff],
    ]
    .concat();
    assert_eq!(bytes.len(), 0x32);
    let expected = TransportParameters {
        max_idle_timeout: Duration::from_secs(30),
        initial_max_data: varint::MAX,
        initial_max_stream_data_bidi_local: 65_535,
        initial_max_stream_data_bidi_remote: 65_535,
        initial_max_stream_data_uni: 65_535,
        initial_max_streams_bidi: 16,
        initial_max_streams_uni: 16,
        initial_source_connection_id: Some(cid(&[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08])),
        ..TransportParameters::default()
    };
    assert_eq!(TransportParameters::read(&bytes, Role::Client), Ok(expected));
}

#[test]
fn absent_parameters_have_the_defaults_of_the_rfc_and_are_not_written() {
    // RFC 9000 §18.2
    let defaults = TransportParameters::read(&[], Role::Client).unwrap();
    assert_eq!(defaults, TransportParameters::default());
    assert_eq!((defaults.max_udp_payload_size, defaults.ack_delay_exponent), (65_527, 3));
    assert_eq!((defaults.max_ack_delay, defaults.active_connection_id_limit), (Duration::from_millis(25), 2));
    assert_eq!((defaults.initial_max_path_id, defaults.max_datagram_frame_size), (None, 0));
    assert_eq!(written(&defaults, Role::Server), []);
}

#[test]
fn known_bytes_of_every_parameter_are_read_and_written() {
    type Set = fn(&mut TransportParameters);
    let address = preferred(4);
    let cases: [(u64, &[u8], Set); 24] = [
        (0x1d3b_7c52_e9a4_6f08, &[1, 16, 8], |p| p.traversal = Some(TraversalParameter::default())),
        (0x9f81_a176, &[2], |p| p.address_discovery = Some(AddressDiscovery::Both)),
        (0x00, &[1, 2], |p| p.original_destination_connection_id = Some(cid(&[1, 2]))),
        (0x01, &[0x43, 0xe8], |p| p.max_idle_timeout = Duration::from_secs(1)),
        (0x02, &[5; 16], |p| p.stateless_reset_token = Some(ResetToken([5; 16]))),
        (0x03, &[0x44, 0xb0], |p| p.max_udp_payload_size = 1_200),
        (0x04, &[1], |p| p.initial_max_data = 1),
        (0x05, &[2], |p| p.initial_max_stream_data_bidi_local = 2),
        (0x06, &[3], |p| p.initial_max_stream_data_bidi_remote = 3),
        (0x07, &[4], |p| p.initial_max_stream_data_uni = 4),
        (0x08, &[5], |p| p.initial_max_streams_bidi = 5),
        (0x09, &[6], |p| p.initial_max_streams_uni = 6),
        (0x0a, &[20], |p| p.ack_delay_exponent = 20),
        (0x0b, &[0x7f, 0xff], |p| p.max_ack_delay = Duration::from_millis(16_383)),
        (0x0c, &[], |p| p.disable_active_migration = true),
        (0x0d, &address, |p| {
            p.preferred_address = Some(PreferredAddress {
                ipv4: Some(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 4_433)),
                ipv6: None,
                cid: cid(&[7; 4]),
                reset_token: ResetToken([9; 16]),
            });
        }),
        (0x0e, &[8], |p| p.active_connection_id_limit = 8),
        (0x0f, &[], |p| p.initial_source_connection_id = Some(ConnectionId::EMPTY)),
        (0x10, &[9; 20], |p| p.retry_source_connection_id = Some(cid(&[9; 20]))),
        (0x20, &[0x80, 0, 0xff, 0xff], |p| p.max_datagram_frame_size = 65_535),
        (0x3e, &[0], |p| p.initial_max_path_id = Some(PathId(0))),
        (id::SHARED_SPACE_MAX_PATH_ID, &[7], |p| p.shared_space_max_path_id = Some(PathId(7))),
        (0x2ab2, &[], |p| p.grease_quic_bit = true),
        (0xff04_de1b, &[0x43, 0xe8], |p| p.min_ack_delay = Some(Duration::from_millis(1))),
    ];
    for (id, value, set) in cases {
        let mut expected = TransportParameters::default();
        set(&mut expected);
        assert_ne!(expected, TransportParameters::default());
        assert_eq!(read_one(id, value), Ok(expected.clone()), "{id:#x}");
        assert_eq!(written(&expected, Role::Server), entry(id, value), "{id:#x}");

        let twice = entry(id, value).repeat(2);
        refused(TransportParameters::read(&twice, Role::Server));
        // What follows the fields of the traversal parameter is skipped (traversal T-100).
        let longer = read_one(id, &[value, &[0; 21]].concat());
        if id == id::TRAVERSAL { assert_eq!(longer, Ok(expected)) } else { refused(longer) }
    }
}

#[test]
fn attack_b8_a_client_neither_sends_nor_may_send_what_only_servers_send() {
    // attacks B8, RFC 9000 §18.2
    let address = preferred(4);
    for (id, value) in [(0x00, [1, 2].as_slice()), (0x02, &[5; 16]), (0x0d, &address), (0x10, &[9; 8])] {
        let parameters = read_one(id, value).unwrap();
        refused(TransportParameters::read(&entry(id, value), Role::Client));
        assert_eq!(written(&parameters, Role::Client), []);
    }
}

#[test]
fn attack_b9_values_out_of_range_are_refused_and_the_nearest_in_range_are_read() {
    // attacks B9, F2; RFC 9000 §4.6, §18.2; multipath MP-7
    for (id, good, bad) in [
        (id::MAX_UDP_PAYLOAD_SIZE, 1_200, 1_199),
        (id::INITIAL_MAX_STREAMS_BIDI, 1 << 60, (1 << 60) + 1),
        (id::INITIAL_MAX_STREAMS_UNI, 1 << 60, (1 << 60) + 1),
        (id::ACK_DELAY_EXPONENT, 20, 21),
        (id::ACK_DELAY_EXPONENT, 0, varint::MAX),
        (id::MAX_ACK_DELAY, (1 << 14) - 1, 1 << 14),
        (id::ACTIVE_CONNECTION_ID_LIMIT, 2, 1),
        (id::ACTIVE_CONNECTION_ID_LIMIT, varint::MAX, 0),
        (id::INITIAL_MAX_PATH_ID, u64::from(u32::MAX), 1 << 32),
        (id::SHARED_SPACE_MAX_PATH_ID, u64::from(u32::MAX), 1 << 32),
    ] {
        assert!(read_one(id, &number(good)).is_ok(), "{id:#x} {good}");
        refused(read_one(id, &number(bad)));
    }
    let largest = read_one(id::MAX_IDLE_TIMEOUT, &number(varint::MAX)).unwrap();
    assert_eq!(largest.max_idle_timeout, Duration::from_millis(varint::MAX));
    assert_eq!(written(&largest, Role::Client), entry(id::MAX_IDLE_TIMEOUT, &number(varint::MAX)));
}

/// multipath MP-98, MP-99
#[test]
fn whoever_offers_both_ways_to_use_several_paths_is_refused() {
    let entries = [id::INITIAL_MAX_PATH_ID, id::SHARED_SPACE_MAX_PATH_ID].map(|id| entry(id, &number(7)));
    assert!(entries.iter().all(|entry| TransportParameters::read(entry, Role::Client).is_ok()));
    for from in [Role::Client, Role::Server] {
        refused(TransportParameters::read(&entries.concat(), from));
    }
    let id = id::SHARED_SPACE_MAX_PATH_ID;
    assert!(id <= varint::MAX && id % 31 != 27, "a varint that is not reserved to be ignored (RFC 9000 §18.1)");
}

/// draft-ietf-quic-ack-frequency §3.
#[test]
fn min_ack_delay_is_in_microseconds_and_not_above_max_ack_delay() {
    assert!(read_one(id::MIN_ACK_DELAY, &number(25_000)).is_ok(), "the default of max_ack_delay");
    refused(read_one(id::MIN_ACK_DELAY, &number(25_001)));
    refused(read_one(id::MIN_ACK_DELAY, &number(varint::MAX)));
    let (least, most) = (entry(id::MIN_ACK_DELAY, &number(2_000)), |millis| entry(id::MAX_ACK_DELAY, &number(millis)));
    for (millis, taken) in [(1, false), (2, true)] {
        for bytes in [[least.clone(), most(millis)].concat(), [most(millis), least.clone()].concat()] {
            assert_eq!(TransportParameters::read(&bytes, Role::Client).is_ok(), taken, "{millis} ms in either order");
        }
    }
}

/// Shows 9287-the-grease-quic-bit-transport-parameter-1.
#[test]
fn attack_b6_a_value_must_have_the_length_of_its_content() {
    // attacks B6
    for id in [0x01, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0e, 0x20, 0x3e, 0xff04_de1b] {
        refused(read_one(id, &[]));
        refused(read_one(id, &[0x40]));
        refused(read_one(id, &[0x05, 0x00]));
    }
    for id in [0x00, 0x0f, 0x10] {
        assert!(read_one(id, &[1; 20]).is_ok());
        refused(read_one(id, &[1; 21]));
    }
    for len in [0, 15, 17] {
        refused(read_one(id::STATELESS_RESET_TOKEN, &vec![1; len]));
    }
    for id in [id::DISABLE_ACTIVE_MIGRATION, id::GREASE_QUIC_BIT] {
        // RFC 9287 §3
        refused(read_one(id, &[0]));
    }
    // A number may be longer than needed.
    assert_eq!(read_one(id::INITIAL_MAX_DATA, &[0x40, 5]).map(|p| p.initial_max_data), Ok(5));
}

/// Shows 9000-18.2-6.
#[test]
fn a_preferred_address_needs_an_id_of_1_to_20_bytes_and_all_its_fields() {
    // RFC 9000 §18.2
    for len in 0..=30 {
        let result = read_one(id::PREFERRED_ADDRESS, &preferred(len));
        if (1..=20).contains(&len) {
            assert_eq!(result.unwrap().preferred_address.unwrap().cid.len(), usize::from(len));
        } else {
            refused(result);
        }
    }
    let whole = preferred(8);
    for cut in 0..whole.len() {
        refused(read_one(id::PREFERRED_ADDRESS, &whole[..cut]));
    }
}

#[test]
fn an_address_of_zeros_is_no_address() {
    // RFC 9000 §18.2
    let mut value = preferred(4);
    value[..6].fill(0);
    value[6..24].copy_from_slice(&[[0x20, 1, 0xd, 0xb8].as_slice(), &[0; 11], &[1], &[0x11, 0x51]].concat());
    let address = read_one(id::PREFERRED_ADDRESS, &value).unwrap().preferred_address.unwrap();
    assert_eq!(address.ipv4, None);
    assert_eq!(address.ipv6, Some("[2001:db8::1]:4433".parse().unwrap()));
}

#[test]
fn attack_b6_unknown_and_reserved_parameters_are_ignored_however_many() {
    // attacks B6, RFC 9000 §7.4.2, §18.1
    let mut bytes = Vec::new();
    while bytes.len() < 64 * 1_024 {
        bytes.extend(entry(id::reserved(bytes.len() as u64), b"grease"));
    }
    bytes.extend(entry(id::INITIAL_MAX_DATA, &[7]));
    bytes.extend(entry(0x7f, &[]).repeat(2));
    let parameters = TransportParameters::read(&bytes, Role::Client).unwrap();
    assert_eq!(parameters, TransportParameters { initial_max_data: 7, ..TransportParameters::default() });
}

/// Shows 9368-version-downgrade-prevention-downgrade-4.
#[test]
fn attack_b17_version_information_that_is_malformed_or_comes_twice_is_refused() {
    let good = [crate::VERSION_1, crate::VERSION_1].map(u32::to_be_bytes).concat();
    assert!(read_one(id::VERSION_INFORMATION, &good).is_ok());
    refused(read_one(id::VERSION_INFORMATION, &good[..7]));
    refused(read_one(id::VERSION_INFORMATION, &[]));
    let twice = [entry(id::VERSION_INFORMATION, &good), entry(id::VERSION_INFORMATION, &good)].concat();
    refused(TransportParameters::read(&twice, Role::Server));
}

#[test]
fn a_greased_parameter_is_written_with_the_id_of_the_caller() {
    let mut out = Vec::new();
    TransportParameters::default().write(&mut out, Role::Client, Some(id::reserved(5)));
    assert_eq!(out, entry(31 * 5 + 27, &[]));
    assert_eq!(TransportParameters::read(&out, Role::Client), Ok(TransportParameters::default()));
    for n in [0, 1, u64::MAX, 1 << 56] {
        assert!(id::reserved(n) <= varint::MAX);
        assert_eq!((id::reserved(n) - 27) % 31, 0);
    }
}

fn any_cid(least: usize) -> impl Strategy<Value = ConnectionId> {
    vec(any::<u8>(), least..=20).prop_map(|bytes| cid(&bytes))
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0..64_u64, 64..16_384_u64, 16_384..1_u64 << 30, 1_u64 << 30..=varint::MAX]
}

fn any_address() -> impl Strategy<Value = PreferredAddress> {
    let v4 = option::of((any::<u32>(), 1..=u16::MAX));
    let v6 = option::of((any::<u128>(), 1..=u16::MAX));
    (v4, v6, any_cid(1), any::<[u8; 16]>()).prop_map(|(v4, v6, cid, token)| PreferredAddress {
        ipv4: v4.map(|(ip, port)| SocketAddrV4::new(Ipv4Addr::from_bits(ip), port)),
        ipv6: v6.map(|(ip, port)| SocketAddrV6::new(Ipv6Addr::from_bits(ip), port, 0, 0)),
        cid,
        reset_token: ResetToken(token),
    })
}

fn any_parameters() -> impl Strategy<Value = TransportParameters> {
    let ids = (option::of(any_cid(0)), option::of(any_cid(0)), option::of(any_cid(0)), option::of(any::<[u8; 16]>()));
    let credit = [(); 5].map(|()| any_number());
    let streams = [(); 2].map(|()| any_number().prop_map(|n| n.min(1 << 60)));
    let ranged = (1_200..=varint::MAX, 0..=20_u8, 0..1_u64 << 14, 2..=varint::MAX);
    let rest = (option::of(any::<u32>()), any_number(), any::<bool>(), any::<bool>(), option::of(any_address()));
    (ids, credit, streams, ranged, rest).prop_map(|(ids, credit, streams, ranged, rest)| TransportParameters {
        original_destination_connection_id: ids.0,
        max_idle_timeout: Duration::from_millis(credit[0]),
        stateless_reset_token: ids.3.map(ResetToken),
        max_udp_payload_size: ranged.0,
        initial_max_data: credit[1],
        initial_max_stream_data_bidi_local: credit[2],
        initial_max_stream_data_bidi_remote: credit[3],
        initial_max_stream_data_uni: credit[4],
        initial_max_streams_bidi: streams[0],
        initial_max_streams_uni: streams[1],
        ack_delay_exponent: ranged.1,
        max_ack_delay: Duration::from_millis(ranged.2),
        min_ack_delay: rest.3.then(|| Duration::from_micros(ranged.2 * 700)),
        disable_active_migration: rest.2,
        preferred_address: rest.4,
        active_connection_id_limit: ranged.3,
        initial_source_connection_id: ids.1,
        retry_source_connection_id: ids.2,
        initial_max_path_id: rest.0.filter(|_| rest.2).map(PathId),
        shared_space_max_path_id: rest.0.filter(|_| !rest.2).map(PathId),
        max_datagram_frame_size: rest.1,
        grease_quic_bit: rest.3,
        version_information: rest.2.then(|| VersionInformation {
            chosen: crate::VERSION_1,
            available: vec![crate::VERSION_1, crate::VERSION_2],
        }),
        traversal: rest.3.then_some(TraversalParameter { max_addresses: credit[2], max_punches: credit[3], ..TraversalParameter::default() }),
        address_discovery: rest.2.then_some(AddressDiscovery::Provides),
    })
}

proptest! {
    #[test]
    fn parameters_survive_the_round_trip_from_either_end(parameters in any_parameters(), n in any::<u64>()) {
        let mut out = Vec::new();
        parameters.write(&mut out, Role::Server, Some(id::reserved(n)));
        prop_assert_eq!(TransportParameters::read(&out, Role::Server), Ok(parameters.clone()));

        let mut of_client = parameters.clone();
        of_client.original_destination_connection_id = None;
        of_client.stateless_reset_token = None;
        of_client.preferred_address = None;
        of_client.retry_source_connection_id = None;
        prop_assert_eq!(TransportParameters::read(&written(&parameters, Role::Client), Role::Client), Ok(of_client));
    }

    #[test]
    fn a_truncation_is_refused_unless_it_falls_between_two_parameters(parameters in any_parameters()) {
        let bytes = written(&parameters, Role::Server);
        let mut ends = vec![0];
        let mut reader = crate::Reader::new(&bytes);
        while !reader.is_empty() {
            reader.varint().unwrap();
            reader.prefixed().unwrap();
            ends.push(reader.position());
        }
        for cut in 0..bytes.len() {
            let result = TransportParameters::read(&bytes[..cut], Role::Server);
            if ends.contains(&cut) { prop_assert!(result.is_ok()) } else { refused(result) }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200), small in vec(0..24_u8, 0..200)) {
        for role in [Role::Client, Role::Server] {
            let _ = TransportParameters::read(&bytes, role);
            let _ = TransportParameters::read(&small, role);
        }
    }
}
