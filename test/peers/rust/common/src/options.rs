//! The command line, the same for all programs.
//!
//! ```text
//! server --listen ADDR[,ADDR2] --cert FILE --key FILE [COMMON]
//! client --connect ADDR[,ADDR2] --ca FILE [--paths IP,IP2] [--up BYTES] [--down BYTES] [--churn COUNT] [--backup 1]
//!        [--settle MS] [--handshake single|stagger] [COMMON]
//! COMMON: [--abandon PATH] [--update-keys 1] [--max-paths COUNT] [--raise COUNT] [--path-idle MS] [--path-ping MS]
//!         [--limit SECONDS]
//! ```
//! Switches take 0 or 1. What a library cannot do by its nature its program refuses by name.

use std::{fmt::Display, net::IpAddr, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

/// Paths that may be open at once when nothing else is said.
const MAX_PATHS: u32 = 8;

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
    /// What both roles know.
    pub common: CommonOptions,
}

/// What both roles know.
#[derive(Clone, Debug)]
pub struct CommonOptions {
    /// What is done in the middle of the first transfer.
    pub middle: Middle,
    /// Paths wanted at once, 1 ..; the transport parameter promises one less as the highest id.
    pub max_paths: u32,
    /// So many paths are wanted a moment after the handshake.
    pub raise: Option<u32>,
    /// A path silent for so long is given up, where the library does not decide that by itself.
    pub path_idle: Option<Duration>,
    /// A path on which nothing came for so long is pinged, where the library does not see to that by itself.
    pub path_ping: Option<Duration>,
    /// Time for everything.
    pub limit: Duration,
}

/// What is done when half of the first transfer is through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Middle {
    /// Path id to abandon.
    pub abandon: Option<u32>,
    /// A key update begins.
    pub update_keys: bool,
    /// The runner is told: it may do something to the network.
    pub announce: bool,
}

/// A client's options.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The server, as each path reaches it; the last address counts for all further paths.
    pub connect: Vec<SocketAddr>,
    /// Trust anchors, PEM.
    pub ca: PathBuf,
    /// Own addresses, one path each; the first carries the handshake. Empty: whatever the system picks, one path.
    pub paths: Vec<IpAddr>,
    /// Bytes to send; 0: no upload.
    pub up: u64,
    /// Bytes to fetch; 0: no download.
    pub down: u64,
    /// Times that a path is opened and abandoned from the second address before the transfers.
    pub churn: u32,
    /// All paths but the first are for spare.
    pub backup: bool,
    /// Time between the opening of the last path and the first transfer.
    pub settle: Duration,
    /// How the first path is found among several, where the library has a choice.
    pub handshake: Handshake,
    /// What both roles know.
    pub common: CommonOptions,
}

/// How a client finds its first path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// It is the first of the list.
    Single,
    /// Whichever answers first; the first of the list begins.
    Stagger,
}

impl FromStr for Handshake {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "single" => Ok(Self::Single),
            "stagger" => Ok(Self::Stagger),
            other => Err(format!("{other} is no handshake")),
        }
    }
}

impl ClientOptions {
    /// Where the server is for path number `index` of this client.
    #[must_use]
    pub fn remote(&self, index: usize) -> Option<SocketAddr> {
        self.connect.get(index).or(self.connect.last()).copied()
    }
}

/// Reads a command line without the program's name.
///
/// # Errors
/// What is wrong, in words for the terminal.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter();
    let role = arguments.next().ok_or("server or client?")?;
    let mut flags = Flags { left: pairs(arguments)? };
    let common = CommonOptions {
        middle: Middle {
            abandon: flags.take("abandon")?,
            update_keys: flags.switch("update-keys")?,
            announce: role == "client",
        },
        max_paths: flags.take("max-paths")?.unwrap_or(MAX_PATHS),
        raise: flags.take("raise")?,
        path_idle: flags.take("path-idle")?.map(Duration::from_millis),
        path_ping: flags.take("path-ping")?.map(Duration::from_millis),
        limit: Duration::from_secs(flags.take("limit")?.unwrap_or(30)),
    };
    let command = match role.as_str() {
        "server" => Command::Server(ServerOptions {
            listen: flags.list("listen")?,
            cert: flags.required("cert")?,
            key: flags.required("key")?,
            common,
        }),
        "client" => Command::Client(ClientOptions {
            connect: flags.list("connect")?,
            ca: flags.required("ca")?,
            paths: flags.list("paths")?,
            up: flags.take("up")?.unwrap_or(0),
            down: flags.take("down")?.unwrap_or(0),
            churn: flags.take("churn")?.unwrap_or(0),
            backup: flags.switch("backup")?,
            settle: Duration::from_millis(flags.take("settle")?.unwrap_or(0)),
            handshake: flags.take("handshake")?.unwrap_or(Handshake::Stagger),
            common,
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

    fn switch(&mut self, name: &str) -> Result<bool, String> {
        Ok(self.take::<u8>(name)?.unwrap_or(0) != 0)
    }

    fn list<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Vec<T>, String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').filter(|part| !part.is_empty()).map(|part| read(name, part)).collect()
    }
}

fn read<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("--{name} {text}: {error}"))
}
