//! Stateless resets that are meant for this connection (RFC 9000 §10.3.1; multipath MP-68; attacks A17, K2).
//!
//! Called by the input and by the endpoint for datagrams that nothing could be made of, and whenever the peer named a
//! token. Never sends: the endpoint answers for connections that are gone.

use super::{Connection, State, close::CloseCause, events::EndpointAction};
use qbase::{ConnectionId, PathId, ResetToken, Timestamp};
use std::net::SocketAddr;

impl Connection {
    /// The ids the peer may use on a path, oldest first.
    #[must_use]
    pub fn local_cids_of(&self, path: PathId) -> Vec<ConnectionId> {
        self.paths.get(path).map(|entry| entry.local_cids.iter_active().collect()).unwrap_or_default()
    }

    /// Tells the endpoint which tokens may come, after the peer gave one.
    pub(super) fn announce_reset_tokens(&mut self) {
        let Self { paths, reset_tokens, actions, .. } = self;
        let held: Vec<ResetToken> = paths.iter().flat_map(|entry| entry.remote_cids.tokens()).collect();
        reset_tokens.retain(|known| {
            let keep = held.contains(known);
            if !keep {
                actions.push_back(EndpointAction::Unexpect(*known));
            }
            keep
        });
        for token in held {
            if !reset_tokens.contains(&token) {
                reset_tokens.push(token);
                actions.push_back(EndpointAction::Expect(token));
            }
        }
    }

    /// A datagram from `remote` that could not be read ends in `token`: if an id with that token is in use on a path to
    /// that address, the peer has lost the connection, and it ends here too. Every token is looked at, so that the time
    /// this takes tells nothing.
    pub(crate) fn on_possible_reset(&mut self, now: Timestamp, remote: SocketAddr, token: &ResetToken) -> bool {
        let in_use = self.paths.iter().fold(false, |found, entry| {
            let there = entry.network.as_deref().is_some_and(|network| network.four_tuple.remote == remote);
            found | (there & entry.remote_cids.is_reset_token(token))
        });
        // One that comes again is a reset too, and must not be answered by one (RFC 9000 §10.3.3).
        if in_use && !matches!(self.state, State::Draining | State::Drained) {
            self.close_silently(now, CloseCause::Reset);
        }
        in_use
    }
}
