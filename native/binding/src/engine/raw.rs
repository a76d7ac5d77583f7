//! Datagrams that are no QUIC (STUN, punches), between JavaScript and the sockets: one record or command each.
//!
//! Decides what becomes of them when nobody takes them: while nobody listens they are dropped and counted (`notQuic`);
//! while JavaScript is slow [`limits::RAW_DATAGRAMS`] of them wait, then the oldest go and are counted with the events that
//! were lost (attacks L26). The driver gives 256 a turn at most. Called once per turn, and by the commands. Never answers one.

use std::collections::VecDeque;

use qbase::{FourTuple, Timestamp, limits};
use qdriver::{Io, drive::RawTransmit};
use qevent::{DropCounters, DropReason};

use super::{Engine, dial::any_address, outbox::Outbox};
use crate::{messages::orders::Listener, queue::commands::RawCommand};

/// Datagrams that are no QUIC, on their way to JavaScript.
#[derive(Debug, Default)]
pub struct RawQueue {
    /// Who hears of them.
    pub listener: Listener,
    /// Those that came.
    pub received: u64,
    /// Those that a socket took.
    pub sent: u64,
    /// Those that nobody wanted to hear of.
    pub drops: DropCounters,
    waiting: VecDeque<Waiting>,
    /// Bytes of those that wait.
    bytes: usize,
    /// Those the driver had no room for, as of the last turn.
    overflown: u64,
}

#[derive(Debug)]
struct Waiting {
    at: Timestamp,
    four_tuple: FourTuple,
    bytes: Box<[u8]>,
}

/// Whether JavaScript takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Ready,
    Behind,
}

impl RawQueue {
    /// One has come. Answers how many were lost over it.
    fn take(&mut self, at: Timestamp, four_tuple: FourTuple, bytes: &[u8], reader: Reader, out: &mut Outbox) -> u64 {
        self.received = self.received.saturating_add(1);
        if self.listener == Listener::Nobody {
            self.drops.count(DropReason::NotQuic);
            return 0;
        }
        if reader == Reader::Ready && self.waiting.is_empty() {
            out.raw(at, four_tuple, bytes);
            return 0;
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.waiting.push_back(Waiting { at, four_tuple, bytes: bytes.into() });
        let mut lost = 0;
        while self.waiting.len() > limits::RAW_DATAGRAMS || self.bytes > limits::RAW_BYTES {
            self.pop();
            lost += 1;
        }
        lost
    }

    fn pop(&mut self) -> Option<Waiting> {
        let oldest = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(oldest.bytes.len());
        Some(oldest)
    }

    /// Those the driver had no room for since this was asked last. Answers how many of them somebody wanted.
    fn look_at_overflow(&mut self, total: u64) -> u64 {
        let more = total.saturating_sub(self.overflown);
        self.overflown = total;
        self.received = self.received.saturating_add(more);
        if self.listener == Listener::Subscriber {
            return more;
        }
        for _ in 0..more {
            self.drops.count(DropReason::NotQuic);
        }
        0
    }
}

impl Engine {
    /// Hands over what came in this turn, and what waits, as far as JavaScript keeps up.
    pub(super) fn tell_raw(&mut self, io: &Io<'_>) {
        if self.raw.listener == Listener::Nobody {
            self.raw.waiting.clear();
            self.raw.bytes = 0;
        }
        while !self.raw.waiting.is_empty() && !self.is_full() {
            let Some(oldest) = self.raw.pop() else { break };
            self.out.raw(oldest.at, oldest.four_tuple, &oldest.bytes);
        }
        for datagram in io.raw() {
            let reader = if self.is_full() { Reader::Behind } else { Reader::Ready };
            let lost = self.raw.take(datagram.at, datagram.four_tuple, datagram.bytes, reader, &mut self.out);
            self.out.lost = self.out.lost.saturating_add(lost);
        }
        let lost = self.raw.look_at_overflow(io.statistics().raw_dropped);
        self.out.lost = self.out.lost.saturating_add(lost);
    }

    /// Sends one, at once or not at all: whoever sends datagrams expects that some do not arrive.
    pub(super) fn send_raw(&mut self, io: &mut Io<'_>, command: &RawCommand) {
        let local = command.local.unwrap_or_else(|| any_address(command.remote));
        let transmit = RawTransmit { local, remote: command.remote, hop_limit: command.ttl, bytes: &command.data };
        if io.send_raw(&transmit).is_ok() {
            self.raw.sent = self.raw.sent.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::records::channel;

    fn four_tuple() -> FourTuple {
        let address = |text: &str| text.parse().expect("address");
        FourTuple { local: address("127.0.0.1:1"), remote: address("127.0.0.1:2") }
    }

    fn queue(listener: Listener) -> RawQueue {
        RawQueue { listener, ..RawQueue::default() }
    }

    #[test]
    fn what_nobody_listens_to_is_dropped_and_counted() {
        let mut out = Outbox::new(channel().0);
        let mut raw = queue(Listener::Nobody);
        assert_eq!(raw.take(Timestamp::ZERO, four_tuple(), b"stun", Reader::Ready, &mut out), 0);
        assert_eq!(raw.look_at_overflow(3), 0);
        assert_eq!((raw.received, raw.drops.get(DropReason::NotQuic), raw.waiting.len()), (4, 4, 0));
        assert!(!out.records.is_waiting());
    }

    /// attacks L26.
    #[test]
    fn attack_l26_a_slow_reader_keeps_the_newest_1024_raw_datagrams_and_a_mebibyte() {
        let mut out = Outbox::new(channel().0);
        let mut raw = queue(Listener::Subscriber);
        let mut lost = 0;
        for _ in 0..limits::RAW_DATAGRAMS {
            lost += raw.take(Timestamp::ZERO, four_tuple(), b"old", Reader::Behind, &mut out);
        }
        assert_eq!((lost, raw.waiting.len()), (0, limits::RAW_DATAGRAMS));
        lost += raw.take(Timestamp::ZERO, four_tuple(), b"newest", Reader::Behind, &mut out);
        assert_eq!((lost, raw.waiting.len()), (1, limits::RAW_DATAGRAMS));
        assert_eq!(raw.waiting.back().map(|last| &last.bytes[..]), Some(&b"newest"[..]));
        let large = vec![7; limits::RAW_BYTES];
        lost += raw.take(Timestamp::ZERO, four_tuple(), &large, Reader::Behind, &mut out);
        assert_eq!((lost, raw.waiting.len(), raw.bytes), (1 + limits::RAW_DATAGRAMS as u64, 1, limits::RAW_BYTES));
        assert!(!out.records.is_waiting());
    }

    #[test]
    fn what_comes_while_others_wait_stays_behind_them() {
        let mut out = Outbox::new(channel().0);
        let mut raw = queue(Listener::Subscriber);
        raw.take(Timestamp::ZERO, four_tuple(), b"1", Reader::Behind, &mut out);
        raw.take(Timestamp::ZERO, four_tuple(), b"2", Reader::Ready, &mut out);
        assert_eq!(raw.waiting.iter().map(|one| one.bytes[0]).collect::<Vec<_>>(), b"12");
    }
}
