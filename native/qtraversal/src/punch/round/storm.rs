//! The steps of a round that send many probes: both halves of a port search (traversal T-90…T-97).
//!
//! Decides when the next burst or socket is due, and waits in line for a lease first. Called by the round for its steps
//! `Collision` and `PortSearch`; which port and which socket is [`crate::punch::search`]'s part.

use std::time::Duration;

use super::{Counts, Doing, End, Round, Turn};
use crate::punch::{
    Effects, Output, Reason, Socket,
    search::{Collision, KNOCK_BURST, KNOCK_INTERVAL, Move, Search},
    strategy::{HELLO_TTL, KNOCK_TTL, Step},
};

/// How often the budget is asked for a lease.
const LEASE_INTERVAL: Duration = Duration::from_millis(100);

impl Round {
    /// Takes the lease a search needs, or waits in line for it.
    pub(super) fn lease(&mut self, fx: &mut Effects<'_>, step: Step) -> Turn {
        let need = step.need(&self.local);
        if self.ticket.is_none() {
            self.ticket = need.and_then(|need| fx.budget.ask(need).ok());
        }
        let Some(ticket) = self.ticket else { return Turn::Ends(End::Failed(Reason::Budget)) };
        if !fx.budget.grant(ticket, fx.now) {
            self.doing = Doing::Leasing { step, ask_at: fx.now + LEASE_INTERVAL };
            return Turn::Sleeps;
        }
        let peer = self.remote.address;
        self.doing = match step {
            Step::Collision => {
                let is_same = self.collision.as_ref().is_some_and(|collision| collision.peer().ip() == peer.ip());
                if !is_same {
                    self.collision = Some(Collision::new(peer));
                }
                Doing::Knocking { next_at: fx.now }
            }
            _ => {
                self.search.get_or_insert_with(|| Search::new(fx.rtt));
                Doing::Searching { next_at: fx.now }
            }
        };
        Turn::Again
    }

    /// One burst of knocks (traversal T-95).
    pub(super) fn knock(&mut self, fx: &mut Effects<'_>) -> Turn {
        for _ in 0..KNOCK_BURST {
            let Some(target) = self.collision.as_mut().and_then(|collision| collision.next(fx.dice)) else { return self.next_step() };
            match self.send(fx, self.socket, target, KNOCK_TTL, 0, Counts::AsSearch) {
                Ok(()) => {}
                // What is open is open: the plan goes on with it.
                Err(Reason::Budget) => return self.next_step(),
                Err(reason) => return Turn::Ends(End::Failed(reason)),
            }
        }
        self.doing = Doing::Knocking { next_at: fx.now + KNOCK_INTERVAL };
        Turn::Again
    }

    /// One more socket (traversal T-90…T-92).
    pub(super) fn search(&mut self, fx: &mut Effects<'_>) -> Turn {
        let Some(search) = &mut self.search else { return self.next_step() };
        let (closed, next) = search.advance(fx.now, fx.dice);
        fx.out.extend(closed.map(|socket| Output::Close { socket }));
        let interval = search.interval();
        let next_at = match next {
            Move::Over => return self.next_step(),
            Move::Wait(until) => until,
            Move::Probe { port, probe } => {
                let socket = fx.new_socket(self.local.bind, port);
                if let Some(search) = &mut self.search {
                    search.opened(socket, probe, fx.now);
                }
                let target = self.remote.address;
                if let Err(reason) = self.send(fx, Socket::Made(socket), target, HELLO_TTL, probe, Counts::AsSearch) {
                    return Turn::Ends(End::Failed(reason));
                }
                fx.now + interval
            }
        };
        self.doing = Doing::Searching { next_at };
        Turn::Again
    }
}
