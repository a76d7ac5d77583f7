//! The transfer protocol of `test/peers` over quinn.

use std::{error::Error, net::Ipv4Addr, process::ExitCode, sync::Arc, time::Instant};

use peer_common::{
    DATAGRAM_SIZE, SERVER_NAME, STREAM_WINDOW,
    options::{self, ClientOptions, Command, ServerOptions},
    protocol,
    report::{self, PathReport, Report},
    tls,
};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, ServerConfig, TransportConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
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
    let outcome =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Into::into).and_then(|runtime| {
            runtime.block_on(async {
                let work = async {
                    match command {
                        Command::Server(options) => serve(&options).await,
                        Command::Client(options) => connect(&options).await,
                    }
                };
                tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err("time limit".into()))
            })
        });
    report::finish("quinn", role, started, outcome.map_err(|error| error.to_string()))
}

async fn serve(options: &ServerOptions) -> Outcome {
    let address = *options.listen.first().ok_or("--listen is missing")?;
    let crypto = QuicServerConfig::try_from(tls::server(&options.cert, &options.key)?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport());
    let endpoint = Endpoint::server(config, address)?;
    report::listening(&[endpoint.local_addr()?]);

    let connection = endpoint.accept().await.ok_or("the endpoint is closed")?.await?;
    let mut report = Report::default();
    loop {
        match connection.accept_bi().await {
            Ok((mut send, mut receive)) => {
                let served = protocol::serve(&mut send, &mut receive, || ()).await?;
                report.up += served.up;
                report.down += served.down;
            }
            Err(ConnectionError::ApplicationClosed(close)) if close.error_code == 0_u32.into() => break,
            Err(error) => return Err(error.into()),
        }
    }
    report.paths = vec![path(&connection, connection.remote_address().ip().to_string())];
    Ok(report)
}

async fn connect(options: &ClientOptions) -> Outcome {
    let local = options.paths.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let crypto = QuicClientConfig::try_from(tls::client(&options.ca)?)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport());
    let endpoint = Endpoint::client((local, 0).into())?;
    let remote = options.remote(0).ok_or("--connect is missing")?;
    let connection = endpoint.connect_with(config, remote, SERVER_NAME)?.await?;

    let mut report = Report { up: options.up, down: options.down, ..Report::default() };
    if options.up > 0 {
        let (mut send, mut receive) = connection.open_bi().await?;
        protocol::upload(&mut send, &mut receive, options.up, || ()).await?;
    }
    if options.down > 0 {
        let (mut send, mut receive) = connection.open_bi().await?;
        protocol::download(&mut send, &mut receive, options.down, || ()).await?;
    }
    report.paths = vec![path(&connection, local.to_string())];
    connection.close(0_u32.into(), b"done");
    endpoint.wait_idle().await;
    Ok(report)
}

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config.stream_receive_window(STREAM_WINDOW.into()).initial_mtu(DATAGRAM_SIZE).mtu_discovery_config(None);
    Arc::new(config)
}

fn path(connection: &Connection, address: String) -> PathReport {
    let stats = connection.stats();
    PathReport {
        id: 0,
        address,
        sent: stats.udp_tx.bytes,
        received: stats.udp_rx.bytes,
        stream_frames: Some(stats.frame_tx.stream + stats.frame_rx.stream),
        suspected: false,
        abandoned: false,
    }
}
