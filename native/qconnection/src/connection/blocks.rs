//! Why the application's bytes stand still, how often and for how long (mux R14).
//!
//! Looked at when a turn to send ends in silence, which every event leads to. Called by the output; read by statistics and
//! `explain()`. Changes nothing but its own record.

use super::Connection;
use crate::path::{PathState, scheduler::Decision};
use qbase::Timestamp;
use qevent::{BlockReason, BlockReasons, Blocks, Signals};

impl Connection {
    /// The turn ended in silence for the reasons of `signals`.
    pub(super) fn note_silence(&mut self, now: Timestamp, signals: Signals) {
        let waits = self.streams.waits_for_memory();
        let set = BlockReasons::NONE
            .with(BlockReason::RxBuf, self.streams.waits_for_growth().is_some().into())
            .with(BlockReason::TxBuf, waits.into())
            .with(BlockReason::RxFull, self.streams.is_unread().into())
            .with(BlockReason::ConnCredit, self.streams.waits_for_connection_credit().into())
            .with(BlockReason::StreamCredit, self.streams.waits_for_stream_credit().into())
            .with(BlockReason::Gate, (self.awaits_verdict() || self.streams.held_streams() > 0).into())
            .with(BlockReason::AntiAmplification, signals.intersects(Signals::CREDIT).into());
        let set = if signals.intersects(Signals::CONGESTION) { set.union(self.reasons_of_paths(now)) } else { set };
        self.blocks.set(now, set);
    }

    /// A burst that may carry data goes out: what held it back has ended.
    #[inline]
    pub(super) fn note_progress(&mut self, now: Timestamp) {
        let set = self.blocks.now();
        if !set.common(BlockReasons::OF_SENDING).is_empty() {
            self.blocks.set(now, set.without(BlockReasons::OF_SENDING));
        }
    }

    /// Which of the two holds data back on the paths that could carry them: the congestion window or the pacer.
    fn reasons_of_paths(&mut self, now: Timestamp) -> BlockReasons {
        let mut set = BlockReasons::NONE;
        let has_data = self.streams.has_data() || !self.datagrams.send.is_empty();
        if !has_data || matches!(self.scheduling.decision, Decision::Wait(_)) {
            return set;
        }
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at) else { break };
            let in_flight = self.bytes_in_flight(path);
            let Some(entry) = self.paths.get_mut(path).filter(|entry| entry.state == PathState::Open) else { continue };
            let Some(network) = entry.network.as_deref_mut() else { continue };
            let datagram = u64::from(network.datagram());
            let paced = network.pacer.budget(now, network.controller.as_ref(), &network.rtt, datagram);
            let full = network.window_room(in_flight) < datagram;
            set = set.with(BlockReason::Cwnd, full.into()).with(BlockReason::Pacing, (!full && paced < datagram).into());
        }
        set
    }

    /// The reasons that hold, and what each has cost.
    #[must_use]
    pub const fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Bytes of memory for application data: received ones that were not read, and those that send buffers hold.
    #[must_use]
    pub fn buffered_bytes(&self) -> u64 {
        self.streams.statistics().held.saturating_add(self.streams.send_memory())
    }

    /// The connection waits for memory, to send with or for a larger window (mux R2, R22).
    #[must_use]
    pub fn waits_for_memory(&self) -> bool {
        self.streams.waits_for_memory() || self.streams.waits_for_growth().is_some()
    }
}
