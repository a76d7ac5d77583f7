//! The server's part of every case.

use std::{collections::HashMap, fs, sync::Arc};

use bench_common::{
    options::{Case, ServerOptions},
    report::{self, Meter, Report},
    settings::ALPN,
};
use qbase::{Direction, StreamId};
use qconnection::{Connection, ConnectionHandle, Endpoint, Event, ServerConfig, stream::StreamEvent};
use qcrypto::{Cipher, Identity, ServerTls, ServerTlsOptions};
use qdriver::{Application, Io};

use crate::endpoint::{drain, spawn, transport};

/// Connections accepted at once: those that drain count too.
const MAX_CONNECTIONS: usize = 100_000;

/// Serves until stdin ends.
pub fn serve(options: &ServerOptions) -> Result<Report, String> {
    let server = Arc::new(ServerConfig::new(tls(options)?, transport(options.multipath), MAX_CONNECTIONS));
    let application = Server { case: options.case, counts: HashMap::new(), requests: HashMap::new() };
    let handle = spawn(application, options.gso, |endpoint| endpoint.listen(Some(server)))?;
    let meter = Meter::start();
    report::listening(handle.sockets().first().ok_or("no socket")?.local);
    report::wait_until_told();
    let report = meter.report();
    handle.stop().map_err(|error| error.to_string())?;
    Ok(report)
}

fn tls(options: &ServerOptions) -> Result<ServerTls, String> {
    let read = |path| fs::read(path).map_err(|error| error.to_string());
    let identity =
        Identity::from_pem(&read(&options.cert)?, &read(&options.key)?).map_err(|error| error.to_string())?;
    ServerTls::new(&ServerTlsOptions {
        identity: Some(identity),
        alpn: vec![ALPN.to_vec()],
        ciphers: vec![Cipher::Aes128Gcm],
        ..ServerTlsOptions::default()
    })
    .map_err(|error| error.to_string())
}

/// What the server knows. A stream is named with its connection, since several are alive in `handshakes`.
struct Server {
    case: Case,
    /// Bytes of uploads.
    counts: HashMap<(ConnectionHandle, StreamId), u64>,
    /// Requests that came in parts.
    requests: HashMap<(ConnectionHandle, StreamId), Vec<u8>>,
}

impl Application<Endpoint> for Server {
    fn on_turn(&mut self, io: &mut Io<'_, Endpoint>) {
        while let Some((handle, event)) = io.endpoint.poll_event() {
            let Some(connection) = io.endpoint.connection_mut(handle) else { continue };
            // How a connection ends is the client's to report.
            match event {
                Event::HandshakeComplete if self.case == Case::Handshakes => greet(connection).unwrap_or_default(),
                Event::Stream(StreamEvent::Readable(stream)) => {
                    self.on_readable(connection, handle, stream).unwrap_or_default();
                }
                _ => {}
            }
        }
    }
}

fn greet(connection: &mut Connection) -> Result<(), String> {
    let greeting = connection.open(Direction::Unidirectional).ok_or("no stream")?;
    reply(connection, greeting, &[1])
}

fn reply(connection: &mut Connection, stream: StreamId, bytes: &[u8]) -> Result<(), String> {
    connection.write(stream, bytes).map_err(|error| error.to_string())?;
    connection.finish(stream).map_err(|error| error.to_string())
}

impl Server {
    fn on_readable(
        &mut self,
        connection: &mut Connection,
        handle: ConnectionHandle,
        stream: StreamId,
    ) -> Result<(), String> {
        if self.case == Case::Bulk {
            let count = self.counts.entry((handle, stream)).or_default();
            if drain(connection, stream, |bytes| *count += bytes.len() as u64)? {
                reply(connection, stream, &count.to_be_bytes())?;
                self.counts.remove(&(handle, stream));
            }
            return Ok(());
        }
        let mut request = if self.requests.is_empty() { Vec::new() } else { self.requests.remove(&(handle, stream)).unwrap_or_default() };
        if drain(connection, stream, |bytes| request.extend_from_slice(bytes))? {
            reply(connection, stream, &request)?;
        } else {
            self.requests.insert((handle, stream), request);
        }
        Ok(())
    }
}
