//! Messages that wait to be sent (RFC 9221 §5; burst B-28; attacks L14).
//!
//! ```text
//!  push -> queued --write--> written --on_submitted--> (only its id, with the packet) --> acknowledged / lost
//!             ^  \                |
//!             |   \-> abandoned   | the socket did not take it
//!             \___________________/
//! ```
//! Called by the application's verbs, the burst writer and the submission.

use super::Fate;
use bytes::Bytes;
use qbase::{
    PathId, Timestamp, Writer,
    frame::datagram::{self, Datagram},
    limits::{DATAGRAM_BYTES_QUEUED, DATAGRAMS_QUEUED},
    varint,
};
use std::collections::VecDeque;

/// How a message is to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOrder {
    /// Only on this path; `None`: where the scheduler sends data.
    pub path: Option<PathId>,
    /// Given up if it has not left by then.
    pub expires: Option<Timestamp>,
    /// 0 is first, 7 is last (larger ones count as 7): among messages, and against streams of a smaller urgency; before
    /// streams of the same one.
    pub urgency: u8,
}

/// Which packet asks for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// Path of the packet.
    pub path: PathId,
    /// The scheduler chose this path: messages without a path of their own may go.
    pub shared: bool,
    /// Only messages of this urgency or a smaller one.
    pub up_to: u8,
}

/// Largest urgency.
const LAST_URGENCY: u8 = 7;

/// A message.
#[derive(Debug)]
struct Message {
    id: u64,
    data: Bytes,
    order: SendOrder,
    /// Path it was written for, once it was.
    on: PathId,
}

/// The queue, and the fates nobody has asked for yet.
#[derive(Debug, Default)]
pub struct SendQueue {
    /// By urgency, then by id.
    queue: VecDeque<Message>,
    bytes: usize,
    /// Messages in the queue that have a path of their own.
    pinned: usize,
    /// Written into a burst that no socket has taken yet.
    written: Vec<Message>,
    fates: VecDeque<(u64, Fate, Option<PathId>)>,
    last_id: u64,
    sent: u64,
    acknowledged: u64,
    lost: u64,
    abandoned: u64,
}

impl SendQueue {
    /// Takes a message and answers its id: 1, 2, … With more than 64 messages or 64 KiB the oldest are given up.
    pub fn push(&mut self, data: Bytes, order: SendOrder) -> u64 {
        let id = self.last_id.saturating_add(1);
        self.last_id = id;
        let order = SendOrder { urgency: order.urgency.min(LAST_URGENCY), ..order };
        self.insert(Message { id, data, order, on: PathId::ZERO });
        while self.queue.len() > DATAGRAMS_QUEUED || self.bytes > DATAGRAM_BYTES_QUEUED {
            let oldest = self.queue.iter().enumerate().min_by_key(|(_, message)| message.id).map(|(at, _)| at);
            let Some(message) = oldest.and_then(|at| self.remove(at)) else { break };
            self.settle(message.id, Fate::Abandoned, None);
        }
        id
    }

    /// Uses up the next id without a message.
    pub const fn skip(&mut self) -> u64 {
        self.last_id = self.last_id.saturating_add(1);
        self.last_id
    }

    /// A message waits, wherever it may go.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// A message waits that any path may carry.
    #[must_use]
    #[inline]
    pub fn has_shared(&self) -> bool {
        self.queue.len() > self.pinned
    }

    /// A message waits that only this path may carry.
    #[must_use]
    pub fn has_pinned(&self, path: PathId) -> bool {
        self.pinned > 0 && self.queue.iter().any(|message| message.order.path == Some(path))
    }

    /// When the first message that waits is too old.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.queue.iter().filter_map(|message| message.order.expires).min()
    }

    /// Gives up what is too old by `now`, and what `fits` refuses: it is told the path of a message and its size.
    pub fn prune(&mut self, now: Timestamp, fits: impl Fn(Option<PathId>, usize) -> bool) {
        let mut at = 0;
        while let Some(message) = self.queue.get(at) {
            let is_old = message.order.expires.is_some_and(|expires| expires <= now);
            if !is_old && fits(message.order.path, message.data.len()) {
                at = at.saturating_add(1);
            } else if let Some(message) = self.remove(at) {
                self.settle(message.id, Fate::Abandoned, None);
            }
        }
    }

    /// Writes the first message that may go into this packet and answers its id; `None` if there is none or it does
    /// not fit: smaller ones behind it wait, too.
    pub fn write(&mut self, carrier: Carrier, writer: &mut Writer<'_>) -> Option<u64> {
        let may_go = |order: &SendOrder| order.path.map_or(carrier.shared, |path| path == carrier.path);
        let first = self.queue.iter().position(|message| may_go(&message.order) && message.order.urgency <= carrier.up_to)?;
        put(&self.queue.get(first)?.data, writer)?;
        let mut message = self.remove(first)?;
        message.on = carrier.path;
        let id = message.id;
        self.written.push(message);
        Some(id)
    }

    /// No socket took the packet with this message: it waits again, where it stood.
    pub fn take_back(&mut self, id: u64) {
        if let Some(at) = self.written.iter().position(|message| message.id == id) {
            let message = self.written.swap_remove(at);
            self.insert(message);
        }
    }

    /// A socket took the burst of `path`, but for what was taken back.
    pub fn on_submitted(&mut self, path: PathId) {
        if self.written.is_empty() {
            return;
        }
        let before = self.written.len();
        self.written.retain(|message| message.on != path);
        self.sent = self.sent.saturating_add(before.saturating_sub(self.written.len()) as u64);
    }

    /// The fate of a message became known; `path` carried it.
    pub fn settle(&mut self, id: u64, fate: Fate, path: Option<PathId>) {
        let count = match fate {
            Fate::Acknowledged => &mut self.acknowledged,
            Fate::Lost => &mut self.lost,
            Fate::Abandoned => &mut self.abandoned,
        };
        *count = count.saturating_add(1);
        self.fates.push_back((id, fate, path));
    }

    /// The next fate the application has not been told of, and the path that carried the message.
    pub fn poll_fate(&mut self) -> Option<(u64, Fate, Option<PathId>)> {
        self.fates.pop_front()
    }

    /// Drops everything, without a word.
    pub fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.written = Vec::new();
        self.fates = VecDeque::new();
        self.bytes = 0;
        self.pinned = 0;
    }

    /// Adds what this half knows to the statistics.
    pub fn add_to(&self, statistics: &mut super::DatagramStatistics) {
        statistics.sent = self.sent;
        statistics.acknowledged = self.acknowledged;
        statistics.lost = self.lost;
        statistics.abandoned = self.abandoned;
        statistics.queued = self.queue.len();
        statistics.queued_bytes = self.bytes;
    }

    fn insert(&mut self, message: Message) {
        let key = |message: &Message| (message.order.urgency, message.id);
        let place = self.queue.partition_point(|other| key(other) < key(&message));
        self.bytes = self.bytes.saturating_add(message.data.len());
        self.pinned = self.pinned.saturating_add(usize::from(message.order.path.is_some()));
        self.queue.insert(place, message);
    }

    fn remove(&mut self, at: usize) -> Option<Message> {
        let message = self.queue.remove(at)?;
        self.bytes = self.bytes.saturating_sub(message.data.len());
        self.pinned = self.pinned.saturating_sub(usize::from(message.order.path.is_some()));
        Some(message)
    }
}

/// Writes a frame. One that would leave less room than its Length takes has none and fills the packet to its last byte,
/// behind PADDING if need be.
fn put(data: &[u8], writer: &mut Writer<'_>) -> Option<()> {
    let spare = writer.remaining().checked_sub(Datagram::header_size(None).saturating_add(data.len()))?;
    if spare >= varint::size(data.len() as u64) {
        Datagram { data }.write(writer);
    } else {
        writer.zeros(spare);
        datagram::write_header(writer, None);
        writer.bytes(data);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use qbase::{Reader, frame::Frame};

    const ANY: Carrier = Carrier { path: PathId::ZERO, shared: true, up_to: LAST_URGENCY };

    fn message(len: usize, fill: u8) -> Bytes {
        Bytes::from(vec![fill; len])
    }

    fn written(queue: &mut SendQueue, carrier: Carrier) -> Option<u64> {
        let mut buffer = [0; 1_500];
        queue.write(carrier, &mut Writer::new(&mut buffer))
    }

    fn fates(queue: &mut SendQueue) -> Vec<(u64, Fate)> {
        std::iter::from_fn(|| queue.poll_fate()).map(|(id, fate, _)| (id, fate)).collect()
    }

    #[test]
    fn ids_count_from_one_and_messages_leave_in_order() {
        let mut queue = SendQueue::default();
        assert_eq!([(); 3].map(|()| queue.push(message(9, 0), SendOrder::default())), [1, 2, 3]);
        assert_eq!([(); 4].map(|()| written(&mut queue, ANY)), [Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn attack_l14_the_65th_message_costs_the_oldest() {
        let mut queue = SendQueue::default();
        for _ in 0..64 {
            queue.push(message(1, 0), SendOrder::default());
        }
        assert_eq!(fates(&mut queue), []);
        queue.push(message(1, 0), SendOrder::default());
        assert_eq!(fates(&mut queue), [(1, Fate::Abandoned)]);
        assert_eq!(queue.queue.len(), 64);
    }

    #[test]
    fn attack_l14_a_byte_over_64_kib_costs_the_oldest_whatever_its_urgency() {
        let mut queue = SendQueue::default();
        queue.push(message(1_024, 0), SendOrder { urgency: 0, ..SendOrder::default() });
        for _ in 1..64 {
            queue.push(message(1_024, 0), SendOrder { urgency: 5, ..SendOrder::default() });
        }
        assert_eq!((fates(&mut queue).len(), queue.bytes), (0, 65_536));
        queue.push(message(1_025, 0), SendOrder { urgency: 9, ..SendOrder::default() });
        assert_eq!(fates(&mut queue), [(1, Fate::Abandoned), (2, Fate::Abandoned)]);
        assert_eq!(queue.bytes, 62 * 1_024 + 1_025);
    }

    /// Shows 9221-5.1-1.
    #[test]
    fn urgency_orders_messages_and_tells_which_may_pass_streams() {
        let mut queue = SendQueue::default();
        for urgency in [3, 0, 7] {
            queue.push(message(1, 0), SendOrder { urgency, ..SendOrder::default() });
        }
        let before = |up_to| Carrier { up_to, ..ANY };
        assert_eq!(written(&mut queue, before(2)), Some(2));
        assert_eq!(written(&mut queue, before(2)), None, "a stream of urgency 2 goes first");
        assert_eq!(written(&mut queue, before(3)), Some(1), "one of urgency 3 does not");
        assert_eq!(written(&mut queue, before(7)), Some(3));
    }

    #[test]
    fn a_pinned_message_leaves_on_its_path_only() {
        let mut queue = SendQueue::default();
        queue.push(message(1, 0), SendOrder { path: Some(PathId(2)), ..SendOrder::default() });
        queue.push(message(1, 0), SendOrder::default());
        assert!(queue.has_shared() && queue.has_pinned(PathId(2)) && !queue.has_pinned(PathId(1)));
        assert_eq!(written(&mut queue, ANY), Some(2));
        assert_eq!(written(&mut queue, Carrier { path: PathId(2), shared: false, up_to: 7 }), Some(1));
    }

    #[test]
    fn what_no_socket_took_waits_again_in_its_place() {
        let mut queue = SendQueue::default();
        for _ in 0..3 {
            queue.push(message(1, 0), SendOrder::default());
        }
        for _ in 0..2 {
            written(&mut queue, ANY);
        }
        queue.take_back(2);
        queue.on_submitted(PathId::ZERO);
        assert_eq!((queue.sent, queue.written.len()), (1, 0));
        assert_eq!([(); 2].map(|()| written(&mut queue, ANY)), [Some(2), Some(3)]);
    }

    #[test]
    fn what_is_too_old_or_fits_no_longer_is_given_up() {
        let mut queue = SendQueue::default();
        let at = |millis| Timestamp::ZERO + std::time::Duration::from_millis(millis);
        queue.push(message(10, 0), SendOrder { expires: Some(at(5)), ..SendOrder::default() });
        queue.push(message(900, 0), SendOrder::default());
        queue.push(message(10, 0), SendOrder { expires: Some(at(9)), ..SendOrder::default() });
        assert_eq!(queue.expires_at(), Some(at(5)));
        queue.prune(at(5), |_, len| len < 500);
        assert_eq!(fates(&mut queue), [(1, Fate::Abandoned), (2, Fate::Abandoned)]);
        assert_eq!((queue.expires_at(), queue.queue.len(), queue.bytes), (Some(at(9)), 1, 10));
    }

    #[test]
    fn in_every_room_a_message_is_written_whole_or_not_at_all() {
        for len in [0, 1, 62, 63, 64, 65, 200] {
            for room in 0..280 {
                let mut queue = SendQueue::default();
                queue.push(message(len, 0x5a), SendOrder::default());
                let mut buffer = vec![0; room];
                let mut writer = Writer::new(&mut buffer);
                if queue.write(ANY, &mut writer).is_none() {
                    assert!(room < len + 1, "{len} bytes fit into {room}");
                    assert_eq!((writer.len(), queue.queue.len()), (0, 1));
                    continue;
                }
                assert!(!writer.overflowed());
                let mut reader = Reader::new(writer.written());
                let mut found = None;
                while !reader.is_empty() {
                    match Frame::decode(&mut reader) {
                        Ok(Frame::Datagram(datagram)) => found = Some(datagram.data.to_vec()),
                        Ok(Frame::Padding(_)) => {}
                        other => panic!("{other:?}"),
                    }
                }
                assert_eq!(found, Some(vec![0x5a; len]), "{len} bytes in a room of {room}");
            }
        }
    }
}
