//! Whether one network path carries ECN marks, and what the peer counted of them (RFC 9000 §13.4, appendix A.4; burst B-57).
//!
//! ```text
//!            10 marked packets, 3 PTO, or a PTO         a valid ACK tells of a marked packet
//!  Testing --------------------------------> Unknown --------------------------------------> Capable
//!     ^                                       |  | ^                                            |
//!     |_______ only unmarked packets arrive __|  | |______________ two PTOs in a row ___________|
//!                                                v
//!   counts that cannot be, all marks lost, all of them CE: Failed (from every state)
//! ```
//! Marks are ECT(0), set while testing or capable. Each path counts for itself, each of its number spaces too. Called by
//! the output (which mark?), the submission (what was marked) and the acknowledgements (counts, losses). Never closes a
//! connection, whatever the counts say (attacks C7).

use qbase::{Ecn, EncryptionLevel, Timestamp, frame::EcnCounts};
use std::time::Duration;

/// Marked packets after which the test waits for the peer's counts (RFC 9000 §13.4.2).
pub const TEST_PACKETS: u64 = 10;
/// PTOs after which it does so at the latest (RFC 9000 §13.4.2).
const TEST_PTOS: u32 = 3;
/// Marked packets that must all be lost, or all come back as CE, before the network is blamed: fewer is bad luck.
const ENOUGH: u64 = 4;
/// PTOs in a row after which a capable path goes on without marks, in case the network began to drop them.
const DOUBT_PTOS: u32 = 2;

/// Where the test of a path stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcnState {
    /// Marks are set and nothing is known yet.
    Testing,
    /// The test is over and its outcome open: no marks.
    Unknown,
    /// The path carries marks and the peer counts them.
    Capable,
    /// It does not, or the options forbid marks.
    Failed,
}

impl EcnState {
    /// The name for people; the open outcome still counts as testing.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Testing | Self::Unknown => "testing",
            Self::Capable => "capable",
            Self::Failed => "failed",
        }
    }
}

/// What one ACK frame says about marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckedMarks {
    /// It raised the largest acknowledged number; others are too old to judge by (RFC 9000 §13.4.2.1).
    pub raises_largest: bool,
    /// Newly acknowledged packets.
    pub packets: u64,
    /// Of these, packets sent with ECT(0) over this network path.
    pub marked: u64,
    /// The counts in the frame, if it had any.
    pub counts: Option<EcnCounts>,
}

/// What follows from an ACK frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcnSignal {
    /// Nothing.
    None,
    /// The network marked so many more packets: a congestion event (RFC 9002 §7.1).
    Congestion(u64),
}

/// One number space's marks.
#[derive(Clone, Copy, Debug, Default)]
struct Ledger {
    /// Packets sent with ECT(0) since the space began, over all its network paths.
    marked: u64,
    /// Counts of the newest frame judged.
    counts: EcnCounts,
}

/// The ECN state of one path.
#[derive(Clone, Debug)]
pub struct EcnPath {
    state: EcnState,
    ledgers: [Ledger; 3],
    /// First mark of this test.
    since: Option<Timestamp>,
    /// Marked packets of this test: sent, acknowledged with valid counts, declared lost.
    sent: u64,
    acked: u64,
    lost: u64,
    /// CE marks reported since this test began, and since the path began.
    ce: u64,
    ce_total: u64,
}

/// Whether packets shall be marked at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marking {
    /// As long as the path passes the test.
    Wanted,
    /// Never: an option.
    Off,
}

impl From<bool> for Marking {
    fn from(wanted: bool) -> Self {
        if wanted { Self::Wanted } else { Self::Off }
    }
}

impl EcnPath {
    /// The state of a new path.
    #[must_use]
    pub fn new(marking: Marking) -> Self {
        Self {
            state: if marking == Marking::Wanted { EcnState::Testing } else { EcnState::Failed },
            ledgers: [Ledger::default(); 3],
            since: None,
            sent: 0,
            acked: 0,
            lost: 0,
            ce: 0,
            ce_total: 0,
        }
    }

    /// The path goes over another network and is judged by this state from now on; the peer's counts go on
    /// (RFC 9000 §13.4.2).
    pub const fn continue_from(&mut self, before: &Self) {
        (self.ledgers, self.ce_total) = (before.ledgers, before.ce_total);
    }

    /// Marks are of no use here: counts that cover several paths say nothing of one (multipath MP-107).
    pub const fn switch_off(&mut self) {
        self.state = EcnState::Failed;
    }

    /// Where the test stands.
    #[must_use]
    pub const fn state(&self) -> EcnState {
        self.state
    }

    /// CE marks the peer reported in frames that could be judged.
    #[must_use]
    pub const fn congestion_marks(&self) -> u64 {
        self.ce_total
    }

    /// The mark of the next burst.
    #[must_use]
    pub const fn mark(&self) -> Ecn {
        match self.state {
            EcnState::Testing | EcnState::Capable => Ecn::Ect0,
            EcnState::Unknown | EcnState::Failed => Ecn::NotEct,
        }
    }

    /// A packet left with ECT(0).
    pub fn on_marked_sent(&mut self, now: Timestamp, level: EncryptionLevel) {
        let ledger = self.ledger_mut(level);
        ledger.marked = ledger.marked.saturating_add(1);
        self.sent = self.sent.saturating_add(1);
        self.since.get_or_insert(now);
        if self.state == EcnState::Testing && self.sent >= TEST_PACKETS {
            self.end_test();
        }
    }

    /// Time passes; `pto` is the path's without back-off.
    pub fn on_time(&mut self, now: Timestamp, pto: Duration) {
        if self.state == EcnState::Testing && self.since.is_some_and(|since| now.saturating_since(since) > pto.saturating_mul(TEST_PTOS)) {
            self.end_test();
        }
    }

    /// A PTO, the `count`-th in a row: what follows goes without marks, in case they are why nobody answers.
    pub fn on_pto(&mut self, count: u32) {
        match self.state {
            EcnState::Testing if self.acked == 0 && self.sent > 0 => self.state = EcnState::Unknown,
            EcnState::Capable if count >= DOUBT_PTOS => {
                (self.state, self.acked, self.lost, self.ce) = (EcnState::Unknown, 0, 0, 0);
            }
            _ => {}
        }
    }

    /// The handshake is confirmed: the fate of its marks may have gone with its keys, so an open outcome is tested again.
    pub fn on_confirmed(&mut self) {
        if self.state == EcnState::Unknown && self.acked == 0 {
            self.test_again();
        }
    }

    /// Packets sent with ECT(0) over this network path were declared lost.
    pub fn on_marked_lost(&mut self, packets: u64) {
        self.lost = self.lost.saturating_add(packets);
        let open = matches!(self.state, EcnState::Testing | EcnState::Unknown);
        if open && self.acked == 0 && self.lost >= ENOUGH {
            self.state = EcnState::Failed;
        }
    }

    /// Judges an ACK frame of one space.
    pub fn on_ack(&mut self, level: EncryptionLevel, ack: &AckedMarks) -> EcnSignal {
        if !ack.raises_largest {
            return EcnSignal::None;
        }
        let ledger = *self.ledger_mut(level);
        let Some(increase) = increase(&ledger, ack) else {
            self.state = EcnState::Failed;
            self.keep_counts(level, ack.counts);
            return EcnSignal::None;
        };
        self.keep_counts(level, ack.counts);
        if self.state == EcnState::Failed {
            return EcnSignal::None;
        }
        self.acked = self.acked.saturating_add(ack.marked);
        self.ce = self.ce.saturating_add(increase.ce);
        self.ce_total = self.ce_total.saturating_add(increase.ce);
        if self.state == EcnState::Unknown && self.acked >= ENOUGH && self.ce >= self.acked {
            // A path that marks everything tells nothing (RFC 9000 appendix A.4).
            self.state = EcnState::Failed;
        } else if self.state == EcnState::Unknown && ack.marked > 0 && self.acked > self.ce {
            self.state = EcnState::Capable;
        } else if self.state == EcnState::Unknown && self.acked == 0 && self.lost > 0 && ack.packets > 0 {
            // Unmarked packets arrive and too few marked ones were lost to blame the marks: once more.
            self.test_again();
        }
        if increase.ce > 0 { EcnSignal::Congestion(increase.ce) } else { EcnSignal::None }
    }

    const fn test_again(&mut self) {
        (self.state, self.sent, self.since) = (EcnState::Testing, 0, None);
    }

    /// Enough marks are out; what was acknowledged already decides.
    fn end_test(&mut self) {
        self.state = if self.acked > self.ce { EcnState::Capable } else { EcnState::Unknown };
    }

    fn keep_counts(&mut self, level: EncryptionLevel, counts: Option<EcnCounts>) {
        if let Some(counts) = counts {
            self.ledger_mut(level).counts = counts;
        }
    }

    fn ledger_mut(&mut self, level: EncryptionLevel) -> &mut Ledger {
        let [initial, handshake, application] = &mut self.ledgers;
        match level {
            EncryptionLevel::Initial => initial,
            EncryptionLevel::Handshake => handshake,
            EncryptionLevel::ZeroRtt | EncryptionLevel::OneRtt => application,
        }
    }
}

/// How the counts grew; `None` if that cannot be (RFC 9000 §13.4.2.1).
fn increase(ledger: &Ledger, ack: &AckedMarks) -> Option<EcnCounts> {
    let Some(counts) = ack.counts else {
        // Neither a peer that does not count nor a network that clears marks is of use.
        return (ack.marked == 0).then(EcnCounts::default);
    };
    let ect0 = counts.ect0.checked_sub(ledger.counts.ect0)?;
    let ce = counts.ce.checked_sub(ledger.counts.ce)?;
    // Nothing is ever sent with ECT(1), and nothing but ECT(0) can become CE.
    let possible = counts.ect1 == 0 && counts.ect0.saturating_add(counts.ce) <= ledger.marked;
    (possible && ect0.saturating_add(ce) >= ack.marked).then_some(EcnCounts { ect0, ect1: 0, ce })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVEL: EncryptionLevel = EncryptionLevel::OneRtt;
    const NOW: Timestamp = Timestamp::from_millis(1_000);

    /// A path on which this many marked packets were sent.
    fn tested(packets: u64) -> EcnPath {
        let mut path = EcnPath::new(Marking::Wanted);
        for _ in 0..packets {
            path.on_marked_sent(NOW, LEVEL);
        }
        path
    }

    const fn ack(marked: u64, ect0: u64, ce: u64) -> AckedMarks {
        AckedMarks { raises_largest: true, packets: marked, marked, counts: Some(EcnCounts { ect0, ect1: 0, ce }) }
    }

    #[test]
    fn a_path_is_capable_once_the_peer_has_counted_marks_of_a_test() {
        let mut path = tested(9);
        assert_eq!((path.state(), path.mark()), (EcnState::Testing, Ecn::Ect0));
        path.on_marked_sent(NOW, LEVEL);
        assert_eq!((path.state(), path.mark()), (EcnState::Unknown, Ecn::NotEct));
        assert_eq!(path.on_ack(LEVEL, &ack(2, 2, 0)), EcnSignal::None);
        assert_eq!((path.state(), path.mark()), (EcnState::Capable, Ecn::Ect0));
    }

    #[test]
    fn a_test_whose_first_marks_were_counted_ends_capable() {
        let mut path = tested(5);
        path.on_ack(LEVEL, &ack(5, 5, 0));
        assert_eq!(path.state(), EcnState::Testing, "ten packets tell more than five");
        path.on_time(NOW + Duration::from_secs(1), Duration::from_millis(100));
        assert_eq!(path.state(), EcnState::Capable);
    }

    /// Shows 9000-13.4.2.2-1, 9000-13.4.2.2-4. attacks C7
    #[test]
    fn attack_c7_counts_that_cannot_be_end_marking_in_every_state() {
        let cases = [
            ("no counts for marked packets", AckedMarks { counts: None, ..ack(1, 0, 0) }),
            ("less than newly acknowledged", ack(3, 6, 0)),
            ("decreasing ECT(0)", ack(1, 4, 4)),
            ("more ECT(0) than were sent", ack(1, 21, 0)),
            ("more CE than were marked", ack(1, 6, 15)),
            ("ECT(1) that nobody sent", AckedMarks { counts: Some(EcnCounts { ect0: 10, ect1: 1, ce: 0 }), ..ack(1, 0, 0) }),
        ];
        for (name, bad) in cases {
            for packets in [5, 20] {
                let mut path = tested(packets);
                path.on_ack(LEVEL, &ack(5, 5, 0));
                path.on_ack(LEVEL, &bad);
                assert_eq!((path.state(), path.mark()), (EcnState::Failed, Ecn::NotEct), "{name} after {packets} packets");
            }
        }
    }

    /// Shows 9000-13.4.2.1-1.
    #[test]
    fn an_ack_that_does_not_raise_the_largest_number_fails_nothing() {
        let mut path = tested(20);
        path.on_ack(LEVEL, &ack(5, 5, 0));
        let old = AckedMarks { raises_largest: false, ..ack(3, 1, 0) };
        assert_eq!(path.on_ack(LEVEL, &old), EcnSignal::None);
        assert_eq!(path.state(), EcnState::Capable);
        path.on_ack(LEVEL, &ack(3, 8, 0));
        assert_eq!(path.state(), EcnState::Capable, "counts of the old frame are not the baseline");
    }

    #[test]
    fn counts_may_grow_by_more_than_is_newly_acknowledged() {
        let mut path = tested(20);
        path.on_ack(LEVEL, &ack(1, 9, 0));
        assert_eq!(path.state(), EcnState::Capable);
    }

    // attacks C7
    #[test]
    fn attack_c7_a_path_that_marks_everything_is_not_believed() {
        let mut path = tested(10);
        path.on_ack(LEVEL, &ack(4, 0, 4));
        assert_eq!((path.state(), path.mark()), (EcnState::Failed, Ecn::NotEct));
    }

    #[test]
    fn growth_of_ce_is_congestion_and_repetition_is_not() {
        let mut path = tested(20);
        path.on_ack(LEVEL, &ack(5, 5, 0));
        assert_eq!(path.on_ack(LEVEL, &ack(5, 8, 2)), EcnSignal::Congestion(2));
        assert_eq!(path.on_ack(LEVEL, &ack(1, 9, 2)), EcnSignal::None);
        assert_eq!(path.congestion_marks(), 2);
    }

    #[test]
    fn a_path_that_loses_every_mark_goes_on_without() {
        let mut path = tested(2);
        path.on_pto(1);
        assert_eq!(path.mark(), Ecn::NotEct, "the repetition is not marked");
        path.on_marked_lost(2);
        assert_eq!(path.state(), EcnState::Unknown, "two losses are bad luck");
        path.on_ack(LEVEL, &AckedMarks { counts: None, packets: 1, ..ack(0, 0, 0) });
        assert_eq!(path.state(), EcnState::Testing, "so it is tried once more");
        path.on_marked_sent(NOW, LEVEL);
        path.on_marked_sent(NOW, LEVEL);
        path.on_marked_lost(2);
        assert_eq!(path.state(), EcnState::Failed);
    }

    #[test]
    fn a_capable_path_that_falls_silent_goes_on_without_marks_and_is_believed_again() {
        let mut path = tested(20);
        path.on_ack(LEVEL, &ack(5, 5, 0));
        path.on_pto(1);
        assert_eq!(path.mark(), Ecn::Ect0);
        path.on_pto(2);
        assert_eq!(path.mark(), Ecn::NotEct);
        path.on_ack(LEVEL, &ack(1, 6, 0));
        assert_eq!(path.state(), EcnState::Capable);
    }

    #[test]
    fn spaces_count_apart_and_another_network_is_tested_anew() {
        let mut path = tested(20);
        path.on_marked_sent(NOW, EncryptionLevel::Initial);
        path.on_ack(EncryptionLevel::Initial, &ack(1, 1, 0));
        path.on_ack(LEVEL, &ack(3, 3, 0));
        assert_eq!(path.state(), EcnState::Capable);
        let before = path;
        let mut path = EcnPath::new(Marking::Wanted);
        path.continue_from(&before);
        assert_eq!(path.state(), EcnState::Testing);
        path.on_marked_sent(NOW, LEVEL);
        path.on_ack(LEVEL, &ack(1, 21, 0));
        assert_eq!(path.state(), EcnState::Testing, "late counts of the old network are no error");
    }

    #[test]
    fn the_option_switches_marks_off() {
        let mut path = EcnPath::new(Marking::Off);
        assert_eq!((path.state(), path.mark()), (EcnState::Failed, Ecn::NotEct));
        path.continue_from(&EcnPath::new(Marking::Off));
        assert_eq!(path.mark(), Ecn::NotEct);
    }
}
