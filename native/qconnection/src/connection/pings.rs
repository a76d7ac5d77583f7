//! Round-trip times that the application asks for: PING on one path or all, and the first answer.
//!
//! Decides when a PING is owed and what its answer means; the path's sources write it. An answer is an acknowledgement, so
//! the delay that the peer owns up to is taken off (RFC 9002 §5.3). Called by the application and by acknowledgements.

use super::{Connection, State, events::Event};
use qbase::{PathId, Timestamp, limits};
use std::{collections::VecDeque, time::Duration};

/// Why a path is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PingError {
    /// There is no such path in use.
    #[error("there is no such path")]
    UnknownPath,
    /// Too many wait for an answer.
    #[error("too many pings wait for an answer")]
    TooMany,
    /// The connection is over.
    #[error("the connection is closed")]
    Closed,
}

/// A ping that waits.
#[derive(Clone, Copy, Debug)]
struct Ping {
    id: u64,
    /// `None`: whichever answers first.
    path: Option<PathId>,
    since: Timestamp,
}

/// Those that wait, at most [`limits::PINGS_WAITING`].
#[derive(Debug, Default)]
pub(crate) struct Pings {
    last: u64,
    waiting: VecDeque<Ping>,
    /// What the acknowledgement at hand says of its delay.
    delay: Duration,
}

impl Pings {
    /// An acknowledgement is about to be read.
    #[inline]
    pub(super) fn on_ack_delay(&mut self, delay: Duration) {
        self.delay = delay;
    }
}

impl Connection {
    /// Sends a PING on a path, or on all that are open, and answers its id: `Event::Pong` tells of the first answer. Before
    /// the handshake is complete it waits. A PING that is lost is sent again.
    ///
    /// # Errors
    /// See [`PingError`].
    pub fn ping_path(&mut self, now: Timestamp, path: Option<PathId>) -> Result<u64, PingError> {
        if !matches!(self.state, State::Handshaking | State::Open) {
            return Err(PingError::Closed);
        }
        let Self { paths, pings, .. } = self;
        let is_live = |path: PathId| paths.get(path).is_some_and(|entry| entry.is_live());
        if path.is_some_and(|path| !is_live(path)) {
            return Err(PingError::UnknownPath);
        }
        // A path that has gone answers no more.
        pings.waiting.retain(|ping| ping.path.is_none_or(is_live));
        if pings.waiting.len() >= limits::PINGS_WAITING {
            return Err(PingError::TooMany);
        }
        self.pings.last = self.pings.last.saturating_add(1);
        let id = self.pings.last;
        self.pings.waiting.push_back(Ping { id, path, since: now });
        for at in 0..self.paths.len() {
            let Some(other) = self.paths.id_at(at) else { break };
            if path.is_none_or(|path| path == other)
                && let Some(network) = self.network_mut(other)
            {
                network.ping_owed = true;
            }
        }
        Ok(id)
    }

    /// The peer acknowledged a PING that left at `sent_at`.
    pub(super) fn on_echo(&mut self, now: Timestamp, path: PathId, sent_at: Timestamp) {
        let elapsed = now.saturating_since(sent_at);
        let (delay, longest) = (self.pings.delay, self.peer_parameters.max_ack_delay);
        let least = self.network(path).filter(|network| network.rtt.first_sample_at().is_some()).map_or(elapsed, |network| network.rtt.min());
        let without = elapsed.saturating_sub(delay.min(longest));
        // As for RTT samples: the delay counts no further than the least round trip (RFC 9002 §5.3).
        let rtt = without.max(least.min(elapsed));
        let mut answered = Vec::new();
        self.pings.waiting.retain(|ping| {
            let is_answer = ping.since <= sent_at && ping.path.is_none_or(|wanted| wanted == path);
            if is_answer {
                answered.push(ping.id);
            }
            !is_answer
        });
        self.events.extend(answered.into_iter().map(|id| Event::Pong { id, path, rtt }));
    }

    /// A PING was lost: it goes out again if somebody waits for it.
    pub(super) fn on_echo_lost(&mut self, path: PathId) {
        let is_wanted = self.pings.waiting.iter().any(|ping| ping.path.is_none_or(|wanted| wanted == path));
        if is_wanted
            && let Some(network) = self.network_mut(path)
        {
            network.ping_owed = true;
        }
    }
}
