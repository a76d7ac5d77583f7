//! The endpoint on its sockets: reads, lets time pass, writes. One connection.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    num::NonZeroUsize,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use noq_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, Event, FourTuple, ServerConfig, Transmit,
};

use crate::Failure;

/// Sleep of a turn in which nothing came.
const NAP: Duration = Duration::from_micros(200);

/// Sockets, endpoint and the connection, once there is one.
pub struct Wire {
    sockets: Vec<UdpSocket>,
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
}

impl Wire {
    /// Binds a socket to each address.
    pub fn new(addresses: &[SocketAddr], server: Option<Arc<ServerConfig>>) -> Result<Self, Failure> {
        let mut sockets = Vec::new();
        for address in addresses {
            let socket = UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
        let endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), server, false);
        Ok(Self { sockets, endpoint, connection: None })
    }

    /// Address of the first socket.
    pub fn local(&self) -> Result<SocketAddr, Failure> {
        Ok(self.sockets.first().ok_or("no socket")?.local_addr()?)
    }

    /// Begins a connection from the first socket.
    pub fn connect(&mut self, config: ClientConfig, remote: SocketAddr, name: &str) -> Result<(), Failure> {
        self.connection = Some(self.endpoint.connect(Instant::now(), config, remote, name)?);
        Ok(())
    }

    /// The connection.
    pub fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut().map(|(_, connection)| connection)
    }

    /// Sends what waits, reads what is here, lets time pass; what happened.
    pub fn turn(&mut self, ends_at: Instant) -> Result<Vec<Event>, Failure> {
        self.send()?;
        let is_idle = self.read()? == 0;
        let now = Instant::now();
        if now >= ends_at {
            return Err("time limit".into());
        }
        let mut events = Vec::new();
        if let Some((handle, connection)) = &mut self.connection {
            if connection.poll_timeout().is_some_and(|at| at <= now) {
                connection.handle_timeout(now);
            }
            while let Some(event) = connection.poll_endpoint_events() {
                if let Some(answer) = self.endpoint.handle_event(*handle, event) {
                    connection.handle_event(answer);
                }
            }
            events.extend(std::iter::from_fn(|| connection.poll()));
        }
        if is_idle {
            thread::sleep(NAP);
        }
        Ok(events)
    }

    /// Says goodbye.
    pub fn close(&mut self) -> Result<(), Failure> {
        if let Some((_, connection)) = &mut self.connection {
            connection.close(Instant::now(), 0_u32.into(), "done".into());
        }
        self.send()
    }

    fn send(&mut self) -> Result<(), Failure> {
        let mut buffer = Vec::new();
        let Some((_, connection)) = &mut self.connection else { return Ok(()) };
        while let Some(transmit) = connection.poll_transmit(Instant::now(), NonZeroUsize::MIN, &mut buffer) {
            put(&self.sockets, &transmit, &buffer)?;
            buffer.clear();
        }
        Ok(())
    }

    /// Reads all sockets; the number of datagrams.
    fn read(&mut self) -> Result<usize, Failure> {
        let mut count = 0;
        let mut datagram = [0; 2_048];
        for at in 0..self.sockets.len() {
            let local = self.sockets[at].local_addr()?.ip();
            loop {
                let (length, remote) = match self.sockets[at].recv_from(&mut datagram) {
                    Ok(received) => received,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                    Err(error) => return Err(error.into()),
                };
                count += 1;
                self.take(FourTuple::new(remote, Some(local)), &datagram[..length])?;
            }
        }
        Ok(count)
    }

    fn take(&mut self, path: FourTuple, datagram: &[u8]) -> Result<(), Failure> {
        let (now, mut answer) = (Instant::now(), Vec::new());
        match self.endpoint.handle(now, path, None, BytesMut::from(datagram), &mut answer) {
            Some(DatagramEvent::NewConnection(incoming)) if self.connection.is_none() => {
                let accepted = self.endpoint.accept(incoming, now, &mut answer, None).map_err(|error| error.cause)?;
                self.connection = Some(accepted);
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.endpoint.ignore(incoming),
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::Response(transmit)) => put(&self.sockets, &transmit, &answer)?,
            None => {}
        }
        Ok(())
    }
}

/// Sends from the socket of the source address. What the kernel does not take is as good as lost on the way.
fn put(sockets: &[UdpSocket], transmit: &Transmit, buffer: &[u8]) -> Result<(), Failure> {
    let is_source = |socket: &&UdpSocket| socket.local_addr().ok().map(|local| local.ip()) == transmit.src_ip;
    let socket = sockets.iter().find(is_source).or(sockets.first()).ok_or("no socket")?;
    match socket.send_to(&buffer[..transmit.size], transmit.destination) {
        Err(error) if ![ErrorKind::WouldBlock, ErrorKind::ConnectionRefused].contains(&error.kind()) => Err(error.into()),
        _ => Ok(()),
    }
}
