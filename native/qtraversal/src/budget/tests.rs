//! Volumes and leases at their limits and one past them.

use super::*;

const START: Timestamp = Timestamp::from_millis(5_000);

fn budget(search: PortSearch) -> ProbeBudget {
    ProbeBudget::new(BudgetOptions::new(search))
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([9, 9, 9, 9], port))
}

fn after(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

/// traversal T-97, V12; attacks L22: the most within any 60 s.
#[test]
fn one_address_gets_its_volume_and_nothing_more_until_the_window_has_passed() {
    for (search, volume) in [(PortSearch::Off, 80), (PortSearch::Allowed, 1_000)] {
        let mut budget = budget(search);
        let sent = |budget: &mut ProbeBudget, now| (0..2_000).filter(|_| budget.spend(at(5_000), now).is_ok()).count();
        assert_eq!(sent(&mut budget, START), volume);
        assert_eq!(budget.spend(at(5_000), after(59)), Err(Denied::Volume));
        assert_eq!(budget.spend_answer(at(6_000), after(60)), Err(Denied::Volume), "answers count, too");
        assert_eq!(budget.spend(SocketAddr::from(([9, 9, 9, 8], 5_000)), START), Ok(()), "another address");
        assert_eq!(sent(&mut budget, after(62)), volume);
        assert_eq!(budget.spent(at(0).ip(), after(62)), volume);
    }
}

/// traversal T-97: no 60 s see more than the volume, however the sends are spread.
#[test]
fn no_window_sees_more_than_the_volume() {
    let mut budget = budget(PortSearch::Allowed);
    let mut sent: Vec<u64> = Vec::new();
    for step in 0..40_000_u64 {
        let ms = step * 7;
        if budget.spend(at(5_000), START + Duration::from_millis(ms)).is_ok() {
            sent.push(ms);
        }
    }
    assert!(sent.windows(1_001).all(|run| run[1_000] - run[0] >= 60_000));
    assert!(sent.len() >= 4_000, "{}", sent.len());
}

/// attacks G3.
#[test]
fn attack_g3_only_two_ports_of_one_host_are_tried_unless_searches_are_allowed() {
    let tried = |search| {
        let mut budget = budget(search);
        (0..300).filter(|port| budget.spend(at(2_000 + port), START).is_ok()).count()
    };
    assert_eq!(tried(PortSearch::Off), 2);
    assert_eq!(tried(PortSearch::Allowed), 300);
    let mut budget = budget(PortSearch::Off);
    assert_eq!([1, 2, 3, 1, 2].map(|port| budget.spend(at(port), START).is_ok()), [true, true, false, true, true]);
    assert_eq!(budget.spend(at(3), after(61)), Ok(()));
    assert_eq!(budget.spend_answer(at(4), after(61)), Ok(()), "an answer tries no port");
}

/// attacks R2.
#[test]
fn no_more_addresses_are_counted_than_there_is_room_for() {
    let mut budget = budget(PortSearch::Off);
    let host = |number: u32| SocketAddr::new(IpAddr::from(std::net::Ipv4Addr::from_bits(0x0900_0000 + number)), 5_000);
    let room = u32::try_from(limits::PROBED_ADDRESSES).expect("small");
    assert!((0..room).all(|number| budget.spend(host(number), START).is_ok()));
    assert_eq!(budget.spend(host(room), START), Err(Denied::Addresses));
    assert_eq!(budget.spend(host(0), START), Ok(()), "known");
    assert_eq!(budget.spend(host(room), after(62)), Ok(()), "the others are forgotten");
    assert_eq!(budget.denied(), 1);
}

#[test]
fn a_budget_may_only_be_lowered() {
    let options = BudgetOptions::new(PortSearch::Off);
    assert_eq!(options.with_probes_per_address(10).probes_per_address, 10);
    assert_eq!(options.with_probes_per_address(1_000).probes_per_address, 80);
}

fn need(device: u32, sockets: usize, ports: usize) -> Need {
    Need { device, is_ipv4: true, sockets, ports }
}

/// traversal T-94.
#[test]
fn leases_are_bounded_per_device_and_in_all() {
    let mut budget = budget(PortSearch::Allowed);
    let mut given = |need: Need| {
        let ticket = budget.ask(need).expect("queued");
        let given = budget.grant(ticket, START);
        if !given {
            budget.give_back(ticket, START);
        }
        given
    };
    assert!(given(need(1, 300, 1_000)));
    assert!(!given(need(1, 1, 0)), "sockets of the device");
    assert!(!given(need(1, 0, 1)), "ports of the device");
    assert!(given(Need { is_ipv4: false, ..need(1, 300, 1_000) }), "the other family");
    assert!(!given(need(2, 1, 0)), "600 sockets in all");
    assert!(!given(need(2, 0, 1)), "2000 ports in all");
    assert_eq!(budget.ask(need(3, 301, 0)), Err(Denied::Leases), "never to be had");
    assert_eq!(budget.ask(need(3, 0, 1_001)), Err(Denied::Leases));
}

/// traversal T-94.
#[test]
fn released_ports_stay_charged_for_a_minute_and_sockets_do_not() {
    let mut budget = budget(PortSearch::Allowed);
    let first = budget.ask(need(1, 300, 800)).expect("queued");
    assert!(budget.grant(first, START) && budget.grant(first, START), "it keeps it");
    budget.give_back(first, after(10));
    let sockets = budget.ask(need(1, 300, 200)).expect("queued");
    assert!(budget.grant(sockets, after(10)));
    budget.give_back(sockets, after(10));
    let ports = budget.ask(need(1, 0, 800)).expect("queued");
    assert!(!budget.grant(ports, after(69)));
    assert!(budget.grant(ports, after(70)));
    budget.give_back(ports, after(70));
    assert_eq!(budget.leases(), (1, 0));
    budget.give_back(ports, after(200));
    assert_eq!(budget.leases(), (0, 0), "nothing is left");
}

/// traversal T-94.
#[test]
fn who_waits_is_served_in_the_order_of_asking() {
    let mut budget = budget(PortSearch::Allowed);
    let running = budget.ask(need(1, 300, 0)).expect("queued");
    assert!(budget.grant(running, START));
    let [second, third] = [need(1, 300, 0), need(2, 1, 1)].map(|need| budget.ask(need).expect("queued"));
    assert!(!budget.grant(third, START), "it would fit, but is not first");
    assert!(!budget.grant(second, START));
    budget.give_back(running, START);
    assert!(!budget.grant(third, START));
    assert!(budget.grant(second, START));
    assert!(budget.grant(third, START));
    let waiting: Vec<_> = (0..limits::SEARCHES_WAITING).map(|_| budget.ask(need(1, 300, 0)).expect("queued")).collect();
    assert_eq!(budget.ask(need(1, 300, 0)), Err(Denied::Leases));
    waiting.into_iter().for_each(|ticket| budget.give_back(ticket, START));
    assert_eq!(budget.leases(), (3, 0), "the first is given back and still charged");
}
