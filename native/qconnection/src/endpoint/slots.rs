//! The table of connections: slots with generations, so that an old handle never reaches a new connection.
//!
//! Called by the endpoint only.

use crate::{connection::Connection, handle::ConnectionHandle};

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

/// Connections by slot; free slots are used again.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    len: usize,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The handle the next connection will have.
    pub(super) fn reserve(&mut self) -> ConnectionHandle {
        if self.free.is_empty() {
            self.free.push(self.slots.len() as u32);
            self.slots.push(Slot::default());
        }
        let index = self.free.last().copied().unwrap_or_default();
        let generation = self.slots.get(index as usize).map_or(0, |slot| slot.generation);
        ConnectionHandle { index, generation }
    }

    /// Puts a connection into its reserved slot.
    pub(super) fn insert(&mut self, connection: Box<Connection>) {
        let handle = connection.handle();
        if let Some(slot) = self.slots.get_mut(handle.index as usize) {
            slot.connection = Some(connection);
            // The last one, if it was reserved a moment ago: a long list of free slots is not searched.
            if self.free.last() == Some(&handle.index) {
                self.free.pop();
            } else {
                self.free.retain(|index| *index != handle.index);
            }
            self.len = self.len.saturating_add(1);
        }
    }

    pub(super) fn get(&self, handle: ConnectionHandle) -> Option<&Connection> {
        let slot = self.slots.get(handle.index as usize)?;
        if slot.generation == handle.generation { slot.connection.as_deref() } else { None }
    }

    pub(super) fn get_mut(&mut self, handle: ConnectionHandle) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(handle.index as usize)?;
        if slot.generation == handle.generation { slot.connection.as_deref_mut() } else { None }
    }

    /// The connection in a slot, whatever its generation.
    pub(super) fn at(&mut self, index: u32) -> Option<&mut Connection> {
        self.slots.get_mut(index as usize)?.connection.as_deref_mut()
    }

    pub(super) fn remove(&mut self, handle: ConnectionHandle) -> Option<Box<Connection>> {
        let slot = self.slots.get_mut(handle.index as usize)?;
        if slot.generation != handle.generation {
            return None;
        }
        let connection = slot.connection.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(handle.index);
        self.len = self.len.saturating_sub(1);
        Some(connection)
    }

    /// Exchanges two connections; their handles are theirs to change.
    pub(super) fn swap(&mut self, one: ConnectionHandle, other: ConnectionHandle) {
        if let Ok([one, other]) = self.slots.get_disjoint_mut([one.index as usize, other.index as usize]) {
            std::mem::swap(&mut one.connection, &mut other.connection);
        }
    }

    /// Two connections at once.
    pub(super) fn two(&mut self, one: ConnectionHandle, other: ConnectionHandle) -> Option<(&mut Connection, &mut Connection)> {
        let [one, other] = self.slots.get_disjoint_mut([one.index as usize, other.index as usize]).ok()?;
        Some((one.connection.as_deref_mut()?, other.connection.as_deref_mut()?))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().filter_map(|slot| slot.connection.as_deref())
    }

    pub(super) fn handles(&self) -> impl Iterator<Item = ConnectionHandle> + '_ {
        self.slots.iter().filter_map(|slot| slot.connection.as_ref().map(|connection| connection.handle()))
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }
}
