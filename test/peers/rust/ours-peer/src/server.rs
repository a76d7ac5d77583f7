//! The server: accepts one connection, serves its streams, ends when it is closed.

use std::{collections::BTreeMap, fs, sync::Arc};

use peer_common::{
    ALPN,
    options::{Handshake, Middle, ServerOptions},
    protocol,
    report::{self, Report},
};
use qbase::{Direction, StreamId};
use qconnection::{
    Connection, ConnectionHandle, Endpoint, Event, ServerConfig,
    connection::events::{CloseInfo, ClosedBy, Layer},
};
use qcrypto::{Identity, ServerTls, ServerTlsOptions};
use qdriver::{Io, socket::SocketConfig};

use crate::{
    path_log::PathLog,
    run::{self, Raise, Role},
    transfer::{Collector, Giver, Taker, read_head},
};

/// Serves one connection.
pub fn serve(options: &ServerOptions) -> Result<Report, String> {
    let sockets = options.listen.iter().map(|address| SocketConfig::new(*address)).collect();
    let server = Arc::new(ServerConfig::new(tls(options)?, run::transport(&options.common, Handshake::Stagger), 1));
    let common = &options.common;
    let role = Server { middle: common.middle.clone(), raise: Raise::new(common), ..Server::default() };
    let running = run::start(sockets, role, common.limit, |endpoint| endpoint.listen(Some(server)))?;
    report::listening(&running.handle().sockets().iter().map(|facts| facts.local).collect::<Vec<_>>());
    running.outcome()
}

fn tls(options: &ServerOptions) -> Result<ServerTls, String> {
    let read = |path| fs::read(path).map_err(|error| error.to_string());
    let identity =
        Identity::from_pem(&read(&options.cert)?, &read(&options.key)?).map_err(|error| error.to_string())?;
    ServerTls::new(&ServerTlsOptions {
        identity: Some(identity),
        alpn: vec![ALPN.to_vec()],
        ..ServerTlsOptions::default()
    })
    .map_err(|error| error.to_string())
}

/// What the server knows.
#[derive(Default)]
struct Server {
    connection: Option<ConnectionHandle>,
    streams: BTreeMap<u64, Work>,
    paths: PathLog,
    report: Report,
    middle: Middle,
    raise: Raise,
    closed: bool,
}

/// Where a stream stands.
enum Work {
    Head(Collector),
    Up(Taker, u64),
    Answer(Giver),
    Down(Giver, u64),
}

impl Role for Server {
    fn turn(&mut self, io: &mut Io<'_, Endpoint>) -> Result<Option<Report>, String> {
        if let Some(connection) = self.connection.and_then(|handle| io.endpoint.connection(handle)) {
            self.paths.update(connection);
        }
        while let Some((handle, event)) = io.endpoint.poll_event() {
            self.connection = Some(handle);
            match event {
                Event::Path(event) => self.paths.on_event(&event),
                Event::Closed(info) => self.on_closed(&info)?,
                _ => {}
            }
        }
        if self.closed && self.middle.update_keys {
            return Err("no key update could begin".to_owned());
        }
        if self.closed {
            self.report.paths = self.paths.reports();
            return Ok(Some(std::mem::take(&mut self.report)));
        }
        let Some(connection) = self.connection.and_then(|handle| io.endpoint.connection_mut(handle)) else {
            return Ok(None);
        };
        self.report.multipath = Some(connection.is_multipath());
        self.report.key_updates = Some(connection.statistics().key_updates);
        let due = self.raise.turn(connection, io.now)?;
        while let Some(stream) = connection.accept(Direction::Bidirectional) {
            self.streams.insert(stream.0, Work::Head(Collector::default()));
        }
        let ids: Vec<u64> = self.streams.keys().copied().collect();
        for id in ids {
            self.work_on(connection, StreamId(id))?;
            let Some((passed, count)) = self.streams.get(&id).map(progress) else { continue };
            run::at_middle(connection, io.now, &mut self.middle, passed, count)?;
        }
        if let Some(due) = due {
            io.wake_at(due);
        }
        Ok(None)
    }
}

impl Server {
    fn on_closed(&mut self, info: &CloseInfo) -> Result<(), String> {
        self.closed = info.by == ClosedBy::Peer && info.layer == Layer::Application && info.code == 0;
        if self.closed { Ok(()) } else { Err(format!("{info:?}")) }
    }

    /// As far as one stream goes now.
    fn work_on(&mut self, connection: &mut Connection, stream: StreamId) -> Result<(), String> {
        while let Some(work) = self.streams.remove(&stream.0) {
            match self.step(work, connection, stream)? {
                Step::Next(work) => drop(self.streams.insert(stream.0, work)),
                Step::Wait(work) => {
                    self.streams.insert(stream.0, work);
                    break;
                }
                Step::Done => break,
            }
        }
        Ok(())
    }

    fn step(&mut self, work: Work, connection: &mut Connection, stream: StreamId) -> Result<Step, String> {
        match work {
            Work::Head(mut head) => {
                head.pull(connection, stream, protocol::HEAD)?;
                match read_head(&head.bytes) {
                    None => Ok(Step::Wait(Work::Head(head))),
                    Some((count, protocol::UP)) => Ok(Step::Next(Work::Up(Taker::new(count), count))),
                    Some((count, protocol::DOWN)) => Ok(Step::Next(Work::Down(Giver::new(Vec::new(), count), count))),
                    Some((_, other)) => Err(format!("direction {other:#x}")),
                }
            }
            Work::Up(mut taker, count) => {
                let Some(hash) = taker.pull(connection, stream)? else { return Ok(Step::Wait(Work::Up(taker, count))) };
                self.report.up += count;
                Ok(Step::Next(Work::Answer(Giver::new(hash, 0))))
            }
            Work::Answer(mut giver) => {
                giver.push(connection, stream)?;
                Ok(if giver.is_done() { Step::Done } else { Step::Wait(Work::Answer(giver)) })
            }
            Work::Down(mut giver, count) => {
                giver.push(connection, stream)?;
                if !giver.is_done() {
                    return Ok(Step::Wait(Work::Down(giver, count)));
                }
                self.report.down += count;
                Ok(Step::Done)
            }
        }
    }
}

/// What comes after a piece of work.
enum Step {
    /// More of the stream can be done now.
    Next(Work),
    /// The stream must move first.
    Wait(Work),
    /// Nothing.
    Done,
}

/// Bytes that passed, of how many.
const fn progress(work: &Work) -> (u64, u64) {
    match work {
        Work::Head(_) | Work::Answer(_) => (0, 0),
        Work::Up(taker, count) => (taker.passed(), *count),
        Work::Down(giver, count) => (giver.passed(), *count),
    }
}
