//! The client: connects, opens its paths, transfers in both directions, closes.

use std::{collections::VecDeque, fs, net::IpAddr, net::Ipv4Addr, sync::Arc};

use peer_common::{ALPN, SERVER_NAME, options::ClientOptions, protocol, report::Report};
use qbase::{Direction, FourTuple, PathId, StreamId, Timestamp, frame::PathStatusKind};
use qconnection::{
    ClientConfig, Connection, ConnectionHandle, Endpoint, Event,
    connection::events::{ClosedBy, PathEventKind},
    path::PathState,
};
use qcrypto::{ClientTls, ClientTlsOptions, Roots};
use qdriver::{Io, socket::SocketConfig};

use crate::{
    path_log::PathLog,
    run::{self, Raise, Role},
    transfer::{Collector, Giver, Taker},
};

/// Makes one connection and does what was asked on it.
pub fn connect(options: ClientOptions) -> Result<Report, String> {
    let locals: Vec<IpAddr> =
        if options.paths.is_empty() { vec![Ipv4Addr::UNSPECIFIED.into()] } else { options.paths.clone() };
    let sockets = locals.iter().map(|local| SocketConfig::new((*local, 0).into())).collect();
    let config = Arc::new(ClientConfig::new(tls(&options)?, run::transport(&options.common, options.handshake)));
    let mut plans = VecDeque::new();
    if options.up > 0 {
        plans.push_back((protocol::UP, options.up));
    }
    if options.down > 0 {
        plans.push_back((protocol::DOWN, options.down));
    }
    let (limit, raise, churn) = (options.common.limit, Raise::new(&options.common), options.churn);
    let client = Client {
        options,
        config,
        connection: None,
        plans,
        current: None,
        paths: PathLog::default(),
        report: Report::default(),
        raise,
        churn,
        asked: 1,
        is_ready: false,
        begins_at: None,
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
    raise: Raise,
    /// Paths still to be opened and abandoned.
    churn: u32,
    /// Paths asked for that are meant to stay, the first included.
    asked: usize,
    /// All paths are open.
    is_ready: bool,
    /// When transfers may begin, known once all paths are open.
    begins_at: Option<Timestamp>,
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
        let tuples = self.tuples(io)?;
        let Some(connection) = io.endpoint.connection_mut(handle) else { return Ok(None) };
        let due = self.raise.turn(connection, io.now)?;
        self.open_paths(connection, io.now, &tuples)?;
        let begins_at = self.settled_at(io.now);
        let may_transfer = begins_at.is_some_and(|at| at <= io.now);
        if may_transfer {
            self.advance(connection, io.now)?;
        }
        if may_transfer && self.plans.is_empty() && self.current.is_none() {
            if self.options.common.middle.update_keys {
                return Err("no key update could begin".to_owned());
            }
            self.report.multipath = Some(connection.is_multipath());
            self.report.key_updates = Some(connection.statistics().key_updates);
            connection.close(io.now, 0, b"done");
        }
        let due = [due, begins_at.filter(|_| !may_transfer)].into_iter().flatten().min();
        if let Some(due) = due {
            io.wake_at(due);
        }
        Ok(None)
    }
}

impl Client {
    /// When transfers may begin; `None`: paths are still missing.
    fn settled_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.is_ready && self.begins_at.is_none() {
            self.begins_at = Some(now + self.options.settle);
        }
        self.begins_at
    }

    /// Connects from the first socket.
    fn start(&mut self, io: &mut Io<'_, Endpoint>) -> Result<ConnectionHandle, String> {
        let first = *self.tuples(io)?.first().ok_or("no socket")?;
        let handle =
            io.endpoint.connect(io.now, &self.config, SERVER_NAME, first).map_err(|error| error.to_string())?;
        self.connection = Some(handle);
        Ok(handle)
    }

    /// The address pair of each path.
    fn tuples(&self, io: &Io<'_, Endpoint>) -> Result<Vec<FourTuple>, String> {
        let locals = io.sockets().map(|facts| facts.local).enumerate();
        let pairs = locals.map(|(index, local)| Some(FourTuple { local, remote: self.options.remote(index)? }));
        pairs.collect::<Option<_>>().ok_or_else(|| "--connect is missing".to_owned())
    }

    /// Opens and abandons as often as was asked for, then opens the paths that stay.
    fn open_paths(&mut self, connection: &mut Connection, now: Timestamp, tuples: &[FourTuple]) -> Result<(), String> {
        if self.is_ready {
            return Ok(());
        }
        let open = |connection: &mut Connection, four_tuple, status| {
            connection.open_path(now, four_tuple, status).map(drop).map_err(|error| error.to_string())
        };
        while self.churn > 0 {
            let second = *tuples.get(1).ok_or("--churn wants a second address")?;
            if self.asked == 1 {
                self.asked = 2;
                open(connection, second, PathStatusKind::Available)?;
            }
            let opened = connection.paths().find(|view| view.id != PathId::ZERO && view.state == PathState::Open);
            let Some(view) = opened else { return Ok(()) };
            connection.abandon_path(now, view.id, 0).map_err(|error| error.to_string())?;
            (self.asked, self.churn) = (1, self.churn - 1);
        }
        let status = if self.options.backup { PathStatusKind::Backup } else { PathStatusKind::Available };
        for four_tuple in tuples.iter().skip(self.asked) {
            open(connection, *four_tuple, status)?;
        }
        self.asked = tuples.len();
        self.is_ready = connection.is_confirmed() && PathLog::open(connection) >= tuples.len();
        Ok(())
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

    /// As far as transfers go now.
    fn advance(&mut self, connection: &mut Connection, now: Timestamp) -> Result<(), String> {
        loop {
            let Some((stream, transfer)) = &mut self.current else {
                if !self.begin(connection) {
                    return Ok(());
                }
                continue;
            };
            let (passed, count, is_done) = transfer.advance(connection, *stream)?;
            run::at_middle(connection, now, &mut self.options.common.middle, passed, count)?;
            if !is_done {
                return Ok(());
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
