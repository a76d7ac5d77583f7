//! Controlled delay: a queue that drops at its head when datagrams have waited too long for too long (RFC 8289).
//!
//! Decides which heads are given up before one goes on the wire. Called by the lane when the wire is free. Never marks:
//! that is the entrance's part.

use std::{collections::VecDeque, time::Duration};

use qbase::Timestamp;

use super::rate::Bottleneck;

/// What a queue of this kind aims at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CoDelLaw {
    /// Wait that is acceptable as a lasting state.
    pub target: Duration,
    /// How long the wait may be longer before something is dropped.
    pub interval: Duration,
    /// Bytes it holds at most; `None`: what the rate sends in a second.
    pub bytes: Option<u64>,
}

impl Default for CoDelLaw {
    /// RFC 8289 §4.2, §4.3.
    fn default() -> Self {
        Self { target: Duration::from_millis(5), interval: Duration::from_millis(100), bytes: None }
    }
}

/// Bytes below which a queue is as short as can be: one full datagram.
const SHORT: u64 = 1_500;

/// What the queue remembers between two departures.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoDel {
    /// When the wait will have been too long for an interval.
    first_above: Option<Timestamp>,
    /// When the next datagram is dropped, while it drops.
    dropping: Option<Timestamp>,
    /// The last instant named by `dropping`.
    drop_next: Timestamp,
    count: u32,
    last_count: u32,
}

/// Whether the head has to go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    Stays,
    MayBeDropped,
}

impl CoDel {
    /// Gives up heads that the law condemns at `now`; their tokens go to `refused`.
    pub fn choose(&mut self, now: Timestamp, law: CoDelLaw, queue: &mut Bottleneck, refused: &mut VecDeque<u32>) {
        let mut head = self.judge(now, law, queue);
        if let Some(mut due) = self.dropping {
            while head == Head::MayBeDropped && now >= due {
                refused.extend(queue.take().map(|gone| gone.token));
                self.count = self.count.saturating_add(1);
                head = self.judge(now, law, queue);
                due = self.next_after(due, law);
            }
            self.drop_next = due;
            self.dropping = (head == Head::MayBeDropped).then_some(due);
        } else if head == Head::MayBeDropped {
            refused.extend(queue.take().map(|gone| gone.token));
            let still = self.judge(now, law, queue);
            // Drops again soon after the last time: it goes on where it stopped.
            let delta = self.count.saturating_sub(self.last_count);
            let is_recent = now.saturating_since(self.drop_next) < law.interval.saturating_mul(16);
            self.count = if delta > 1 && is_recent { delta } else { 1 };
            self.last_count = self.count;
            self.drop_next = self.next_after(now, law);
            self.dropping = (still == Head::MayBeDropped).then_some(self.drop_next);
        }
    }

    fn judge(&mut self, now: Timestamp, law: CoDelLaw, queue: &Bottleneck) -> Head {
        let waited = queue.head().map(|head| now.saturating_since(head.since));
        if queue.bytes() <= SHORT || waited.is_none_or(|waited| waited < law.target) {
            self.first_above = None;
            return Head::Stays;
        }
        let due = *self.first_above.get_or_insert(now + law.interval);
        if now >= due { Head::MayBeDropped } else { Head::Stays }
    }

    /// RFC 8289 §3.3: the interval over the root of the drops so far.
    fn next_after(&self, at: Timestamp, law: CoDelLaw) -> Timestamp {
        at + law.interval.div_f64(f64::from(self.count.max(1)).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{EcnTreatment, rate::Waiting};

    /// A sender twice as fast as the wire, one datagram a millisecond: what is dropped in 2 s.
    fn drops(arrivals_per_ms: u32) -> (usize, Duration) {
        let (law, mut queue, mut codel) = (CoDelLaw::default(), Bottleneck::default(), CoDel::default());
        let (mut refused, mut longest) = (VecDeque::new(), Duration::ZERO);
        for ms in 0..4_000 {
            let now = Timestamp::from_millis(ms);
            for _ in 0..arrivals_per_ms {
                queue.offer(Waiting { token: 0, len: 1_200, since: now }, u64::MAX, EcnTreatment::Pass, qbase::Ecn::NotEct);
            }
            codel.choose(now, law, &mut queue, &mut refused);
            if let Some(head) = queue.take() {
                longest = longest.max(now.saturating_since(head.since));
            }
        }
        (refused.len(), longest)
    }

    #[test]
    fn a_wire_that_keeps_up_drops_nothing() {
        assert_eq!(drops(1), (0, Duration::ZERO));
    }

    #[test]
    fn a_standing_queue_loses_more_and_more_heads() {
        let (dropped, longest) = drops(2);
        assert!(dropped > 200, "{dropped}");
        assert!(longest > Duration::from_millis(100), "an unresponsive sender still fills it: {longest:?}");
    }
}
