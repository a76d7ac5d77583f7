//! Streams and 0-RTT: which streams it touched, and everything back to the start when the server rejects it
//! (RFC 9001 §4.6.2; burst B-48, E17).
//!
//! Called by the connection. Never knows of packets: those that carried the frames are forgotten elsewhere.

use super::{DIRECTIONS, InitialCredit, Key, Stream, Streams};
use qbase::{Direction, StreamId, param::TransportParameters};

impl Streams {
    /// What is read or written from now on stands in a 0-RTT packet.
    pub(crate) const fn begin_early(&mut self) {
        self.early = true;
    }

    /// It no longer does.
    pub(crate) const fn end_early(&mut self) {
        self.early = false;
    }

    /// Bytes of a live stream came or went in 0-RTT packets: anybody may have sent them before (RFC 9001 §9.2).
    #[must_use]
    pub fn is_early(&self, id: StreamId) -> bool {
        self.map.key(id).and_then(|key| self.map.get(key)).is_some_and(|stream| stream.early)
    }

    /// Bytes of this stream go out in a 0-RTT packet.
    pub(super) fn mark_early(&mut self, key: Key) {
        if let Some(stream) = self.map.get_mut(key) {
            stream.early = true;
        }
    }

    /// The server rejected 0-RTT: it knows of no stream, byte or reset. All of it is sent again under these limits, which
    /// may be lower than those used before. Streams beyond the new limit wait for MAX_STREAMS.
    pub fn rewind(&mut self, parameters: &TransportParameters) {
        self.initial_credit = InitialCredit::new(parameters);
        self.credit.restart(parameters.initial_max_data);
        for (direction, limit) in
            DIRECTIONS.into_iter().zip([parameters.initial_max_streams_bidi, parameters.initial_max_streams_uni])
        {
            self.local.get_mut(direction).credit.relimit(limit);
        }
        let keys: Vec<Key> = self.map.iter_mut().map(|(key, _)| key).collect();
        for key in keys {
            self.rewind_stream(key);
        }
    }

    fn rewind_stream(&mut self, key: Key) {
        let (initial, role) = (self.initial_credit, self.config.role);
        let Some(stream) = self.map.get_mut(key) else { return };
        stream.early = false;
        let limit = self.local.get(stream.id.direction()).credit.limit();
        stream.parked = stream.id.initiator() == role && stream.id.index() >= limit;
        self.parked = self.parked.saturating_add(usize::from(stream.parked));
        if let Some(part) = &mut stream.send {
            self.totals.again = self.totals.again.saturating_sub(part.buffer.lost_bytes());
            self.totals.unsent = self.totals.unsent.saturating_sub(part.buffer.unsent());
            part.rewind(initial.of(stream.id, role));
            self.totals.unsent = self.totals.unsent.saturating_add(part.buffer.unsent());
            if std::mem::take(&mut part.is_blocked) {
                self.totals.blocked = self.totals.blocked.saturating_sub(1);
            }
        }
        if let Some(part) = &mut stream.recv {
            part.stop_lost |= part.state.stop_code().is_some();
        }
        self.settle(key);
    }

    /// As [`Streams::open`], for an application that counts with limits which the end of 0-RTT may have taken back: a
    /// stream beyond the present limit waits for MAX_STREAMS.
    pub fn open_parked(&mut self, direction: Direction) -> StreamId {
        if let Some(id) = self.open(direction) {
            return id;
        }
        let index = self.local.get_mut(direction).open_beyond();
        let id = StreamId::new(self.config.role, direction, index);
        let key = self.create(id);
        if let Some(stream) = self.map.get_mut(key) {
            stream.parked = true;
            self.parked = self.parked.saturating_add(1);
        }
        id
    }

    /// A parked stream stands in no queue.
    pub(super) fn keep_parked(&mut self, key: Key) {
        let Some(stream) = self.map.get_mut(key) else { return };
        if let Some(part) = &mut stream.send {
            self.schedule.drop_fresh(part);
            self.schedule.drop_again(part);
        }
        self.control.lose(&mut stream.control);
    }

    /// The peer allows more streams: those that fit now may be sent.
    pub(super) fn unpark(&mut self) {
        let limit = |direction: Direction| self.local.get(direction).credit.limit();
        let limits = DIRECTIONS.map(limit);
        let fits = |stream: &Stream| {
            DIRECTIONS.into_iter().zip(limits).any(|(direction, limit)| {
                stream.id.direction() == direction && stream.id.index() < limit
            })
        };
        let keys: Vec<Key> =
            self.map.iter_mut().filter(|(_, stream)| stream.parked && fits(stream)).map(|(key, _)| key).collect();
        for key in keys {
            if let Some(stream) = self.map.get_mut(key) {
                stream.parked = false;
                self.parked = self.parked.saturating_sub(1);
            }
            self.settle(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Asker, StreamsConfig};
    use qrecovery::buffer::pool::BufferPool;
    use super::*;
    use crate::stream::StreamRecord;
    use qbase::{PathId, Role, Writer, frame};

    fn limits(streams: u64, stream_data: u64, data: u64) -> TransportParameters {
        TransportParameters {
            initial_max_data: data,
            initial_max_stream_data_bidi_remote: stream_data,
            initial_max_streams_bidi: streams,
            ..TransportParameters::default()
        }
    }

    fn streams() -> Streams {
        Streams::new(StreamsConfig {
            role: Role::Client,
            bidirectional: 10,
            unidirectional: 10,
            stream_window: 1_000,
            connection_window: 1_000,
            max_stream_window: 1_000,
            max_connection_window: 1_000,
            send_buffer: 100_000,
            connection_send_buffer: 100_000,
            reset_delivery: super::super::ResetDelivery::DropUnread,
        })
    }

    /// All that can be sent now, as records.
    fn send_all(streams: &mut Streams) -> Vec<StreamRecord> {
        let mut records = Vec::new();
        let mut buffer = vec![0; 60_000];
        let mut writer = Writer::new(&mut buffer);
        streams.write_control(super::super::tests::TEMPO, &mut writer, &mut |record| records.push(record));
        streams.write_data(Asker::chosen(PathId::ZERO), &mut writer, &mut |record| records.push(record));
        records
    }

    fn data(records: &[StreamRecord]) -> Vec<(u64, u64, u32, bool)> {
        let of = |record: &StreamRecord| match *record {
            StreamRecord::Data { id, offset, len, fin } => Some((id.index(), offset, len, fin)),
            _ => None,
        };
        records.iter().filter_map(of).collect()
    }

    /// burst B-48, E17.
    /// Shows 9001-4.6.2-3.
    #[test]
    fn after_a_rejection_everything_is_sent_once_more_from_the_start() {
        let mut streams = streams();
        streams.on_peer_parameters(&limits(2, 5_000, 5_000));
        streams.begin_early();
        let first = streams.open(Direction::Bidirectional).unwrap();
        streams.write(first, &[1; 300]).unwrap();
        streams.finish(first).unwrap();
        assert_eq!(data(&send_all(&mut streams)), [(0, 0, 300, true)]);
        streams.end_early();
        assert!(streams.is_early(first));
        streams.rewind(&limits(2, 5_000, 5_000));
        assert!(!streams.is_early(first));
        assert_eq!(data(&send_all(&mut streams)), [(0, 0, 300, true)]);
        assert_eq!((streams.queued_bytes(), streams.unacked_bytes(), streams.retransmit_bytes()), (0, 300, 0));
        assert!(send_all(&mut streams).is_empty());
        streams.on_acked(StreamRecord::Data { id: first, offset: 0, len: 300, fin: true });
        assert_eq!(streams.unacked_bytes(), 0);
    }

    #[test]
    fn lower_limits_after_a_rejection_hold_for_bytes_and_streams() {
        let mut streams = streams();
        streams.on_peer_parameters(&limits(3, 5_000, 5_000));
        let opened: Vec<StreamId> = (0..3).map(|_| streams.open(Direction::Bidirectional).unwrap()).collect();
        for id in &opened {
            streams.write(*id, &[1; 300]).unwrap();
        }
        assert_eq!(data(&send_all(&mut streams)).len(), 3);
        streams.rewind(&limits(1, 100, 5_000));
        assert_eq!(data(&send_all(&mut streams)), [(0, 0, 100, false)], "one stream, and 100 bytes of it");
        assert_eq!(streams.open(Direction::Bidirectional), None);
        streams.reset(opened[2], 9).unwrap();
        let parked = send_all(&mut streams);
        assert!(!parked.contains(&StreamRecord::Reset(opened[2])), "a stream beyond the limit is not named");
        streams.on_max_streams(&frame::MaxStreams { direction: Direction::Bidirectional, maximum: 3 }).unwrap();
        let freed = send_all(&mut streams);
        assert_eq!(data(&freed), [(1, 0, 100, false)]);
        assert!(freed.contains(&StreamRecord::Reset(opened[2])));
        streams.on_max_stream_data(&frame::MaxStreamData { stream: opened[0], maximum: 300 }).unwrap();
        assert_eq!(data(&send_all(&mut streams)), [(0, 100, 200, false)]);
    }

    #[test]
    fn what_waits_to_be_told_of_a_stream_waits_on_when_its_limit_is_taken_back() {
        let mut streams = streams();
        streams.on_peer_parameters(&limits(3, 5_000, 5_000));
        let opened: Vec<StreamId> = (0..3).map(|_| streams.open(Direction::Bidirectional).unwrap()).collect();
        for id in &opened {
            streams.write(*id, &[1; 300]).unwrap();
        }
        send_all(&mut streams);
        streams.reset(opened[1], 9).unwrap();
        streams.stop(opened[2], 9, &mut BufferPool::new(1 << 20)).unwrap();
        streams.rewind(&limits(1, 5_000, 5_000));
        let named = |records: &[StreamRecord]| records.contains(&StreamRecord::Reset(opened[1])) || records.contains(&StreamRecord::Stop(opened[2]));
        assert!(!named(&send_all(&mut streams)), "the server would close the connection");
        streams.on_max_streams(&frame::MaxStreams { direction: Direction::Bidirectional, maximum: 3 }).unwrap();
        let freed = send_all(&mut streams);
        assert!(freed.contains(&StreamRecord::Reset(opened[1])) && freed.contains(&StreamRecord::Stop(opened[2])), "{freed:?}");
    }

    #[test]
    fn a_stream_opened_beyond_a_limit_that_was_taken_back_waits_for_it() {
        let mut streams = streams();
        streams.on_peer_parameters(&limits(3, 5_000, 5_000));
        let first = streams.open(Direction::Bidirectional).unwrap();
        streams.write(first, &[1; 10]).unwrap();
        send_all(&mut streams);
        streams.rewind(&TransportParameters::default());
        let second = streams.open_parked(Direction::Bidirectional);
        assert_eq!((second.index(), streams.open(Direction::Bidirectional)), (1, None));
        streams.write(second, &[2; 20]).unwrap();
        streams.finish(second).unwrap();
        assert!(data(&send_all(&mut streams)).is_empty());
        streams.on_peer_parameters(&limits(1, 5_000, 5_000));
        assert_eq!(data(&send_all(&mut streams)), [(0, 0, 10, false)]);
        streams.on_max_streams(&frame::MaxStreams { direction: Direction::Bidirectional, maximum: 2 }).unwrap();
        assert_eq!(data(&send_all(&mut streams)), [(1, 0, 20, true)]);
        assert_eq!(streams.open(Direction::Bidirectional), None);
        streams.on_max_streams(&frame::MaxStreams { direction: Direction::Bidirectional, maximum: 3 }).unwrap();
        assert_eq!(streams.open(Direction::Bidirectional).map(|id| id.index()), Some(2));
    }

    #[test]
    fn a_stream_reset_in_early_data_is_reset_again_with_nothing_sent() {
        let mut streams = streams();
        streams.on_peer_parameters(&limits(3, 5_000, 5_000));
        let id = streams.open(Direction::Bidirectional).unwrap();
        streams.write(id, &[1; 300]).unwrap();
        send_all(&mut streams);
        streams.reset(id, 7).unwrap();
        assert!(send_all(&mut streams).contains(&StreamRecord::Reset(id)));
        streams.rewind(&limits(3, 0, 0));
        let mut buffer = vec![0; 1_000];
        let mut writer = Writer::new(&mut buffer);
        streams.write_control(super::super::tests::TEMPO, &mut writer, &mut |_| {});
        let mut reader = qbase::Reader::new(writer.written());
        let reset = frame::Frame::decode(&mut reader).unwrap();
        assert!(matches!(reset, frame::Frame::ResetStream(frame::ResetStream { code: 7, final_size: 0, .. })), "{reset:?}");
    }
}
