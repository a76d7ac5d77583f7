//! Why a connection's application data stand still: reasons with counters and total times (mux R14).
//!
//! A signal (burst section 9) says what one path waits for now; a block reason says what the connection's bytes wait for,
//! how often they had to and for how long in all. Written by the connection when it has looked; read by statistics. Costs a
//! comparison while nothing changes.

use qbase::Timestamp;
use std::{fmt, time::Duration};

/// One reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockReason {
    /// No memory for a larger receive window (mux R22). Ends when the pool grants it, or it is wanted no longer.
    RxBuf,
    /// No memory for what the application writes (mux R10). Ends when a block comes.
    TxBuf,
    /// The application does not read: a window is full. Ends when it takes bytes.
    RxFull,
    /// Credit of the connection. Ends with MAX_DATA.
    ConnCredit,
    /// Credit of a stream. Ends with MAX_STREAM_DATA, or the stream's end.
    StreamCredit,
    /// The application's word is awaited before any of its bytes may move. Ends with the word.
    Gate,
    /// The congestion window of a path that could carry data. Ends with an acknowledgement or a loss.
    Cwnd,
    /// The pacer of such a path. Ends by time.
    Pacing,
    /// Bytes to an address not yet validated. Ends with bytes from there, or its proof.
    AntiAmplification,
}

impl BlockReason {
    /// Every reason, in the order of the public interface.
    pub const ALL: [Self; 9] = [
        Self::RxBuf,
        Self::TxBuf,
        Self::RxFull,
        Self::ConnCredit,
        Self::StreamCredit,
        Self::Gate,
        Self::Cwnd,
        Self::Pacing,
        Self::AntiAmplification,
    ];

    /// The name, as in the public interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RxBuf => "RX_BUF",
            Self::TxBuf => "TX_BUF",
            Self::RxFull => "RX_FULL",
            Self::ConnCredit => "CONN_CREDIT",
            Self::StreamCredit => "STREAM_CREDIT",
            Self::Gate => "GATE",
            Self::Cwnd => "CWND",
            Self::Pacing => "PACING",
            Self::AntiAmplification => "ANTI_AMPLIFICATION",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of reasons.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockReasons(u16);

impl BlockReasons {
    /// No reason.
    pub const NONE: Self = Self(0);
    /// Those that end when something may be sent.
    pub const OF_SENDING: Self =
        Self(BlockReason::Cwnd.bit() | BlockReason::Pacing.bit() | BlockReason::AntiAmplification.bit());

    /// The set with `reason` in it, if `holds`.
    #[must_use]
    #[inline]
    pub const fn with(self, reason: BlockReason, holds: Holds) -> Self {
        match holds {
            Holds::Yes => Self(self.0 | reason.bit()),
            Holds::No => self,
        }
    }

    /// The set without the reasons of `other`.
    #[must_use]
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The reasons of both sets.
    #[must_use]
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The reasons that are in both sets.
    #[must_use]
    #[inline]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The reason is in the set.
    #[must_use]
    pub const fn contains(self, reason: BlockReason) -> bool {
        self.0 & reason.bit() != 0
    }

    /// No reason is in the set.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for BlockReasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(BlockReason::ALL.into_iter().filter(|reason| self.contains(*reason)).map(BlockReason::name)).finish()
    }
}

/// Whether a reason holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It does.
    Yes,
    /// It does not.
    No,
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// What one reason has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCost {
    /// Times it began to hold.
    pub count: u64,
    /// Time it held in all, what runs now included.
    pub time: Duration,
}

/// The reasons that hold, since when, and what each has cost.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    set: BlockReasons,
    since: [Timestamp; BlockReason::ALL.len()],
    costs: [BlockCost; BlockReason::ALL.len()],
}

impl Blocks {
    /// These reasons hold from now on, and no others.
    #[inline]
    pub fn set(&mut self, now: Timestamp, set: BlockReasons) {
        if set != self.set {
            self.change(now, set);
        }
    }

    fn change(&mut self, now: Timestamp, set: BlockReasons) {
        for ((reason, since), cost) in BlockReason::ALL.into_iter().zip(&mut self.since).zip(&mut self.costs) {
            match (self.set.contains(reason), set.contains(reason)) {
                (false, true) => {
                    cost.count = cost.count.saturating_add(1);
                    *since = now;
                }
                (true, false) => cost.time = cost.time.saturating_add(now.saturating_since(*since)),
                _ => {}
            }
        }
        self.set = set;
    }

    /// The reasons that hold.
    #[must_use]
    #[inline]
    pub const fn now(&self) -> BlockReasons {
        self.set
    }

    /// What each reason has cost until `now`, in the order of [`BlockReason::ALL`].
    pub fn costs(&self, now: Timestamp) -> impl Iterator<Item = (BlockReason, BlockCost)> + '_ {
        BlockReason::ALL.into_iter().zip(self.since).zip(self.costs).map(move |((reason, since), mut cost)| {
            if self.set.contains(reason) {
                cost.time = cost.time.saturating_add(now.saturating_since(since));
            }
            (reason, cost)
        })
    }

    /// What one reason has cost until `now`.
    #[must_use]
    pub fn cost(&self, now: Timestamp, reason: BlockReason) -> BlockCost {
        self.costs(now).find(|(other, _)| *other == reason).map(|(_, cost)| cost).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// mux R14.
    #[test]
    fn every_reason_has_a_name_and_a_bit_of_its_own() {
        let names: std::collections::BTreeSet<_> = BlockReason::ALL.into_iter().map(BlockReason::name).collect();
        let all = BlockReason::ALL.into_iter().fold(BlockReasons::NONE, |set, reason| set.with(reason, Holds::Yes));
        assert_eq!((names.len(), all.0), (9, 0b1_1111_1111));
    }

    /// mux R14: a counter and a total time each; a reason ends only when it is its own turn to end.
    #[test]
    fn each_reason_counts_how_often_and_how_long_it_held() {
        let both = BlockReasons::NONE.with(BlockReason::Cwnd, Holds::Yes).with(BlockReason::TxBuf, Holds::Yes);
        let memory = both.without(BlockReasons::OF_SENDING);
        let mut blocks = Blocks::default();
        blocks.set(at(10), both);
        blocks.set(at(15), both);
        blocks.set(at(20), memory);
        blocks.set(at(30), both);
        blocks.set(at(34), BlockReasons::NONE);
        let cost = |count, ms| BlockCost { count, time: Duration::from_millis(ms) };
        assert_eq!(blocks.cost(at(99), BlockReason::Cwnd), cost(2, 14));
        assert_eq!(blocks.cost(at(99), BlockReason::TxBuf), cost(1, 24));
        assert_eq!(blocks.cost(at(99), BlockReason::Gate), cost(0, 0));
        blocks.set(at(40), memory);
        assert_eq!(blocks.cost(at(45), BlockReason::TxBuf), cost(2, 29), "what runs now is counted");
    }
}
