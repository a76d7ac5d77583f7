//! Memory and those who wait for it, when somebody wants all of it (attacks H9, H10, H12; mux R1 to R24).

use std::collections::BTreeSet;

use qbase::{Direction::{Bidirectional, Unidirectional}, StreamId, Timestamp};
use qconnection::{ConnectionHandle, EndpointConfig, stream::ReadError};
use qsim::{Failure, LinkShape, Pair, PairConfig, Queue};

use crate::{common, memory::House};
use common::{delay, ends::failure, ms, secs};

/// The smallest pool there is: three buffers.
const SMALLEST: usize = 3 * 16 * 1_024;

/// The only guests of a house.
fn guests<const N: usize>(house: &House) -> Result<[ConnectionHandle; N], Failure> {
    house.guests.clone().try_into().map_err(|_| failure("guests"))
}

/// attacks H9. mux R10, R11; reverse V22: no buffer for what is received (credit is all that was reserved, and it is used up), none at the
/// gate (nobody takes what is held), none for what is written. Both ways stand still, the packet layer goes on, and when buffers
/// come free everything does, to the last byte.
#[test]
fn attack_h9_without_a_free_buffer_every_point_waits_and_nothing_is_lost() -> Result<(), Failure> {
    let smallest = || EndpointConfig { pool_bytes: SMALLEST, ..EndpointConfig::default() };
    let mut house = House::with(2, smallest(), smallest(), Some(5))?;
    let [first, second] = guests(&house)?;
    for guest in [first, second] {
        let client = house.client_of(guest)?;
        house.clients.connection_mut(client).ok_or_else(|| failure("gone"))?.reverse().map_err(failure)?;
        house.server.connection_mut(guest).ok_or_else(|| failure("gone"))?.reverse().map_err(failure)?;
    }
    let [asked, other] = [house.open(first, Bidirectional)?, house.open(second, Bidirectional)?];
    let mut written = 0;
    loop {
        let taken = house.write(first, asked, 1 << 20)?;
        written += taken;
        house.step(ms(50));
        if taken == 0 {
            break;
        }
    }
    // Written and not sent: all the memory of one end. Held at the gate: all the credit of the other.
    let client = house.client_of(first)?;
    let held = |house: &House| house.clients.connection(client).map(|connection| connection.stream_facts().statistics()).map(|facts| (facts.at_gate, facts.held));
    let (at_gate, bytes) = held(&house).ok_or_else(|| failure("gone"))?;
    assert_eq!((at_gate, house.server.statistics().pool_bytes_used), (1, SMALLEST as u64));
    assert_eq!(written, SMALLEST as u64 + bytes);
    assert!(bytes > 0 && house.clients.statistics().pool_bytes_used <= SMALLEST as u64);
    assert_eq!(house.write(second, other, 1_000)?, 0, "no memory for anybody");
    house.step(ms(1));
    assert_eq!(house.server.statistics().waiting_for_memory, 2);
    house.writable.clear();
    for _ in 0..50 {
        for guest in [first, second] {
            house.server.connection_mut(guest).ok_or_else(|| failure("gone"))?.ping();
        }
        house.step(ms(100));
    }
    assert!(house.ended.is_empty() && house.writable.is_empty(), "{:?} {:?}", house.ended, house.writable);
    assert_eq!(held(&house), Some((1, bytes)));
    // Somebody takes what is at the gate.
    house.clients.connection_mut(client).ok_or_else(|| failure("gone"))?.open_gate();
    let mut read = 0;
    let mut buffer = vec![0; 4_096];
    while read < written {
        let connection = house.clients.connection_mut(client).ok_or_else(|| failure("gone"))?;
        match connection.read(asked, &mut buffer) {
            Ok(len) => {
                assert!(buffer.iter().take(len).all(|byte| *byte == 7));
                read += len as u64;
            }
            Err(ReadError::Blocked) => {
                house.step(ms(5));
            }
            Err(error) => return Err(failure(error)),
        }
        assert!(house.now < Timestamp::from_millis(60_000), "{read} of {written} bytes");
        assert!(house.server.statistics().pool_bytes_used <= SMALLEST as u64 && house.clients.statistics().pool_bytes_used <= SMALLEST as u64);
    }
    house.settle();
    let told: BTreeSet<_> = house.writable.iter().copied().collect();
    assert_eq!(told, BTreeSet::from([(first, asked), (second, other)]), "both were told");
    assert_eq!(house.write(second, other, 1_000)?, 1_000);
    house.settle();
    let last = house.client_of(second)?;
    let connection = house.clients.connection_mut(last).ok_or_else(|| failure("gone"))?;
    connection.open_gate();
    assert_eq!(connection.read(other, &mut buffer), Ok(1_000));
    // A block that was offered and not used goes back after a second.
    house.step(ms(1_500));
    for endpoint in [&house.server, &house.clients] {
        assert_eq!((endpoint.statistics().pool_bytes_used, endpoint.statistics().waiting_for_memory), (0, 0));
    }
    Ok(())
}

/// attacks H10. mux R3, R4: those who asked first are served first, each once; those who close leave the line, and nothing is
/// kept for them.
#[test]
fn attack_h10_a_thousand_waiters_are_served_in_turn_and_those_who_close_leave_the_line() -> Result<(), Failure> {
    let mut house = House::new(SMALLEST, 1_000)?;
    let hog = *house.guests.first().ok_or_else(|| failure("no guests"))?;
    house.starve(hog)?;
    let mut line: Vec<(ConnectionHandle, StreamId)> = Vec::new();
    for guest in house.guests.clone().into_iter().skip(1) {
        let stream = house.open(guest, Unidirectional)?;
        assert_eq!(house.write(guest, stream, 1_000)?, 0);
        assert_eq!(house.write(guest, stream, 1_000)?, 0, "asking twice is asking once");
        house.exchange();
        line.push((guest, stream));
    }
    assert_eq!(house.server.statistics().waiting_for_memory, 1_000, "the hog would take more, too");
    let mut places = 0..;
    line.retain(|(guest, _)| {
        let leaves = places.next().is_some_and(|place| place % 3 == 1);
        if leaves {
            house.close(*guest);
        }
        !leaves
    });
    house.step(ms(1));
    assert_eq!(house.server.statistics().waiting_for_memory, line.len() as u64 + 1);
    assert_eq!(house.writable, []);
    house.close(hog);
    let mut served = Vec::new();
    while served.len() < line.len() {
        house.step(ms(1));
        for (guest, stream) in std::mem::take(&mut house.writable) {
            served.push((guest, stream));
            assert_eq!(house.write(guest, stream, 1_000)?, 1_000, "what was told is there");
        }
        assert!(house.server.statistics().pool_bytes_used <= SMALLEST as u64);
        assert!(house.now < Timestamp::from_millis(60_000), "{} of {} were served", served.len(), line.len());
    }
    assert!(served == line, "first come, first served, each once");
    house.settle();
    let left = house.server.statistics();
    assert_eq!((left.pool_bytes_used, left.waiting_for_memory), (0, 0));
    assert_eq!(house.writable, []);
    Ok(())
}

/// attacks H12. mux R24: of a hundred streams one is not read. It holds no more than its own window, and the others do not notice.
#[test]
fn attack_h12_one_slow_reader_among_a_hundred_streams_slows_nobody_else() -> Result<(), Failure> {
    let slow = StreamId::new(qbase::Role::Server, Unidirectional, 42);
    let run = |unread: &[StreamId]| -> Result<u64, Failure> {
        let shape = LinkShape { queue: Queue::TailDrop { bytes: 500_000 }, ..delay(10) }.at_rate(100_000_000);
        let mut pair = Pair::new(PairConfig::new(1, vec![shape]))?;
        pair.run_until_confirmed(secs(1))?;
        for stream in unread {
            pair.client_mut().traffic_mut().leave_unread(*stream);
        }
        for _ in 0..100 {
            pair.server_mut().traffic_mut().send(Unidirectional, 10_000_000);
        }
        pair.run_for(secs(1))?;
        let others = |pair: &Pair| pair.client().traffic().all_incoming().filter(|(stream, _)| *stream != slow).map(|(_, incoming)| incoming.received).sum::<u64>();
        let before = others(&pair);
        pair.run_for(secs(2))?;
        let connection = pair.client().connection().ok_or_else(|| failure("no connection"))?;
        let window = qconnection::TransportConfig::default().stream_window;
        assert!(connection.stream_facts().statistics().held <= 2 * window, "{:?}", connection.stream_facts().statistics());
        Ok(others(&pair) - before)
    };
    let (all, without) = (run(&[])?, run(&[slow])?);
    assert!(all * 8 > 2 * 90_000_000, "{all} bytes in two seconds: the link is the bound");
    assert!(without * 100 >= all * 95, "{without} bytes against {all}");
    Ok(())
}
