//! What the endpoint tells about NATs: `NativeNatEvent`, `NativeNatReport`, `NativeNatStatistics`.

use qtraversal::nat::{self, AfterContact, Behaviour, Filtering, Hairpin, Mapping, PortAllocation, Question};
use serde::Serialize;

use super::NatKind;

/// Payload of an EVENT record of the endpoint.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum NatEvent {
    /// A `register` that does nothing.
    RegisterRefused { at_ms: f64, local: String, relay: String, reason: String },
    /// A `relay-admit` that does nothing.
    RelayRefused { at_ms: f64, client: String, reason: &'static str },
    /// A server said how it sees us.
    NatAnswer { at_ms: f64, ticket: u64, local: String, mapped: String, from: String, rtt_ms: f64, tries: u8 },
    /// It said nothing.
    NatSilence { at_ms: f64, ticket: u64, tries: u8 },
    /// A detection saw something.
    NatObservation { at_ms: f64, ticket: u64, observation: Observation },
    /// A detection is over; none: no server answered.
    NatReport { at_ms: f64, ticket: u64, report: Option<Box<Report>> },
    /// A mapping that is kept; none: it may be gone.
    NatMapping { at_ms: f64, ticket: u64, local: String, mapped: Option<String> },
}

/// One thing that was seen.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    pub at_ms: f64,
    pub test: String,
    pub server: String,
    pub tries: u8,
    pub answered_by: Option<String>,
    pub mapped: Option<String>,
    pub rtt_ms: Option<f64>,
}

impl Observation {
    /// As JavaScript reads it; `at_ms`: on its clock.
    #[must_use]
    pub fn of(seen: &nat::Observation, at_ms: f64) -> Self {
        let text = |address: std::net::SocketAddr| address.to_string();
        Self {
            at_ms,
            test: test_name(seen.question, seen.socket),
            server: text(seen.server),
            tries: seen.sent,
            answered_by: seen.from.map(text),
            mapped: seen.mapped.map(text),
            rtt_ms: seen.rtt.map(|rtt| rtt.as_secs_f64() * 1_000.0),
        }
    }
}

/// What was asked, and from which fresh socket, if from one.
fn test_name(question: Question, socket: u8) -> String {
    let name = match question {
        Question::Mapping => "mapping".to_owned(),
        Question::FromOtherPort => "from-other-port".to_owned(),
        Question::FromOtherAddress => "from-other-address".to_owned(),
        Question::MappingAfterContact => "mapping-after-contact".to_owned(),
        Question::Hairpin => "hairpin".to_owned(),
        Question::Life(silence) => format!("life-{}s", silence.as_secs()),
    };
    if socket == 0 { name } else { format!("{name}-socket-{socket}") }
}

/// A NAT in the words of RFC 4787.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub kind: NatKind,
    pub mapping: &'static str,
    pub filtering: &'static str,
    pub hairpin: Option<bool>,
    pub ports: Ports,
    pub after_contact: &'static str,
    pub mapping_life_ms: Option<f64>,
    pub local: String,
    pub mapped: Option<String>,
    pub natted: bool,
    pub observations: Vec<Observation>,
}

/// How ports are given.
#[derive(Debug, Serialize)]
pub struct Ports {
    pub allocation: &'static str,
    pub step: Option<i32>,
}

impl Ports {
    fn of(ports: PortAllocation) -> Self {
        let (allocation, step) = match ports {
            PortAllocation::Unknown => ("unknown", None),
            PortAllocation::Preserving => ("preserving", None),
            PortAllocation::Sequential { step } => ("sequential", Some(step)),
            PortAllocation::Parity => ("parity", None),
            PortAllocation::Random => ("random", None),
        };
        Self { allocation, step }
    }
}

impl Report {
    /// As JavaScript reads it. A filter that the servers could not test counts as the strictest: what gets through that, gets
    /// through any.
    #[must_use]
    pub fn of(behaviour: &Behaviour, observations: Vec<Observation>) -> Self {
        let natted = match (behaviour.mapping, behaviour.local, behaviour.outer) {
            (Mapping::None, ..) => false,
            (_, Some(local), Some(outer)) => local != outer,
            _ => true,
        };
        Self {
            kind: behaviour.nat_type().map_or_else(|| strictest(behaviour), NatKind::from),
            mapping: match behaviour.mapping {
                Mapping::Unknown => "unknown",
                Mapping::None => "none",
                Mapping::EndpointIndependent => "endpoint-independent",
                Mapping::AddressDependent => "address",
                Mapping::AddressAndPortDependent => "address-port",
            },
            filtering: match behaviour.filtering {
                Filtering::Unknown => "unknown",
                Filtering::EndpointIndependent => "endpoint-independent",
                Filtering::AddressDependent => "address",
                Filtering::AddressAndPortDependent => "address-port",
            },
            hairpin: match behaviour.hairpin {
                Hairpin::Unknown => None,
                Hairpin::None => Some(false),
                Hairpin::External | Hairpin::Internal => Some(true),
            },
            ports: Ports::of(behaviour.ports),
            after_contact: match behaviour.after_contact {
                AfterContact::Unknown => "unknown",
                AfterContact::Keeps => "keeps",
                AfterContact::Changes => "changes",
            },
            mapping_life_ms: (!behaviour.life.at_least.is_zero()).then_some(behaviour.life.at_least.as_secs_f64() * 1e3),
            local: behaviour.local.map(|local| local.to_string()).unwrap_or_default(),
            mapped: behaviour.outer.map(|outer| outer.to_string()),
            natted,
            observations,
        }
    }
}

/// The type where too little is known.
const fn strictest(behaviour: &Behaviour) -> NatKind {
    match behaviour.mapping {
        Mapping::None | Mapping::EndpointIndependent => NatKind::RestrictedPort,
        // One server saw one address: whether others see it too is not known.
        Mapping::Unknown | Mapping::AddressDependent | Mapping::AddressAndPortDependent => NatKind::Symmetric,
    }
}

/// Answer of the question `nat-statistics`.
#[derive(Debug, Default, Serialize)]
pub struct NatStatistics {
    pub stun: Option<StunCounters>,
    pub relay: Option<RelayCounters>,
}

/// Of the STUN server.
#[derive(Debug, Serialize)]
pub struct StunCounters {
    pub requests: u64,
    pub answered: u64,
    pub ignored: u64,
}

/// Of the relay.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RelayCounters {
    pub registrations: usize,
    pub forwarded_datagrams: u64,
    pub forwarded_bytes: u64,
    pub drops: std::collections::BTreeMap<&'static str, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::events::Event;
    use qbase::Timestamp;
    use qtraversal::nat::{Constancy, MappingLife, Reach};
    use serde_json::{Value, json};
    use std::time::Duration;

    #[test]
    fn events_of_the_endpoint_are_as_javascript_reads_them() {
        let told = |event: NatEvent| serde_json::to_value(Event::Nat(event)).expect("json");
        let answer = NatEvent::NatAnswer { at_ms: 1.5, ticket: 3, local: "l".into(), mapped: "m".into(), from: "f".into(), rtt_ms: 2.5, tries: 1 };
        assert_eq!(told(answer), json!({"type": "nat-answer", "atMs": 1.5, "ticket": 3, "local": "l", "mapped": "m", "from": "f", "rttMs": 2.5, "tries": 1}));
        assert_eq!(told(NatEvent::NatSilence { at_ms: 1.0, ticket: 3, tries: 7 }), json!({"type": "nat-silence", "atMs": 1.0, "ticket": 3, "tries": 7}));
        assert_eq!(told(NatEvent::NatReport { at_ms: 1.0, ticket: 3, report: None }), json!({"type": "nat-report", "atMs": 1.0, "ticket": 3, "report": null}));
        let gone = NatEvent::NatMapping { at_ms: 1.0, ticket: 3, local: "l".into(), mapped: None };
        assert_eq!(told(gone), json!({"type": "nat-mapping", "atMs": 1.0, "ticket": 3, "local": "l", "mapped": null}));
    }

    #[test]
    fn a_report_has_the_words_of_rfc_4787_and_what_was_seen() {
        let (server, mapped) = ("192.0.2.1:3478".parse().expect("server"), "198.51.100.7:6000".parse().expect("mapped"));
        let seen = nat::Observation { at: Timestamp::from_millis(7), socket: 0, server, question: Question::Mapping, sent: 2, from: Some(server), mapped: Some(mapped), rtt: Some(Duration::from_micros(1_500)) };
        let observation = Observation::of(&seen, 7.5);
        let behaviour = Behaviour {
            reach: Reach::Open,
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::AddressAndPortDependent,
            ports: PortAllocation::Sequential { step: -2 },
            hairpin: Hairpin::Internal,
            life: MappingLife { at_least: Duration::from_secs(30), below: None },
            constancy: Constancy::Steady,
            after_contact: AfterContact::Changes,
            local: "10.0.0.2:4433".parse().ok(),
            outer: Some(mapped),
        };
        let report = serde_json::to_value(Report::of(&behaviour, vec![observation])).expect("json");
        let expected = json!({
            "kind": "dynamic", "mapping": "endpoint-independent", "filtering": "address-port", "hairpin": true,
            "ports": {"allocation": "sequential", "step": -2}, "afterContact": "changes", "mappingLifeMs": 30_000.0,
            "local": "10.0.0.2:4433", "mapped": "198.51.100.7:6000", "natted": true,
            "observations": [{"atMs": 7.5, "test": "mapping", "server": "192.0.2.1:3478", "tries": 2, "answeredBy": "192.0.2.1:3478", "mapped": "198.51.100.7:6000", "rttMs": 1.5}],
        });
        assert_eq!(report, expected);
        let fresh = Observation::of(&nat::Observation { socket: 2, question: Question::Life(Duration::from_secs(30)), ..seen }, 0.0);
        assert_eq!(fresh.test, "life-30s-socket-2");
    }

    #[test]
    fn what_could_not_be_tested_counts_as_the_strictest() {
        let told = |behaviour: &Behaviour| serde_json::to_value(Report::of(behaviour, Vec::new())).expect("json");
        let open = Behaviour { reach: Reach::Open, mapping: Mapping::EndpointIndependent, ..Behaviour::default() };
        let report = told(&open);
        assert_eq!((report["kind"].as_str(), report["filtering"].as_str(), &report["hairpin"], &report["mappingLifeMs"]), (Some("restricted-port"), Some("unknown"), &Value::Null, &Value::Null));
        assert_eq!(told(&Behaviour { mapping: Mapping::Unknown, ..open.clone() })["kind"], "symmetric");
        assert_eq!(told(&Behaviour { mapping: Mapping::None, ..open })["natted"], false);
        assert_eq!(told(&Behaviour { reach: Reach::Blocked, ..Behaviour::default() })["kind"], "blocked");
    }
}
