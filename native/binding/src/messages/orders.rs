//! What JavaScript orders and asks: `NativeOrder`, `NativeQuestion`, `NativePathSpec`.

use std::{net::SocketAddr, time::Duration};

use qconnection::path::{PathTerms, scheduler::DEFAULT_WEIGHT};
use serde::Deserialize;

use crate::options::endpoint::BlockedRange;

use super::{
    JsonCode, PathUse,
    nat::{Remote, punch::{Announce, Pair, PunchSteps}, orders::{NatAsk, NatDetect, NatKeep, Register, RelayServe, StunServe, Unregister}},
    plans::{self, Plan},
};

/// Where a path leads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathSpec {
    /// Our address, port 0 = any; none: any of the remote's family.
    pub local: Option<SocketAddr>,
    /// The peer's, which may lie behind a relay; none: the connection's.
    pub remote: Option<Remote>,
    /// Network interface to pass.
    pub interface: Option<String>,
    /// Whether it is a backup.
    #[serde(default)]
    pub status: PathUse,
    /// Its share against those of other paths; none: 1.
    pub weight: Option<f64>,
}

impl PathSpec {
    /// As the machine takes them.
    #[must_use]
    pub fn terms(&self) -> PathTerms {
        PathTerms { status: self.status.into(), weight: self.weight.map_or(DEFAULT_WEIGHT, plans::weight) }
    }
}

/// Something to do, without an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Order {
    /// Sends what was accepted, waits for acknowledgements, then CONNECTION_CLOSE.
    Close {
        /// Whose code it is.
        layer: CloseLayer,
        /// The code.
        code: JsonCode,
        /// In words, for the peer.
        reason: String,
        /// Longest wait, ms; 0 closes now.
        drain_ms: f64,
    },
    /// Opens a path.
    OpenPath {
        /// JavaScript's name for it.
        ticket: u64,
        /// Where it leads.
        spec: PathSpec,
    },
    /// Gives up an opening path.
    CancelPath {
        /// Its name.
        ticket: u64,
    },
    /// PATH_ABANDON.
    AbandonPath {
        /// The path.
        path: u32,
        /// The code.
        code: JsonCode,
    },
    /// PATH_STATUS_*.
    PathStatus {
        /// The path.
        path: u32,
        /// What it is from now on.
        status: PathUse,
    },
    /// Moves a path to another address of this end.
    MigratePath {
        /// JavaScript's name for it.
        ticket: u64,
        /// The path.
        path: u32,
        /// Where it goes.
        spec: PathSpec,
    },
    /// Gives up a move of a path.
    CancelMigration {
        /// The path.
        path: u32,
    },
    /// The first flight need wait no longer for early data.
    Begin,
    /// The word on the peer that `verify` asked for.
    Verdict {
        /// Whether the peer is who it should be.
        answer: Answer,
        /// Why not, for the error here; the peer is not told.
        reason: String,
    },
    /// PING; the answer is `pong` or `ping-failed` with the same ticket.
    Ping {
        /// JavaScript's name for it.
        ticket: u64,
        /// The path; none: all.
        path: Option<u32>,
    },
    /// To the endpoint: who decides about newcomers.
    Admission {
        /// Whether JavaScript is asked.
        mode: AdmissionMode,
    },
    /// To the endpoint: who hears of datagrams that are no QUIC.
    Raw {
        /// Somebody, or nobody.
        to: Listener,
    },
    /// To the endpoint: addresses that are not heard from now on, in place of those before.
    Block {
        /// All of them.
        rules: Vec<BlockedRange>,
    },
    /// To the endpoint: connections that begin from now on with this protocol have parts to play (mux R50).
    Polarity {
        /// The protocol.
        alpn: String,
        /// The code for streams of the wrong way; none: they are ordinary ones.
        wrong_way: Option<JsonCode>,
    },
    /// The ends change parts (reverse V2).
    Reverse,
    /// The peer's streams come out of the gate (reverse V23).
    OpenGate,
    /// So many streams of the peer may be open at once from now on (reverse V22).
    GrantStreams {
        /// Which kind.
        direction: StreamKind,
        /// How many; fewer than before change nothing.
        count: u64,
    },
    /// To the endpoint: a relay knows a socket of ours.
    Register(Register),
    /// To the endpoint: it does not any more.
    Unregister(Unregister),
    /// To the endpoint: asks a STUN server.
    NatAsk(NatAsk),
    /// To the endpoint: finds out what a NAT does.
    NatDetect(NatDetect),
    /// To the endpoint: keeps a mapping.
    NatKeep(NatKeep),
    /// To the endpoint: ends one of those.
    NatCancel {
        /// Its name.
        ticket: u64,
    },
    /// To the endpoint: it is a STUN server.
    StunServe {
        /// None: no more.
        config: Option<StunServe>,
    },
    /// To the endpoint: it is a relay.
    RelayServe {
        /// None: no more.
        config: Option<RelayServe>,
    },
    /// To the endpoint: a client of the relay showed good credentials.
    RelayAdmit {
        /// Its address, as the relay sees it.
        client: SocketAddr,
        /// How long they are good.
        #[serde(rename = "forMs", deserialize_with = "super::nat::millis")]
        life: Duration,
        /// What its address was until now (traversal T-36).
        #[serde(default)]
        formerly: Option<SocketAddr>,
    },
    /// To the endpoint: it has none any more.
    RelayForget {
        /// Its address.
        client: SocketAddr,
    },
    /// Withdraws an address.
    Withdraw {
        /// Its number.
        seq: u64,
    },
    /// Punches to an address of the peer's.
    Punch {
        /// JavaScript's name for it.
        ticket: u64,
        /// Its number.
        remote: u64,
        /// The plan is asked of JavaScript.
        own: bool,
    },
    /// Ends a punch.
    PunchCancel(Pair),
    /// The answer to `punch-wants-steps`.
    PunchSteps(PunchSteps),
    /// Changes the share of a path.
    PathWeight {
        /// The path.
        path: u32,
        /// Against those of other paths, 1 if nothing was said.
        weight: f64,
    },
    /// The answer to a `plan` event; none: what was planned before goes on.
    Plan {
        /// What was planned.
        plan: Option<Box<Plan>>,
    },
    /// Chooses what is traced.
    Trace {
        /// Bits of `Trace`.
        mask: u8,
    },
}

/// Whether somebody hears of what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listener {
    /// It is dropped and counted.
    #[default]
    Nobody,
    /// It is handed over.
    Subscriber,
}

/// A kind of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    /// Both ends send.
    Bidirectional,
    /// One end sends.
    Unidirectional,
}

impl From<StreamKind> for qbase::Direction {
    fn from(kind: StreamKind) -> Self {
        match kind {
            StreamKind::Bidirectional => Self::Bidirectional,
            StreamKind::Unidirectional => Self::Unidirectional,
        }
    }
}

/// Who decides about newcomers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdmissionMode {
    /// Whoever comes is let in.
    Open,
    /// JavaScript, attempt by attempt.
    Ask,
}

/// A verdict on an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admit {
    /// It becomes a connection.
    Accept,
    /// CONNECTION_REFUSED.
    Refuse,
    /// It has to prove its address.
    Retry,
    /// Silence.
    Ignore,
}

/// A word on a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The handshake goes on.
    Accept,
    /// It ends with bad_certificate.
    Refuse,
}

/// Whose error code a close carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloseLayer {
    /// CONNECTION_CLOSE 0x1d.
    Application,
    /// CONNECTION_CLOSE 0x1c.
    Transport,
}

/// Something to answer while JavaScript waits.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Question {
    /// What the connection does and waits for.
    Explain {
        /// All of it, or its paths.
        about: About,
    },
    /// Begins a key update.
    UpdateKey,
    /// What was sent, received and acknowledged in a space.
    Space {
        /// Which space.
        space: SpaceName,
        /// Of which path, for the application space.
        path: u32,
    },
    /// Announces an address of a socket of ours.
    Announce(Announce),
    /// How traversal stands.
    Traversal,
    /// To the endpoint: what its STUN server and its relay did.
    NatStatistics,
    /// Whether the commands before it were taken: of our own, JavaScript does not ask it.
    #[serde(skip)]
    Nothing,
}

/// What an explanation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// Everything.
    Connection,
    /// Paths only.
    Paths,
}

/// A packet-number space by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpaceName {
    /// Initial packets.
    Initial,
    /// Handshake packets.
    Handshake,
    /// 1-RTT packets of a path.
    Application,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_javascript_writes_them() {
        let close = r#"{"do":"close","layer":"application","code":"9007199254740993","reason":"bye","drainMs":2000}"#;
        assert!(matches!(serde_json::from_str(close), Ok(Order::Close { code: JsonCode(9_007_199_254_740_993), .. })));
        let open = r#"{"do":"open-path","ticket":3,"spec":{"local":"127.0.0.2:0","status":"backup"}}"#;
        assert!(matches!(serde_json::from_str(open), Ok(Order::OpenPath { ticket: 3, spec: PathSpec { status: PathUse::Backup, .. } })));
        let relayed: PathSpec = serde_json::from_str(r#"{"remote":"192.0.2.1:4434-198.51.100.7:6000"}"#).expect("spec");
        assert!(relayed.remote.is_some_and(|remote| remote.0.is_relayed()));
        let spec: PathSpec = serde_json::from_str(r#"{"weight":4}"#).expect("spec");
        assert_eq!(spec.terms().weight, 4 * DEFAULT_WEIGHT);
        assert!(matches!(serde_json::from_str(r#"{"do":"cancel-path","ticket":3}"#), Ok(Order::CancelPath { ticket: 3 })));
        assert!(matches!(serde_json::from_str(r#"{"do":"abandon-path","path":1,"code":62}"#), Ok(Order::AbandonPath { path: 1, code: JsonCode(62) })));
        assert!(matches!(serde_json::from_str(r#"{"do":"path-weight","path":1,"weight":2.5}"#), Ok(Order::PathWeight { path: 1, weight }) if weight > 2.4));
        assert!(matches!(serde_json::from_str(r#"{"do":"plan","plan":null}"#), Ok(Order::Plan { plan: None })));
        assert!(matches!(serde_json::from_str(r#"{"do":"plan","plan":{"order":[0],"reason":"x"}}"#), Ok(Order::Plan { plan: Some(_) })));
        let migrate = r#"{"do":"migrate-path","ticket":4,"path":0,"spec":{"local":"127.0.0.2:0"}}"#;
        assert!(matches!(serde_json::from_str(migrate), Ok(Order::MigratePath { ticket: 4, path: 0, .. })));
        assert!(matches!(serde_json::from_str(r#"{"do":"cancel-migration","path":0}"#), Ok(Order::CancelMigration { path: 0 })));
        let block = r#"{"do":"block","rules":[["192.0.2.1","192.0.2.1"],["fd00::",8]]}"#;
        assert!(matches!(serde_json::from_str(block), Ok(Order::Block { rules }) if rules.len() == 2));
        assert!(matches!(serde_json::from_str(r#"{"do":"begin"}"#), Ok(Order::Begin)));
        assert!(matches!(serde_json::from_str(r#"{"do":"trace","mask":3}"#), Ok(Order::Trace { mask: 3 })));
        assert!(matches!(serde_json::from_str(r#"{"do":"ping","ticket":3,"path":null}"#), Ok(Order::Ping { ticket: 3, path: None })));
        assert!(matches!(serde_json::from_str(r#"{"do":"admission","mode":"ask"}"#), Ok(Order::Admission { mode: AdmissionMode::Ask })));
        let polarity = r#"{"do":"polarity","alpn":"qb-rev/1","wrongWay":5}"#;
        assert!(matches!(serde_json::from_str(polarity), Ok(Order::Polarity { alpn, wrong_way: Some(JsonCode(5)) }) if alpn == "qb-rev/1"));
        assert!(matches!(serde_json::from_str(r#"{"do":"polarity","alpn":"x","wrongWay":null}"#), Ok(Order::Polarity { wrong_way: None, .. })));
        assert!(matches!(serde_json::from_str(r#"{"do":"reverse"}"#), Ok(Order::Reverse)));
        assert!(matches!(serde_json::from_str(r#"{"do":"open-gate"}"#), Ok(Order::OpenGate)));
        let grant = r#"{"do":"grant-streams","direction":"bidirectional","count":100}"#;
        assert!(matches!(serde_json::from_str(grant), Ok(Order::GrantStreams { direction: StreamKind::Bidirectional, count: 100 })));
        let verdict = r#"{"do":"verdict","answer":"refuse","reason":"a stranger"}"#;
        assert!(matches!(serde_json::from_str(verdict), Ok(Order::Verdict { answer: Answer::Refuse, reason }) if reason == "a stranger"));
    }

    #[test]
    fn questions_are_read_as_javascript_writes_them() {
        assert!(matches!(serde_json::from_str(r#"{"ask":"explain","about":"paths"}"#), Ok(Question::Explain { about: About::Paths })));
        assert!(matches!(serde_json::from_str(r#"{"ask":"update-key"}"#), Ok(Question::UpdateKey)));
        assert!(matches!(serde_json::from_str(r#"{"ask":"space","space":"handshake","path":0}"#), Ok(Question::Space { space: SpaceName::Handshake, path: 0 })));
        assert!(matches!(serde_json::from_str(r#"{"ask":"nat-statistics"}"#), Ok(Question::NatStatistics)));
        assert!(serde_json::from_str::<Question>(r#"{"ask":"nothing"}"#).is_err());
    }
}
