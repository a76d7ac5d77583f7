//! Tickets of a client, shared by all connections of an endpoint (attacks L18, B25).
//!
//! Decides which ticket a new connection may offer: the newest one of the same key, QUIC version (RFC 9369 §5) and
//! settings of trust. A ticket is used once (RFC 9001 §4.5). Called by TLS through a [`ClientSlot`] per connection.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use qbase::limits::{SESSION_NAMES, TICKETS_PER_NAME};
use rustls::{
    NamedGroup,
    client::{
        ClientSessionStore, ResolvesClientCert, Tls12ClientSessionValue, Tls13ClientSessionValue,
        danger::ServerCertVerifier,
    },
    pki_types::ServerName,
};

use super::{Lock, open};
use crate::error::TlsError;

/// Settings of trust remembered, so that options made anew from the same values can use the tickets.
const TRUSTS: usize = 16;

/// The verifier of servers and the own certificate that a ticket is bound to.
pub(crate) type TrustPair = (Arc<dyn ServerCertVerifier>, Arc<dyn ResolvesClientCert>);

/// Tickets of all servers that a client talked to: at most [`TICKETS_PER_NAME`] of [`SESSION_NAMES`] names. Cheap to
/// clone; clones are one store.
#[derive(Clone, Default)]
pub struct ClientSessions {
    names: Arc<Lock<Names>>,
}

/// What is known, by key and version.
#[derive(Default)]
struct Names {
    servers: BTreeMap<Key, Known>,
    /// Keys, the one touched longest ago first.
    order: VecDeque<Key>,
    trusts: VecDeque<([u8; 32], TrustPair)>,
}

/// The caller's key and the QUIC version of the connection that brought the ticket.
type Key = (String, u32);

/// What is known about one server.
#[derive(Default)]
struct Known {
    /// The key exchange it chose last.
    group: Option<NamedGroup>,
    /// Oldest first.
    tickets: VecDeque<Tls13ClientSessionValue>,
}

impl ClientSessions {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tickets kept for a key, over all QUIC versions.
    #[must_use]
    pub fn tickets(&self, key: &str) -> usize {
        let names = open(&self.names);
        names.servers.iter().filter(|((known, _), _)| known == key).map(|(_, known)| known.tickets.len()).sum()
    }

    /// Keys with tickets or hints.
    #[must_use]
    pub fn names(&self) -> usize {
        open(&self.names).servers.len()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut names = open(&self.names);
        names.servers.clear();
        names.order.clear();
    }

    /// The verifier and identity made earlier from settings with this digest, or new ones. A ticket got under one
    /// verifier is worth nothing under another, even if both were made from the same settings.
    pub(crate) fn trust(
        &self,
        digest: [u8; 32],
        make: impl FnOnce() -> Result<TrustPair, TlsError>,
    ) -> Result<TrustPair, TlsError> {
        let mut names = open(&self.names);
        if let Some((_, pair)) = names.trusts.iter().find(|(known, _)| *known == digest) {
            return Ok(pair.clone());
        }
        let pair = make()?;
        if names.trusts.len() >= TRUSTS {
            names.trusts.pop_front();
        }
        names.trusts.push_back((digest, pair.clone()));
        Ok(pair)
    }

    /// The part of the store for one connection.
    pub(crate) fn slot(&self, key: &str, version: u32, offer: Offer) -> Arc<ClientSlot> {
        let (version, received) = (AtomicU32::new(version), AtomicU32::new(0));
        Arc::new(ClientSlot { sessions: self.clone(), key: key.to_owned(), version, offer, received })
    }
}

impl Names {
    /// What is known under a key, made if it is new; the key that was touched longest ago may go for it.
    fn touch(&mut self, key: Key) -> &mut Known {
        self.order.retain(|known| *known != key);
        self.order.push_back(key.clone());
        if self.order.len() > SESSION_NAMES
            && let Some(oldest) = self.order.pop_front()
        {
            self.servers.remove(&oldest);
        }
        self.servers.entry(key).or_default()
    }
}

impl fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientSessions({} names)", self.names())
    }
}

/// Whether a connection shows a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// The newest one, if there is one.
    Newest,
    /// None.
    Nothing,
}

/// The view of one connection: its key, whatever name TLS asks with.
#[derive(Debug)]
pub(crate) struct ClientSlot {
    sessions: ClientSessions,
    key: String,
    version: AtomicU32,
    offer: Offer,
    /// Tickets that came on this connection.
    received: AtomicU32,
}

impl ClientSlot {
    /// Tickets that come from now on belong to this QUIC version (RFC 9369 §5).
    pub(crate) fn set_version(&self, version: u32) {
        self.version.store(version, Ordering::Relaxed);
    }

    /// Tickets that came on this connection.
    pub(crate) fn received(&self) -> u32 {
        self.received.load(Ordering::Relaxed)
    }

    fn key(&self) -> Key {
        (self.key.clone(), self.version.load(Ordering::Relaxed))
    }
}

impl ClientSessionStore for ClientSlot {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        open(&self.sessions.names).touch(self.key()).group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        open(&self.sessions.names).servers.get(&self.key())?.group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut names = open(&self.sessions.names);
        let tickets = &mut names.touch(self.key()).tickets;
        if tickets.len() >= TICKETS_PER_NAME {
            tickets.pop_front();
        }
        tickets.push_back(ticket);
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        if self.offer == Offer::Nothing {
            return None;
        }
        open(&self.sessions.names).servers.get_mut(&self.key())?.tickets.pop_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// attacks L18.
    #[test]
    fn attack_b25_names_beyond_the_bound_push_out_the_one_touched_longest_ago() {
        let sessions = ClientSessions::new();
        let name = ServerName::try_from("localhost").unwrap();
        let hint = |number: usize| {
            sessions.slot(&number.to_string(), 1, Offer::Newest).set_kx_hint(name.clone(), NamedGroup::X25519);
        };
        (0..SESSION_NAMES).for_each(hint);
        hint(0);
        assert_eq!(sessions.names(), SESSION_NAMES);
        hint(SESSION_NAMES);
        assert_eq!(sessions.names(), SESSION_NAMES);
        assert!(sessions.slot("0", 1, Offer::Newest).kx_hint(&name).is_some(), "touched again");
        assert!(sessions.slot("1", 1, Offer::Newest).kx_hint(&name).is_none(), "the oldest went");
        sessions.clear();
        assert_eq!(sessions.names(), 0);
    }

    #[test]
    fn what_is_known_of_one_version_is_not_known_of_another() {
        let sessions = ClientSessions::new();
        let name = ServerName::try_from("localhost").unwrap();
        let slot = sessions.slot("a", 1, Offer::Newest);
        slot.set_version(2);
        slot.set_kx_hint(name.clone(), NamedGroup::X25519);
        assert!(sessions.slot("a", 1, Offer::Newest).kx_hint(&name).is_none());
        assert!(sessions.slot("a", 2, Offer::Newest).kx_hint(&name).is_some());
    }
}
