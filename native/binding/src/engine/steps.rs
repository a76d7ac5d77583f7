//! What a client's handshake did with each of its address pairs, as events (multipath MP-97).
//!
//! Called when a connection is looked at. Steps of one turn are one record: a handshake has a few, and a record each would
//! cost more than the steps are worth.

use qconnection::connection::{HandshakeStep, StepKind};
use qdriver::Io;

use super::{Engine, remote::Addresses};
use crate::messages::events::{Event, Step};

/// Names of the bits of [`StepKind::Flight`].
const PACKETS: [&str; 4] = ["initial", "0rtt", "handshake", "1rtt"];

impl Engine {
    /// Tells the steps that were collected.
    pub(super) fn tell_steps(&mut self, io: &Io<'_>, key: u32) {
        let at_ms = self.out.at_ms(io.now);
        let Some(connection) = self.table.get_mut(key).filter(|connection| !connection.steps.is_empty()) else { return };
        let steps = std::mem::take(&mut connection.steps);
        let Some(machine) = io.endpoint.connection(connection.handle) else { return };
        let attempts: Vec<_> = machine.attempts().map(|attempt| attempt.four_tuple).collect();
        let steps = steps.iter().map(|step| told(step, attempts.get(usize::from(step.attempt)).map(|attempt| Addresses::of(io.endpoint, *attempt)).unwrap_or_default())).collect();
        self.out.event(key, &Event::Handshake { at_ms, steps });
    }
}

fn told(step: &HandshakeStep, Addresses { local, remote }: Addresses) -> Step {
    let (datagrams, bytes, packets) = match step.kind {
        StepKind::Flight { datagrams, bytes, levels } => {
            let present = (0..).zip(PACKETS).filter(|(bit, _)| levels >> bit & 1 == 1).map(|(_, name)| name);
            (Some(datagrams), Some(bytes), present.collect())
        }
        _ => (None, None, Vec::new()),
    };
    Step {
        kind: step.kind.name(),
        attempt: step.attempt,
        local,
        remote,
        reason: step.reason,
        datagrams,
        bytes,
        packets,
    }
}
