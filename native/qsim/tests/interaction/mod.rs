//! What two applications may do to each other and to the network: operations, and the world they happen in.

pub mod operation;
pub mod world;
