//! What a network of links promises: every datagram is accounted for, instants are exact, and one seed is one history.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use proptest::prelude::*;
use qbase::{Ecn, FourTuple, Timestamp};
use qsim::{
    Arrival, Directions, EcnTreatment, Fate, Interface, LinkDirection, LinkId, LinkShape, LinkStatistics, LossModel,
    Network, Queue, Reorder, SendError,
};

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 2));
const C: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 1));
const D: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2));
const MS: Duration = Duration::from_millis(1);
const END: Timestamp = Timestamp::from_millis(10_000_000);

#[test]
fn delay_is_exact_and_each_end_sees_its_own_address_first() {
    let (mut network, _) = joined(1, &LinkShape::delayed(20 * MS));
    network.send(ms(5), a_to_b(), Ecn::Ect0, b"hello").unwrap();
    assert_eq!(network.next_event(), Some(ms(25)));
    assert_eq!(network.pop_arrival(Timestamp::from_nanos(24_999_999)), None);
    let arrival = network.pop_arrival(ms(25)).unwrap();
    assert_eq!((arrival.at, arrival.ecn, &arrival.bytes[..]), (ms(25), Ecn::Ect0, &b"hello"[..]));
    assert_eq!(arrival.four_tuple, FourTuple { local: at(B, 4433), remote: at(A, 1000) });
    assert_eq!(network.next_event(), None);
}

#[test]
fn datagrams_of_one_instant_arrive_in_the_order_they_were_sent() {
    let (mut network, _) = joined(1, &LinkShape::delayed(MS));
    for number in 0..50 {
        network.send(ms(0), a_to_b(), Ecn::NotEct, &[number]).unwrap();
    }
    let numbers: Vec<u8> = drain(&mut network).iter().map(|arrival| arrival.bytes[0]).collect();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_rate_spaces_datagrams_and_a_full_queue_drops_the_rest() {
    let shape = LinkShape { queue: Queue::TailDrop { bytes: 5_000 }, ..LinkShape::delayed(10 * MS) }.at_rate(8_000_000);
    let (mut network, link) = joined(1, &shape);
    for _ in 0..8 {
        network.send(ms(0), a_to_b(), Ecn::NotEct, &[0; 1_000]).unwrap();
    }
    let instants: Vec<Timestamp> = drain(&mut network).iter().map(|arrival| arrival.at).collect();
    assert_eq!(instants, [ms(11), ms(12), ms(13), ms(14), ms(15)]);
    assert_eq!(forth(&network, link).queue_full, 3);
}

#[test]
fn a_new_rate_is_for_the_rest_of_the_queue() {
    let (mut network, link) = joined(1, &LinkShape::default().at_rate(8_000_000));
    for _ in 0..4 {
        network.send(ms(0), a_to_b(), Ecn::NotEct, &[0; 1_000]).unwrap();
    }
    network.set(Timestamp::from_nanos(1_500_000), link, &LinkShape::default().at_rate(800_000), Directions::AToB);
    let instants: Vec<Timestamp> = drain(&mut network).iter().map(|arrival| arrival.at).collect();
    assert_eq!(instants, [ms(1), ms(2), ms(12), ms(22)]);
    assert_eq!(network.shape(link, LinkDirection::BToA).unwrap().rate_bits_per_sec, Some(8_000_000));
}

#[test]
fn a_rate_of_zero_stands_still_until_it_changes() {
    let (mut network, link) = joined(1, &LinkShape::default().at_rate(0));
    network.send(ms(0), a_to_b(), Ecn::NotEct, &[0; 100]).unwrap();
    network.send(ms(0), a_to_b(), Ecn::NotEct, &[1; 100]).unwrap();
    assert_eq!(network.next_event(), None);
    assert_eq!(network.queued_bytes(link, LinkDirection::AToB), 200);
    network.set(ms(70), link, &LinkShape::default(), Directions::Both);
    assert_eq!(drain(&mut network).iter().map(|arrival| arrival.at).collect::<Vec<_>>(), [ms(70), ms(70)]);
}

#[test]
fn a_cut_takes_one_way_or_both_and_what_is_on_the_wire_arrives() {
    let (mut network, link) = joined(1, &LinkShape::delayed(10 * MS));
    network.send(ms(0), a_to_b(), Ecn::NotEct, b"early").unwrap();
    network.cut(ms(1), link, Directions::AToB);
    network.send(ms(1), a_to_b(), Ecn::NotEct, b"cut").unwrap();
    network.send(ms(1), b_to_a(), Ecn::NotEct, b"back").unwrap();
    assert!(!network.is_up(link));
    network.restore(ms(2), link, Directions::Both);
    network.send(ms(2), a_to_b(), Ecn::NotEct, b"late").unwrap();
    let arrived: Vec<Vec<u8>> = drain(&mut network).into_iter().map(|arrival| arrival.bytes).collect();
    assert_eq!(arrived, [&b"early"[..], b"back", b"late"]);
    assert_eq!(forth(&network, link).cut, 1);
}

#[test]
fn the_queue_of_a_cut_link_runs_into_the_cut() {
    let (mut network, link) = joined(1, &LinkShape::default().at_rate(8_000_000));
    for _ in 0..4 {
        network.send(ms(0), a_to_b(), Ecn::NotEct, &[0; 1_000]).unwrap();
    }
    network.cut(Timestamp::from_nanos(2_500_000), link, Directions::Both);
    assert_eq!(drain(&mut network).len(), 2);
    assert_eq!(forth(&network, link).cut, 2);
}

#[test]
fn too_long_datagrams_vanish() {
    let (mut network, link) = joined(1, &LinkShape { mtu: 1_300, ..LinkShape::default() });
    network.send(ms(0), a_to_b(), Ecn::NotEct, &[0; 1_301]).unwrap();
    network.send(ms(0), a_to_b(), Ecn::NotEct, &[0; 1_300]).unwrap();
    assert_eq!(drain(&mut network).len(), 1);
    assert_eq!(forth(&network, link).too_long, 1);
}

#[test]
fn listed_datagrams_are_lost_whatever_the_shape_was_before() {
    let (mut network, link) = joined(1, &LinkShape::default());
    network.send(ms(0), a_to_b(), Ecn::NotEct, &[0]).unwrap();
    network.set(ms(0), link, &LinkShape::default().losing(LossModel::list([0, 2])), Directions::Both);
    for number in 1..5 {
        network.send(ms(0), a_to_b(), Ecn::NotEct, &[number]).unwrap();
    }
    assert_eq!(drain(&mut network).iter().map(|arrival| arrival.bytes[0]).collect::<Vec<_>>(), [0, 1, 3, 4]);
}

#[test]
fn a_half_full_queue_marks_and_a_bleaching_link_clears() {
    let marking =
        LinkShape { ecn: EcnTreatment::Mark, queue: Queue::TailDrop { bytes: 4_000 }, ..LinkShape::default() };
    let (mut network, link) = joined(1, &marking.at_rate(8_000_000));
    for _ in 0..4 {
        network.send(ms(0), a_to_b(), Ecn::Ect0, &[0; 1_000]).unwrap();
    }
    let marks: Vec<Ecn> = drain(&mut network).iter().map(|arrival| arrival.ecn).collect();
    assert_eq!(marks, [Ecn::Ect0, Ecn::Ect0, Ecn::Ce, Ecn::Ce]);
    assert_eq!(forth(&network, link).marked, 2);

    let (mut network, _) = joined(1, &LinkShape { ecn: EcnTreatment::Bleach, ..LinkShape::default() });
    network.send(ms(0), a_to_b(), Ecn::Ect0, &[0]).unwrap();
    assert_eq!(drain(&mut network)[0].ecn, Ecn::NotEct);
}

#[test]
fn a_host_learns_at_once_what_its_own_system_knows() {
    let (mut network, link) = joined(1, &LinkShape::default());
    let nowhere = FourTuple { local: at(A, 1), remote: at(C, 1) };
    assert_eq!(network.send(ms(0), nowhere, Ecn::NotEct, &[0]), Err(SendError::NoRoute));
    network.set_interface(ms(0), A, Interface::Down);
    assert_eq!(network.send(ms(0), a_to_b(), Ecn::NotEct, &[0]), Err(SendError::InterfaceDown));
    assert_eq!(network.send(ms(0), b_to_a(), Ecn::NotEct, &[0]), Ok(()), "the other end knows nothing");
    assert_eq!(network.statistics(link, LinkDirection::BToA).cut, 1);
    network.set_interface(ms(0), A, Interface::Up);
    assert_eq!(network.send(ms(0), a_to_b(), Ecn::NotEct, &[0]), Ok(()));
}

#[test]
fn an_unspecified_source_becomes_the_address_of_a_link_that_is_up() {
    let (mut network, _) = joined(1, &LinkShape::default());
    let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let from_anywhere = FourTuple { local: at(unspecified, 7), remote: at(B, 4433) };
    network.send(ms(0), from_anywhere, Ecn::NotEct, &[0]).unwrap();
    assert_eq!(drain(&mut network)[0].four_tuple.remote, at(A, 7));
    network.set_interface(ms(0), A, Interface::Down);
    assert_eq!(network.send(ms(0), from_anywhere, Ecn::NotEct, &[0]), Err(SendError::NoRoute));
}

#[test]
fn held_back_datagrams_are_overtaken() {
    let reorder = Some(Reorder { probability: 0.2, by: 5 * MS });
    let (mut network, link) = joined(1, &LinkShape { reorder, ..LinkShape::delayed(10 * MS) });
    for number in 0..100_u8 {
        network.send(ms(u64::from(number)), a_to_b(), Ecn::NotEct, &[number]).unwrap();
    }
    let arrivals = drain(&mut network);
    let overtaken = arrivals.windows(2).filter(|pair| pair[0].bytes[0] > pair[1].bytes[0]).count();
    assert!(overtaken > 5, "{overtaken} of 100 at 20 %");
    assert_eq!(arrivals.len(), 100);
    assert!((10..30).contains(&forth(&network, link).reordered));
}

#[test]
fn damaged_datagrams_arrive_and_are_counted() {
    let (mut network, link) = joined(1, &LinkShape { corrupt: 0.3, truncate: 0.3, ..LinkShape::default() });
    for _ in 0..1_000 {
        network.send(ms(0), a_to_b(), Ecn::NotEct, &[7; 100]).unwrap();
    }
    let arrivals = drain(&mut network);
    let short = arrivals.iter().filter(|arrival| arrival.bytes.len() < 100).count() as u64;
    let changed = arrivals.iter().filter(|arrival| arrival.bytes.iter().any(|byte| *byte != 7)).count() as u64;
    let statistics = forth(&network, link);
    assert_eq!((arrivals.len(), short), (1_000, statistics.truncated));
    assert!((250..350).contains(&changed) && changed <= statistics.corrupted, "{changed} changed of 1,000");
    assert!((150..260).contains(&short), "{short} short of 1,000");
}

#[test]
fn the_luck_of_a_link_does_not_depend_on_its_neighbours() {
    let lossy = LinkShape::default().with_loss(0.3);
    let fates = |noise: u64| {
        let mut network = Network::new(9);
        network.link(A, B, &lossy);
        network.link(C, D, &lossy);
        for number in 0..100 {
            for _ in 0..noise {
                network.send(ms(0), a_to_b(), Ecn::NotEct, &[0]).unwrap();
            }
            network.send(ms(0), FourTuple { local: at(C, 1), remote: at(D, 1) }, Ecn::NotEct, &[number]).unwrap();
        }
        let arrivals = drain(&mut network);
        arrivals.iter().filter(|arrival| arrival.link == LinkId(1)).map(|arrival| arrival.bytes[0]).collect::<Vec<_>>()
    };
    assert_eq!(fates(0), fates(3));
}

#[test]
fn the_trace_tells_the_last_fates_in_words() {
    let (mut network, link) = joined(1, &LinkShape::delayed(MS));
    network.cut(ms(0), link, Directions::Both);
    network.send(ms(0), a_to_b(), Ecn::NotEct, &[0; 9]).unwrap();
    network.restore(ms(0), link, Directions::Both);
    network.send(ms(3), a_to_b(), Ecn::NotEct, &[0; 9]).unwrap();
    let lines: Vec<String> = network.trace().last().map(|event| format!("{event:?}")).collect();
    assert_eq!(lines[0], "0.000000s link 0 a-to-b 9 bytes cut");
    assert_eq!(lines[1], "0.003000s link 0 a-to-b 9 bytes delivered, arrives 0.004000s");
    assert_eq!(network.trace().last().map(|event| event.fate).collect::<Vec<_>>(), [Fate::Cut, Fate::Delivered]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn one_seed_is_one_history(seed: u64, program in program()) {
        let first = run(seed, &program);
        prop_assert_eq!(first.network.trace().hash(), run(seed, &program).network.trace().hash());
        prop_assert_eq!(first.network.trace().hex().len(), 64);
    }

    #[test]
    fn every_datagram_ends_in_one_counter(seed: u64, program in program()) {
        let outcome = run(seed, &program);
        prop_assert!(outcome.always_conserved, "a counter was missing or twice on the way");
        let mut arrived = 0;
        for direction in [LinkDirection::AToB, LinkDirection::BToA] {
            let end = outcome.network.statistics(outcome.link, direction);
            prop_assert_eq!((end.waiting, end.in_flight), (0, 0));
            arrived += end.delivered;
        }
        prop_assert_eq!(arrived, outcome.arrivals.len() as u64);
        prop_assert!(outcome.largest_queue <= outcome.queue_bound);
    }

    #[test]
    fn nothing_overtakes_unless_asked(seed: u64, mut program in program()) {
        program.shapes_mut().for_each(|shape| { shape.reorder = None; shape.truncate = 0.0; shape.corrupt = 0.0; });
        let outcome = run(seed, &program);
        for direction in [LinkDirection::AToB, LinkDirection::BToA] {
            let numbers: Vec<u32> = outcome.numbers(direction).collect();
            prop_assert!(numbers.is_sorted(), "{:?}", numbers);
        }
    }

    #[test]
    fn no_wire_is_faster_than_its_rate(seed: u64, rate in 10_000_u64..100_000_000, lens in lens()) {
        let (mut network, _) = joined(seed, &LinkShape::delayed(3 * MS).at_rate(rate));
        for (index, len) in lens.iter().enumerate() {
            network.send(ms(index as u64 / 4), a_to_b(), Ecn::NotEct, &vec![0; *len]).unwrap();
        }
        let arrivals = drain(&mut network);
        for from in 0..arrivals.len() {
            let mut bits = 0;
            for arrival in &arrivals[from + 1..] {
                bits += arrival.bytes.len() as u128 * 8;
                let nanos = arrival.at.saturating_since(arrivals[from].at).as_nanos();
                prop_assert!(bits * 1_000_000_000 <= u128::from(rate) * nanos);
            }
        }
    }

    #[test]
    fn a_busy_wire_loses_no_time(rate in 10_000_u64..100_000_000, lens in lens()) {
        let shape = LinkShape { queue: Queue::TailDrop { bytes: u64::MAX }, ..LinkShape::default() };
        let (mut network, _) = joined(1, &shape.at_rate(rate));
        for len in &lens {
            network.send(ms(0), a_to_b(), Ecn::NotEct, &vec![0; *len]).unwrap();
        }
        let last = drain(&mut network).last().map_or(0, |arrival| arrival.at.as_nanos());
        let exact = lens.iter().sum::<usize>() as u64 * 8_000_000_000 / rate;
        prop_assert!(last >= exact && last <= exact + lens.len() as u64, "{} for {}", last, exact);
    }
}

// ---- helpers ----

/// What a test does to one link, in order.
#[derive(Clone, Debug)]
enum Step {
    Send { direction: LinkDirection, len: usize },
    Wait(Duration),
    Set(Box<LinkShape>),
    Cut,
    Restore,
}

#[derive(Clone, Debug)]
struct Program {
    shape: LinkShape,
    steps: Vec<Step>,
}

impl Program {
    fn shapes_mut(&mut self) -> impl Iterator<Item = &mut LinkShape> {
        let later = self.steps.iter_mut().filter_map(|step| match step {
            Step::Set(shape) => Some(&mut **shape),
            _ => None,
        });
        std::iter::once(&mut self.shape).chain(later)
    }
}

struct Outcome {
    network: Network,
    link: LinkId,
    arrivals: Vec<Arrival>,
    always_conserved: bool,
    largest_queue: u64,
    queue_bound: u64,
}

impl Outcome {
    fn numbers(&self, direction: LinkDirection) -> impl Iterator<Item = u32> {
        let arrivals = self.arrivals.iter().filter(move |arrival| arrival.direction == direction);
        arrivals
            .map(|arrival| u32::from_be_bytes([arrival.bytes[0], arrival.bytes[1], arrival.bytes[2], arrival.bytes[3]]))
    }
}

fn shape() -> impl Strategy<Value = LinkShape> {
    let share = || prop_oneof![Just(0.0), 0.0..0.5];
    let rate = prop_oneof![Just(None), (50_000_u64..50_000_000).prop_map(Some)];
    let loss = prop_oneof![
        Just(LossModel::None),
        (0.0..0.6).prop_map(LossModel::Independent),
        (0.01..0.5, 1.0..8.0).prop_map(|(share, burst)| LossModel::bursty(share, burst)),
        proptest::collection::vec(0_u64..50, 0..10).prop_map(LossModel::list),
    ];
    let reorder = prop_oneof![
        Just(None),
        (0.0..1.0, 0_u64..50)
            .prop_map(|(probability, by)| Some(Reorder { probability, by: Duration::from_millis(by) }))
    ];
    let times = (0_u64..200, 0_u64..20);
    (times, rate, 1_500_u64..30_000, loss, (share(), share(), share()), reorder, 500_usize..1_500).prop_map(
        |((delay, jitter), rate_bits_per_sec, bytes, loss, (duplicate, corrupt, truncate), reorder, mtu)| LinkShape {
            delay: Duration::from_millis(delay),
            jitter: Duration::from_millis(jitter),
            rate_bits_per_sec,
            rate_trace: None,
            queue: Queue::TailDrop { bytes },
            loss,
            duplicate,
            corrupt,
            truncate,
            reorder,
            mtu,
            interface_mtu: usize::MAX,
            ecn: EcnTreatment::Mark,
        },
    )
}

fn program() -> impl Strategy<Value = Program> {
    let direction = prop_oneof![Just(LinkDirection::AToB), Just(LinkDirection::BToA)];
    let step = prop_oneof![
        12 => (direction, 4_usize..1_500).prop_map(|(direction, len)| Step::Send { direction, len }),
        4 => (0_u64..30_000).prop_map(|micros| Step::Wait(Duration::from_micros(micros))),
        1 => shape().prop_map(|shape| Step::Set(Box::new(shape))),
        1 => Just(Step::Cut),
        1 => Just(Step::Restore),
    ];
    (shape(), proptest::collection::vec(step, 0..120)).prop_map(|(shape, steps)| Program { shape, steps })
}

fn lens() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1_usize..1_400, 1..60)
}

/// Runs a program on one link; every datagram carries its number in its first four bytes.
fn run(seed: u64, program: &Program) -> Outcome {
    let (network, link) = joined(seed, &program.shape);
    let mut outcome =
        Outcome { network, link, arrivals: Vec::new(), always_conserved: true, largest_queue: 0, queue_bound: 30_000 };
    let mut now = Timestamp::ZERO;
    for (number, step) in (0_u32..).zip(&program.steps) {
        let network = &mut outcome.network;
        match step {
            Step::Send { direction, len } => {
                let mut bytes = vec![0; *len];
                bytes[..4].copy_from_slice(&number.to_be_bytes());
                let four_tuple = if *direction == LinkDirection::AToB { a_to_b() } else { b_to_a() };
                network.send(now, four_tuple, Ecn::Ect0, &bytes).unwrap_or_default();
            }
            Step::Wait(time) => now += *time,
            Step::Set(shape) => network.set(now, link, shape, Directions::Both),
            Step::Cut => network.cut(now, link, Directions::Both),
            Step::Restore => network.restore(now, link, Directions::Both),
        }
        outcome.arrivals.extend(std::iter::from_fn(|| network.pop_arrival(now)));
        for direction in [LinkDirection::AToB, LinkDirection::BToA] {
            outcome.always_conserved &= is_conserved(&network.statistics(link, direction));
            outcome.largest_queue = outcome.largest_queue.max(network.queued_bytes(link, direction));
        }
    }
    let rest = drain(&mut outcome.network);
    outcome.arrivals.extend(rest);
    outcome
}

fn is_conserved(statistics: &LinkStatistics) -> bool {
    let ends = statistics.delivered + statistics.dropped() + statistics.waiting + statistics.in_flight;
    statistics.offered + statistics.duplicated == ends
}

fn joined(seed: u64, shape: &LinkShape) -> (Network, LinkId) {
    let mut network = Network::new(seed);
    let link = network.link(A, B, shape);
    (network, link)
}

/// Everything that still arrives, each at its instant.
fn drain(network: &mut Network) -> Vec<Arrival> {
    std::iter::from_fn(|| network.pop_arrival(END)).collect()
}

fn forth(network: &Network, link: LinkId) -> LinkStatistics {
    network.statistics(link, LinkDirection::AToB)
}

const fn ms(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

fn a_to_b() -> FourTuple {
    FourTuple { local: at(A, 1_000), remote: at(B, 4_433) }
}

fn b_to_a() -> FourTuple {
    FourTuple { local: at(B, 4_433), remote: at(A, 1_000) }
}
