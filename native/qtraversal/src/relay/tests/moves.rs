//! Clients of a relay that move: found by the names they had, and by nobody else's (traversal T-36, attacks G11).

use super::*;

const MOVED: &str = "8.3.3.3:50002";

/// What became of a datagram for the address.
fn sent_to(relay: &mut Relay, now: Timestamp, outer: &str) -> Route {
    route(relay, now, "8.9.9.9:1000", &datagram("8.9.9.9:1000", &behind(R1, outer), b"quic"))
}

fn move_to(relay: &mut Relay, old: &str, new: &str, now: Timestamp) {
    relay.registrations_mut().move_to(address(old), address(new), None, now).unwrap();
    relay.registrations_mut().on_keep_alive(address(new), now).unwrap();
}

/// traversal T-36.
#[test]
fn a_client_that_moved_is_reached_by_its_old_address_as_long_as_it_is_registered() {
    let mut relay = relay(R1, &[BOB]);
    move_to(&mut relay, BOB, MOVED, at(1));
    assert_eq!(relay.registrations().len(), 1);
    for known_as in [BOB, MOVED] {
        assert_eq!(sent_to(&mut relay, at(2), known_as), Route::Send(address(MOVED)), "{known_as}");
    }
    // Again: all that it was leads to where it is.
    move_to(&mut relay, MOVED, "8.3.3.3:50003", at(3));
    for known_as in [BOB, MOVED, "8.3.3.3:50003"] {
        assert_eq!(sent_to(&mut relay, at(3), known_as), Route::Send(address("8.3.3.3:50003")), "{known_as}");
    }
    // Back to where it began.
    move_to(&mut relay, "8.3.3.3:50003", BOB, at(4));
    for known_as in [BOB, MOVED, "8.3.3.3:50003"] {
        assert_eq!(sent_to(&mut relay, at(4), known_as), Route::Send(address(BOB)), "{known_as}");
    }
    assert_eq!(relay.registrations().former_names(), 2);
    assert_eq!(sent_to(&mut relay, at(65), MOVED), Route::Drop(Dropped::Silent));
    relay.registrations_mut().remove(address(BOB));
    assert_eq!(relay.registrations().former_names(), 0);
    assert_eq!(sent_to(&mut relay, at(65), MOVED), Route::Drop(Dropped::NotRegistered));
}

/// traversal T-31, T-34, T-36: its peers see no change.
#[test]
fn a_client_that_moved_to_another_ip_sends_under_its_old_address() {
    let mut relay = relay(R1, &[ALICE, BOB]);
    let to_alice = datagram(&behind(R1, BOB), &behind(R1, ALICE), b"quic");
    let out = datagram(&behind(R1, BOB), "8.7.7.7:4433", b"quic");
    assert_eq!(route(&mut relay, at(1), MOVED, &to_alice), Route::Drop(Dropped::Loop), "nobody knows it yet");
    assert_eq!(route(&mut relay, at(1), MOVED, &out), Route::Drop(Dropped::Spoofed));
    move_to(&mut relay, BOB, MOVED, at(1));
    assert_eq!(route(&mut relay, at(1), MOVED, &to_alice), Route::Send(address(ALICE)));
    assert_eq!(route(&mut relay, at(1), MOVED, &out), Route::Send(address("8.7.7.7:4433")));
    assert_eq!(route(&mut relay, at(1), BOB, &out), Route::Drop(Dropped::Spoofed), "who has its old address is not it");
    let to_itself = datagram(&behind(R1, MOVED), &behind(R1, BOB), b"quic");
    assert_eq!(route(&mut relay, at(1), MOVED, &to_itself), Route::Drop(Dropped::Loop));
}

/// traversal T-36, attacks G11.
#[test]
fn attack_g11_an_address_that_another_client_has_leads_to_nobody_else() {
    let mut relay = relay(R1, &[BOB]);
    move_to(&mut relay, BOB, MOVED, at(1));
    // The NAT gives the old address to another: it registers itself.
    relay.registrations_mut().register(address(BOB), None, at(2)).unwrap();
    relay.registrations_mut().on_keep_alive(address(BOB), at(2)).unwrap();
    assert_eq!(sent_to(&mut relay, at(2), BOB), Route::Send(address(BOB)));
    move_to(&mut relay, MOVED, "8.3.3.3:50003", at(3));
    assert_eq!(sent_to(&mut relay, at(3), BOB), Route::Send(address(BOB)), "the first does not take it along");
    assert_eq!(sent_to(&mut relay, at(3), MOVED), Route::Send(address("8.3.3.3:50003")));
    // A claim to a former name of another's changes nothing of it.
    move_to(&mut relay, MOVED, ALICE, at(4));
    assert_eq!(sent_to(&mut relay, at(4), MOVED), Route::Send(address("8.3.3.3:50003")));
    assert_eq!(sent_to(&mut relay, at(4), ALICE), Route::Send(address(ALICE)));
    // Nor does a client that comes where another was have the other's names.
    move_to(&mut relay, ALICE, "8.3.3.3:50003", at(5));
    assert_eq!(sent_to(&mut relay, at(5), MOVED), Route::Drop(Dropped::NotRegistered));
    assert_eq!(sent_to(&mut relay, at(5), ALICE), Route::Send(address("8.3.3.3:50003")));
}

/// attacks R2, G11: at the bound, and past it.
#[test]
fn attack_g11_a_client_that_moves_without_end_has_few_former_names() {
    let mut relay = relay(R1, &[]);
    let name = |port: usize| format!("8.2.2.2:{}", 2_000 + port);
    relay.registrations_mut().register(address(&name(0)), None, at(0)).unwrap();
    for port in 1..100 {
        move_to(&mut relay, &name(port - 1), &name(port), at(0));
        assert_eq!(relay.registrations().former_names(), port.min(limits::RELAY_FORMER_NAMES));
        assert_eq!(relay.registrations().len(), 1);
    }
    assert_eq!(sent_to(&mut relay, at(0), &name(99 - limits::RELAY_FORMER_NAMES)), Route::Send(address(&name(99))));
    assert_eq!(sent_to(&mut relay, at(0), &name(98 - limits::RELAY_FORMER_NAMES)), Route::Drop(Dropped::NotRegistered));
    relay.registrations_mut().clean(at(100));
    assert_eq!((relay.registrations().len(), relay.registrations().former_names()), (0, 0));
}

/// attacks R2.
#[test]
fn a_full_table_still_lets_its_clients_move() {
    let mut registrations = Registrations::new(Admission::Authenticated);
    let name = |number: usize| SocketAddr::from(([8, 4, (number >> 8) as u8, number as u8], 5));
    for number in 0..limits::RELAY_REGISTRATIONS {
        registrations.register(name(number), None, at(0)).unwrap();
    }
    assert_eq!(registrations.move_to(address(ALICE), address(BOB), None, at(0)), Err(Full));
    assert_eq!(registrations.move_to(name(0), address(BOB), None, at(0)), Ok(()));
    assert_eq!((registrations.len(), registrations.current(name(0))), (limits::RELAY_REGISTRATIONS, address(BOB)));
}
