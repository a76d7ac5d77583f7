//! Lines by arithmetic: no socket, no clock.

use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::from_millis(5_000);
const GRID: Duration = Duration::from_millis(1);

#[test]
fn a_line_without_rate_and_delay_releases_at_once() {
    let mut line = line(LineConfig::default());
    let odd = START + Duration::from_nanos(123);
    line.push(odd, flow(0), Ecn::Ect0, b"now");
    let (train, bytes) = line.front(odd).expect("released");
    assert_eq!((train.ecn, train.datagrams, bytes), (Ecn::Ect0, 1, &b"now"[..]));
}

#[test]
fn a_delay_holds_datagrams_back_until_the_grid_after_it() {
    let delay = Duration::from_micros(10_300);
    let mut line = line(LineConfig { delay, ..LineConfig::default() });
    line.push(START, flow(0), Ecn::NotEct, b"later");
    assert!(line.front(START + delay).is_none());
    assert_eq!(line.due(), Some(START + Duration::from_millis(11)));
    assert!(line.front(START + Duration::from_millis(11)).is_some());
}

#[test]
fn a_rate_spreads_a_burst_over_the_grid_in_trains() {
    // 12 Mbit/s carry one datagram of 1500 bytes per millisecond, 3 datagrams of 500 bytes.
    let mut line = line(LineConfig { bits_per_second: Some(12_000_000), ..LineConfig::default() });
    for _ in 0..9 {
        line.push(START, flow(0), Ecn::NotEct, &[0; 500]);
    }
    for millis in 1..=3 {
        let now = START + Duration::from_millis(millis);
        let (train, bytes) = line.front(now).expect("one train a millisecond");
        assert_eq!((train.datagrams, train.datagram_size, bytes.len()), (3, 500, 1_500));
        line.remove(3);
        assert!(line.front(now).is_none());
    }
    assert_eq!(line.due(), None);
}

#[test]
fn a_full_queue_drops_the_newest() {
    let config = LineConfig { bits_per_second: Some(8_000_000), queue_bytes: 3_000, ..LineConfig::default() };
    let mut line = line(config);
    for _ in 0..10 {
        line.push(START, flow(0), Ecn::NotEct, &[0; 1_000]);
    }
    assert_eq!(line.counters.overflowed, 7);
    // A millisecond drains 1000 bytes: room for one more.
    line.push(START + Duration::from_millis(1), flow(0), Ecn::NotEct, &[0; 1_000]);
    line.push(START + Duration::from_millis(1), flow(0), Ecn::NotEct, &[0; 1_000]);
    assert_eq!(line.counters.overflowed, 8);
}

#[test]
fn an_idle_line_takes_a_datagram_larger_than_its_queue() {
    let config = LineConfig { bits_per_second: Some(8_000_000), queue_bytes: 100, ..LineConfig::default() };
    let mut line = line(config);
    line.push(START, flow(0), Ecn::NotEct, &[0; 1_000]);
    assert_eq!(line.counters.overflowed, 0);
}

#[test]
fn trains_end_at_a_short_datagram_another_flow_and_another_mark() {
    let mut line = line(LineConfig::default());
    let pushes: [(usize, Ecn, usize); 8] = [
        (0, Ecn::NotEct, 100),
        (0, Ecn::NotEct, 100),
        (0, Ecn::NotEct, 60),
        (0, Ecn::NotEct, 60),
        (1, Ecn::NotEct, 60),
        (1, Ecn::Ce, 60),
        (1, Ecn::Ce, 0),
        (1, Ecn::Ce, 60),
    ];
    for (number, ecn, len) in pushes {
        line.push(START, flow(number), ecn, &vec![0; len]);
    }
    let mut trains = Vec::new();
    while let Some((train, _)) = line.front(START) {
        trains.push((train.flow.slot(), train.ecn, train.datagrams, train.len));
        line.remove(train.datagrams);
    }
    assert_eq!(trains, [
        (0, Ecn::NotEct, 3, 260),
        (0, Ecn::NotEct, 1, 60),
        (1, Ecn::NotEct, 1, 60),
        (1, Ecn::Ce, 1, 60),
        (1, Ecn::Ce, 1, 0),
        (1, Ecn::Ce, 1, 60),
    ]);
}

#[test]
fn losses_repeat_with_their_seed() {
    let lost = |seed| {
        let mut line = Line::new(LineConfig { loss: 0.2, ..LineConfig::default() }, GRID, seed);
        for _ in 0..1_000 {
            line.push(START, flow(0), Ecn::NotEct, b"x");
        }
        line.counters.lost
    };
    assert_eq!(lost(3), lost(3));
    assert!((150..250).contains(&lost(3)), "{}", lost(3));
}

proptest! {
    #[test]
    fn every_datagram_leaves_once_in_order_unchanged_and_never_early(
        rate in prop::option::of(1_000_000_u64..1_000_000_000),
        delay in 0_u64..50_000,
        sends in prop::collection::vec((0_u64..3_000, 0_usize..2, 0_usize..3_000), 1..300),
        portion in 1_usize..70,
    ) {
        let config = LineConfig {
            bits_per_second: rate,
            delay: Duration::from_micros(delay),
            queue_bytes: u64::MAX,
            loss: 0.0,
            ..LineConfig::default()
        };
        let mut line = line(config);
        let mut now = START;
        let mut expected = VecDeque::new();
        for (number, (pause, flow_number, len)) in sends.into_iter().enumerate() {
            now += Duration::from_micros(pause);
            let datagram = vec![number as u8; len];
            line.push(now, flow(flow_number), Ecn::NotEct, &datagram);
            let mut earliest = now + Duration::from_micros(delay);
            if let Some(rate) = rate {
                earliest += time_for(len, rate);
            }
            expected.push_back((flow_number, datagram, earliest));
            if number % 7 == 0 {
                drain(&mut line, now, portion, &mut expected)?;
            }
        }
        drain(&mut line, Timestamp::FAR_FUTURE, portion, &mut expected)?;
        prop_assert!(expected.is_empty());
        prop_assert_eq!(line.held, 0);
        prop_assert!(line.chunks.is_empty());
    }
}

/// Takes everything that is released, in portions, and compares.
fn drain(
    line: &mut Line,
    now: Timestamp,
    portion: usize,
    expected: &mut VecDeque<(usize, Vec<u8>, Timestamp)>,
) -> Result<(), TestCaseError> {
    while let Some((train, bytes)) = line.front(now) {
        prop_assert!(train.datagrams <= limits::MAX_SEGMENTS && bytes.len() <= limits::MAX_BURST_BYTES);
        let taken = portion.min(train.datagrams);
        for index in 0..taken {
            let (flow_number, datagram, earliest) = expected.pop_front().expect("no datagram is made up");
            let start = index * train.datagram_size;
            let end = (start + train.datagram_size).min(bytes.len());
            prop_assert_eq!(train.flow.slot(), flow_number);
            prop_assert_eq!(&bytes[start..end], &datagram[..]);
            prop_assert!(train.release >= earliest);
        }
        line.remove(taken);
    }
    Ok(())
}

fn line(config: LineConfig) -> Line {
    Line::new(config, GRID, 1)
}

fn flow(slot: usize) -> FlowId {
    FlowId::for_tests(slot)
}
