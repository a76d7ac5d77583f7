//! Ways through NATs: what `qtraversal`'s machine wants of its connection, and what the connection tells it (traversal §5…§8).
//!
//! | file | job |
//! |---|---|
//! | `settings` | the application's words |
//! | `verbs` | the application's verbs |
//! | `frames` | frames in, and which packets of strangers are heard |
//! | `letters` | frames out, until they are acknowledged |
//! | `drive` | inputs and outputs of the machine, once a turn |
//! | `sockets` | which socket is which, temporary ones |
//! | `probes` | probes out, and their connection ids |
//! | `holes` | holes become paths; which paths are preferred |
//! | `observed` | OBSERVED_ADDRESS, both ways |
//!
//! The machine and the budget of the endpoint meet once in each turn, in [`Connection::drive_traversal`]; what happens before waits
//! in a bounded queue. Without settings there is no part, and nothing here costs anything. Never sends before the handshake is
//! complete (attacks G1).

mod drive;
mod frames;
mod holes;
mod letters;
mod observed;
mod probes;
mod settings;
mod sockets;
mod verbs;

pub use settings::{
    AddressChange, AddressSide, AnnounceError, AnnouncedAddress, Plans, PunchRefused, TraversalNews, TraversalSettings, TraversalState, TraversalView,
};

use super::{Connection, events::Event};
use qbase::{Role, Timestamp, limits, param::{TraversalParameter, traversal::Roles}};
use qtraversal::{
    Traversal, TraversalConfig, TraversalFrame,
    budget::{BudgetOptions, PortSearch},
    frame::{ProfileKind, PunchId},
    punch::{Bounds, Hole, Probe, strategy::{Step, Then}},
};
use std::collections::VecDeque;

/// What happened since the last turn.
#[derive(Debug)]
enum Input {
    /// The handshake is complete.
    Complete,
    /// A frame came.
    Frame(TraversalFrame, Option<Hole>),
    /// An address of ours was announced.
    Announced(u64),
    /// An address of ours is to be withdrawn.
    Withdraw(u64),
    Punch(PunchId, Plans),
    Cancel(PunchId),
    Feed(PunchId, Vec<Step>, Then),
    /// A server sees a temporary socket so, or there is none.
    Outer(u64, Option<std::net::SocketAddr>),
}

/// The part of a connection.
#[derive(Debug)]
pub(crate) struct Part {
    machine: Traversal,
    profile: ProfileKind,
    state: TraversalState,
    inputs: VecDeque<Input>,
    /// Frames that found no room among the inputs.
    inputs_dropped: u64,
    letters: letters::Letters,
    probes: VecDeque<Probe>,
    probes_sent: u64,
    /// Connection ids kept for probes.
    kept: Vec<probes::Kept>,
    sockets: sockets::Sockets,
    holes: holes::Holes,
    observed: observed::Observed,
    /// When the next turn is due, if nothing happens before.
    wake_at: Option<Timestamp>,
    /// News wait since then, and the application's turn has passed.
    news_since: Option<Timestamp>,
}

impl Part {
    /// A part whose peer is not known yet.
    pub(crate) fn new(settings: &TraversalSettings, role: Role, seed: u64) -> Self {
        let role = if role.is_client() { qtraversal::punch::Role::Client } else { qtraversal::punch::Role::Server };
        let config = TraversalConfig { role, seed, policy: settings.policy.clone(), start: settings.start, peer_keeps: limits::TRAVERSAL_ADDRESSES };
        let mut machine = Traversal::new(config);
        machine.puncher().set_strategy(drive::strategy_of(settings.plans));
        Self {
            machine,
            profile: settings.profile,
            state: TraversalState::Negotiating,
            inputs: VecDeque::new(),
            inputs_dropped: 0,
            letters: letters::Letters::default(),
            probes: VecDeque::new(),
            probes_sent: 0,
            kept: Vec::new(),
            sockets: sockets::Sockets::default(),
            holes: holes::Holes::default(),
            observed: observed::Observed::default(),
            wake_at: None,
            news_since: None,
        }
    }

    fn push(&mut self, input: Input) {
        if self.inputs.len() < limits::TRAVERSAL_INPUTS {
            self.inputs.push_back(input);
        } else {
            self.inputs_dropped = self.inputs_dropped.saturating_add(1);
        }
    }

    /// Frames that wait to be sent.
    pub(crate) fn letters(&self) -> usize {
        self.letters.len()
    }

    /// The relayed way that the only path left for a hole.
    pub(super) fn home(&self) -> Option<qbase::FourTuple> {
        self.holes.home()
    }

    /// Frames wait to be sent.
    pub(crate) fn has_letters(&self) -> bool {
        self.state == TraversalState::On && self.letters.next().is_some()
    }
}

impl TraversalSettings {
    /// What the transport parameter of profile `braid` says; `None`: another profile.
    pub(crate) fn parameter(&self) -> Option<TraversalParameter> {
        let searches = if self.search == PortSearch::Allowed { Roles::PORT_SEARCH } else { Roles::default() };
        let parameter = TraversalParameter { roles: Roles::PUNCH.and(searches), ..TraversalParameter::default() };
        (self.profile == ProfileKind::Braid).then_some(parameter)
    }

    /// Bounds of volume, for as long as the budget is lent.
    fn budget(&self) -> BudgetOptions {
        let options = BudgetOptions::new(self.search);
        self.probes_per_60s.map_or(options, |probes| options.with_probes_per_address(probes))
    }
}

impl Connection {
    /// It has to do with NATs, so that it wants to be driven.
    #[inline]
    pub(crate) const fn has_traversal(&self) -> bool {
        self.traversal.is_some()
    }

    /// The handshake is complete: traversal is on, or not (traversal T-60, T-100).
    pub(super) fn begin_traversal(&mut self) {
        let Some(part) = &mut self.traversal else { return };
        let theirs = self.peer_parameters.traversal;
        let settings = self.config.traversal.as_ref();
        let (state, reason) = match (part.profile, theirs) {
            (ProfileKind::Dquic, _) => (TraversalState::On, "configured for this peer"),
            (ProfileKind::Braid, Some(theirs)) if theirs.roles.has(Roles::PUNCH) && theirs.max_punches > 0 => (TraversalState::On, "both ends offer it"),
            (ProfileKind::Braid, Some(_)) => (TraversalState::Off, "the peer does not punch"),
            (ProfileKind::Braid, None) => (TraversalState::Off, "the peer does not offer it"),
        };
        part.state = state;
        if let Some(theirs) = theirs.filter(|_| part.profile == ProfileKind::Braid) {
            part.machine.book().set_peer_keeps(usize::try_from(theirs.max_addresses).unwrap_or(usize::MAX));
        }
        let default = Bounds::default();
        part.machine.puncher().set_bounds(Bounds {
            rounds: settings.and_then(|settings| settings.rounds_per_60s).unwrap_or(default.rounds),
            running: theirs.map_or(default.running, |theirs| usize::try_from(theirs.max_punches).unwrap_or(usize::MAX)),
        });
        let profile = (state == TraversalState::On).then_some(part.profile);
        part.push(Input::Complete);
        self.traversal_event(TraversalNews::State { state, profile, reason });
    }

    fn traversal_event(&mut self, news: TraversalNews) {
        self.events.push_back(Event::Traversal(Box::new(news)));
    }

    /// When the part wants a turn.
    pub(super) fn traversal_timer(&self) -> Option<Timestamp> {
        let part = self.traversal.as_ref()?;
        [part.wake_at, part.news_since].into_iter().flatten().min()
    }

    /// A turn has begun, in which the application hears what is new.
    pub(super) fn on_traversal_timer(&mut self, now: Timestamp) {
        if let Some(part) = &mut self.traversal {
            part.news_since.take_if(|since| *since <= now);
        }
    }
}
