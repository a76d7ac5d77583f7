//! Path validation: challenges we send to prove an address, and responses we owe (RFC 9000 §8.2; multipath MP-20 to
//! MP-25).
//!
//! Decides when a challenge goes out, when its path has failed, and which responses are kept. Called by the burst
//! sources, the dispatch and the timers. Never draws random numbers, never pads and never touches credit.

use qbase::{FourTuple, Timestamp, limits};
use std::{collections::VecDeque, time::Duration};

/// Challenges sent for one validation at most (burst B-114): with doubling gaps so many fit before the deadline when the
/// RTT is much shorter than that of an unknown path.
pub const TRANSMISSIONS: u32 = 6;
/// A validation fails after this many PTOs (RFC 9000 §8.2.4).
const PTOS_UNTIL_FAILURE: u32 = 3;

/// Where a validation stands.
///
/// ```text
///          take_challenge          next_timer
///   Due ------------------> Waiting ---------> Due        (3 challenges, then Waiting without a next one)
///    \________________________/ |
///            | fails_at         | on_response
///            v                  v
///          Failed            Answered
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A challenge should go out.
    Due,
    /// Challenges are out; `None` when the last one is.
    Waiting {
        /// When the next one is due.
        next_at: Option<Timestamp>,
    },
    /// The peer answered.
    Answered,
    /// It did not, in time.
    Failed,
}

/// The validation of one network path: at most [`TRANSMISSIONS`] challenges with the same random bytes, one PTO apart at first,
/// then twice that (burst B-114).
#[derive(Clone, Debug)]
pub struct Validation {
    data: [u8; 8],
    state: State,
    sent: u32,
    /// Time to the next challenge.
    interval: Duration,
    /// Time from the first challenge to failure.
    patience: Duration,
    fails_at: Timestamp,
    /// A challenge left in a datagram below 1200 bytes.
    was_small: bool,
}

impl Validation {
    /// A validation whose first challenge is due at once. `data` is unpredictable; `pto` is the path's, `longest_pto`
    /// the larger of it and the PTO of a path without RTT samples (RFC 9000 §8.2.4).
    #[must_use]
    pub fn new(now: Timestamp, data: [u8; 8], pto: Duration, longest_pto: Duration) -> Self {
        let patience = longest_pto.max(pto).saturating_mul(PTOS_UNTIL_FAILURE);
        Self { data, state: State::Due, sent: 0, interval: pto, patience, fails_at: now + patience, was_small: false }
    }

    /// The same, with its first challenge due at `first_at`.
    #[must_use]
    pub fn starting(first_at: Timestamp, data: [u8; 8], pto: Duration, longest_pto: Duration) -> Self {
        Self { state: State::Waiting { next_at: Some(first_at) }, ..Self::new(first_at, data, pto, longest_pto) }
    }

    /// A challenge should go out.
    #[must_use]
    pub fn wants_challenge(&self) -> bool {
        self.state == State::Due
    }

    /// The bytes of the challenge that goes out now, if one is due.
    pub fn take_challenge(&mut self, now: Timestamp) -> Option<[u8; 8]> {
        if self.state != State::Due {
            return None;
        }
        if self.sent == 0 {
            self.fails_at = now + self.patience;
        }
        self.sent = self.sent.saturating_add(1);
        let next_at = (self.sent < TRANSMISSIONS).then(|| now + self.interval);
        self.interval = self.interval.saturating_mul(2);
        self.state = State::Waiting { next_at };
        Some(self.data)
    }

    /// The challenge taken last never left the host (burst B-7): it is due again and does not count.
    pub fn on_cancelled(&mut self) {
        if matches!(self.state, State::Waiting { .. }) && self.sent > 0 {
            self.sent = self.sent.saturating_sub(1);
            self.interval = self.interval.checked_div(2).unwrap_or_default();
            self.state = State::Due;
        }
    }

    /// The challenge taken last left in a datagram below 1200 bytes, for want of credit: an answer proves the address,
    /// not the MTU (RFC 9000 §8.2.1).
    pub const fn on_sent_small(&mut self) {
        self.was_small = true;
    }

    /// A PATH_RESPONSE came, on whatever path. `true` if it is the first answer to this validation; any other data is
    /// ignored (RFC 9000 §8.2.3; attacks E8).
    pub fn on_response(&mut self, data: [u8; 8]) -> bool {
        let is_open = match self.state {
            State::Due | State::Waiting { .. } => self.sent > 0,
            State::Answered | State::Failed => false,
        };
        let matched = is_open && data == self.data;
        if matched {
            self.state = State::Answered;
        }
        matched
    }

    /// The answer proves that the path carries 1200 bytes; if not, another validation must follow (multipath MP-24).
    #[must_use]
    pub fn is_mtu_proved(&self) -> bool {
        self.state == State::Answered && !self.was_small
    }

    /// When to call [`Self::on_timer`].
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        match self.state {
            State::Due => Some(self.fails_at),
            State::Waiting { next_at } => Timestamp::earliest(next_at, Some(self.fails_at)),
            State::Answered | State::Failed => None,
        }
    }

    /// Time has come for the next challenge, or to give up.
    pub fn on_timer(&mut self, now: Timestamp) {
        match self.state {
            State::Due | State::Waiting { .. } if now >= self.fails_at => self.state = State::Failed,
            State::Waiting { next_at: Some(next_at) } if now >= next_at => self.state = State::Due,
            _ => {}
        }
    }

    /// The challenge cannot even leave: it fails at the next call of [`Self::on_timer`].
    pub fn give_up(&mut self) {
        if self.state != State::Answered {
            (self.state, self.fails_at) = (State::Waiting { next_at: None }, Timestamp::ZERO);
        }
    }

    /// The peer did not answer in time: the path must not be used (multipath MP-25).
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.state == State::Failed
    }
}

/// A PATH_RESPONSE that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// The bytes of the challenge.
    pub data: [u8; 8],
    /// Where the challenge came from, and so where the response must go (RFC 9000 §8.2.2; burst B-31).
    pub four_tuple: FourTuple,
}

/// Responses owed on one path id, oldest first: at most [`limits::PATH_RESPONSES_PER_PATH`], each sent once and never
/// again (attacks L8, E7).
#[derive(Clone, Debug, Default)]
pub struct Responses {
    waiting: VecDeque<Response>,
    dropped: u64,
}

impl Responses {
    /// Nothing is owed.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiting: VecDeque::new(), dropped: 0 }
    }

    /// A PATH_CHALLENGE came between these addresses. A copy of one that still waits adds nothing; beyond the bound the
    /// oldest response is dropped.
    pub fn push(&mut self, data: [u8; 8], four_tuple: FourTuple) {
        let response = Response { data, four_tuple };
        if self.waiting.contains(&response) {
            return;
        }
        if self.waiting.len() >= limits::PATH_RESPONSES_PER_PATH {
            self.drop_oldest();
        }
        self.waiting.push_back(response);
    }

    /// Drops the oldest response, to keep the bound of the whole connection.
    pub fn drop_oldest(&mut self) {
        if self.waiting.pop_front().is_some() {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// The bytes of the oldest response that must leave between these addresses.
    pub fn pop_for(&mut self, four_tuple: FourTuple) -> Option<[u8; 8]> {
        let at = self.waiting.iter().position(|response| response.four_tuple == four_tuple)?;
        self.waiting.remove(at).map(|response| response.data)
    }

    /// A response must leave between these addresses.
    #[must_use]
    pub fn has_for(&self, four_tuple: FourTuple) -> bool {
        self.waiting.iter().any(|response| response.four_tuple == four_tuple)
    }

    /// Addresses between which the oldest response must leave that does not go between these.
    #[must_use]
    pub fn next_beside(&self, own: FourTuple) -> Option<FourTuple> {
        self.waiting.iter().map(|response| response.four_tuple).find(|four_tuple| *four_tuple != own)
    }

    /// Responses owed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing is owed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Responses dropped for want of room, since the start.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    const DATA: [u8; 8] = *b"unguess!";
    const PTO: Duration = Duration::from_millis(100);
    const FRESH_PTO: Duration = Duration::from_millis(999);

    /// Shows 9000-9.4-4.
    #[test]
    fn challenges_go_out_one_pto_apart_then_two_then_four() {
        let mut validation = Validation::new(at(0), DATA, PTO, FRESH_PTO);
        let mut sent = Vec::new();
        let mut now = at(10);
        while !validation.has_failed() {
            if validation.take_challenge(now) == Some(DATA) {
                sent.push(now);
            }
            now = validation.next_timer().unwrap();
            validation.on_timer(now);
        }
        assert_eq!(sent, vec![at(10), at(110), at(310), at(710), at(1_510)]);
        assert_eq!(now, at(10 + 3 * 999), "three times the longer PTO after the first challenge");
        assert_eq!((validation.next_timer(), validation.take_challenge(now)), (None, None));
    }

    #[test]
    fn a_challenge_that_can_never_be_sent_fails_too() {
        let mut validation = Validation::new(at(0), DATA, PTO, FRESH_PTO);
        assert_eq!(validation.next_timer(), Some(at(2_997)));
        validation.on_timer(at(2_996));
        assert!(validation.wants_challenge());
        validation.on_timer(at(2_997));
        assert!(validation.has_failed());
    }

    #[test]
    fn patience_follows_the_longer_of_the_two_ptos() {
        let mut validation = Validation::new(at(0), DATA, FRESH_PTO * 4, FRESH_PTO);
        validation.take_challenge(at(0));
        validation.on_timer(at(11_987));
        assert!(!validation.has_failed());
        validation.on_timer(at(11_988));
        assert!(validation.has_failed());
    }

    #[test]
    fn a_validation_that_starts_later_counts_from_then() {
        let mut validation = Validation::starting(at(500), DATA, PTO, FRESH_PTO);
        assert_eq!((validation.wants_challenge(), validation.next_timer()), (false, Some(at(500))));
        assert!(!validation.on_response(DATA), "nothing was asked yet");
        validation.on_timer(at(500));
        assert_eq!(validation.take_challenge(at(500)), Some(DATA));
        validation.on_timer(at(500 + 2_996));
        assert!(!validation.has_failed());
    }

    #[test]
    fn the_right_response_ends_the_validation_once() {
        let mut validation = Validation::new(at(0), DATA, PTO, FRESH_PTO);
        validation.take_challenge(at(0));
        assert!(validation.on_response(DATA));
        assert!(!validation.on_response(DATA));
        assert_eq!((validation.next_timer(), validation.wants_challenge(), validation.has_failed()), (None, false, false));
        assert!(validation.is_mtu_proved());
    }

    #[test]
    fn a_response_to_an_earlier_transmission_counts() {
        let mut validation = Validation::new(at(0), DATA, PTO, FRESH_PTO);
        validation.take_challenge(at(0));
        validation.on_timer(at(100));
        assert!(validation.wants_challenge());
        assert!(validation.on_response(DATA));
        assert!(!validation.wants_challenge());
    }

    #[test]
    fn attack_e8_wrong_data_is_ignored_and_provokes_nothing() {
        let mut validation = Validation::new(at(0), DATA, PTO, FRESH_PTO);
        assert!(!validation.on_response(DATA), "nothing was asked yet");
        validation.take_challenge(at(0));
        assert!(!validation.on_response(*b"guess me"));
        assert_eq!((validation.wants_challenge(), validation.next_timer()), (false, Some(at(100))));
    }

    #[test]
    fn a_cancelled_challenge_is_due_again_and_does_not_count() {
        let mut validation = Validation::new(at(0), DATA, PTO, FRESH_PTO);
        for _ in 0..5 {
            assert!(validation.take_challenge(at(0)).is_some());
            validation.on_cancelled();
        }
        assert!(validation.take_challenge(at(0)).is_some());
        assert_eq!(validation.next_timer(), Some(at(100)));
    }

    #[test]
    fn attack_e9_a_small_challenge_proves_the_address_but_not_the_mtu() {
        let mut validation = Validation::new(at(0), DATA, PTO, FRESH_PTO);
        validation.take_challenge(at(0));
        validation.on_sent_small();
        assert!(validation.on_response(DATA));
        assert!(!validation.is_mtu_proved());
    }

    #[test]
    fn attack_e7_a_flood_of_challenges_keeps_the_four_newest() {
        let mut responses = Responses::new();
        for number in 0..1_000_u64 {
            responses.push(number.to_be_bytes(), four_tuple(1));
            assert!(responses.len() <= limits::PATH_RESPONSES_PER_PATH);
        }
        assert_eq!(responses.dropped(), 996);
        let kept: Vec<u64> = std::iter::from_fn(|| responses.pop_for(four_tuple(1))).map(u64::from_be_bytes).collect();
        assert_eq!(kept, vec![996, 997, 998, 999]);
    }

    #[test]
    fn a_response_leaves_only_between_the_addresses_of_its_challenge() {
        let mut responses = Responses::new();
        responses.push([1; 8], four_tuple(1));
        responses.push([2; 8], four_tuple(2));
        assert_eq!(responses.next_beside(four_tuple(1)), Some(four_tuple(2)));
        assert_eq!(responses.pop_for(four_tuple(2)), Some([2; 8]));
        assert_eq!(responses.pop_for(four_tuple(2)), None);
        assert_eq!(responses.pop_for(four_tuple(1)), Some([1; 8]));
        assert!(responses.is_empty());
    }

    #[test]
    fn a_copy_of_a_waiting_challenge_is_answered_once_and_one_after_the_answer_again() {
        let mut responses = Responses::new();
        responses.push([1; 8], four_tuple(1));
        responses.push([1; 8], four_tuple(1));
        assert_eq!(responses.len(), 1);
        responses.pop_for(four_tuple(1));
        responses.push([1; 8], four_tuple(1));
        assert_eq!(responses.len(), 1);
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn four_tuple(port: u16) -> FourTuple {
        FourTuple { local: SocketAddr::from(([192, 0, 2, 1], 4433)), remote: SocketAddr::from(([198, 51, 100, 1], port)) }
    }
}
