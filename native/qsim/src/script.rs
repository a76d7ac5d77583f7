//! What happens to the links while a run goes on: at an instant, or when so many bytes came through.
//!
//! Called by the pair between two steps. Each entry happens once.

use std::net::IpAddr;

use qbase::{Role, Timestamp};

use crate::{
    link::{Directions, LinkShape},
    network::{Interface, LinkId, Network},
};

/// When something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At this instant.
    At(Timestamp),
    /// Once the application of this end has read so many bytes.
    Received(Role, u64),
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Everything sent vanishes.
    Cut(LinkId, Directions),
    /// The end of a cut.
    Restore(LinkId, Directions),
    /// Another shape.
    Set(LinkId, Box<LinkShape>, Directions),
    /// An interface goes down or up.
    Interface(IpAddr, Interface),
}

impl Action {
    /// Does it.
    pub fn act(&self, now: Timestamp, network: &mut Network) {
        match self {
            Self::Cut(link, directions) => network.cut(now, *link, *directions),
            Self::Restore(link, directions) => network.restore(now, *link, *directions),
            Self::Set(link, shape, directions) => network.set(now, *link, shape, *directions),
            Self::Interface(address, interface) => network.set_interface(now, *address, *interface),
        }
    }
}

/// Everything still to happen.
#[derive(Clone, Debug, Default)]
pub struct Script {
    entries: Vec<(When, Action)>,
}

impl Script {
    /// Adds an entry.
    pub fn add(&mut self, when: When, action: Action) {
        self.entries.push((when, action));
    }

    /// The next instant something happens at.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        let instants = self.entries.iter().filter_map(|(when, _)| match when {
            When::At(at) => Some(*at),
            When::Received(..) => None,
        });
        instants.min()
    }

    /// Takes what is due, in the order it was added. `received` tells what an end has read.
    pub fn take_due(&mut self, now: Timestamp, received: impl Fn(Role) -> u64) -> Vec<Action> {
        if self.entries.is_empty() {
            return Vec::new();
        }
        let is_due = |when: &When| match when {
            When::At(at) => *at <= now,
            When::Received(role, bytes) => received(*role) >= *bytes,
        };
        self.entries.extract_if(.., |(when, _)| is_due(when)).map(|(_, action)| action).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_happens_once_when_it_is_due() {
        let (cut, restore) = (Action::Cut(LinkId(0), Directions::Both), Action::Restore(LinkId(0), Directions::Both));
        let mut script = Script::default();
        script.add(When::Received(Role::Server, 1_000), restore.clone());
        script.add(When::At(Timestamp::from_millis(5)), cut.clone());
        assert_eq!(script.next(), Some(Timestamp::from_millis(5)));
        assert_eq!(script.take_due(Timestamp::from_millis(4), |_| 999), []);
        assert_eq!(script.take_due(Timestamp::from_millis(5), |_| 999), [cut]);
        assert_eq!(script.next(), None);
        assert_eq!(script.take_due(Timestamp::from_millis(5), |_| 1_000), [restore]);
        assert_eq!(script.take_due(Timestamp::from_millis(9), |_| 9_999), []);
    }
}
