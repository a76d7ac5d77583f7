//! Addresses: bytes, text, use and reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use qbase::{Reader, Writer};

use super::{
    wire::{Family, Shape, read_endpoint, write_address_ip_first, write_endpoint},
    *,
};

/// An endpoint by its written form.
pub(crate) fn endpoint(text: &str) -> Endpoint {
    text.parse().unwrap()
}

/// An address by its written form.
pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Either family.
pub(crate) fn any_family() -> impl Strategy<Value = Family> {
    prop::sample::select(vec![Family::V4, Family::V6])
}

/// Addresses of one family, usable or not.
pub(crate) fn any_address(family: Family) -> BoxedStrategy<SocketAddr> {
    match family {
        Family::V4 => (any::<u32>(), any::<u16>()).prop_map(|(ip, port)| (Ipv4Addr::from(ip), port).into()).boxed(),
        Family::V6 => (any::<u128>(), any::<u16>()).prop_map(|(ip, port)| (Ipv6Addr::from(ip), port).into()).boxed(),
    }
}

/// Endpoints of one family.
pub(crate) fn any_endpoint(family: Family) -> BoxedStrategy<Endpoint> {
    prop_oneof![
        any_address(family).prop_map(Endpoint::Direct),
        (any_address(family), any_address(family)).prop_map(|(agent, outer)| Endpoint::Agent { agent, outer }),
    ]
    .boxed()
}

/// traversal T-5, T-6, V1.
#[test]
fn an_endpoint_is_port_first_and_the_agent_before_the_outer_address() {
    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer);
    write_endpoint(&mut writer, &endpoint("192.0.2.1:258-192.0.2.2:65535"));
    assert_eq!(writer.written(), [1, 2, 192, 0, 2, 1, 0xff, 0xff, 192, 0, 2, 2]);
    writer.truncate(0);
    write_endpoint(&mut writer, &endpoint("[2001:db8::1]:443"));
    assert_eq!(writer.written(), [0x01, 0xbb, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    writer.truncate(0);
    write_address_ip_first(&mut writer, address("192.0.2.1:258"));
    assert_eq!(writer.written(), [192, 0, 2, 1, 1, 2]);
    for (family, shape, size) in
        [(Family::V4, Shape::Direct, 6), (Family::V4, Shape::Agent, 12), (Family::V6, Shape::Direct, 18), (Family::V6, Shape::Agent, 36)]
    {
        assert_eq!(shape.size(family), size);
    }
}

/// traversal T-1.
#[test]
fn endpoints_are_written_as_address_or_agent_and_outer() {
    for text in ["192.0.2.1:443", "[2001:db8::1]:443", "192.0.2.1:443-198.51.100.7:5000", "[2001:db8::1]:1-[2001:db8::2]:2"] {
        assert_eq!(endpoint(text).to_string(), text);
    }
    for text in ["", "-", "192.0.2.1", "192.0.2.1:443-", "-192.0.2.1:443", "192.0.2.1:1-192.0.2.2:2-192.0.2.3:3", "host:1"] {
        assert_eq!(text.parse::<Endpoint>(), Err(ParseError), "{text}");
    }
}

/// traversal T-2.
#[test]
fn the_link_goes_to_the_agent_of_a_relayed_end() {
    let bound = address("10.0.0.1:5");
    let pathway = Pathway { local: endpoint("192.0.2.1:1-198.51.100.1:2"), remote: endpoint("192.0.2.9:9-198.51.100.2:3") };
    assert_eq!(pathway.link(bound), Link { local: bound, remote: address("192.0.2.9:9") });
    assert_eq!(pathway.remote.outer(), address("198.51.100.2:3"));
    assert_eq!(pathway.flipped().flipped(), pathway);
    let direct = Pathway::direct(bound, address("192.0.2.9:9"));
    assert_eq!(direct.link(bound), Link { local: bound, remote: address("192.0.2.9:9") });
}

/// traversal T-4, burst B-79a, attacks G2.
#[test]
fn attack_g2_addresses_of_no_host_are_unusable() {
    let cases = [
        ("192.0.2.1:0", Err(Unusable::PortZero)),
        ("0.0.0.0:1", Err(Unusable::Unspecified)),
        ("[::]:1", Err(Unusable::Unspecified)),
        ("224.0.0.251:5353", Err(Unusable::Multicast)),
        ("[ff02::1]:1", Err(Unusable::Multicast)),
        ("255.255.255.255:1", Err(Unusable::Broadcast)),
        ("[::ffff:192.0.2.1]:1", Err(Unusable::Mapped)),
        ("127.0.0.1:1", Ok(())),
        ("[::1]:1", Ok(())),
        ("10.0.0.1:1", Ok(())),
        ("192.0.2.1:1-[2001:db8::1]:1", Err(Unusable::Families)),
        ("127.0.0.1:1-192.0.2.1:1", Err(Unusable::Loopback)),
        ("192.0.2.1:1-192.0.2.1:0", Err(Unusable::PortZero)),
    ];
    for (text, expected) in cases {
        assert_eq!(endpoint(text).check(), expected, "{text}");
    }
    let pathway = |local, remote| Pathway { local: endpoint(local), remote: endpoint(remote) }.check();
    assert_eq!(pathway("127.0.0.1:1", "127.0.0.1:2"), Ok(()));
    assert_eq!(pathway("127.0.0.1:1", "192.0.2.1:2"), Err(Unusable::Loopback));
    assert_eq!(pathway("[2001:db8::1]:1", "192.0.2.1:2"), Err(Unusable::Families));
}

/// attacks G2: the IANA registries for special purposes, and IPv6 forms that carry an IPv4 address.
#[test]
fn attack_g2_only_addresses_of_the_public_internet_are_globally_routable() {
    let cases = [
        ("8.8.8.8", Scope::Global),
        ("0.1.2.3", Scope::Special),
        ("10.255.255.255", Scope::Private),
        ("11.0.0.0", Scope::Global),
        ("100.63.255.255", Scope::Global),
        ("100.64.0.0", Scope::Shared),
        ("100.127.255.255", Scope::Shared),
        ("127.8.8.8", Scope::Loopback),
        ("169.254.169.254", Scope::LinkLocal),
        ("172.15.255.255", Scope::Global),
        ("172.16.0.0", Scope::Private),
        ("172.31.255.255", Scope::Private),
        ("172.32.0.0", Scope::Global),
        ("192.0.0.8", Scope::Special),
        ("192.0.0.9", Scope::Global),
        ("192.0.0.10", Scope::Global),
        ("192.0.0.170", Scope::Special),
        ("192.0.2.7", Scope::Special),
        ("192.31.196.1", Scope::Global),
        ("192.88.99.1", Scope::Special),
        ("192.168.0.1", Scope::Private),
        ("198.18.0.1", Scope::Special),
        ("198.19.255.255", Scope::Special),
        ("198.20.0.0", Scope::Global),
        ("198.51.100.1", Scope::Special),
        ("203.0.113.1", Scope::Special),
        ("223.255.255.255", Scope::Global),
        ("224.0.0.1", Scope::Multicast),
        ("239.255.255.255", Scope::Multicast),
        ("240.0.0.1", Scope::Special),
        ("255.255.255.255", Scope::Special),
        ("2606:4700::1111", Scope::Global),
        ("2001:4860::8888", Scope::Global),
        ("::", Scope::Special),
        ("::1", Scope::Loopback),
        ("::2", Scope::Special),
        ("::ffff:10.0.0.1", Scope::Private),
        ("::ffff:8.8.8.8", Scope::Global),
        ("::8.8.8.8", Scope::Special),
        ("64:ff9b::8.8.8.8", Scope::Global),
        ("64:ff9b::10.0.0.1", Scope::Private),
        ("64:ff9b:1::8.8.8.8", Scope::Special),
        ("100::1", Scope::Special),
        ("2001::1", Scope::Special),
        ("2001:1::1", Scope::Global),
        ("2001:1::2", Scope::Global),
        ("2001:1::3", Scope::Global),
        ("2001:1::4", Scope::Special),
        ("2001:2::1", Scope::Special),
        ("2001:3::1", Scope::Global),
        ("2001:4:112::1", Scope::Global),
        ("2001:10::1", Scope::Special),
        ("2001:20::1", Scope::Global),
        ("2001:1ff:ffff::1", Scope::Special),
        ("2001:200::1", Scope::Global),
        ("2001:db8::1", Scope::Special),
        ("2002:0808:0808::1", Scope::Global),
        ("2002:c0a8:0001::1", Scope::Private),
        ("2002:7f00:0001::1", Scope::Loopback),
        ("3ffe::1", Scope::Special),
        ("3fff::1", Scope::Special),
        ("3fff:1000::1", Scope::Global),
        ("4000::1", Scope::Special),
        ("5f00::1", Scope::Special),
        ("fc00::1", Scope::Private),
        ("fdff::1", Scope::Private),
        ("fe80::1", Scope::LinkLocal),
        ("fec0::1", Scope::Private),
        ("ff02::1", Scope::Multicast),
    ];
    for (text, expected) in cases {
        let ip: IpAddr = text.parse().unwrap();
        assert_eq!(Scope::of(ip), expected, "{text}");
        assert_eq!(is_globally_routable(ip), expected == Scope::Global, "{text}");
    }
}

/// attacks G2.
#[test]
fn attack_g2_a_peer_makes_us_probe_public_addresses_only_unless_allowed() {
    let network = |text: &str, bits| Prefix { ip: text.parse().unwrap(), bits };
    let policy = ProbePolicy::default()
        .with_own_network(network("192.168.1.0", 24))
        .with_own_network(network("169.254.0.0", 16))
        .with_own_address(address("9.9.9.9:4433"))
        .allowing(network("10.1.0.0", 16));
    let cases = [
        ("8.8.8.8:5000", Ok(())),
        ("8.8.8.8:1024", Ok(())),
        ("8.8.8.8:1023", Err(Refused::SystemPort)),
        ("8.8.8.8:0", Err(Refused::Unusable(Unusable::PortZero))),
        ("9.9.9.9:4433", Err(Refused::Own)),
        ("9.9.9.9:4434", Ok(())),
        ("127.0.0.1:5000", Err(Refused::Loopback)),
        ("[::1]:5000", Err(Refused::Loopback)),
        ("[2002:7f00:1::1]:5000", Err(Refused::Loopback)),
        ("192.168.1.77:5000", Ok(())),
        ("192.168.2.77:5000", Err(Refused::NotGlobal)),
        ("[64:ff9b::192.168.2.7]:5000", Err(Refused::NotGlobal)),
        ("10.1.255.1:5000", Ok(())),
        ("10.2.0.1:5000", Err(Refused::NotGlobal)),
        ("169.254.1.1:5000", Err(Refused::NotGlobal)),
        ("[fe80::1]:5000", Err(Refused::NotGlobal)),
        ("[fd00::1]:5000", Err(Refused::NotGlobal)),
        ("224.0.0.1:5000", Err(Refused::Unusable(Unusable::Multicast))),
        ("255.255.255.255:5000", Err(Refused::Unusable(Unusable::Broadcast))),
        ("0.0.0.0:5000", Err(Refused::Unusable(Unusable::Unspecified))),
        ("[::ffff:8.8.8.8]:5000", Err(Refused::Unusable(Unusable::Mapped))),
    ];
    for (text, expected) in cases {
        assert_eq!(policy.admits(address(text)), expected, "{text}");
    }
}

/// attacks R2.
#[test]
fn a_policy_keeps_as_many_entries_as_its_bound_and_no_more() {
    let network = |n: usize| Prefix { ip: IpAddr::V4(Ipv4Addr::new(10, 0, n as u8, 0)), bits: 24 };
    let policy = (0..=qbase::limits::POLICY_ENTRIES).fold(ProbePolicy::default(), |policy, n| policy.allowing(network(n)));
    let last = qbase::limits::POLICY_ENTRIES - 1;
    assert_eq!(policy.admits(address(&format!("10.0.{last}.1:5000"))), Ok(()));
    assert_eq!(policy.admits(address(&format!("10.0.{}.1:5000", last + 1))), Err(Refused::NotGlobal));
}

/// traversal T-79.
#[test]
fn private_addresses_are_told_to_the_same_site_only() {
    let (ours, theirs): (IpAddr, IpAddr) = ("8.8.8.8".parse().unwrap(), "9.9.9.9".parse().unwrap());
    let private = address("192.168.1.2:5000");
    let cases = [
        (Disclosure::SameSite, Some(ours), Some(ours), true),
        (Disclosure::SameSite, Some(ours), Some(theirs), false),
        (Disclosure::SameSite, None, None, false),
        (Disclosure::SameSite, Some(ours), None, false),
        (Disclosure::Everyone, None, None, true),
        (Disclosure::Nobody, Some(ours), Some(ours), false),
    ];
    for (disclosure, ours, peer, expected) in cases {
        assert_eq!(disclosure.may_announce(private, ours, peer), expected, "{disclosure:?} {ours:?} {peer:?}");
        assert!(disclosure.may_announce(address("1.2.3.4:5"), ours, peer), "public addresses are no secret");
        assert!(!disclosure.may_announce(address("127.0.0.1:5"), ours, peer), "loopback is never announced");
        assert!(!disclosure.may_announce(address("1.2.3.4:0"), ours, peer));
    }
}

#[test]
fn a_prefix_holds_the_addresses_with_its_first_bits() {
    let cases = [
        ("10.0.0.0", 8, "10.255.0.1", true),
        ("10.0.0.0", 8, "11.0.0.1", false),
        ("10.0.0.1", 32, "10.0.0.1", true),
        ("10.0.0.1", 200, "10.0.0.2", false),
        ("10.0.0.1", 0, "200.0.0.2", true),
        ("2001:db8::", 32, "2001:db8:1::1", true),
        ("2001:db8::", 128, "2001:db8::1", false),
        ("::", 0, "2001:db8::1", true),
        ("0.0.0.0", 0, "::1", false),
    ];
    for (net, bits, ip, expected) in cases {
        assert_eq!(Prefix { ip: net.parse().unwrap(), bits }.holds(ip.parse().unwrap()), expected, "{net}/{bits} {ip}");
    }
}

proptest! {
    /// traversal V1, T-6.
    #[test]
    fn endpoints_survive_the_round_trip_and_every_truncation_is_refused(
        (family, endpoint) in any_family().prop_flat_map(|family| (Just(family), any_endpoint(family))),
    ) {
        let shape = Shape::of(&endpoint);
        let mut buffer = [0; 36];
        let mut writer = Writer::new(&mut buffer);
        write_endpoint(&mut writer, &endpoint);
        let bytes = writer.written();
        prop_assert_eq!(bytes.len(), shape.size(family));
        prop_assert_eq!(read_endpoint(&mut Reader::new(bytes), family, shape), Ok(endpoint));
        for cut in 0..bytes.len() {
            prop_assert!(read_endpoint(&mut Reader::new(&bytes[..cut]), family, shape).is_err());
        }
        prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
    }
}
