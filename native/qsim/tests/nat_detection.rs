//! What stands before a socket, found out by the whole endpoint: sockets, datagrams and time as in a driver (traversal V5, T-50…T-53).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use qbase::Timestamp;
use qconnection::endpoint::nat::{Life, NatNews, Ticket};
use qsim::{
    Failure,
    world::{Dependence, Habit, NatKind, NatOptions, PortChoice},
};
use qtraversal::{
    NatType,
    nat::{AfterContact, Behaviour, Filtering, Hairpin, Mapping, PortAllocation},
    probe::ProbeConfig,
    stun::Form,
};

use crate::common::{
    for_each_seed, secs,
    stun::{Asking, PORT},
};

/// Detects to the end; nothing is left of it.
fn detect(asking: &mut Asking, local: SocketAddr, form: Form) -> Result<Option<Behaviour>, Failure> {
    let Asking { town, client, sockets, .. } = asking;
    let now = town.now();
    let config = ProbeConfig::new(vec![sockets[0]], form, None);
    town.host_mut(*client).endpoint_mut().detect_nat(Ticket(7), local, config, Life::Skipped, now);
    let is_report = |news: &NatNews| matches!(news, NatNews::Report { .. });
    let client = *client;
    town.run_until(|town| town.host(client).nat_news().iter().any(|(_, news)| is_report(news)), secs(600))?;
    town.run_for(secs(1))?;
    let host = asking.town.host(client);
    assert_eq!((host.temporary_sockets().len(), host.endpoint().temporary_sockets(), host.next_timer()), (0, 0, None));
    let reports: Vec<_> = asking.news(7).filter(|news| is_report(news)).collect();
    let [NatNews::Report { report, .. }] = reports[..] else { panic!("one report: {reports:?}") };
    Ok(report.clone().map(|report| *report))
}

fn detected(nat: Option<NatOptions>, loss: f64, seed: u64) -> Result<Behaviour, Failure> {
    let mut asking = Asking::new(seed, nat, loss)?;
    let local = asking.local();
    Ok(detect(&mut asking, local, Form::Rfc)?.expect("a server answers"))
}

fn mapping(dependence: Dependence) -> Mapping {
    match dependence {
        Dependence::EndpointIndependent => Mapping::EndpointIndependent,
        Dependence::Address => Mapping::AddressDependent,
        Dependence::AddressPort => Mapping::AddressAndPortDependent,
    }
}

fn filtering(dependence: Dependence) -> Filtering {
    match dependence {
        Dependence::EndpointIndependent => Filtering::EndpointIndependent,
        Dependence::Address => Filtering::AddressDependent,
        Dependence::AddressPort => Filtering::AddressAndPortDependent,
    }
}

/// traversal V5, T-51, T-53.
#[test]
fn every_kind_of_the_reference_table_is_told_from_the_others() -> Result<(), Failure> {
    use {AfterContact as A, Filtering as F, Mapping as M, NatKind as K, NatType as T, PortAllocation as P};
    let kinds = [
        (K::None, M::None, F::EndpointIndependent, P::Preserving, A::Unknown, T::FullCone),
        (K::FullCone, M::EndpointIndependent, F::EndpointIndependent, P::Preserving, A::Unknown, T::FullCone),
        (K::AddressRestricted, M::EndpointIndependent, F::AddressDependent, P::Preserving, A::Keeps, T::RestrictedCone),
        (K::PortRestricted, M::EndpointIndependent, F::AddressAndPortDependent, P::Preserving, A::Keeps, T::RestrictedPort),
        (K::Symmetric, M::AddressAndPortDependent, F::AddressAndPortDependent, P::Random, A::Unknown, T::Symmetric),
        (K::Linux, M::EndpointIndependent, F::AddressAndPortDependent, P::Preserving, A::Changes, T::Dynamic),
        (K::AddressDependent, M::AddressDependent, F::AddressAndPortDependent, P::Random, A::Unknown, T::Symmetric),
        (K::Sequential, M::AddressAndPortDependent, F::AddressAndPortDependent, P::Sequential { step: 1 }, A::Unknown, T::Symmetric),
    ];
    for (kind, mapping, filtering, ports, after_contact, nat_type) in kinds {
        for seed in 0..5 {
            let seen = detected(kind.options(), 0.0, seed)?;
            let facts = (seen.mapping, seen.filtering, seen.ports, seen.after_contact, seen.nat_type());
            assert_eq!(facts, (mapping, filtering, ports, after_contact, Some(nat_type)), "{} {seed}: {seen:?}", kind.name());
        }
    }
    Ok(())
}

/// traversal V5, T-51.
#[test]
fn every_mapping_and_filtering_of_rfc_4787_is_told() -> Result<(), Failure> {
    use Dependence::{Address, AddressPort, EndpointIndependent};
    const ALL: [Dependence; 3] = [EndpointIndependent, Address, AddressPort];
    for (maps, filters) in ALL.into_iter().flat_map(|maps| ALL.map(|filters| (maps, filters))) {
        for ports in [PortChoice::Preserving, PortChoice::Sequential, PortChoice::Random, PortChoice::Parity] {
            // One that preserves ports and maps to each peer differently has no second port to give.
            let hairpin = if ports == PortChoice::Random { Habit::Yes } else { Habit::No };
            let options = NatOptions { mapping: maps, filtering: filters, ports, hairpin, ..NatOptions::default() };
            let seen = detected(Some(options), 0.0, 3)?;
            assert_eq!((seen.mapping, seen.filtering), (mapping(maps), filtering(filters)), "{options:?}: {seen:?}");
            let turned = if hairpin == Habit::Yes { Hairpin::External } else { Hairpin::None };
            assert!(maps != EndpointIndependent || seen.hairpin == turned, "{options:?}: {seen:?}");
        }
    }
    Ok(())
}

/// traversal V5, T-52: loss makes no NAT another one. Of a hundred detections at 20 % each way one or two may err: five questions
/// without an answer look like a filter.
#[test]
fn loss_makes_no_nat_another_one() -> Result<(), Failure> {
    const SEEDS: u64 = 12;
    for (loss, may_err) in [(0.05, 0), (0.2, 2)] {
        let mut wrong = Vec::new();
        for kind in NatKind::ALL {
            let clean = detected(kind.options(), 0.0, 1)?;
            for seed in 0..SEEDS {
                let seen = detected(kind.options(), loss, 100 + seed)?;
                if (seen.mapping, seen.filtering, seen.nat_type()) != (clean.mapping, clean.filtering, clean.nat_type()) {
                    wrong.push((kind, seed, seen));
                }
            }
        }
        assert!(wrong.len() <= may_err, "{loss}: {wrong:#?}");
    }
    Ok(())
}

/// traversal §4 step 1.
#[test]
fn nobody_answers_where_nothing_passes() -> Result<(), Failure> {
    let blocked = NatOptions { blocked: Habit::Yes, ..NatOptions::default() };
    let mut asking = Asking::new(1, Some(blocked), 0.0)?;
    let local = asking.local();
    assert_eq!(detect(&mut asking, local, Form::Rfc)?, None);
    assert_eq!(asking.news(7).count(), 2, "one observation and the report");
    Ok(())
}

/// traversal T-51: a socket of the wildcard address learns which address it has.
#[test]
fn a_socket_of_the_wildcard_address_is_told_where_it_stands() -> Result<(), Failure> {
    for kind in [NatKind::None, NatKind::PortRestricted] {
        let mut asking = Asking::new(1, kind.options(), 0.0)?;
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);
        let seen = detect(&mut asking, any, Form::Rfc)?.expect("answered");
        assert_eq!(seen.local, Some(asking.local()));
        assert_eq!(seen.mapping, if kind == NatKind::None { Mapping::None } else { Mapping::EndpointIndependent });
    }
    Ok(())
}

/// traversal T-40, T-43: dquic's forms ask the same of one server with all four sockets. The filter test of 0.5 needs three servers.
#[test]
fn the_disguised_forms_find_out_the_same() -> Result<(), Failure> {
    const OPEN: (NatKind, NatType) = (NatKind::FullCone, NatType::FullCone);
    const CLOSED: (NatKind, NatType) = (NatKind::PortRestricted, NatType::RestrictedPort);
    const SYMMETRIC: (NatKind, NatType) = (NatKind::Symmetric, NatType::Symmetric);
    for (form, kinds) in [(Form::Dquic07, &[OPEN, CLOSED, SYMMETRIC][..]), (Form::Dquic05, &[OPEN, SYMMETRIC])] {
        for &(kind, nat_type) in kinds {
            let mut asking = Asking::new(1, kind.options(), 0.0)?;
            let local = asking.local();
            let seen = detect(&mut asking, local, form)?.expect("answered");
            assert_eq!(seen.nat_type(), Some(nat_type), "{form:?} {}: {seen:?}", kind.name());
        }
    }
    Ok(())
}

/// traversal T-51: raw observations are told as they are made.
#[test]
fn observations_are_told_in_their_order_and_before_the_report() -> Result<(), Failure> {
    let mut asking = Asking::new(1, NatKind::PortRestricted.options(), 0.0)?;
    let local = asking.local();
    detect(&mut asking, local, Form::Rfc)?;
    let all: Vec<_> = asking.news(7).collect();
    let (report, observed) = all.split_last().expect("news");
    assert!(matches!(report, NatNews::Report { .. }));
    let at = |news: &&NatNews| match news {
        NatNews::Observed { observation, .. } => observation.at,
        other => panic!("{other:?}"),
    };
    let times: Vec<Timestamp> = observed.iter().map(at).collect();
    assert!(times.len() > 10 && times.is_sorted(), "{times:?}");
    Ok(())
}

/// traversal V11.
#[test]
fn one_seed_is_one_detection() -> Result<(), Failure> {
    for_each_seed(0..4, |seed| {
        let run = |seed| {
            let mut asking = Asking::new(seed, NatKind::Linux.options(), 0.1)?;
            let local = asking.local();
            detect(&mut asking, local, Form::Rfc)?;
            Ok::<_, Failure>((asking.town.trace_hash(), asking.town.host(asking.client).nat_news().to_vec()))
        };
        assert_eq!(run(seed)?, run(seed)?);
        Ok(())
    })
}
