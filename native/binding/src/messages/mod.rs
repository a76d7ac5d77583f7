//! The JSON that crosses for what is rare: one Rust type for each type of `src/binding/messages.ts`, same names, same
//! fields. Absent fields mean the engine's default. Nothing is decided here.

pub mod events;
pub mod nat;
pub mod orders;
pub mod plans;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::queue::layout::SAFE_INTEGER;

/// An error code: a number below 2^53, else a decimal string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonCode(pub u64);

impl Serialize for JsonCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 < SAFE_INTEGER { serializer.serialize_u64(self.0) } else { serializer.collect_str(&self.0) }
    }
}

impl<'de> Deserialize<'de> for JsonCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(code) => Ok(Self(code)),
            Either::Text(text) => text.parse().map(Self).map_err(D::Error::custom),
        }
    }
}

/// Whether a path may carry data while others can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathUse {
    /// As the scheduler likes.
    #[default]
    Available,
    /// Only when no other can.
    Backup,
}

impl From<PathUse> for qbase::frame::PathStatusKind {
    fn from(status: PathUse) -> Self {
        match status {
            PathUse::Available => Self::Available,
            PathUse::Backup => Self::Backup,
        }
    }
}

impl From<qbase::frame::PathStatusKind> for PathUse {
    fn from(status: qbase::frame::PathStatusKind) -> Self {
        match status {
            qbase::frame::PathStatusKind::Available => Self::Available,
            qbase::frame::PathStatusKind::Backup => Self::Backup,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_cross_as_numbers_or_text() {
        for (code, json) in [(0, "0"), (SAFE_INTEGER - 1, "9007199254740991"), (SAFE_INTEGER, "\"9007199254740992\"")] {
            assert_eq!(serde_json::to_string(&JsonCode(code)).expect("json"), json);
            assert_eq!(serde_json::from_str::<JsonCode>(json).expect("code"), JsonCode(code));
        }
        for nonsense in ["-1", "1.5", "\"x\"", "null"] {
            assert!(serde_json::from_str::<JsonCode>(nonsense).is_err(), "{nonsense}");
        }
    }
}
