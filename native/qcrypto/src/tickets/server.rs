//! What the tickets of a server stand for, until they are redeemed once (RFC 9001 §4.6, §9.2; attacks B19).
//!
//! Decides whether a ticket is worth a resumption: it was given here, under the same settings for clients, for the same
//! QUIC version (RFC 9369 §5), and with limits that still hold (RFC 9000 §7.4.1). Taking a ticket out is the filter
//! against replay: the second copy of a first flight finds nothing. Called by TLS through a [`ServerSlot`] per connection.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
};

use qbase::{
    limits::{SERVER_TICKETS, SERVER_TICKET_BYTES},
    param::TransportParameters,
};
use rustls::server::StoresServerSessions;

use super::{Lock, open};

/// Tickets a server gave, at most [`SERVER_TICKETS`] and [`SERVER_TICKET_BYTES`]; beyond, the oldest go. Cheap to clone;
/// clones are one store. Give the same store to the options that replace others (hot certificate change), and tickets
/// stay valid.
#[derive(Clone, Default)]
pub struct ServerSessions {
    stored: Arc<Lock<Stored>>,
}

/// The entries, by the random bytes of their tickets. Never iterated.
#[derive(Default)]
struct Stored {
    entries: HashMap<Vec<u8>, Entry>,
    /// Tickets in the order they were given; those redeemed meanwhile are skipped.
    order: VecDeque<Vec<u8>>,
    /// Bytes of all entries.
    bytes: usize,
    /// Of the newest connection: most have the same, and share it.
    grant: Option<Arc<Grant>>,
}

/// What one ticket stands for.
struct Entry {
    /// The TLS library's bytes.
    value: Vec<u8>,
    grant: Arc<Grant>,
}

/// Under what a ticket was given, or is asked for.
#[derive(Clone, Debug, PartialEq)]
struct Grant {
    /// Digest of the settings that decide which clients are let in.
    policy: [u8; 32],
    /// The QUIC version of the connection.
    version: u32,
    /// Our transport parameters, as the client remembers them.
    parameters: TransportParameters,
}

impl Grant {
    /// A ticket given under `self` may be redeemed under `present`.
    fn holds_under(&self, present: &Self) -> bool {
        self.policy == present.policy && self.version == present.version && present.parameters.covers(&self.parameters)
    }
}

impl ServerSessions {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tickets that can be redeemed.
    #[must_use]
    pub fn len(&self) -> usize {
        open(&self.stored).entries.len()
    }

    /// No ticket can be redeemed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets every ticket: their holders make full handshakes.
    pub fn clear(&self) {
        *open(&self.stored) = Stored::default();
    }

    /// The part of the store for one connection.
    pub(crate) fn slot(&self, policy: [u8; 32], version: u32, parameters: &TransportParameters) -> Arc<ServerSlot> {
        let grant = Grant { policy, version, parameters: parameters.remembered() };
        let newest = &mut open(&self.stored).grant;
        let grant = match newest {
            Some(known) if **known == grant => Arc::clone(known),
            _ => Arc::clone(newest.insert(Arc::new(grant))),
        };
        Arc::new(ServerSlot { sessions: self.clone(), grant })
    }
}

impl Stored {
    fn put(&mut self, ticket: Vec<u8>, entry: Entry) {
        self.remove(&ticket);
        self.bytes = self.bytes.saturating_add(size(&ticket, &entry));
        self.order.push_back(ticket.clone());
        self.entries.insert(ticket, entry);
        while self.entries.len() > SERVER_TICKETS || self.bytes > SERVER_TICKET_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.remove(&oldest);
        }
        if self.order.len() > SERVER_TICKETS.saturating_mul(2) {
            let Self { entries, order, .. } = self;
            order.retain(|ticket| entries.contains_key(ticket));
        }
    }

    fn remove(&mut self, ticket: &[u8]) -> Option<Entry> {
        let entry = self.entries.remove(ticket)?;
        self.bytes = self.bytes.saturating_sub(size(ticket, &entry));
        Some(entry)
    }
}

/// What an entry counts.
const fn size(ticket: &[u8], entry: &Entry) -> usize {
    ticket.len().saturating_mul(2).saturating_add(entry.value.len()).saturating_add(size_of::<Entry>()).saturating_add(size_of::<Grant>())
}

impl fmt::Debug for ServerSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerSessions({} tickets)", self.len())
    }
}

/// The view of one connection.
#[derive(Debug)]
pub(crate) struct ServerSlot {
    sessions: ServerSessions,
    grant: Arc<Grant>,
}

impl StoresServerSessions for ServerSlot {
    fn put(&self, ticket: Vec<u8>, value: Vec<u8>) -> bool {
        open(&self.sessions.stored).put(ticket, Entry { value, grant: Arc::clone(&self.grant) });
        true
    }

    /// TLS 1.3 only takes.
    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let entry = open(&self.sessions.stored).remove(ticket)?;
        entry.grant.holds_under(&self.grant).then_some(entry.value)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(data: u64) -> TransportParameters {
        TransportParameters { initial_max_data: data, ..TransportParameters::default() }
    }

    fn slot(sessions: &ServerSessions) -> Arc<ServerSlot> {
        sessions.slot([0; 32], 1, &parameters(10))
    }

    /// attacks B19.
    /// Shows 9001-9.2-1.
    #[test]
    fn attack_b19_a_ticket_is_redeemed_once() {
        let sessions = ServerSessions::new();
        assert!(slot(&sessions).put(vec![1], vec![2]));
        assert_eq!(slot(&sessions).get(&[1]), None, "looking is not redeeming");
        assert_eq!(slot(&sessions).take(&[1]), Some(vec![2]));
        assert_eq!(slot(&sessions).take(&[1]), None);
        assert!(sessions.is_empty());
        assert_eq!(open(&sessions.stored).bytes, 0);
    }

    /// Shows 9000-7.4.1-9.
    #[test]
    fn a_ticket_given_under_other_rules_or_larger_limits_is_worth_nothing() {
        let sessions = ServerSessions::new();
        let present = [
            (sessions.slot([1; 32], 1, &parameters(10)), false),
            (sessions.slot([0; 32], 2, &parameters(10)), false),
            (sessions.slot([0; 32], 1, &parameters(9)), false),
            (sessions.slot([0; 32], 1, &parameters(10)), true),
            (sessions.slot([0; 32], 1, &parameters(11)), true),
        ];
        for (present, worth) in present {
            slot(&sessions).put(vec![1], vec![2]);
            assert_eq!(present.take(&[1]).is_some(), worth, "{present:?}");
        }
    }

    #[test]
    fn the_oldest_tickets_go_at_the_bound() {
        let sessions = ServerSessions::new();
        let ticket = |number: usize| number.to_be_bytes().to_vec();
        for number in 0..SERVER_TICKETS {
            slot(&sessions).put(ticket(number), Vec::new());
        }
        assert_eq!(sessions.len(), SERVER_TICKETS);
        slot(&sessions).put(ticket(SERVER_TICKETS), Vec::new());
        assert_eq!(sessions.len(), SERVER_TICKETS);
        assert_eq!(slot(&sessions).take(&ticket(0)), None);
        assert!(slot(&sessions).take(&ticket(1)).is_some());
    }

    #[test]
    fn bytes_are_bounded_too_and_redeemed_tickets_leave_nothing() {
        let sessions = ServerSessions::new();
        let large = SERVER_TICKET_BYTES / 4;
        for number in 0..9 {
            slot(&sessions).put(vec![number], vec![0; large]);
        }
        assert_eq!(sessions.len(), 3);
        for round in 0..SERVER_TICKETS * 3 {
            slot(&sessions).put(round.to_be_bytes().to_vec(), Vec::new());
            slot(&sessions).take(&round.to_be_bytes());
        }
        assert!(open(&sessions.stored).order.len() <= SERVER_TICKETS * 2);
        sessions.clear();
        assert_eq!((sessions.len(), open(&sessions.stored).bytes), (0, 0));
    }
}
