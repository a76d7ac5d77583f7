//! The strategy of the specification: two tables, active and passive side (traversal §7).
//!
//! Differences to the tables of the specification, each for a reason that a scenario shows:
//! - A6 and A5 with a peer behind a Dynamic NAT become A4 and A9: that NAT changes the mapping of a flow whose peer was
//!   heard first, so it must send first (the passive side tells when it has), or both must at once, half a round trip after
//!   one has told the other. A second round knocks with a short time to live instead.
//! - A2 and A8: the side that opens 800 ports does so before it tells, and the searching side waits to be told.
//! - A3 waits 6 s: 800 knocks at 200/s take 4 s.
//! - Symmetric with a constant port step against RestrictedPort (A10): the next port is foretold; no search is needed.
//! - Where searches are not allowed, strategies that need one wait for a foretold address, or do nothing.

use std::time::Duration;

use super::{
    Side,
    strategy::{Context, Foretold, HELLO_TTL, KNOCK_TTL, Otherwise, Plan, Signal, Step},
};
use crate::{NatType, budget::PortSearch};

/// How long the side waits that cannot do more (A6, and R of the passive side).
const HELLO_WAIT: Duration = Duration::from_secs(3);
/// How long the side with the open ports waits (A2, A7).
const SEARCH_WAIT: Duration = Duration::from_secs(8);
/// How long the searching side waits for the ports to be open (A3): 4 s of knocks and more than a round trip.
const OPENING_WAIT: Duration = Duration::from_secs(6);
/// How long an answer is waited for that is helpful and not needed (A4).
const TELL_WAIT: Duration = Duration::from_secs(1);

/// The plan of the specification.
#[must_use]
pub fn plan(context: &Context) -> Plan {
    match context.side {
        Side::Active => active(context),
        Side::Passive => passive(context),
    }
}

const fn wait(signal: Signal, at_most: Duration, otherwise: Otherwise) -> Step {
    Step::Wait { signal, at_most, otherwise }
}

fn active(context: &Context) -> Plan {
    use NatType::{Blocked, Dynamic, FullCone, RestrictedCone, RestrictedPort, Symmetric};
    let may_search = context.search == PortSearch::Allowed;
    let told = |at_most, otherwise| wait(Signal::Tell, context.patience(at_most), otherwise);
    match (context.local.nat_type, context.remote.nat_type) {
        (Blocked, _) | (_, Blocked) | (Symmetric, Symmetric) => Plan::none(),
        (_, FullCone) => Plan::new("A1", [Step::ladder()]),
        (FullCone, _) | (RestrictedCone, _) | (RestrictedPort, RestrictedCone | RestrictedPort) => {
            Plan::new("A6", [Step::Tell, Step::hello(HELLO_TTL), wait(Signal::Hello, HELLO_WAIT, Otherwise::Fail)])
        }
        (RestrictedPort, Dynamic) | (Symmetric, RestrictedCone) => {
            Plan::new("A4", [Step::Tell, told(TELL_WAIT, Otherwise::GoOn), Step::ladder()])
        }
        (RestrictedPort, Symmetric) if may_search => {
            Plan::new("A7", [Step::Collision, Step::Tell, wait(Signal::Hello, SEARCH_WAIT, Otherwise::Fail)])
        }
        // A peer that can foretell its port names it.
        (RestrictedPort, Symmetric) => Plan::new("A10w", [Step::Tell, told(TELL_WAIT, Otherwise::Fail), Step::ladder()]),
        (Dynamic, Dynamic) => together(context),
        (Dynamic, RestrictedCone | RestrictedPort) => {
            Plan::new("A5", [Step::NewSocket { tell: Foretold::Learned }, Step::Tell, Step::ladder()])
        }
        (Dynamic, Symmetric) if may_search => {
            let socket = Step::NewSocket { tell: Foretold::Learned };
            Plan::new("A2", [socket, Step::Collision, Step::Tell, wait(Signal::Any, SEARCH_WAIT, Otherwise::Fail)])
        }
        (Symmetric, RestrictedPort) if context.port_step().is_some() => foretold("A10", context),
        (Symmetric, RestrictedPort) if may_search => {
            Plan::new("A3", [Step::Tell, told(OPENING_WAIT, Otherwise::GoOn), Step::PortSearch])
        }
        (Symmetric, Dynamic) if may_search => Plan::new("A8", [Step::Tell, told(OPENING_WAIT, Otherwise::GoOn), Step::PortSearch]),
        (Dynamic | Symmetric, _) => Plan::none(),
    }
}

fn passive(context: &Context) -> Plan {
    use NatType::{Blocked, Dynamic, RestrictedCone, RestrictedPort, Symmetric};
    let may_search = context.search == PortSearch::Allowed;
    match (context.local.nat_type, context.remote.nat_type) {
        (Blocked, _) | (_, Blocked) | (Symmetric, Symmetric) => Plan::none(),
        (Dynamic | RestrictedPort, Symmetric) if may_search => {
            Plan::new("P7", [Step::Collision, Step::Tell, wait(Signal::Any, SEARCH_WAIT, Otherwise::Fail)])
        }
        (RestrictedPort, Symmetric) => {
            let at_most = context.patience(TELL_WAIT);
            Plan::new("P10w", [Step::Tell, wait(Signal::Tell, at_most, Otherwise::Fail), Step::ladder()])
        }
        (Symmetric, RestrictedPort) if context.port_step().is_some() => foretold("P10", context),
        (Symmetric, RestrictedPort | Dynamic) if may_search => Plan::new("P3", [Step::PortSearch]),
        (Dynamic, Symmetric) | (Symmetric, RestrictedPort | Dynamic) => Plan::none(),
        (RestrictedCone, Symmetric) => {
            Plan::new("P4", [Step::hello(HELLO_TTL), Step::Tell, wait(Signal::Hello, HELLO_WAIT, Otherwise::Fail)])
        }
        // It sends first and says so.
        (Dynamic, RestrictedPort) => Plan::new("P5", [Step::hello(HELLO_TTL), Step::Tell, Step::rest_of_ladder()]),
        _ => Plan::new("P1", [Step::ladder()]),
    }
}

/// Both NATs change a mapping whose peer was heard first: both ends send at once, each before it hears the other.
fn together(context: &Context) -> Plan {
    let half = wait(Signal::Tell, context.rtt.checked_div(2).unwrap_or_default(), Otherwise::GoOn);
    if context.round % 2 == 1 {
        return Plan::new("A9", [Step::Tell, half, Step::ladder()]);
    }
    let socket = Step::NewSocket { tell: Foretold::Learned };
    Plan::new("A9k", [socket, Step::hello(KNOCK_TTL), Step::Tell, wait(Signal::Hello, HELLO_WAIT, Otherwise::Fail)])
}

/// Names the port that our NAT gives next, and takes it.
fn foretold(name: &'static str, context: &Context) -> Plan {
    let step = context.port_step().unwrap_or(1);
    Plan::new(name, [Step::NewSocket { tell: Foretold::Next { step } }, Step::Tell, Step::ladder()])
}
