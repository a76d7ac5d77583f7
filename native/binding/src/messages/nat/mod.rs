//! What crosses about NATs: one Rust type for each of `src/binding/nat-messages.ts`.
//!
//! | file | has |
//! |---|---|
//! | `orders` | what the endpoint shall do |
//! | `events` | what it tells, and its counters |
//! | `punch` | both for the traversal of one connection |

pub mod events;
pub mod orders;
pub mod punch;

use std::{fmt, net::IpAddr, time::Duration};

use qtraversal::{NatType, address::Prefix, stun::Form};
use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// An address of a peer, which may lie behind a relay: `ip:port` or `RELAY-OUTER` (traversal T-1).
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Remote(pub qtraversal::Endpoint);

impl TryFrom<String> for Remote {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error| format!("{text:?} is {error}"))
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The six types of NATs in the words of api 2.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatKind {
    Blocked,
    FullCone,
    RestrictedCone,
    RestrictedPort,
    Symmetric,
    Dynamic,
}

impl From<NatKind> for NatType {
    fn from(kind: NatKind) -> Self {
        match kind {
            NatKind::Blocked => Self::Blocked,
            NatKind::FullCone => Self::FullCone,
            NatKind::RestrictedCone => Self::RestrictedCone,
            NatKind::RestrictedPort => Self::RestrictedPort,
            NatKind::Symmetric => Self::Symmetric,
            NatKind::Dynamic => Self::Dynamic,
        }
    }
}

impl From<NatType> for NatKind {
    fn from(kind: NatType) -> Self {
        match kind {
            NatType::Blocked => Self::Blocked,
            NatType::FullCone => Self::FullCone,
            NatType::RestrictedCone => Self::RestrictedCone,
            NatType::RestrictedPort => Self::RestrictedPort,
            NatType::Symmetric => Self::Symmetric,
            NatType::Dynamic => Self::Dynamic,
        }
    }
}

/// How STUN is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum StunForm {
    #[serde(rename = "rfc5780")]
    Rfc,
    #[serde(rename = "dquic")]
    Dquic07,
    #[serde(rename = "dquic-0.5")]
    Dquic05,
}

impl From<StunForm> for Form {
    fn from(form: StunForm) -> Self {
        match form {
            StunForm::Rfc => Self::Rfc,
            StunForm::Dquic07 => Self::Dquic07,
            StunForm::Dquic05 => Self::Dquic05,
        }
    }
}

/// A network as people write it: `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network(pub Prefix);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let refused = || format!("{text:?} is no network like 10.0.0.0/8");
        let (ip, bits) = text.split_once('/').map_or((text.as_str(), None), |(ip, bits)| (ip, Some(bits)));
        let ip: IpAddr = ip.parse().map_err(|_| refused())?;
        let all = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), str::parse).map_err(|_| refused())?;
        if bits > all { Err(refused()) } else { Ok(Self(Prefix { ip, bits })) }
    }
}

/// A time in milliseconds, as a duration.
///
/// # Errors
/// It is negative, not a number or too large.
pub fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)? / 1e3).map_err(|_| D::Error::custom("no number of milliseconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// traversal T-1.
    #[test]
    fn an_address_of_a_peer_may_lie_behind_a_relay() {
        let direct: Remote = serde_json::from_str(r#""[2001:db8::1]:443""#).expect("address");
        assert_eq!(direct.0.agent(), None);
        let relayed: Remote = serde_json::from_str(r#""192.0.2.1:4434-198.51.100.7:6000""#).expect("address");
        assert_eq!((relayed.0.next_hop().port(), relayed.0.outer().port(), relayed.0.to_string().as_str()), (4_434, 6_000, "192.0.2.1:4434-198.51.100.7:6000"));
        for nonsense in ["", "192.0.2.1", "192.0.2.1:1-", "-192.0.2.1:1", "192.0.2.1:1-198.51.100.7:1-203.0.113.1:1"] {
            let error = serde_json::from_str::<Remote>(&format!("{nonsense:?}")).expect_err("refused");
            assert!(error.to_string().contains("`agent-outer`") && error.to_string().contains(nonsense), "{error}");
        }
    }

    #[test]
    fn networks_kinds_and_forms_have_their_words() {
        for (text, ip, bits) in [("10.0.0.0/8", "10.0.0.0", 8), ("fd00::/64", "fd00::", 64), ("192.0.2.1", "192.0.2.1", 32), ("0.0.0.0/0", "0.0.0.0", 0)] {
            let network: Network = serde_json::from_value(text.into()).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(network.0, Prefix { ip: ip.parse().expect("ip"), bits });
        }
        for nonsense in ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "fd00::/129", "10.0.0.0/8/8"] {
            assert!(serde_json::from_value::<Network>(nonsense.into()).is_err(), "{nonsense}");
        }
        for kind in NatType::ALL {
            let text = serde_json::to_string(&NatKind::from(kind)).expect("json");
            assert_eq!(NatType::from(serde_json::from_str::<NatKind>(&text).expect("kind")), kind);
        }
        let words = NatType::ALL.map(|kind| serde_json::to_value(NatKind::from(kind)).expect("json"));
        assert_eq!(words, ["blocked", "full-cone", "restricted-cone", "restricted-port", "symmetric", "dynamic"]);
        let form = |text: &str| serde_json::from_value::<StunForm>(text.into()).map(Form::from);
        assert!(matches!((form("rfc5780"), form("dquic"), form("dquic-0.5")), (Ok(Form::Rfc), Ok(Form::Dquic07), Ok(Form::Dquic05))));
        assert!(form("stun").is_err());
    }
}
