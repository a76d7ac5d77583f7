//! UDP sockets with the buffers of [`settings`](crate::settings).

use std::{
    io::{Error, Result},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::settings::SOCKET_BUFFER;

/// A socket on a free port of 127.0.0.1.
///
/// # Errors
/// The system has none to give.
pub fn bind() -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    // The kernel doubles what it grants.
    if socket.recv_buffer_size()? < SOCKET_BUFFER {
        eprintln!("the kernel grants {} bytes of receive buffer", socket.recv_buffer_size()?);
    }
    Ok::<_, Error>(socket.into())
}
