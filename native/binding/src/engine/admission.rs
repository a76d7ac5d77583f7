//! Attempts of clients: JavaScript hears of them and decides; refusals and Retries are told (attacks L2).
//!
//! Decides nothing: the machine keeps attempts, and their number and time within bounds. Called by the commands and once a
//! turn.

use qconnection::endpoint::{Admission, AttemptId, EndpointNews};
use qdriver::Io;

use super::{Engine, remote::remote_text};
use crate::{
    messages::{events::Event, orders::{AdmissionMode, Admit}},
    options::server::Listen,
};

/// Chooses who decides about newcomers.
pub(super) fn set_admission(io: &mut Io<'_>, mode: AdmissionMode) {
    io.endpoint.set_admission(match mode {
        AdmissionMode::Open => Admission::Open,
        AdmissionMode::Ask => Admission::Asked,
    });
}

impl Engine {
    /// JavaScript's verdict. An attempt that is over, or finds no room, is told to be over.
    pub(super) fn admit(&mut self, io: &mut Io<'_>, attempt: u64, verdict: Admit, terms: Option<Listen>) {
        let id = AttemptId(attempt);
        let settings = terms.as_ref().map(|terms| terms.transport.clone()).or_else(|| self.newcomers.clone());
        let handle = match verdict {
            Admit::Accept => io.endpoint.accept_attempt(io.now, id, terms.map(|terms| terms.config)),
            Admit::Retry => io.endpoint.retry_attempt(io.now, id),
            Admit::Refuse => {
                io.endpoint.refuse_attempt(io.now, id);
                None
            }
            Admit::Ignore => {
                io.endpoint.ignore_attempt(id);
                None
            }
        };
        let admitted = settings.map(|settings| (attempt, settings));
        let key = handle.and_then(|handle| self.greet(io, handle, admitted));
        if key.is_none() {
            let at_ms = self.out.at_ms(io.now);
            self.out.event(0, &Event::AttemptOver { at_ms, attempt });
        }
    }

    /// What the endpoint itself has to tell, as long as JavaScript keeps up.
    pub(super) fn tell_news(&mut self, io: &mut Io<'_>) {
        let at_ms = self.out.at_ms(io.now);
        while !self.is_full()
            && let Some(news) = io.endpoint.poll_news()
        {
            let event = match news {
                EndpointNews::Attempt(attempt) => Event::Attempt {
                    at_ms,
                    attempt: attempt.id.0,
                    remote: remote_text(io.endpoint, attempt.four_tuple.remote),
                    local: attempt.four_tuple.local.to_string(),
                    server_name: attempt.server_name,
                    alpn: attempt.protocols.iter().map(|protocol| String::from_utf8_lossy(protocol).into_owned()).collect(),
                    validated: attempt.validated,
                },
                EndpointNews::AttemptOver(id) => Event::AttemptOver { at_ms, attempt: id.0 },
                EndpointNews::Refused { remote, reason } => Event::Refused { at_ms, remote: remote_text(io.endpoint, remote), reason },
                EndpointNews::Retried { remote } => Event::Retried { at_ms, remote: remote_text(io.endpoint, remote), reason: "the client must prove its address" },
            };
            self.out.event(0, &event);
        }
    }
}
