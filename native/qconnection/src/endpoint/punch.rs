//! What the punches of connections want of their endpoint: sockets for a while, and how the world sees them (traversal T-74, T-90).
//!
//! Called with the actions of a connection's turn. Passes on, decides nothing.

use super::{Endpoint, nat::SocketOwner};
use crate::handle::ConnectionHandle;
use std::net::SocketAddr;

impl Endpoint {
    /// A punch wants a socket beside `beside`.
    pub(super) fn open_punch_socket(&mut self, handle: ConnectionHandle, socket: u64, beside: SocketAddr, port: u16) {
        let now = self.latest();
        self.open_socket(SocketOwner::Punch { handle, socket }, beside, port, now);
    }

    /// A punch wants to know how the world sees its socket.
    pub(super) fn learn_punch_outer(&mut self, handle: ConnectionHandle, socket: u64) {
        let now = self.latest();
        let settings = self.slots.get(handle).and_then(|connection| connection.config.traversal.as_ref());
        let Some((servers, form)) = settings.map(|settings| (settings.stun.clone(), settings.stun_form)) else { return };
        self.learn_outer(SocketOwner::Punch { handle, socket }, &servers, form, now);
    }

    /// A punch does not need its socket any more.
    pub(super) fn close_punch_socket(&mut self, handle: ConnectionHandle, socket: u64) {
        self.close_socket(SocketOwner::Punch { handle, socket });
    }
}
