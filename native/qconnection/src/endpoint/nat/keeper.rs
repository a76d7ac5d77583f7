//! Mappings of our sockets that are kept open, each towards one server (traversal T-46, T-47).
//!
//! Decides nothing about when to ask: [`KeepAlive`] does. Called by the application ([`Endpoint::keep_mapping`]); what a detection
//! learned about the life of mappings reaches the keepers of the same address.

use super::{Endpoint, NatNews, Ticket, arrives_at};
use qbase::{FourTuple, Timestamp, limits};
use qtraversal::{
    nat::MappingLife,
    stun::{Form, Forms, KeepAlive, MappingEvent, Message, keepalive::KeepAliveStep},
};
use rand_core::RngCore;
use std::net::SocketAddr;

/// The mappings that are kept open.
#[derive(Debug, Default)]
pub(super) struct Keepers {
    all: Vec<Keeper>,
}

#[derive(Debug)]
struct Keeper {
    ticket: Ticket,
    /// The socket as it is bound.
    bound: SocketAddr,
    /// Where answers come in, once one has.
    local: SocketAddr,
    form: Form,
    keep: KeepAlive,
    due: Timestamp,
}

/// What to do.
enum KeeperStep {
    Send { local: SocketAddr, to: SocketAddr, message: Message },
    Event { ticket: Ticket, local: SocketAddr, event: MappingEvent },
}

impl Keepers {
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.all.iter().map(|keeper| keeper.due).min()
    }

    /// What is spoken on this socket, or on any.
    pub(super) fn forms(&self, local: Option<SocketAddr>) -> Forms {
        let is_there = |keeper: &&Keeper| local.is_none_or(|local| arrives_at(keeper.bound, local));
        self.all.iter().filter(is_there).fold(Forms::NONE, |forms, keeper| forms.with(keeper.form))
    }

    pub(super) fn close(&mut self, ticket: Ticket, now: Timestamp) {
        for keeper in self.all.iter_mut().filter(|keeper| keeper.ticket == ticket) {
            keeper.keep.close();
            keeper.due = now;
        }
    }

    /// Mappings of sockets of this IP live so long.
    pub(super) fn learned(&mut self, local: SocketAddr, life: MappingLife, now: Timestamp) {
        for keeper in self.all.iter_mut().filter(|keeper| keeper.local.ip() == local.ip() || keeper.bound.ip() == local.ip()) {
            keeper.keep.learned(life, now);
            keeper.due = now;
        }
    }

    /// Whether it was an answer to one of these.
    pub(super) fn on_message(&mut self, message: &Message, four_tuple: FourTuple, now: Timestamp) -> bool {
        let FourTuple { local, remote } = four_tuple;
        for keeper in self.all.iter_mut().filter(|keeper| arrives_at(keeper.bound, local)) {
            if keeper.keep.on_message(message, remote, now).is_some() {
                keeper.local = local;
                keeper.due = now;
                return true;
            }
        }
        false
    }

    fn poll(&mut self, now: Timestamp, random: &mut dyn RngCore) -> Option<KeeperStep> {
        loop {
            let at = self.all.iter().position(|keeper| keeper.due <= now)?;
            let keeper = self.all.get_mut(at)?;
            match keeper.keep.poll(now, random) {
                KeepAliveStep::Send(message) => return Some(KeeperStep::Send { local: keeper.bound, to: keeper.keep.server(), message }),
                KeepAliveStep::Event(event) => return Some(KeeperStep::Event { ticket: keeper.ticket, local: keeper.local, event }),
                KeepAliveStep::Wait(due) => keeper.due = due,
                KeepAliveStep::Nothing => {
                    self.all.remove(at);
                }
            }
        }
    }
}

impl Endpoint {
    /// Keeps the mapping of one of our sockets towards a server open until [`Endpoint::cancel_nat`], and tells what it is as
    /// [`NatNews::Mapping`]. Where there are [`limits::NAT_KEEPERS`] already, it is closed at once.
    pub fn keep_mapping(&mut self, ticket: Ticket, local: SocketAddr, server: SocketAddr, form: Form, now: Timestamp) {
        if self.nat.keepers.all.len() >= limits::NAT_KEEPERS {
            return self.nat.tell(NatNews::Mapping { ticket, local, event: MappingEvent::Closed });
        }
        let keep = KeepAlive::new(form, server, now);
        self.nat.keepers.all.push(Keeper { ticket, bound: local, local, form, keep, due: now });
        self.run_nat(now);
    }

    /// Asks what is to be asked now.
    pub(super) fn run_keepers(&mut self, now: Timestamp) {
        while let Some(step) = self.nat.keepers.poll(now, &mut self.random) {
            match step {
                KeeperStep::Send { local, to, message } => self.send_stun(local, to, &message),
                KeeperStep::Event { ticket, local, event } => self.nat.tell(NatNews::Mapping { ticket, local, event }),
            }
        }
    }
}
