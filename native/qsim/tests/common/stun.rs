//! A town with a STUN server of two addresses and two ports, and somebody who asks it.

use std::net::SocketAddr;

use qbase::Role;
use qconnection::endpoint::nat::{NatNews, Ticket};
use qsim::{
    Failure, LinkShape, LossModel, Town,
    town::Resident,
    world::NatOptions,
};
use qtraversal::stun::{Form, Forms, Message, ServerConfig, TransactionId};

use super::ms;

/// The port of who asks.
pub const PORT: u16 = 4_000;

/// Somebody, the server, and the server's sockets.
pub struct Asking {
    pub town: Town,
    pub client: Resident,
    pub server: Resident,
    /// First IP and port, first IP and second port, second IP and first port, second IP and port (RFC 5780 §6).
    pub sockets: [SocketAddr; 4],
}

impl Asking {
    /// Who asks stands behind this translator, and this share of its datagrams is lost each way.
    pub fn new(seed: u64, nat: Option<NatOptions>, loss: f64) -> Result<Self, Failure> {
        let mut town = Town::new(seed)?;
        let plain = LinkShape::delayed(ms(5));
        let server = town.settle(Role::Server, &plain, None)?;
        town.add_link(server, &plain)?;
        let lossy = LinkShape { loss: LossModel::Independent(loss), ..LinkShape::delayed(ms(20)) };
        let client = town.settle(Role::Client, &lossy, nat)?;
        let sockets = [(0, 3_478), (0, 3_479), (1, 3_478), (1, 3_479)].map(|(link, port)| town.socket(server, link, port));
        let config = ServerConfig { sockets: sockets.to_vec(), neighbours: Vec::new() };
        town.host_mut(server).endpoint_mut().serve_stun(Some(config), Forms::ALL);
        Ok(Self { town, client, server, sockets })
    }

    /// The socket of who asks.
    pub fn local(&self) -> SocketAddr {
        self.town.socket(self.client, 0, PORT)
    }

    /// Who asks was told this.
    pub fn news(&self, ticket: u64) -> impl Iterator<Item = &NatNews> {
        let own = move |news: &&NatNews| match news {
            NatNews::Answer { ticket: own, .. }
            | NatNews::Silence { ticket: own, .. }
            | NatNews::Observed { ticket: own, .. }
            | NatNews::Report { ticket: own, .. }
            | NatNews::Mapping { ticket: own, .. } => *own == Ticket(ticket),
        };
        self.town.host(self.client).nat_news().iter().map(|(_, news)| news).filter(own)
    }
}

/// A plain request, and what is done to it.
pub fn request(form: Form, id: u8, change: impl FnOnce(Message) -> Message) -> Vec<u8> {
    let mut buffer = [0; 200];
    let message = change(Message::request(form, TransactionId::from_bytes([id; 16])));
    // What a form has no word for is empty.
    let len = message.encode(&mut buffer).unwrap_or_default();
    buffer[..len].to_vec()
}
