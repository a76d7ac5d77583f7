//! Buffers of stream and CRYPTO bytes.
//!
//! Decides where bytes lie between the application and the packets: [`pool`] owns the blocks, [`recv`] puts received
//! bytes in order (RFC 9000 §2.2), [`send`] keeps sent bytes until they are acknowledged (RFC 9000 §13.3). Called by
//! the stream room and by CRYPTO streams. Never decides about credit: flow control is checked before bytes come here.

pub mod pool;
pub mod recv;
pub mod send;
pub mod spare;

pub use pool::{BLOCK_LEN, Block, BufferPool, Pressure, Waiter};
pub use recv::{RecvBuffer, RecvBufferError};
pub use send::{Copied, SendBuffer};
pub use spare::SpareBlocks;
