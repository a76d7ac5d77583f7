//! What the loop needs of a sans-IO machine: bytes and time in, bursts and timers out.
//!
//! [`qconnection::Endpoint`] is the machine of this project. The loop is written against these verbs so that its own
//! rules (budgets, held bursts, errors) are tested with a machine that does exactly what a test says, and so that a
//! bench can measure the loop alone. Called by [`super::turn`]. No verb may block.

use std::net::SocketAddr;

use qbase::{Ecn, FourTuple, PathId, Timestamp};
pub use qconnection::{
    Received,
    endpoint::{
        SendFailure,
        nat::{RoutedRun, RunFate, SocketId, SocketWish},
    },
};

use crate::socket::Parcel;

/// A sans-IO machine.
pub trait Machine: Send + 'static {
    /// What the machine wants back to know which burst an outcome belongs to.
    type Burst: Send + 'static;

    /// One UDP payload, decrypted in place; `four_tuple` as seen by us (`local` is its destination).
    fn handle_datagram(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, datagram: &mut [u8]) -> Received;

    /// The fate of the first datagrams of a received train (all `segment_len` bytes long but the last, which may be shorter): what a
    /// relay passes on leaves straight from where it was received.
    fn route_run(&mut self, _now: Timestamp, _four_tuple: FourTuple, train: &[u8], _segment_len: usize) -> RoutedRun {
        RoutedRun { len: train.len(), fate: RunFate::Take }
    }

    /// The socket did not take the last `datagrams`, `bytes` long together, of a run that was to be passed on.
    fn on_unsent(&mut self, _datagrams: usize, _bytes: usize) {}

    /// Writes the next burst to the front of `buffer`; `None`: nothing to send before [`Self::next_timer`].
    fn poll_transmit(&mut self, now: Timestamp, buffer: &mut [u8], max_segments: usize) -> Option<Self::Burst>;

    /// Where a burst goes and how long it is.
    fn departure(burst: &Self::Burst) -> Departure;

    /// The socket took the first `segments` of a burst; the others are cancelled (burst B-7).
    fn on_submitted(&mut self, burst: &Self::Burst, segments: usize, now: Timestamp);

    /// The socket took nothing of a burst and will not (attacks J7, F21). Told instead of [`Self::on_submitted`].
    fn on_send_error(&mut self, burst: &Self::Burst, failure: SendFailure, now: Timestamp);

    /// A connection waits for its first answer: [`Self::on_port_unreachable`] wants to be called.
    fn awaits_answer(&mut self) -> bool {
        false
    }

    /// Somebody says that nobody listens at `remote`, and quotes the beginning of what was sent there. Not to be believed
    /// as such.
    fn on_port_unreachable(&mut self, _now: Timestamp, _remote: SocketAddr, _quoted: &[u8]) {}

    /// A socket that shall be opened or closed; of every one to open, [`Self::on_socket`] tells the outcome.
    fn poll_socket_wish(&mut self) -> Option<SocketWish> {
        None
    }

    /// A socket that was wished for is open with this address, or could not be opened (`None`).
    fn on_socket(&mut self, _id: SocketId, _local: Option<SocketAddr>, _now: Timestamp) {}

    /// When [`Self::on_timer`] wants to be called.
    fn next_timer(&self) -> Option<Timestamp>;

    /// Does what is due.
    fn on_timer(&mut self, now: Timestamp);
}

/// Where a burst goes and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Addresses; an unspecified local IP or port means "whatever the socket picks".
    pub four_tuple: FourTuple,
    /// Mark of every datagram.
    pub ecn: Ecn,
    /// Time to live (hop limit) of these datagrams only; `None`: the system's default.
    pub hop_limit: Option<u8>,
    /// Bytes at the front of the buffer.
    pub len: usize,
    /// Bytes of every segment but the last.
    pub segment_size: usize,
    /// The path it leaves on; `None`: an answer without a connection.
    pub path: Option<PathId>,
}

impl Departure {
    /// What a socket is handed for it.
    pub(super) const fn parcel<'a>(&self, bytes: &'a [u8]) -> Parcel<'a> {
        Parcel {
            remote: self.four_tuple.remote,
            source: Some(self.four_tuple.local.ip()),
            ecn: self.ecn,
            hop_limit: self.hop_limit,
            segment_size: self.segment_size,
            bytes,
        }
    }
}
