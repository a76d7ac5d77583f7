//! Sockets in other network namespaces: a socket stays where it was made, so a thread goes there, makes it and ends.

use std::{fs::File, io, net::{SocketAddr, UdpSocket}, thread};

use nix::sched::{CloneFlags, setns};

/// A socket at `address` in the namespace that `ip netns` knows by this name.
///
/// # Errors
/// There is no such namespace or address, or we may not go there.
pub fn bind(namespace: &str, address: SocketAddr) -> io::Result<UdpSocket> {
    let place = File::open(format!("/run/netns/{namespace}"))?;
    let maker = thread::spawn(move || -> io::Result<UdpSocket> {
        setns(place, CloneFlags::CLONE_NEWNET)?;
        UdpSocket::bind(address)
    });
    maker.join().unwrap_or_else(|_| Err(io::Error::other("the thread ended")))
}
