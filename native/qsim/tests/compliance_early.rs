//! MUSTs about 0-RTT packets as an observer sees them (docs/compliance).

use qbase::{Direction, Role, VERSION_1, VERSION_2, limits::LOCAL_CID_LEN, packet::{FixedBit, PacketType, ProtectedHeader}};
use qconnection::{Connection, RetryPolicy, connection::events::EarlyStatus};
use qevent::{Event as Traced, Record, TraceMask};
use qsim::{Failure, Pair, PairConfig, pair::TlsSetup};

use crate::common;
use common::{FIRST, delay, secs};

/// Kind and version of every packet that was sent, in order, with its sender.
fn packets(pair: &Pair) -> Vec<(Role, PacketType, u32)> {
    let mut all = Vec::new();
    for (four_tuple, bytes) in pair.network().kept() {
        let from = if *four_tuple == Pair::four_tuple(FIRST, Role::Client) { Role::Server } else { Role::Client };
        let mut rest = &bytes[..];
        while let Ok(header) = ProtectedHeader::parse_with(rest, LOCAL_CID_LEN, FixedBit::Ignored) {
            rest = rest.get(header.end..).unwrap_or_default();
            all.push((from, header.kind, header.version));
        }
    }
    all
}

/// The server refuses an EndOfEarlyData message (`end_of_early_data_is_an_unexpected_message` in `qcrypto`): none was sent.
///
/// Shows 9000-13.2.6-3, 9000-17.2.3-3, 9001-5.6-5, 9001-5.6-8, 9001-8.3-1 and 9369-compatible-negotiation-requirements-10.
#[test]
fn early_packets_come_from_the_client_alone_and_never_after_its_first_1rtt_packet() -> Result<(), Failure> {
    for versions in [vec![VERSION_1, VERSION_2], vec![VERSION_2, VERSION_1]] {
        let tls = TlsSetup { early_data: true, ..TlsSetup::default() };
        let first = versions.first().copied().unwrap_or_default();
        let config = PairConfig { client_versions: versions.clone(), server_versions: versions, ..PairConfig::new(1, vec![delay(10)]) };
        let mut pair = Pair::new(PairConfig { tls, ..config })?;
        pair.finish_first()?;
        pair.network_mut().keep_payloads();
        pair.redial()?;
        pair.client_mut().traffic_mut().send(Direction::Bidirectional, 12_000);
        pair.run_until_delivered(secs(2))?;
        pair.client_mut().traffic_mut().send(Direction::Bidirectional, 12_000);
        pair.run_until_delivered(secs(2))?;
        let facts = |connection: &Connection| (connection.early_status(), connection.stream_facts().unacked_bytes());
        pair.run_for(secs(1))?;
        assert_eq!(pair.client().connection().map(facts), Some((EarlyStatus::Accepted, 0)), "taken and acknowledged");

        let all = packets(&pair);
        let early: Vec<_> = all.iter().filter(|(_, kind, _)| *kind == PacketType::ZeroRtt).collect();
        assert!(early.len() > 5 && early.iter().all(|(from, _, version)| (*from, *version) == (Role::Client, first)));
        let of_client: Vec<PacketType> = all.iter().filter(|(from, ..)| *from == Role::Client).map(|(_, kind, _)| *kind).collect();
        let ready = of_client.iter().position(|kind| *kind == PacketType::OneRtt).unwrap_or_default();
        assert!(ready > 0 && !of_client[ready..].contains(&PacketType::ZeroRtt), "{of_client:?}");
    }
    Ok(())
}

/// Shows 9000-17.2.3-2.
#[test]
fn early_data_sent_again_after_a_retry_has_new_packet_numbers() -> Result<(), Failure> {
    let tls = TlsSetup { early_data: true, ..TlsSetup::default() };
    let mut pair = Pair::new(PairConfig { tls, retry: RetryPolicy::Always, ..PairConfig::new(1, vec![delay(10)]) })?;
    pair.finish_first()?;
    pair.redial()?;
    pair.client_mut().traffic_mut().send(Direction::Bidirectional, 5_000);
    let mut packets = Vec::new();
    while !pair.is_all_delivered() {
        if let Some(connection) = pair.client_mut().connection_mut() {
            connection.set_trace(TraceMask::BURSTS);
            while let Some(Record { event, .. }) = connection.poll_trace() {
                let Traced::BurstSent(burst) = event else { continue };
                packets.extend(burst.segments.into_iter().flat_map(|segment| segment.packets));
            }
        }
        for _ in 0..3 {
            if !pair.is_all_delivered() {
                pair.step()?;
            }
        }
    }
    assert!(pair.client().connection().is_some_and(Connection::used_retry));
    let early: Vec<u64> = packets.iter().filter(|packet| packet.kind == PacketType::ZeroRtt).map(|packet| packet.number).collect();
    assert!(early.len() >= 8, "5,000 bytes twice: {early:?}");
    assert!(early.windows(2).all(|pair| pair[0] < pair[1]), "{early:?}");
    Ok(())
}
