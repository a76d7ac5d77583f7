//! Traces of bursts and acknowledgements as JSON (`src/binding/burst-records.ts`, `NativeAcks`).
//!
//! Called only while JavaScript listens. What JavaScript does not drain in time is dropped and counted by the machine.

use qbase::{Ecn, SpaceId};
use qevent::{AckRecord, BlockedRecord, BurstRecord, Event, PacketRecord, Record, SegmentRecord, TraceMask};
use qconnection::Endpoint;
use qdriver::Io;
use serde::Serialize;

use super::{Engine, outbox::Outbox, remote::Addresses};
use crate::queue::layout::Kind;

/// Bits of `Trace` as the machine's.
pub(super) fn mask(bits: u8) -> TraceMask {
    let bursts = if bits & 1 != 0 { TraceMask::BURSTS } else { TraceMask::NONE };
    let acks = if bits & 2 != 0 { TraceMask::ACKS } else { TraceMask::NONE };
    bursts | acks
}

impl Engine {
    /// Hands traces over as long as JavaScript keeps up.
    pub(super) fn tell_trace(&mut self, io: &mut Io<'_>, key: u32) {
        let Some(handle) = self.table.get(key).map(|connection| connection.handle) else { return };
        while !self.out.records.is_full() {
            let Some(record) = io.endpoint.connection_mut(handle).and_then(|machine| machine.poll_trace()) else { return };
            tell(&mut self.out, key, &record, io.endpoint);
        }
    }
}

fn tell(out: &mut Outbox, key: u32, record: &Record, endpoint: &Endpoint) {
    let at_ms = out.at_ms(record.at);
    match &record.event {
        Event::BurstSent(burst) => out.json(Kind::Trace, key, &Burst::of(burst, at_ms, endpoint)),
        Event::BurstBlocked(blocked) => {
            let wake_at_ms = blocked.wake_at.map(|at| out.at_ms(at));
            out.json(Kind::Trace, key, &Blocked::of(blocked, at_ms, wake_at_ms));
        }
        Event::AckReceived(ack) => out.json(Kind::Acks, key, &Acks::of(ack, at_ms)),
        _ => {}
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Burst<'a> {
    kind: &'static str,
    at_ms: f64,
    path: Option<u32>,
    local: String,
    remote: String,
    segment_bytes: u32,
    segments: Vec<Segment<'a>>,
    bytes: u32,
    ecn: &'static str,
    submitted: u16,
    reason: &'a str,
    ended_by: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Segment<'a> {
    bytes: u32,
    forward_header_bytes: u32,
    packets: Vec<Packet<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Packet<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    number: u64,
    bytes: u32,
    padding_bytes: u32,
    ack_eliciting: bool,
    in_flight: bool,
    frames: &'a [&'static str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blocked {
    kind: &'static str,
    at_ms: f64,
    path: Option<u32>,
    signals: Vec<&'static str>,
    wake_at_ms: Option<f64>,
    timer: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Acks {
    space: &'static str,
    path: u32,
    at_ms: f64,
    ranges: Vec<(u64, u64)>,
    ack_delay_ms: f64,
    via: u32,
    newly_acknowledged: u64,
    lost: Vec<u64>,
    rtt_ms: Option<f64>,
    ecn: Option<EcnCounts>,
}

#[derive(Serialize)]
struct EcnCounts {
    ect0: u64,
    ect1: u64,
    ce: u64,
}

impl<'a> Burst<'a> {
    fn of(burst: &'a BurstRecord, at_ms: f64, endpoint: &Endpoint) -> Self {
        let Addresses { local, remote } = Addresses::of(endpoint, burst.four_tuple);
        Self {
            kind: "burst",
            at_ms,
            path: burst.path.map(|path| path.0),
            local,
            remote,
            segment_bytes: burst.segment_bytes,
            segments: burst.segments.iter().map(Segment::of).collect(),
            bytes: burst.bytes,
            ecn: ecn_name(burst.ecn),
            submitted: burst.submitted,
            reason: &burst.reason,
            ended_by: burst.ended_by.name(),
        }
    }
}

impl<'a> Segment<'a> {
    fn of(segment: &'a SegmentRecord) -> Self {
        Self {
            bytes: segment.bytes,
            forward_header_bytes: segment.forward_header_bytes,
            packets: segment.packets.iter().map(Packet::of).collect(),
        }
    }
}

impl<'a> Packet<'a> {
    fn of(packet: &'a PacketRecord) -> Self {
        Self {
            kind: packet.type_name(),
            number: packet.number,
            bytes: packet.bytes,
            padding_bytes: packet.padding_bytes,
            ack_eliciting: packet.ack_eliciting,
            in_flight: packet.in_flight,
            frames: &packet.frames,
        }
    }
}

impl Blocked {
    fn of(blocked: &BlockedRecord, at_ms: f64, wake_at_ms: Option<f64>) -> Self {
        Self {
            kind: "blocked",
            at_ms,
            path: blocked.path.map(|path| path.0),
            signals: blocked.signals.names().collect(),
            wake_at_ms,
            timer: blocked.timer.map(qevent::TimerName::name),
        }
    }
}

impl Acks {
    fn of(ack: &AckRecord, at_ms: f64) -> Self {
        let (space, path) = match ack.space {
            SpaceId::Initial => ("initial", 0),
            SpaceId::Handshake => ("handshake", 0),
            SpaceId::Application(path) => ("application", path.0),
        };
        Self {
            space,
            path,
            at_ms,
            ranges: ack.ranges.iter().map(|range| (*range.start(), *range.end())).collect(),
            ack_delay_ms: ack.ack_delay.as_secs_f64() * 1e3,
            via: ack.via.0,
            newly_acknowledged: ack.newly_acknowledged,
            lost: ack.lost.clone(),
            rtt_ms: ack.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
            ecn: ack.ecn.map(|counts| EcnCounts { ect0: counts.ect0, ect1: counts.ect1, ce: counts.ce }),
        }
    }
}

const fn ecn_name(ecn: Ecn) -> &'static str {
    match ecn {
        Ecn::NotEct => "not-ect",
        Ecn::Ect0 => "ect0",
        Ecn::Ect1 => "ect1",
        Ecn::Ce => "ce",
    }
}
