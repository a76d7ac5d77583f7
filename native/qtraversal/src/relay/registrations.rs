//! Who may be forwarded to: registered, and heard of lately (traversal T-33).
//!
//! Decides by two facts from outside: a verdict on credentials (profile `braid`: a keyed exchange elsewhere) and a STUN
//! keep-alive on the relay's socket. Called by the relay. Never checks credentials itself, never holds more clients than its
//! bound.

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
#[derive(Clone, Copy, Debug)]
struct Client {
    /// Until when credentials are good; `None`: as long as it keeps alive.
    until: Option<Timestamp>,
    /// Last keep-alive; `None`: none since it registered.
    heard: Option<Timestamp>,
    registered: Timestamp,
}

impl Client {
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
}

impl Registrations {
    pub(super) const fn new(admission: Admission) -> Self {
        Self { admission, clients: BTreeMap::new() }
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
        let client = self.clients.entry(outer).or_insert(Client { until, heard: None, registered: now });
        client.until = until;
        client.registered = now;
        Ok(())
    }

    /// A STUN exchange with `outer` took place on the relay's socket.
    ///
    /// # Errors
    /// It would register by this, and the table is full.
    pub fn on_keep_alive(&mut self, outer: SocketAddr, now: Timestamp) -> Result<(), Full> {
        if self.admission == Admission::Anyone && !self.clients.contains_key(&outer) {
            self.make_room(outer, now)?;
            self.clients.insert(outer, Client { until: None, heard: None, registered: now });
        }
        if let Some(client) = self.clients.get_mut(&outer) {
            client.heard = Some(now);
        }
        Ok(())
    }

    /// The client is gone, or its credentials were withdrawn.
    pub fn remove(&mut self, outer: SocketAddr) {
        self.clients.remove(&outer);
    }

    /// Forgets who fell silent. Call now and then; when the table is full it happens by itself.
    pub fn clean(&mut self, now: Timestamp) {
        self.clients.retain(|_, client| !client.is_over(now));
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

    fn make_room(&mut self, outer: SocketAddr, now: Timestamp) -> Result<(), Full> {
        if self.clients.len() < limits::RELAY_REGISTRATIONS || self.clients.contains_key(&outer) {
            return Ok(());
        }
        self.clean(now);
        if self.clients.len() < limits::RELAY_REGISTRATIONS { Ok(()) } else { Err(Full) }
    }
}
