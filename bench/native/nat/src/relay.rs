//! Our relay: an endpoint on its I/O thread.

use std::{net::Ipv4Addr, sync::mpsc};

use bench_common::{
    report::{self, Meter, Report},
    settings::SOCKET_BUFFER,
};
use qconnection::{Endpoint, EndpointConfig};
use qdriver::{
    Application, Driver, DriverConfig, Io,
    socket::{BufferSizes, SocketConfig},
};
use qtraversal::{
    address::Prefix,
    relay::{Admission, RelayConfig},
    stun::{Forms, ServerConfig},
};

/// Bytes per second, and at once, that no machine reaches.
const UNLIMITED: u64 = 1 << 50;

/// Relays until stdin ends.
pub fn serve() -> Result<Report, String> {
    let endpoint = Endpoint::new(EndpointConfig::default(), [7; 32]);
    let buffers = BufferSizes { send: SOCKET_BUFFER, receive: SOCKET_BUFFER };
    let socket = SocketConfig { buffers, ..SocketConfig::new((Ipv4Addr::LOCALHOST, 0).into()) };
    let config = DriverConfig { sockets: vec![socket], ..DriverConfig::default() };
    let (ready, is_ready) = mpsc::channel();
    let handle = Driver::spawn(config, endpoint, Relay { ready: Some(ready) }).map_err(|error| error.to_string())?;
    handle.waker().wake();
    is_ready.recv().map_err(|error| error.to_string())?;
    let meter = Meter::start();
    report::listening(handle.sockets().first().ok_or("no socket")?.local);
    report::wait_until_told();
    let report = meter.report();
    handle.stop().map_err(|error| error.to_string())?;
    Ok(report)
}

/// Makes the endpoint a relay in its first turn; nothing else is to be done.
struct Relay {
    ready: Option<mpsc::Sender<()>>,
}

impl Application<Endpoint> for Relay {
    fn on_turn(&mut self, io: &mut Io<'_, Endpoint>) {
        let Some(ready) = self.ready.take() else { return };
        let sockets: Vec<_> = io.sockets().map(|socket| socket.local).collect();
        io.endpoint.serve_relay(Some(RelayConfig {
            agent: sockets.clone(),
            allowed: vec![Prefix { ip: Ipv4Addr::LOCALHOST.into(), bits: 8 }],
            admission: Admission::Anyone,
            bytes_per_second: UNLIMITED,
            burst_bytes: UNLIMITED,
            ..RelayConfig::default()
        }));
        io.endpoint.serve_stun(Some(ServerConfig { sockets, neighbours: Vec::new() }), Forms::ALL);
        ready.send(()).unwrap_or_default();
    }
}
