//! Sockets that are there for a while: of detections, and of punches until their path goes (traversal T-74, T-90, T-98).
//!
//! ```text
//!   wished ──poll_socket_wish──▶ asked ──on_socket──▶ open ──close──▶ wish to close
//!     └─close─▶ gone             └─close─▶ abandoned ──on_socket──▶ wish to close
//! ```
//! Decides which sockets are wanted; the driver opens them beside a bound one and closes them. Called by detections and by
//! connections. A socket goes with its owner; none is kept that nobody owns.

use super::Endpoint;
use crate::handle::ConnectionHandle;
use qbase::{Timestamp, limits};
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use super::Ticket;

/// Names a wish between the machine and the driver. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// What the driver shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketWish {
    /// Open a socket and say so with [`Endpoint::on_socket`].
    Open {
        /// Names the answer.
        id: SocketId,
        /// On the same interface and IP as the socket that sends from this address.
        beside: SocketAddr,
        /// With this port, or any other if it is taken; 0: any.
        port: u16,
    },
    /// Close the socket that was opened with this address.
    Close {
        /// Its address, as it was told.
        local: SocketAddr,
    },
}

/// Whose socket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SocketOwner {
    /// A connection's, which calls it by this number.
    Punch {
        /// The connection.
        handle: ConnectionHandle,
        /// Its number there.
        socket: u64,
    },
    /// A detection's.
    Detection {
        /// The detection.
        ticket: Ticket,
        /// Its number there.
        number: u8,
    },
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    owned: BTreeMap<SocketOwner, Owned>,
    /// Sockets whose owner has gone while the driver was about to open them.
    abandoned: Vec<SocketId>,
    wishes: VecDeque<SocketWish>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Owned {
    id: SocketId,
    /// Its address; `None`: it is not open yet.
    local: Option<SocketAddr>,
}

impl Sockets {
    /// The address of an open socket.
    pub(super) fn local(&self, owner: SocketOwner) -> Option<SocketAddr> {
        self.owned.get(&owner)?.local
    }

    /// Sockets that are open or will be.
    fn len(&self) -> usize {
        self.owned.len().saturating_add(self.abandoned.len())
    }

    fn wish(&mut self, owner: SocketOwner, beside: SocketAddr, port: u16) {
        let id = SocketId(self.next);
        self.next = self.next.saturating_add(1);
        self.owned.insert(owner, Owned { id, local: None });
        self.wishes.push_back(SocketWish::Open { id, beside, port });
    }

    fn close(&mut self, owner: SocketOwner) {
        let Some(Owned { id, local }) = self.owned.remove(&owner) else { return };
        if let Some(local) = local {
            return self.wishes.push_back(SocketWish::Close { local });
        }
        let before = self.wishes.len();
        self.wishes.retain(|wish| !matches!(wish, SocketWish::Open { id: wished, .. } if *wished == id));
        if self.wishes.len() == before {
            self.abandoned.push(id);
        }
    }

    /// The driver's answer; whose socket it is, unless nobody wants it any more.
    fn opened(&mut self, id: SocketId, local: Option<SocketAddr>) -> Option<SocketOwner> {
        let owner = self.owned.iter().find(|(_, owned)| owned.id == id && owned.local.is_none()).map(|(owner, _)| *owner);
        match (owner, local) {
            (Some(owner), Some(_)) => {
                self.owned.insert(owner, Owned { id, local });
            }
            (Some(owner), None) => {
                self.owned.remove(&owner);
            }
            (None, _) => {
                let before = self.abandoned.len();
                self.abandoned.retain(|abandoned| *abandoned != id);
                if let Some(local) = local.filter(|_| self.abandoned.len() < before) {
                    self.wishes.push_back(SocketWish::Close { local });
                }
            }
        }
        owner
    }
}

impl Endpoint {
    /// What the driver shall do about sockets next; of every wish to open one, [`Endpoint::on_socket`] tells the outcome.
    pub fn poll_socket_wish(&mut self) -> Option<SocketWish> {
        self.nat.sockets.wishes.pop_front()
    }

    /// A socket that was wished for is open, bound to `local`, or could not be opened (`None`).
    pub fn on_socket(&mut self, id: SocketId, local: Option<SocketAddr>, now: Timestamp) {
        match self.nat.sockets.opened(id, local) {
            Some(SocketOwner::Detection { ticket, number }) => {
                self.nat.detections.on_socket(ticket, number, local, now);
                self.run_nat(now);
            }
            Some(SocketOwner::Punch { handle, socket }) => self.tell_socket(handle, socket, local, now),
            None => {}
        }
    }

    /// Temporary sockets that are open or will be, for people and tests.
    #[must_use]
    pub fn temporary_sockets(&self) -> usize {
        self.nat.sockets.len()
    }

    /// Wishes for a socket beside the one that sends from `beside`. The owner is told when it is there, or that there will be none:
    /// at once, where there are [`limits::TEMPORARY_SOCKETS`] already.
    pub(crate) fn open_socket(&mut self, owner: SocketOwner, beside: SocketAddr, port: u16, now: Timestamp) {
        self.close_socket(owner);
        if self.nat.sockets.len() < limits::TEMPORARY_SOCKETS {
            return self.nat.sockets.wish(owner, beside, port);
        }
        match owner {
            SocketOwner::Detection { ticket, number } => self.nat.detections.on_socket(ticket, number, None, now),
            SocketOwner::Punch { handle, socket } => self.tell_socket(handle, socket, None, now),
        }
    }

    /// The owner does not need its socket any more; without one nothing happens.
    pub(crate) fn close_socket(&mut self, owner: SocketOwner) {
        self.nat.asks.forget(owner);
        self.nat.sockets.close(owner);
    }

    /// The sockets of a connection go with it.
    pub(in crate::endpoint) fn close_sockets_of(&mut self, handle: ConnectionHandle) {
        if !self.nat.sockets.owned.is_empty() {
            self.close_sockets(|owner| matches!(owner, SocketOwner::Punch { handle: own, .. } if *own == handle));
            self.nat.settle();
        }
    }

    pub(super) fn close_sockets(&mut self, is_meant: impl Fn(&SocketOwner) -> bool) {
        let owners: Vec<SocketOwner> = self.nat.sockets.owned.keys().copied().filter(is_meant).collect();
        for owner in owners {
            self.close_socket(owner);
        }
    }

    fn tell_socket(&mut self, handle: ConnectionHandle, socket: u64, local: Option<SocketAddr>, now: Timestamp) {
        let Some(connection) = self.slots.get_mut(handle) else { return };
        connection.on_punch_socket(socket, local, now);
        self.turns.mark(handle.index);
        self.run_actions(handle);
    }

    /// A punch's question for the outer address of its socket is over.
    pub(super) fn tell_outer(&mut self, owner: SocketOwner, outer: Option<SocketAddr>, now: Timestamp) {
        let SocketOwner::Punch { handle, socket } = owner else { return };
        let Some(connection) = self.slots.get_mut(handle) else { return };
        connection.on_outer(socket, outer, now);
        self.turns.mark(handle.index);
        self.run_actions(handle);
    }
}
