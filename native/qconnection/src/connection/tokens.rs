//! NEW_TOKEN: a proof of the client's address for its next connection (RFC 9000 §8.1.3, §19.7; attacks B22, B25).
//!
//! Called by the handshake (a server offers one when it is confirmed), by the output and by the dispatch. The endpoint
//! makes tokens and judges them; this part carries one at a time until it has arrived.

use super::{Connection, events::{EndpointAction, Event}};
use crate::path::PathState;
use bytes::Bytes;
use qbase::{PathId, TransportError, Timestamp, frame, limits};
use std::collections::VecDeque;

/// A token on its way to the client.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    token: Vec<u8>,
    /// How many offers there were: a fate of an earlier one says nothing about this.
    serial: u32,
    progress: Progress,
}

/// Where the token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Progress {
    /// There is none, or it has arrived.
    #[default]
    Idle,
    Owed,
    Sent,
}

impl Offer {
    /// The frame that waits to be written.
    pub(crate) fn owed(&self) -> Option<(frame::NewToken<'_>, u32)> {
        (self.progress == Progress::Owed).then_some((frame::NewToken { token: &self.token }, self.serial))
    }

    pub(crate) const fn is_owed(&self) -> bool {
        matches!(self.progress, Progress::Owed)
    }

    pub(crate) const fn on_written(&mut self) {
        self.progress = Progress::Sent;
    }

    pub(super) fn on_acked(&mut self, serial: u32) {
        if serial == self.serial {
            (self.token, self.progress) = (Vec::new(), Progress::Idle);
        }
    }

    pub(super) fn on_lost(&mut self, serial: u32) {
        if serial == self.serial && self.progress == Progress::Sent {
            self.progress = Progress::Owed;
        }
    }
}

impl Connection {
    /// Asks the endpoint for a token that names the client's proved addresses, that of `path` first. One token for all of
    /// them: a client repeats the one it got last, wherever it comes from (multipath MP-29).
    pub(super) fn want_token(&mut self, now: Timestamp, path: PathId) {
        if !self.offers_tokens {
            return;
        }
        let mut addresses = Vec::with_capacity(limits::TOKEN_ADDRESSES);
        let others = self.paths.iter().filter(|entry| entry.id != path && entry.state == PathState::Open).map(|entry| entry.id);
        for id in std::iter::once(path).chain(others) {
            let Some(network) = self.network(id) else { continue };
            let address = network.four_tuple.remote.ip();
            if network.amplification.is_validated() && !addresses.contains(&address) && addresses.len() < limits::TOKEN_ADDRESSES {
                addresses.push(address);
            }
        }
        if !addresses.is_empty() {
            self.actions.push_back(EndpointAction::MakeToken { at: now, addresses });
        }
    }

    /// Another path in use has the same address of the peer's host.
    pub(super) fn has_sibling_at_same_host(&self, path: PathId) -> bool {
        let Some(host) = self.network(path).map(|network| network.four_tuple.remote.ip()) else { return false };
        let others = self.paths.iter().filter(|entry| entry.id != path && entry.state == PathState::Open);
        others.filter_map(|entry| entry.network.as_deref()).any(|network| network.four_tuple.remote.ip() == host)
    }

    /// Sends this token; it takes the place of one that has not arrived.
    pub(crate) fn offer_token(&mut self, token: Vec<u8>) {
        if !token.is_empty() {
            let serial = self.control.new_token.serial.wrapping_add(1);
            self.control.new_token = Offer { token, serial, progress: Progress::Owed };
        }
    }

    /// NEW_TOKEN. The application gets it with the version it belongs to, and can use it as
    /// [`ClientConfig::token`](crate::ClientConfig::token) as it is.
    pub(super) fn on_new_token(&mut self, new: &frame::NewToken<'_>) -> Result<(), TransportError> {
        if !self.role.is_client() {
            return Err(TransportError::violation("NEW_TOKEN from a client"));
        }
        if new.token.len() > limits::TOKEN_LEN {
            return Ok(());
        }
        let stored = [self.version.to_be_bytes().as_slice(), new.token].concat();
        keep_newest(&mut self.events, Bytes::from(stored));
        Ok(())
    }
}

/// Tells a token; of those that wait only the newest stay (attacks B25, L18).
fn keep_newest(events: &mut VecDeque<Event>, token: Bytes) {
    let is_token = |event: &Event| matches!(event, Event::NewToken(_));
    if events.iter().filter(|event| is_token(event)).count() >= limits::TOKENS_WAITING
        && let Some(oldest) = events.iter().position(is_token)
    {
        events.remove(oldest);
    }
    events.push_back(Event::NewToken(token));
}

/// The token in what [`Event::NewToken`] brought, if it belongs to `version` (RFC 9369 §5).
pub(super) fn token_for(stored: &[u8], version: u32) -> Vec<u8> {
    match stored.split_first_chunk::<4>() {
        Some((of, token)) if u32::from_be_bytes(*of) == version && token.len() <= limits::TOKEN_LEN => token.to_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_b25_of_a_flood_of_tokens_the_newest_four_wait() {
        let mut events = VecDeque::from([Event::Confirmed]);
        for number in 0..100 {
            keep_newest(&mut events, Bytes::from(vec![number]));
            let expected = usize::from(number).saturating_add(1).min(limits::TOKENS_WAITING);
            assert_eq!(events.len(), 1 + expected);
        }
        let kept: Vec<Event> = events.into_iter().skip(1).collect();
        assert_eq!(kept, [96, 97, 98, 99].map(|number| Event::NewToken(Bytes::from(vec![number]))));
    }

    #[test]
    fn the_fate_of_an_earlier_token_says_nothing_about_the_next() {
        let mut offer = Offer { token: vec![1], serial: 2, progress: Progress::Sent };
        offer.on_lost(1);
        offer.on_acked(1);
        assert_eq!(offer.progress, Progress::Sent);
        offer.on_lost(2);
        assert!(offer.is_owed());
        offer.on_written();
        offer.on_acked(2);
        assert_eq!((offer.progress, offer.token.len()), (Progress::Idle, 0));
    }

    #[test]
    fn a_stored_token_serves_its_version_only() {
        let stored = [qbase::VERSION_2.to_be_bytes().as_slice(), b"token"].concat();
        assert_eq!(token_for(&stored, qbase::VERSION_2), b"token");
        assert_eq!(token_for(&stored, qbase::VERSION_1), b"");
        assert_eq!(token_for(&[], qbase::VERSION_1), b"");
        let long = [qbase::VERSION_1.to_be_bytes().as_slice(), &vec![0; limits::TOKEN_LEN + 1]].concat();
        assert_eq!(token_for(&long, qbase::VERSION_1), b"", "no room would be left for the handshake");
    }
}
