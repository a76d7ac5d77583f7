//! The client's part of every case: measures.

use std::{collections::HashMap, fs, sync::Arc, sync::mpsc};

use bench_common::{
    options::{Case, ClientOptions},
    report::{Meter, Report},
    settings::{ALPN, CHUNK, REQUEST, SERVER_NAME},
};
use bytes::Bytes;
use qbase::{Direction, FourTuple, StreamId, Timestamp};
use qconnection::{
    ClientConfig, Connection, ConnectionHandle, Endpoint, Event, connection::events::ClosedBy, stream::StreamEvent,
};
use qcrypto::{Cipher, ClientTls, ClientTlsOptions, Roots};
use qdriver::{Application, Io};

use crate::endpoint::{drain, spawn, transport};

/// Runs the case.
pub fn measure(options: ClientOptions) -> Result<Report, String> {
    let config = Arc::new(ClientConfig::new(tls(&options)?, transport(options.multipath)));
    let (sender, outcome) = mpsc::channel();
    let gso = options.gso;
    let client = Client {
        options,
        config,
        run: None,
        chunk: Bytes::from(vec![7; CHUNK]),
        answers: HashMap::new(),
        at_work: 0,
        is_over: false,
        report: Report::default(),
        sender,
    };
    spawn(client, gso, |_| ())?.join().map_err(|error| error.to_string())?;
    outcome.recv().unwrap_or_else(|_| Err("the driver ended without an outcome".to_owned()))
}

fn tls(options: &ClientOptions) -> Result<ClientTls, String> {
    let roots = Roots::Pem(fs::read_to_string(&options.ca).map_err(|error| error.to_string())?);
    ClientTls::new(&ClientTlsOptions {
        roots,
        alpn: vec![ALPN.to_vec()],
        ciphers: vec![Cipher::Aes128Gcm],
        ..ClientTlsOptions::default()
    })
    .map_err(|error| error.to_string())
}

/// The measurement under way.
#[derive(Clone, Copy)]
struct Run {
    meter: Meter,
    ends_at: Timestamp,
}

/// What the client knows.
struct Client {
    options: ClientOptions,
    config: Arc<ClientConfig>,
    run: Option<Run>,
    chunk: Bytes,
    /// Answers that came in parts.
    answers: HashMap<(ConnectionHandle, StreamId), Vec<u8>>,
    /// Operations, or uploads, under way.
    at_work: usize,
    /// The time is up: nothing new begins.
    is_over: bool,
    report: Report,
    sender: mpsc::Sender<Result<Report, String>>,
}

impl Application<Endpoint> for Client {
    fn on_turn(&mut self, io: &mut Io<'_, Endpoint>) {
        if let Err(words) = self.turn(io) {
            self.end(io, Err(words));
        }
    }
}

impl Client {
    fn turn(&mut self, io: &mut Io<'_, Endpoint>) -> Result<(), String> {
        if io.endpoint.is_empty() && !self.is_over {
            self.begin(io)?;
        }
        if let Some(run) = self.run {
            if io.now >= run.ends_at {
                self.on_time_up(io)?;
            } else {
                io.wake_at(run.ends_at);
            }
        }
        while let Some((handle, event)) = io.endpoint.poll_event() {
            self.on_event(io, handle, event)?;
        }
        if self.is_over && self.at_work == 0 {
            let Some(run) = self.run.take() else { return Ok(()) };
            let Report { elapsed, cpu, .. } = run.meter.report();
            let report = Report { elapsed, cpu, ..self.report };
            self.end(io, Ok(report));
        }
        Ok(())
    }

    /// The first connections; only `handshakes` measures them.
    fn begin(&mut self, io: &mut Io<'_, Endpoint>) -> Result<(), String> {
        if self.options.case != Case::Handshakes {
            return self.connect(io);
        }
        self.start_clock(io.now);
        for _ in 0..self.options.in_flight {
            self.connect(io)?;
            self.at_work += 1;
        }
        Ok(())
    }

    fn start_clock(&mut self, now: Timestamp) {
        self.run = Some(Run { meter: Meter::start(), ends_at: now + self.options.time });
    }

    fn connect(&self, io: &mut Io<'_, Endpoint>) -> Result<(), String> {
        let local = io.sockets().next().ok_or("no socket")?.local;
        let four_tuple = FourTuple { local, remote: self.options.connect };
        io.endpoint.connect(io.now, &self.config, SERVER_NAME, four_tuple).map(drop).map_err(|error| error.to_string())
    }

    fn on_event(&mut self, io: &mut Io<'_, Endpoint>, handle: ConnectionHandle, event: Event) -> Result<(), String> {
        match event {
            Event::HandshakeComplete if self.options.case != Case::Handshakes => {
                self.start_clock(io.now);
                let Some(connection) = io.endpoint.connection_mut(handle) else { return Ok(()) };
                match self.options.case {
                    Case::Bulk => self.start_uploads(connection),
                    Case::Streams | Case::Handshakes => self.request_more(connection),
                }
            }
            Event::Closed(info) if info.by != ClosedBy::Local => Err(format!("{info:?}")),
            Event::Stream(StreamEvent::Writable(stream)) if !self.is_over => {
                let Some(connection) = io.endpoint.connection_mut(handle) else { return Ok(()) };
                self.fill(connection, stream)
            }
            Event::Stream(StreamEvent::Readable(stream)) => self.on_readable(io, handle, stream),
            Event::Stream(StreamEvent::Available(_)) => {
                let Some(connection) = io.endpoint.connection_mut(handle) else { return Ok(()) };
                self.request_more(connection)
            }
            _ => Ok(()),
        }
    }

    fn start_uploads(&mut self, connection: &mut Connection) -> Result<(), String> {
        for _ in 0..self.options.streams {
            let stream = connection.open(Direction::Bidirectional).ok_or("too few streams allowed")?;
            self.at_work += 1;
            self.fill(connection, stream)?;
        }
        Ok(())
    }

    /// Writes as much as the stream takes; an event asks for more.
    fn fill(&self, connection: &mut Connection, stream: StreamId) -> Result<(), String> {
        loop {
            let taken = connection.write_chunk(stream, self.chunk.clone()).map_err(|error| error.to_string())?;
            if taken < self.chunk.len() {
                return Ok(());
            }
        }
    }

    /// Keeps as many requests under way as wanted.
    fn request_more(&mut self, connection: &mut Connection) -> Result<(), String> {
        while !self.is_over && self.at_work < self.options.in_flight {
            let Some(stream) = connection.open(Direction::Bidirectional) else { return Ok(()) };
            connection.write(stream, &[7; REQUEST]).map_err(|error| error.to_string())?;
            connection.finish(stream).map_err(|error| error.to_string())?;
            self.at_work += 1;
        }
        Ok(())
    }

    fn on_readable(
        &mut self,
        io: &mut Io<'_, Endpoint>,
        handle: ConnectionHandle,
        stream: StreamId,
    ) -> Result<(), String> {
        let Some(connection) = io.endpoint.connection_mut(handle) else { return Ok(()) };
        let mut answer = if self.answers.is_empty() { Vec::new() } else { self.answers.remove(&(handle, stream)).unwrap_or_default() };
        if !drain(connection, stream, |bytes| answer.extend_from_slice(bytes))? {
            self.answers.insert((handle, stream), answer);
            return Ok(());
        }
        self.at_work -= 1;
        match self.options.case {
            Case::Bulk => {
                let count = answer.first_chunk::<8>().ok_or("short answer")?;
                self.report.bytes += u64::from_be_bytes(*count);
                let statistics = connection.statistics();
                self.report.bursts = statistics.bursts;
                self.report.segments = statistics.segments;
                self.report.lost = statistics.packets_lost;
            }
            Case::Streams => {
                self.report.operations += 1;
                self.request_more(connection)?;
            }
            Case::Handshakes => {
                self.report.operations += 1;
                connection.close(io.now, 0, b"");
                if !self.is_over {
                    self.connect(io)?;
                    self.at_work += 1;
                }
            }
        }
        Ok(())
    }

    /// Ends the uploads; operations under way are still counted.
    fn on_time_up(&mut self, io: &mut Io<'_, Endpoint>) -> Result<(), String> {
        if self.is_over {
            return Ok(());
        }
        self.is_over = true;
        if self.options.case != Case::Bulk {
            return Ok(());
        }
        let Some(handle) = io.endpoint.handles().next() else { return Ok(()) };
        let Some(connection) = io.endpoint.connection_mut(handle) else { return Ok(()) };
        // Stream ids of one kind are four apart (RFC 9000 §2.1).
        for index in 0..self.options.streams as u64 {
            connection.finish(StreamId(index * 4)).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn end(&mut self, io: &mut Io<'_, Endpoint>, outcome: Result<Report, String>) {
        let handles: Vec<_> = io.endpoint.handles().collect();
        for handle in handles {
            if let Some(connection) = io.endpoint.connection_mut(handle) {
                connection.close(io.now, 0, b"");
            }
        }
        io.stop();
        // Nobody is left to hear it when the main thread is gone.
        self.sender.send(outcome).unwrap_or_default();
    }
}
