//! Orders to the endpoint about NATs: `NativeNatOrder`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use qconnection::endpoint::nat::{Life, StunAsk, Ticket};
use qtraversal::{
    address::Prefix,
    probe::ProbeConfig,
    relay::RelayConfig,
    stun::{Forms, Patience, ServerConfig},
};
use serde::Deserialize;

use super::{Network, StunForm, millis};

/// The order `register`: a relay knows a socket of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Register {
    /// The socket's address, as datagrams of the relay come in there.
    pub local: SocketAddr,
    /// The relay's.
    pub relay: SocketAddr,
    /// Ours, as the relay sees it.
    pub outer: SocketAddr,
}

/// The order `unregister`: it does not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Unregister {
    /// The socket's address, as it was registered.
    pub local: SocketAddr,
    /// The relay's.
    pub relay: SocketAddr,
}

/// The order `nat-ask`: which address does a server see?
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NatAsk {
    /// JavaScript's name for it.
    ticket: u64,
    local: SocketAddr,
    server: SocketAddr,
    form: StunForm,
    #[serde(rename = "timeoutMs", deserialize_with = "millis")]
    timeout: Duration,
    tries: u8,
}

impl From<NatAsk> for StunAsk {
    fn from(ask: NatAsk) -> Self {
        let NatAsk { ticket, local, server, form, timeout, tries } = ask;
        Self { ticket: Ticket(ticket), local, server, form: form.into(), patience: steady(tries, timeout) }
    }
}

/// The order `nat-detect`: what is the NAT before a socket?
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NatDetect {
    /// JavaScript's name for it.
    pub ticket: u64,
    /// The socket.
    pub local: SocketAddr,
    servers: Vec<SocketAddr>,
    form: StunForm,
    #[serde(rename = "timeoutMs", deserialize_with = "millis")]
    timeout: Duration,
    tries: u8,
    life: bool,
}

impl NatDetect {
    /// What the detection works with.
    #[must_use]
    pub fn config(&self) -> ProbeConfig {
        let own = (!self.local.ip().is_unspecified()).then_some(self.local);
        let config = ProbeConfig::new(self.servers.clone(), self.form.into(), own);
        ProbeConfig { mapping: steady(self.tries, self.timeout), filter: filter(self.tries, self.timeout), ..config }
    }

    /// Whether the life of mappings is measured, which takes minutes.
    #[must_use]
    pub const fn life(&self) -> Life {
        if self.life { Life::Measured } else { Life::Skipped }
    }
}

/// The order `nat-keep`: a mapping that shall not go.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct NatKeep {
    /// JavaScript's name for it.
    pub ticket: u64,
    /// The socket.
    pub local: SocketAddr,
    /// Who is asked again and again.
    pub server: SocketAddr,
    /// How.
    pub form: StunForm,
}

/// What the order `stun-serve` serves.
#[derive(Clone, Debug, Deserialize)]
pub struct StunServe {
    sockets: Vec<SocketAddr>,
    neighbours: Vec<SocketAddr>,
    forms: Vec<StunForm>,
}

impl StunServe {
    /// As the machine takes it.
    #[must_use]
    pub fn config(self) -> (ServerConfig, Forms) {
        let forms = self.forms.into_iter().fold(Forms::NONE, |forms, form| forms.with(form.into()));
        (ServerConfig { sockets: self.sockets, neighbours: self.neighbours }, forms)
    }
}

/// What the order `relay-serve` makes of the endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelayServe {
    agent: Vec<SocketAddr>,
    allow: Vec<Network>,
    allow_private: bool,
    bytes_per_second: u64,
    burst_bytes: u64,
}

impl RelayServe {
    /// As the machine takes it.
    #[must_use]
    pub fn config(self) -> RelayConfig {
        let Self { agent, allow, allow_private, bytes_per_second, burst_bytes } = self;
        let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)].map(|ip| Prefix { ip, bits: 0 });
        let allowed = if allow_private { everywhere.to_vec() } else { allow.into_iter().map(|network| network.0).collect() };
        RelayConfig { agent, allowed, bytes_per_second, burst_bytes, ..RelayConfig::default() }
    }
}

/// So often, so far apart.
fn steady(tries: u8, every: Duration) -> Patience {
    Patience::Steady { sends: tries.max(1), every }
}

/// Silence behind a filter is a result, so that loss must not look like it: never fewer tries than the machine's own (traversal T-52).
fn filter(tries: u8, every: Duration) -> Patience {
    match Patience::FILTER {
        Patience::Steady { sends, .. } => Patience::Steady { sends: sends.max(tries), every },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::orders::Order;
    use qtraversal::stun::Form;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn orders_about_relays_that_know_us_are_read_as_javascript_writes_them() {
        let (local, relay) = (address("10.0.0.2:4433"), address("192.0.2.1:4434"));
        let register = r#"{"do":"register","local":"10.0.0.2:4433","relay":"192.0.2.1:4434","outer":"198.51.100.7:6000"}"#;
        let outer = address("198.51.100.7:6000");
        assert!(matches!(serde_json::from_str(register), Ok(Order::Register(order)) if order == Register { local, relay, outer }));
        let unregister = r#"{"do":"unregister","local":"10.0.0.2:4433","relay":"192.0.2.1:4434"}"#;
        assert!(matches!(serde_json::from_str(unregister), Ok(Order::Unregister(order)) if order == Unregister { local, relay }));
    }

    #[test]
    fn questions_to_servers_are_read_as_javascript_writes_them() {
        let ask = r#"{"do":"nat-ask","ticket":3,"local":"0.0.0.0:4433","server":"192.0.2.1:3478","form":"dquic-0.5","timeoutMs":250.5,"tries":3}"#;
        let Ok(Order::NatAsk(ask)) = serde_json::from_str(ask) else { panic!("no order") };
        let expected = StunAsk {
            ticket: Ticket(3),
            local: address("0.0.0.0:4433"),
            server: address("192.0.2.1:3478"),
            form: Form::Dquic05,
            patience: Patience::Steady { sends: 3, every: Duration::from_micros(250_500) },
        };
        assert_eq!(StunAsk::from(ask), expected);
        let keep = r#"{"do":"nat-keep","ticket":4,"local":"0.0.0.0:4433","server":"192.0.2.1:3478","form":"rfc5780"}"#;
        assert!(matches!(serde_json::from_str(keep), Ok(Order::NatKeep(NatKeep { ticket: 4, form: StunForm::Rfc, .. }))));
        assert!(matches!(serde_json::from_str(r#"{"do":"nat-cancel","ticket":4}"#), Ok(Order::NatCancel { ticket: 4 })));
        for (from, to) in [("rfc5780", "stun"), ("192.0.2.1:3478", "stun.example:3478"), ("4,", "-4,")] {
            assert!(serde_json::from_str::<Order>(&keep.replacen(from, to, 1)).is_err(), "{to}");
        }
    }

    /// traversal T-52.
    #[test]
    fn detections_are_read_as_javascript_writes_them_and_keep_their_patience_with_filters() {
        let detect = |local: &str, tries: u8| {
            let json = format!(r#"{{"do":"nat-detect","ticket":5,"local":"{local}","servers":["192.0.2.1:3478","192.0.2.2:3478"],"form":"rfc5780","timeoutMs":200,"tries":{tries},"life":true}}"#);
            let Ok(Order::NatDetect(detect)) = serde_json::from_str(&json) else { panic!("no order") };
            (detect.config(), detect.life())
        };
        let (config, life) = detect("10.0.0.2:4433", 2);
        let every = Duration::from_millis(200);
        assert_eq!((config.servers.len(), config.local, life), (2, Some(address("10.0.0.2:4433")), Life::Measured));
        assert_eq!((config.mapping, config.filter), (Patience::Steady { sends: 2, every }, Patience::Steady { sends: 5, every }));
        let (config, _) = detect("0.0.0.0:4433", 9);
        assert_eq!((config.local, config.filter), (None, Patience::Steady { sends: 9, every }));
    }

    /// traversal T-33.
    #[test]
    fn a_relay_is_read_as_javascript_writes_it_and_takes_nobody_without_credentials() {
        let serve = |allow_private: bool| {
            let json = format!(r#"{{"do":"relay-serve","config":{{"agent":["192.0.2.1:4434"],"allow":["10.0.0.0/8"],"allowPrivate":{allow_private},"bytesPerSecond":1000,"burstBytes":3000}}}}"#);
            let Ok(Order::RelayServe { config: Some(serve) }) = serde_json::from_str(&json) else { panic!("no order") };
            serve.config()
        };
        let config = serve(false);
        assert_eq!((config.agent.len(), config.bytes_per_second, config.burst_bytes), (1, 1_000, 3_000));
        assert_eq!(config.admission, qtraversal::relay::Admission::Authenticated);
        let reaches = |config: &RelayConfig, ip: &str| config.allowed.iter().any(|network| network.holds(ip.parse().expect("ip")));
        assert!(reaches(&config, "10.9.9.9") && !reaches(&config, "192.168.0.1") && !reaches(&config, "fd00::1"));
        assert!(reaches(&serve(true), "192.168.0.1") && reaches(&serve(true), "fd00::1"));
        assert!(matches!(serde_json::from_str(r#"{"do":"relay-serve","config":null}"#), Ok(Order::RelayServe { config: None })));
        let admit = r#"{"do":"relay-admit","client":"198.51.100.7:6000","forMs":60000}"#;
        assert!(matches!(serde_json::from_str(admit), Ok(Order::RelayAdmit { client, life, formerly: None }) if client == address("198.51.100.7:6000") && life == Duration::from_secs(60)));
        let moved = admit.replace('}', r#","formerly":"198.51.100.7:5000"}"#);
        assert!(matches!(serde_json::from_str(&moved), Ok(Order::RelayAdmit { formerly: Some(formerly), .. }) if formerly == address("198.51.100.7:5000")));
        assert!(serde_json::from_str::<Order>(&admit.replace("60000", "-1")).is_err());
        let forget = r#"{"do":"relay-forget","client":"198.51.100.7:6000"}"#;
        assert!(matches!(serde_json::from_str(forget), Ok(Order::RelayForget { client }) if client.port() == 6_000));
    }

    #[test]
    fn a_server_is_read_as_javascript_writes_it() {
        let serve = r#"{"do":"stun-serve","config":{"sockets":["0.0.0.0:3478"],"neighbours":[],"forms":["rfc5780","dquic"]}}"#;
        let Ok(Order::StunServe { config: Some(serve) }) = serde_json::from_str(serve) else { panic!("no order") };
        let (config, forms) = serve.config();
        assert_eq!((config.sockets.len(), forms), (1, Forms::NONE.with(Form::Rfc).with(Form::Dquic07)));
        assert!(matches!(serde_json::from_str(r#"{"do":"stun-serve","config":null}"#), Ok(Order::StunServe { config: None })));
    }
}
