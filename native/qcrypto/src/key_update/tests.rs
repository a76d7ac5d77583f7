//! Key updates between two ends, one of which may break the rules (RFC 9001 §6; attacks A21, B23, B24).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use proptest::prelude::*;
use qbase::{VERSION_1, limits::TAG_LEN};

use super::*;
use crate::{
    KeyChange, PacketKey,
    testing::{handshake, options, sessions},
};

const HEADER_LEN: usize = 5;
const PTO: Duration = Duration::from_millis(100);
const P0: PathId = PathId(0);
const P1: PathId = PathId(1);

/// One end with its packet numbers, acting as a connection would.
struct End {
    keys: OneRttKeys,
    next: [u64; 4],
    largest: [Option<u64>; 4],
}

/// A packet under way.
#[derive(Clone)]
struct Packet {
    path: PathId,
    number: u64,
    bytes: Vec<u8>,
    /// Largest numbers of the receiver's packets that it acknowledges.
    acks: [Option<u64>; 4],
}

impl End {
    fn new(keys: OneRttKeys) -> Self {
        Self { keys, next: [0; 4], largest: [None; 4] }
    }

    fn send(&mut self, path: PathId) -> Packet {
        let number = self.next[path.0 as usize];
        self.next[path.0 as usize] += 1;
        let packet = self.seal(path, number).unwrap();
        for (path, largest) in (0..).zip(self.largest) {
            if let Some(largest) = largest {
                self.keys.on_ack_sent(PathId(path), largest);
            }
        }
        Packet { acks: self.largest, ..packet }
    }

    /// Without acknowledgments and with any number.
    fn seal(&mut self, path: PathId, number: u64) -> Result<Packet, TransportError> {
        let first = if self.keys.seal_phase() == KeyPhase::One { 0x44 } else { 0x40 };
        let mut bytes = vec![first, 0, 0, 0, 0, b'd', b'a', b't', b'a'];
        bytes.extend([0; TAG_LEN]);
        self.keys.seal(path, number, &mut bytes, HEADER_LEN)?;
        Ok(Packet { path, number, bytes, acks: [None; 4] })
    }

    fn receive(&mut self, packet: &Packet) -> Result<Generation, OpenError> {
        self.receive_at(packet, Timestamp::ZERO)
    }

    fn receive_at(&mut self, packet: &Packet, now: Timestamp) -> Result<Generation, OpenError> {
        let largest = &mut self.largest[packet.path.0 as usize];
        let incoming = Incoming {
            path: packet.path,
            number: packet.number,
            phase: KeyPhase::of(packet.bytes[0]),
            largest: *largest,
        };
        let mut bytes = packet.bytes.clone();
        let opened = self.keys.open(incoming, &mut bytes, HEADER_LEN)?;
        assert_eq!(&bytes[opened.plaintext], b"data");
        *largest = (*largest).max(Some(packet.number));
        if opened.generation == Generation::Fresh {
            self.keys.keep_previous_until(now + 3 * PTO);
        }
        for (path, acked) in (0..).zip(packet.acks) {
            if let Some(acked) = acked {
                self.keys
                    .on_ack_received(PathId(path), acked, opened.generation, now, PTO)
                    .map_err(OpenError::Close)?;
            }
        }
        Ok(opened.generation)
    }
}

/// Client and server after a confirmed handshake.
fn pair() -> (End, End) {
    let (mut client, mut server) = unconfirmed_pair();
    client.keys.on_confirmed();
    server.keys.on_confirmed();
    (client, server)
}

fn unconfirmed_pair() -> (End, End) {
    let of = |role, local: u8, remote: u8| {
        End::new(OneRttKeys::from_secrets(Cipher::Aes128Gcm, VERSION_1, role, &[local; 32], &[remote; 32]))
    };
    (of(Role::Client, 1, 2), of(Role::Server, 2, 1))
}

/// A pair after one complete update that the client began.
fn updated_pair() -> (End, End) {
    let (mut client, mut server) = pair();
    server.receive(&client.send(P0)).unwrap();
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    assert_eq!(server.receive(&client.send(P0)), Ok(Generation::Fresh));
    assert_eq!(client.receive(&server.send(P0)), Ok(Generation::Fresh));
    (client, server)
}

fn is_key_update_error<T: std::fmt::Debug>(result: Result<T, OpenError>) -> bool {
    matches!(result, Err(OpenError::Close(TransportError { code: ErrorCode::KEY_UPDATE_ERROR, .. })))
}

fn code<T>(result: Result<T, TransportError>) -> Option<ErrorCode> {
    result.err().map(|error| error.code)
}

const DROPPED: Result<Generation, OpenError> = Err(OpenError::Drop(CryptoError::Open));

#[test]
fn first_phase_is_zero_and_opens_both_ways() {
    let (mut client, mut server) = pair();
    assert_eq!(client.keys.seal_phase(), KeyPhase::Zero);
    assert_eq!(server.receive(&client.send(P0)), Ok(Generation::Current));
    assert_eq!(client.receive(&server.send(P1)), Ok(Generation::Current));
    assert_eq!(client.keys.next_timer(), None);
}

#[test]
fn update_is_answered_by_the_next_packet() {
    let (mut client, mut server) = pair();
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    assert_eq!(client.keys.seal_phase(), KeyPhase::One);
    assert_eq!(server.receive(&client.send(P0)), Ok(Generation::Fresh));
    assert_eq!(server.keys.seal_phase(), KeyPhase::One);
    assert_eq!(client.receive(&server.send(P0)), Ok(Generation::Fresh));
    assert_eq!(server.receive(&client.send(P0)), Ok(Generation::Current));
    assert_eq!((client.keys.updates(), server.keys.updates()), (1, 1));
}

#[test]
fn both_ends_may_begin_the_same_update() {
    let (mut client, mut server) = pair();
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    server.keys.initiate_update(Timestamp::ZERO).unwrap();
    assert_eq!(server.receive(&client.send(P0)), Ok(Generation::Fresh));
    assert_eq!(client.receive(&server.send(P0)), Ok(Generation::Fresh));
    assert_eq!((client.keys.updates(), server.keys.updates()), (1, 1));
}

#[test]
fn update_waits_for_confirmation() {
    let (mut client, _) = unconfirmed_pair();
    assert_eq!(client.keys.initiate_update(Timestamp::ZERO), Err(UpdateRefused::Unconfirmed));
    client.keys.on_confirmed();
    assert_eq!(client.keys.initiate_update(Timestamp::ZERO), Ok(()));
}

#[test]
fn second_update_waits_for_acknowledgment_and_3_pto() {
    let (mut client, mut server) = pair();
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    let now = Timestamp::from_millis(50);
    assert_eq!(client.keys.initiate_update(now), Err(UpdateRefused::Unacknowledged));

    server.receive(&client.send(P0)).unwrap();
    client.receive_at(&server.send(P0), now).unwrap();
    let until = now + 3 * PTO;
    assert_eq!(client.keys.initiate_update(now), Err(UpdateRefused::TooSoon { until }));
    assert_eq!(client.keys.initiate_update(until), Ok(()));
}

#[test]
fn acknowledgment_of_older_packets_does_not_complete_an_update() {
    let (mut client, mut server) = pair();
    server.receive(&client.send(P0)).unwrap();
    let old_ack = server.send(P0);
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    client.send(P0);
    client.receive(&old_ack).unwrap();
    assert_eq!(client.keys.initiate_update(Timestamp::FAR_FUTURE), Err(UpdateRefused::Unacknowledged));
}

/// attacks B23; RFC 9001 §6.1.
#[test]
fn attack_b23_server_refuses_an_update_before_confirmation() {
    let (mut client, mut server) = unconfirmed_pair();
    client.keys.rotate();
    assert!(is_key_update_error(server.receive(&client.send(P0))));
}

/// HANDSHAKE_DONE may arrive after the first packet of the new phase.
#[test]
fn client_takes_an_update_before_handshake_done() {
    let (mut client, mut server) = unconfirmed_pair();
    server.keys.on_confirmed();
    server.keys.initiate_update(Timestamp::ZERO).unwrap();
    assert_eq!(client.receive(&server.send(P0)), Ok(Generation::Fresh));
}

/// attacks B23; RFC 9001 §6.2.
#[test]
fn attack_b23_second_update_of_the_peer_without_our_acknowledgment_is_an_error() {
    let (mut client, mut server) = pair();
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    server.receive(&client.send(P0)).unwrap();
    client.keys.rotate();
    assert!(is_key_update_error(server.receive(&client.send(P0))));
}

#[test]
fn acknowledgment_of_an_old_packet_does_not_permit_a_second_update_of_the_peer() {
    let (mut client, mut server) = pair();
    let old = client.send(P1);
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    server.receive(&client.send(P0)).unwrap();
    assert_eq!(server.receive(&old), Ok(Generation::Previous));
    server.keys.on_ack_sent(P1, old.number);
    client.keys.rotate();
    assert!(is_key_update_error(server.receive(&client.send(P0))));
}

#[test]
fn second_update_of_the_peer_after_our_acknowledgment_is_answered() {
    let (mut client, mut server) = updated_pair();
    client.keys.initiate_update(Timestamp::ZERO + 3 * PTO).unwrap();
    assert_eq!(server.receive(&client.send(P0)), Ok(Generation::Fresh));
    assert_eq!(client.receive(&server.send(P0)), Ok(Generation::Fresh));
    assert_eq!((client.keys.updates(), server.keys.updates()), (2, 2));
    assert_eq!(client.keys.seal_phase(), KeyPhase::Zero);
}

#[test]
fn delayed_packet_opens_until_3_pto_have_passed() {
    let (mut client, mut server) = pair();
    let (first, second) = (client.send(P0), client.send(P0));
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    let now = Timestamp::from_millis(7);
    server.receive_at(&client.send(P0), now).unwrap();
    let until = now + 3 * PTO;
    assert_eq!(server.keys.next_timer(), Some(until));

    server.keys.on_timer(until - Duration::from_nanos(1));
    assert_eq!(server.receive(&first), Ok(Generation::Previous));
    server.keys.on_timer(until);
    assert_eq!(server.receive(&second), DROPPED);
    assert_eq!(server.keys.next_timer(), None);
}

#[test]
fn old_keys_stay_until_the_peer_answers() {
    let (mut client, mut server) = pair();
    let late = server.send(P0);
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    client.keys.keep_previous_until(Timestamp::ZERO);
    client.keys.on_timer(Timestamp::FAR_FUTURE);
    assert_eq!(client.receive(&late), Ok(Generation::Previous));
}

/// attacks B23; RFC 9001 §6.4.
#[test]
fn attack_b23_old_keys_on_a_newer_number_are_an_error_in_both_orders() {
    let (mut client, mut server) = pair();
    let old = client.seal(P0, 10).unwrap();
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    let new = client.seal(P0, 9).unwrap();
    server.receive(&new).unwrap();
    assert!(is_key_update_error(server.receive(&old)));

    // The old one first, and the new phase known from another path.
    let (mut client, mut server) = pair();
    let old = client.seal(P0, 10).unwrap();
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    let (elsewhere, new) = (client.seal(P1, 0).unwrap(), client.seal(P0, 9).unwrap());
    server.receive(&elsewhere).unwrap();
    server.receive(&old).unwrap();
    assert!(is_key_update_error(server.receive(&new)));
}

/// attacks B23: "on old pn".
#[test]
fn attack_b23_new_keys_on_an_old_number_are_an_error() {
    let (mut client, mut server) = pair();
    server.receive(&client.seal(P0, 10).unwrap()).unwrap();
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    assert!(is_key_update_error(server.receive(&client.seal(P0, 9).unwrap())));
}

/// multipath MP-34.
#[test]
fn phases_meet_on_each_path_by_its_own_numbers() {
    let (mut client, mut server) = pair();
    let delayed: Vec<Packet> = (0..5).map(|_| client.send(P1)).collect();
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    // Number 0 of the new phase on path 0 says nothing of path 1.
    assert_eq!(server.receive(&client.send(P0)), Ok(Generation::Fresh));
    for packet in &delayed[..4] {
        assert_eq!(server.receive(packet), Ok(Generation::Previous));
    }
    assert_eq!(server.receive(&client.send(P1)), Ok(Generation::Current));
    assert_eq!(server.receive(&delayed[4]), Ok(Generation::Previous));
}

#[test]
fn next_update_may_be_seen_first_on_a_path_that_missed_the_last_one() {
    let (mut client, mut server) = updated_pair();
    client.keys.initiate_update(Timestamp::ZERO + 3 * PTO).unwrap();
    // The server has not dropped its previous keys yet and knows nothing of path 1.
    assert_eq!(server.receive(&client.send(P1)), Ok(Generation::Fresh));
}

#[test]
fn new_keys_acknowledged_under_old_keys_are_an_error() {
    let (mut client, mut server) = pair();
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    let number = client.send(P0).number;
    let mut liar = server.send(P0);
    liar.acks[0] = Some(number);
    assert!(is_key_update_error(client.receive(&liar)));
}

/// attacks A21; multipath MP-33.
#[test]
fn integrity_limit_is_exact_over_all_paths() {
    let (mut client, server) = pair();
    let limits = AeadLimits { confidentiality: u64::MAX, integrity: 5 };
    let mut server = End::new(server.keys.with_limits(limits));
    for path in [P0, P1, PathId(2), P0] {
        let mut forged = client.send(path);
        forged.bytes[6] ^= 1;
        assert_eq!(server.receive(&forged), DROPPED);
    }
    assert_eq!(server.keys.open_failures(), 4);
    server.receive(&client.send(P0)).unwrap();
    let mut forged = client.send(P1);
    forged.bytes[6] ^= 1;
    let error = server.receive(&forged).unwrap_err();
    assert!(matches!(error, OpenError::Close(TransportError { code: ErrorCode::AEAD_LIMIT_REACHED, .. })));
}

#[test]
fn failures_at_other_levels_count() {
    let (client, _) = pair();
    let mut keys = client.keys.with_limits(AeadLimits { confidentiality: u64::MAX, integrity: 5 });
    assert_eq!(keys.on_open_failures(4), Ok(()));
    assert_eq!(code(keys.on_open_failures(1)), Some(ErrorCode::AEAD_LIMIT_REACHED));
}

#[test]
fn truncated_packets_are_dropped_and_not_counted() {
    let (mut client, mut server) = pair();
    let mut packet = client.send(P0);
    packet.bytes.truncate(HEADER_LEN + TAG_LEN - 1);
    for first in [0x40, 0x44] {
        packet.bytes[0] = first;
        assert_eq!(server.receive(&packet), Err(OpenError::Drop(CryptoError::TooShort)));
    }
    assert_eq!(server.keys.open_failures(), 0);
}

/// attacks B24.
#[test]
fn keys_are_updated_before_the_confidentiality_limit() {
    let (client, server) = pair();
    let limits = AeadLimits { confidentiality: 40 + CLOSE_RESERVE, integrity: u64::MAX };
    let (mut client, mut server) = (End::new(client.keys.with_limits(limits)), server);
    let mut now = Timestamp::ZERO;
    for _ in 0..1_000 {
        now += Duration::from_millis(10);
        client.keys.on_timer(now);
        server.keys.on_timer(now);
        client.keys.update_if_due(now);
        assert!(client.keys.sealed() < 40);
        server.receive_at(&client.send(P0), now).unwrap();
        client.receive_at(&server.send(P0), now).unwrap();
    }
    assert!(client.keys.updates() > 20);
    assert_eq!(client.keys.updates(), server.keys.updates());
}

/// attacks B24; multipath MP-33.
#[test]
fn attack_b24_without_an_update_the_confidentiality_limit_is_exact_over_all_paths() {
    let (client, _) = pair();
    let limits = AeadLimits { confidentiality: 20, integrity: u64::MAX };
    let mut client = End::new(client.keys.with_limits(limits));
    for number in 0..6 {
        client.seal(P0, number).unwrap();
        client.seal(P1, number).unwrap();
    }
    assert_eq!(code(client.seal(P0, 6)), Some(ErrorCode::AEAD_LIMIT_REACHED));
    let mut seal_close = |number| client.keys.seal_close(P0, number, &mut [0; 40], HEADER_LEN);
    for number in 7..15 {
        assert_eq!(seal_close(number), Ok(()));
    }
    assert_eq!(code(seal_close(15)), Some(ErrorCode::AEAD_LIMIT_REACHED));
}

#[test]
fn limits_are_never_raised() {
    let (client, _) = pair();
    let keys = client.keys.with_limits(AeadLimits { confidentiality: u64::MAX, integrity: u64::MAX });
    assert_eq!(keys.limits, AeadLimits { confidentiality: 1 << 23, integrity: 1 << 52 });
}

/// A key that counts how often it is tried.
struct CountedKey {
    key: PacketKey,
    trials: Arc<AtomicU64>,
}

impl rustls::quic::PacketKey for CountedKey {
    fn encrypt_in_place(&self, _: u64, _: &[u8], _: &mut [u8]) -> Result<rustls::quic::Tag, rustls::Error> {
        Err(rustls::Error::EncryptError)
    }

    fn decrypt_in_place<'a>(&self, _: u64, _: &[u8], _: &'a mut [u8]) -> Result<&'a [u8], rustls::Error> {
        Err(rustls::Error::DecryptError)
    }

    fn decrypt_in_place_for_path<'a>(
        &self,
        path: u32,
        number: u64,
        header: &[u8],
        payload: &'a mut [u8],
    ) -> Result<&'a [u8], rustls::Error> {
        self.trials.fetch_add(1, Ordering::Relaxed);
        let mut packet = [header, payload].concat();
        let plaintext =
            self.key.open(PathId(path), number, &mut packet, header.len()).map_err(|_| rustls::Error::DecryptError)?;
        payload.copy_from_slice(&packet[header.len()..]);
        Ok(&payload[..plaintext.len()])
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        u64::MAX
    }

    fn integrity_limit(&self) -> u64 {
        u64::MAX
    }
}

struct CountedSource {
    inner: Box<dyn KeySource>,
    trials: Arc<AtomicU64>,
}

impl KeySource for CountedSource {
    fn next(&mut self) -> PacketKeys {
        let keys = self.inner.next();
        let remote = CountedKey { key: keys.remote, trials: Arc::clone(&self.trials) };
        PacketKeys { local: keys.local, remote: PacketKey::new(Box::new(remote)) }
    }
}

/// attacks B23: at most 2 AEAD trials per packet, in every state of an update and for every number.
#[test]
fn attack_b23_noise_in_the_phase_bit_costs_at_most_one_extra_trial() {
    let trials = Arc::new(AtomicU64::new(0));
    let (mut client, _) = pair();
    let (local, remote) = ([2; 32], [1; 32]);
    let secret = |bytes: &[u8; 32]| Secret::new(Cipher::Aes128Gcm, VERSION_1, bytes);
    let mut source = CountedSource {
        inner: Box::new(BareSecrets { local: secret(&local), remote: secret(&remote) }),
        trials: Arc::clone(&trials),
    };
    let first = source.next();
    let keys = Keys {
        local: crate::DirectionKeys { packet: first.local, ..secret(&local).keys() },
        remote: crate::DirectionKeys { packet: first.remote, ..secret(&remote).keys() },
    };
    let mut server = End::new(OneRttKeys::new(keys, Role::Server, Box::new(source)));
    server.keys.on_confirmed();

    let mut most = 0;
    let mut noise = |server: &mut End| {
        for number in 0..20 {
            for path in [P0, P1] {
                for first in [0x40, 0x44] {
                    let bytes = vec![first; 60];
                    let before = trials.load(Ordering::Relaxed);
                    let packet = Packet { path, number, bytes, acks: [None; 4] };
                    assert_eq!(server.receive(&packet), DROPPED);
                    most = most.max(trials.load(Ordering::Relaxed) - before);
                }
            }
        }
    };
    noise(&mut server);
    client.next = [5; 4];
    server.receive(&client.send(P0)).unwrap();
    noise(&mut server);
    client.keys.initiate_update(Timestamp::ZERO).unwrap();
    server.receive(&client.send(P0)).unwrap();
    noise(&mut server);
    client.receive(&server.send(P0)).unwrap();
    server.keys.on_timer(Timestamp::FAR_FUTURE);
    noise(&mut server);
    server.receive(&client.send(P0)).unwrap();
    server.keys.initiate_update(Timestamp::FAR_FUTURE).unwrap();
    noise(&mut server);
    assert_eq!(client.receive(&server.send(P0)), Ok(Generation::Fresh));
    assert_eq!(most, 2);
}

#[test]
fn keys_of_a_tls_session_update_many_times() {
    let (client, server) = options();
    let (client, server) = sessions(&client, &server);
    let (client, server, result) = handshake(client, server);
    assert_eq!(result, Ok(()));
    let keys = |changes: Vec<KeyChange>| {
        changes.into_iter().find_map(|change| match change {
            KeyChange::OneRtt(keys) => Some(End::new(*keys)),
            KeyChange::Handshake(_) => None,
        })
    };
    let (mut client, mut server) = (keys(client.changes).unwrap(), keys(server.changes).unwrap());
    client.keys.on_confirmed();
    server.keys.on_confirmed();
    let mut now = Timestamp::ZERO;
    for round in 0..6 {
        let initiator = if round % 2 == 0 { &mut client } else { &mut server };
        initiator.keys.initiate_update(now).unwrap();
        for _ in 0..3 {
            server.receive_at(&client.send(P1), now).unwrap();
            client.receive_at(&server.send(P1), now).unwrap();
        }
        assert_eq!((client.keys.updates(), server.keys.updates()), (round + 1, round + 1));
        now += 3 * PTO;
        client.keys.on_timer(now);
        server.keys.on_timer(now);
    }
}

/// What happens next in a random run.
#[derive(Clone, Debug)]
enum Step {
    Send(bool, u32),
    Deliver(prop::sample::Index),
    Lose(prop::sample::Index),
    Update(bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), 0_u32..4).prop_map(|(client, path)| Step::Send(client, path)),
        4 => any::<prop::sample::Index>().prop_map(Step::Deliver),
        1 => any::<prop::sample::Index>().prop_map(Step::Lose),
        1 => any::<bool>().prop_map(Step::Update),
        1 => (0_u64..400).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever the network does to them, two ends that follow the rules never close the connection, and they agree on
    /// the keys whenever all is delivered.
    #[test]
    fn honest_ends_never_accuse_each_other(steps in prop::collection::vec(step(), 0..300)) {
        let (mut client, mut server) = pair();
        let mut under_way: Vec<(bool, Packet)> = Vec::new();
        let mut now = Timestamp::ZERO;
        for step in steps {
            match step {
                Step::Send(from_client, path) => {
                    let from = if from_client { &mut client } else { &mut server };
                    under_way.push((from_client, from.send(PathId(path))));
                }
                Step::Deliver(which) if !under_way.is_empty() => {
                    let (from_client, packet) = under_way.remove(which.index(under_way.len()));
                    let to = if from_client { &mut server } else { &mut client };
                    let result = to.receive_at(&packet, now);
                    prop_assert!(!matches!(result, Err(OpenError::Close(_))), "{result:?}");
                }
                Step::Lose(which) if !under_way.is_empty() => {
                    under_way.remove(which.index(under_way.len()));
                }
                Step::Update(by_client) => {
                    let by = if by_client { &mut client } else { &mut server };
                    let _ = by.keys.initiate_update(now);
                }
                Step::Pass(millis) => {
                    now += Duration::from_millis(millis);
                    client.keys.on_timer(now);
                    server.keys.on_timer(now);
                }
                Step::Deliver(_) | Step::Lose(_) => {}
            }
        }
        for _ in 0..2 {
            prop_assert!(server.receive_at(&client.send(P0), now).is_ok());
            prop_assert!(client.receive_at(&server.send(P0), now).is_ok());
        }
        prop_assert_eq!(client.keys.updates(), server.keys.updates());
    }
}
