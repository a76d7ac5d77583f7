//! Questions that a person or a test asks while JavaScript waits (docs/design/ring, section 6).

use qbase::{PathId, SpaceId};
use qconnection::{
    Endpoint,
    connection::{SpaceState, SpaceView},
};
use qdriver::Io;

use super::{Engine, nat, remote::with_remotes, traversal};
use crate::{
    error::NativeError,
    messages::{
        events::{Explanation, PathExplanation, Space},
        orders::{About, Question, SpaceName},
    },
    queue::answer::Reply,
};

impl Engine {
    /// The answer as JSON.
    pub(super) fn answer(&self, io: &mut Io<'_>, key: u32, question: Question) -> Reply {
        if matches!(question, Question::Nothing) {
            return Ok("{}".to_owned());
        }
        if matches!(question, Question::NatStatistics) {
            return Ok(serde_json::to_string(&nat::statistics(io))?);
        }
        let connection = self.table.get(key).filter(|connection| connection.is_live()).ok_or_else(NativeError::connection_closed)?;
        let now = io.now;
        let bound: Vec<_> = io.sockets().map(|facts| facts.local).collect();
        if let Question::Explain { about } = question {
            let machine = io.endpoint.connection(connection.handle).ok_or_else(NativeError::connection_closed)?;
            return Ok(serde_json::to_string(&self.explain(io.endpoint, machine, now, about))?);
        }
        let machine = io.endpoint.connection_mut(connection.handle).ok_or_else(NativeError::connection_closed)?;
        let json = match question {
            Question::UpdateKey => serde_json::to_string(&machine.update_key(now)),
            Question::Space { space, path } => {
                let space = match space {
                    SpaceName::Initial => SpaceId::Initial,
                    SpaceName::Handshake => SpaceId::Handshake,
                    SpaceName::Application => SpaceId::Application(PathId(path)),
                };
                serde_json::to_string(&machine.space(space).map(|view| facts(&view)))
            }
            Question::Announce(announce) => serde_json::to_string(&traversal::announce(machine, &bound, now, announce)),
            Question::Traversal => serde_json::to_string(&traversal::state(machine)),
            Question::Explain { .. } | Question::NatStatistics | Question::Nothing => Ok("{}".to_owned()),
        };
        Ok(json?)
    }

    fn explain(&self, endpoint: &Endpoint, machine: &qconnection::Connection, now: qbase::Timestamp, about: About) -> Explanation {
        let mut lines: Vec<_> = machine.explain(now).iter().map(|line| with_remotes(endpoint, line)).collect();
        if about == About::Paths {
            lines.retain(|line| line.starts_with("path") || line.starts_with("waiting"));
        }
        let timer = machine.next_timer();
        let paths = machine.paths().map(|path| PathExplanation {
            id: path.id.0,
            blocked: machine.blocked().names().collect(),
            wake_at_ms: timer.map(|(at, _)| self.out.at_ms(at)),
            timer: timer.map(|(_, name)| name.name()),
            reason: format!(
                "{}, {} of {} bytes in flight, smoothed RTT {:.3} ms{}",
                path.state.name(),
                path.bytes_in_flight,
                path.congestion_window,
                path.smoothed_rtt.as_secs_f64() * 1e3,
                machine.last_choice(path.id).map_or_else(String::new, |(_, words)| format!(", last data: {words}")),
            ),
        });
        Explanation { paths: paths.collect(), lines }
    }
}

fn facts(view: &SpaceView) -> Space {
    Space {
        state: match view.state {
            SpaceState::WaitingForKeys => "waiting-for-keys",
            SpaceState::Open => "open",
            SpaceState::Discarded => "discarded",
        },
        largest_sent: view.largest_sent,
        largest_acknowledged: view.largest_acknowledged,
        largest_received: view.largest_received,
        received: view.received.iter().map(|range| (*range.start(), *range.end())).collect(),
    }
}
