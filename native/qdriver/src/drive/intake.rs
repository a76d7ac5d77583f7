//! One received message on its way into the machine, or past it to where a relay sends it on.
//!
//! The machine judges whole trains before they are cut up (traversal T-32). A run of datagrams that goes on leaves by the socket
//! it came by, in one call, from the buffer it was received in, with the ECN mark it had: to congestion control a relay is a
//! router. And as a router with a full queue it drops: the kernel's buffer is queue enough, and what waits behind it would only
//! get older. Bursts of our own connections that wait for the socket come first. Called by [`super::turn`]. Never copies.

use qbase::{Ecn, FourTuple, Timestamp, limits};

use super::{
    machine::{Machine, Received, RunFate},
    raw::{Kept, RawInbox},
    sockets::Entry,
    stats::DriverStatistics,
};
use crate::socket::{Parcel, receive::Message};

/// Where messages go.
pub(super) struct Intake<'a, M> {
    pub(super) machine: &'a mut M,
    pub(super) raw: &'a mut RawInbox,
    pub(super) statistics: &'a mut DriverStatistics,
    pub(super) now: Timestamp,
}

impl<M: Machine> Intake<'_, M> {
    /// Takes all datagrams of a message that `entry` received.
    pub(super) fn take(&mut self, entry: &mut Entry<M::Burst>, message: Message<'_>) {
        if message.is_empty() {
            self.statistics.empty_datagrams = self.statistics.empty_datagrams.saturating_add(1);
            return;
        }
        let four_tuple = entry.socket.four_tuple(message.meta);
        let ecn = message.ecn;
        self.statistics.bytes_received = self.statistics.bytes_received.saturating_add(message.len() as u64);
        let (mut train, segment_len) = message.into_train();
        while !train.is_empty() {
            let routed = self.machine.route_run(self.now, four_tuple, train, segment_len);
            let len = routed.len.clamp(1, train.len());
            let (run, rest) = train.split_at_mut(len);
            train = rest;
            match routed.fate {
                RunFate::Take => self.hand_over(four_tuple, ecn, run, segment_len),
                RunFate::Forward(remote) => {
                    let parcel = Parcel {
                        remote,
                        source: Some(four_tuple.local.ip()),
                        ecn,
                        hop_limit: entry.socket.unless_default(limits::RELAY_HOP_LIMIT),
                        segment_size: segment_len.min(run.len()),
                        bytes: run,
                    };
                    self.forward(entry, &parcel);
                }
                RunFate::Drop => self.count_received(run.len().div_ceil(segment_len)),
            }
        }
    }

    /// Datagrams for this machine.
    fn hand_over(&mut self, four_tuple: FourTuple, ecn: Ecn, run: &mut [u8], segment_len: usize) {
        for datagram in run.chunks_mut(segment_len) {
            self.count_received(1);
            if self.machine.handle_datagram(self.now, four_tuple, ecn, datagram) == Received::NotQuic
                && self.raw.push(self.now, four_tuple, ecn, datagram) == Kept::No
            {
                self.statistics.raw_dropped = self.statistics.raw_dropped.saturating_add(1);
            }
        }
    }

    /// Datagrams for somebody else.
    fn forward(&mut self, entry: &mut Entry<M::Burst>, parcel: &Parcel<'_>) {
        let segments = parcel.segments();
        self.count_received(segments);
        let taken = if entry.outbox.is_waiting() { 0 } else { self.send(entry, parcel) };
        if taken < segments {
            let bytes = parcel.without(taken).bytes.len();
            self.machine.on_unsent(segments.saturating_sub(taken), bytes);
        }
    }

    fn send(&mut self, entry: &mut Entry<M::Burst>, parcel: &Parcel<'_>) -> usize {
        let taken = entry.socket.send(parcel).taken;
        let bytes = parcel.bytes.len().saturating_sub(parcel.without(taken).bytes.len());
        let statistics = &mut *self.statistics;
        statistics.send_calls = statistics.send_calls.saturating_add(1);
        statistics.datagrams_sent = statistics.datagrams_sent.saturating_add(taken as u64);
        statistics.bytes_sent = statistics.bytes_sent.saturating_add(bytes as u64);
        taken
    }

    fn count_received(&mut self, datagrams: usize) {
        self.statistics.datagrams_received = self.statistics.datagrams_received.saturating_add(datagrams as u64);
    }
}
