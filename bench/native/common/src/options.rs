//! The command line, the same for all programs.
//!
//! ```text
//! server --case CASE --cert FILE --key FILE [--gso off] [--multipath off]
//! client --case CASE --connect ADDR --ca FILE --seconds S [--streams N] [--in-flight N] [--gso off] [--multipath off]
//! ```
//! A server prints its address, works until its stdin ends, then prints its report.

use std::{fmt::Display, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Bytes of a few streams.
    Bulk,
    /// Connections made and closed.
    Handshakes,
    /// Small requests on one connection.
    Streams,
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bulk" => Ok(Self::Bulk),
            "handshakes" => Ok(Self::Handshakes),
            "streams" => Ok(Self::Streams),
            other => Err(format!("{other} is no case")),
        }
    }
}

/// A feature of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Used.
    On,
    /// Not used.
    Off,
}

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            other => Err(format!("on or off, not {other}")),
        }
    }
}

/// What a program was asked to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Serve until stdin ends.
    Server(ServerOptions),
    /// Measure.
    Client(ClientOptions),
}

/// A server's options.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// What is measured.
    pub case: Case,
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Segmentation offload.
    pub gso: Switch,
    /// Whether the multipath extension is offered, by programs that know it.
    pub multipath: Switch,
}

/// A client's options.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// What is measured.
    pub case: Case,
    /// The server.
    pub connect: SocketAddr,
    /// Trust anchors, PEM.
    pub ca: PathBuf,
    /// Time of the measurement.
    pub time: Duration,
    /// Streams of `bulk`.
    pub streams: usize,
    /// Operations at once of the other cases.
    pub in_flight: usize,
    /// Segmentation offload.
    pub gso: Switch,
    /// Whether the multipath extension is offered, by programs that know it.
    pub multipath: Switch,
}

/// Reads a command line without the program's name.
///
/// # Errors
/// What is wrong, in words for the terminal.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter();
    let role = arguments.next().ok_or("server or client?")?;
    let mut flags = Flags { left: pairs(arguments)? };
    let case = flags.required("case")?;
    let gso = flags.take("gso")?.unwrap_or(Switch::On);
    let multipath = flags.take("multipath")?.unwrap_or(Switch::On);
    let command = match role.as_str() {
        "server" => {
            let (cert, key) = (flags.required("cert")?, flags.required("key")?);
            Command::Server(ServerOptions { case, cert, key, gso, multipath })
        }
        "client" => Command::Client(ClientOptions {
            case,
            connect: flags.required("connect")?,
            ca: flags.required("ca")?,
            time: Duration::from_secs_f64(flags.required("seconds")?),
            streams: flags.take("streams")?.unwrap_or(1),
            in_flight: flags.take("in-flight")?.unwrap_or(1),
            gso,
            multipath,
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
    fn take<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(index) = self.left.iter().position(|(other, _)| other == name) else { return Ok(None) };
        let (_, text) = self.left.remove(index);
        text.parse().map(Some).map_err(|error| format!("--{name} {text}: {error}"))
    }

    fn required<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T, String> {
        self.take(name)?.ok_or_else(|| format!("--{name} is missing"))
    }
}
