//! Tokens, good and bad (attacks B4, B18, J12, L19).

use super::*;
use qbase::{VERSION_1, VERSION_2};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

const SECRET: [u8; 32] = [5; 32];
const UNIX: Duration = Duration::from_secs(1_735_689_600);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn tokens() -> Tokens {
    Tokens::new(&SECRET, UNIX)
}

fn random() -> ChaCha8Rng {
    ChaCha8Rng::from_seed([1; 32])
}

fn cid(byte: u8) -> ConnectionId {
    ConnectionId::new(&[byte; 8]).unwrap()
}

fn from(ip: &str, port: u16) -> FourTuple {
    let remote: IpAddr = ip.parse().unwrap();
    FourTuple { local: ([192, 0, 2, 1], 4_433).into(), remote: (remote, port).into() }
}

fn client() -> FourTuple {
    from("198.51.100.7", 50_000)
}

fn retry_token(tokens: &Tokens) -> Vec<u8> {
    tokens.for_retry(at(100), &mut random(), VERSION_1, client(), &cid(1), &cid(2)).unwrap()
}

fn new_token(tokens: &Tokens) -> Vec<u8> {
    tokens.for_later(at(100), &mut random(), VERSION_1, &[client().remote.ip()]).unwrap()
}

fn check(tokens: &mut Tokens, seconds: u64, token: &[u8]) -> Verdict {
    tokens.check(at(seconds), VERSION_1, client(), &cid(2), token)
}

fn proved(verdict: Verdict) -> Option<Option<ConnectionId>> {
    match verdict {
        Verdict::Proved(proof) => Some(proof.original_dcid),
        Verdict::Nothing | Verdict::Invalid => None,
    }
}

#[test]
fn a_retry_token_proves_the_address_and_remembers_the_first_dcid() {
    let mut tokens = tokens();
    let token = retry_token(&tokens);
    assert_eq!(proved(check(&mut tokens, 100, &token)), Some(Some(cid(1))));
    assert_eq!(proved(check(&mut tokens, 115, &token)), Some(Some(cid(1))));
}

/// Shows 9000-8.1.1-1, 9000-8.1.4-3 and 9000-8.1.4-7.
#[test]
fn attack_b4_a_retry_token_of_another_address_id_version_or_time_is_invalid() {
    let mut tokens = tokens();
    let token = retry_token(&tokens);
    for other in [from("198.51.100.8", 50_000), from("198.51.100.7", 50_001), from("2001:db8::7", 50_000)] {
        assert_eq!(tokens.check(at(100), VERSION_1, other, &cid(2), &token), Verdict::Invalid, "{other:?}");
    }
    assert_eq!(tokens.check(at(100), VERSION_1, client(), &cid(1), &token), Verdict::Invalid, "another id");
    assert_eq!(tokens.check(at(100), VERSION_2, client(), &cid(2), &token), Verdict::Invalid, "another version (B18)");
    assert_eq!(check(&mut tokens, 116, &token), Verdict::Invalid, "too old");
    let mut other_key = Tokens::new(&[6; 32], UNIX);
    assert_eq!(check(&mut other_key, 100, &token), Verdict::Invalid, "another key");
    for len in 1..token.len() {
        assert_eq!(check(&mut tokens, 100, &token[..len]), Verdict::Invalid, "{len} bytes");
    }
}

/// Shows 9000-8.1.4-4, 9000-8.1.3-15 and 9369-tls-resumption-and-new-token-tokens-2.
#[test]
fn attack_b4_a_new_token_is_good_for_its_address_version_and_week() {
    let mut tokens = tokens();
    let token = new_token(&tokens);
    let week = limits::NEW_TOKEN_LIFETIME.as_secs();
    assert_eq!(proved(check(&mut tokens, 100, &token)), Some(None));
    assert_eq!(proved(tokens.check(at(100), VERSION_1, from("198.51.100.7", 9), &cid(9), &token)), Some(None), "any port");
    assert_eq!(proved(check(&mut tokens, 100 + week, &token)), Some(None));
    assert_eq!(check(&mut tokens, 101 + week, &token), Verdict::Nothing, "too old");
    assert_eq!(tokens.check(at(100), VERSION_1, from("198.51.100.8", 50_000), &cid(9), &token), Verdict::Nothing);
    assert_eq!(tokens.check(at(100), VERSION_2, client(), &cid(9), &token), Verdict::Nothing);
    assert_eq!(check(&mut Tokens::new(&[6; 32], UNIX), 100, &token), Verdict::Nothing, "another key");
    for foreign in [[].as_slice(), &[0], &[0xff; 80]] {
        assert_eq!(check(&mut tokens, 100, foreign), Verdict::Nothing, "a token of somebody else");
    }
}

/// multipath MP-29: one token names several addresses of a client, up to four.
#[test]
fn attack_b4_a_new_token_is_good_for_each_address_it_names_and_for_no_other() {
    let mut tokens = tokens();
    let addresses: Vec<std::net::IpAddr> = ["198.51.100.7", "2001:db8::7", "192.0.2.9", "203.0.113.1", "203.0.113.2"].map(|ip| ip.parse().unwrap()).into();
    let token = tokens.for_later(at(100), &mut random(), VERSION_1, &addresses).unwrap();
    assert!(token.len() <= limits::TOKEN_LEN / 2, "{} bytes", token.len());
    for (index, ip) in addresses.iter().enumerate() {
        let verdict = tokens.check(at(100), VERSION_1, FourTuple { remote: (*ip, 9).into(), ..client() }, &cid(9), &token);
        assert_eq!(proved(verdict).is_some(), index < limits::TOKEN_ADDRESSES, "{ip}");
    }
    assert_eq!(tokens.for_later(at(100), &mut random(), VERSION_1, &[]), None);
}

#[test]
fn attack_b4_a_token_of_one_kind_is_none_of_the_other() {
    let mut tokens = tokens();
    let mut token = new_token(&tokens);
    token[0] = RETRY;
    assert_eq!(check(&mut tokens, 100, &token), Verdict::Invalid);
    let mut token = retry_token(&tokens);
    token[0] = NEW_TOKEN;
    assert_eq!(check(&mut tokens, 100, &token), Verdict::Nothing);
}

/// Shows 9000-8.1.4-6 and 9000-8.1.4-8.
#[test]
fn attack_b4_a_token_opens_one_connection() {
    let mut tokens = tokens();
    for (token, after) in [(retry_token(&tokens), Verdict::Invalid), (new_token(&tokens), Verdict::Nothing)] {
        let Verdict::Proved(proof) = check(&mut tokens, 100, &token) else { panic!("the token is good") };
        tokens.spend(at(100), &proof);
        assert_eq!(check(&mut tokens, 101, &token), after);
    }
}

#[test]
fn attack_j12_tokens_outlive_a_restart_and_stand_a_clock_that_is_five_minutes_off() {
    let token = new_token(&tokens());
    let skew = limits::TOKEN_CLOCK_SKEW;
    for (unix_at_zero, good) in [(UNIX + skew * 100, true), (UNIX + Duration::from_secs(100) - skew, true), (UNIX + Duration::from_secs(99) - skew, false)] {
        let mut restarted = Tokens::new(&SECRET, unix_at_zero);
        assert_eq!(proved(check(&mut restarted, 0, &token)).is_some(), good, "{unix_at_zero:?}");
    }
}

#[test]
fn used_tokens_are_remembered_in_two_buckets_as_long_as_they_could_be_good() {
    let mut used = Used::new(Duration::from_secs(15));
    let period = used.period.as_secs();
    used.add(at(0), 1);
    assert!(!used.is_fresh(at(period - 1), 1));
    assert!(!used.is_fresh(at(period), 1), "in the previous bucket");
    assert!(!used.is_fresh(at(2 * period - 1), 1));
    assert!(used.is_fresh(at(2 * period), 1), "no token is good for so long");
    used.add(at(2 * period), 2);
    assert!(used.is_fresh(at(9 * period), 2), "after a long silence both buckets are empty");
    assert!(used.previous.is_empty());
}

/// attacks L19, R2.
#[test]
fn a_full_bucket_takes_no_more_tokens() {
    let mut used = Used::new(Duration::from_secs(15));
    for name in 0..limits::USED_TOKENS as u64 {
        assert!(used.is_fresh(at(0), name));
        used.add(at(0), name);
    }
    assert!(!used.is_fresh(at(0), u64::MAX));
    assert_eq!(used.current.len(), limits::USED_TOKENS);
}
