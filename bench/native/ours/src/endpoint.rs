//! Endpoints and settings of both sides.

use std::{net::Ipv4Addr, sync::Arc};

use bench_common::{
    options::Switch,
    settings::{CONNECTION_WINDOW, DATAGRAM_SIZE, IDLE, MAX_STREAMS, SEND_BUFFER, SOCKET_BUFFER, STREAM_WINDOW},
};
use qbase::StreamId;
use qconnection::{Connection, Endpoint, EndpointConfig, Multipath, TransportConfig, stream::ReadError};
use qdriver::{
    Application, Driver, DriverConfig, DriverHandle,
    socket::{BufferSizes, SocketConfig},
};
use ring::rand::{SecureRandom, SystemRandom};

/// Starts `application` on a socket of 127.0.0.1.
pub fn spawn(
    application: impl Application<Endpoint>,
    gso: Switch,
    prepare: impl FnOnce(&mut Endpoint),
) -> Result<DriverHandle, String> {
    let mut endpoint = Endpoint::new(EndpointConfig { secret: random()?, ..EndpointConfig::default() }, random()?);
    prepare(&mut endpoint);
    let buffers = BufferSizes { send: SOCKET_BUFFER, receive: SOCKET_BUFFER };
    let socket = SocketConfig { buffers, ..SocketConfig::new((Ipv4Addr::LOCALHOST, 0).into()) };
    let mut config = DriverConfig { sockets: vec![socket], ..DriverConfig::default() };
    if gso == Switch::Off {
        config.max_segments = 1;
    }
    Driver::spawn(config, endpoint, application).map_err(|error| error.to_string())
}

/// The settings of [`bench_common::settings`].
pub fn transport(multipath: Switch) -> Arc<TransportConfig> {
    Arc::new(TransportConfig {
        idle_timeout: IDLE,
        initial_mtu: DATAGRAM_SIZE,
        stream_window: STREAM_WINDOW.into(),
        connection_window: CONNECTION_WINDOW.into(),
        bidirectional_streams: MAX_STREAMS.into(),
        unidirectional_streams: MAX_STREAMS.into(),
        send_buffer: STREAM_WINDOW as usize,
        connection_send_buffer: SEND_BUFFER as usize,
        multipath: if multipath == Switch::On { Multipath::Auto } else { Multipath::Off },
        ..TransportConfig::default()
    })
}

/// Moves past everything readable, showing it to `take`; whether the stream is at its end.
pub fn drain(connection: &mut Connection, stream: StreamId, mut take: impl FnMut(&[u8])) -> Result<bool, String> {
    loop {
        let length = match connection.peek(stream) {
            Ok(bytes) => {
                take(bytes);
                bytes.len()
            }
            Err(ReadError::Blocked) => return Ok(false),
            Err(ReadError::Finished) => return Ok(true),
            Err(error) => return Err(error.to_string()),
        };
        connection.consume(stream, length);
    }
}

fn random() -> Result<[u8; 32], String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "no randomness".to_owned())?;
    Ok(bytes)
}
