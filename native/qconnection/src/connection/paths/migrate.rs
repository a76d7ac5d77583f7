//! A client moves: to another address of its own, or to the one its server prefers (RFC 9000 §9.1, §9.2, §9.6.1, §9.6.3;
//! multipath MP-12, MP-13; attacks E12, E13, E15).
//!
//! Called by the application's verb and when the handshake is confirmed. Never moves before that.

use super::{moves::{AskLeft, Meant, Why}, spares::SILENT_PTOS};
use crate::{
    config::FollowPreferred,
    connection::{Connection, events::Cause},
    path::{
        PathState,
        amplify::Amplification,
        side::{Purpose, Side, is_same_address},
    },
};
use qbase::{FourTuple, PathId, Timestamp};
use std::net::{IpAddr, SocketAddr};

/// When a path leaves its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    /// When the peer has answered at the new one (RFC 9000 §9.1).
    WhenProved,
    /// At once; it comes back if the peer does not answer (RFC 9000 §9.2).
    AtOnce,
}

/// Why a path cannot move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MigrateError {
    /// Only clients move (RFC 9000 §9).
    #[error("only a client can migrate")]
    Role,
    /// The handshake is not confirmed (RFC 9000 §9).
    #[error("the handshake is not confirmed")]
    Handshake,
    /// The server asked its clients not to (RFC 9000 §9).
    #[error("the server disabled migration")]
    Disabled,
    /// There is no such path in use.
    #[error("no such path")]
    UnknownPath,
    /// The server has given no connection id to spare, or uses none (RFC 9000 §9.5).
    #[error("no connection id of the server to spare")]
    NoConnectionId,
    /// The address is of the other IP version, or the path is there already.
    #[error("the address does not fit the path")]
    BadAddress,
}

/// What a connection knows about its moves.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// Some path has further addresses, or answers owed to some.
    pub(super) has_sides: bool,
    /// Addresses of the handshake.
    pub(super) handshake: Option<FourTuple>,
    /// The client goes to its server's preferred address when it can.
    pub(super) follows_preferred: bool,
    /// The newest packet of the client on this path came between these addresses, one of which we prefer.
    pub(super) client_at: Option<(PathId, FourTuple)>,
}

impl Moves {
    /// The client's newest packet came from there.
    pub(super) fn client_is_at(&self, path: PathId, four_tuple: FourTuple) -> bool {
        self.client_at == Some((path, four_tuple))
    }
}

impl Connection {
    /// Moves a path to another local address; an event tells whether it came about. A request under way is given up.
    ///
    /// # Errors
    /// The path cannot move.
    pub fn migrate(&mut self, now: Timestamp, path: PathId, local: SocketAddr, when: Migration) -> Result<(), MigrateError> {
        if !self.role.is_client() {
            return Err(MigrateError::Role);
        }
        if !self.confirmed {
            return Err(MigrateError::Handshake);
        }
        let entry = self.paths.get(path).filter(|entry| entry.is_live());
        let own = entry.and_then(|entry| entry.network.as_deref()).map(|network| network.four_tuple).ok_or(MigrateError::UnknownPath)?;
        let four_tuple = FourTuple { local, remote: own.remote };
        if self.is_barred(four_tuple) {
            return Err(MigrateError::Disabled);
        }
        if !four_tuple.is_one_family() || local.port() == 0 || own.local == local {
            return Err(MigrateError::BadAddress);
        }
        self.forget_candidate(path);
        if self.network(path).and_then(|network| network.left.as_ref()).is_some_and(|left| left.four_tuple == four_tuple) {
            self.forget_left(path);
        }
        let side = self.side_of(now, path, four_tuple, Purpose::Move).ok_or(MigrateError::NoConnectionId)?;
        match when {
            Migration::WhenProved => self.set_candidate(path, side),
            Migration::AtOnce => {
                let why = Why { by: Cause::Local, meant: Meant::Yes, reason: "asked for by the application", ask_left: AskLeft::No };
                self.move_path(now, path, side, why);
            }
        }
        Ok(())
    }

    /// The only path goes to the other end of a hole when the peer has answered there (traversal T-87). `false`: not now.
    pub(in crate::connection) fn move_to_hole(&mut self, now: Timestamp, four_tuple: FourTuple) -> bool {
        let is_free = self.network(PathId::ZERO).is_some_and(|network| network.candidate.is_none());
        let side = if is_free { self.side_of(now, PathId::ZERO, four_tuple, Purpose::Move) } else { None };
        let moves = side.is_some();
        if let Some(side) = side {
            self.set_candidate(PathId::ZERO, side);
        }
        moves
    }

    /// The only path is silent where it is: it goes back to the relay at once. `false`: not yet.
    pub(in crate::connection) fn leave_for_home(&mut self, now: Timestamp, home: FourTuple) -> bool {
        if self.network(PathId::ZERO).is_none_or(|network| network.pto_count < SILENT_PTOS) {
            return false;
        }
        self.forget_candidate(PathId::ZERO);
        // It has left it a moment ago, or has an id to spare; or nobody else would know that it is the same end (RFC 9000 §9.5).
        let left = self.network_mut(PathId::ZERO).and_then(|network| network.left.take_if(|left| left.four_tuple == home));
        let left = left.map(|left| Side { validation: None, ..*left });
        let fresh = left.or_else(|| self.side_of(now, PathId::ZERO, home, Purpose::Move));
        let active = || self.paths.get(PathId::ZERO).and_then(|entry| entry.remote_cids.active_sequence());
        let side = fresh.unwrap_or_else(|| Side { cid: active(), ..Side::new(home, Amplification::unlimited(), Purpose::Move) });
        let why = Why { by: Cause::Timer, meant: Meant::Yes, reason: "silent: back to the relay", ask_left: AskLeft::No };
        self.move_path(now, PathId::ZERO, side, why);
        self.forget_left(PathId::ZERO);
        true
    }

    /// Gives up a [`Self::migrate`] that waits for the peer's answer; without one it does nothing.
    pub fn cancel_migration(&mut self, path: PathId) {
        if self.network(path).and_then(|network| network.candidate.as_ref()).is_some_and(|candidate| candidate.purpose == Purpose::Move) {
            self.forget_candidate(path);
        }
    }

    /// The server wants no packets from this local address to the address of its handshake (RFC 9000 §9; multipath MP-12).
    pub(super) fn is_barred(&self, four_tuple: FourTuple) -> bool {
        self.peer_parameters.disable_active_migration
            && self.moves.handshake.is_some_and(|handshake| {
                is_same_address(handshake.remote, four_tuple.remote) && !is_same_address(handshake.local, four_tuple.local)
            })
    }

    /// A further address of ours or the server's with a connection id of its own, about to be asked.
    pub(super) fn side_of(&mut self, now: Timestamp, path: PathId, four_tuple: FourTuple, purpose: Purpose) -> Option<Side> {
        let taken = self.paths.get_mut(path)?.remote_cids.take_unused()?;
        // The application or the server's authenticated word names this address.
        let mut side = Side::new(four_tuple, Amplification::unlimited(), purpose);
        side.cid = Some(taken.sequence);
        side.validation = self.validation(now, path, now);
        Some(side)
    }

    pub(super) fn set_candidate(&mut self, path: PathId, side: Side) {
        if let Some(network) = self.network_mut(path) {
            network.candidate = Some(Box::new(side));
            self.moves.has_sides = true;
        }
    }

    /// The handshake is confirmed: from now on paths may move.
    pub(in crate::connection) fn allow_moves(&mut self, now: Timestamp) {
        self.moves.handshake = self.network(PathId::ZERO).map(|network| network.four_tuple);
        self.moves.follows_preferred = self.role.is_client() && self.config.follow_preferred != FollowPreferred::Never;
        self.start_preferred(now);
    }

    /// Asks at the address the server prefers, once, from where path 0 is (RFC 9000 §9.6.1, §9.6.3).
    pub(super) fn start_preferred(&mut self, now: Timestamp) {
        if !self.moves.follows_preferred {
            return;
        }
        let Some(offer) = self.peer_parameters.preferred_address else { return };
        let Some(entry) = self.paths.get(PathId::ZERO).filter(|entry| entry.state == PathState::Open) else { return };
        let Some(network) = entry.network.as_deref().filter(|network| network.candidate.is_none()) else { return };
        let own = network.four_tuple;
        let remote = if own.remote.ip().to_canonical().is_ipv4() { offer.ipv4.map(SocketAddr::V4) } else { offer.ipv6.map(SocketAddr::V6) };
        let Some(remote) = remote.filter(|remote| self.may_go_to(own, *remote)) else { return };
        let remote = match (own.local, remote) {
            (SocketAddr::V6(_), SocketAddr::V4(v4)) => SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port()),
            (_, remote) => remote,
        };
        let four_tuple = FourTuple { local: own.local, remote };
        if let Some(side) = self.side_of(now, PathId::ZERO, four_tuple, Purpose::Preferred) {
            self.set_candidate(PathId::ZERO, side);
        }
    }

    /// A preferred address that is worth asking at (attacks E15).
    fn may_go_to(&self, own: FourTuple, remote: SocketAddr) -> bool {
        if is_same_address(own.remote, remote) || is_same_address(own.local, remote) || remote.port() == 0 {
            return false;
        }
        match self.config.follow_preferred {
            FollowPreferred::Never => false,
            FollowPreferred::Always => reach(remote.ip()).is_some(),
            FollowPreferred::Scoped => reach(remote.ip()).is_some_and(|theirs| reach(own.remote.ip()).is_none_or(|ours| theirs >= ours)),
        }
    }
}

/// From how far an address is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Host,
    Link,
    Private,
    Global,
}

/// The reach of a unicast address; `None` for others.
fn reach(ip: IpAddr) -> Option<Reach> {
    let ip = ip.to_canonical();
    if ip.is_unspecified() || ip.is_multicast() {
        return None;
    }
    Some(match ip {
        _ if ip.is_loopback() => Reach::Host,
        IpAddr::V4(v4) if v4.is_broadcast() => return None,
        IpAddr::V4(v4) if v4.is_link_local() => Reach::Link,
        // Shared address space of carriers is reached by their customers only (RFC 6598).
        IpAddr::V4(v4) if v4.is_private() || matches!(v4.octets(), [100, 64..=127, ..]) => Reach::Private,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Reach::Link,
        IpAddr::V6(v6) if v6.is_unique_local() => Reach::Private,
        _ => Reach::Global,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // attacks E15
    #[test]
    fn attack_e15_the_reach_of_addresses_is_known() {
        let cases = [
            ("127.0.0.1", Some(Reach::Host)),
            ("::1", Some(Reach::Host)),
            ("::ffff:127.0.0.1", Some(Reach::Host)),
            ("169.254.169.254", Some(Reach::Link)),
            ("fe80::1", Some(Reach::Link)),
            ("10.1.2.3", Some(Reach::Private)),
            ("172.16.0.1", Some(Reach::Private)),
            ("192.168.1.1", Some(Reach::Private)),
            ("100.64.0.1", Some(Reach::Private)),
            ("fd00::1", Some(Reach::Private)),
            ("203.0.113.5", Some(Reach::Global)),
            ("2001:db8::1", Some(Reach::Global)),
            ("224.0.0.1", None),
            ("ff02::1", None),
            ("255.255.255.255", None),
            ("0.0.0.0", None),
        ];
        for (address, expected) in cases {
            assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
        }
    }
}
