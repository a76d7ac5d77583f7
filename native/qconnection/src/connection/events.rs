//! What a connection tells its application (style §2, step 7 of the inward flow).
//!
//! Called by every part with news; drained by the driver once per turn. Life-cycle facts are never dropped.

pub use qrecovery::datagram::Fate as DatagramFate;

use super::{HandshakeStep, traversal::TraversalNews};
use crate::{endpoint::SendFailure, stream::StreamEvent};
use bytes::Bytes;
use qbase::{ConnectionId, FourTuple, PathId, ResetToken, Timestamp, frame::PathStatusKind};
pub use qcrypto::EarlyStatus;
use std::{net::{IpAddr, SocketAddr}, time::Duration};

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Client: the server took early data, or refused it, and all of it is sent again. Server: the client's early data is
    /// taken, and stream events may come before the handshake is complete; or it was refused.
    EarlyData(EarlyStatus),
    /// The handshake waits for [`super::Connection::verdict`] on the peer's certificates.
    VerdictWanted {
        /// DER, leaf first; empty if the peer showed none.
        chain: Vec<Vec<u8>>,
    },
    /// A step of a client's handshake with one of its address pairs (multipath MP-97).
    Handshake(HandshakeStep),
    /// Server: data may be sent though the client has not shown that it is there (0.5-RTT): it may go to whoever replays a
    /// ClientHello.
    HalfRtt,
    /// An answer to [`super::Connection::ping_path`].
    Pong {
        /// The ping.
        id: u64,
        /// The path that answered first.
        path: PathId,
        /// Its round-trip time, without the delay that the peer owned up to.
        rtt: Duration,
    },
    /// The handshake is complete: streams may be used.
    HandshakeComplete,
    /// The handshake is confirmed (RFC 9001 §4.1.2).
    Confirmed,
    /// Something about a stream.
    Stream(StreamEvent),
    /// Something about a path.
    Path(Box<PathEvent>),
    /// Messages wait where none did: [`super::Connection::receive_datagram`] takes them, until it finds none.
    DatagramReceived,
    /// What became of a message that [`super::Connection::send_datagram`] took; told once.
    DatagramFate {
        /// The message's id.
        id: u64,
        /// Its fate.
        fate: DatagramFate,
        /// The path that carried it; `None`: it never left.
        path: Option<PathId>,
    },
    /// Something about ways through NATs.
    Traversal(Box<TraversalNews>),
    /// The keys were updated.
    KeyUpdated,
    /// The server gave a token for a later connection to it: [`ClientConfig::token`](crate::ClientConfig::token) of that
    /// connection. It proves this end's IP address and serves once (RFC 9000 §8.1.3).
    NewToken(Bytes),
    /// The connection ended; streams and paths are gone.
    Closed(Box<CloseInfo>),
    /// The handle is dead from now on.
    Drained,
}

const _: () = assert!(size_of::<Event>() <= 40, "an event is moved once for every stream");

/// News of one path, with the reason (multipath MP-86).
#[derive(Clone, Debug, PartialEq)]
pub struct PathEvent {
    /// The path; for a request that waits, the path id is not known yet and 0.
    pub path: PathId,
    /// The application's name for its request, if it made one.
    pub ticket: Option<u64>,
    /// What happened.
    pub kind: PathEventKind,
    /// Who caused it.
    pub by: Cause,
    /// In words.
    pub reason: &'static str,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PathEventKind {
    /// It is in use; its address is being validated.
    Opening(FourTuple),
    /// Its address is proved: data may flow.
    Validated,
    /// Silent for a PTO (multipath MP-83).
    Suspect,
    /// It answered again.
    Recovered,
    /// PATH_ABANDON was sent or received, with this code.
    Abandoning(u64),
    /// It is gone; the code of its PATH_ABANDON.
    Abandoned(u64),
    /// A request to open a path waits (multipath MP-81).
    Waiting(WaitingFor),
    /// A request to open a path failed.
    Failed(OpenFailure),
    /// A status of ours or the peer's.
    Status(PathStatusKind),
    /// The peer's address changed without its doing, as by a NAT; or the path is back where it was.
    Rebound(FourTuple),
    /// Full datagrams have this many bytes from now on.
    Mtu(u16),
    /// It goes over other addresses, because one end wanted so (RFC 9000 §9.2, §9.6): this one, or the peer, which took
    /// another connection id for it.
    Migrated(FourTuple),
    /// It does not: nobody answered there.
    MigrationFailed(FourTuple),
    /// Multipath was not negotiated: the address pair of a request answered and is kept for the path to go to.
    SpareProved(FourTuple),
    /// A socket refused to send; told at most once a second for each path.
    SendError(SendFailure),
}

/// What a request to open a path waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingFor {
    /// The handshake's confirmation.
    Handshake,
    /// A connection id of the peer for an unused path id.
    PeerCids,
    /// A higher path id limit.
    PathIdLimit,
}

/// Why a path was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFailure {
    /// The peer did not negotiate multipath.
    NoMultipath,
    /// Challenges were not answered.
    Validation,
    /// It was abandoned while it was validated.
    Abandoned,
    /// The server wants no second address of ours at the address of its handshake (multipath MP-12).
    MigrationDisabled,
}

/// Who caused something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Our application or we.
    Local,
    /// The peer.
    Peer,
    /// A timer.
    Timer,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseInfo {
    /// Who ended it.
    pub by: ClosedBy,
    /// Whose code it is.
    pub layer: Layer,
    /// The code on the wire, 0 ..= 2^62-1.
    pub code: u64,
    /// Frame that broke a rule, if the transport closed for one.
    pub frame_type: Option<u64>,
    /// The reason phrase, lossily decoded and cut to what one packet holds.
    pub reason: String,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// This end.
    Local,
    /// The other end.
    Peer,
    /// Idle timeout.
    IdleTimeout,
    /// Handshake timeout.
    HandshakeTimeout,
    /// A stateless reset.
    Reset,
    /// No common QUIC version.
    Version,
    /// The hosts of all addresses say that nobody listens (ICMP).
    Unreachable,
}

/// Whose error code it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// CONNECTION_CLOSE of type 0x1c.
    Transport,
    /// CONNECTION_CLOSE of type 0x1d.
    Application,
}

/// What the endpoint must do for a connection.
#[derive(Clone, Debug)]
pub(crate) enum EndpointAction {
    /// Packets with this DCID belong to the connection, on this path id.
    Route {
        /// The id.
        cid: ConnectionId,
        /// The path id it was issued for.
        path: PathId,
        /// Its sequence number.
        sequence: u64,
    },
    /// This DCID is no longer ours.
    Unroute(ConnectionId),
    /// A datagram that ends in this token may be the end of the connection.
    Expect(ResetToken),
    /// The peer's id with this token is given back.
    Unexpect(ResetToken),
    /// A punch wants a socket beside a bound one; [`super::Connection::on_punch_socket`] hears of it.
    OpenSocket {
        /// The connection's number of it.
        socket: u64,
        /// The bound one.
        beside: SocketAddr,
        /// The port to ask for; 0: any.
        port: u16,
    },
    /// How does the world see that socket? [`super::Connection::on_outer`] hears of it.
    LearnOuter {
        /// The connection's number of it.
        socket: u64,
    },
    /// That socket is needed no more.
    CloseSocket {
        /// The connection's number of it.
        socket: u64,
    },
    /// The client gets a token for its next connection.
    MakeToken {
        /// The present instant.
        at: Timestamp,
        /// The addresses it proves, one to [`qbase::limits::TOKEN_ADDRESSES`].
        addresses: Vec<IpAddr>,
    },
}
