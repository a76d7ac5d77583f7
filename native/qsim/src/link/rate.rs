//! The bottleneck: a queue in front of a wire that takes one datagram after the other.
//!
//! Decides what the queue refuses (tail drop) and when its head has left. Called by the lane. Never loses a datagram
//! that it took in.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use qbase::{Ecn, Timestamp};

use super::{CoDelLaw, EcnTreatment};

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
    /// Drops at the head what has waited too long (RFC 8289).
    CoDel(CoDelLaw),
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
            Self::CoDel(law) => law.bytes.unwrap_or_else(|| (bits_per_sec / 8).max(Self::SHORTEST)),
        }
    }
}

/// A rate that changes with time: steps, then all over again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateTrace {
    /// Length of each step and its rate, bits per second.
    steps: Arc<[(Duration, u64)]>,
    period: Duration,
}

impl RateTrace {
    /// Each rate (bits per second) holds from its instant on, in rising order, until the next; the last one holds as long
    /// as the one before it (a lone one for ever). Before the first instant the last rate holds. `None`: no points.
    #[must_use]
    pub fn new(points: &[(Duration, u64)]) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        let mut steps: Vec<(Duration, u64)> = Vec::with_capacity(points.len().saturating_add(1));
        if !first.0.is_zero() {
            steps.push((first.0, last.1));
        }
        let mut length = Duration::from_secs(1);
        for pair in points.windows(2) {
            if let [(from, rate), (to, _)] = pair {
                length = to.saturating_sub(*from);
                steps.push((length, *rate));
            }
        }
        steps.push((length, last.1));
        let period: Duration = steps.iter().map(|(length, _)| *length).sum();
        (!period.is_zero()).then(|| Self { steps: steps.into(), period })
    }

    /// The rate in force after this time.
    #[must_use]
    pub fn rate_at(&self, elapsed: Duration) -> u64 {
        let mut left = remainder(elapsed, self.period);
        for (length, rate) in &*self.steps {
            if left < *length {
                return *rate;
            }
            left = left.saturating_sub(*length);
        }
        0
    }

    /// Time the wire needs for `len` bytes that start after `elapsed`; `None`: no rate ever moves them.
    #[must_use]
    pub fn serialization(&self, elapsed: Duration, len: usize) -> Option<Duration> {
        let capacity = |length: Duration, rate: u64| length.as_nanos().saturating_mul(u128::from(rate));
        let of_period: u128 = self.steps.iter().map(|(length, rate)| capacity(*length, *rate)).sum();
        if of_period == 0 {
            return None;
        }
        let nano_bits = (len as u128).saturating_mul(8_000_000_000);
        // Whole periods first: what is left ends within the next one and the part of this one that has passed.
        let periods = nano_bits.saturating_sub(1) / of_period;
        let mut left = nano_bits.saturating_sub(periods.saturating_mul(of_period));
        let mut taken = self.period.saturating_mul(u32::try_from(periods).ok()?);
        let mut skip = remainder(elapsed, self.period);
        for (length, rate) in self.steps.iter().chain(&*self.steps) {
            if skip >= *length {
                skip = skip.saturating_sub(*length);
                continue;
            }
            let length = length.saturating_sub(std::mem::take(&mut skip));
            if capacity(length, *rate) >= left {
                let nanos = if left == 0 { 0 } else { left.div_ceil(u128::from(*rate)) };
                return Some(taken.saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))));
            }
            left = left.saturating_sub(capacity(length, *rate));
            taken = taken.saturating_add(length);
        }
        None
    }
}

/// What is left of a time after whole periods.
fn remainder(elapsed: Duration, period: Duration) -> Duration {
    Duration::from_nanos(u64::try_from(elapsed.as_nanos() % period.as_nanos().max(1)).unwrap_or(0))
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
    /// When it came.
    pub since: Timestamp,
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

    /// The datagram that goes next.
    #[must_use]
    pub fn head(&self) -> Option<&Waiting> {
        self.waiting.front()
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
        bottleneck.offer(Waiting { token: 0, len, since: Timestamp::ZERO }, capacity, EcnTreatment::Mark, Ecn::Ect0)
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
    fn a_rate_by_time_moves_bytes_across_its_steps_and_begins_anew() {
        let ms = Duration::from_millis;
        // 8 bytes a millisecond, then nothing, 10 ms each.
        let trace = RateTrace::new(&[(ms(0), 64_000), (ms(10), 0)]).expect("points");
        assert_eq!([0, 9, 10, 19, 20].map(|at| trace.rate_at(ms(at))), [64_000, 64_000, 0, 0, 64_000]);
        assert_eq!(trace.serialization(ms(0), 80), Some(ms(10)));
        assert_eq!(trace.serialization(ms(5), 80), Some(ms(20)), "5 ms, a pause of 10, 5 ms");
        assert_eq!(trace.serialization(ms(12), 8), Some(ms(9)));
        assert_eq!(trace.serialization(ms(0), 800), Some(ms(190)), "the last part needs no pause behind it");
        assert_eq!(RateTrace::new(&[(ms(0), 0)]).expect("points").serialization(ms(1), 1), None);
        assert_eq!(RateTrace::new(&[(ms(5), 1), (ms(6), 2)]).expect("points").rate_at(ms(0)), 2);
        assert_eq!(RateTrace::new(&[]), None);
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
            let datagram = Waiting { token: 0, len: 1_000, since: Timestamp::ZERO };
            assert_eq!(incapable.offer(datagram, 4_000, EcnTreatment::Mark, Ecn::NotEct), plain);
        }
    }
}
