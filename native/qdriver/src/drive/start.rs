//! The sockets that a driver starts with. Where any port will do in both families, both get one: a peer that knows the
//! port of one address knows it of all.
//!
//! The first IPv4 address with port 0 and the first IPv6 address with port 0 are a pair, so are the second ones, and so
//! on. The kernel chooses for the first of a pair; if the second finds that port taken, both are tried anew, a few times.
//! Called once, before the thread starts.

use std::io::ErrorKind;

use mio::Registry;

use super::sockets::Sockets;
use crate::socket::{BindError, Socket, SocketConfig};

/// Ports tried for a pair.
const PORT_TRIES: usize = 32;

/// Binds all of `configs`, in their order.
pub(super) fn bind_all<B>(sockets: &mut Sockets<B>, registry: &Registry, configs: &[SocketConfig]) -> Result<(), BindError> {
    let mut bound: Vec<Option<Socket>> = configs.iter().map(|_| None).collect();
    for (at, config) in configs.iter().enumerate() {
        if bound.get(at).is_none_or(Option::is_some) {
            continue;
        }
        let (one, other) = match partner(configs, at).and_then(|other| Some((other, configs.get(other)?))) {
            None => (Socket::bind(config)?, None),
            Some((place, partner)) => {
                let (one, other) = bind_pair(config, partner)?;
                (one, Some((place, other)))
            }
        };
        for (place, socket) in other.into_iter().chain([(at, one)]) {
            if let Some(free) = bound.get_mut(place) {
                *free = Some(socket);
            }
        }
    }
    for (config, socket) in configs.iter().zip(bound.into_iter().flatten()) {
        sockets.adopt(registry, config, socket)?;
    }
    Ok(())
}

/// The later address that gets the same port as the one at `at`.
fn partner(configs: &[SocketConfig], at: usize) -> Option<usize> {
    let wants_any = |config: &SocketConfig, is_v4: bool| config.address.port() == 0 && config.address.is_ipv4() == is_v4;
    let own = configs.get(at).filter(|config| config.address.port() == 0)?.address.is_ipv4();
    let before = configs.iter().take(at).filter(|config| wants_any(config, own)).count();
    let mut others = configs.iter().enumerate().filter(|(_, config)| wants_any(config, !own));
    others.nth(before).map(|(place, _)| place).filter(|place| *place > at)
}

fn bind_pair(one: &SocketConfig, other: &SocketConfig) -> Result<(Socket, Socket), BindError> {
    let mut tries = 1;
    loop {
        let first = Socket::bind(one)?;
        let mut same = other.clone();
        same.address.set_port(first.local().port());
        match Socket::bind(&same) {
            Ok(second) => return Ok((first, second)),
            Err(error) if error.source.kind() == ErrorKind::AddrInUse && tries < PORT_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use mio::Poll;

    use super::*;

    fn bind(addresses: &[&str]) -> Vec<std::net::SocketAddr> {
        let poll = Poll::new().expect("selector");
        let mut sockets: Sockets<()> = Sockets::new(64);
        let configs: Vec<_> = addresses.iter().map(|text| SocketConfig::new(text.parse().expect("address"))).collect();
        bind_all(&mut sockets, poll.registry(), &configs).expect("bound");
        sockets.facts().map(|facts| facts.local).collect()
    }

    #[test]
    fn both_families_get_one_port_where_any_will_do() {
        for _ in 0..50 {
            for pair in [["0.0.0.0:0", "[::]:0"], ["[::1]:0", "127.0.0.1:0"]] {
                let bound = bind(&pair);
                assert_eq!(bound.len(), 2);
                assert!(bound[0].port() != 0 && bound[0].port() == bound[1].port(), "{bound:?}");
                assert_eq!(bound[0].is_ipv4(), pair[0].starts_with(|letter: char| letter.is_ascii_digit()), "in the order given");
            }
        }
    }

    #[test]
    fn several_pairs_and_single_ones_keep_their_order() {
        let bound = bind(&["127.0.0.1:0", "127.0.0.2:0", "[::1]:0", "127.0.0.3:0"]);
        let hosts: Vec<String> = bound.iter().map(|address| address.ip().to_string()).collect();
        assert_eq!(hosts, ["127.0.0.1", "127.0.0.2", "::1", "127.0.0.3"]);
        assert_eq!(bound[0].port(), bound[2].port());
    }

    #[test]
    fn a_port_that_is_named_is_bound_or_refused() {
        let taken = bind(&["127.0.0.1:0"]);
        let port = taken[0].port();
        let poll = Poll::new().expect("selector");
        let mut sockets: Sockets<()> = Sockets::new(64);
        let holder = std::net::UdpSocket::bind(("127.0.0.1", 0)).expect("holder");
        let address = holder.local_addr().expect("address");
        let error = bind_all(&mut sockets, poll.registry(), &[SocketConfig::new(address)]).expect_err("taken");
        assert_eq!((error.address, error.source.kind()), (address, ErrorKind::AddrInUse));
        assert_ne!(port, 0);
    }
}
