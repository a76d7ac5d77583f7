//! What crosses about the traversal of one connection: `NativePunchOrder`, `NativePunchQuestion`, `NativePunchEvent`.

use std::{net::SocketAddr, time::Duration};

use qconnection::connection::traversal::{AnnounceError, AnnouncedAddress, PunchRefused, TraversalView};
use qtraversal::{
    AddressKind,
    book::LocalAddress,
    budget::PortSearch,
    frame::{AddAddress, PunchId, PunchMeNow},
    nat::PortAllocation,
    punch::{
        Role, RoundReport, RoundState, Side,
        strategy::{Context, Foretold, Otherwise, Pace, Signal, Step, Target, Then},
    },
};
use serde::{Deserialize, Serialize};

use super::{NatKind, millis};

/// A pair of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    local_seq: u64,
    remote_seq: u64,
}

impl From<Pair> for PunchId {
    fn from(Pair { local_seq, remote_seq }: Pair) -> Self {
        Self { local_seq, remote_seq }
    }
}

/// The order `punch-steps`: what a plan of JavaScript's does next.
#[derive(Clone, Debug, Deserialize)]
pub struct PunchSteps {
    #[serde(flatten)]
    pair: Pair,
    steps: Vec<PunchStep>,
    more: bool,
}

impl PunchSteps {
    /// As the machine takes them.
    #[must_use]
    pub fn feed(self) -> (PunchId, Vec<Step>, Then) {
        let then = if self.more { Then::Ask } else { Then::Fail };
        (self.pair.into(), self.steps.into_iter().map(|step| step.0).collect(), then)
    }
}

/// A step.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "WrittenStep")]
struct PunchStep(Step);

/// A step as JavaScript writes it.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum WrittenStep {
    Hello {
        to: WrittenTarget,
        count: u8,
        #[serde(rename = "everyMs", deserialize_with = "millis")]
        every: Duration,
        doubling: bool,
        ttl: u8,
    },
    TellPeer,
    Wait {
        #[serde(rename = "for")]
        signal: WrittenSignal,
        #[serde(rename = "ms", deserialize_with = "millis")]
        at_most: Duration,
        or_fail: bool,
    },
    NewSocket {
        step: Option<i32>,
    },
    Collision,
    PortSearch,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenTarget {
    Port(u16),
    Name(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenSignal {
    Tell,
    Hello,
    Done,
    Any,
}

impl TryFrom<WrittenStep> for PunchStep {
    type Error = String;

    fn try_from(step: WrittenStep) -> Result<Self, String> {
        Ok(Self(match step {
            WrittenStep::Hello { count: 0, .. } => return Err("a step says hello 0 times".to_owned()),
            WrittenStep::Hello { ttl: 0, .. } => return Err("a step has the time to live 0".to_owned()),
            WrittenStep::Hello { to, count, every, doubling, ttl } => {
                let pace = match every {
                    Duration::ZERO => Pace::AtOnce,
                    every if doubling => Pace::Doubling(every),
                    every => Pace::Every(every),
                };
                Step::Hello { to: to.target()?, times: count, pace, ttl }
            }
            WrittenStep::TellPeer => Step::Tell,
            WrittenStep::Wait { signal, at_most, or_fail } => {
                let signal = match signal {
                    WrittenSignal::Tell => Signal::Tell,
                    WrittenSignal::Hello => Signal::Hello,
                    WrittenSignal::Done => Signal::Done,
                    WrittenSignal::Any => Signal::Any,
                };
                Step::Wait { signal, at_most, otherwise: if or_fail { Otherwise::Fail } else { Otherwise::GoOn } }
            }
            WrittenStep::NewSocket { step: Some(0) } => return Err("a step foretells a port 0 further".to_owned()),
            WrittenStep::NewSocket { step } => Step::NewSocket { tell: step.map_or(Foretold::Learned, |step| Foretold::Next { step }) },
            WrittenStep::Collision => Step::Collision,
            WrittenStep::PortSearch => Step::PortSearch,
        }))
    }
}

impl WrittenTarget {
    fn target(self) -> Result<Target, String> {
        match self {
            Self::Port(0) => Err("a step goes to port 0".to_owned()),
            Self::Port(port) => Ok(Target::Port(port)),
            Self::Name(name) if name == "peer" => Ok(Target::Peer),
            Self::Name(name) => name.parse().map(Target::Address).map_err(|_| format!("a step goes to {name:?}, which is neither `peer`, a port nor `ip:port`")),
        }
    }
}

/// What an address is, without the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KindName {
    Host,
    Mapped,
    Relayed,
}

/// The question `announce`: may the peer know this address?
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Announce {
    /// The socket behind it.
    pub local: SocketAddr,
    address: SocketAddr,
    kind: KindName,
    relay: Option<SocketAddr>,
    tier: u64,
    nat: NatKind,
    port_step: Option<i32>,
}

impl Announce {
    /// As the machine takes it; `None`: a relayed address without its relay.
    #[must_use]
    pub fn address(self) -> Option<AnnouncedAddress> {
        let kind = match (self.kind, self.relay) {
            (KindName::Host, _) => AddressKind::Host,
            (KindName::Mapped, _) => AddressKind::Mapped,
            (KindName::Relayed, agent) => AddressKind::Relayed { agent: agent? },
        };
        let ports = self.port_step.filter(|step| *step != 0).map_or(PortAllocation::Unknown, |step| PortAllocation::Sequential { step });
        Some(AnnouncedAddress { address: self.address, kind, tier: self.tier, nat_type: self.nat.into(), ports })
    }
}

/// Answer of `announce`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Announced {
    Seq(u64),
    Refused(&'static str),
}

impl From<Result<u64, AnnounceError>> for Announced {
    fn from(result: Result<u64, AnnounceError>) -> Self {
        match result {
            Ok(seq) => Self::Seq(seq),
            Err(AnnounceError::Duplicate) => Self::Refused("duplicate"),
            Err(AnnounceError::Private) => Self::Refused("private"),
            Err(AnnounceError::Full) => Self::Refused("full"),
            Err(AnnounceError::Off) => Self::Refused("off"),
            Err(AnnounceError::Unknown) => Self::Refused("unknown-local"),
        }
    }
}

/// An address of one end.
#[derive(Debug, Serialize)]
pub struct Address {
    pub seq: u64,
    pub kind: KindName,
    pub address: String,
    pub relay: Option<String>,
    pub tier: u64,
    pub nat: NatKind,
}

impl Address {
    fn new(seq: u64, address: SocketAddr, tier: u64, nat: qtraversal::NatType, kind: AddressKind) -> Self {
        let (kind, relay) = match kind {
            AddressKind::Host => (KindName::Host, None),
            AddressKind::Mapped => (KindName::Mapped, None),
            AddressKind::Relayed { agent } => (KindName::Relayed, Some(agent.to_string())),
        };
        Self { seq, kind, address: address.to_string(), relay, tier, nat: nat.into() }
    }

    /// As an end announced it.
    #[must_use]
    pub fn announced(add: &AddAddress) -> Self {
        let AddAddress { seq, address, tier, nat_type, kind } = *add;
        Self::new(seq, address, tier, nat_type, kind)
    }

    fn ours(seq: u64, local: &LocalAddress) -> Self {
        Self::new(seq, local.address, local.tier, local.nat_type, local.kind)
    }

    /// As it is called in a punch.
    fn told(seq: u64, tell: &PunchMeNow) -> Self {
        Self::new(seq, tell.address, tell.tier, tell.nat_type, tell.kind)
    }
}

/// Answer of the question `traversal`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub state: &'static str,
    pub running: usize,
    pub probes_sent: u64,
    pub local: Vec<Address>,
    pub remote: Vec<Address>,
}

impl State {
    /// As JavaScript reads it; no view: there were no settings.
    #[must_use]
    pub fn of(state: &'static str, view: Option<&TraversalView>) -> Self {
        let local = view.iter().flat_map(|view| &view.local).map(|(seq, address)| Address::ours(*seq, address)).collect();
        let remote = view.iter().flat_map(|view| &view.remote).map(Address::announced).collect();
        Self { state, running: view.map_or(0, |view| view.running), probes_sent: view.map_or(0, |view| view.probes_sent), local, remote }
    }
}

/// Payload of an EVENT record of a connection.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum PunchEvent {
    /// Negotiated, or not.
    Traversal { at_ms: f64, state: &'static str, profile: Option<&'static str>, reason: &'static str },
    /// An address of either end came or went.
    PunchAddress { at_ms: f64, side: &'static str, change: &'static str, address: Address },
    /// How an attempt goes.
    PunchRound {
        at_ms: f64,
        local_seq: u64,
        remote_seq: u64,
        #[serde(rename = "as")]
        side: &'static str,
        state: &'static str,
        number: u8,
        plan: &'static str,
        probes: u32,
        reason: String,
    },
    /// An order `punch` that does nothing.
    PunchRefused { at_ms: f64, ticket: u64, reason: &'static str },
    /// A plan of JavaScript's is asked for: the order `punch-steps`.
    PunchWantsSteps { at_ms: f64, local_seq: u64, remote_seq: u64, context: Box<PunchContext> },
    /// There is a way.
    PunchHole { at_ms: f64, local_seq: u64, remote_seq: u64, local: String, remote: String },
    /// How the peer sees us.
    ObservedAddress { at_ms: f64, path: u32, address: String },
}

impl PunchEvent {
    /// How an attempt goes.
    #[must_use]
    pub fn round(at_ms: f64, report: &RoundReport) -> Self {
        let (state, reason) = match report.state {
            RoundState::Started => ("started", String::new()),
            RoundState::Yielded => ("yielded", String::new()),
            RoundState::Done => ("done", String::new()),
            RoundState::Failed(reason) => ("failed", reason.to_string()),
        };
        Self::PunchRound {
            at_ms,
            local_seq: report.id.local_seq,
            remote_seq: report.id.remote_seq,
            side: side(report.side),
            state,
            number: report.number,
            plan: report.plan,
            probes: report.probes,
            reason,
        }
    }
}

/// Why a `punch` does nothing.
#[must_use]
pub const fn refusal(refused: PunchRefused) -> &'static str {
    match refused {
        PunchRefused::NoPair => "no-pair",
        PunchRefused::Off => "off",
        PunchRefused::Running => "running",
        PunchRefused::Direct => "direct",
    }
}

const fn side(side: Side) -> &'static str {
    match side {
        Side::Active => "active",
        Side::Passive => "passive",
    }
}

/// What a plan of JavaScript's may look at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PunchContext {
    role: &'static str,
    #[serde(rename = "as")]
    side: &'static str,
    local: OwnAddress,
    remote: Address,
    rtt_ms: f64,
    round: u8,
    port_search: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OwnAddress {
    #[serde(flatten)]
    address: Address,
    port_step: Option<i32>,
}

impl PunchContext {
    /// As JavaScript reads it.
    #[must_use]
    pub fn of(id: PunchId, context: &Context) -> Self {
        Self {
            role: match context.role {
                Role::Client => "client",
                Role::Server => "server",
            },
            side: side(context.side),
            local: OwnAddress { address: Address::ours(id.local_seq, &context.local), port_step: context.port_step() },
            remote: Address::told(id.remote_seq, &context.remote),
            rtt_ms: context.rtt.as_secs_f64() * 1e3,
            round: context.round,
            port_search: context.search == PortSearch::Allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{events::Event, orders::{Order, Question}};
    use qtraversal::{NatType, book::Bind, punch::Reason};
    use serde_json::json;

    const PAIR: PunchId = PunchId { local_seq: 1, remote_seq: 2 };

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    fn steps(json: &serde_json::Value) -> Result<(PunchId, Vec<Step>, Then), serde_json::Error> {
        let order = json!({"do": "punch-steps", "localSeq": 1, "remoteSeq": 2, "steps": json, "more": true}).to_string();
        serde_json::from_str(&order).map(|order| match order {
            Order::PunchSteps(steps) => steps.feed(),
            _ => panic!("another order"),
        })
    }

    #[test]
    fn orders_to_a_connection_are_read_as_javascript_writes_them() {
        assert!(matches!(serde_json::from_str(r#"{"do":"withdraw","seq":3}"#), Ok(Order::Withdraw { seq: 3 })));
        assert!(matches!(serde_json::from_str(r#"{"do":"punch","ticket":9,"remote":2,"own":true}"#), Ok(Order::Punch { ticket: 9, remote: 2, own: true })));
        let cancel = r#"{"do":"punch-cancel","localSeq":1,"remoteSeq":2}"#;
        assert!(matches!(serde_json::from_str(cancel), Ok(Order::PunchCancel(pair)) if PunchId::from(pair) == PAIR));
    }

    #[test]
    fn steps_are_read_as_javascript_writes_them() {
        let hello = |to: serde_json::Value, every: f64, doubling: bool| json!({"do": "hello", "to": to, "count": 5, "everyMs": every, "doubling": doubling, "ttl": 64});
        let written = json!([
            hello("peer".into(), 100.0, true), hello(6_000.into(), 0.0, false), hello("192.0.2.9:7000".into(), 20.5, false),
            {"do": "tell-peer"}, {"do": "wait", "for": "tell", "ms": 250, "orFail": true}, {"do": "wait", "for": "any", "ms": 1, "orFail": false},
            {"do": "new-socket", "step": null}, {"do": "new-socket", "step": -2}, {"do": "collision"}, {"do": "port-search"},
        ]);
        let (id, read, then) = steps(&written).expect("steps");
        let hello = |to, pace| Step::Hello { to, times: 5, pace, ttl: 64 };
        let wait = |signal, ms, otherwise| Step::Wait { signal, at_most: Duration::from_millis(ms), otherwise };
        let expected = [
            hello(Target::Peer, Pace::Doubling(Duration::from_millis(100))),
            hello(Target::Port(6_000), Pace::AtOnce),
            hello(Target::Address(address("192.0.2.9:7000")), Pace::Every(Duration::from_micros(20_500))),
            Step::Tell,
            wait(Signal::Tell, 250, Otherwise::Fail),
            wait(Signal::Any, 1, Otherwise::GoOn),
            Step::NewSocket { tell: Foretold::Learned },
            Step::NewSocket { tell: Foretold::Next { step: -2 } },
            Step::Collision,
            Step::PortSearch,
        ];
        assert_eq!((id, read.as_slice(), then), (PAIR, &expected[..], Then::Ask));
    }

    #[test]
    fn steps_that_cannot_be_are_refused_with_words() {
        let hello = |to: serde_json::Value, count: u32, every: f64, ttl: u32| json!([{"do": "hello", "to": to, "count": count, "everyMs": every, "doubling": false, "ttl": ttl}]);
        for (written, words) in [
            (hello("somewhere".into(), 1, 0.0, 64), "neither `peer`"),
            (hello(0.into(), 1, 0.0, 64), "port 0"),
            (hello("peer".into(), 0, 0.0, 64), "0 times"),
            (hello("peer".into(), 300, 0.0, 64), "300"),
            (hello("peer".into(), 1, -5.0, 64), "milliseconds"),
            (hello("peer".into(), 1, 0.0, 0), "time to live"),
            (json!([{"do": "new-socket", "step": 0}]), "0 further"),
            (json!([{"do": "dance"}]), "dance"),
            (json!([{"do": "wait", "for": "christmas", "ms": 1, "orFail": true}]), "christmas"),
        ] {
            let error = steps(&written).expect_err("refused");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn questions_about_traversal_are_read_as_javascript_writes_them() {
        let ask = |kind: &str, relay: &str, step: &str| {
            let json = format!(r#"{{"ask":"announce","local":"10.0.0.2:4433","address":"198.51.100.7:6000","kind":"{kind}","relay":{relay},"tier":0,"nat":"full-cone","portStep":{step}}}"#);
            let Ok(Question::Announce(announce)) = serde_json::from_str(&json) else { panic!("no question") };
            announce.address()
        };
        let mapped = AnnouncedAddress { address: address("198.51.100.7:6000"), kind: AddressKind::Mapped, tier: 0, nat_type: NatType::FullCone, ports: PortAllocation::Sequential { step: 1 } };
        assert_eq!(ask("mapped", "null", "1"), Some(mapped));
        let relayed = AnnouncedAddress { kind: AddressKind::Relayed { agent: address("192.0.2.1:4434") }, ports: PortAllocation::Unknown, ..mapped };
        assert_eq!(ask("relayed", "\"192.0.2.1:4434\"", "null"), Some(relayed));
        assert_eq!(ask("relayed", "null", "null"), None);
        assert!(matches!(serde_json::from_str(r#"{"ask":"traversal"}"#), Ok(Question::Traversal)));
        assert_eq!(serde_json::to_value(Announced::from(Ok(4))).expect("json"), json!({"seq": 4}));
        assert_eq!(serde_json::to_value(Announced::from(Err(AnnounceError::Private))).expect("json"), json!({"refused": "private"}));
    }

    #[test]
    fn events_of_a_connection_are_as_javascript_reads_them() {
        let told = |event: PunchEvent| serde_json::to_value(Event::Punch(event)).expect("json");
        let report = RoundReport { id: PAIR, state: RoundState::Failed(Reason::Silence), side: Side::Active, number: 1, plan: "A1", probes: 5 };
        let expected = json!({"type": "punch-round", "atMs": 1.0, "localSeq": 1, "remoteSeq": 2, "as": "active", "state": "failed", "number": 1, "plan": "A1", "probes": 5, "reason": "nothing came through"});
        assert_eq!(told(PunchEvent::round(1.0, &report)), expected);
        let local = LocalAddress {
            bind: Bind(0), device: 0, address: address("198.51.100.7:6000"), tier: 0, nat_type: NatType::Symmetric, kind: AddressKind::Mapped, ports: PortAllocation::Sequential { step: 2 },
        };
        let remote = PunchMeNow { id: PAIR.flipped(), address: address("203.0.113.9:7000"), tier: 0, nat_type: NatType::RestrictedPort, kind: AddressKind::Mapped };
        let context = Context { role: Role::Client, side: Side::Passive, local, remote, rtt: Duration::from_millis(50), round: 2, search: PortSearch::Off };
        let wants = PunchEvent::PunchWantsSteps { at_ms: 1.0, local_seq: 1, remote_seq: 2, context: Box::new(PunchContext::of(PAIR, &context)) };
        let context = json!({
            "role": "client", "as": "passive", "rttMs": 50.0, "round": 2, "portSearch": false,
            "local": {"seq": 1, "kind": "mapped", "address": "198.51.100.7:6000", "relay": null, "tier": 0, "nat": "symmetric", "portStep": 2},
            "remote": {"seq": 2, "kind": "mapped", "address": "203.0.113.9:7000", "relay": null, "tier": 0, "nat": "restricted-port"},
        });
        assert_eq!(told(wants), json!({"type": "punch-wants-steps", "atMs": 1.0, "localSeq": 1, "remoteSeq": 2, "context": context}));
        let state = State::of("on", Some(&TraversalView { local: vec![(1, local)], remote: Vec::new(), running: 1, probes_sent: 7 }));
        let state = serde_json::to_value(state).expect("json");
        assert_eq!((&state["running"], &state["probesSent"], &state["local"][0]["nat"]), (&1.into(), &7.into(), &"symmetric".into()));
    }
}
