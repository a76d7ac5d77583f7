//! Address tokens: what a Retry and a NEW_TOKEN frame vouch for, and who used which (RFC 9000 §8.1; attacks B4, L19).
//!
//! ```text
//! both      version (4) · issued, ms since 1970 (8) · IP version (1) · address (4 or 16)
//! NEW_TOKEN … · any number of: IP version (1) · address (4 or 16)
//! Retry     … · port (2) · length (1) · client's first DCID · length (1) · SCID of the Retry
//! ```
//!
//! Called by the accept step (checks) and for tokens to be sent. Time of day is `now` plus a constant, so a token that
//! outlives its process still has an age. Never decides what happens to a client with a bad token.

use qbase::{ConnectionId, FourTuple, Reader, Timestamp, limits};
use qcrypto::{TokenKey, token::SALT_LEN};
use rand_core::RngCore;
use std::{collections::BTreeSet, net::{IpAddr, Ipv4Addr, Ipv6Addr}, time::Duration};

/// First byte of a Retry's token.
const RETRY: u8 = 0xb1;
/// First byte of a NEW_TOKEN's token.
const NEW_TOKEN: u8 = 0xb2;

/// What the token of a first Initial is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is none, or one that proves nothing (RFC 9000 §8.1.3).
    Nothing,
    /// A Retry's that is not good: nothing can come of this attempt (RFC 9000 §8.1.2).
    Invalid,
    /// The client's address is proved.
    Proved(Proof),
}

/// A good token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    /// DCID of the client's first Initial, if the token came with a Retry.
    pub(super) original_dcid: Option<ConnectionId>,
    /// Its name in the filter.
    name: u64,
}

/// The tokens of an endpoint.
#[derive(Debug)]
pub(super) struct Tokens {
    key: TokenKey,
    unix_at_zero: Duration,
    used_retry: Used,
    used_new: Used,
}

impl Tokens {
    pub(super) fn new(secret: &[u8; 32], unix_at_zero: Duration) -> Self {
        Self {
            key: TokenKey::new(secret),
            unix_at_zero,
            used_retry: Used::new(limits::RETRY_TOKEN_LIFETIME),
            used_new: Used::new(limits::NEW_TOKEN_LIFETIME),
        }
    }

    /// A token for a Retry that answers an Initial to `original_dcid` and calls itself `scid`.
    pub(super) fn for_retry(
        &self,
        now: Timestamp,
        random: &mut impl RngCore,
        version: u32,
        four_tuple: FourTuple,
        original_dcid: &ConnectionId,
        scid: &ConnectionId,
    ) -> Option<Vec<u8>> {
        let mut content = self.head(now, version, four_tuple.remote.ip());
        content.extend_from_slice(&four_tuple.remote.port().to_be_bytes());
        for cid in [original_dcid, scid] {
            content.push(u8::try_from(cid.len()).unwrap_or(u8::MAX));
            content.extend_from_slice(cid.as_bytes());
        }
        self.key.seal(RETRY, salt(random), &content)
    }

    /// A token for a later connection of `version` from one of these addresses.
    pub(super) fn for_later(&self, now: Timestamp, random: &mut impl RngCore, version: u32, addresses: &[IpAddr]) -> Option<Vec<u8>> {
        let (first, further) = addresses.split_first()?;
        let mut content = self.head(now, version, *first);
        for ip in further.iter().take(limits::TOKEN_ADDRESSES.saturating_sub(1)) {
            write_ip(&mut content, *ip);
        }
        self.key.seal(NEW_TOKEN, salt(random), &content)
    }

    /// Judges the token of a first Initial to `dcid`.
    pub(super) fn check(&mut self, now: Timestamp, version: u32, four_tuple: FourTuple, dcid: &ConnectionId, token: &[u8]) -> Verdict {
        match token.first() {
            Some(&RETRY) => self.check_retry(now, version, four_tuple, dcid, token).map_or(Verdict::Invalid, Verdict::Proved),
            Some(&NEW_TOKEN) => self.check_new(now, version, four_tuple, token).map_or(Verdict::Nothing, Verdict::Proved),
            _ => Verdict::Nothing,
        }
    }

    /// The connection that the token opened is there: it opens no other (RFC 9000 §8.1.4).
    pub(super) fn spend(&mut self, now: Timestamp, proof: &Proof) {
        let used = if proof.original_dcid.is_some() { &mut self.used_retry } else { &mut self.used_new };
        used.add(now, proof.name);
    }

    fn check_retry(&mut self, now: Timestamp, version: u32, four_tuple: FourTuple, dcid: &ConnectionId, token: &[u8]) -> Option<Proof> {
        let opened = self.key.open(RETRY, token)?;
        let mut reader = Reader::new(&opened.content);
        let address = self.check_head(now, limits::RETRY_TOKEN_LIFETIME, version, &mut reader)?;
        let port = reader.u16().ok()?;
        let original_dcid = read_cid(&mut reader)?;
        let scid = read_cid(&mut reader)?;
        if address != four_tuple.remote.ip().to_canonical() || port != four_tuple.remote.port() || scid != *dcid {
            return None;
        }
        let name = name(&opened.salt);
        self.used_retry.is_fresh(now, name).then_some(Proof { original_dcid: Some(original_dcid), name })
    }

    fn check_new(&mut self, now: Timestamp, version: u32, four_tuple: FourTuple, token: &[u8]) -> Option<Proof> {
        let opened = self.key.open(NEW_TOKEN, token)?;
        let mut reader = Reader::new(&opened.content);
        let from = four_tuple.remote.ip().to_canonical();
        let mut named = self.check_head(now, limits::NEW_TOKEN_LIFETIME, version, &mut reader)?;
        while named != from {
            named = read_ip(&mut reader)?;
        }
        let name = name(&opened.salt);
        self.used_new.is_fresh(now, name).then_some(Proof { original_dcid: None, name })
    }

    fn unix(&self, now: Timestamp) -> Duration {
        self.unix_at_zero.saturating_add(now.saturating_since(Timestamp::ZERO))
    }

    fn head(&self, now: Timestamp, version: u32, ip: IpAddr) -> Vec<u8> {
        let mut content = Vec::with_capacity(80);
        content.extend_from_slice(&version.to_be_bytes());
        let issued = u64::try_from(self.unix(now).as_millis()).unwrap_or(u64::MAX);
        content.extend_from_slice(&issued.to_be_bytes());
        write_ip(&mut content, ip);
        content
    }

    /// The first address of a token whose version and age are as they must be.
    fn check_head(&self, now: Timestamp, lifetime: Duration, version: u32, reader: &mut Reader<'_>) -> Option<IpAddr> {
        let of_version = reader.u32().ok()? == version;
        let issued = Duration::from_millis(u64::from_be_bytes(reader.array().ok()?));
        let address = read_ip(reader)?;
        let unix = self.unix(now);
        let in_time = unix.saturating_sub(issued) <= lifetime && issued.saturating_sub(unix) <= limits::TOKEN_CLOCK_SKEW;
        (of_version && in_time).then_some(address)
    }
}

fn write_ip(content: &mut Vec<u8>, ip: IpAddr) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            content.push(4);
            content.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            content.push(6);
            content.extend_from_slice(&ip.octets());
        }
    }
}

fn read_ip(reader: &mut Reader<'_>) -> Option<IpAddr> {
    Some(match reader.u8().ok()? {
        4 => Ipv4Addr::from(reader.array::<4>().ok()?).into(),
        _ => Ipv6Addr::from(reader.array::<16>().ok()?).into(),
    })
}

fn salt(random: &mut impl RngCore) -> [u8; SALT_LEN] {
    let mut salt = [0; SALT_LEN];
    random.fill_bytes(&mut salt);
    salt
}

/// Half of a salt is enough to tell tokens apart: only sealed ones are asked about, so nobody can look for equal halves.
fn name(salt: &[u8; SALT_LEN]) -> u64 {
    salt.first_chunk().map_or(0, |half| u64::from_be_bytes(*half))
}

fn read_cid(reader: &mut Reader<'_>) -> Option<ConnectionId> {
    let len = reader.u8().ok()?;
    ConnectionId::new(reader.bytes(usize::from(len)).ok()?)
}

/// Names of used tokens in two time buckets, each as long as a token can be good for. A full bucket takes no more tokens:
/// a token that could not be remembered is not accepted either.
#[derive(Debug)]
struct Used {
    period: Duration,
    since: Timestamp,
    current: BTreeSet<u64>,
    previous: BTreeSet<u64>,
}

impl Used {
    fn new(lifetime: Duration) -> Self {
        let period = lifetime.saturating_add(limits::TOKEN_CLOCK_SKEW);
        Self { period, since: Timestamp::ZERO, current: BTreeSet::new(), previous: BTreeSet::new() }
    }

    fn is_fresh(&mut self, now: Timestamp, name: u64) -> bool {
        self.turn(now);
        self.current.len() < limits::USED_TOKENS && !self.current.contains(&name) && !self.previous.contains(&name)
    }

    fn add(&mut self, now: Timestamp, name: u64) {
        self.turn(now);
        self.current.insert(name);
    }

    /// Begins a new bucket when the time has come.
    fn turn(&mut self, now: Timestamp) {
        let age = now.saturating_since(self.since);
        if age < self.period {
            return;
        }
        let full = std::mem::take(&mut self.current);
        // After two periods of silence both buckets are old.
        self.previous = if age < self.period.saturating_mul(2) { full } else { BTreeSet::new() };
        self.since = now;
    }
}

#[cfg(test)]
mod tests;
