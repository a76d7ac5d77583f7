//! Detection and life search against small NATs of every kind (traversal V5).

mod world;

use std::time::Duration;

use qbase::Timestamp;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use self::world::{Give, Nat, World};
use super::{detection::*, life::*, *};
use crate::{
    NatType,
    address::tests::address,
    nat::*,
    stun::{Form, ServerConfig},
};

const RFC_SERVER: &str = "203.0.113.10:3478";

fn rfc_server() -> Vec<ServerConfig> {
    let sockets = ["203.0.113.10:3478", "203.0.113.10:3479", "203.0.113.11:3478", "203.0.113.11:3479"].map(address).to_vec();
    vec![ServerConfig { sockets, neighbours: Vec::new() }]
}

/// traversal T-48: S1 -changed-> S2 -changed-> S3, and neighbours on another port of each IP.
fn chain() -> Vec<ServerConfig> {
    let [s1, s2, s3, p1, p2, p3] =
        ["203.0.113.1:3001", "203.0.113.2:3002", "203.0.113.3:3003", "203.0.113.1:3101", "203.0.113.2:3102", "203.0.113.3:3103"].map(address);
    let server = |own, next, port, before| ServerConfig { sockets: vec![own], neighbours: vec![next, port, before] };
    let helper = |own, main| ServerConfig { sockets: vec![own], neighbours: vec![main] };
    vec![
        server(s1, s2, p1, s3),
        server(s2, s3, p2, s1),
        server(s3, s1, p3, s2),
        helper(p1, s1),
        helper(p2, s2),
        helper(p3, s3),
    ]
}

/// A detection through `nat`, with servers of this form.
fn detect(nat: Nat, form: Form, loss: u32, seed: u64) -> Detection {
    let (servers, first) = match form {
        Form::Rfc => (rfc_server(), RFC_SERVER),
        Form::Dquic05 | Form::Dquic07 => (chain(), "203.0.113.1:3001"),
    };
    let mut world = World::new(nat, servers, loss, seed);
    let local = Some(world.sockets[&0]);
    world.detect(Detection::new(ProbeConfig::new(vec![address(first)], form, local)))
}

/// The six types, and a NAT of each.
fn kinds() -> [(NatType, fn() -> Nat); 6] {
    use {Filtering as F, Mapping as M};
    [
        (NatType::Blocked, || Nat { blocked: true, ..Nat::new(M::EndpointIndependent, F::EndpointIndependent) }),
        (NatType::FullCone, || Nat::new(M::EndpointIndependent, F::EndpointIndependent)),
        (NatType::RestrictedCone, || Nat::new(M::EndpointIndependent, F::AddressDependent)),
        (NatType::RestrictedPort, || Nat::new(M::EndpointIndependent, F::AddressAndPortDependent)),
        (NatType::Symmetric, || Nat::new(M::AddressAndPortDependent, F::AddressAndPortDependent)),
        (NatType::Dynamic, || Nat { changes_after: 2, ..Nat::new(M::EndpointIndependent, F::AddressAndPortDependent) }),
    ]
}

/// traversal V5, T-52: all six types, with no loss and 5 % in each direction, from servers of all forms.
#[test]
fn all_six_types_are_told_with_and_without_loss() {
    for form in [Form::Rfc, Form::Dquic07, Form::Dquic05] {
        for (kind, nat) in kinds() {
            for (loss, seeds) in [(0, 1), (5, 20)] {
                for seed in 0..seeds {
                    let detection = detect(nat(), form, loss, seed);
                    let behaviour = detection.behaviour();
                    assert_eq!(behaviour.nat_type(), Some(kind), "{form:?} loss {loss} seed {seed}: {detection:#?}");
                }
            }
        }
    }
}

/// traversal V5, T-52: at 20 % in each direction silence is still seldom taken for a filter, and never for a changing mapping.
#[test]
fn with_20_percent_loss_few_detections_are_wrong_and_none_by_silence_is_dynamic() {
    for form in [Form::Rfc, Form::Dquic07] {
        for (kind, nat) in kinds() {
            let types: Vec<_> = (0..100).map(|seed| detect(nat(), form, 20, seed).behaviour().nat_type()).collect();
            let right = types.iter().filter(|found| **found == Some(kind)).count();
            assert!(right >= 94, "{form:?} {kind:?}: {right} of 100");
            if kind != NatType::Dynamic {
                assert!(!types.contains(&Some(NatType::Dynamic)), "{form:?} {kind:?}");
            }
        }
    }
}

/// RFC 4787 §4.1, §5: three mappings and three filterings, each told apart (traversal T-51).
#[test]
fn every_pair_of_mapping_and_filtering_is_told_by_an_rfc_5780_server() {
    use {Filtering as F, Mapping as M};
    for mapping in [M::None, M::EndpointIndependent, M::AddressDependent, M::AddressAndPortDependent] {
        for filtering in [F::EndpointIndependent, F::AddressDependent, F::AddressAndPortDependent] {
            for give in [Give::Same, Give::Random, Give::Step(1), Give::Step(-2), Give::Parity] {
                let detection = detect(Nat { give, ..Nat::new(mapping, filtering) }, Form::Rfc, 0, 7);
                let behaviour = detection.behaviour();
                assert_eq!((behaviour.mapping, behaviour.filtering), (mapping, filtering), "{give:?} {detection:#?}");
                assert_eq!(behaviour.reach, Reach::Open);
                let ports = match give {
                    _ if mapping == M::None => PortAllocation::Preserving,
                    Give::Same => PortAllocation::Preserving,
                    Give::Random => PortAllocation::Random,
                    Give::Step(step) => PortAllocation::Sequential { step },
                    Give::Parity => PortAllocation::Parity,
                };
                if mapping == M::EndpointIndependent || mapping == M::None {
                    assert_eq!(behaviour.ports, ports, "{mapping:?} {detection:#?}");
                }
            }
        }
    }
}

/// traversal T-53: a Linux masquerade is no symmetric NAT, and is told by what a filtered packet does.
#[test]
fn a_nat_whose_mapping_changes_after_a_filtered_packet_is_endpoint_independent_and_dynamic() {
    for (linux, kind, expected) in [(false, NatType::RestrictedPort, AfterContact::Keeps), (true, NatType::Dynamic, AfterContact::Changes)] {
        for form in [Form::Rfc, Form::Dquic07] {
            for give in [Give::Same, Give::Random] {
                let nat = Nat { linux, give, ..Nat::new(Mapping::EndpointIndependent, Filtering::AddressAndPortDependent) };
                let detection = detect(nat, form, 0, 7);
                let behaviour = detection.behaviour();
                assert_eq!((behaviour.mapping, behaviour.nat_type()), (Mapping::EndpointIndependent, Some(kind)), "{detection:#?}");
                assert_eq!(behaviour.after_contact, expected, "{form:?} {detection:#?}");
            }
        }
    }
}

/// RFC 4787 §6.
#[test]
fn hairpins_are_told_by_their_source() {
    for hairpin in [Hairpin::None, Hairpin::External, Hairpin::Internal] {
        for filtering in [Filtering::EndpointIndependent, Filtering::AddressDependent] {
            // A NAT that shows internal sources and filters by address lets none of these in.
            let expected = match (hairpin, filtering) {
                (Hairpin::Internal, Filtering::AddressDependent) => Hairpin::None,
                _ => hairpin,
            };
            let nat = Nat { hairpin, ..Nat::new(Mapping::EndpointIndependent, filtering) };
            let detection = detect(nat, Form::Rfc, 0, 3);
            assert_eq!(detection.behaviour().hairpin, expected, "{filtering:?} {detection:#?}");
            assert_eq!(detection.observations().last().unwrap().question, Question::Hairpin);
        }
    }
}

/// traversal T-50, T-51: what was seen is kept as it was, in order.
#[test]
fn raw_observations_are_kept() {
    let detection = detect(Nat::new(Mapping::EndpointIndependent, Filtering::AddressDependent), Form::Rfc, 0, 7);
    let kinds: Vec<_> = detection.observations().iter().map(|seen| (seen.socket, seen.question, seen.from.is_some())).collect();
    let mut expected = vec![(0, Question::Mapping, true); 4];
    expected.extend((1..=6).map(|socket| (socket, Question::Mapping, true)));
    expected.push((1, Question::FromOtherAddress, false));
    expected.push((1, Question::FromOtherPort, true));
    expected.push((1, Question::MappingAfterContact, true));
    expected.push((1, Question::Hairpin, false));
    assert_eq!(kinds, expected);
    assert_eq!(detection.behaviour().outer, detection.observations()[0].mapped);
    assert_eq!(detection.observations()[10].sent, 5);
}

/// traversal T-42: a public server that knows RFC 8489 only tells the address, and two of them the mapping.
#[test]
fn plain_servers_tell_the_mapping_and_leave_the_filter_unknown() {
    let plain = |text: &str| ServerConfig { sockets: vec![address(text)], neighbours: Vec::new() };
    let names = ["203.0.113.1:3478", "203.0.113.2:3478", "203.0.113.3:3478"];
    for (mapping, expected) in [
        (Mapping::EndpointIndependent, Mapping::EndpointIndependent),
        (Mapping::AddressAndPortDependent, Mapping::AddressAndPortDependent),
    ] {
        for count in 2..=3 {
            let servers = names.into_iter().take(count);
            let mut world = World::new(Nat::new(mapping, Filtering::AddressDependent), servers.clone().map(plain).collect(), 0, 5);
            let config = ProbeConfig::new(servers.map(address).collect(), Form::Rfc, None);
            let detection = world.detect(Detection::new(config));
            let behaviour = detection.behaviour();
            assert_eq!((behaviour.mapping, behaviour.filtering), (expected, Filtering::Unknown), "{detection:#?}");
        }
    }
}

/// traversal §4 step 1.
#[test]
fn a_dead_first_server_does_not_mean_blocked() {
    let mut world = World::new(Nat::new(Mapping::EndpointIndependent, Filtering::EndpointIndependent), rfc_server(), 0, 5);
    let config = ProbeConfig::new(vec![address("203.0.113.99:1"), address(RFC_SERVER)], Form::Rfc, None);
    let detection = world.detect(Detection::new(config));
    assert_eq!(detection.behaviour().nat_type(), Some(NatType::FullCone), "{detection:#?}");
    let nobody = Detection::new(ProbeConfig::new(Vec::new(), Form::Rfc, None));
    assert_eq!(world.detect(nobody).behaviour().reach, Reach::Unknown);
}

/// traversal T-45, attacks G12: forged answers change nothing.
#[test]
fn attack_g12_answers_of_strangers_do_not_count() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut detection = Detection::new(ProbeConfig::new(vec![address(RFC_SERVER)], Form::Rfc, None));
    let now = Timestamp::from_millis(1);
    let ProbeStep::Send(outgoing) = detection.poll(now, &mut random) else { panic!("nothing sent") };
    let forged = Message { mapped: Some(address("6.6.6.6:6")), ..outgoing.message.success() };
    detection.on_message(0, &forged, address("203.0.113.10:3479"), now);
    detection.on_message(1, &forged, address(RFC_SERVER), now);
    let other_id = Message { id: crate::stun::TransactionId::from_bytes([0; 16]), ..forged };
    detection.on_message(0, &other_id, address(RFC_SERVER), now);
    assert_eq!(detection.behaviour().outer, None);
    detection.on_message(0, &forged, address(RFC_SERVER), now);
    assert_eq!(detection.behaviour().outer, Some(address("6.6.6.6:6")));
}

/// traversal T-46, RFC 5780 §4.6.
#[test]
fn the_life_of_mappings_is_found_to_its_precision() {
    for seconds in [3, 20, 30, 65, 119, 180, 1_000] {
        let life = Duration::from_secs(seconds);
        for filtering in [Filtering::EndpointIndependent, Filtering::AddressAndPortDependent] {
            for loss in [0, 5] {
                let nat = Nat { life, ..Nat::new(Mapping::EndpointIndependent, filtering) };
                let mut world = World::new(nat, rfc_server(), loss, seconds);
                let search = world.search(LifeSearch::new(LifeConfig::new(address(RFC_SERVER))));
                let found = search.life();
                assert!(found.at_least <= life, "{seconds} s: {search:#?}");
                match found.below {
                    Some(below) => {
                        assert!(below >= life && below - found.at_least <= Duration::from_secs(5), "{seconds} s: {search:#?}");
                    }
                    None => assert!(found.at_least == Duration::from_secs(300) && seconds > 300, "{seconds} s: {search:#?}"),
                }
                assert!(search.observations().len() <= 12, "{seconds} s took {} trials", search.observations().len());
            }
        }
    }
}

#[test]
fn without_a_server_there_is_no_life_to_be_found() {
    let mut world = World::new(Nat::new(Mapping::EndpointIndependent, Filtering::EndpointIndependent), Vec::new(), 0, 1);
    let search = world.search(LifeSearch::new(LifeConfig::new(address(RFC_SERVER))));
    assert_eq!(search.life(), MappingLife::default());
}
