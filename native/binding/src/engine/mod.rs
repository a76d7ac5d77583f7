//! The half of an endpoint on the I/O thread: commands of JavaScript in, facts and bytes of the machine out
//! (docs/design/ring).
//!
//! | file | job |
//! |---|---|
//! | `commands` | what JavaScript wants |
//! | `dial` | sockets, connections of our own |
//! | `visit` | what happened to a connection since it was last looked at |
//! | `stream`, `connection` | what is kept of each for JavaScript |
//! | `fill` | stream bytes, in turns |
//! | `datagrams` | messages, both ways |
//! | `raw` | datagrams that are no QUIC, both ways |
//! | `migrate` | moves of paths |
//! | `splice` | TCP connections joined to streams |
//! | `nat`, `traversal` | what the endpoint and its connections do about NATs |
//! | `remote` | addresses that may lie behind relays |
//! | `paths`, `close`, `peer`, `early`, `trace` | facts as JSON |
//! | `plans` | when a scheduler of JavaScript's is asked |
//! | `admission` | attempts of clients, refusals, Retries |
//! | `answers`, `pages`, `stall`, `pings` | questions, numbers, round-trip times |
//! | `qlog` | logs of connections |
//! | `outbox` | records |
//!
//! Called by the driver once per turn. Never waits for JavaScript: when too much waits to be drained, events and bytes
//! stay in the machine, whose windows then close (attacks L26).

mod admission;
mod answers;
mod close;
mod commands;
mod connection;
mod datagrams;
mod dial;
mod early;
mod fill;
mod migrate;
mod nat;
mod outbox;
mod pages;
mod paths;
mod peer;
mod pings;
mod plans;
mod qlog;
mod raw;
mod remote;
pub mod splice;
mod stall;
mod steps;
mod stream;
mod trace;
mod traversal;
mod visit;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::Duration,
};

use qbase::Timestamp;
use qdriver::{Application, Io};

use self::{connection::Table, outbox::Outbox};
use crate::{
    error::{NativeError, words},
    link::Link,
    messages::events::Event,
    options::{endpoint::SocketStyle, transport::TransportSettings},
    queue::{commands::Receiver, layout::Kind, records},
    wake::Wake,
};

/// Payload bytes that are worth a call into JavaScript at once (streams-over-ring S2).
const WAKE_BYTES: usize = 192 * 1_024;
/// Longest that stream bytes wait for more of them (streams-over-ring S2).
const WAKE_AFTER: Duration = Duration::from_micros(250);
/// In virtual time: least time between two calls for stream bytes.
const CALL_SPACING: Duration = Duration::from_millis(1);
/// Datagrams read in a turn that mean "there may be more": the driver's budget per socket.
const FULL_READ: u64 = 64;
/// The same in bytes.
const FULL_READ_BYTES: u64 = 512 * 1_024;
/// Longest that a closing endpoint waits for its last datagrams.
const LAST_DATAGRAMS: Duration = Duration::from_millis(500);

/// Everything the I/O thread owns for JavaScript.
pub struct Engine {
    link: Arc<Link>,
    wake: Arc<Wake>,
    commands: Receiver,
    out: Outbox,
    table: Table,
    /// How sockets are made.
    sockets: SocketStyle,
    /// Settings of newcomers, while they are welcome.
    newcomers: Option<TransportSettings>,
    /// Streams with bytes to hand over: connection key and stream id, each at most once.
    ready: VecDeque<(u32, u64)>,
    /// Connections that JavaScript wants closed.
    closing: Vec<u32>,
    /// Connections whose scheduler is asked later, each at most once.
    planners: Vec<u32>,
    raw: raw::RawQueue,
    splices: splice::Splices,
    seen: nat::Seen,
    pages: pages::Schedule,
    pace: Pace,
    ending: Ending,
    /// What a panic said.
    broken: Option<String>,
    /// When the engine wants its next turn at the latest.
    wake_at: Option<Timestamp>,
}

/// When stream bytes are worth a call into JavaScript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Calls {
    /// When no more of them seem to be on their way: the next turn costs time.
    #[default]
    WhenQuiet,
    /// At once, but not twice within [`CALL_SPACING`]: turns cost no time, calls do.
    Spaced,
    /// At once, always: JavaScript takes turns with us on one thread, and its clock is too coarse to wait.
    AtOnce,
}

/// What the last turns were like, to choose when to call JavaScript.
#[derive(Debug, Default)]
struct Pace {
    started: bool,
    calls: Calls,
    /// When JavaScript was called last.
    called: Option<Timestamp>,
    /// Messages and bytes the driver had read before this turn.
    messages: u64,
    bytes: u64,
    /// Since when stream bytes wait for a fuller batch.
    waiting_since: Option<Timestamp>,
}

/// Where the end of the endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It is not wanted.
    No,
    /// Connections were closed; their last datagrams go out until then.
    Sending(Timestamp),
    /// The last record was made.
    Done,
}

impl Engine {
    /// An engine without connections.
    #[must_use]
    pub fn new(link: Arc<Link>, wake: Arc<Wake>, commands: Receiver, records: records::Writer, sockets: SocketStyle) -> Self {
        Self {
            link,
            wake,
            commands,
            out: Outbox::new(records),
            table: Table::default(),
            sockets,
            newcomers: None,
            ready: VecDeque::new(),
            closing: Vec::new(),
            planners: Vec::new(),
            raw: raw::RawQueue::default(),
            splices: splice::Splices::default(),
            seen: nat::Seen::default(),
            pages: pages::Schedule::default(),
            pace: Pace::default(),
            ending: Ending::No,
            broken: None,
            wake_at: None,
        }
    }

    /// For virtual time: JavaScript is called at once for stream bytes, but not twice within a millisecond.
    #[must_use]
    pub const fn with_spaced_calls(mut self) -> Self {
        self.pace.calls = Calls::Spaced;
        self
    }

    /// For carriers: JavaScript is called after every turn that has something for it.
    #[must_use]
    pub const fn with_immediate_calls(mut self) -> Self {
        self.pace.calls = Calls::AtOnce;
        self
    }

    /// Its endpoint ends at once; these words reach JavaScript.
    pub fn break_down(&mut self, words: String) {
        self.broken = Some(words);
    }

    fn turn(&mut self, io: &mut Io<'_>) {
        self.wake_at = None;
        if !self.pace.started {
            self.start(io);
        }
        self.obey(io);
        self.close_quiet_connections(io);
        self.tell_news(io);
        self.tell_nat_news(io);
        self.visit_active(io);
        self.ask_planners(io);
        self.tell_raw(io);
        self.fill(io);
        self.pump(io);
        self.hand_over_keylog();
        self.hand_over_logs(io);
        self.write_pages(io);
        self.go_on_ending(io);
        self.call_javascript(io);
        if let Some(at) = self.wake_at {
            io.wake_at(at);
        }
    }

    /// Asks for a turn at `at` at the latest.
    fn want_turn(&mut self, at: Timestamp) {
        self.wake_at = Timestamp::earliest(self.wake_at, Some(at));
    }

    /// The first turn: the clocks meet, and the sockets of the options are told.
    fn start(&mut self, io: &Io<'_>) {
        self.pace.started = true;
        self.out.set_clock(io.now, self.link.clock.now().as_millis_f64());
        let facts: Vec<_> = io.sockets().collect();
        for facts in facts {
            self.tell_bound(io.now, &facts, "options");
        }
    }

    fn hand_over_keylog(&mut self) {
        if self.is_full() {
            return;
        }
        self.out.lost = self.out.lost.saturating_add(self.link.take_lost_keylog());
        for line in self.link.take_keylog() {
            self.out.payload(Kind::Keylog, 0, line.as_bytes());
        }
    }

    /// Calls JavaScript if records wait and it is time (streams-over-ring S2). While it drains on its own thread, it finds
    /// what is published; where it shares ours, records are only published for a call, so that bytes gather in one place.
    fn call_javascript(&mut self, io: &Io<'_>) {
        if self.pace.calls == Calls::WhenQuiet {
            self.out.records.publish();
        }
        let statistics = io.statistics();
        let messages = statistics.messages_received.saturating_sub(self.pace.messages);
        let bytes = statistics.bytes_received.saturating_sub(self.pace.bytes);
        (self.pace.messages, self.pace.bytes) = (statistics.messages_received, statistics.bytes_received);
        if !self.out.records.is_waiting() {
            self.pace.waiting_since = None;
            return;
        }
        let since = *self.pace.waiting_since.get_or_insert(io.now);
        let (is_due, due_at) = match (self.pace.calls, self.pace.called) {
            (Calls::WhenQuiet, _) => {
                let is_old = io.now.saturating_since(since) >= WAKE_AFTER;
                (is_old || (messages < FULL_READ && bytes < FULL_READ_BYTES), since + WAKE_AFTER)
            }
            (Calls::AtOnce, _) | (Calls::Spaced, None) => (true, since),
            (Calls::Spaced, Some(called)) => (io.now >= called + CALL_SPACING, called + CALL_SPACING),
        };
        if self.out.urgent || is_due || self.out.records.waiting_bytes() >= WAKE_BYTES {
            self.out.urgent = false;
            self.pace.waiting_since = None;
            self.pace.called = Some(io.now);
            self.out.records.publish();
            if self.out.records.claim_wake() == records::Wake::Yes {
                self.wake.call();
            }
        } else {
            self.want_turn(due_at);
        }
    }

    /// Begins the end: nobody is welcome, every connection is closed.
    fn begin_ending(&mut self, io: &mut Io<'_>) {
        if self.ending != Ending::No {
            return;
        }
        self.ending = Ending::Sending(io.now + LAST_DATAGRAMS);
        self.newcomers = None;
        io.endpoint.listen(None);
        let keys: Vec<u32> = self.table.keys().collect();
        for key in keys {
            self.close_now(io, key);
        }
    }

    /// Ends the endpoint when its last datagrams have gone: sockets first, so that their addresses are free when
    /// JavaScript hears of it.
    fn go_on_ending(&mut self, io: &mut Io<'_>) {
        let Ending::Sending(until) = self.ending else { return };
        let is_told = self.table.keys().all(|key| self.table.get(key).is_none_or(|connection| !connection.is_live()));
        if io.now < until && (io.endpoint.wants_to_send() || !is_told) {
            self.want_turn(io.now);
            return;
        }
        let bound: Vec<_> = io.sockets().map(|facts| facts.local).collect();
        for local in bound {
            io.unbind(local);
        }
        self.link.set_local(Vec::new());
        self.write_all_pages(io);
        self.end(io.now, None);
        io.stop();
    }

    /// The last record of all.
    fn end(&mut self, now: Timestamp, error: Option<NativeError>) {
        if self.ending == Ending::Done {
            return;
        }
        self.ending = Ending::Done;
        let at_ms = self.out.at_ms(now);
        self.out.event(0, &Event::EndpointClosed { at_ms, error });
        self.out.records.publish();
        self.link.end();
        self.out.urgent = true;
    }
}

impl Application for Engine {
    fn on_turn(&mut self, io: &mut Io<'_>) {
        // The thread ends by the panic; what it said is kept for JavaScript.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.turn(io))) {
            self.broken = Some(words(panic.as_ref()));
            resume_unwind(panic);
        }
    }
}

/// However the thread ends, JavaScript hears of it. Of one that never began it has heard by an error.
impl Drop for Engine {
    fn drop(&mut self) {
        if self.ending == Ending::Done || !self.pace.started {
            return;
        }
        let what = self.broken.take().unwrap_or_else(|| "the I/O thread has ended".to_owned());
        let error = (!self.link.is_abandoned()).then(|| NativeError::internal(what));
        let now = self.link.clock.now();
        self.out.set_clock(now, now.as_millis_f64());
        self.end(now, error);
        if self.out.records.claim_wake() == records::Wake::Yes {
            self.wake.call();
        }
    }
}

#[cfg(test)]
mod tests;
