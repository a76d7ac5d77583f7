//! How a connection gets through NATs, for JavaScript: what it wants, what it asks, what it is told (api 2.8).
//!
//! Decides nothing: the connection does. Called by the commands, by questions and by the visit. Addresses of ways through relays
//! are told as such.

use std::net::SocketAddr;

use qbase::Timestamp;
use qconnection::{
    Connection as Machine,
    connection::traversal::{AddressChange, AddressSide, AnnounceError, Plans, TraversalNews, TraversalState},
};
use qdriver::Io;
use qtraversal::frame::ProfileKind;

use super::{Engine, paths::leaves_by, remote::Addresses};
use crate::messages::{
    events::Event,
    nat::punch::{Address, Announce, Announced, PunchContext, PunchEvent, State, refusal},
};

impl Engine {
    /// JavaScript wants a punch; what comes of it are rounds, or a refusal.
    pub(super) fn punch(&mut self, io: &mut Io<'_>, key: u32, ticket: u64, remote: u64, plans: Plans) {
        let (now, at_ms) = (io.now, self.out.at_ms(io.now));
        let Some(handle) = self.table.get(key).map(|connection| connection.handle) else { return };
        let Some(machine) = io.endpoint.connection_mut(handle) else { return };
        if let Err(refused) = machine.punch(now, remote, plans) {
            self.out.event(key, &Event::Punch(PunchEvent::PunchRefused { at_ms, ticket, reason: refusal(refused) }));
        }
    }

    /// One piece of news.
    pub(super) fn tell_traversal(&mut self, io: &Io<'_>, key: u32, news: &TraversalNews) {
        let at_ms = self.out.at_ms(io.now);
        let event = match news {
            TraversalNews::State { state, profile, reason } => {
                let state = if *state == TraversalState::On { "on" } else { "off" };
                PunchEvent::Traversal { at_ms, state, profile: profile.map(profile_name), reason }
            }
            TraversalNews::Address { side, change, address } => PunchEvent::PunchAddress {
                at_ms,
                side: match side {
                    AddressSide::Local => "local",
                    AddressSide::Remote => "remote",
                },
                change: match change {
                    AddressChange::Added => "added",
                    AddressChange::Removed => "removed",
                },
                address: Address::announced(address),
            },
            TraversalNews::Round(report) => PunchEvent::round(at_ms, report),
            TraversalNews::Hole { id, four_tuple } => {
                let Addresses { local, remote } = Addresses::of(io.endpoint, *four_tuple);
                PunchEvent::PunchHole { at_ms, local_seq: id.local_seq, remote_seq: id.remote_seq, local, remote }
            }
            TraversalNews::WantsSteps { id, context } => {
                let context = Box::new(PunchContext::of(*id, context));
                PunchEvent::PunchWantsSteps { at_ms, local_seq: id.local_seq, remote_seq: id.remote_seq, context }
            }
            TraversalNews::Observed { path, address } => PunchEvent::ObservedAddress { at_ms, path: path.0, address: address.to_string() },
        };
        self.out.event(key, &Event::Punch(event));
    }
}

/// Announces an address of one of the sockets that are `bound`.
pub(super) fn announce(machine: &mut Machine, bound: &[SocketAddr], now: Timestamp, announce: Announce) -> Announced {
    if !bound.iter().any(|bound| *bound == announce.local || leaves_by(*bound, announce.local)) {
        return Err(AnnounceError::Unknown).into();
    }
    let Some(address) = announce.address() else { return Err(AnnounceError::Private).into() };
    machine.announce_address(now, announce.local, address).into()
}

/// How traversal stands.
pub(super) fn state(machine: &Machine) -> State {
    let state = match machine.traversal_state() {
        TraversalState::Off => "off",
        TraversalState::Negotiating => "negotiating",
        TraversalState::On => "on",
    };
    State::of(state, machine.traversal_view().as_ref())
}

const fn profile_name(profile: ProfileKind) -> &'static str {
    match profile {
        ProfileKind::Braid => "braid",
        ProfileKind::Dquic => "dquic",
    }
}
