//! The link emulator for demonstrations and tests: `relayStart`, `relayCommand`, `relayStatistics`, `relayStop`.
//!
//! The JSON is that of `src/binding/relay.ts`. Decides nothing: `qdriver::relay` moves the datagrams.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use qdriver::relay::{CaptureFiles, LineConfig, LineCounters, LinkConfig, Relay, RelayConfig};
use serde::{Deserialize, Serialize};

use crate::{
    error::NativeError,
    failures::spawn_failure,
    lock::{Lock, lock},
    options::millis,
};

/// `RelayOptions`.
#[derive(Deserialize)]
struct Options {
    links: Vec<Link>,
    #[serde(default = "one")]
    seed: u64,
}

/// `RelayLink`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    listen: SocketAddr,
    target: SocketAddr,
    rate_bits_per_sec: Option<f64>,
    #[serde(default)]
    delay_ms: f64,
    queue_bytes: Option<u64>,
    #[serde(default)]
    loss: f64,
    #[serde(default)]
    corruption: f64,
    #[serde(default)]
    max_in_a_row: u32,
    #[serde(default)]
    drop_to_target: Vec<u32>,
    #[serde(default)]
    drop_to_client: Vec<u32>,
    max_datagram_bytes: Option<usize>,
    source: Option<IpAddr>,
    capture: Option<Capture>,
}

/// Files of `RelayLink.capture`.
#[derive(Clone, Deserialize)]
struct Capture {
    client: PathBuf,
    target: PathBuf,
}

const fn one() -> u64 {
    1
}

/// `RelayCommand`.
#[derive(Deserialize)]
struct Command {
    #[serde(rename = "do")]
    act: Act,
    link: usize,
    /// Of `rebind`.
    source: Option<IpAddr>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Act {
    Cut,
    Restore,
    Rebind,
}

/// `RelayStatistics`.
#[derive(Serialize)]
struct Statistics {
    links: Vec<LinkStatistics>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkStatistics {
    listen: String,
    up: bool,
    to_target: Direction,
    to_client: Direction,
}

#[derive(Serialize)]
struct Direction {
    datagrams: u64,
    bytes: u64,
    corrupted: u64,
    dropped: Dropped,
}

#[derive(Serialize)]
struct Dropped {
    cut: u64,
    queue: u64,
    loss: u64,
}

/// A running set of links. JavaScript holds it; dropping it ends the thread.
pub struct RelayHandle {
    relay: Lock<Option<Relay>>,
}

impl RelayHandle {
    /// Binds all links and starts the thread.
    ///
    /// # Errors
    /// QB_BIND_FAILED, QB_OPTION_INVALID.
    pub fn start(json: &str) -> Result<Self, NativeError> {
        let options: Options = serde_json::from_str(json)?;
        let seed = options.seed;
        let links = (0..).zip(options.links).map(|(index, link)| link.config(seed.wrapping_add(index))).collect::<Result<_, _>>()?;
        let relay = Relay::spawn(RelayConfig::new(links)).map_err(|error| spawn_failure(&error))?;
        Ok(Self { relay: Lock::new(Some(relay)) })
    }

    /// Cuts or mends a link, or gives its clients other ports towards the target.
    ///
    /// # Errors
    /// QB_INTERNAL: the JSON is none of ours.
    pub fn command(&self, json: &str) -> Result<(), NativeError> {
        let Command { act, link, source } = serde_json::from_str(json)?;
        if let Some(relay) = &*lock(&self.relay) {
            match act {
                Act::Cut => relay.cut(link),
                Act::Restore => relay.restore(link),
                Act::Rebind => relay.rebind(link, source),
            }
        }
        Ok(())
    }

    /// What went through and what did not; no links once it was stopped.
    ///
    /// # Errors
    /// QB_INTERNAL.
    pub fn statistics(&self) -> Result<String, NativeError> {
        let relay = lock(&self.relay);
        let links = relay.iter().flat_map(|relay| {
            relay.links().iter().enumerate().map(|(index, facts)| {
                let counters = relay.counters(index);
                LinkStatistics {
                    listen: facts.listen.to_string(),
                    up: !relay.is_cut(index),
                    to_target: Direction::of(&counters.up),
                    to_client: Direction::of(&counters.down),
                }
            })
        });
        Ok(serde_json::to_string(&Statistics { links: links.collect() })?)
    }

    /// Closes the sockets and joins the thread.
    pub fn stop(&self) {
        let relay = lock(&self.relay).take();
        drop(relay);
    }
}

impl Direction {
    const fn of(line: &LineCounters) -> Self {
        Self {
            datagrams: line.datagrams_out,
            bytes: line.bytes_out,
            corrupted: line.corrupted,
            dropped: Dropped { cut: line.cut, queue: line.overflowed, loss: line.lost },
        }
    }
}

impl Link {
    fn config(&self, seed: u64) -> Result<LinkConfig, NativeError> {
        let default = LineConfig::default();
        let bits = |rate: f64| {
            let is_rate = rate.is_finite() && rate >= 1.0;
            if is_rate { Ok(rate as u64) } else { Err(NativeError::option("rateBitsPerSec", "is no rate")) }
        };
        for (name, share) in [("loss", self.loss), ("corruption", self.corruption)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(NativeError::option(name, "is not within 0 and 1"));
            }
        }
        let line = LineConfig {
            bits_per_second: self.rate_bits_per_sec.map(bits).transpose()?,
            delay: if self.delay_ms == 0.0 { Duration::ZERO } else { millis("delayMs", self.delay_ms)? },
            queue_bytes: self.queue_bytes.unwrap_or(default.queue_bytes),
            loss: self.loss,
            corruption: self.corruption,
            max_in_a_row: self.max_in_a_row,
            drop_list: 0,
            max_datagram: self.max_datagram_bytes,
        };
        let capture = self.capture.clone().map(|Capture { client, target }| CaptureFiles { client, target });
        Ok(LinkConfig {
            seed,
            source: self.source,
            capture,
            up: LineConfig { drop_list: drop_list("dropToTarget", &self.drop_to_target)?, ..line },
            down: LineConfig { drop_list: drop_list("dropToClient", &self.drop_to_client)?, ..line },
            ..LinkConfig::new(self.listen, self.target)
        })
    }
}

/// Datagrams by their numbers, as bits.
fn drop_list(field: &'static str, numbers: &[u32]) -> Result<u64, NativeError> {
    numbers.iter().try_fold(0, |list, number| {
        let bit = number.checked_sub(1).and_then(|bit| 1_u64.checked_shl(bit));
        bit.map(|bit| list | bit).ok_or_else(|| NativeError::option(field, "has a number that is not within 1 and 64"))
    })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn datagrams_pass_until_the_link_is_cut() {
        let target = UdpSocket::bind("127.0.0.1:0").expect("bind");
        target.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
        let address = target.local_addr().expect("address");
        let relay = RelayHandle::start(&format!(r#"{{"links":[{{"listen":"127.0.0.1:0","target":"{address}"}}]}}"#));
        let relay = relay.unwrap_or_else(|error| panic!("{error:?}"));
        let read = || serde_json::from_str::<serde_json::Value>(&relay.statistics().expect("json")).expect("json");
        let listen = read()["links"][0]["listen"].as_str().expect("address").to_owned();
        let client = UdpSocket::bind("127.0.0.1:0").expect("bind");
        client.send_to(b"hello", &listen).expect("send");
        let mut buffer = [0; 16];
        assert_eq!(target.recv(&mut buffer).expect("datagram"), 5);
        relay.command(r#"{"do":"cut","link":0}"#).expect("command");
        assert_eq!(read()["links"][0]["up"], false);
        relay.stop();
        assert_eq!(read()["links"].as_array().map(Vec::len), Some(0));
    }

    #[test]
    fn links_that_cannot_be_are_refused() {
        for (fields, field) in [(r#""loss":2"#, "loss"), (r#""rateBitsPerSec":0"#, "rateBitsPerSec"), (r#""delayMs":-1"#, "delayMs"), (r#""corruption":-0.1"#, "corruption"), (r#""dropToTarget":[0]"#, "dropToTarget"), (r#""dropToClient":[65]"#, "dropToClient")] {
            let json = format!(r#"{{"links":[{{"listen":"127.0.0.1:0","target":"127.0.0.1:1",{fields}}}]}}"#);
            assert_eq!(RelayHandle::start(&json).err().and_then(|error| error.facts().field.clone()).as_deref(), Some(field));
        }
        let json = r#"{"links":[{"listen":"192.0.2.1:0","target":"127.0.0.1:1"}]}"#;
        assert_eq!(RelayHandle::start(json).err().map(|error| error.facts().code), Some("QB_BIND_FAILED"));
    }
}
