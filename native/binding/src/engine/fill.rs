//! Stream bytes out of the machine and into the record queue, one piece of each stream in turn (streams-over-ring S3).
//!
//! Called once per turn, and at the end of a connection. Stops when JavaScript has enough; then the bytes stay in the
//! machine and the windows stay shut.

use qbase::StreamId;
use qdriver::Io;

use super::{
    Engine,
    stream::{Allowance, Next},
};

impl Engine {
    /// Hands pieces over until nothing is ready or enough waits.
    pub(super) fn fill(&mut self, io: &mut Io<'_>) {
        while !self.ready.is_empty() && !self.is_full() {
            let Some((key, id)) = self.ready.pop_front() else { return };
            let Some(connection) = self.table.get_mut(key).filter(|connection| connection.is_live()) else { continue };
            let Some(stream) = connection.streams.get_mut(&id) else { continue };
            stream.queued = false;
            self.hand_over(io, key, StreamId(id));
        }
    }

    /// Hands every part over whole whose bytes have all arrived: a finished transfer can be read after the end.
    pub(super) fn fill_complete(&mut self, io: &mut Io<'_>, key: u32) {
        let Some(connection) = self.table.get_mut(key) else { return };
        let Some(machine) = io.endpoint.connection_mut(connection.handle) else { return };
        // In the order of ids, in which the peer opened them.
        let mut ids: Vec<u64> = connection.streams.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            if !machine.stream_facts().is_complete(StreamId(id)) {
                continue;
            }
            let out = &mut self.out;
            while connection.change(id, |stream| stream.hand_over(key, StreamId(id), machine, out, Allowance::Whole)) == Some(Next::More) {}
        }
    }
}
