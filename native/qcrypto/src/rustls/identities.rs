//! Which identity a server shows: by the name the client asks for (RFC 6066 §3).
//!
//! Decides between exact names, wildcards of one label and the default. Called by TLS for each ClientHello. Never looks
//! into certificates: that a name stands in its certificate is the application's business, and the client checks it.

use std::{collections::BTreeMap, sync::Arc};

use rustls::{
    pki_types::DnsName,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{error::TlsError, identity::Identity};

/// Identities by name, all names in lower case.
#[derive(Debug)]
pub(super) struct Identities {
    exact: BTreeMap<String, Arc<CertifiedKey>>,
    /// `example.net` stands for `*.example.net`.
    wildcard: BTreeMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl Identities {
    /// The names over the default; `*` among them takes the default's place.
    ///
    /// # Errors
    /// A name is neither a DNS name nor a wildcard of one, or there is no identity at all.
    pub(super) fn new(default: Option<&Identity>, names: &[(String, Identity)]) -> Result<Self, TlsError> {
        let mut identities =
            Self { exact: BTreeMap::new(), wildcard: BTreeMap::new(), default: default.map(Identity::certified) };
        for (name, identity) in names {
            identities.add(name, identity.certified())?;
        }
        if identities.exact.is_empty() && identities.wildcard.is_empty() && identities.default.is_none() {
            return Err(TlsError::NoIdentity);
        }
        Ok(identities)
    }

    fn add(&mut self, name: &str, identity: Arc<CertifiedKey>) -> Result<(), TlsError> {
        if name == "*" {
            self.default = Some(identity);
            return Ok(());
        }
        let lower = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let (table, dns) = match lower.strip_prefix("*.") {
            Some(rest) => (&mut self.wildcard, rest),
            None => (&mut self.exact, lower.as_str()),
        };
        if DnsName::try_from(dns).is_err() {
            return Err(TlsError::ServerName { name: name.to_owned() });
        }
        table.insert(dns.to_owned(), identity);
        Ok(())
    }

    /// The identity for a client that asks for this name, or for none.
    fn choose(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let lower = name.to_ascii_lowercase();
            let parent = lower.split_once('.').map(|(_, parent)| parent);
            self.exact.get(&lower).or_else(|| self.wildcard.get(parent?))
        });
        named.or(self.default.as_ref())
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{certificate, identity_of};

    fn identity(seed: u8) -> Identity {
        identity_of(&certificate(seed, &["any.example"]))
    }

    #[test]
    fn the_closest_name_counts() {
        let [default, exact, wild] = [1, 2, 3].map(identity);
        let names = vec![
            ("A.example.net".to_owned(), exact.clone()),
            ("*.Example.net.".to_owned(), wild.clone()),
        ];
        let identities = Identities::new(Some(&default), &names).unwrap();
        for (name, expected) in [
            (Some("a.example.net"), &exact),
            (Some("A.EXAMPLE.NET"), &exact),
            (Some("b.example.net"), &wild),
            (Some("x.b.example.net"), &default),
            (Some("example.net"), &default),
            (Some("other.example"), &default),
            (None, &default),
        ] {
            let chosen = identities.choose(name).unwrap();
            assert!(Arc::ptr_eq(chosen, &expected.certified()), "{name:?}");
        }
    }

    #[test]
    fn without_a_default_unknown_names_have_no_identity() {
        let identities = Identities::new(None, &[("a.example".to_owned(), identity(1))]).unwrap();
        assert!(identities.choose(Some("b.example")).is_none());
        assert!(identities.choose(None).is_none());
        let star = Identities::new(None, &[("*".to_owned(), identity(1))]).unwrap();
        assert!(star.choose(None).is_some());
    }

    #[test]
    fn names_that_cannot_be_asked_for_are_refused() {
        for name in ["", "*.", "a.*.example", "127.0.0.1:80", "ex ample", "**.example"] {
            let result = Identities::new(None, &[(name.to_owned(), identity(1))]);
            assert!(matches!(result, Err(TlsError::ServerName { .. })), "{name:?}");
        }
        assert!(matches!(Identities::new(None, &[]), Err(TlsError::NoIdentity)));
    }
}
