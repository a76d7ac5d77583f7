//! The bottleneck: a queue in front of a wire that takes one datagram after the other.
//!
//! Decides what the queue refuses (tail drop) and when its head has left. Called by the lane. Never loses a datagram
//! that it took in.

use std::{collections::VecDeque, time::Duration};

use qbase::{Ecn, Timestamp};

use super::EcnTreatment;

/// Where datagrams wait for the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Queue {
    /// Tail drop, as long as the rate sends in 100 ms, but not below [`Self::SHORTEST`].
    #[default]
    HundredMillis,
    /// Tail drop of this many bytes; the datagram that is being sent counts. An idle wire takes any datagram.
    TailDrop {
        /// UDP payload, bytes.
        bytes: u64,
    },
}

impl Queue {
    /// Shortest default queue, bytes: ten full datagrams.
    pub const SHORTEST: u64 = 15_000;

    /// Bytes the queue holds at this rate.
    #[must_use]
    pub fn capacity(self, bits_per_sec: u64) -> u64 {
        match self {
            Self::HundredMillis => (bits_per_sec / 80).max(Self::SHORTEST),
            Self::TailDrop { bytes } => bytes,
        }
    }
}

/// Time the wire needs for one datagram, rounded up to a nanosecond; `None` at rate 0.
#[must_use]
pub fn serialization(len: usize, bits_per_sec: u64) -> Option<Duration> {
    let nano_bits = (len as u128).saturating_mul(8_000_000_000);
    let nanos = match bits_per_sec {
        0 => return None,
        rate => nano_bits.div_ceil(u128::from(rate)),
    };
    Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

/// A datagram in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The caller's name for it.
    pub token: u32,
    /// UDP payload, bytes.
    pub len: usize,
}

/// The queue of one direction; its head is on its way onto the wire.
#[derive(Clone, Debug, Default)]
pub struct Bottleneck {
    waiting: VecDeque<Waiting>,
    bytes: u64,
}

/// What the queue says to a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// There was room.
    Taken(Mark),
    /// The queue is full.
    Full,
}

/// Whether the queue marked the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It goes on as it came.
    None,
    /// It found the queue half full and now says CE.
    CongestionExperienced,
}

impl Bottleneck {
    /// Takes the datagram, or not.
    pub fn offer(&mut self, datagram: Waiting, capacity: u64, treatment: EcnTreatment, ecn: Ecn) -> Admission {
        let after = self.bytes.saturating_add(datagram.len as u64);
        if after > capacity && !self.waiting.is_empty() {
            return Admission::Full;
        }
        let half_full = self.bytes.saturating_mul(2) >= capacity && !self.waiting.is_empty();
        let capable = matches!(ecn, Ecn::Ect0 | Ecn::Ect1);
        self.bytes = after;
        self.waiting.push_back(datagram);
        Admission::Taken(if treatment == EcnTreatment::Mark && capable && half_full {
            Mark::CongestionExperienced
        } else {
            Mark::None
        })
    }

    /// The head has left.
    pub fn take(&mut self) -> Option<Waiting> {
        let head = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(head.len as u64);
        Some(head)
    }

    /// When the head has left if it starts at `now`; `None` when nothing waits or the rate is 0. An unlimited rate
    /// needs no time.
    #[must_use]
    pub fn head_leaves_at(&self, now: Timestamp, bits_per_sec: Option<u64>) -> Option<Timestamp> {
        let head = self.waiting.front()?;
        bits_per_sec.map_or(Some(now), |rate| Some(now + serialization(head.len, rate)?))
    }

    /// Datagrams in the queue, the one being sent included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes in the queue.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(bottleneck: &mut Bottleneck, len: usize, capacity: u64) -> Admission {
        bottleneck.offer(Waiting { token: 0, len }, capacity, EcnTreatment::Mark, Ecn::Ect0)
    }

    #[test]
    fn a_datagram_takes_its_length_divided_by_the_rate() {
        assert_eq!(serialization(1_250, 10_000_000), Some(Duration::from_millis(1)));
        assert_eq!(serialization(1, 3_000_000_000), Some(Duration::from_nanos(3)), "rounded up");
        assert_eq!(serialization(1, 0), None);
    }

    #[test]
    fn the_default_queue_holds_a_hundred_milliseconds() {
        assert_eq!(Queue::default().capacity(10_000_000), 125_000);
        assert_eq!(Queue::default().capacity(10_000), Queue::SHORTEST);
    }

    #[test]
    fn a_full_queue_refuses_and_an_idle_wire_takes_anything() {
        let mut bottleneck = Bottleneck::default();
        assert_eq!(offer(&mut bottleneck, 5_000, 3_000), Admission::Taken(Mark::None));
        assert_eq!(offer(&mut bottleneck, 1, 3_000), Admission::Full);
        bottleneck.take();
        assert_eq!(bottleneck.bytes(), 0);
        assert_eq!(offer(&mut bottleneck, 1_000, 3_000), Admission::Taken(Mark::None));
    }

    #[test]
    fn capable_datagrams_are_marked_from_half_a_queue_on() {
        let mut bottleneck = Bottleneck::default();
        let marks: Vec<_> = (0..4).map(|_| offer(&mut bottleneck, 1_000, 4_000)).collect();
        let (plain, marked) = (Admission::Taken(Mark::None), Admission::Taken(Mark::CongestionExperienced));
        assert_eq!(marks, [plain, plain, marked, marked]);
        let mut incapable = Bottleneck::default();
        for _ in 0..4 {
            let datagram = Waiting { token: 0, len: 1_000 };
            assert_eq!(incapable.offer(datagram, 4_000, EcnTreatment::Mark, Ecn::NotEct), plain);
        }
    }
}
