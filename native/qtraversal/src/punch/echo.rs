//! Answers to HELLOs: PUNCH_DONE once over the connection and three times straight back (traversal T-65, T-84, T-87).
//!
//! Decides when copies leave. Called by the puncher. Never answers more often than the budget for that address allows.

use std::{collections::VecDeque, time::Duration};

use qbase::{Timestamp, limits};

use super::{Hole, Output, Probe, strategy::HELLO_TTL};
use crate::{
    TraversalFrame,
    budget::ProbeBudget,
    frame::{PunchDone, PunchHello, PunchId},
};

/// Copies sent straight back (traversal T-87).
const COPIES: u8 = 3;
/// How far apart (traversal T-87).
const INTERVAL: Duration = Duration::from_millis(30);

/// One link on which DONE is repeated.
#[derive(Clone, Copy, Debug)]
struct Echo {
    hole: Hole,
    done: PunchDone,
    left: u8,
    next_at: Timestamp,
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    links: VecDeque<Echo>,
}

impl Echoes {
    /// A HELLO came. The first one of a link is answered in full, further ones by a copy each.
    pub(super) fn on_hello(&mut self, hello: PunchHello, hole: Hole, now: Timestamp, budget: &mut ProbeBudget, out: &mut VecDeque<Output>) {
        let done = hello.done();
        match self.links.iter_mut().find(|echo| echo.hole == hole && echo.done == done) {
            Some(echo) if echo.left == 0 => (echo.left, echo.next_at) = (1, now),
            Some(_) => {}
            None if budget.spent(hole.remote.ip(), now) >= limits::SEARCH_PROBES_PER_ADDRESS => {}
            None => {
                out.push_back(Output::Frame(TraversalFrame::PunchDone(done)));
                if self.links.len() >= limits::PUNCH_ECHOES {
                    self.links.pop_front();
                }
                self.links.push_back(Echo { hole, done, left: COPIES, next_at: now });
            }
        }
        self.advance(now, budget, out);
    }

    /// Sends the copies that are due.
    pub(super) fn advance(&mut self, now: Timestamp, budget: &mut ProbeBudget, out: &mut VecDeque<Output>) {
        for echo in self.links.iter_mut().filter(|echo| echo.left > 0 && echo.next_at <= now) {
            if budget.spend_answer(echo.hole.remote, now).is_err() {
                echo.left = 0;
                continue;
            }
            echo.left = echo.left.saturating_sub(1);
            echo.next_at = now + INTERVAL;
            let Hole { from, remote: to } = echo.hole;
            let frame = TraversalFrame::PunchDone(echo.done);
            out.push_back(Output::Probe(Probe { id: echo.done.id, from, to, ttl: HELLO_TTL, frame, destination: 0 }));
        }
    }

    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.links.iter().filter(|echo| echo.left > 0).map(|echo| echo.next_at).min()
    }

    /// Nothing more is said about these pairs.
    pub(super) fn forget(&mut self, is_meant: impl Fn(PunchId) -> bool) {
        self.links.retain(|echo| !is_meant(echo.done.id));
    }
}
