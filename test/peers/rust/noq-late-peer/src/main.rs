//! The transfer protocol of `test/peers` over `noq-proto`, the core beneath noq: it has the one verb that noq lacks, to allow more
//! paths than the transport parameters did. One connection, one thread, plain sockets.
//!
//! Knows of the common options `--max-paths`, `--raise` and `--limit`; abandons nothing and updates no key by itself.

mod transfer;
mod wire;

use std::{
    net::IpAddr,
    net::Ipv4Addr,
    num::NonZeroU32,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use noq_proto::{
    ClientConfig, Connection, ConnectionError, Dir, Event, FourTuple, PathError, PathEvent, PathId, PathStatus, ServerConfig,
    TransportConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use peer_common::{
    DATAGRAM_SIZE, SERVER_NAME, STREAM_WINDOW,
    options::{self, ClientOptions, Command, CommonOptions, ServerOptions},
    protocol,
    report::{self, PathReport, Report},
    tls,
};
use transfer::Transfer;
use wire::Wire;

type Failure = Box<dyn std::error::Error>;

/// Time for the other end to come up against the limit.
const RAISE_AFTER: Duration = Duration::from_millis(100);
/// Ids of paths that are reported.
const REPORTED: u32 = 8;

fn main() -> ExitCode {
    let started = Instant::now();
    let (role, outcome) = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Server(options)) => ("server", serve(&options)),
        Ok(Command::Client(options)) => ("client", connect(&options)),
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::from(2);
        }
    };
    report::finish("noq-proto", role, started, outcome.map_err(|error| error.to_string()))
}

fn serve(options: &ServerOptions) -> Result<Report, Failure> {
    let address = *options.listen.first().ok_or("--listen is missing")?;
    let crypto = QuicServerConfig::try_from(tls::server(&options.cert, &options.key)?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport(&options.common));
    let mut wire = Wire::new(&[address], Some(Arc::new(config)))?;
    report::listening(&[wire.local()?]);

    let mut raise = Raise::new(&options.common);
    let mut streams: Vec<Transfer> = Vec::new();
    let mut report = Report::default();
    let ends_at = Instant::now() + options.common.limit;
    loop {
        let events = wire.turn(ends_at)?;
        if let Some(closed) = events.iter().find_map(lost) {
            return closed.map(|()| report);
        }
        let Some(connection) = wire.connection() else { continue };
        raise.turn(connection)?;
        while let Some(id) = connection.streams().accept(Dir::Bi) {
            streams.push(Transfer::serving(id));
        }
        for stream in &mut streams {
            stream.turn(connection)?;
        }
        report.multipath = Some(connection.is_multipath_negotiated());
        report.paths = paths(connection, |path| path.remote().ip());
        report.up = streams.iter().map(Transfer::taken).sum();
        report.down = streams.iter().map(Transfer::given).sum();
    }
}

fn connect(options: &ClientOptions) -> Result<Report, Failure> {
    let locals = if options.paths.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { options.paths.clone() };
    let addresses: Vec<_> = locals.iter().map(|local| (*local, 0).into()).collect();
    let crypto = QuicClientConfig::try_from(tls::client(&options.ca)?)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(&options.common));
    let mut wire = Wire::new(&addresses, None)?;
    wire.connect(config, options.remote(0).ok_or("--connect is missing")?, SERVER_NAME)?;

    let mut raise = Raise::new(&options.common);
    let mut plans = vec![(protocol::DOWN, options.down), (protocol::UP, options.up)];
    plans.retain(|(_, count)| *count > 0);
    let (mut asked, mut open) = (1, 1);
    let mut current: Option<Transfer> = None;
    let ends_at = Instant::now() + options.common.limit;
    loop {
        let events = wire.turn(ends_at)?;
        if let Some(closed) = events.iter().find_map(lost) {
            return Err(closed.err().unwrap_or_else(|| "closed by the server".into()));
        }
        open += events.iter().filter(|event| matches!(event, Event::Path(PathEvent::Established { .. }))).count();
        let Some(connection) = wire.connection().filter(|connection| !connection.is_handshaking()) else { continue };
        raise.turn(connection)?;
        if let Some(local) = locals.get(asked) {
            let remote = options.remote(asked).ok_or("--connect is missing")?;
            asked += usize::from(open_path(connection, remote, *local)?);
        }
        if open < locals.len() {
            continue;
        }
        if let Some(transfer) = &mut current {
            transfer.turn(connection)?;
            if !transfer.is_done() {
                continue;
            }
        }
        if let Some((direction, count)) = plans.pop() {
            let id = connection.streams().open(Dir::Bi).ok_or("no stream may be opened")?;
            current = Some(Transfer::asking(id, direction, count));
            continue;
        }
        let report = Report {
            up: options.up,
            down: options.down,
            multipath: Some(connection.is_multipath_negotiated()),
            paths: paths(connection, |path| path.local_ip().unwrap_or(Ipv4Addr::UNSPECIFIED.into())),
            ..Report::default()
        };
        wire.close()?;
        return Ok(report);
    }
}

/// Whether the path is on its way; the peer's limit or its connection ids may still be missing.
fn open_path(connection: &mut Connection, remote: std::net::SocketAddr, local: IpAddr) -> Result<bool, Failure> {
    match connection.open_path(FourTuple::new(remote, Some(local)), PathStatus::Available, Instant::now()) {
        Ok(_) => Ok(true),
        Err(PathError::RemoteCidsExhausted | PathError::MaxPathIdReached) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// How a connection ended, if it did: the client's goodbye, or anything else.
fn lost(event: &Event) -> Option<Result<(), Failure>> {
    match event {
        Event::ConnectionLost { reason: ConnectionError::ApplicationClosed(close) } if close.error_code == 0_u32.into() => {
            Some(Ok(()))
        }
        Event::ConnectionLost { reason } => Some(Err(reason.clone().into())),
        _ => None,
    }
}

fn paths(connection: &mut Connection, address: impl Fn(FourTuple) -> IpAddr) -> Vec<PathReport> {
    let report = |id| {
        let path = PathId::from(id);
        let address = address(connection.network_path(path).ok()?).to_string();
        let stats = connection.path_stats(path)?;
        let stream_frames = Some(stats.frame_tx.stream + stats.frame_rx.stream);
        let (sent, received) = (stats.udp_tx.bytes, stats.udp_rx.bytes);
        Some(PathReport { id, address, sent, received, stream_frames, suspected: false, abandoned: false })
    };
    (0..REPORTED).filter_map(report).collect()
}

/// Allows more paths, once, a moment after the handshake.
struct Raise {
    wish: Option<NonZeroU32>,
    due: Option<Instant>,
}

impl Raise {
    fn new(options: &CommonOptions) -> Self {
        Self { wish: options.raise.and_then(NonZeroU32::new), due: None }
    }

    fn turn(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let Some(paths) = self.wish.filter(|_| !connection.is_handshaking()) else { return Ok(()) };
        let now = Instant::now();
        if now >= *self.due.get_or_insert(now + RAISE_AFTER) {
            self.wish = None;
            connection.set_max_concurrent_paths(now, paths)?;
        }
        Ok(())
    }
}

fn transport(options: &CommonOptions) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(STREAM_WINDOW.into())
        .initial_mtu(DATAGRAM_SIZE)
        .mtu_discovery_config(None)
        .enable_segmentation_offload(false)
        .max_concurrent_multipath_paths(options.max_paths);
    Arc::new(config)
}
