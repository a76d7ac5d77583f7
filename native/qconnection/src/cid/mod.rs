//! Connection ids of one path id: those we gave the peer and those it gave us (RFC 9000 §5.1; multipath section F).
//!
//! Decides which ids are valid and which frames about them are owed. Called by the connection, which makes ids and
//! tokens, routes datagrams by them, and writes the frames. Knows how ids look (`shape`). Never knows other path ids:
//! that an id is unique over all of them (multipath MP-46) is checked by whoever holds the set.

pub mod local;
pub mod remote;
pub mod shape;

pub use local::LocalCids;
pub use remote::RemoteCids;
pub use shape::{CidShape, FirstOctet, ServerId, ShapeError};
