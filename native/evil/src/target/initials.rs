//! First packets: of a client to a server, of a server to a client, and datagrams of any kind (attacks A1 to A17, B1, B4, B6, B10).

use std::{collections::BTreeMap, net::SocketAddr, sync::{Arc, OnceLock}, time::Duration};

use qbase::{
    Ecn, EncryptionLevel, FourTuple, PathId, Role, Timestamp, VERSION_1, VERSION_2, Writer,
    frame::{self, Frame},
    limits,
    packet::{LongHeader, LongKind, long},
};
use qconnection::{Endpoint, EndpointConfig, RetryPolicy, SendLimits, ServerConfig, TransportConfig};
use qcrypto::{Keys, Session, TokenKey};

use super::{assembler, food::Food, parsers::{START, addresses, cid}};
use crate::{
    encode,
    ends::{self, NAME},
    own_cid,
    stage::{Act, Play, Stage},
    wire::{self, Envelope},
};

/// A server that was never attacked, its time, and what went to and fro by address.
struct Target {
    now: Timestamp,
    server: Endpoint,
    /// Bytes received from an address and sent to it.
    ledger: BTreeMap<SocketAddr, (u64, u64)>,
    buffer: Vec<u8>,
}

impl Target {
    fn new(config: Arc<ServerConfig>) -> Self {
        let mut server = Endpoint::new(EndpointConfig { secret: [3; 32], ..EndpointConfig::default() }, [3; 32]);
        server.listen(Some(config));
        Self { now: START, server, ledger: BTreeMap::new(), buffer: vec![0; 65_535] }
    }

    fn hear(&mut self, four_tuple: FourTuple, mut datagram: Vec<u8>) {
        self.ledger.entry(four_tuple.remote).or_default().0 += datagram.len() as u64;
        self.server.handle_datagram(self.now, four_tuple, Ecn::NotEct, &mut datagram);
        self.pump();
    }

    fn pump(&mut self) {
        let sends = SendLimits::default();
        for round in 0..10_000 {
            while self.server.poll_event().is_some() {}
            let Some(burst) = self.server.poll_transmit(self.now, &mut self.buffer, &sends) else { return };
            assembler::check(&burst, &self.buffer, &sends);
            self.server.on_submitted(&burst, burst.segments, self.now);
            let (received, sent) = self.ledger.entry(burst.four_tuple.remote).or_default();
            *sent += burst.len as u64;
            assert!(*sent <= 3 * *received, "{sent} bytes for {received} of an address nobody proved");
            assert!(round < 9_999, "the server never stops to send");
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            let Some((at, _)) = self.server.next_timer().filter(|(at, _)| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(at);
            self.server.on_timer(self.now);
            self.pump();
        }
        unreachable!("time stands still");
    }

    /// Nothing is left of anything once all timeouts are over.
    fn finish(mut self) {
        self.wait(Duration::from_secs(120));
        let left = self.server.statistics();
        assert_eq!((left.connections, left.routes, left.reset_tokens, left.pool_bytes_used, left.half_open), (0, 0, 0, 0, 0));
    }
}

/// Settings of a server that asks everyone to prove the address.
fn suspicious() -> Arc<ServerConfig> {
    static CONFIG: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    let make = || {
        let (_, server) = ends::configs(1, TransportConfig::default(), TransportConfig::default()).unwrap_or_else(|failure| unreachable!("{failure}"));
        Arc::new(ServerConfig { retry: RetryPolicy::Always, ..ServerConfig::clone(&server) })
    };
    Arc::clone(CONFIG.get_or_init(make))
}

/// A token in an Initial packet that nobody can decrypt: it opens no connection, whatever it is.
pub(super) fn token(garbage: &[u8], content: &[u8], version: u8) {
    let key = TokenKey::new(&[3; 32]);
    let mut target = Target::new(suspicious());
    let sealed = [0xb1, 0xb2].map(|kind| key.seal(kind, [5; 16], content).unwrap_or_default());
    for token in [garbage, &sealed[0], &sealed[1]] {
        let header = LongHeader {
            kind: LongKind::Initial { token },
            version: if version & 1 == 0 { VERSION_1 } else { VERSION_2 },
            dcid: cid(b"original"),
            scid: own_cid(PathId::ZERO, 0),
        };
        let mut datagram = vec![0; (header.size(4) + 64).max(limits::MIN_INITIAL)];
        let len = datagram.len();
        let mut writer = Writer::new(&mut datagram);
        let start = header.write(&mut writer, 0, 4);
        let _ = long::patch_length(&mut datagram, start.length_offset, len - start.pn_offset);
        target.hear(addresses(1), datagram);
    }
    assert!(target.server.is_empty(), "a connection without a client");
}

/// Packets with the keys of Initial packets to a server: any payload, or the pieces of a ClientHello with any parameters.
pub fn client_initial(data: &[u8]) {
    let mut food = Food::new(data);
    let choice = food.byte();
    let (client, server) = ends::configs(1, TransportConfig::default(), TransportConfig::default()).unwrap_or_else(|failure| unreachable!("{failure}"));
    let mut target = Target::new(server);
    let original = cid(b"original");
    let version = if choice & 1 == 0 { VERSION_1 } else { VERSION_2 };
    let keys = Keys::initial(VERSION_1, &original, Role::Client);
    let mut hello = Vec::new();
    if choice & 2 != 0 {
        let parameters = food.piece();
        if let Ok(mut tls) = Session::client(&client.tls, NAME, parameters, version) {
            let _ = tls.write(&mut hello);
        }
    }
    let mut number = 0;
    while !food.is_empty() && number < 200 {
        let choice = food.byte();
        let payload = match choice & 3 {
            0 => food.piece().to_vec(),
            1 => {
                let (at, change) = (usize::from(food.short()), food.byte());
                if let Some(byte) = hello.get_mut(at) {
                    *byte ^= change;
                }
                continue;
            }
            2 => {
                let start = usize::from(food.short()).min(hello.len());
                let end = (start + usize::from(food.short()) % 1_100).min(hello.len());
                encode(&[Frame::Crypto(frame::Crypto { offset: start as u64, data: &hello[start..end] })])
            }
            _ => {
                target.wait(Duration::from_millis(food.number() % 20_000));
                continue;
            }
        };
        let scid = own_cid(PathId::ZERO, u64::from(choice >> 7));
        let envelope = Envelope { level: EncryptionLevel::Initial, path: PathId::ZERO, dcid: original, scid, number, first_bits: choice & 0xc };
        number += 1;
        let Ok(mut packet) = wire::seal_long(&envelope, &keys, &payload) else { continue };
        packet.resize(packet.len().max(limits::MIN_INITIAL), 0);
        target.hear(addresses(choice >> 4 & 1), packet);
    }
    target.finish();
}

/// Packets of an evil server before the client has its flight: Initial payloads, Retry, versions, anything.
pub fn server_initial(data: &[u8]) {
    let mut food = Food::new(data);
    let mut stage = Stage::new(&Play::from(Act::Silence)).unwrap_or_else(|failure| unreachable!("{failure}"));
    let flight = stage.flight.clone();
    let mut packets = 0;
    while !food.is_empty() && packets < 100 && stage.connection().is_ok() {
        packets += 1;
        let choice = food.byte();
        let datagram = match choice & 7 {
            0..=2 => {
                let level = if choice & 0x10 == 0 { EncryptionLevel::Initial } else { EncryptionLevel::Handshake };
                stage.evil.seal(level, PathId::ZERO, None, choice >> 4 & 0xc, food.piece()).ok()
            }
            3 => Some(food.piece().to_vec()),
            4 => {
                let mut datagram = vec![0; 1_400];
                let mut writer = Writer::new(&mut datagram);
                let scid = own_cid(PathId::ZERO, u64::from(choice >> 4));
                let to = stage.evil.remote.unwrap_or_default();
                qbase::packet::retry::write(&mut writer, VERSION_1, &to, &scid, food.piece());
                let len = writer.len();
                datagram.truncate(len);
                let tag: [u8; 16] = std::array::from_fn(|_| food.byte());
                datagram.extend_from_slice(&tag);
                Some(datagram)
            }
            5 | 6 => {
                let pick = usize::from(choice >> 4) % flight.len().max(1);
                let (at, change, start) = (usize::from(food.short()), food.byte(), usize::from(food.short()));
                flight.get(pick).and_then(|(level, offset, bytes)| {
                    let mut bytes = bytes.clone();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= change;
                    }
                    let start = if start < bytes.len() { start } else { 0 };
                    let piece = &bytes[start..bytes.len().min(start + 1_000)];
                    let crypto = Frame::Crypto(frame::Crypto { offset: offset + start as u64, data: piece });
                    stage.evil.seal(*level, PathId::ZERO, None, 0, &encode(&[crypto])).ok()
                })
            }
            _ => {
                expect_peace(stage.wait(Duration::from_millis(food.number() % 20_000)));
                None
            }
        };
        if let Some(datagram) = datagram {
            expect_peace(stage.deliver(datagram));
        }
    }
    expect_peace(stage.wait(Duration::from_secs(120)));
    let left = stage.client.statistics();
    assert_eq!((left.connections, left.routes, left.reset_tokens, left.pool_bytes_used), (0, 0, 0, 0));
}

/// Panics if the machine never stops or time stands still; an evil end that understands nothing is no finding.
pub(super) fn expect_peace(result: Result<(), qsim::Failure>) {
    if let Err(failure) = result {
        let text = failure.to_string();
        assert!(!text.contains("never stops") && !text.contains("stands still"), "{text}");
    }
}

/// Any datagrams from any of four addresses to a server, with time between them.
pub fn datagrams(data: &[u8]) {
    let mut food = Food::new(data);
    let (client, server) = ends::configs(1, TransportConfig::default(), TransportConfig::default()).unwrap_or_else(|failure| unreachable!("{failure}"));
    let mut target = Target::new(server);
    let mut clients = Endpoint::new(EndpointConfig::default(), [4; 32]);
    let mut heard: Vec<Vec<u8>> = Vec::new();
    let mut buffer = vec![0; 65_535];
    let mut steps = 0;
    while !food.is_empty() && steps < 200 {
        steps += 1;
        let choice = food.byte();
        match choice & 7 {
            0 | 1 => target.hear(addresses(choice >> 3), food.piece().to_vec()),
            2 => {
                let mut datagram = food.piece().to_vec();
                datagram.resize(limits::MIN_INITIAL, choice);
                target.hear(addresses(choice >> 3), datagram);
            }
            3 if heard.len() < 20 => {
                let _ = clients.connect(target.now, &client, NAME, crate::arena::reverse(addresses(choice >> 3)));
                while let Some(burst) = clients.poll_transmit(target.now, &mut buffer, &SendLimits::default()) {
                    clients.on_submitted(&burst, burst.segments, target.now);
                    heard.extend(buffer[..burst.len].chunks(burst.segment_size).map(<[u8]>::to_vec));
                }
            }
            4 | 5 => {
                // A client's datagram, whole, cut or changed, perhaps for the hundredth time, from any address.
                let pick = usize::from(food.byte());
                let (at, change, cut) = (usize::from(food.short()), food.byte(), usize::from(food.short()));
                if let Some(datagram) = heard.get(pick % heard.len().max(1)) {
                    let mut datagram = datagram.clone();
                    if let Some(byte) = datagram.get_mut(at) {
                        *byte ^= change;
                    }
                    datagram.truncate(if choice & 0x80 == 0 { usize::MAX } else { cut });
                    target.hear(addresses(choice >> 3), datagram);
                }
            }
            6 => target.wait(Duration::from_millis(food.number() % 40_000)),
            _ => {
                // To a connection's own id, as far as one knows it: the id of the first Initial.
                let mut datagram = food.piece().to_vec();
                if let (Some(first), Some(to)) = (heard.first(), datagram.get_mut(..14)) {
                    to.copy_from_slice(&first[..14]);
                    target.hear(addresses(choice >> 3), datagram);
                }
            }
        }
    }
    target.finish();
}

