//! Runs a role on the I/O thread until it has an outcome or the time is over.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use peer_common::{DATAGRAM_SIZE, STREAM_WINDOW, report::Report};
use qbase::Timestamp;
use qconnection::{Endpoint, EndpointConfig, Multipath, Scheduler, TransportConfig};
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
        let outcome = match self.role.turn(io) {
            Ok(None) if io.now >= ends_at => Err(format!("time limit; {}", explain(io.endpoint, io.now))),
            Ok(None) => return io.wake_at(ends_at),
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

/// The transport settings of both roles.
pub fn transport() -> Arc<TransportConfig> {
    Arc::new(TransportConfig {
        stream_window: STREAM_WINDOW.into(),
        initial_mtu: DATAGRAM_SIZE,
        multipath: Multipath::Auto,
        // Both paths of loopback are as quick: in turn, so that each carries data.
        scheduler: Scheduler::RoundRobin,
        ..TransportConfig::default()
    })
}

fn random() -> Result<[u8; 32], String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "no randomness".to_owned())?;
    Ok(bytes)
}
