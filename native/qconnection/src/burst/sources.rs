//! What can put frames into an open packet, in order (burst section 4).
//!
//! Called by the segment writer. Each source writes what fits, records it, and leaves the rest for the next packet.

use super::{acknowledge::write_ack, record::{SentFrame, Weight}};
use crate::{
    connection::Connection,
    path::{PathEntry, PathState, scheduler::Scheduler},
    stream::{Asker, Takes},
};
use qbase::{
    EncryptionLevel, FourTuple, PathId, Timestamp, Writer,
    frame::{self, crypto},
};
use qrecovery::{datagram::Carrier, flow::Tempo};

/// What this packet may hold beside acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allow {
    /// Frames that count in flight (burst B-43).
    pub in_flight: bool,
    /// PINGs that a PTO owes: as many packets as it owes and no more (RFC 9002 §6.2.4).
    pub probe: bool,
    /// Control frames of the connection and stream data: the scheduler chose this path.
    pub data: bool,
    /// Acknowledgements that are not due yet may ride along.
    pub bundle: bool,
    /// Some path has packets to acknowledge; else no packet of the burst looks for one.
    pub acks: bool,
    /// Control frames wait; else no packet of the burst looks for one.
    pub control: bool,
    /// The packet is a path MTU probe with this name and holds nothing else (burst B-56).
    pub mtu_probe: Option<u32>,
}

/// An open packet: the writer and the records of what went in.
#[derive(Debug)]
pub(crate) struct Frames<'w, 'b> {
    /// Room for frames, the tag excluded.
    pub(crate) writer: &'w mut Writer<'b>,
    /// Records of all packets of the burst.
    pub(crate) list: &'w mut Vec<SentFrame>,
    /// How the packet counts.
    pub(crate) weight: Weight,
}

impl Frames<'_, '_> {
    /// Books an ack-eliciting frame that was just written.
    fn book(&mut self, frame: SentFrame) {
        self.list.push(frame);
        self.weight = Weight { ack_eliciting: true, in_flight: true };
    }

    /// Writes a frame of `size` bytes if it fits.
    pub(crate) fn put(&mut self, size: usize, frame: SentFrame, write: impl FnOnce(&mut Writer<'_>)) -> bool {
        if self.writer.remaining() < size {
            return false;
        }
        write(self.writer);
        self.book(frame);
        true
    }
}

impl Connection {
    /// Writes the frames of one packet.
    pub(crate) fn write_frames(&mut self, now: Timestamp, level: EncryptionLevel, path: PathId, allow: Allow, frames: &mut Frames<'_, '_>) {
        match level {
            EncryptionLevel::OneRtt => self.write_one_rtt(now, path, allow, frames),
            EncryptionLevel::ZeroRtt => self.write_zero_rtt(now, path, allow, frames),
            _ => self.write_handshake(now, level, allow, frames),
        }
    }

    /// ACK, CRYPTO and, for a PTO, PING.
    fn write_handshake(&mut self, now: Timestamp, level: EncryptionLevel, allow: Allow, frames: &mut Frames<'_, '_>) {
        let id = level.space(PathId::ZERO);
        let Some(space) = self.space_mut(level, PathId::ZERO) else { return };
        write_ack(space, id, None, now, frames);
        if !allow.in_flight {
            return;
        }
        let probe = allow.probe && space.probes_owed > 0;
        self.write_crypto(level, frames);
        if probe && !frames.weight.ack_eliciting {
            // Each probe carries what the peer lacks: a server that missed the ClientHello makes nothing of a PING.
            self.offer_again(level, PathId::ZERO, 2);
            self.write_crypto(level, frames);
        }
        if probe && !frames.weight.ack_eliciting {
            frames.put(1, SentFrame::Ping, |writer| writer.u8(0x01));
        }
    }

    /// The sources of a 0-RTT packet (row 2): what streams owe, messages (RFC 9221 §3), and stream bytes.
    fn write_zero_rtt(&mut self, now: Timestamp, path: PathId, allow: Allow, frames: &mut Frames<'_, '_>) {
        if !allow.in_flight {
            return;
        }
        self.streams.begin_early();
        self.write_stream_control(now, frames);
        self.write_payload(Asker::chosen(path), frames);
        self.streams.end_early();
    }

    /// The sources of a 1-RTT packet (rows 4a and 4b).
    fn write_one_rtt(&mut self, now: Timestamp, path: PathId, allow: Allow, frames: &mut Frames<'_, '_>) {
        if let Some(id) = allow.mtu_probe {
            frames.put(1, SentFrame::MtuProbe { path, id }, |writer| writer.u8(0x01));
            self.write_immediate_ack(frames);
            return;
        }
        if allow.acks {
            self.write_acks(now, path, allow, frames);
        }
        if !self.sends_data() {
            // Before that only 0-RTT packets are acknowledged (burst B-27).
            return;
        }
        if self.handshake_complete {
            self.write_path_frames(now, path, allow, frames);
        }
        let Some(entry) = self.paths.get(path) else { return };
        let probe = allow.probe && entry.network.as_deref().is_some_and(|network| network.space.probes_owed > 0);
        let open = entry.state == PathState::Open;
        if probe && allow.in_flight {
            // Probes are sent to hear from the peer: it need not wait for more of them (draft-ietf-quic-ack-frequency §7).
            self.write_immediate_ack(frames);
        }
        if allow.in_flight && open {
            self.write_echo(now, path, frames);
            if self.traversal.is_some() {
                self.write_observation(path, frames);
            }
            if allow.data {
                if allow.control {
                    self.write_crypto(EncryptionLevel::OneRtt, frames);
                    self.write_control(now, frames);
                }
                self.write_payload(Asker { path, takes: Takes::All }, frames);
            } else {
                self.write_payload(Asker { path, takes: Takes::Pinned }, frames);
            }
            // Copies take what fresh data leave (scheduler `redundant`): together the paths are never slower than without. Who
            // decides from outside has them at once, where fresh data does not go.
            if !self.streams.has_shared() || (!allow.data && self.scheduling.outside.copies_to(path)) {
                self.write_duplicates(path, frames);
            }
        }
        if probe && allow.in_flight && !frames.weight.ack_eliciting {
            frames.put(1, SentFrame::Ping, |writer| writer.u8(0x01));
        }
    }

    /// The PING of an application that wants to know the round-trip time of this path.
    fn write_echo(&mut self, now: Timestamp, path: PathId, frames: &mut Frames<'_, '_>) {
        if let Some(network) = self.network_mut(path).filter(|network| network.ping_owed) {
            network.ping_owed = !frames.put(1, SentFrame::Echo { path, sent_at: now }, |writer| writer.u8(0x01));
        }
    }

    /// IMMEDIATE_ACK, where the peer takes it.
    fn write_immediate_ack(&self, frames: &mut Frames<'_, '_>) {
        if self.asks_for_acks() {
            frames.put(1, SentFrame::ImmediateAck, |writer| writer.u8(0x1f));
        }
    }

    /// PATH_CHALLENGE and PATH_RESPONSE of this path (burst B-30).
    fn write_path_frames(&mut self, now: Timestamp, path: PathId, allow: Allow, frames: &mut Frames<'_, '_>) {
        let in_flight = self.bytes_in_flight(path);
        let is_open = self.paths.get(path).is_some_and(|entry| entry.state == PathState::Open);
        let mut answered = false;
        let Some(network) = self.network_mut(path) else { return };
        let may_respond = allow.in_flight || network.may_respond(in_flight);
        if let Some(validation) = &mut network.validation
            && frames.writer.remaining() >= 9
            && let Some(data) = validation.take_challenge(now)
        {
            frame::PathChallenge { data }.write(frames.writer);
            frames.book(SentFrame::PathChallenge);
        }
        while may_respond && frames.writer.remaining() >= 9 {
            let four_tuple = network.four_tuple;
            let Some(data) = network.responses.pop_for(four_tuple) else { break };
            frame::PathResponse { data }.write(frames.writer);
            frames.book(SentFrame::PathResponse);
            answered = true;
        }
        // Who asks whether we are still here gets a packet that does not only probe (RFC 9000 §9.3.3).
        if answered && is_open {
            frames.put(1, SentFrame::Ping, |writer| writer.u8(0x01));
        }
    }

    /// PATH_CHALLENGE and PATH_RESPONSE between other addresses than the path's own. They count neither in flight nor as
    /// asking for an acknowledgement: what is measured on the way they go says nothing of the path's (RFC 9000 §9.4).
    pub(crate) fn write_aside(&mut self, now: Timestamp, path: PathId, four_tuple: FourTuple, frames: &mut Frames<'_, '_>) {
        let Some(network) = self.network_mut(path) else { return };
        let side = network.sides_mut().find(|side| side.four_tuple == four_tuple);
        if let Some(data) = side.and_then(|side| side.validation.as_mut()).and_then(|validation| validation.take_challenge(now)) {
            frame::PathChallenge { data }.write(frames.writer);
            frames.list.push(SentFrame::PathChallenge);
        }
        while frames.writer.remaining() >= 9 {
            let Some(data) = network.responses.pop_for(four_tuple) else { return };
            frame::PathResponse { data }.write(frames.writer);
            frames.list.push(SentFrame::PathResponse);
        }
    }

    fn write_crypto(&mut self, level: EncryptionLevel, frames: &mut Frames<'_, '_>) {
        let Some(stream) = self.crypto_stream(level) else { return };
        while stream.has_pending() {
            let room = frames.writer.remaining();
            // Type, offset and length in their longest useful form leave at least one byte of data.
            let Some(room) = room.checked_sub(1 + 8 + 2).filter(|room| *room > 0) else { return };
            let Some((offset, len)) = stream.next_range(room) else { return };
            crypto::write_header(frames.writer, offset, len);
            if let Some(space) = frames.writer.reserve(len) {
                stream.copy_range(offset, space);
            }
            frames.book(SentFrame::Crypto { level, offset, len: len as u32 });
        }
    }

    /// Reliable frames of the connection and of all path ids.
    fn write_control(&mut self, now: Timestamp, frames: &mut Frames<'_, '_>) {
        if self.control.handshake_done && frames.put(1, SentFrame::HandshakeDone, |writer| writer.u8(0x1e)) {
            self.control.handshake_done = false;
        }
        if let Some((frame, serial)) = self.control.new_token.owed()
            && frames.put(frame.size(), SentFrame::NewToken { serial }, |writer| frame.write(writer))
        {
            self.control.new_token.on_written();
        }
        if self.control.ping && frames.put(1, SentFrame::Ping, |writer| writer.u8(0x01)) {
            self.control.ping = false;
        }
        if let Some(frame) = self.ack_wishes.owed()
            && frames.put(frame.size(), SentFrame::AckFrequency { sequence: frame.sequence }, |writer| frame.write(writer))
        {
            self.ack_wishes.on_written();
        }
        if self.traversal.is_some() {
            self.write_letters(frames);
        }
        self.write_path_limits(frames);
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at) else { break };
            self.write_path_control(path, frames);
        }
        self.write_stream_control(now, frames);
    }

    /// Limits, resets and the like of streams.
    fn write_stream_control(&mut self, now: Timestamp, frames: &mut Frames<'_, '_>) {
        let tempo = Tempo { now, round_trip: self.longest_round_trip(), several_paths: self.paths.open_count() > 1 };
        let Frames { writer, list, weight } = frames;
        self.streams.write_control(tempo, writer, &mut |record| {
            list.push(SentFrame::Stream(record));
            *weight = Weight { ack_eliciting: true, in_flight: true };
        });
    }

    fn write_path_limits(&mut self, frames: &mut Frames<'_, '_>) {
        if !self.path_mode.has_paths() {
            return;
        }
        if self.paths.maximum_owed
            && let Some(maximum) = self.paths.local_maximum
        {
            let frame = frame::MaxPathId { maximum };
            self.paths.maximum_owed = !frames.put(frame.size(), SentFrame::MaxPathId, |writer| frame.write(writer));
        }
        if self.paths.blocked_owed
            && let Some(maximum) = self.paths.peer_maximum
        {
            let frame = frame::PathsBlocked { maximum };
            self.paths.blocked_owed = !frames.put(frame.size(), SentFrame::PathsBlocked, |writer| frame.write(writer));
        }
        while let Some(path) = self.control.cids_blocked.front().copied() {
            let next_sequence = self.paths.get(path).map_or(0, |entry| entry.remote_cids.next_sequence());
            let frame = frame::PathCidsBlocked { path, next_sequence };
            if !frames.put(frame.size(), SentFrame::PathCidsBlocked(path), |writer| frame.write(writer)) {
                return;
            }
            self.control.cids_blocked.pop_front();
        }
    }

    /// PATH_ABANDON, connection ids and status of one path id.
    fn write_path_control(&mut self, path: PathId, frames: &mut Frames<'_, '_>) {
        let multipath = self.path_mode.has_paths();
        let Some(entry) = self.paths.get_mut(path) else { return };
        if let Some(abandon) = &mut entry.abandon
            && abandon.owed
        {
            let frame = frame::PathAbandon { path, code: abandon.code };
            abandon.owed = !frames.put(frame.size(), SentFrame::PathAbandon(path), |writer| frame.write(writer));
        }
        let wire = multipath.then_some(path);
        while let Some(issued) = entry.local_cids.next_pending() {
            let frame = frame::NewConnectionId {
                path: wire,
                sequence: issued.sequence,
                retire_prior_to: entry.local_cids.retire_prior_to(issued.sequence),
                cid: issued.cid,
                reset_token: issued.token,
            };
            let record = SentFrame::NewCid { path, sequence: issued.sequence };
            if !frames.put(frame.size(), record, |writer| frame.write(writer)) {
                return;
            }
            entry.local_cids.on_written(issued.sequence);
        }
        while let Some(sequence) = entry.remote_cids.next_retirement() {
            let frame = frame::RetireConnectionId { path: wire, sequence };
            if !frames.put(frame.size(), SentFrame::RetireCid { path, sequence }, |writer| frame.write(writer)) {
                return;
            }
            entry.remote_cids.on_retirement_written(sequence);
        }
        if let (true, Some((status, sequence))) = (multipath, entry.status.owed()) {
            let frame = frame::PathStatus { path, status, sequence };
            if frames.put(frame.size(), SentFrame::PathStatus { path, sequence }, |writer| frame.write(writer)) {
                entry.status.on_written(sequence);
            }
        }
    }

    /// Messages or stream data wait that such a packet of `path` may carry.
    pub(crate) fn has_payload(&self, path: PathId, allow: Allow) -> bool {
        (allow.data && (self.streams.has_shared() || self.datagrams.send.has_shared())) || self.streams.has_pinned(path)
    }

    /// Messages and stream data, messages first unless a stream is more urgent (burst B-28).
    fn write_payload(&mut self, asker: Asker, frames: &mut Frames<'_, '_>) {
        if self.datagrams.send.is_empty() {
            return self.write_streams(asker, frames);
        }
        let up_to = self.streams.most_urgent(asker).unwrap_or(u8::MAX);
        let carrier = |up_to| Carrier { path: asker.path, shared: asker.takes == Takes::All, up_to };
        self.write_datagrams(carrier(up_to), frames);
        self.write_streams(asker, frames);
        self.write_datagrams(carrier(u8::MAX), frames);
    }

    /// DATAGRAM frames, as many as fit.
    fn write_datagrams(&mut self, carrier: Carrier, frames: &mut Frames<'_, '_>) {
        while frames.writer.remaining() > 0 {
            let Some(id) = self.datagrams.send.write(carrier, frames.writer) else { return };
            frames.book(SentFrame::Datagram { id, path: carrier.path });
        }
    }

    /// Stream data; the scheduler or the plan may want copies of it on other open paths.
    fn write_streams(&mut self, asker: Asker, frames: &mut Frames<'_, '_>) {
        let before = frames.list.len();
        let Frames { writer, list, weight } = frames;
        self.streams.write_data(asker, writer, &mut |record| {
            list.push(SentFrame::Stream(record));
            *weight = Weight { ack_eliciting: true, in_flight: true };
        });
        let planned = self.scheduling.outside.copies();
        let redundant = self.config.scheduler == Scheduler::Redundant;
        if planned.map_or(redundant, |paths| !paths.is_empty()) {
            let Self { paths, streams, .. } = self;
            let wanted = |entry: &PathEntry| entry.id != asker.path && entry.state == PathState::Open && planned.is_none_or(|planned| planned.contains(&entry.id));
            for entry in paths.iter_mut().filter(|entry| wanted(entry)) {
                if let Some(network) = entry.network.as_deref_mut() {
                    let records = frames.list.get(before..).unwrap_or_default();
                    network.duplicates.extend_bounded(records, |stream| !streams.is_kept(stream));
                }
            }
        }
    }

    /// Copies of data that other paths carried (scheduler `redundant`, plans).
    fn write_duplicates(&mut self, path: PathId, frames: &mut Frames<'_, '_>) {
        let Self { paths, streams, .. } = self;
        let Some(network) = paths.get_mut(path).and_then(|entry| entry.network.as_deref_mut()) else { return };
        let Frames { writer, list, weight } = frames;
        while let Some(record) = network.duplicates.front() {
            if !streams.write_copy(writer, record, &mut |record| {
                list.push(SentFrame::Stream(record));
                *weight = Weight { ack_eliciting: true, in_flight: true };
            }) {
                return;
            }
            network.duplicates.pop();
        }
    }

    /// Frames wait that any open path may carry.
    pub(crate) fn has_control(&self) -> bool {
        let control = &self.control;
        control.handshake_done
            || control.ping
            || control.new_token.is_owed()
            || self.ack_wishes.owed().is_some()
            || self.traversal.as_ref().is_some_and(|part| part.has_letters())
            || self.streams.has_control()
            || self.application.as_ref().is_some_and(|application| application.crypto.has_pending())
            || (self.path_mode.has_paths() && (self.paths.maximum_owed || self.paths.blocked_owed || !control.cids_blocked.is_empty()))
            || self.paths.iter().any(|entry| {
                entry.abandon.is_some_and(|abandon| abandon.owed)
                    || entry.local_cids.has_pending()
                    || entry.remote_cids.has_retirements()
                    || (self.path_mode.has_paths() && entry.status.owed().is_some())
            })
    }

    /// How many control frames wait. None is queued: they follow from the state of what owes them, so each part bounds its
    /// own (attacks L15).
    pub(crate) fn control_waiting(&self) -> usize {
        let control = &self.control;
        let path_limits = usize::from(self.paths.maximum_owed).saturating_add(usize::from(self.paths.blocked_owed));
        let connection = [control.handshake_done, control.ping, self.ack_wishes.owed().is_some()].into_iter().map(usize::from).sum::<usize>();
        let of_path = |entry: &crate::path::PathEntry| {
            let abandon = usize::from(entry.abandon.is_some_and(|abandon| abandon.owed));
            let status = usize::from(self.path_mode.has_paths() && entry.status.owed().is_some());
            let responses = entry.network.as_deref().map_or(0, |network| network.responses.len());
            [abandon, status, responses, entry.local_cids.pending(), entry.remote_cids.retirements()].into_iter().fold(0, usize::saturating_add)
        };
        let paths = self.paths.iter().map(of_path).fold(0, usize::saturating_add);
        let letters = self.traversal.as_ref().map_or(0, |part| part.letters());
        let rest = [path_limits, connection, letters, control.cids_blocked.len(), self.streams.control_waiting()];
        rest.into_iter().fold(paths, usize::saturating_add)
    }
}
