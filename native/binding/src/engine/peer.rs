//! The completion of a handshake: what was agreed, and who the peer is.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use qconnection::connection::Verdict;
use qcrypto::{Pin, pin::fingerprint};
use qdriver::Io;

use super::{Engine, remote::Addresses};
use crate::messages::events::{Event, HandshakeInfo, Peer, Winner};

impl Engine {
    /// STREAMS, `opened`, `multipath`, and the path that carried the handshake.
    pub(super) fn tell_opened(&mut self, io: &mut Io<'_>, key: u32) {
        self.ask_for_first_plan(io, key);
        self.tell_stream_limits(io, key);
        let Some(connection) = self.table.get_mut(key) else { return };
        let Some(machine) = io.endpoint.connection(connection.handle) else { return };
        if connection.server_name.is_none() {
            connection.server_name = machine.tls().server_name().map(str::to_owned);
        }
        let path = machine.paths().next();
        let Addresses { local, remote } = path.map(|path| Addresses::of(io.endpoint, path.four_tuple)).unwrap_or_default();
        let statistics = machine.statistics();
        let multipath = machine.path_mode().name();
        let reason = if machine.is_multipath() { "both ends offered it" } else { "one of both ends did not offer it" };
        let info = HandshakeInfo {
            ms: statistics.handshake_time.unwrap_or_default().as_secs_f64() * 1e3,
            alpn: String::from_utf8_lossy(machine.alpn().unwrap_or_default()).into_owned(),
            cipher: machine.tls().cipher_name(),
            version: if machine.version() == qbase::VERSION_2 { "v2" } else { "v1" },
            resumed: machine.is_resumed(),
            retry: machine.used_retry(),
            multipath,
            mode: connection.mode,
            winner: Winner { local: local.clone(), remote: remote.clone() },
            datagrams_sent: statistics.datagrams_sent,
            datagrams_received: statistics.datagrams_received,
            coalesced: statistics.coalesced,
        };
        let at_ms = self.out.at_ms(io.now);
        let event = Event::Opened {
            at_ms,
            id: connection.id.clone(),
            remote,
            local,
            server_name: connection.server_name.clone(),
            peer: peer(&machine.tls().peer_certificates()),
            info: Box::new(info),
            polarised: machine.is_polarised(),
        };
        self.out.event(key, &event);
        self.out.event(key, &Event::Multipath { at_ms, mode: multipath, reason });
        self.tell_first_path(io, key);
    }
}

impl Engine {
    /// The handshake waits for JavaScript. A client that may come without a certificate is no one to judge.
    pub(super) fn ask_for_verdict(&mut self, io: &mut Io<'_>, key: u32, chain: &[Vec<u8>]) {
        let (now, at_ms) = (io.now, self.out.at_ms(io.now));
        let Some(connection) = self.table.get_mut(key) else { return };
        let Some(machine) = io.endpoint.connection_mut(connection.handle) else { return };
        let Some(peer) = peer(chain) else { return machine.verdict(now, Verdict::Accept) };
        if connection.server_name.is_none() {
            connection.server_name = machine.tls().server_name().map(str::to_owned);
        }
        let server_name = connection.server_name.clone();
        self.out.event(key, &Event::Verify { at_ms, peer: Box::new(peer), server_name, default_error: machine.tls().default_fault() });
    }
}

/// Who the peer is; `None`: it showed no certificate.
fn peer(chain: &[Vec<u8>]) -> Option<Peer> {
    let leaf = chain.first()?;
    Some(Peer {
        chain: chain.iter().map(|der| BASE64.encode(der)).collect(),
        fingerprint: fingerprint(leaf),
        pin: Pin::of_public_key(leaf).map(|pin| pin.to_string()).unwrap_or_default(),
        names: names(leaf),
    })
}

/// DNS names in a certificate.
fn names(der: &[u8]) -> Vec<String> {
    let der = rustls_pki_types::CertificateDer::from(der);
    let Ok(leaf) = webpki::EndEntityCert::try_from(&der) else { return Vec::new() };
    leaf.valid_dns_names().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_by_its_leaf() {
        let names = ["localhost".to_owned(), "*.example.net".to_owned()];
        let made = qcrypto::development::seeded(&[1; 32], &names, 14, std::time::Duration::ZERO).expect("certificate");
        let peer = peer(&[made.cert_der.clone(), made.cert_der]).expect("peer");
        assert_eq!((peer.chain.len(), peer.pin, peer.fingerprint), (2, made.pin, made.fingerprint));
        assert_eq!(peer.names, names);
    }
}
