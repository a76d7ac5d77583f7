//! The transfer protocol of `test/peers` over noq, with the multipath extension.

mod paths;

use std::{error::Error, net::IpAddr, net::Ipv4Addr, process::ExitCode, sync::Arc, time::Duration, time::Instant};

use noq::{
    ClientConfig, Connection, ConnectionError, Endpoint, FourTuple, Path, PathError, PathId, PathStatus, ServerConfig,
    TransportConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use paths::Paths;
use peer_common::{
    DATAGRAM_SIZE, SERVER_NAME, STREAM_WINDOW,
    options::{self, ClientOptions, Command, CommonOptions, ServerOptions},
    protocol,
    report::{self, Report},
    tls,
};

type Outcome = Result<Report, Box<dyn Error>>;

fn main() -> ExitCode {
    let started = Instant::now();
    let command = match options::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::from(2);
        }
    };
    let (role, limit) = match &command {
        Command::Server(options) => ("server", options.common.limit),
        Command::Client(options) => ("client", options.common.limit),
    };
    let work = async {
        match command {
            Command::Server(options) => serve(&options).await,
            Command::Client(options) => connect(&options).await,
        }
    };
    let outcome =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Into::into).and_then(|runtime| {
            runtime.block_on(async {
                tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err("time limit".into()))
            })
        });
    report::finish("noq", role, started, outcome.map_err(|error| error.to_string()))
}

async fn serve(options: &ServerOptions) -> Outcome {
    let address = *options.listen.first().ok_or("--listen is missing")?;
    let crypto = QuicServerConfig::try_from(tls::server(&options.cert, &options.key)?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport(&options.common)?);
    let endpoint = Endpoint::server(config, address)?;
    report::listening(&[endpoint.local_addr()?]);

    // Watched before the handshake is complete: what a quick client says of its paths right after it is told to nobody else.
    let accepted = endpoint.accept().await.ok_or("the endpoint is closed")?.accept()?.into_0rtt();
    let (connection, _) = accepted.map_err(|_| "a server may always send early")?;
    let paths = Paths::watch(&connection);
    let mut report = Report::default();
    let mut middle = Middle::new(&connection, &options.common);
    loop {
        match connection.accept_bi().await {
            Ok((mut send, mut receive)) => {
                let served = protocol::serve(&mut send, &mut receive, || middle.now()).await?;
                report.up += served.up;
                report.down += served.down;
            }
            Err(ConnectionError::ApplicationClosed(close)) if close.error_code == 0_u32.into() => break,
            Err(error) => return Err(error.into()),
        }
    }
    middle.result?;
    report.multipath = Some(connection.is_multipath_enabled());
    report.paths = paths.reports();
    Ok(report)
}

async fn connect(options: &ClientOptions) -> Outcome {
    // One socket sends from all addresses, so it is bound to all of them when there are several.
    let local = match options.paths.as_slice() {
        [only] => *only,
        _ => Ipv4Addr::UNSPECIFIED.into(),
    };
    let crypto = QuicClientConfig::try_from(tls::client(&options.ca)?)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(&options.common)?);
    let endpoint = Endpoint::client((local, 0).into())?;
    let remote = options.remote(0).ok_or("--connect is missing")?;
    let connection = endpoint.connect_with(config, remote, SERVER_NAME)?.await?;
    let paths = Paths::watch(&connection);
    for _ in 0..options.churn {
        let address = *options.paths.get(1).ok_or("--churn wants a second address")?;
        open_path(&connection, options, 1, address).await?.close()?;
    }
    for (index, address) in options.paths.iter().enumerate().skip(1) {
        open_path(&connection, options, index, *address).await?;
    }

    tokio::time::sleep(options.settle).await;
    let mut middle = Middle::new(&connection, &options.common);
    let mut report = Report { up: options.up, down: options.down, ..Report::default() };
    if options.up > 0 {
        let (mut send, mut receive) = connection.open_bi().await?;
        protocol::upload(&mut send, &mut receive, options.up, || middle.now()).await?;
    }
    if options.down > 0 {
        let (mut send, mut receive) = connection.open_bi().await?;
        protocol::download(&mut send, &mut receive, options.down, || middle.now()).await?;
    }
    middle.result?;
    report.multipath = Some(connection.is_multipath_enabled());
    report.paths = paths.reports();
    connection.close(0_u32.into(), b"done");
    endpoint.wait_idle().await;
    Ok(report)
}

/// Opens a path; the peer's connection ids for it may still be on their way.
async fn open_path(
    connection: &Connection,
    options: &ClientOptions,
    index: usize,
    local: IpAddr,
) -> Result<Path, Box<dyn Error>> {
    let remote = options.remote(index).ok_or("--connect is missing")?;
    let status = if options.backup { PathStatus::Backup } else { PathStatus::Available };
    loop {
        match connection.open_path(FourTuple::new(remote, Some(local)), status).await {
            Ok(path) => {
                if options.backup {
                    // The library keeps the status a path was opened with to itself until it changes.
                    path.set_status(PathStatus::Available)?;
                    path.set_status(status)?;
                }
                return Ok(path);
            }
            Err(PathError::RemoteCidsExhausted | PathError::MaxPathIdReached) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is to be done in the middle of the first transfer.
struct Middle<'a> {
    connection: &'a Connection,
    wish: options::Middle,
    result: Result<(), Box<dyn Error>>,
}

impl<'a> Middle<'a> {
    fn new(connection: &'a Connection, options: &CommonOptions) -> Self {
        Self { connection, wish: options.middle.clone(), result: Ok(()) }
    }

    fn now(&mut self) {
        let options::Middle { abandon, update_keys, announce } = std::mem::take(&mut self.wish);
        if announce {
            report::middle();
        }
        if update_keys {
            self.connection.force_key_update();
        }
        let Some(id) = abandon else { return };
        self.result = match self.connection.path(PathId::from(id)) {
            Some(path) => path.close().map_err(Into::into),
            None => Err(format!("there is no path {id} to abandon").into()),
        };
    }
}

fn transport(options: &CommonOptions) -> Result<Arc<TransportConfig>, &'static str> {
    if options.raise.is_some() {
        return Err("noq raises its limit of paths only when paths end");
    }
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(STREAM_WINDOW.into())
        .initial_mtu(DATAGRAM_SIZE)
        .mtu_discovery_config(None)
        .default_path_max_idle_timeout(options.path_idle)
        .default_path_keep_alive_interval(options.path_ping)
        .max_concurrent_multipath_paths(options.max_paths);
    Ok(Arc::new(config))
}
