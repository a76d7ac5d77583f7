//! Credit both ways: limits, updates, windows that grow.

use super::*;
use proptest::prelude::*;

#[test]
fn credit_is_granted_up_to_the_limit_and_no_further() {
    let mut credit = SendCredit::new(100);
    assert_eq!((credit.charge(60), credit.charge(60), credit.charge(60)), (60, 40, 0));
    assert!(credit.on_limit(150));
    assert_eq!(credit.charge(60), 50);
}

#[test]
fn attack_c13_smaller_or_equal_limits_are_ignored() {
    let mut credit = SendCredit::new(100);
    assert!(!credit.on_limit(100));
    assert!(!credit.on_limit(7));
    assert_eq!(credit.available(), 100);
}

#[test]
fn mux_r23_being_blocked_is_told_once_per_limit() {
    let mut credit = SendCredit::new(10);
    credit.charge(10);
    credit.on_blocked();
    assert_eq!(credit.blocked_frame(), Some(10));
    credit.on_blocked_frame_sent();
    credit.on_blocked();
    assert_eq!(credit.blocked_frame(), None);
    credit.on_blocked_frame_lost(10);
    assert_eq!(credit.blocked_frame(), Some(10));
    credit.on_limit(20);
    assert_eq!(credit.blocked_frame(), None);
    credit.charge(10);
    credit.on_blocked();
    assert_eq!(credit.blocked_frame(), Some(20));
    credit.on_blocked_frame_sent();
    credit.on_blocked_frame_lost(10);
    assert_eq!(credit.blocked_frame(), None, "a lost frame about an old limit is no news");
}

#[test]
fn attack_d5_one_byte_above_the_limit_is_a_flow_control_error() {
    let mut window = ReceiveWindow::new(100);
    assert_eq!(window.on_received(100), Ok(()));
    assert_eq!(window.on_received(1).unwrap_err().code, ErrorCode::FLOW_CONTROL_ERROR);
    assert_eq!(window.on_received(u64::MAX).unwrap_err().code, ErrorCode::FLOW_CONTROL_ERROR);
    assert_eq!(window.received(), 100);
}

#[test]
fn mux_r21_the_limit_rises_when_a_quarter_of_a_window_was_taken() {
    let mut window = ReceiveWindow::new(100);
    window.on_received(100).unwrap();
    assert_eq!(window.update(), None, "received is not taken");
    window.on_taken(24);
    assert_eq!(window.update(), None);
    window.on_taken(1);
    assert_eq!(window.update(), Some(125));
    window.on_update_sent(125);
    assert_eq!(window.update(), None);
    assert_eq!(window.held(), 75);
}

#[test]
fn a_lost_update_is_repeated_with_the_newest_limit_unless_a_newer_one_went_out() {
    let mut window = ReceiveWindow::new(100);
    window.on_received(100).unwrap();
    window.on_taken(50);
    window.on_update_sent(150);
    window.on_taken(10);
    window.on_update_lost(150);
    assert_eq!(window.update(), Some(160));
    window.on_update_sent(160);
    window.on_update_lost(150);
    assert_eq!(window.update(), None);
}

/// A window of 1 MiB; `take` bytes are taken every `every` microseconds, each time an update is written.
fn tuned(take: u64, every: u64, round_trip: u64, held: u64) -> u64 {
    let mut window = ReceiveWindow::new(1 << 20);
    let mut now = Timestamp::ZERO;
    let mut wanted = window.window();
    for _ in 0..3 {
        let _ = window.on_received(take + if window.received() == 0 { held } else { 0 });
        window.on_taken(take);
        window.on_update_sent(window.taken + (1 << 20));
        wanted = window.tune(Tempo { now, round_trip: Duration::from_millis(round_trip), several_paths: false });
        now += Duration::from_micros(every);
    }
    wanted
}

#[test]
fn a_window_that_is_taken_in_less_than_two_round_trips_should_double() {
    const QUARTER: u64 = 1 << 18;
    assert_eq!(tuned(QUARTER, 19_999, 40, 0), 2 << 20, "a window in just under 80 ms");
    assert_eq!(tuned(QUARTER, 20_000, 40, 0), 1 << 20);
    assert_eq!(tuned(2 * QUARTER, 39_999, 40, 0), 2 << 20, "however much one update is for");
    assert_eq!(tuned(QUARTER, 19_999, 40, 600_000), 1 << 20, "the application does not keep up");
    assert_eq!(tuned(QUARTER, 374, 0, 0), 2 << 20, "no round trip counts less than 750 microseconds");
    assert_eq!(tuned(QUARTER, 375, 0, 0), 1 << 20);
}

/// attacks F19.
#[test]
fn a_window_used_up_behind_a_hole_should_double_where_several_paths_make_holes() {
    const WINDOW: u64 = 4 << 20;
    for (several_paths, left, expected) in [(true, WINDOW / 4 - 1, 2 * WINDOW), (false, 1, WINDOW), (true, WINDOW / 4, WINDOW)] {
        let mut window = ReceiveWindow::new(WINDOW);
        window.on_received(WINDOW - left).unwrap();
        window.note_hole();
        window.on_taken(WINDOW - left);
        let tempo = Tempo { now: Timestamp::ZERO, round_trip: Duration::ZERO, several_paths };
        assert_eq!((window.tune(tempo), window.tune(tempo)), (expected, WINDOW), "{left} bytes left");
    }
}

/// attacks F19.
#[test]
fn over_several_paths_a_window_that_is_read_becomes_two_mebibytes_at_least() {
    for (several_paths, taken, expected) in [(true, 60_000, 2 << 20), (true, 10_000, 100_000), (false, 60_000, 100_000)] {
        let mut window = ReceiveWindow::new(100_000);
        window.on_received(80_000).unwrap();
        window.on_taken(taken);
        let tempo = Tempo { now: Timestamp::ZERO, round_trip: Duration::ZERO, several_paths };
        assert_eq!(window.tune(tempo), expected, "{taken} bytes taken");
    }
}

#[test]
fn the_first_update_measures_nothing() {
    let mut window = ReceiveWindow::new(100);
    window.on_received(100).unwrap();
    window.on_taken(100);
    assert_eq!(window.tune(Tempo { now: Timestamp::from_millis(5), round_trip: Duration::from_secs(9), several_paths: false }), 100);
}

#[test]
fn a_smaller_window_never_takes_a_limit_back() {
    let mut window = ReceiveWindow::new(100);
    window.set_window(10);
    window.on_received(50).unwrap();
    window.on_taken(50);
    assert_eq!((window.update(), window.limit()), (None, 100));
    window.on_received(50).unwrap();
    window.on_taken(50);
    assert_eq!(window.update(), Some(110));
}

proptest! {
    #[test]
    fn mux_r21_updates_are_at_least_a_quarter_of_a_window_apart_and_the_peer_never_starves(
        window in 1u64..10_000, reads in proptest::collection::vec(1u64..500, 1..300),
    ) {
        let mut flow = ReceiveWindow::new(window);
        let (mut updates, mut taken) = (0, 0);
        for read in reads {
            let room = flow.limit() - flow.received();
            prop_assert!(room > 0 || flow.held() > 0, "nothing to take and nothing allowed");
            flow.on_received(room).unwrap();
            let read = read.min(flow.held());
            flow.on_taken(read);
            taken += read;
            if let Some(limit) = flow.update() {
                prop_assert!(limit <= taken + window);
                flow.on_update_sent(limit);
                updates += 1;
            }
        }
        prop_assert!(updates <= taken / window.div_ceil(4), "{} updates for {} bytes", updates, taken);
    }
}

/// attacks F19.
#[test]
fn over_several_paths_a_hole_in_a_window_in_use_widens_it_at_once() {
    let mut window = ReceiveWindow::new(100_000);
    window.on_received(24_999).unwrap();
    assert_eq!(window.behind_hole(), None, "hardly used");
    window.on_received(1).unwrap();
    assert_eq!(window.behind_hole(), Some(2 << 20));
    window.set_window(2 << 20);
    assert_eq!(window.behind_hole(), Some(4 << 20), "nothing of the wider window was told yet");
    window.on_update_sent(2 << 20);
    assert_eq!(window.behind_hole(), None);
    window.on_received((3 << 19) - 25_000).unwrap();
    assert_eq!(window.behind_hole(), None);
    window.on_received(1).unwrap();
    assert_eq!(window.behind_hole(), Some(4 << 20), "three quarters are used up");
}
