//! One direction of a link: the shape it has, what it remembers, and the verdict on each datagram.
//!
//! Called by the network, which keeps the bytes. Never sees contents: lengths, marks and instants only.

use std::collections::VecDeque;

use qbase::{Ecn, Timestamp};

use super::{
    EcnTreatment, LinkShape, LinkStatistics, Reorder,
    delay::Wire,
    duplicate,
    loss::LossState,
    mtu,
    codel::CoDel,
    rate::{Admission, Bottleneck, Mark, Queue, Waiting},
};
use crate::{random::Random, trace::Fate};

/// One direction of a link.
#[derive(Clone, Debug)]
pub struct Lane {
    shape: LinkShape,
    state: LaneState,
    random: Random,
    loss: LossState,
    bottleneck: Bottleneck,
    codel: CoDel,
    /// The head of the queue is being sent: the network holds an event for its departure.
    sending: bool,
    /// Datagrams the queue gave up after it had taken them.
    refused: VecDeque<u32>,
    /// Since when the shape is in force.
    since: Timestamp,
    wire: Wire,
    statistics: LinkStatistics,
}

/// Whether anything gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LaneState {
    /// As the shape says.
    #[default]
    Up,
    /// Everything vanishes without a word.
    Cut,
}

/// What a lane says to a datagram at its entrance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on the wire at once.
    Through,
    /// It waits; if `leaves_at` is set, it is the head and leaves then.
    Waits {
        /// Whether the queue marked it.
        mark: Mark,
        /// Departure of the queue's head, when nobody has asked for it yet.
        leaves_at: Option<Timestamp>,
    },
    /// It is gone.
    Dropped(Fate),
}

/// What happens to one copy of a datagram on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// When it arrives.
    pub arrives_at: Timestamp,
    /// What it suffers.
    pub damage: Damage,
}

/// What the wire does to the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Nothing.
    None,
    /// Some bytes change.
    Corrupt,
    /// The tail is missing.
    Truncate,
}

impl Lane {
    /// A lane that is up and has this shape from `now` on, with its own generator.
    #[must_use]
    pub fn new(now: Timestamp, shape: LinkShape, random: Random) -> Self {
        Self {
            shape,
            refused: VecDeque::new(),
            since: now,
            state: LaneState::Up,
            random,
            loss: LossState::default(),
            bottleneck: Bottleneck::default(),
            codel: CoDel::default(),
            sending: false,
            wire: Wire::default(),
            statistics: LinkStatistics::default(),
        }
    }

    /// A datagram of `len` bytes with this mark stands at the entrance; `token` comes back from [`Self::depart`].
    pub fn offer(&mut self, now: Timestamp, token: u32, len: usize, ecn: Ecn) -> Verdict {
        let number = self.statistics.offered;
        self.count_offered(len);
        if self.state == LaneState::Cut {
            return self.dropped(Fate::Cut);
        }
        if !mtu::fits(len, self.shape.mtu) {
            return self.dropped(Fate::Mtu);
        }
        if self.shape.ecn == EcnTreatment::Drop && ecn != Ecn::NotEct {
            return self.dropped(Fate::Loss);
        }
        if self.loss.loses(&self.shape.loss, number, &mut self.random) {
            return self.dropped(Fate::Loss);
        }
        let rate = self.shape.rate_at(now.saturating_since(self.since));
        if self.shape.is_unlimited() && self.bottleneck.is_empty() {
            return Verdict::Through;
        }
        let capacity = rate.map_or(u64::MAX, |rate| self.shape.queue.capacity(rate));
        match self.bottleneck.offer(Waiting { token, len, since: now }, capacity, self.shape.ecn, ecn) {
            Admission::Full => self.dropped(Fate::Queue),
            Admission::Taken(mark) => {
                self.statistics.waiting = self.statistics.waiting.saturating_add(1);
                if mark == Mark::CongestionExperienced {
                    self.statistics.marked = self.statistics.marked.saturating_add(1);
                }
                Verdict::Waits { mark, leaves_at: self.start_sending(now) }
            }
        }
    }

    /// A datagram of `len` bytes is for a receiver that is deaf: it counts as cut.
    pub fn refuse(&mut self, len: usize) -> Verdict {
        self.count_offered(len);
        self.dropped(Fate::Cut)
    }

    /// The head has left the queue: its token, and when the next one leaves.
    pub fn depart(&mut self, now: Timestamp) -> (Option<u32>, Option<Timestamp>) {
        self.sending = false;
        let head = self.bottleneck.take();
        let next = self.start_sending(now);
        self.statistics.waiting = self.bottleneck.len() as u64;
        (head.map(|head| head.token), next)
    }

    /// A datagram that the queue gave up when it chose its last heads; its fate is [`Fate::Queue`].
    pub fn take_refused(&mut self) -> Option<u32> {
        self.refused.pop_front()
    }

    /// A datagram reaches the wire: how many copies of it travel.
    ///
    /// # Errors
    /// The fate of the datagram if the wire is cut.
    pub fn launch(&mut self) -> Result<usize, Fate> {
        if self.state == LaneState::Cut {
            self.statistics.count(Fate::Cut);
            return Err(Fate::Cut);
        }
        let copies = duplicate::copies(self.shape.duplicate, &mut self.random);
        self.statistics.duplicated = self.statistics.duplicated.saturating_add(copies.saturating_sub(1) as u64);
        Ok(copies)
    }

    /// One copy travels.
    pub fn fly(&mut self, now: Timestamp) -> Flight {
        let delay = self.shape.delay.saturating_add(self.random.duration_up_to(self.shape.jitter));
        let arrives_at = match Reorder::draw(self.shape.reorder, &mut self.random) {
            Some(extra) => {
                self.statistics.reordered = self.statistics.reordered.saturating_add(1);
                self.wire.held_back(now, delay, extra)
            }
            None => self.wire.in_order(now, delay),
        };
        self.statistics.count(Fate::Delivered);
        Flight { arrives_at, damage: self.damage() }
    }

    /// The mark a datagram with this one has behind the wire.
    #[must_use]
    pub fn ecn_after(&self, ecn: Ecn) -> Ecn {
        match (self.shape.ecn, ecn) {
            (EcnTreatment::Bleach, _) => Ecn::NotEct,
            (EcnTreatment::Remark, Ecn::Ect0) => Ecn::Ect1,
            (EcnTreatment::MarkAll, Ecn::Ect0 | Ecn::Ect1) => Ecn::Ce,
            _ => ecn,
        }
    }

    /// A copy of `len` bytes has arrived.
    pub const fn arrived(&mut self, len: usize) {
        self.statistics.in_flight = self.statistics.in_flight.saturating_sub(1);
        self.statistics.delivered = self.statistics.delivered.saturating_add(1);
        self.statistics.delivered_bytes = self.statistics.delivered_bytes.saturating_add(len as u64);
    }

    /// New qualities from here on. Returns the departure of the queue's head if it starts to move.
    pub fn set(&mut self, shape: LinkShape, now: Timestamp) -> Option<Timestamp> {
        self.shape = shape;
        self.since = now;
        let leaves_at = self.start_sending(now);
        self.statistics.waiting = self.bottleneck.len() as u64;
        leaves_at
    }

    /// Cuts or restores the lane. What is on the wire arrives all the same; what waits in the queue goes on into the
    /// cut.
    pub const fn set_state(&mut self, state: LaneState) {
        self.state = state;
    }

    /// Up or cut.
    #[must_use]
    pub const fn state(&self) -> LaneState {
        self.state
    }

    /// The qualities in force.
    #[must_use]
    pub const fn shape(&self) -> &LinkShape {
        &self.shape
    }

    /// Counters so far.
    #[must_use]
    pub const fn statistics(&self) -> &LinkStatistics {
        &self.statistics
    }

    /// Bytes in the queue.
    #[must_use]
    pub const fn queued_bytes(&self) -> u64 {
        self.bottleneck.bytes()
    }

    const fn count_offered(&mut self, len: usize) {
        self.statistics.offered = self.statistics.offered.saturating_add(1);
        self.statistics.offered_bytes = self.statistics.offered_bytes.saturating_add(len as u64);
    }

    fn dropped(&mut self, fate: Fate) -> Verdict {
        self.statistics.count(fate);
        Verdict::Dropped(fate)
    }

    /// Puts the head on its way, unless one is or nothing can move.
    fn start_sending(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.sending {
            return None;
        }
        if let Queue::CoDel(law) = self.shape.queue {
            let before = self.refused.len();
            self.codel.choose(now, law, &mut self.bottleneck, &mut self.refused);
            for _ in before..self.refused.len() {
                self.statistics.count(Fate::Queue);
            }
        }
        let leaves_at = self.shape.leaves_at(self.since, now, self.bottleneck.head()?.len)?;
        self.sending = true;
        Some(leaves_at)
    }

    fn damage(&mut self) -> Damage {
        if self.random.chance(self.shape.corrupt) {
            self.statistics.corrupted = self.statistics.corrupted.saturating_add(1);
            Damage::Corrupt
        } else if self.random.chance(self.shape.truncate) {
            self.statistics.truncated = self.statistics.truncated.saturating_add(1);
            Damage::Truncate
        } else {
            Damage::None
        }
    }

    /// Generator of this lane, for the damage it does.
    pub const fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}
