//! A hostile peer that names victims, and what else strangers can do with punches (attacks G1…G9, L21, L22; traversal T-60, T-97, V12).
//!
//! The evil client speaks over a relay, so that the server has a reason to punch; what it sends straight is counted by address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use evil::{
    arena::{Arena, Setup, Way, addresses},
    ends::failure,
};
use qbase::{
    EncryptionLevel, FourTuple, PathId, Timestamp,
    frame::{Frame, table},
    limits,
    param::TraversalParameter,
};
use qconnection::{
    Event, TransportConfig, TraversalNews, TraversalSettings, TraversalState,
    connection::traversal::{AnnounceError, AnnouncedAddress},
};
use qsim::{Failure, world::NatKind};
use qtraversal::{
    NatType, TraversalFrame,
    frame::{
        AddAddress, AddressKind, Braid, Dquic, ObservedAddress, Profile, ProfileKind, PunchDone, PunchHello, PunchId, PunchMeNow, RemoveAddress,
    },
    nat::PortAllocation,
};

use crate::net::{CLIENT, Net, SERVER, Setup as NetSetup, ms, secs};

/// PROTOCOL_VIOLATION.
const VIOLATION: u64 = 0x0a;
/// FRAME_ENCODING_ERROR.
const ENCODING: u64 = 0x07;

fn settings(profile: ProfileKind) -> TransportConfig {
    TransportConfig { traversal: Some(TraversalSettings { profile, ..TraversalSettings::default() }), ..Setup::default().server }
}

/// A server behind a relay with an address of its own, and an evil client that offers traversal.
fn arena(change: impl FnOnce(&mut Setup)) -> Result<Arena, Failure> {
    let mut setup = Setup { server: settings(ProfileKind::Braid), way: Way::Relayed, ..Setup::default() };
    setup.parameters.traversal = Some(TraversalParameter::default());
    change(&mut setup);
    let mut arena = Arena::new(&setup)?;
    if arena.connection()?.traversal_state() == TraversalState::On {
        announce(&mut arena)?;
    }
    Ok(arena)
}

fn announce(arena: &mut Arena) -> Result<(), Failure> {
    let now = arena.now;
    let address = SocketAddr::from(([198, 51, 100, 200], 4_433));
    let announced = AnnouncedAddress { address, kind: AddressKind::Mapped, tier: 0, nat_type: NatType::RestrictedPort, ports: PortAllocation::Preserving };
    arena.connection_mut()?.announce_address(now, addresses(1).local, announced).map_err(failure)?;
    arena.pump()
}

fn encode(frames: &[TraversalFrame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| Braid.encode(frame).expect("a frame of this profile").bytes().to_vec()).collect()
}

fn say(arena: &mut Arena, frames: &[TraversalFrame]) -> Result<(), Failure> {
    arena.send_bytes(EncryptionLevel::OneRtt, &encode(frames))
}

fn victim(number: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([93, 184, 216, number], port))
}

fn add(seq: u64, address: SocketAddr) -> TraversalFrame {
    TraversalFrame::AddAddress(AddAddress { seq, address, tier: 0, nat_type: NatType::RestrictedPort, kind: AddressKind::Mapped })
}

fn tell(seq: u64, address: SocketAddr) -> TraversalFrame {
    let id = PunchId { local_seq: seq, remote_seq: 0 };
    TraversalFrame::PunchMeNow(PunchMeNow { id, address, tier: 0, nat_type: NatType::RestrictedPort, kind: AddressKind::Mapped })
}

/// Lets time pass while the evil client says that it is there.
fn wait(arena: &mut Arena, time: Duration) -> Result<(), Failure> {
    let until = arena.now + time;
    while arena.now < until {
        arena.wait(ms(1_000).min(until.saturating_since(arena.now)))?;
        arena.say(&[Frame::Ping])?;
        arena.ack()?;
    }
    Ok(())
}

/// Most datagrams and bytes that one IP got within any 60 seconds.
fn worst(arena: &Arena) -> (usize, usize) {
    let mut by_ip: BTreeMap<IpAddr, Vec<(Timestamp, usize)>> = BTreeMap::new();
    for (at, four_tuple, len) in &arena.probes {
        by_ip.entry(four_tuple.remote.ip()).or_default().push((*at, *len));
    }
    let within = |sent: &[(Timestamp, usize)]| {
        (0..sent.len()).map(|first| {
            let window = sent[first..].iter().take_while(|(at, _)| at.saturating_since(sent[first].0) < secs(60));
            window.fold((0, 0), |(count, bytes), (_, len)| (count + 1, bytes + len))
        }).max().unwrap_or_default()
    };
    by_ip.values().map(|sent| within(sent)).max().unwrap_or_default()
}

/// attacks G1, L22; traversal T-97, V12: whatever it says and however often, a victim gets no more than its share.
#[test]
fn attack_g1_a_victim_that_a_hostile_peer_names_gets_no_more_than_its_share() -> Result<(), Failure> {
    let mut arena = arena(|_| {})?;
    for round in 0..200_u64 {
        let frames: Vec<TraversalFrame> = (0..6).flat_map(|n| {
            let seq = round * 6 + n;
            let address = victim((seq % 2) as u8 + 1, 2_000 + (seq % 50_000) as u16);
            [add(seq, address), tell(seq, address), tell(seq, victim(1, 3_000 + (seq % 999) as u16)), TraversalFrame::RemoveAddress(RemoveAddress { seq })]
        }).collect();
        say(&mut arena, &frames[..if round % 3 == 0 { 23 } else { 24 }])?;
        wait(&mut arena, ms(1_500))?;
    }
    assert_eq!(arena.close_code(), None);
    let (count, bytes) = worst(&arena);
    assert!(count > 0, "it is tried at all");
    assert!(count <= limits::PUNCH_ROUNDS * limits::PROBES_PER_ROUND && bytes <= limits::PUNCH_ROUNDS * 19_200, "{count} datagrams, {bytes} bytes");
    // attacks G3: nor are its ports looked through.
    let ports: BTreeSet<u16> = arena.probes.iter().filter(|(at, ..)| at.saturating_since(arena.probes[0].0) < secs(59)).map(|(_, four_tuple, _)| four_tuple.remote).filter(|remote| remote.ip() == victim(1, 1).ip()).map(|remote| remote.port()).collect();
    assert!(ports.len() <= limits::PORTS_PER_ADDRESS, "{ports:?}");
    Ok(())
}

/// attacks G1, L22: five rounds a minute in all, a ladder of five for each address in each of them.
#[test]
fn attack_l22_many_victims_share_five_rounds_a_minute_with_a_ladder_each() -> Result<(), Failure> {
    let mut arena = arena(|_| {})?;
    say(&mut arena, &(0..16).map(|seq| add(seq, victim(seq as u8 + 1, 5_000))).collect::<Vec<_>>())?;
    wait(&mut arena, secs(50))?;
    let mut by_target: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    arena.probes.iter().for_each(|(_, four_tuple, _)| *by_target.entry(four_tuple.remote).or_default() += 1);
    assert_eq!(by_target.len(), limits::PUNCH_ROUNDS, "{by_target:?}");
    assert!(by_target.values().all(|sent| *sent <= usize::from(limits::PROBES_PER_TARGET)), "{by_target:?}");
    Ok(())
}

/// attacks G1: nothing is sent, and nothing even kept, for who has not finished the handshake.
#[test]
fn attack_g1_nobody_is_probed_before_the_handshake_is_complete() -> Result<(), Failure> {
    for level in [EncryptionLevel::Initial, EncryptionLevel::Handshake] {
        let mut setup = Setup { server: settings(ProfileKind::Braid), way: Way::Relayed, ..Setup::during_handshake() };
        setup.parameters.traversal = Some(TraversalParameter::default());
        let mut arena = Arena::new(&setup)?;
        arena.send_bytes(level, &encode(&[add(0, victim(1, 5_000)), tell(0, victim(1, 5_000))]))?;
        arena.wait(secs(2))?;
        assert!(arena.probes.is_empty());
        assert_eq!(arena.close_code().map(|(code, _)| code), Some(VIOLATION), "not in such packets: {level:?}");
    }
    Ok(())
}

/// attacks G2: what is no address of a host somewhere else is not probed.
#[test]
fn attack_g2_addresses_that_nobody_may_name_get_nothing() -> Result<(), Failure> {
    let named = [
        "127.0.0.1:5000", "169.254.1.1:5000", "224.0.0.1:5000", "255.255.255.255:5000", "0.0.0.0:5000", "10.0.0.1:5000", "172.16.3.4:5000",
        "192.168.1.1:5000", "100.64.0.1:5000", "93.184.216.1:53", "93.184.216.1:0", "240.0.0.0:26", "[::1]:5000", "[fe80::1]:5000", "[fd00::1]:5000",
    ];
    let mut arena = arena(|_| {})?;
    let addresses: Vec<SocketAddr> = named.iter().map(|text| text.parse().expect("an address")).collect();
    say(&mut arena, &(0..).zip(&addresses).map(|(seq, address)| add(seq, *address)).collect::<Vec<_>>())?;
    say(&mut arena, &(0..).zip(&addresses).filter(|(_, address)| address.is_ipv4()).map(|(seq, address)| tell(seq, *address)).collect::<Vec<_>>())?;
    wait(&mut arena, secs(20))?;
    assert_eq!((arena.probes.len(), arena.close_code()), (0, None));
    Ok(())
}

/// attacks G4, L21: sixteen addresses are kept, twenty new ones a minute are looked at; a number reused is a violation.
#[test]
fn attack_l21_no_more_than_sixteen_addresses_are_kept_and_a_number_is_used_once() -> Result<(), Failure> {
    let mut arena = arena(|_| {})?;
    for chunk in (0..300_u64).collect::<Vec<_>>().chunks(20) {
        say(&mut arena, &chunk.iter().map(|seq| add(*seq, victim((seq % 200) as u8 + 1, 5_000))).collect::<Vec<_>>())?;
        let kept = arena.connection()?.traversal_view().map(|view| view.remote.len());
        assert!(kept <= Some(limits::TRAVERSAL_ADDRESSES));
    }
    say(&mut arena, &[add(0, victim(1, 5_000))])?;
    assert_eq!(arena.close_code(), None, "the same again costs nothing");
    say(&mut arena, &[add(0, victim(1, 5_001))])?;
    assert_eq!(arena.close_code(), Some((VIOLATION, 0)).or(arena.close_code()).filter(|(code, _)| *code == VIOLATION), "attacks G4");
    Ok(())
}

/// attacks G5: a PUNCH_ME_NOW that is repeated, with whatever address, stays in its round.
#[test]
fn attack_g5_overlapping_rounds_of_a_pair_are_one_round() -> Result<(), Failure> {
    let mut arena = arena(|_| {})?;
    say(&mut arena, &[add(0, victim(1, 5_000))])?;
    for n in 0..300_u16 {
        say(&mut arena, &[tell(0, victim((n % 60) as u8 + 1, 5_000 + n % 7))])?;
        arena.wait(ms(10))?;
        assert!(arena.connection()?.traversal_view().is_some_and(|view| view.running <= 1));
    }
    wait(&mut arena, secs(3))?;
    assert!(arena.probes.len() <= 2 * limits::PROBES_PER_ROUND, "{}: our round and the peer's", arena.probes.len());
    Ok(())
}

/// attacks G6: what a peer says it sees is news and nothing else.
#[test]
fn attack_g6_a_lie_about_how_we_are_seen_is_a_hint_and_changes_nothing() -> Result<(), Failure> {
    let mut arena = arena(|setup| setup.parameters.address_discovery = Some(qbase::param::AddressDiscovery::Both))?;
    let before = arena.connection()?.traversal_view();
    let lies = (0..50).map(|seq| TraversalFrame::ObservedAddress(ObservedAddress { seq, address: victim(seq as u8, 9) }));
    for lie in lies {
        say(&mut arena, &[lie])?;
    }
    wait(&mut arena, secs(2))?;
    let heard = arena.events.iter().filter(|event| matches!(event, Event::Traversal(news) if matches!(**news, TraversalNews::Observed { .. }))).count();
    assert_eq!(heard, 50, "the newest each time");
    assert_eq!((arena.connection()?.traversal_view(), arena.probes.len()), (before, 0));
    Ok(())
}

/// attacks G7: probes stand in no window, and nothing waits for them.
#[test]
fn attack_g7_probes_count_in_no_path_and_in_flight_returns_to_nothing() -> Result<(), Failure> {
    let mut arena = arena(|_| {})?;
    wait(&mut arena, secs(1))?;
    let before = arena.connection()?.path(PathId::ZERO).ok_or_else(|| failure("no path"))?;
    say(&mut arena, &[add(0, victim(1, 5_000)), tell(0, victim(1, 5_000))])?;
    arena.ack()?;
    for _ in 0..40 {
        arena.wait(ms(100))?;
        arena.ack()?;
        let path = arena.connection()?.path(PathId::ZERO).ok_or_else(|| failure("no path"))?;
        assert_eq!((path.bytes_in_flight, path.pto_count, path.counters.packets_lost), (0, before.pto_count, before.counters.packets_lost));
        assert!(path.congestion_window >= before.congestion_window);
    }
    assert!(arena.probes.len() >= 5);
    assert_eq!(arena.close_code(), None);
    Ok(())
}

/// attacks G8, traversal T-102: a punch from anywhere is heard though the peer must not move, and moves nothing.
#[test]
fn attack_g8_punches_from_strange_addresses_move_no_path_whatever_is_said_about_migration() -> Result<(), Failure> {
    for disabled in [false, true] {
        let mut arena = arena(|setup| setup.server.disable_active_migration = disabled)?;
        say(&mut arena, &[add(0, victim(1, 5_000))])?;
        let home = arena.connection()?.path(PathId::ZERO).ok_or_else(|| failure("no path"))?.four_tuple;
        let id = PunchId { local_seq: 0, remote_seq: 0 };
        for (number, frame) in [TraversalFrame::PunchHello(PunchHello { id, probe: 0 }), TraversalFrame::PunchDone(PunchDone { id, probe: 0 })].into_iter().enumerate() {
            let mut payload = encode(&[frame]);
            payload.extend([0; 30]);
            let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, None, 0, &payload)?;
            let seen = FourTuple { local: addresses(1).local, remote: victim(7 + number as u8, 5_000) };
            arena.inject(packet, seen);
            arena.pump()?;
        }
        wait(&mut arena, secs(1))?;
        let connection = arena.connection()?;
        assert_eq!(connection.paths().map(|path| path.four_tuple).collect::<Vec<_>>(), [home]);
        assert!(arena.events.iter().any(|event| matches!(event, Event::Traversal(news) if matches!(**news, TraversalNews::Hole { .. }))));
        assert!(!arena.events.iter().any(|event| matches!(event, Event::Path(path) if matches!(path.kind, qconnection::connection::events::PathEventKind::Migrated(_) | qconnection::connection::events::PathEventKind::Rebound(_)))));
        // Who was heard gets DONE three times, as any echo within the budget.
        let answered = arena.probes.iter().filter(|(_, four_tuple, _)| four_tuple.remote == victim(7, 5_000)).count();
        assert_eq!(answered, 3);
    }
    Ok(())
}

/// attacks G8: two ends of which the server wants no migration meet all the same.
#[test]
fn attack_g8_ends_meet_where_the_server_disabled_migration() -> Result<(), Failure> {
    let mut net = Net::new(NetSetup::new(NatKind::PortRestricted, NatKind::PortRestricted, 1).with(|transport| transport.disable_active_migration = true))?;
    net.announce_both()?;
    net.run_until(secs(10), Net::is_direct)?;
    net.send(CLIENT, 200_000)?;
    net.run_until(secs(10), |net| net.ends[SERVER].received == 200_000)
}

/// attacks G9: who is reached already is not punched.
#[test]
fn attack_g9_a_peer_that_is_reached_straight_makes_nobody_punch() -> Result<(), Failure> {
    let mut arena = arena(|setup| setup.way = Way::Straight)?;
    say(&mut arena, &[add(0, victim(1, 5_000)), tell(0, victim(1, 5_000))])?;
    wait(&mut arena, secs(40))?;
    assert_eq!((arena.probes.len(), arena.close_code()), (0, None));
    Ok(())
}

/// Its name, our settings, what the peer offers, what it says, and the error it gets.
type Case<'a> = (&'a str, TransportConfig, Option<TraversalParameter>, &'a [u8], Option<u64>);

/// traversal T-60: what was not negotiated is a frame nobody knows; what both offered, or what is configured, is spoken.
#[test]
fn frames_are_taken_only_in_the_profile_that_was_negotiated_or_configured() -> Result<(), Failure> {
    let off = TransportConfig { traversal: None, ..Setup::default().server };
    let braid = Braid.encode(&add(0, victim(1, 5_000))).expect("braid").bytes().to_vec();
    let dquic = Dquic.encode(&add(0, victim(1, 5_000))).expect("dquic").bytes().to_vec();
    let cases: [Case<'_>; 7] = [
        ("no settings", off.clone(), Some(TraversalParameter::default()), &braid, Some(ENCODING)),
        ("no settings, dquic", off, None, &dquic, Some(ENCODING)),
        ("the peer did not offer it", settings(ProfileKind::Braid), None, &braid, Some(ENCODING)),
        ("both did", settings(ProfileKind::Braid), Some(TraversalParameter::default()), &braid, None),
        ("another profile's frame", settings(ProfileKind::Braid), Some(TraversalParameter::default()), &dquic, Some(ENCODING)),
        ("configured", settings(ProfileKind::Dquic), None, &dquic, None),
        ("configured, ours", settings(ProfileKind::Dquic), Some(TraversalParameter::default()), &braid, Some(ENCODING)),
    ];
    for (what, server, parameter, payload, closes) in cases {
        let mut arena = arena(|setup| (setup.server, setup.parameters.traversal) = (server, parameter))?;
        arena.send_bytes(EncryptionLevel::OneRtt, payload)?;
        assert_eq!(arena.close_code().map(|(code, _)| code), closes, "{what}");
    }
    Ok(())
}

/// traversal T-60, T-100: both ends learn what was negotiated; a peer that does not punch is as one that does not offer.
#[test]
fn an_end_knows_whether_traversal_is_spoken_and_refuses_its_verbs_otherwise() -> Result<(), Failure> {
    let silent = TraversalParameter { max_punches: 0, ..TraversalParameter::default() };
    for (parameter, expected) in [(Some(TraversalParameter::default()), TraversalState::On), (None, TraversalState::Off), (Some(silent), TraversalState::Off)] {
        let mut arena = arena(|setup| setup.parameters.traversal = parameter)?;
        let told = arena.events.iter().find_map(|event| match event {
            Event::Traversal(news) => if let TraversalNews::State { state, .. } = **news { Some(state) } else { None },
            _ => None,
        });
        assert_eq!((arena.connection()?.traversal_state(), told), (expected, Some(expected)));
        let now = arena.now;
        let announced = AnnouncedAddress { address: victim(9, 4_433), kind: AddressKind::Mapped, tier: 0, nat_type: NatType::FullCone, ports: PortAllocation::Preserving };
        let again = arena.connection_mut()?.announce_address(now, addresses(1).local, announced);
        assert_eq!(again.err(), (expected == TraversalState::Off).then_some(AnnounceError::Off));
    }
    assert!(table::spec(0x3d_7e95).is_some_and(|row| row.probing));
    Ok(())
}

/// traversal T-60: profile `dquic` on both ends, without a word in the handshake.
#[test]
fn two_ends_configured_for_dquic_meet() -> Result<(), Failure> {
    let mut net = Net::new(NetSetup::new(NatKind::PortRestricted, NatKind::PortRestricted, 1).with(|transport| {
        if let Some(traversal) = &mut transport.traversal {
            traversal.profile = ProfileKind::Dquic;
        }
    }))?;
    net.announce_both()?;
    net.run_until(secs(10), Net::is_direct)
}
