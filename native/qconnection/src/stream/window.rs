//! How large the receive windows are (mux R20 to R22; design §3.9).
//!
//! Streams grow by themselves up to the connection's window. The connection's window is memory of the endpoint's pool, so
//! it only says what it would like to have; [`Streams::settle_window`] asks the pool. Called by the writer of MAX_DATA and
//! MAX_STREAM_DATA and by the connection when a datagram arrives. Never takes back what the peer was promised.

use super::{Streams, map::Key};
use qrecovery::{
    buffer::BufferPool,
    flow::{ReceiveWindow, Tempo},
};

impl Streams {
    /// MAX_DATA is about to be written.
    pub(super) fn tune_connection(&mut self, tempo: Tempo) {
        let wanted = self.window.tune(tempo).min(self.config.max_connection_window);
        self.wanted_window = wanted.max(self.window.window());
        self.window_due = true;
    }

    /// So many paths carry data.
    pub const fn on_paths(&mut self, open: usize) {
        self.several_paths = open > 1;
    }

    /// A stream has a hole that waits for a slow path: its window and the connection's become as large as several paths
    /// need, without waiting for the application, which cannot take anything (attacks F19).
    pub(super) fn widen(&mut self, key: Key) {
        if let Some(wanted) = self.window.behind_hole() {
            self.wanted_window = self.wanted_window.max(wanted.min(self.config.max_connection_window));
            self.window_due |= self.wanted_window > self.window.window();
        }
        let most = self.config.max_stream_window.min(self.window.window());
        let Some(stream) = self.map.get_mut(key) else { return };
        let ticket = stream.ticket(key);
        let Some(recv) = &mut stream.recv else { return };
        if let Some(wanted) = recv.window.behind_hole().map(|wanted| wanted.min(most))
            && wanted > recv.window.window()
        {
            recv.window.set_window(wanted);
            if recv.window_update().is_some() {
                self.control.add(ticket, &mut stream.control);
            }
        }
    }

    /// The window of the connection changed its needs: [`Streams::settle_window`] has something to do.
    #[must_use]
    #[inline]
    pub const fn is_window_due(&self) -> bool {
        self.window_due
    }

    /// Bytes the window should have and the pool had no memory for.
    #[must_use]
    #[inline]
    pub fn waits_for_growth(&self) -> Option<u64> {
        self.growth_waits.then_some(self.wanted_window)
    }

    /// Grows the connection's window if the pool has the memory, shrinks it if the pool is pressed, and gives back what is
    /// promised no longer. `reserved` is what the pool keeps for this connection; answers what it keeps from now on.
    pub fn settle_window(&mut self, reserved: u64, pool: &mut BufferPool) -> u64 {
        self.window_due = false;
        let window = self.window.window();
        let mut reserved = reserved;
        if pool.is_pressed() {
            let least = self.config.connection_window.min(window);
            self.window.set_window((window / 2).max(least));
        } else if self.wanted_window > window && pool.grow_window(reserved, self.wanted_window.max(reserved)) {
            reserved = reserved.max(self.wanted_window);
            self.window.set_window(self.wanted_window);
        }
        self.growth_waits = self.wanted_window > self.window.window();
        // A promise outlives the window it was made with.
        let needed = self.window.window().max(self.window.promised());
        if needed < reserved {
            pool.shrink_window(reserved, needed);
            reserved = needed;
        }
        reserved
    }

    /// The connection's receive window, bytes.
    #[must_use]
    pub const fn receive_window(&self) -> u64 {
        self.window.window()
    }
}

/// MAX_STREAM_DATA is about to be written: the stream's window grows to `most` bytes at most.
pub(super) fn tune_stream(window: &mut ReceiveWindow, tempo: Tempo, most: u64) {
    let wanted = window.tune(tempo).min(most);
    if wanted > window.window() {
        window.set_window(wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{StreamsConfig, tests::config};
    use super::*;
    use qbase::{Role, Timestamp};
    use qrecovery::buffer::BLOCK_LEN;
    use std::time::Duration;

    const FIRST: u64 = 8 * BLOCK_LEN as u64;

    fn streams() -> Streams {
        Streams::new(StreamsConfig { connection_window: FIRST, max_connection_window: 4 * FIRST, ..config(Role::Server) })
    }

    /// The peer sends and the application takes a quarter of the window every millisecond of a long path.
    fn hungry(streams: &mut Streams, rounds: u64) {
        for round in 0..rounds {
            let quarter = streams.window.window() / 4;
            streams.window.on_received(quarter).unwrap();
            streams.window.on_taken(quarter);
            let limit = streams.window.update().unwrap();
            streams.window.on_update_sent(limit);
            let now = Timestamp::from_millis(round);
            streams.tune_connection(Tempo { now, round_trip: Duration::from_millis(100), several_paths: false });
        }
    }

    /// mux R20, R22.
    #[test]
    fn the_window_grows_into_the_pool_up_to_its_maximum() {
        let mut pool = BufferPool::new(64 * FIRST as usize);
        let mut streams = streams();
        let mut reserved = pool.reserve_window(FIRST);
        for expected in [2 * FIRST, 4 * FIRST, 4 * FIRST] {
            hungry(&mut streams, 2);
            assert!(streams.is_window_due());
            reserved = streams.settle_window(reserved, &mut pool);
            assert_eq!((streams.receive_window(), reserved, pool.windows()), (expected, expected, expected));
            assert!(!streams.is_window_due());
        }
    }

    /// mux R20, R22.
    #[test]
    fn without_memory_the_window_stays_and_under_pressure_it_shrinks_as_promises_are_used_up() {
        let mut pool = BufferPool::new(8 * FIRST as usize);
        let mut streams = streams();
        let mut reserved = pool.reserve_window(FIRST);
        for _ in 0..2 {
            hungry(&mut streams, 2);
            reserved = streams.settle_window(reserved, &mut pool);
        }
        assert_eq!((streams.receive_window(), reserved), (4 * FIRST, 4 * FIRST));
        hungry(&mut streams, 2);
        let others = pool.reserve_window(4 * FIRST);
        assert!(pool.is_pressed());
        for window in [2 * FIRST, FIRST, FIRST] {
            reserved = streams.settle_window(reserved, &mut pool);
            assert_eq!(streams.receive_window(), window);
            assert!(reserved >= streams.window.promised(), "a promise is never taken back");
        }
        assert_eq!(reserved, streams.window.promised());
        // The peer uses the old promise up; the new window is all that is left.
        let promised = streams.window.promised();
        streams.window.on_received(promised).unwrap();
        streams.window.on_taken(promised);
        reserved = streams.settle_window(reserved, &mut pool);
        assert_eq!((reserved, pool.windows()), (FIRST, FIRST + others));
    }
}
