//! The transfer protocol of `test/peers` over noq, with the multipath extension.

mod paths;

use std::{error::Error, net::Ipv4Addr, process::ExitCode, sync::Arc, time::Duration, time::Instant};

use noq::{
    ClientConfig, Connection, ConnectionError, Endpoint, FourTuple, PathError, PathId, PathStatus, ServerConfig,
    TransportConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use paths::Paths;
use peer_common::{
    DATAGRAM_SIZE, SERVER_NAME, STREAM_WINDOW,
    options::{self, ClientOptions, Command, ServerOptions},
    protocol,
    report::{self, Report},
    tls,
};

type Outcome = Result<Report, Box<dyn Error>>;

/// Paths that may be open at once.
const MAX_PATHS: u32 = 8;

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
        Command::Server(options) => ("server", options.limit),
        Command::Client(options) => ("client", options.limit),
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
    config.transport_config(transport());
    let endpoint = Endpoint::server(config, address)?;
    report::listening(&[endpoint.local_addr()?]);

    let connection = endpoint.accept().await.ok_or("the endpoint is closed")?.await?;
    let paths = Paths::watch(&connection);
    let mut report = Report::default();
    let mut abandon = Abandon::new(&connection, options.abandon);
    loop {
        match connection.accept_bi().await {
            Ok((mut send, mut receive)) => {
                let served = protocol::serve(&mut send, &mut receive, || abandon.now()).await?;
                report.up += served.up;
                report.down += served.down;
            }
            Err(ConnectionError::ApplicationClosed(close)) if close.error_code == 0_u32.into() => break,
            Err(error) => return Err(error.into()),
        }
    }
    abandon.result?;
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
    config.transport_config(transport());
    let endpoint = Endpoint::client((local, 0).into())?;
    let connection = endpoint.connect_with(config, options.connect, SERVER_NAME)?.await?;
    let paths = Paths::watch(&connection);
    for address in options.paths.iter().skip(1) {
        open_path(&connection, FourTuple::new(options.connect, Some(*address))).await?;
    }

    let mut abandon = Abandon::new(&connection, options.abandon);
    let mut report = Report { up: options.up, down: options.down, ..Report::default() };
    if options.up > 0 {
        let (mut send, mut receive) = connection.open_bi().await?;
        protocol::upload(&mut send, &mut receive, options.up, || abandon.now()).await?;
    }
    if options.down > 0 {
        let (mut send, mut receive) = connection.open_bi().await?;
        protocol::download(&mut send, &mut receive, options.down, || abandon.now()).await?;
    }
    abandon.result?;
    report.multipath = Some(connection.is_multipath_enabled());
    report.paths = paths.reports();
    connection.close(0_u32.into(), b"done");
    endpoint.wait_idle().await;
    Ok(report)
}

/// Opens a path; the peer's connection ids for it may still be on their way.
async fn open_path(connection: &Connection, four_tuple: FourTuple) -> Result<(), Box<dyn Error>> {
    loop {
        match connection.open_path(four_tuple, PathStatus::Available).await {
            Ok(_) => return Ok(()),
            Err(PathError::RemoteCidsExhausted | PathError::MaxPathIdReached) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The wish to abandon a path in the middle of the first transfer.
struct Abandon<'a> {
    connection: &'a Connection,
    path: Option<u32>,
    result: Result<(), Box<dyn Error>>,
}

impl<'a> Abandon<'a> {
    fn new(connection: &'a Connection, path: Option<u32>) -> Self {
        Self { connection, path, result: Ok(()) }
    }

    fn now(&mut self) {
        let Some(id) = self.path.take() else { return };
        self.result = match self.connection.path(PathId::from(id)) {
            Some(path) => path.close().map_err(Into::into),
            None => Err(format!("there is no path {id} to abandon").into()),
        };
    }
}

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(STREAM_WINDOW.into())
        .initial_mtu(DATAGRAM_SIZE)
        .mtu_discovery_config(None)
        .max_concurrent_multipath_paths(MAX_PATHS);
    Arc::new(config)
}
