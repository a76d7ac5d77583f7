//! The command line, the same for all programs.
//!
//! ```text
//! server --listen ADDR[,ADDR2] --cert FILE --key FILE [--abandon PATH] [--limit SECONDS]
//! client --connect ADDR --ca FILE [--paths IP,IP2] [--up BYTES] [--down BYTES] [--abandon PATH] [--limit SECONDS]
//! ```

use std::{fmt::Display, net::IpAddr, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

/// What a program was asked to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Serve one connection.
    Server(ServerOptions),
    /// Make one connection.
    Client(ClientOptions),
}

/// A server's options.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Addresses to listen at; programs with one socket use the first.
    pub listen: Vec<SocketAddr>,
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Path id to abandon when half of the first transfer is through.
    pub abandon: Option<u32>,
    /// Time for everything.
    pub limit: Duration,
}

/// A client's options.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The server.
    pub connect: SocketAddr,
    /// Trust anchors, PEM.
    pub ca: PathBuf,
    /// Own addresses, one path each; the first carries the handshake. Empty: whatever the system picks, one path.
    pub paths: Vec<IpAddr>,
    /// Bytes to send; 0: no upload.
    pub up: u64,
    /// Bytes to fetch; 0: no download.
    pub down: u64,
    /// Path id to abandon when half of the first transfer is through.
    pub abandon: Option<u32>,
    /// Time for everything.
    pub limit: Duration,
}

/// Reads a command line without the program's name.
///
/// # Errors
/// What is wrong, in words for the terminal.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter();
    let role = arguments.next().ok_or("server or client?")?;
    let mut flags = Flags { left: pairs(arguments)? };
    let limit = Duration::from_secs(flags.take("limit")?.unwrap_or(30));
    let abandon = flags.take("abandon")?;
    let command = match role.as_str() {
        "server" => Command::Server(ServerOptions {
            listen: flags.list("listen")?,
            cert: flags.required("cert")?,
            key: flags.required("key")?,
            abandon,
            limit,
        }),
        "client" => Command::Client(ClientOptions {
            connect: flags.required("connect")?,
            ca: flags.required("ca")?,
            paths: flags.list("paths")?,
            up: flags.take("up")?.unwrap_or(0),
            down: flags.take("down")?.unwrap_or(0),
            abandon,
            limit,
        }),
        other => return Err(format!("server or client, not {other}")),
    };
    match flags.left.first() {
        Some((name, _)) => Err(format!("unknown option --{name}")),
        None => Ok(command),
    }
}

fn pairs(mut arguments: impl Iterator<Item = String>) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    while let Some(flag) = arguments.next() {
        let name = flag.strip_prefix("--").ok_or_else(|| format!("{flag} is no option"))?.to_owned();
        let value = arguments.next().ok_or_else(|| format!("--{name} wants a value"))?;
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// The options not looked at yet.
struct Flags {
    left: Vec<(String, String)>,
}

impl Flags {
    fn text(&mut self, name: &str) -> Option<String> {
        let index = self.left.iter().position(|(other, _)| other == name)?;
        Some(self.left.remove(index).1)
    }

    fn take<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, String> {
        self.text(name).map(|text| read(name, &text)).transpose()
    }

    fn required<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T, String> {
        self.take(name)?.ok_or_else(|| format!("--{name} is missing"))
    }

    fn list<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Vec<T>, String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').filter(|part| !part.is_empty()).map(|part| read(name, part)).collect()
    }
}

fn read<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("--{name} {text}: {error}"))
}
