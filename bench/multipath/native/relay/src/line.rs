//! One direction of a link: what is lost, and when the rest leaves. Knows no socket and no clock.

use std::{collections::VecDeque, time::{Duration, Instant}};

/// What a line does to datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// UDP payload.
    pub bits_per_second: f64,
    /// From the last bit sent to the arrival.
    pub delay: Duration,
    /// Time on the line that may wait before it.
    pub queue: Duration,
    /// Share of datagrams lost, 0.0 to 1.0.
    pub loss: f64,
}

/// A line and what is on it.
pub struct Line {
    shape: Shape,
    luck: u64,
    /// When it has sent everything it took.
    free_at: Option<Instant>,
    waiting: VecDeque<(Instant, Vec<u8>)>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

impl Line {
    /// An empty line.
    pub const fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, luck: seed, free_at: None, waiting: VecDeque::new(), spare: Vec::new() }
    }

    /// A datagram arrives.
    pub fn push(&mut self, now: Instant, datagram: &[u8]) {
        if self.shape.loss > 0.0 && self.chance() < self.shape.loss {
            return;
        }
        let start = self.free_at.map_or(now, |at| at.max(now));
        let time = Duration::from_secs_f64(datagram.len() as f64 * 8.0 / self.shape.bits_per_second);
        // An idle line takes a datagram of any size.
        let waits = start.saturating_duration_since(now);
        if !waits.is_zero() && waits + time > self.shape.queue {
            return;
        }
        self.free_at = Some(start + time);
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(datagram);
        self.waiting.push_back((start + time + self.shape.delay, bytes));
    }

    /// When the next one leaves.
    pub fn due(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at)
    }

    /// Hands over what leaves by `now`.
    pub fn release(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        while let Some((at, bytes)) = self.waiting.pop_front() {
            if at > now {
                self.waiting.push_front((at, bytes));
                return;
            }
            send(&bytes);
            self.spare.push(bytes);
        }
    }

    /// Loses what is on it.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// SplitMix64, as a fraction of 1.
    fn chance(&mut self) -> f64 {
        self.luck = self.luck.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.luck;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { bits_per_second: 8e6, delay: Duration::from_millis(10), queue: Duration::from_millis(3), loss: 0.0 };

    #[test]
    fn a_datagram_takes_its_time_on_the_line_and_the_delay() {
        let (mut line, now) = (Line::new(SHAPE, 1), Instant::now());
        line.push(now, &[0; 1_000]);
        line.push(now, &[0; 1_000]);
        assert_eq!(line.due(), Some(now + Duration::from_millis(11)));
        let mut left = 0;
        line.release(now + Duration::from_millis(11), |_| left += 1);
        assert_eq!((left, line.due()), (1, Some(now + Duration::from_millis(12))));
    }

    #[test]
    fn a_full_queue_drops_at_its_tail() {
        let (mut line, now) = (Line::new(SHAPE, 1), Instant::now());
        for _ in 0..10 {
            line.push(now, &[0; 1_000]);
        }
        assert_eq!(line.waiting.len(), 3);
    }

    #[test]
    fn one_in_a_hundred_is_lost() {
        let (mut line, now) = (Line::new(Shape { loss: 0.01, queue: Duration::from_secs(3_600), ..SHAPE }, 1), Instant::now());
        for _ in 0..100_000 {
            line.push(now, &[0; 10]);
        }
        assert!((98_500..99_500).contains(&line.waiting.len()), "{}", line.waiting.len());
    }
}
