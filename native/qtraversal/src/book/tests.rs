//! The address book: pairs, violations and bounds.

use std::time::Duration;

use qbase::{ErrorCode, Timestamp};

use super::*;
use crate::{
    Endpoint,
    address::ProbePolicy,
    frame::PunchId,
};

const START: Timestamp = Timestamp::from_millis(1_000);

fn address(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

fn add(seq: u64, text: &str, nat_type: NatType) -> AddAddress {
    AddAddress { seq, address: address(text), tier: 0, nat_type, kind: AddressKind::Mapped }
}

fn local(bind: u32, text: &str, nat_type: NatType) -> LocalAddress {
    let (address, kind, ports) = (address(text), AddressKind::Mapped, PortAllocation::Unknown);
    LocalAddress { bind: Bind(bind), device: 1, address, tier: 0, nat_type, kind, ports }
}

fn on_add(book: &mut AddressBook, frame: &AddAddress, seconds: u64) -> Result<News, ErrorCode> {
    book.on_add_address(frame, &ProbePolicy::default(), START + Duration::from_secs(seconds)).map_err(|error| error.code)
}

/// traversal T-71.
#[test]
fn our_numbers_start_at_zero_rise_by_one_and_are_never_given_again() {
    let mut book = AddressBook::default();
    let seqs = [1, 2, 3].map(|bind| book.announce(local(bind, "9.9.9.1:5000", NatType::FullCone)).expect("announced").seq);
    assert_eq!(seqs, [0, 1, 2]);
    assert_eq!(book.announce(local(3, "9.9.9.1:5000", NatType::Symmetric)), Err(AnnounceError::Duplicate));
    assert_eq!(book.withdraw(2).map(|remove| remove.seq), Ok(2));
    assert_eq!(book.withdraw(2), Err(AnnounceError::Unknown));
    assert_eq!(book.announce(local(3, "9.9.9.1:5000", NatType::FullCone)).map(|add| add.seq), Ok(3));
}

/// traversal T-78.
#[test]
fn another_nat_type_is_announced_under_another_number() {
    let mut book = AddressBook::default();
    book.announce(local(1, "9.9.9.1:5000", NatType::FullCone)).expect("announced");
    let (removed, added) = book.change_nat(0, NatType::Symmetric, PortAllocation::Random).expect("known");
    assert_eq!((removed.seq, added.seq, added.nat_type), (0, 1, NatType::Symmetric));
    assert_eq!(book.change_nat(0, NatType::Symmetric, PortAllocation::Random), Err(AnnounceError::Unknown));
}

/// traversal T-79.
#[test]
fn private_addresses_are_told_to_the_same_site_alone() {
    let mut book = AddressBook::default();
    let private = local(1, "192.168.1.2:5000", NatType::FullCone);
    assert_eq!(book.announce(private), Err(AnnounceError::Private));
    let outer = Some(address("9.9.9.1:1").ip());
    book.set_site(Site { ours: outer, peer: outer, ..Site::default() });
    assert!(book.announce(private).is_ok());
    book.set_site(Site { disclosure: Disclosure::Nobody, ours: outer, peer: outer });
    assert_eq!(book.announce(LocalAddress { bind: Bind(2), ..private }), Err(AnnounceError::Private));
}

/// traversal T-71; attacks G4.
#[test]
fn attack_g4_a_number_reused_with_other_content_is_a_violation_and_a_repetition_costs_nothing() {
    let mut book = AddressBook::default();
    let frame = add(0, "9.9.9.1:5000", NatType::FullCone);
    assert_eq!(on_add(&mut book, &frame, 0), Ok(News::Kept));
    for _ in 0..1_000 {
        assert_eq!(on_add(&mut book, &frame, 0), Ok(News::Known));
    }
    assert_eq!(on_add(&mut book, &AddAddress { tier: 1, ..frame }, 0), Err(ErrorCode::PROTOCOL_VIOLATION));
    assert_eq!(on_add(&mut book, &add(0, "9.9.9.1:5001", NatType::FullCone), 0), Err(ErrorCode::PROTOCOL_VIOLATION));
    assert_eq!(book.on_remove_address(RemoveAddress { seq: 0 }), Some(frame));
    assert_eq!(on_add(&mut book, &frame, 0), Ok(News::Known), "a late copy brings nothing back");
    assert_eq!(on_add(&mut book, &add(0, "9.9.9.2:5000", NatType::FullCone), 0), Err(ErrorCode::PROTOCOL_VIOLATION));
    assert_eq!((book.remotes().count(), book.statistics().kept), (0, 1));
}

/// attacks G4.
#[test]
fn attack_g4_a_removal_that_comes_before_its_announcement_counts() {
    let mut book = AddressBook::default();
    assert_eq!(book.on_remove_address(RemoveAddress { seq: 5 }), None);
    assert_eq!(on_add(&mut book, &add(5, "9.9.9.1:5000", NatType::FullCone), 0), Ok(News::Known));
    assert!(book.is_gone(5) && !book.is_gone(4));
    assert_eq!(book.remotes().count(), 0);
}

/// attacks G4, R2.
#[test]
fn attack_g4_numbers_of_removed_addresses_take_bounded_room() {
    let mut book = AddressBook::default();
    for seq in 0..10_000 {
        book.on_remove_address(RemoveAddress { seq });
    }
    assert!((0..10_000).all(|seq| book.is_gone(seq)) && !book.is_gone(10_000));
    assert!(format!("{book:?}").len() < 16_384);
}

/// traversal T-67; attacks L21, R2.
#[test]
fn attack_l21_sixteen_addresses_are_kept_and_twenty_taken_within_a_minute() {
    let mut book = AddressBook::default();
    let frame = |seq: u64| add(seq, &format!("9.9.9.1:{}", 5_000 + seq), NatType::FullCone);
    let kept = |book: &mut AddressBook, seqs: std::ops::Range<u64>, seconds| {
        seqs.filter(|seq| on_add(book, &frame(*seq), seconds) == Ok(News::Kept)).count()
    };
    assert_eq!(kept(&mut book, 0..17, 0), limits::TRAVERSAL_ADDRESSES);
    for seq in 0..16 {
        book.on_remove_address(RemoveAddress { seq });
    }
    assert_eq!(kept(&mut book, 20..30, 30), 4, "twenty within the window");
    assert_eq!(kept(&mut book, 30..40, 59), 0);
    assert_eq!(kept(&mut book, 40..50, 60), 10, "the window has passed");
    assert_eq!(book.statistics().beyond, 1 + 6 + 10);
}

/// attacks G2.
#[test]
fn attack_g2_addresses_that_nobody_may_probe_are_not_kept() {
    let mut book = AddressBook::default();
    let bad = [
        "127.0.0.1:5000", "169.254.1.1:5000", "224.0.0.1:5000", "255.255.255.255:5000", "0.0.0.0:5000", "10.0.0.1:5000", "9.9.9.1:53",
        "9.9.9.1:0", "[fd00::1]:5000", "[::1]:5000", "[::ffff:9.9.9.1]:5000", "[2002:0a00:0001::1]:5000", "[64:ff9b::0a00:0001]:5000",
    ];
    for (seq, text) in bad.into_iter().enumerate() {
        assert_eq!(on_add(&mut book, &add(seq as u64, text, NatType::FullCone), 0), Ok(News::Ignored), "{text}");
    }
    assert_eq!((book.remotes().count(), book.statistics().refused), (0, bad.len() as u64));
}

/// traversal T-75, T-64.
#[test]
fn a_punch_starts_from_the_address_that_reaches_most_and_the_newest_of_equals() {
    use NatType::{Blocked, Dynamic, FullCone, RestrictedCone, RestrictedPort, Symmetric};
    let mut book = AddressBook::default();
    on_add(&mut book, &add(7, "9.9.9.9:7000", FullCone), 0).expect("kept");
    assert_eq!(book.pair_for_remote(7), None);
    let order = [Blocked, Symmetric, Dynamic, RestrictedPort, RestrictedCone, FullCone, FullCone];
    let mut picks = Vec::new();
    for (bind, nat_type) in (1..).zip(order) {
        book.announce(local(bind, "9.9.9.1:5000", nat_type)).expect("announced");
        picks.push(book.pair_for_remote(7).map(|id| id.local_seq));
    }
    assert_eq!(picks, [None, Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)]);
    book.announce(local(8, "9.9.9.1:5000", Symmetric)).expect("announced");
    assert_eq!(book.pair_for_remote(7), Some(PunchId { local_seq: 6, remote_seq: 7 }));
    for (seq, frame) in [
        (8, AddAddress { tier: 1, ..add(8, "9.9.9.9:7001", FullCone) }),
        (9, add(9, "[2606:4700::1]:7000", FullCone)),
        (10, add(10, "9.9.9.1:5000", FullCone)),
        (11, add(11, "9.9.9.9:7002", Blocked)),
    ] {
        assert_eq!(on_add(&mut book, &frame, 0), Ok(News::Kept));
        assert_eq!(book.pair_for_remote(seq), None, "{frame:?}");
    }
}

/// traversal T-77.
#[test]
fn a_new_address_of_ours_is_paired_with_all_that_are_known_of_the_peer() {
    let mut book = AddressBook::default();
    for frame in [add(1, "9.9.9.9:7000", NatType::FullCone), add(2, "9.9.9.8:7000", NatType::Symmetric), add(3, "[2606:4700::1]:7000", NatType::FullCone)] {
        on_add(&mut book, &frame, 0).expect("kept");
    }
    let seq = book.announce(local(1, "9.9.9.1:5000", NatType::RestrictedPort)).expect("announced").seq;
    let pairs: Vec<u64> = book.pairs_for_local(seq).map(|id| id.remote_seq).collect();
    assert_eq!(pairs, [1, 2]);
}

/// traversal T-72.
#[test]
fn endpoints_of_one_form_and_family_make_paths() {
    let mut book = AddressBook::default();
    let agent = |agent: &str, outer: &str| Endpoint::Agent { agent: address(agent), outer: address(outer) };
    let direct = |text: &str| Endpoint::Direct(address(text));
    assert!(book.add_bind(Bind(1), address("192.168.1.2:5000"), 4).is_empty());
    assert!(book.add_local_endpoint(Bind(1), agent("9.9.9.7:20002", "9.9.9.1:5000")).is_empty());
    let paths = book.add_remote_endpoint(direct("9.9.9.9:7000"), Source::Given);
    assert_eq!(paths.len(), 1, "direct with direct alone");
    assert_eq!((paths[0].link.local, paths[0].link.remote), (address("192.168.1.2:5000"), address("9.9.9.9:7000")));
    let relayed = agent("9.9.9.6:20002", "9.9.9.8:7000");
    let paths = book.add_remote_endpoint(relayed, Source::Announced);
    assert_eq!((paths.len(), paths[0].link.remote, paths[0].pathway.remote), (1, address("9.9.9.6:20002"), relayed));
    assert!(book.add_remote_endpoint(relayed, Source::Announced).is_empty(), "known");
    assert!(book.add_remote_endpoint(direct("[2606:4700::1]:7000"), Source::Given).is_empty(), "another family");
    assert!(book.add_remote_endpoint(direct("192.168.1.2:5000"), Source::Given).is_empty(), "ourselves");
    assert!(book.add_remote_endpoint(direct("192.168.1.3:7000"), Source::Neighbour { device: 5 }).is_empty(), "another interface");
    assert_eq!(book.add_remote_endpoint(direct("192.168.1.4:7000"), Source::Neighbour { device: 4 }).len(), 1);
    assert_eq!(book.add_bind(Bind(2), address("192.168.1.2:5001"), 4).len(), 3, "every direct one");
    book.remove_remote_endpoint(relayed);
    assert!(book.add_local_endpoint(Bind(2), agent("9.9.9.7:20002", "9.9.9.1:5001")).is_empty());
}

/// traversal T-73, T-74.
#[test]
fn an_outer_address_is_a_relayed_endpoint_at_once_and_announced_when_the_nat_is_known() {
    let mut book = AddressBook::default();
    book.add_bind(Bind(1), address("192.168.1.2:5000"), 4);
    book.add_remote_endpoint(Endpoint::Agent { agent: address("9.9.9.6:20002"), outer: address("9.9.9.8:7000") }, Source::Given);
    let (agent, outer) = (address("9.9.9.7:20002"), address("9.9.9.1:5000"));
    let unknown = book.on_outer(Bind(1), agent, outer, None, Made::ForTraffic);
    assert_eq!((unknown.paths.len(), unknown.announced, unknown.needs_socket), (1, None, None));
    let dynamic = book.on_outer(Bind(1), agent, outer, Some((NatType::Dynamic, PortAllocation::Preserving)), Made::ForTraffic);
    assert_eq!((dynamic.paths.len(), dynamic.announced, dynamic.needs_socket), (0, None, Some(Bind(1))));
    book.add_bind(Bind(2), address("192.168.1.2:5001"), 4);
    let made = book.on_outer(Bind(2), agent, address("9.9.9.1:5001"), Some((NatType::Dynamic, PortAllocation::Preserving)), Made::ForPunch);
    assert_eq!(made.announced.map(|add| (add.seq, add.address)), Some((0, address("9.9.9.1:5001"))));
    let again = book.on_outer(Bind(2), agent, address("9.9.9.1:5001"), Some((NatType::FullCone, PortAllocation::Preserving)), Made::ForPunch);
    assert_eq!((again.announced, again.refused), (None, Some(AnnounceError::Duplicate)));
}
