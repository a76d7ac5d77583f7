//! Who may be forwarded to: registered, and heard of lately (traversal T-33).
//!
//! Decides by two facts from outside: a verdict on credentials (profile `braid`: a keyed exchange elsewhere) and a STUN
//! keep-alive on the relay's socket. A client that moves is found by the addresses it had before, too (T-36): its peers know it by
//! them. Called by the relay. Never checks credentials itself, never holds more clients than its bound.

use std::{collections::BTreeMap, net::SocketAddr};

use qbase::{Timestamp, limits};

use super::Dropped;

/// Who registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Admission {
    /// Whose credentials were found good.
    #[default]
    Authenticated,
    /// Who keeps alive: profile `dquic` has no credentials. A request can come in any address's name, so that this relay forwards
    /// to any; explicit option only.
    Anyone,
}

/// No room for another client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many clients as the relay takes are registered")]
pub struct Full;

/// One client.
#[derive(Clone, Debug)]
struct Client {
    /// Until when credentials are good; `None`: as long as it keeps alive.
    until: Option<Timestamp>,
    /// Last keep-alive; `None`: none since it registered.
    heard: Option<Timestamp>,
    registered: Timestamp,
    /// Outer addresses that it had before, the oldest first; at most [`limits::RELAY_FORMER_NAMES`]. No allocation before it moves.
    former: Vec<SocketAddr>,
}

impl Client {
    const fn new(until: Option<Timestamp>, now: Timestamp) -> Self {
        Self { until, heard: None, registered: now, former: Vec::new() }
    }

    /// Last sign of life: registering is one too, so that the table can be cleaned.
    fn last(&self) -> Timestamp {
        self.heard.map_or(self.registered, |heard| heard.max(self.registered))
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now >= until) || now.saturating_since(self.last()) > limits::RELAY_KEEP_ALIVE
    }
}

/// The clients of a relay, by the outer address under which it sees them.
#[derive(Debug)]
pub struct Registrations {
    admission: Admission,
    clients: BTreeMap<SocketAddr, Client>,
    /// Where those are who were known by another address: never the address of a client, and in the `former` of exactly one.
    moved: BTreeMap<SocketAddr, SocketAddr>,
}

impl Registrations {
    pub(super) const fn new(admission: Admission) -> Self {
        Self { admission, clients: BTreeMap::new(), moved: BTreeMap::new() }
    }

    /// Clients in the table, those that fell silent since the last cleaning included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Nobody is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// The client seen as `outer` showed good credentials, good until `until`. It is forwarded to after its next keep-alive.
    ///
    /// # Errors
    /// The table is full of living clients.
    pub fn register(&mut self, outer: SocketAddr, until: Option<Timestamp>, now: Timestamp) -> Result<(), Full> {
        self.make_room(outer, now)?;
        self.release(outer);
        let client = self.clients.entry(outer).or_insert(Client::new(until, now));
        client.until = until;
        client.registered = now;
        Ok(())
    }

    /// The client that was registered as `old` is seen as `new` from now on, with good credentials until `until`: as
    /// [`Self::register`], and what is for `old`, or for what it was before, goes to `new` as long as this registration lives.
    /// Whether `old` is its own, the caller knows: it is the address of the same authenticated connection.
    ///
    /// # Errors
    /// The table is full of living clients.
    pub fn move_to(&mut self, old: SocketAddr, new: SocketAddr, until: Option<Timestamp>, now: Timestamp) -> Result<(), Full> {
        if old == new {
            return self.register(new, until, now);
        }
        let before = self.clients.remove(&old).map_or(Vec::new(), |client| client.former);
        // Who was known there is gone: nobody else is where a connection has just proved to be.
        self.remove(new);
        if let Err(full) = self.register(new, until, now) {
            for name in before {
                self.moved.remove(&name);
            }
            return Err(full);
        }
        let Some(client) = self.clients.get_mut(&new) else { return Ok(()) };
        // Back to where it was: that is no former name any more. One that became another client's meanwhile is not taken from it.
        let own = (!self.moved.contains_key(&old)).then_some(old);
        client.former = before.into_iter().filter(|name| *name != new).chain(own).collect();
        while client.former.len() > limits::RELAY_FORMER_NAMES {
            self.moved.remove(&client.former.remove(0));
        }
        self.moved.extend(client.former.iter().map(|name| (*name, new)));
        Ok(())
    }

    /// Where the client is now that is, or was, known by this outer address; of nobody's, the address itself.
    #[must_use]
    pub fn current(&self, outer: SocketAddr) -> SocketAddr {
        if self.moved.is_empty() { outer } else { self.moved.get(&outer).copied().unwrap_or(outer) }
    }

    /// Addresses by which clients are still found that have moved on.
    #[must_use]
    pub fn former_names(&self) -> usize {
        self.moved.len()
    }

    /// A STUN exchange with `outer` took place on the relay's socket.
    ///
    /// # Errors
    /// It would register by this, and the table is full.
    pub fn on_keep_alive(&mut self, outer: SocketAddr, now: Timestamp) -> Result<(), Full> {
        if self.admission == Admission::Anyone && !self.clients.contains_key(&outer) {
            self.make_room(outer, now)?;
            self.release(outer);
            self.clients.insert(outer, Client::new(None, now));
        }
        if let Some(client) = self.clients.get_mut(&outer) {
            client.heard = Some(now);
        }
        Ok(())
    }

    /// The client is gone, or its credentials were withdrawn.
    pub fn remove(&mut self, outer: SocketAddr) {
        for name in self.clients.remove(&outer).map_or(Vec::new(), |client| client.former) {
            self.moved.remove(&name);
        }
    }

    /// Forgets who fell silent. Call now and then; when the table is full it happens by itself.
    pub fn clean(&mut self, now: Timestamp) {
        self.clients.retain(|_, client| !client.is_over(now));
        let Self { clients, moved, .. } = self;
        moved.retain(|_, at| clients.contains_key(at));
    }

    /// Is `outer` registered and alive?
    ///
    /// # Errors
    /// The reason to drop what is for it, or from it.
    pub fn check(&self, outer: SocketAddr, now: Timestamp) -> Result<(), Dropped> {
        let client = self.clients.get(&outer).ok_or(Dropped::NotRegistered)?;
        if client.until.is_some_and(|until| now >= until) {
            return Err(Dropped::NotRegistered);
        }
        match client.heard {
            Some(heard) if now.saturating_since(heard) <= limits::RELAY_KEEP_ALIVE => Ok(()),
            _ => Err(Dropped::Silent),
        }
    }

    /// Somebody is at this address now: who was there before is not found by it any more.
    fn release(&mut self, outer: SocketAddr) {
        let Some(at) = self.moved.remove(&outer) else { return };
        if let Some(client) = self.clients.get_mut(&at) {
            client.former.retain(|name| *name != outer);
        }
    }

    fn make_room(&mut self, outer: SocketAddr, now: Timestamp) -> Result<(), Full> {
        if self.clients.len() < limits::RELAY_REGISTRATIONS || self.clients.contains_key(&outer) {
            return Ok(());
        }
        self.clean(now);
        if self.clients.len() < limits::RELAY_REGISTRATIONS { Ok(()) } else { Err(Full) }
    }
}
