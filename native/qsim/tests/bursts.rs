//! What bursts look like on the wire of a whole connection (burst sections 3, 4, 5 and 16).

use crate::common;

use common::{delay, for_each_seed, secs};
use qbase::{Direction::Unidirectional, Role, packet::PacketType};
use qconnection::TransportConfig;
use qevent::{BurstRecord, Event, Record, TraceMask};
use qsim::{Failure, Pair, PairConfig};

/// Runs a two-path transfer and collects every burst of both ends.
fn bursts_of(seed: u64, config: PairConfig) -> Result<Vec<(Role, BurstRecord)>, Failure> {
    let mut pair = Pair::new(PairConfig { seed, ..config })?;
    pair.client_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.server_mut().traffic_mut().send(Unidirectional, 300_000);
    let mut bursts = Vec::new();
    for _ in 0..100_000 {
        for role in [Role::Client, Role::Server] {
            let Some(connection) = pair.host_mut(role).connection_mut() else { continue };
            connection.set_trace(TraceMask::BURSTS);
            while let Some(Record { event, .. }) = connection.poll_trace() {
                if let Event::BurstSent(burst) = event {
                    bursts.push((role, *burst));
                }
            }
        }
        // Looking at a connection gives it a turn; time moves between the looks.
        for _ in 0..4 {
            if pair.is_all_delivered() {
                return Ok(bursts);
            }
            pair.step()?;
        }
    }
    Err(Failure::new(format!("seed {seed}: not delivered")))
}

fn two_links() -> PairConfig {
    PairConfig::new(0, vec![delay(8).at_rate(20_000_000).with_loss(0.01), delay(12).at_rate(20_000_000).with_loss(0.01)])
}

#[test]
fn segments_of_a_burst_are_equal_and_only_the_last_may_be_shorter() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let bursts = bursts_of(seed, two_links())?;
        assert!(bursts.iter().any(|(_, burst)| burst.segments.len() >= 8), "seed {seed}: bursts are worth the name");
        for (role, burst) in &bursts {
            let (last, others) = burst.segments.split_last().expect("a burst has a segment");
            assert!(others.iter().all(|segment| segment.bytes == burst.segment_bytes), "seed {seed} {role:?}: {burst:?} (burst B-4)");
            assert!(last.bytes <= burst.segment_bytes, "seed {seed} {role:?}: {burst:?} (burst B-15)");
            assert_eq!(burst.bytes, burst.segments.iter().map(|segment| segment.bytes).sum::<u32>(), "seed {seed}");
        }
        Ok(())
    })
}

#[test]
fn packets_are_coalesced_in_the_order_of_their_levels_with_1rtt_last() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let rank = |kind| match kind {
            PacketType::Initial => 0,
            PacketType::Handshake => 1,
            _ => 2,
        };
        let bursts = bursts_of(seed, two_links())?;
        let segments = || bursts.iter().flat_map(|(_, burst)| &burst.segments);
        for segment in segments() {
            let ranks: Vec<_> = segment.packets.iter().map(|packet| rank(packet.kind)).collect();
            assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {segment:?} (burst B-20)");
        }
        assert!(segments().any(|segment| segment.packets.len() > 1), "seed {seed}: something is coalesced");
        Ok(())
    })
}

#[test]
fn datagrams_with_an_initial_packet_have_1200_bytes_unless_a_server_only_acknowledges() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        for (role, burst) in bursts_of(seed, two_links())? {
            for segment in burst.segments.iter().filter(|segment| segment.packets.iter().any(|packet| packet.kind == PacketType::Initial)) {
                let eliciting = segment.packets.iter().any(|packet| packet.ack_eliciting);
                assert!(segment.bytes >= 1_200 || (role == Role::Server && !eliciting), "seed {seed} {role:?}: {segment:?} (burst B-50)");
                let padded: Vec<_> = segment.packets.iter().map(|packet| packet.padding_bytes > 16).collect();
                assert!(padded.iter().rev().skip(1).all(|padded| !padded), "seed {seed}: only the last packet is padded: {segment:?}");
            }
        }
        Ok(())
    })
}

#[test]
fn path_challenges_and_responses_travel_in_datagrams_of_1200_bytes() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let mut seen = 0;
        for (role, burst) in bursts_of(seed, two_links())? {
            for segment in &burst.segments {
                let names = || segment.packets.iter().flat_map(|packet| &packet.frames);
                if names().any(|name| *name == "PATH_CHALLENGE" || *name == "PATH_RESPONSE") {
                    seen += 1;
                    assert!(segment.bytes >= 1_200, "seed {seed} {role:?}: {segment:?} (burst B-52)");
                }
                if names().any(|name| *name == "NEW_CONNECTION_ID") && !names().any(|name| name.starts_with("PATH_C") || *name == "STREAM" || name.starts_with("PATH_R")) {
                    assert!(segment.packets.iter().all(|packet| packet.kind != PacketType::OneRtt || packet.padding_bytes <= 16 || segment.packets.len() > 1), "burst E10: {segment:?}");
                }
            }
        }
        // The server answers and asks in one datagram.
        assert!(seen >= 3, "seed {seed}: both ends validate the second path");
        Ok(())
    })
}

#[test]
fn a_socket_without_gso_gets_one_segment_a_burst() -> Result<(), Failure> {
    let mut config = two_links();
    config.limits.max_segments = 1;
    for (_, burst) in bursts_of(3, config)? {
        assert_eq!(burst.segments.len(), 1);
    }
    Ok(())
}

#[test]
fn a_large_first_flight_stops_at_three_times_what_the_client_sent() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let client = TransportConfig { initial_mtu: 1_300, ..TransportConfig::default() };
        let mut pair = Pair::new(PairConfig { client, ..PairConfig::new(seed, vec![delay(10)]) })?;
        pair.run_until(|pair| pair.server().sent().bursts > 0, secs(1))?;
        let sent = pair.server().sent();
        assert!(sent.bytes <= 3 * sent.received_bytes, "seed {seed}: {sent:?} (burst B-17)");
        pair.run_until_confirmed(secs(5)).map(|_| ())
    })
}
