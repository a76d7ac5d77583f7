//! What the endpoint does about NATs for JavaScript: questions to STUN servers, mappings kept, NATs found out, a STUN server and
//! a relay of its own, relays that know its sockets (api 2.8).
//!
//! Decides nothing: the machine does, and refuses what cannot be. Called by the commands and once a turn.

use std::net::SocketAddr;

use qbase::limits;
use qconnection::endpoint::{
    nat::{NatNews, Ticket},
    pathways::{NoPathway, Registration},
};
use qdriver::Io;
use qtraversal::{
    address::Unusable,
    relay::Dropped,
    stun::{Forms, MappingEvent},
};

use super::Engine;
use crate::messages::{
    events::Event,
    nat::{
        events::{NatEvent, NatStatistics, Observation, RelayCounters, Report, StunCounters},
        orders::{Register, Unregister},
    },
    orders::Order,
};

/// What was seen in detections that run, by JavaScript's name of each; the report repeats it.
#[derive(Debug, Default)]
pub struct Seen(Vec<(u64, Vec<Observation>)>);

impl Seen {
    /// Something was seen. Of more detections than there can be the oldest is forgotten.
    fn add(&mut self, ticket: u64, observation: Observation) {
        let all = match self.0.iter_mut().find(|(other, _)| *other == ticket) {
            Some((_, all)) => all,
            None => {
                if self.0.len() >= limits::NAT_DETECTIONS {
                    self.0.remove(0);
                }
                self.0.push((ticket, Vec::new()));
                let Some((_, all)) = self.0.last_mut() else { return };
                all
            }
        };
        if all.len() < limits::NAT_OBSERVATIONS {
            all.push(observation);
        }
    }

    /// A detection is over.
    fn take(&mut self, ticket: u64) -> Vec<Observation> {
        let at = self.0.iter().position(|(other, _)| *other == ticket);
        at.map(|at| self.0.remove(at).1).unwrap_or_default()
    }
}

impl Engine {
    /// An order to the endpoint that is about NATs; others are none.
    pub(super) fn obey_about_nats(&mut self, io: &mut Io<'_>, order: Order) {
        let now = io.now;
        match order {
            Order::Register(order) => self.register(io, order),
            Order::Unregister(order) => unregister(io, order),
            Order::NatAsk(ask) => io.endpoint.ask_stun(ask.into(), now),
            Order::NatDetect(detect) => io.endpoint.detect_nat(Ticket(detect.ticket), detect.local, detect.config(), detect.life(), now),
            Order::NatKeep(keep) => io.endpoint.keep_mapping(Ticket(keep.ticket), keep.local, keep.server, keep.form.into(), now),
            Order::NatCancel { ticket } => {
                io.endpoint.cancel_nat(Ticket(ticket), now);
                self.seen.take(ticket);
            }
            Order::StunServe { config } => {
                let (config, forms) = config.map(|config| config.config()).unzip();
                io.endpoint.serve_stun(config, forms.unwrap_or(Forms::NONE));
            }
            Order::RelayServe { config } => io.endpoint.serve_relay(config.map(|config| config.config())),
            Order::RelayAdmit { client, life, formerly } => {
                // Its credentials came over a connection from that address, which is as good a sign of life as a keep-alive (traversal T-33).
                let admitted = io.endpoint.relay().map(|relay| {
                    let clients = relay.registrations_mut();
                    clients.move_to(formerly.unwrap_or(client), client, Some(now + life), now).and_then(|()| clients.on_keep_alive(client, now))
                });
                let reason = match admitted {
                    Some(Ok(())) => return,
                    Some(Err(_)) => "full",
                    None => "off",
                };
                let at_ms = self.out.at_ms(now);
                self.out.event(0, &Event::Nat(NatEvent::RelayRefused { at_ms, client: client.to_string(), reason }));
            }
            Order::RelayForget { client } => {
                if let Some(relay) = io.endpoint.relay() {
                    relay.registrations_mut().remove(client);
                }
            }
            _ => {}
        }
    }

    /// A relay knows a socket of ours; what cannot be is told.
    fn register(&mut self, io: &mut Io<'_>, order: Register) {
        let Register { local, relay, outer } = order;
        let own = qtraversal::Endpoint::Agent { agent: relay, outer };
        let added = place_of(io, local, relay).and_then(|local| io.endpoint.add_registration(Registration { local, own }));
        if let Err(error) = added {
            let at_ms = self.out.at_ms(io.now);
            let event = NatEvent::RegisterRefused { at_ms, local: local.to_string(), relay: relay.to_string(), reason: error.to_string() };
            self.out.event(0, &Event::Nat(event));
        }
    }

    /// What the services have to tell, as long as JavaScript keeps up.
    pub(super) fn tell_nat_news(&mut self, io: &mut Io<'_>) {
        let at_ms = self.out.at_ms(io.now);
        while !self.is_full()
            && let Some(news) = io.endpoint.poll_nat_news()
        {
            let event = match news {
                NatNews::Answer { ticket, local, mapped, from, rtt, tries } => NatEvent::NatAnswer {
                    at_ms,
                    ticket: ticket.0,
                    local: local.to_string(),
                    mapped: mapped.to_string(),
                    from: from.to_string(),
                    rtt_ms: rtt.as_secs_f64() * 1e3,
                    tries,
                },
                NatNews::Silence { ticket, tries } => NatEvent::NatSilence { at_ms, ticket: ticket.0, tries },
                NatNews::Observed { ticket, observation } => {
                    let observation = Observation::of(&observation, self.out.at_ms(observation.at));
                    self.seen.add(ticket.0, observation.clone());
                    NatEvent::NatObservation { at_ms, ticket: ticket.0, observation }
                }
                NatNews::Report { ticket, report } => {
                    let observations = self.seen.take(ticket.0);
                    let report = report.map(|behaviour| Box::new(Report::of(&behaviour, observations)));
                    NatEvent::NatReport { at_ms, ticket: ticket.0, report }
                }
                NatNews::Mapping { ticket, local, event } => {
                    let mapped = match event {
                        MappingEvent::Upsert(mapped) => Some(mapped.to_string()),
                        MappingEvent::Remove(_) | MappingEvent::Closed => None,
                    };
                    NatEvent::NatMapping { at_ms, ticket: ticket.0, local: local.to_string(), mapped }
                }
            };
            self.out.event(0, &Event::Nat(event));
        }
    }
}

/// What the STUN server and the relay did.
pub(super) fn statistics(io: &mut Io<'_>) -> NatStatistics {
    let stun = io.endpoint.stun_statistics().map(|of| StunCounters { requests: of.requests, answered: of.answered, ignored: of.ignored });
    let relay = io.endpoint.relay().map(|relay| RelayCounters {
        registrations: relay.registrations().len(),
        forwarded_datagrams: relay.forwarded().datagrams,
        forwarded_bytes: relay.forwarded().bytes,
        drops: Dropped::ALL.into_iter().map(|reason| (reason.name(), relay.drops().of(reason))).collect(),
    });
    NatStatistics { stun, relay }
}

/// A relay does not know a socket of ours any more.
fn unregister(io: &mut Io<'_>, order: Unregister) {
    if let Ok(local) = place_of(io, order.local, order.relay) {
        io.endpoint.remove_registration(local, order.relay);
    }
}

/// The address of ours that datagrams of a relay come in at.
fn place_of(io: &mut Io<'_>, local: SocketAddr, relay: SocketAddr) -> Result<SocketAddr, NoPathway> {
    if !local.ip().is_unspecified() {
        return Ok(local);
    }
    let source = io.source_for(relay).ok_or(NoPathway::Unusable(Unusable::Unspecified))?;
    Ok(SocketAddr::new(source.ip(), local.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation() -> Observation {
        Observation { at_ms: 0.0, test: String::new(), server: String::new(), tries: 1, answered_by: None, mapped: None, rtt_ms: None }
    }

    /// attacks R2.
    #[test]
    fn what_is_kept_of_detections_has_an_end() {
        let mut seen = Seen::default();
        for ticket in 0..=limits::NAT_DETECTIONS as u64 {
            seen.add(ticket, observation());
        }
        assert_eq!((seen.take(0).len(), seen.take(1).len(), seen.take(1).len()), (0, 1, 0));
        for _ in 0..=limits::NAT_OBSERVATIONS {
            seen.add(2, observation());
        }
        assert_eq!(seen.take(2).len(), limits::NAT_OBSERVATIONS);
    }
}
