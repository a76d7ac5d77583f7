//! Links in user space between two network namespaces that have nothing but loopback: a socket of each link stands in either.
//!
//! ```text
//! multipath-relay --client NETNS --server NETNS --target ADDR --link LISTEN,SOURCE,MBIT,DELAY_MS,LOSS [--link …] [--seed N]
//! ```
//! `LISTEN` is where clients send to in their namespace, `SOURCE` our address towards `--target` in the server's. Prints
//! `{"listening":[…]}`; lines of stdin are orders (`cut 0`, `restore 0`); its end ends the program.
//!
//! Both lines of a link are alike: the rate counts UDP payload, the delay is one way, the queue holds [`QUEUE`] of the rate and
//! drops at its tail, losses strike before the queue. ECN marks do not pass.

mod line;
mod link;
mod namespace;

use std::{
    io::{BufRead, Write, stdin, stdout},
    net::SocketAddr,
    process::ExitCode,
    str::FromStr,
    sync::mpsc,
    thread,
    time::Duration,
};

use line::Shape;
use link::{Link, Order};
use serde_json::json;

/// Time on the line that waits before it at most.
const QUEUE: Duration = Duration::from_millis(100);

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
    let options = Options::parse(std::env::args().skip(1))?;
    let mut orders = Vec::new();
    let mut listening = Vec::new();
    for (index, spec) in options.links.iter().enumerate() {
        let near = namespace::bind(&options.client, spec.listen).map_err(|error| format!("{}: {error}", spec.listen))?;
        let far = namespace::bind(&options.server, spec.source).map_err(|error| format!("{}: {error}", spec.source))?;
        listening.push(near.local_addr().map_err(|error| error.to_string())?.to_string());
        let (sender, receiver) = mpsc::channel();
        orders.push(sender);
        let seed = options.seed.wrapping_mul(1_000).wrapping_add(index as u64);
        let mut link = Link::new(near, far, options.target, spec.shape, seed, receiver).map_err(|error| error.to_string())?;
        thread::spawn(move || link.run());
    }
    let mut out = stdout().lock();
    writeln!(out, "{}", json!({ "listening": listening })).and_then(|()| out.flush()).map_err(|error| error.to_string())?;
    for line in stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let (order, link) = line.split_once(' ').ok_or("an order and a link")?;
        let order = match order {
            "cut" => Order::Cut,
            "restore" => Order::Restore,
            other => return Err(format!("no order {other}")),
        };
        let orders = orders.get(read::<usize>(link)?).ok_or("no such link")?;
        orders.send(order).map_err(|error| error.to_string())?;
    }
    Ok(())
}

struct Options {
    client: String,
    server: String,
    target: SocketAddr,
    links: Vec<LinkSpec>,
    seed: u64,
}

struct LinkSpec {
    listen: SocketAddr,
    source: SocketAddr,
    shape: Shape,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut client, mut server, mut target, mut links, mut seed) = (None, None, None, Vec::new(), 1);
        while let Some(flag) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{flag} wants a value"))?;
            match flag.as_str() {
                "--client" => client = Some(value),
                "--server" => server = Some(value),
                "--target" => target = Some(read(&value)?),
                "--link" => links.push(value.parse()?),
                "--seed" => seed = read(&value)?,
                other => return Err(format!("unknown option {other}")),
            }
        }
        let missing = "--client, --server and --target are needed";
        Ok(Self { client: client.ok_or(missing)?, server: server.ok_or(missing)?, target: target.ok_or(missing)?, links, seed })
    }
}

impl FromStr for LinkSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').collect();
        let &[listen, source, mbit, delay_ms, loss] = parts.as_slice() else { return Err(format!("{text} is no link")) };
        let shape = Shape {
            bits_per_second: read::<f64>(mbit)? * 1e6,
            delay: Duration::from_secs_f64(read::<f64>(delay_ms)? / 1e3),
            queue: QUEUE,
            loss: read(loss)?,
        };
        Ok(Self { listen: read(listen)?, source: read(source)?, shape })
    }
}

fn read<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} makes no sense"))
}
