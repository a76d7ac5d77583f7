//! Behaviour of the stream room: two of them, and a link that loses what a test wants lost.

mod churn;
mod credit;
mod errors;
mod gate;
mod random;
mod resets;
mod sending;
mod unordered;

use super::*;
use qrecovery::flow::Tempo;
use qbase::{
    PathId,
    ErrorCode, Reader, TransportError, Writer,
    frame::{self, Fin, Frame},
};

/// Time stands still in the tests.
pub const TEMPO: Tempo = Tempo { now: qbase::Timestamp::ZERO, round_trip: std::time::Duration::ZERO, several_paths: false };

/// Room for frames in a packet of the tests.
pub const PACKET: usize = 1_200;

/// One end.
#[derive(Debug)]
pub struct End {
    pub streams: Streams,
    pub pool: BufferPool,
}

/// A packet on its way: its bytes and what its sender must be told.
#[derive(Clone, Debug)]
pub struct Packet {
    pub bytes: Vec<u8>,
    pub records: Vec<StreamRecord>,
}

pub fn config(role: Role) -> StreamsConfig {
    StreamsConfig {
        role,
        bidirectional: 100,
        unidirectional: 100,
        stream_window: 64 * 1_024,
        connection_window: 256 * 1_024,
        max_stream_window: 64 * 1_024,
        max_connection_window: 256 * 1_024,
        send_buffer: 256 * 1_024,
        connection_send_buffer: 8 * 1_024 * 1_024,
        reset_delivery: ResetDelivery::DropUnread,
    }
}

/// The transport parameters that go with a configuration.
pub fn parameters(config: &StreamsConfig) -> TransportParameters {
    TransportParameters {
        initial_max_data: config.connection_window,
        initial_max_stream_data_bidi_local: config.stream_window,
        initial_max_stream_data_bidi_remote: config.stream_window,
        initial_max_stream_data_uni: config.stream_window,
        initial_max_streams_bidi: config.bidirectional,
        initial_max_streams_uni: config.unidirectional,
        ..TransportParameters::default()
    }
}

impl End {
    pub fn new(config: StreamsConfig, peer: &StreamsConfig) -> Self {
        let mut streams = Streams::new(config);
        streams.on_peer_parameters(&parameters(peer));
        Self { streams, pool: BufferPool::default() }
    }

    /// The next packet, if anything waits.
    pub fn packet(&mut self) -> Option<Packet> {
        self.packet_of(PACKET)
    }

    pub fn packet_of(&mut self, room: usize) -> Option<Packet> {
        let mut buffer = vec![0; room];
        let mut writer = Writer::new(&mut buffer);
        let mut records = Vec::new();
        self.streams.write_control(TEMPO, &mut writer, &mut |record| records.push(record));
        self.streams.write_data(Asker::chosen(PathId::ZERO), &mut writer, &mut |record| records.push(record));
        assert!(!writer.overflowed());
        let len = writer.len();
        buffer.truncate(len);
        (len > 0).then_some(Packet { bytes: buffer, records })
    }

    /// Takes a packet in.
    pub fn receive(&mut self, packet: &Packet) -> Result<(), TransportError> {
        let mut reader = Reader::new(&packet.bytes);
        while !reader.is_empty() {
            self.on_frame(Frame::decode(&mut reader)?)?;
        }
        Ok(())
    }

    pub fn on_frame(&mut self, frame: Frame<'_>) -> Result<(), TransportError> {
        let Self { streams, pool } = self;
        match frame {
            Frame::Stream(frame) => streams.on_stream(&frame, pool),
            Frame::ResetStream(frame) => streams.on_reset_stream(&frame, pool),
            Frame::StopSending(frame) => streams.on_stop_sending(&frame),
            Frame::MaxData(frame) => streams.on_max_data(&frame),
            Frame::MaxStreamData(frame) => streams.on_max_stream_data(&frame),
            Frame::MaxStreams(frame) => streams.on_max_streams(&frame),
            Frame::DataBlocked(frame) => streams.on_data_blocked(&frame),
            Frame::StreamDataBlocked(frame) => streams.on_stream_data_blocked(&frame),
            Frame::StreamsBlocked(frame) => streams.on_streams_blocked(&frame),
            other => panic!("not a frame of the stream room: {other:?}"),
        }
    }

    /// A STREAM frame in one call.
    pub fn stream(&mut self, id: StreamId, offset: u64, data: &[u8], fin: Fin) -> Result<(), ErrorCode> {
        let frame = frame::Stream { stream: id, offset, fin: fin == Fin::Yes, data };
        self.on_frame(Frame::Stream(frame)).map_err(|error| error.code)
    }

    pub fn acked(&mut self, packet: &Packet) {
        packet.records.iter().for_each(|record| self.streams.on_acked(*record));
    }

    pub fn lost(&mut self, packet: &Packet) {
        packet.records.iter().for_each(|record| self.streams.on_lost(*record));
    }

    pub fn events(&mut self) -> Vec<StreamEvent> {
        std::iter::from_fn(|| self.streams.poll_event()).collect()
    }

    /// Reads what is there; the error that ended it.
    pub fn read_all(&mut self, id: StreamId) -> (Vec<u8>, ReadError) {
        let mut out = Vec::new();
        let mut buffer = [0; 5_000];
        loop {
            match self.streams.read(id, &mut buffer, &mut self.pool) {
                Ok(len) => out.extend_from_slice(&buffer[..len]),
                Err(error) => return (out, error),
            }
        }
    }
}

/// A client and a server with the same configuration.
pub fn pair() -> (End, End) {
    pair_of(|_| {})
}

pub fn pair_of(change: impl Fn(&mut StreamsConfig)) -> (End, End) {
    let (mut client, mut server) = (config(Role::Client), config(Role::Server));
    change(&mut client);
    change(&mut server);
    (End::new(client.clone(), &server), End::new(server, &client))
}

/// Everything one end has to send arrives at the other and is acknowledged.
pub fn deliver(from: &mut End, to: &mut End) -> usize {
    let mut packets = 0;
    while let Some(packet) = from.packet() {
        to.receive(&packet).unwrap();
        from.acked(&packet);
        packets += 1;
    }
    packets
}

/// Both ways until nobody has anything to say.
pub fn settle(a: &mut End, b: &mut End) {
    while deliver(a, b) + deliver(b, a) > 0 {}
}

/// The frames of a packet.
pub fn frames(packet: &Packet) -> Vec<Frame<'_>> {
    let mut reader = Reader::new(&packet.bytes);
    let mut frames = Vec::new();
    while !reader.is_empty() {
        frames.push(Frame::decode(&mut reader).unwrap());
    }
    frames
}

/// Bytes that tell their offset.
pub fn bytes_of(range: std::ops::Range<u64>) -> Vec<u8> {
    range.map(|offset| (offset.wrapping_mul(0x9e37_79b9) >> 11) as u8).collect()
}

pub const BIDI: Direction = Direction::Bidirectional;
pub const UNI: Direction = Direction::Unidirectional;
