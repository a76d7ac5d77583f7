//! Messages (RFC 9221) between JavaScript and the machine: one record each, no call for any of them.
//!
//! Decides when JavaScript hears of room in the send queue. Ids are counted in JavaScript, in the order of its commands;
//! the machine counts the same, and what it refuses uses up an id here. Called by the commands and by the visit.

use qbase::PathId;
use qconnection::{
    Connection as Machine,
    connection::{Earliness, SendDatagram, events::DatagramFate},
};
use qdriver::Io;

use super::{Engine, outbox::Outbox};
use crate::{
    error::NativeError,
    queue::{
        commands::DatagramCommand,
        layout::{EARLY, Kind, Record},
    },
};

/// Most messages that JavaScript's `writable` has under way.
const WINDOW: usize = 32;
/// Bytes of them: the queue of the machine holds 64 KiB (attacks L14).
const WINDOW_BYTES: usize = 49_152;
/// Bit of `Trace`: fates of messages.
const FATES: u8 = 4;

/// Messages of ours, as far as JavaScript knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Messages {
    /// Those it gave.
    given: u64,
    /// Of those, the ones it knows to have left the queue.
    told: u64,
    /// The largest size it knows.
    size: usize,
}

impl Messages {
    /// JavaScript may be waiting to send more.
    #[must_use]
    pub const fn wait_for_room(&self) -> bool {
        self.given.saturating_sub(self.told) >= self.window()
    }

    /// Messages under way at which JavaScript waits: `src/datagram/datagrams.ts` counts the same.
    const fn window(&self) -> u64 {
        let size = if self.size == 0 { 1 } else { self.size };
        let fit = WINDOW_BYTES / size;
        if fit == 0 { 1 } else if fit > WINDOW { WINDOW as u64 } else { fit as u64 }
    }

    /// Tells how many messages left the queue and how large one may be (`size`), if JavaScript should know.
    pub fn tell_room(&mut self, key: u32, size: usize, machine: &Machine, out: &mut Outbox) {
        let left = if self.given == self.told {
            self.given
        } else {
            self.given.saturating_sub(machine.statistics().messages.queued as u64)
        };
        let step = (self.window() / 2).max(1);
        let is_room = self.wait_for_room() && left.saturating_sub(self.told) >= step;
        if is_room || size != self.size {
            (self.told, self.size) = (left, size);
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            out.push(Record::new(Kind::DatagramRoom, key).small(size).number(left));
        }
    }
}

impl Engine {
    /// Sends a message, or tells that it will never leave.
    pub(super) fn obey_datagram(&mut self, io: &mut Io<'_>, command: DatagramCommand) {
        let DatagramCommand { key, id, path, expires_ms, data } = command;
        let Some(connection) = self.table.get_mut(key).filter(|connection| connection.is_live()) else { return };
        let Some(machine) = io.endpoint.connection_mut(connection.handle) else { return };
        connection.messages.given = id;
        connection.planning.on_message();
        let expires = (expires_ms > 0).then(|| io.now + std::time::Duration::from_millis(expires_ms));
        let order = SendDatagram { path: path.map(PathId), expires, ..SendDatagram::default() };
        let taken = machine.send_datagram(io.now, data, order);
        let refused = taken.is_err();
        let counted = taken.unwrap_or_else(|_| machine.skip_datagram());
        if counted != id {
            return self.fail(io, key, NativeError::internal(format_args!("message {id} was counted as {counted}")));
        }
        if refused {
            // It was too large for the paths as they are since a moment ago, or its path has gone.
            self.tell_fate(key, id, DatagramFate::Abandoned, None);
        }
    }

    /// Hands over all messages of the peer that wait: the machine keeps a bounded number of them.
    pub(super) fn tell_messages(&mut self, io: &mut Io<'_>, key: u32) {
        let Some(connection) = self.table.get(key).filter(|connection| connection.is_live()) else { return };
        let Some(machine) = io.endpoint.connection_mut(connection.handle) else { return };
        while let Some((message, earliness)) = machine.receive_marked_datagram() {
            let flags = if earliness == Earliness::Early { EARLY } else { 0 };
            self.out.flagged(Kind::Datagram, key, flags, &message);
        }
    }

    /// What became of a message, if JavaScript wants to know.
    pub(super) fn tell_fate(&mut self, key: u32, id: u64, fate: DatagramFate, path: Option<PathId>) {
        if self.table.get(key).is_none_or(|connection| connection.trace & FATES == 0) {
            return;
        }
        let word = match fate {
            DatagramFate::Acknowledged => 0,
            DatagramFate::Lost => 1,
            DatagramFate::Abandoned => 2,
        };
        let path = path.map_or(0, |path| u64::from(path.0).saturating_add(1));
        self.out.push(Record::new(Kind::DatagramFate, key).stream(id).small(word).number(path));
    }
}
