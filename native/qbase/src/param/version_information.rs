//! The `version_information` parameter (RFC 9368 §3; attacks B17).
//!
//! ```text
//! chosen version (4) · { available version (4) }
//! ```
//!
//! Called by reading and writing of the parameters. Never compares versions with those of packets.

use crate::{Role, version};

/// What one end says about versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInformation {
    /// The version its sender uses for the connection.
    pub chosen: u32,
    /// A client's compatible versions in order of preference, or a server's fully deployed ones. Of a peer's list only
    /// the versions that are spoken here are kept, each once.
    pub available: Vec<u32>,
}

impl VersionInformation {
    /// Reads the value that `from` sent; `None` if it is cut short, holds a zero, or a client's list lacks its choice
    /// (RFC 9368 §4).
    pub(super) fn read(value: &[u8], from: Role) -> Option<Self> {
        let (versions, []) = value.as_chunks::<4>() else { return None };
        let mut versions = versions.iter().map(|bytes| u32::from_be_bytes(*bytes));
        let chosen = versions.next().filter(|chosen| *chosen != 0)?;
        let (mut available, mut lists_choice) = (Vec::new(), false);
        for listed in versions {
            if listed == 0 {
                return None;
            }
            lists_choice |= listed == chosen;
            if version::is_spoken(listed) && !available.contains(&listed) {
                available.push(listed);
            }
        }
        (lists_choice || !from.is_client()).then_some(Self { chosen, available })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.chosen.to_be_bytes());
        self.available.iter().for_each(|version| out.extend_from_slice(&version.to_be_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{VERSION_1, VERSION_2};

    fn bytes(versions: &[u32]) -> Vec<u8> {
        versions.iter().flat_map(|version| version.to_be_bytes()).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let information = VersionInformation { chosen: VERSION_1, available: vec![VERSION_2, VERSION_1] };
        let mut out = Vec::new();
        information.write(&mut out);
        assert_eq!(out, bytes(&[VERSION_1, VERSION_2, VERSION_1]));
        assert_eq!(VersionInformation::read(&out, Role::Client), Some(information));
    }

    #[test]
    fn unknown_and_repeated_versions_are_not_kept() {
        let list = bytes(&[VERSION_1, version::reserved(3), VERSION_1, VERSION_1, 0xff00_001d]);
        let read = VersionInformation::read(&list, Role::Client).unwrap();
        assert_eq!(read.available, vec![VERSION_1]);
    }

    /// Shows 9368-version-downgrade-prevention-downgrade-4, 9368-version-downgrade-prevention-downgrade-5 and
    /// 9368-version-downgrade-prevention-downgrade-6.
    #[test]
    fn attack_b17_lists_that_are_cut_hold_a_zero_or_lack_the_choice_are_malformed() {
        for from in [Role::Client, Role::Server] {
            for len in [0, 1, 2, 3, 5, 6, 7, 9] {
                assert_eq!(VersionInformation::read(&vec![1; len], from), None, "{len} bytes");
            }
            assert_eq!(VersionInformation::read(&bytes(&[0, VERSION_1]), from), None, "chosen 0");
            assert_eq!(VersionInformation::read(&bytes(&[VERSION_1, VERSION_1, 0]), from), None, "available 0");
        }
        assert_eq!(VersionInformation::read(&bytes(&[VERSION_1, VERSION_2]), Role::Client), None, "choice not listed");
        assert!(VersionInformation::read(&bytes(&[VERSION_1]), Role::Server).is_some(), "a server's list may be empty");
    }
}
