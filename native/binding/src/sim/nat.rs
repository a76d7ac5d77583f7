//! `NativeNat`: what an address translator is like, as it crosses.

use qsim::world::{Dependence, Habit, NatOptions, PortChoice};
use serde::Deserialize;

use crate::{error::NativeError, options::millis};

/// Options as they cross; what is absent is the default.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NatShape {
    mapping: Option<DependenceName>,
    filtering: Option<DependenceName>,
    ports: Option<PortsName>,
    hairpin: Option<bool>,
    timeout_ms: Option<f64>,
    linux: Option<bool>,
    blocked: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DependenceName {
    EndpointIndependent,
    Address,
    AddressPort,
}

impl From<DependenceName> for Dependence {
    fn from(name: DependenceName) -> Self {
        match name {
            DependenceName::EndpointIndependent => Self::EndpointIndependent,
            DependenceName::Address => Self::Address,
            DependenceName::AddressPort => Self::AddressPort,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PortsName {
    Preserving,
    Sequential,
    Random,
    Parity,
}

impl From<PortsName> for PortChoice {
    fn from(name: PortsName) -> Self {
        match name {
            PortsName::Preserving => Self::Preserving,
            PortsName::Sequential => Self::Sequential,
            PortsName::Random => Self::Random,
            PortsName::Parity => Self::Parity,
        }
    }
}

impl NatShape {
    /// As the world takes it.
    ///
    /// # Errors
    /// QB_OPTION_INVALID: a time that is none.
    pub fn read(self) -> Result<NatOptions, NativeError> {
        let default = NatOptions::default();
        let habit = |given: Option<bool>| if given == Some(true) { Habit::Yes } else { Habit::No };
        Ok(NatOptions {
            mapping: self.mapping.map_or(default.mapping, Into::into),
            filtering: self.filtering.map_or(default.filtering, Into::into),
            ports: self.ports.map_or(default.ports, Into::into),
            hairpin: habit(self.hairpin),
            timeout: self.timeout_ms.map_or(Ok(default.timeout), |value| millis("timeoutMs", value))?,
            linux: habit(self.linux),
            blocked: habit(self.blocked),
            ..default
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_fields_are_the_defaults_and_given_ones_reach_the_world() {
        let read = |json: &str| serde_json::from_str::<NatShape>(json).expect("json").read();
        assert_eq!(read("{}").expect("options"), NatOptions::default());
        let given = read(r#"{"mapping":"address-port","filtering":"endpoint-independent","ports":"random","hairpin":true,"timeoutMs":5}"#).expect("options");
        assert_eq!((given.mapping, given.filtering, given.ports), (Dependence::AddressPort, Dependence::EndpointIndependent, PortChoice::Random));
        assert_eq!((given.hairpin, given.timeout.as_millis()), (Habit::Yes, 5));
        assert_eq!(read(r#"{"timeoutMs":-1}"#).expect_err("refused").facts().field.as_deref(), Some("timeoutMs"));
    }
}
