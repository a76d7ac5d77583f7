//! Leaps in slow start: a path that is shown to carry much more than its window need not find that out by doubling.
//!
//! Packets sent at one instant arrive as far apart as the bottleneck takes for each of them, so the acknowledgements of
//! such a train tell its rate. Half of what the path holds at that rate is the target; below it the window grows four times
//! in a round trip instead of twice: once the acknowledgements of a round have doubled it, a leap doubles it again. The
//! pacer spreads what follows over half a round trip, which for half of the path is no faster than the bottleneck.
//!
//! A path is not trusted for one measure: acknowledgements that waited somewhere come closer together than their packets
//! did. So a leap takes four acknowledgements that came apart, round trips that did not grow, and everything sent
//! before the last leap acknowledged; and a loss before a leap is proved takes it back.
//!
//! The idea of growing four times where a train allows it is that of Arghavani and others, "SUSS: Improving TCP Performance
//! by Speeding Up Slow-Start" (SIGCOMM 2024). Called by the window of the loss-based controllers, in their initial slow
//! start only. Never sets a window itself.

use std::time::Duration;

use qbase::Timestamp;

use crate::{Acked, controller::MIN_MTU, rate};

/// Acknowledgements of a train, after its first one, that tell its rate.
const ACKS: u32 = 3;
/// Bytes that they must have told of: six datagrams.
const BYTES: u64 = 6 * MIN_MTU;
/// Part of what the path holds up to which a window leaps.
const TARGET_DIVISOR: u64 = 2;
/// A round trip that is longer than the least one by this part of it is that of a queue,
const GROWTH_DIVISOR: u32 = 8;
/// and so is one that is this much longer.
const LEAST_GROWTH: Duration = Duration::from_millis(4);

/// Acknowledgements of packets that were sent at one instant.
#[derive(Clone, Copy, Debug)]
struct Train {
    sent_at: Timestamp,
    first_at: Timestamp,
    last_at: Timestamp,
    /// Bytes that the acknowledgements after the first one told of.
    bytes: u64,
    /// Instants at which these came.
    acks: u32,
}

/// A leap that was not proved yet.
#[derive(Clone, Copy, Debug)]
struct Leap {
    at: Timestamp,
    /// The window before it, bytes.
    from: u64,
    /// Bytes acknowledged since of packets that were sent after it.
    acked: u64,
}

/// What is known of trains, and the last leap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaps {
    train: Option<Train>,
    /// What the path holds without a queue, by the newest train, bytes; 0: unknown.
    holds: u64,
    last: Option<Leap>,
}

impl Leaps {
    /// Takes an ACK after the window has grown by it; answers the window to leap to.
    pub(super) fn on_acked(&mut self, now: Timestamp, acked: &Acked, window: u64, least: Duration) -> Option<u64> {
        self.measure(now, acked, least);
        if let Some(leap) = &mut self.last {
            if acked.newest_sent_at > leap.at {
                leap.acked = leap.acked.saturating_add(acked.bytes);
            }
            // Only a whole round without loss proves what a round has risked.
            if leap.acked < leap.from {
                return None;
            }
        }
        let grown = least.checked_div(GROWTH_DIVISOR).unwrap_or_default().max(LEAST_GROWTH);
        let target = self.holds / TARGET_DIVISOR;
        if window >= target || acked.rtt_sample.is_none_or(|sample| sample > least.saturating_add(grown)) {
            return None;
        }
        self.last = Some(Leap { at: now, from: window, acked: 0 });
        Some(window.saturating_mul(2).min(target))
    }

    /// A loss: the window that it finds. A leap that was not proved is taken back as far as doubling would not have gone.
    pub(super) fn on_loss(&mut self, window: u64) -> u64 {
        let unproved = self.last.take().filter(|leap| leap.acked < leap.from);
        unproved.map_or(window, |leap| window.min(leap.from.saturating_mul(2)))
    }

    fn measure(&mut self, now: Timestamp, acked: &Acked, least: Duration) {
        let Some(train) = self.train.as_mut().filter(|train| train.sent_at == acked.newest_sent_at) else {
            self.train = Some(Train { sent_at: acked.newest_sent_at, first_at: now, last_at: now, bytes: 0, acks: 0 });
            return;
        };
        train.bytes = train.bytes.saturating_add(acked.bytes);
        if now > train.last_at {
            train.last_at = now;
            train.acks = train.acks.saturating_add(1);
        }
        if train.acks < ACKS || train.bytes < BYTES {
            return;
        }
        let rate = rate::per_second(train.bytes, train.last_at.saturating_since(train.first_at)).unwrap_or_default();
        self.holds = rate::bytes_in(rate, least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::tests::{MTU, acked, at};

    const LEAST: Duration = Duration::from_millis(200);

    /// ACKs for two datagrams each of packets sent at `sent_at`, at these instants, with this sample; the windows leapt to.
    fn acks(leaps: &mut Leaps, sent_at: u64, instants: &[u64], window: u64) -> Vec<u64> {
        acks_of(leaps, sent_at, instants, window, LEAST)
    }

    fn acks_of(leaps: &mut Leaps, sent_at: u64, instants: &[u64], window: u64, sample: Duration) -> Vec<u64> {
        let ack = |instant: &u64| {
            let acked = Acked { rtt_sample: Some(sample), ..acked(2 * MTU, at(sent_at)) };
            leaps.on_acked(at(*instant), &acked, window, LEAST)
        };
        instants.iter().filter_map(ack).collect()
    }

    #[test]
    fn a_train_that_shows_a_faster_path_doubles_a_window_once_more() {
        // 7,200 bytes in 6 ms: 1.2 MB/s, of which 200 ms hold 240,000 bytes
        let mut leaps = Leaps::default();
        assert_eq!(acks(&mut leaps, 0, &[200, 202, 204, 206, 208], 24_000), [48_000], "once a round");
        assert_eq!(leaps.holds, 240_000);
        assert_eq!(acks(&mut Leaps::default(), 0, &[200, 202, 204, 206], 100_000), [120_000], "to half of what the path holds at most");
        assert_eq!(acks(&mut Leaps::default(), 0, &[200, 202, 204, 206], 120_000), [0; 0]);
    }

    #[test]
    fn the_next_leap_waits_until_the_last_one_is_proved() {
        let mut leaps = Leaps::default();
        acks(&mut leaps, 0, &[200, 202, 204, 206], 24_000);
        let later: Vec<u64> = (0..9).map(|ack| 410 + ack).collect();
        assert_eq!(acks(&mut leaps, 206, &later, 50_000), [0; 0], "sent before the leap was known");
        assert_eq!(acks(&mut leaps, 210, &later, 50_000), [0; 0], "21,600 bytes");
        assert_eq!(acks(&mut leaps, 211, &[420, 421], 50_000), [100_000]);
    }

    #[test]
    fn acknowledgements_that_came_together_show_nothing() {
        for instants in [&[200, 200, 200, 200, 200][..], &[200, 201, 201, 201, 201], &[200, 202, 204]] {
            assert_eq!(acks(&mut Leaps::default(), 0, instants, 24_000), [0; 0], "{instants:?}");
        }
    }

    #[test]
    fn packets_that_were_sent_apart_are_no_train() {
        let mut leaps = Leaps::default();
        for packet in 0..20 {
            assert_eq!(acks(&mut leaps, packet, &[200 + packet], 24_000), [0; 0]);
        }
    }

    #[test]
    fn nothing_leaps_into_a_queue() {
        for (sample, leapt) in [(225, 1), (226, 0)] {
            let found = acks_of(&mut Leaps::default(), 0, &[200, 202, 204, 206], 24_000, Duration::from_millis(sample));
            assert_eq!(found.len(), leapt, "{sample} ms");
        }
    }

    #[test]
    fn a_loss_takes_back_a_leap_that_was_not_proved() {
        let mut leaps = Leaps::default();
        assert_eq!(leaps.on_loss(90_000), 90_000);
        acks(&mut leaps, 0, &[200, 202, 204, 206], 24_000);
        assert_eq!(Leaps { ..leaps }.on_loss(90_000), 48_000, "as far as doubling had come");
        acks(&mut leaps, 210, &(0..10).map(|ack| 410 + ack).collect::<Vec<_>>(), 130_000);
        assert_eq!(leaps.on_loss(130_000), 130_000, "it was proved");
        assert_eq!(leaps.on_loss(130_000), 130_000, "once");
    }
}
