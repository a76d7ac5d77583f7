//! Runs a role on the I/O thread until it has an outcome or the time is over.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use peer_common::{
    DATAGRAM_SIZE, STREAM_WINDOW,
    options::{CommonOptions, Handshake, Middle},
    report::{self, Report},
};
use qbase::{PathId, Timestamp};
use qconnection::{Connection, Endpoint, EndpointConfig, HandshakeMode, Multipath, Scheduler, TransportConfig};
use qdriver::{Application, Driver, DriverConfig, DriverHandle, Io, socket::SocketConfig};
use ring::rand::{SecureRandom, SystemRandom};

/// A role: looks at the endpoint once per turn.
pub trait Role: Send + 'static {
    /// One turn; `Some` when there is nothing left to do.
    ///
    /// # Errors
    /// Why it cannot go on.
    fn turn(&mut self, io: &mut Io<'_, Endpoint>) -> Result<Option<Report>, String>;
}

/// Starts a role on `sockets`; `outcome` of the result waits for it.
pub fn start(
    sockets: Vec<SocketConfig>,
    role: impl Role,
    limit: Duration,
    prepare: impl FnOnce(&mut Endpoint),
) -> Result<Running, String> {
    let mut endpoint = Endpoint::new(EndpointConfig { secret: random()?, ..EndpointConfig::default() }, random()?);
    prepare(&mut endpoint);
    let (sender, outcome) = mpsc::channel();
    let config = DriverConfig { sockets, ..DriverConfig::default() };
    let handle = Driver::spawn(config, endpoint, Turns { role, limit, ends_at: None, sender })
        .map_err(|error| error.to_string())?;
    Ok(Running { handle, outcome })
}

/// A role at work.
pub struct Running {
    handle: DriverHandle,
    outcome: mpsc::Receiver<Result<Report, String>>,
}

impl Running {
    /// The driver.
    pub const fn handle(&self) -> &DriverHandle {
        &self.handle
    }

    /// Waits for the end.
    pub fn outcome(self) -> Result<Report, String> {
        self.handle.join().map_err(|error| error.to_string())?;
        self.outcome.recv().unwrap_or_else(|_| Err("the driver ended without an outcome".to_owned()))
    }
}

/// Gives a role its turns.
struct Turns<R> {
    role: R,
    limit: Duration,
    ends_at: Option<Timestamp>,
    sender: mpsc::Sender<Result<Report, String>>,
}

impl<R: Role> Application<Endpoint> for Turns<R> {
    fn on_turn(&mut self, io: &mut Io<'_, Endpoint>) {
        let ends_at = *self.ends_at.get_or_insert(io.now + self.limit);
        // The role may wish for an earlier turn.
        io.wake_at(ends_at);
        let outcome = match self.role.turn(io) {
            Ok(None) if io.now >= ends_at => Err(format!("time limit; {}", explain(io.endpoint, io.now))),
            Ok(None) => return,
            Ok(Some(report)) => Ok(report),
            Err(words) => Err(words),
        };
        io.stop();
        // Nobody is left to hear it when the main thread is gone.
        self.sender.send(outcome).unwrap_or_default();
    }
}

/// Why the connections are silent.
fn explain(endpoint: &Endpoint, now: Timestamp) -> String {
    let connections = endpoint.handles().filter_map(|handle| endpoint.connection(handle));
    connections.flat_map(|connection| connection.explain(now)).collect::<Vec<_>>().join("; ")
}

/// Does once what is wished for the middle of the first transfer. A key update waits while one of the peer is under way
/// (RFC 9001 §6.1).
pub fn at_middle(connection: &mut Connection, now: Timestamp, wish: &mut Middle, passed: u64, count: u64) -> Result<(), String> {
    if passed < count / 2 || passed >= count {
        return Ok(());
    }
    let Middle { abandon, update_keys, announce } = std::mem::take(wish);
    if announce {
        report::middle();
    }
    wish.update_keys = update_keys && !connection.update_key(now);
    match abandon {
        Some(path) => connection.abandon_path(now, PathId(path), 0).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

/// Wants more paths than the transport parameters promised, once, [`RAISE_AFTER`] the handshake.
#[derive(Default)]
pub struct Raise {
    wish: Option<u32>,
    due: Option<Timestamp>,
}

impl Raise {
    /// What the command line asks for.
    pub const fn new(options: &CommonOptions) -> Self {
        Self { wish: options.raise, due: None }
    }

    /// A turn with the connection; the instant of the next one, if it wants one.
    pub fn turn(&mut self, connection: &mut Connection, now: Timestamp) -> Result<Option<Timestamp>, String> {
        let Some(paths) = self.wish.filter(|_| connection.is_confirmed()) else { return Ok(None) };
        let due = *self.due.get_or_insert(now + RAISE_AFTER);
        if now < due {
            return Ok(Some(due));
        }
        self.wish = None;
        connection.set_max_paths(now, paths).map_err(|error| error.to_string())?;
        Ok(None)
    }
}

/// Time for the other end to come up against the limit.
const RAISE_AFTER: Duration = Duration::from_millis(100);

/// The transport settings of both roles.
pub fn transport(options: &CommonOptions, handshake: Handshake) -> Arc<TransportConfig> {
    let defaults = TransportConfig::default();
    Arc::new(TransportConfig {
        handshake: match handshake {
            Handshake::Single => HandshakeMode::Single,
            Handshake::Stagger => defaults.handshake,
        },
        stream_window: STREAM_WINDOW.into(),
        initial_mtu: DATAGRAM_SIZE,
        multipath: Multipath::Auto,
        max_paths: options.max_paths,
        // Both paths of loopback are as quick: in turn, so that each carries data.
        scheduler: Scheduler::RoundRobin,
        ..defaults
    })
}

fn random() -> Result<[u8; 32], String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "no randomness".to_owned())?;
    Ok(bytes)
}
