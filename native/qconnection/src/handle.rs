//! The name of a connection inside its endpoint.

/// A slot with a generation: a handle of a connection that is gone never reaches its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionHandle {
    /// Slot in the endpoint's table.
    pub index: u32,
    /// How often the slot was used before.
    pub generation: u32,
}
