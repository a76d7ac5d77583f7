//! The multipath cases over noq, as its users have it: defaults, but for what the command line says.
//!
//! ```text
//! multipath-noq server --listen ADDR --cert FILE --key FILE [--congestion cubic|bbr3] [--path-idle MS]
//! multipath-noq client --ca FILE --path LOCAL,REMOTE [--path …] --bytes N [the same]
//! ```
//! The server prints `{"listening":ADDR}` and sends on the first stream as many bytes as eight bytes ask for. The client prints
//! `{"started":true}` with its request and ends with `{"handshakeMs","seconds","stallMs","bytes"}` or `{"lost":WORDS}`: the
//! connection, or what was left of it.

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use noq::{
    ClientConfig, Connection, ConnectionError, Endpoint, FourTuple, PathError, PathStatus, ServerConfig, TransportConfig,
    congestion::Bbr3Config,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::TLS13,
};
use serde_json::{Value, json};

type Failure = Box<dyn Error>;

const ALPN: &[u8] = b"qb-bench";
const SERVER_NAME: &str = "localhost";
/// Paths that may be open at once.
const MAX_PATHS: u32 = 8;
/// Pieces that the server writes.
static CHUNK: [u8; 65_536] = [7; 65_536];
/// Rest before a path is asked for again that the peer has given no ids for yet.
const RETRY: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::from(2);
        }
    };
    let run = async {
        match options.role.as_str() {
            "server" => serve(&options).await,
            _ => connect(&options).await,
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(run)) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}", json!({ "lost": error.to_string() }));
            ExitCode::SUCCESS
        }
    }
}

async fn serve(options: &Options) -> Result<Value, Failure> {
    let chain = CertificateDer::pem_file_iter(options.file("cert")?)?.collect::<Result<Vec<_>, _>>()?;
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(options.file("key")?)?)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(options.transport());
    let endpoint = Endpoint::server(config, options.listen.ok_or("--listen is missing")?)?;
    println!("{}", json!({ "listening": endpoint.local_addr()?.to_string() }));
    let connection = endpoint.accept().await.ok_or("the endpoint is closed")?.await?;
    loop {
        let (mut send, mut receive) = match connection.accept_bi().await {
            Ok(stream) => stream,
            Err(ConnectionError::ApplicationClosed(_)) => return Ok(json!({ "served": true })),
            Err(error) => return Err(error.into()),
        };
        let mut count = [0; 8];
        receive.read_exact(&mut count).await?;
        let mut left = u64::from_be_bytes(count);
        while left > 0 {
            let length = CHUNK.len().min(usize::try_from(left).unwrap_or(CHUNK.len()));
            send.write_all(&CHUNK[..length]).await?;
            left -= length as u64;
        }
        send.finish()?;
    }
}

async fn connect(options: &Options) -> Result<Value, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(options.file("ca")?)? {
        roots.add(certificate?)?;
    }
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(options.transport());
    let first = *options.paths.first().ok_or("--path is missing")?;
    // One socket sends from all addresses.
    let endpoint = Endpoint::client(([0, 0, 0, 0], 0).into())?;

    let started = Instant::now();
    let connection = endpoint.connect_with(config, first.remote, SERVER_NAME)?.await?;
    let handshake = started.elapsed();
    for path in options.paths.iter().skip(1) {
        open_path(&connection, *path).await?;
    }
    let (seconds, stall) = if options.bytes > 0 { download(&connection, options.bytes).await? } else { (0.0, Duration::ZERO) };
    connection.close(0_u32.into(), b"done");
    endpoint.wait_idle().await;
    Ok(json!({
        "handshakeMs": handshake.as_secs_f64() * 1e3,
        "seconds": seconds,
        "stallMs": stall.as_secs_f64() * 1e3,
        "bytes": options.bytes,
    }))
}

/// Seconds from the request to the last byte, and the longest time without a new one.
async fn download(connection: &Connection, bytes: u64) -> Result<(f64, Duration), Failure> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let started = Instant::now();
    println!("{}", json!({ "started": true }));
    send.write_all(&bytes.to_be_bytes()).await?;
    send.finish()?;
    let (mut count, mut last, mut stall) = (0, started, Duration::ZERO);
    while let Some(chunk) = receive.read_chunk(usize::MAX).await? {
        let now = Instant::now();
        stall = stall.max(now - last);
        last = now;
        count += chunk.len() as u64;
    }
    if count == bytes { Ok((started.elapsed().as_secs_f64(), stall)) } else { Err(format!("{count} bytes of {bytes}").into()) }
}

/// Opens a path; the peer's connection ids for it may still be on their way.
async fn open_path(connection: &Connection, path: PathSpec) -> Result<(), Failure> {
    loop {
        match connection.open_path(FourTuple::new(path.remote, Some(path.local)), PathStatus::Available).await {
            Ok(_) => return Ok(()),
            Err(PathError::RemoteCidsExhausted | PathError::MaxPathIdReached) => tokio::time::sleep(RETRY).await,
            Err(error) => return Err(error.into()),
        }
    }
}

#[derive(Clone, Copy)]
struct PathSpec {
    local: IpAddr,
    remote: SocketAddr,
}

#[derive(Default)]
struct Options {
    role: String,
    listen: Option<SocketAddr>,
    paths: Vec<PathSpec>,
    files: Vec<(String, PathBuf)>,
    bytes: u64,
    congestion: String,
    path_idle: Option<Duration>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let role = arguments.next().filter(|role| ["server", "client"].contains(&role.as_str())).ok_or("server or client?")?;
        let mut options = Self { role, ..Self::default() };
        while let Some(flag) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{flag} wants a value"))?;
            match flag.as_str() {
                "--listen" => options.listen = Some(read(&value)?),
                "--path" => {
                    let (local, remote) = value.split_once(',').ok_or("--path LOCAL,REMOTE")?;
                    options.paths.push(PathSpec { local: read(local)?, remote: read(remote)? });
                }
                "--cert" | "--key" | "--ca" => options.files.push((flag[2..].to_owned(), value.into())),
                "--bytes" => options.bytes = read(&value)?,
                "--congestion" => options.congestion = value,
                "--path-idle" => options.path_idle = Some(Duration::from_millis(read(&value)?)),
                other => return Err(format!("unknown option {other}")),
            }
        }
        Ok(options)
    }

    fn file(&self, name: &str) -> Result<&Path, String> {
        let file = self.files.iter().find(|(other, _)| other == name);
        file.map(|(_, path)| path.as_path()).ok_or_else(|| format!("--{name} is missing"))
    }

    fn transport(&self) -> Arc<TransportConfig> {
        let mut config = TransportConfig::default();
        config.max_concurrent_multipath_paths(MAX_PATHS).default_path_max_idle_timeout(self.path_idle);
        if self.congestion == "bbr3" {
            config.congestion_controller_factory(Arc::new(Bbr3Config::default()));
        }
        Arc::new(config)
    }
}

fn read<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} makes no sense"))
}
