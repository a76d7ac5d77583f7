//! Links in user space between a client and a server, one for each path.
//!
//! ```text
//! relay --target ADDR --links COUNT --mbit RATE --delay-ms ONE_WAY
//! ```
//! The first line of stdout has the addresses of the links. Lines of stdin are orders (`cut 1`, `restore 1`, `rebind 1`); each is
//! answered by a line with the counters of all links at that moment, and so is the end of stdin, which ends the program.

use std::{
    io::{BufRead, Write, stdin, stdout},
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use qdriver::relay::{LineConfig, LinkConfig, Relay, RelayConfig};
use serde_json::{Value, json};

/// Time on the line that waits before a link at most, milliseconds.
const QUEUE_MS: u64 = 50;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("{words}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let relay = Relay::spawn(RelayConfig::new(links()?)).map_err(|error| error.to_string())?;
    let listen: Vec<String> = relay.links().iter().map(|link| link.listen.to_string()).collect();
    print(&json!({ "listening": listen }));
    for line in stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let (order, link) = line.split_once(' ').ok_or("an order and a link")?;
        let link = read(link)?;
        match order {
            "cut" => relay.cut(link),
            "restore" => relay.restore(link),
            "rebind" => relay.rebind(link, None),
            other => return Err(format!("no order {other}")),
        }
        print(&counters(&relay));
    }
    print(&counters(&relay));
    relay.stop().map_err(|error| error.to_string())
}

fn links() -> Result<Vec<LinkConfig>, String> {
    let (mut target, mut links, mut mbit, mut delay_ms) = (None, 1_usize, 100_u64, 0_u64);
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} wants a value"))?;
        match flag.as_str() {
            "--target" => target = Some(read::<SocketAddr>(&value)?),
            "--links" => links = read(&value)?,
            "--mbit" => mbit = read(&value)?,
            "--delay-ms" => delay_ms = read(&value)?,
            other => return Err(format!("unknown option {other}")),
        }
    }
    let target = target.ok_or("--target is missing")?;
    let line = LineConfig {
        bits_per_second: Some(mbit * 1_000_000),
        delay: Duration::from_millis(delay_ms),
        queue_bytes: mbit * 1_000 / 8 * QUEUE_MS,
        ..LineConfig::default()
    };
    let link = |_| LinkConfig::new((Ipv4Addr::LOCALHOST, 0).into(), target).with_lines(line);
    Ok((0..links).map(link).collect())
}

/// UDP payload that went through each link, and datagrams lost because it was cut.
fn counters(relay: &Relay) -> Value {
    let links = (0..relay.links().len()).map(|link| {
        let counted = relay.counters(link);
        json!({ "up": counted.up.bytes_out, "down": counted.down.bytes_out, "cut": counted.up.cut + counted.down.cut })
    });
    json!({ "links": links.collect::<Vec<_>>() })
}

fn read<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} makes no sense"))
}

/// A reader that went away takes the line with it; nobody is left to be told.
fn print(line: &Value) {
    let mut out = stdout().lock();
    if writeln!(out, "{line}").is_ok() {
        out.flush().unwrap_or_default();
    }
}
