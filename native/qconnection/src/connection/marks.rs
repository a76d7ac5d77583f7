//! ECN as the connection sees it: the mark of a burst, and what the peer counted (RFC 9000 §13.4, RFC 9002 §7.1).
//!
//! Called by the output and the acknowledgements. The test of each path stands in `path/ecn`.

use super::{Connection, input::Opened};
use crate::path::ecn::{AckedMarks, EcnSignal};
use qbase::{Ecn, PathId, Timestamp, frame::EcnCounts};
use qrecovery::sent::AckOutcome;

impl Connection {
    /// The mark of the burst that leaves on `path` now.
    pub(super) fn take_mark(&mut self, now: Timestamp, path: PathId) -> Ecn {
        let max_ack_delay = self.peer_max_ack_delay();
        let is_shared = self.one_space.is_some();
        let Some(network) = self.network_mut(path) else { return Ecn::NotEct };
        if is_shared {
            network.ecn.switch_off();
        }
        let pto = network.pto(max_ack_delay);
        network.ecn.on_time(now, pto);
        network.ecn.mark()
    }

    /// An ACK frame told something new: its counts are judged, and growth of CE is congestion, once per round trip
    /// (RFC 9002 §B.7: the controller compares send times).
    pub(super) fn on_marks_acked(&mut self, opened: &Opened, path: PathId, counts: Option<EcnCounts>, outcome: &AckOutcome) {
        let now = opened.arrival.now;
        if self.one_space.is_some() && opened.level == qbase::EncryptionLevel::OneRtt {
            return;
        }
        let Some(network) = self.network_mut(path) else { return };
        let ack = AckedMarks { raises_largest: outcome.raises_largest, packets: outcome.newly_acked, marked: outcome.ect0, counts };
        let signal = network.ecn.on_ack(opened.level, &ack);
        if let (EcnSignal::Congestion(_), Some(newest)) = (signal, outcome.largest_newly) {
            network.controller.on_ecn_ce(now, newest.sent_at);
        }
    }
}
