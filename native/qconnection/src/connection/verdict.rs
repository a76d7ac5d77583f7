//! The application's word on the peer's certificates, given while the handshake waits (design: verification is synchronous).
//!
//! ```text
//!  TLS is done --held--> VerdictWanted --Accept--> the handshake goes on
//!                             \--Refuse--> closed with bad_certificate
//!                             \--silence--> handshake timeout
//! ```
//! Held back on a client: Finished and the 1-RTT keys; on a server: everything that completion lets through, so that
//! nothing is delivered and HANDSHAKE_DONE waits. Called by the handshake. A ticket stands for a verdict given before.

use super::{Connection, State, events::Event};
use qbase::{ErrorCode, TransportError, Timestamp};

/// The answer of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The peer is who it should be.
    Accept,
    /// It is not.
    Refuse,
}

/// Whether the handshake waits for the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nobody wants to be asked, or the answer was given.
    Off,
    /// TLS is not done yet.
    Armed,
    /// The application was asked.
    Waiting,
}

/// bad_certificate (RFC 8446 §6).
const BAD_CERTIFICATE: u8 = 42;

impl Connection {
    /// The handshake waits for the application's word.
    pub(crate) fn awaits_verdict(&self) -> bool {
        self.hold == Hold::Waiting
    }

    /// TLS is done and the application has to be heard first. Asks it once.
    pub(super) fn is_held(&mut self) -> bool {
        if self.hold == Hold::Armed && !self.tls.is_handshaking() {
            if self.tls.is_resumed() {
                self.hold = Hold::Off;
                return false;
            }
            self.hold = Hold::Waiting;
            self.events.push_back(Event::VerdictWanted { chain: self.tls.peer_certificates() });
        }
        self.hold == Hold::Waiting
    }

    /// Answers [`Event::VerdictWanted`]. Before it, a second time, or when the connection is over it changes nothing
    /// (attacks B16).
    pub fn verdict(&mut self, now: Timestamp, verdict: Verdict) {
        if self.hold != Hold::Waiting || self.state != State::Handshaking {
            return;
        }
        self.hold = Hold::Off;
        let result = match verdict {
            Verdict::Accept => self.pump_tls(now),
            Verdict::Refuse => {
                Err(TransportError::new(ErrorCode::crypto(BAD_CERTIFICATE), "the application refused the certificate"))
            }
        };
        if let Err(error) = result {
            self.fail(now, error);
        }
    }
}
