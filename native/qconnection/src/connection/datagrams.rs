//! DATAGRAM frames of a connection (RFC 9221): the application's verbs, the checks of the peer's frames, what fits.
//!
//! Called by the application, the dispatch and the output. The queues are `qrecovery`'s; here stands what depends on
//! transport parameters and paths. Never retransmits and never delivers twice: a packet is taken once.

use super::{Connection, State, events::Event};
use crate::path::PathState;
use bytes::Bytes;
use qbase::{EncryptionLevel, PathId, Timestamp, TransportError, frame, limits::TAG_LEN, varint};
pub use qrecovery::datagram::{DatagramStatistics, Earliness};
use qrecovery::datagram::{ReceiveQueue, SendOrder, SendQueue};

/// How a message is to be sent.
pub type SendDatagram = SendOrder;

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// The peer takes no messages, or has not said yet that it does (RFC 9221 §3).
    #[error("the peer takes no datagrams")]
    Refused,
    /// It does not fit into one packet, or the peer takes no message of this size.
    #[error("the datagram has {size} bytes, {limit} are possible")]
    TooLarge {
        /// Its size, bytes.
        size: usize,
        /// The largest size, bytes.
        limit: usize,
    },
    /// The path it is meant for is not in use.
    #[error("there is no such path")]
    UnknownPath,
    /// The connection is over.
    #[error("the connection is closed")]
    Closed,
}

/// Messages that wait, both ways.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    pub(crate) send: SendQueue,
    receive: ReceiveQueue,
}

impl Datagrams {
    /// The next news for the application.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        if self.receive.take_news() {
            return Some(Event::DatagramReceived);
        }
        self.send.poll_fate().map(|(id, fate, path)| Event::DatagramFate { id, fate, path })
    }

    pub(super) fn statistics(&self) -> DatagramStatistics {
        let (received, dropped) = self.receive.totals();
        let (waiting, waiting_bytes) = (self.receive.len(), self.receive.bytes());
        let mut statistics = DatagramStatistics { received, dropped, waiting, waiting_bytes, ..DatagramStatistics::default() };
        self.send.add_to(&mut statistics);
        statistics
    }

    /// The connection has ended.
    pub(super) fn close(&mut self) {
        self.send.clear();
        self.receive.clear();
    }
}

impl Connection {
    /// Takes a message to be sent once and answers its id: 1, 2, … An event tells its fate. Of more than 64 messages or
    /// 64 KiB that wait, the oldest are given up (attacks L14).
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub fn send_datagram(&mut self, now: Timestamp, data: Bytes, order: SendDatagram) -> Result<u64, DatagramError> {
        if !matches!(self.state, State::Handshaking | State::Open) {
            return Err(DatagramError::Closed);
        }
        if self.datagram_frame_limit() == 0 {
            return Err(DatagramError::Refused);
        }
        if order.path.is_some_and(|path| !self.paths.get(path).is_some_and(|entry| entry.is_live())) {
            return Err(DatagramError::UnknownPath);
        }
        let limit = self.datagram_limit(order.path);
        if data.len() > limit {
            return Err(DatagramError::TooLarge { size: data.len(), limit });
        }
        let id = self.datagrams.send.push(data, order);
        self.prune_datagrams(now);
        Ok(id)
    }

    /// Counts a message that was not taken, for an application that counts ids by itself. Answers the id, of which no
    /// event tells.
    pub fn skip_datagram(&mut self) -> u64 {
        self.datagrams.send.skip()
    }

    /// The oldest message of the peer that waits.
    pub fn receive_datagram(&mut self) -> Option<Bytes> {
        self.receive_marked_datagram().map(|(data, _)| data)
    }

    /// The same, and whether it came in 0-RTT.
    pub fn receive_marked_datagram(&mut self) -> Option<(Bytes, Earliness)> {
        self.datagrams.receive.pop()
    }

    /// Bytes a message may have now so that every path in use can carry it; 0: the peer takes none.
    #[must_use]
    pub fn max_datagram_size(&self) -> usize {
        self.datagram_limit(None)
    }

    /// DATAGRAM of the peer, `size` bytes on the wire.
    pub(super) fn on_datagram(&mut self, level: EncryptionLevel, frame: &frame::Datagram<'_>, size: usize) -> Result<(), TransportError> {
        let limit = self.config.max_datagram_frame;
        if limit == 0 {
            return Err(TransportError::violation("DATAGRAM was not offered"));
        }
        if size as u64 > limit {
            return Err(TransportError::violation("DATAGRAM is larger than we take"));
        }
        let earliness = if level == EncryptionLevel::ZeroRtt { Earliness::Early } else { Earliness::Ordinary };
        self.datagrams.receive.push(frame.data, earliness);
        Ok(())
    }

    /// Gives up messages that are too old, too large for the paths as they are now, or meant for a path that has gone.
    #[inline]
    pub(super) fn prune_datagrams(&mut self, now: Timestamp) {
        if self.datagrams.send.is_empty() {
            return;
        }
        let mut send = std::mem::take(&mut self.datagrams.send);
        let shared = self.datagram_limit(None);
        let is_taken = self.datagram_frame_limit() > 0;
        send.prune(now, |path, len| is_taken && match path {
            None => len <= shared,
            Some(path) => self.paths.get(path).is_some_and(|entry| entry.is_live()) && len <= self.datagram_limit(Some(path)),
        });
        self.datagrams.send = send;
    }

    /// The largest frame the peer takes: in 0-RTT what it took in an earlier connection (RFC 9221 §3).
    fn datagram_frame_limit(&self) -> u64 {
        self.remembered_parameters().unwrap_or(&self.peer_parameters).max_datagram_frame_size
    }

    /// Bytes a message may have on a path, or on each of those that carry data.
    fn datagram_limit(&self, path: Option<PathId>) -> usize {
        let room = match path {
            Some(path) => self.datagram_room(path),
            None => {
                let open = self.paths.iter().filter(|entry| entry.state == PathState::Open);
                open.filter_map(|entry| self.datagram_room(entry.id)).min().or_else(|| self.datagram_room(PathId::ZERO))
            }
        };
        // The frame that fills a packet has no Length; the peer's limit counts it all the same, since a smaller packet
        // needs it.
        let peer = self.datagram_frame_limit().min(1 << 30);
        let peer = peer.saturating_sub(1).saturating_sub(varint::size(peer) as u64);
        room.unwrap_or(0).min(usize::try_from(peer).unwrap_or(usize::MAX))
    }

    /// Bytes of a message that fill a 1-RTT packet of a path, or a 0-RTT packet as long as none other can be sent: header with
    /// the longest packet number, type and tag off.
    fn datagram_room(&self, path: PathId) -> Option<usize> {
        let entry = self.paths.get(path)?;
        let network = entry.network.as_deref()?;
        let cid = entry.remote_cids.active().map_or(qbase::limits::LOCAL_CID_LEN, |cid| cid.len());
        // Version, both lengths, our id, Length.
        let long = if self.sends_early() { self.cids.local.len().saturating_add(4 + 2 + 4) } else { 0 };
        Some(usize::from(network.mtu()).saturating_sub(1 + 4 + 1 + TAG_LEN).saturating_sub(cid).saturating_sub(long))
    }
}
