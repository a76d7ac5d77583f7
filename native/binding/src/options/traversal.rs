//! `NativeTraversal`: how a connection gets through NATs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use qconnection::connection::traversal::{Plans, TraversalSettings};
use qtraversal::{
    address::{Disclosure, Prefix, ProbePolicy},
    budget::PortSearch,
    frame::ProfileKind,
    traversal::Start,
};
use serde::Deserialize;

use crate::messages::nat::{Network, StunForm};

/// Options as they cross.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traversal {
    profile: Profile,
    auto: bool,
    own_strategy: bool,
    port_search: bool,
    private_targets: PrivateTargets,
    /// Of our interfaces: what is the same site.
    #[serde(default)]
    networks: Vec<Network>,
    /// Probed although the Internet does not reach them.
    #[serde(default)]
    allow: Vec<Network>,
    #[serde(rename = "probesPer60s")]
    probes_per_60s: Option<usize>,
    #[serde(rename = "roundsPer60s")]
    rounds_per_60s: Option<usize>,
    stun: Vec<SocketAddr>,
    stun_form: StunForm,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Profile {
    Braid,
    Dquic,
}

/// What is done with addresses that the Internet does not reach.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PrivateTargets {
    Never,
    SameSite,
    Always,
}

impl Traversal {
    /// The machine's settings.
    #[must_use]
    pub fn settings(&self) -> TraversalSettings {
        let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)].map(|ip| Prefix { ip, bits: 0 });
        let (policy, disclosure) = match self.private_targets {
            PrivateTargets::Never => (ProbePolicy::default(), Disclosure::Nobody),
            PrivateTargets::SameSite => {
                let networks = self.networks.iter().map(|network| network.0);
                (networks.fold(ProbePolicy::default(), ProbePolicy::with_own_network), Disclosure::SameSite)
            }
            PrivateTargets::Always => (everywhere.into_iter().fold(ProbePolicy::default(), ProbePolicy::allowing), Disclosure::Everyone),
        };
        let policy = self.allow.iter().fold(policy, |policy, network| policy.allowing(network.0));
        TraversalSettings {
            profile: match self.profile {
                Profile::Braid => ProfileKind::Braid,
                Profile::Dquic => ProfileKind::Dquic,
            },
            start: if self.auto { Start::Automatic } else { Start::ByHand },
            plans: if self.own_strategy { Plans::Asked } else { Plans::Own },
            policy,
            disclosure,
            search: if self.port_search { PortSearch::Allowed } else { PortSearch::Off },
            probes_per_60s: self.probes_per_60s,
            rounds_per_60s: self.rounds_per_60s,
            stun: self.stun.clone(),
            stun_form: self.stun_form.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qtraversal::stun::Form;

    fn settings(targets: &str) -> TraversalSettings {
        let json = format!(
            r#"{{"profile":"dquic","auto":false,"ownStrategy":true,"portSearch":true,"privateTargets":"{targets}","networks":["10.0.0.0/24"],"allow":["198.18.0.0/15"],"probesPer60s":12,"stun":["192.0.2.1:3478"],"stunForm":"dquic"}}"#
        );
        serde_json::from_str::<Traversal>(&json).unwrap_or_else(|error| panic!("{error}")).settings()
    }

    #[test]
    fn given_options_reach_the_machine() {
        let settings = settings("never");
        assert_eq!((settings.profile, settings.start, settings.plans, settings.search), (ProfileKind::Dquic, Start::ByHand, Plans::Asked, PortSearch::Allowed));
        assert_eq!((settings.probes_per_60s, settings.rounds_per_60s, settings.stun.len(), settings.stun_form), (Some(12), None, 1, Form::Dquic07));
    }

    /// traversal T-79, attacks G2.
    #[test]
    fn private_addresses_are_probed_where_the_option_says_so() {
        for (targets, near, far, disclosure) in [
            ("never", false, false, Disclosure::Nobody),
            ("same-site", true, false, Disclosure::SameSite),
            ("always", true, true, Disclosure::Everyone),
        ] {
            let settings = settings(targets);
            let admits = |text: &str| settings.policy.admits(text.parse().expect("address")).is_ok();
            assert_eq!((admits("10.0.0.9:6000"), admits("10.0.1.9:6000"), settings.disclosure), (near, far, disclosure), "{targets}");
            assert!(admits("8.8.8.8:6000") && !admits("8.8.8.8:53"), "{targets}");
            assert!(admits("198.18.3.1:6000") && admits("203.0.113.1:6000") == (targets == "always"), "{targets}");
        }
    }
}
