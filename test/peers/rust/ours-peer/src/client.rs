//! The client: connects, opens its paths, transfers in both directions, closes.

use std::{collections::VecDeque, fs, net::IpAddr, net::Ipv4Addr, sync::Arc};

use peer_common::{ALPN, SERVER_NAME, options::ClientOptions, protocol, report::Report};
use qbase::{Direction, FourTuple, PathId, StreamId, frame::PathStatusKind};
use qconnection::{
    ClientConfig, Connection, ConnectionHandle, Endpoint, Event,
    connection::events::{ClosedBy, PathEventKind},
};
use qcrypto::{ClientTls, ClientTlsOptions, Roots};
use qdriver::{Io, socket::SocketConfig};

use crate::{
    path_log::PathLog,
    run::{self, Role},
    transfer::{Collector, Giver, Taker, at_half},
};

/// Makes one connection and does what was asked on it.
pub fn connect(options: ClientOptions) -> Result<Report, String> {
    let locals: Vec<IpAddr> =
        if options.paths.is_empty() { vec![Ipv4Addr::UNSPECIFIED.into()] } else { options.paths.clone() };
    let sockets = locals.iter().map(|local| SocketConfig::new((*local, 0).into())).collect();
    let config = Arc::new(ClientConfig::new(tls(&options)?, run::transport()));
    let mut plans = VecDeque::new();
    if options.up > 0 {
        plans.push_back((protocol::UP, options.up));
    }
    if options.down > 0 {
        plans.push_back((protocol::DOWN, options.down));
    }
    let limit = options.limit;
    let client = Client {
        options,
        config,
        connection: None,
        plans,
        current: None,
        paths: PathLog::default(),
        report: Report::default(),
        is_ready: false,
    };
    run::start(sockets, client, limit, |_| ())?.outcome()
}

fn tls(options: &ClientOptions) -> Result<ClientTls, String> {
    let roots = Roots::Pem(fs::read_to_string(&options.ca).map_err(|error| error.to_string())?);
    ClientTls::new(&ClientTlsOptions { roots, alpn: vec![ALPN.to_vec()], ..ClientTlsOptions::default() })
        .map_err(|error| error.to_string())
}

/// What the client knows.
struct Client {
    options: ClientOptions,
    config: Arc<ClientConfig>,
    connection: Option<ConnectionHandle>,
    /// Transfers still to begin: direction and bytes.
    plans: VecDeque<(u8, u64)>,
    current: Option<(StreamId, Transfer)>,
    paths: PathLog,
    report: Report,
    /// All paths are open: transfers may begin.
    is_ready: bool,
}

/// The transfer at work.
enum Transfer {
    Up(Giver, Collector, u64),
    Down(Giver, Taker, u64),
}

impl Role for Client {
    fn turn(&mut self, io: &mut Io<'_, Endpoint>) -> Result<Option<Report>, String> {
        let handle = match self.connection {
            Some(handle) => handle,
            None => self.start(io)?,
        };
        if let Some(connection) = io.endpoint.connection(handle) {
            self.paths.update(connection);
        }
        while let Some((_, event)) = io.endpoint.poll_event() {
            if self.on_event(event)? {
                self.report.paths = self.paths.reports();
                return Ok(Some(std::mem::take(&mut self.report)));
            }
        }
        let Some(connection) = io.endpoint.connection_mut(handle) else { return Ok(None) };
        self.is_ready |= connection.is_confirmed() && PathLog::open(connection) >= self.options.paths.len().max(1);
        if !self.is_ready {
            return Ok(None);
        }
        if let Some(path) = self.advance(connection)? {
            connection.abandon_path(io.now, PathId(path), 0).map_err(|error| error.to_string())?;
        }
        if self.plans.is_empty() && self.current.is_none() {
            self.report.multipath = Some(connection.is_multipath());
            connection.close(io.now, 0, b"done");
        }
        Ok(None)
    }
}

impl Client {
    /// Connects from the first socket and asks for a path from each other.
    fn start(&mut self, io: &mut Io<'_, Endpoint>) -> Result<ConnectionHandle, String> {
        let remote = self.options.connect;
        let mut tuples = io.sockets().map(|facts| FourTuple { local: facts.local, remote }).collect::<VecDeque<_>>();
        let first = tuples.pop_front().ok_or("no socket")?;
        let handle =
            io.endpoint.connect(io.now, &self.config, SERVER_NAME, first).map_err(|error| error.to_string())?;
        let connection = io.endpoint.connection_mut(handle).ok_or("no connection")?;
        for four_tuple in tuples {
            connection.open_path(io.now, four_tuple, PathStatusKind::Available).map_err(|error| error.to_string())?;
        }
        self.connection = Some(handle);
        Ok(handle)
    }

    /// Whether this was the end.
    fn on_event(&mut self, event: Event) -> Result<bool, String> {
        match event {
            Event::Path(event) => {
                if let PathEventKind::Failed(why) = event.kind {
                    return Err(format!("a path does not open: {why:?}, {}", event.reason));
                }
                self.paths.on_event(&event);
            }
            Event::Closed(info) if info.by != ClosedBy::Local => return Err(format!("{info:?}")),
            Event::Drained => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    /// As far as transfers go now; the path to abandon, if this is the moment.
    fn advance(&mut self, connection: &mut Connection) -> Result<Option<u32>, String> {
        loop {
            let Some((stream, transfer)) = &mut self.current else {
                if !self.begin(connection) {
                    return Ok(None);
                }
                continue;
            };
            let (passed, count, is_done) = transfer.advance(connection, *stream)?;
            if let Some(path) = at_half(&mut self.options.abandon, passed, count) {
                return Ok(Some(path));
            }
            if !is_done {
                return Ok(None);
            }
            match transfer {
                Transfer::Up(..) => self.report.up += count,
                Transfer::Down(..) => self.report.down += count,
            }
            self.current = None;
        }
    }

    /// Begins the next transfer; `false`: none is left, or no stream may be opened yet.
    fn begin(&mut self, connection: &mut Connection) -> bool {
        let Some(&(direction, count)) = self.plans.front() else { return false };
        let Some(stream) = connection.open(Direction::Bidirectional) else { return false };
        self.plans.pop_front();
        let head = protocol::head(count, direction).to_vec();
        let transfer = match direction {
            protocol::UP => Transfer::Up(Giver::new(head, count), Collector::default(), count),
            _ => Transfer::Down(Giver::new(head, 0), Taker::new(count), count),
        };
        self.current = Some((stream, transfer));
        true
    }
}

impl Transfer {
    /// Bytes that passed, of how many, and whether everything is done and right.
    fn advance(&mut self, connection: &mut Connection, stream: StreamId) -> Result<(u64, u64, bool), String> {
        match self {
            Self::Up(giver, answer, count) => {
                giver.push(connection, stream)?;
                answer.pull(connection, stream, protocol::HASH + 1)?;
                if answer.ended && answer.bytes != protocol::expected_hash(*count) {
                    return Err("the server's hash differs".to_owned());
                }
                Ok((giver.passed(), *count, answer.ended))
            }
            Self::Down(giver, taker, count) => {
                giver.push(connection, stream)?;
                let is_done = taker.pull(connection, stream)?.is_some();
                Ok((taker.passed(), *count, is_done))
            }
        }
    }
}
