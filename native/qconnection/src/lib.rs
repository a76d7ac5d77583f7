//! The QUIC machine: endpoints, connections, paths, packet-number spaces and the burst assembler.
//!
//! Sans-IO: `now`, bytes and a seed come in; bursts, events and timers go out. No sockets, clocks, threads or locks.
//! `connection/` holds the parts of one connection and routes between them; every part is a plain struct.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod burst;
pub mod cid;
pub mod config;
pub mod connection;
pub mod endpoint;
pub mod handle;
pub mod path;
pub mod space;
pub mod stream;

pub use burst::{Burst, SendLimits};
pub use config::{
    AckPath, ClientConfig, EndpointConfig, FollowPreferred, HandshakeMode, Multipath, PreferredAddresses, RetryPolicy, ServerConfig, Spin, TransportConfig,
};
pub use connection::{Connection, events::Event};
pub use connection::traversal::{TraversalNews, TraversalSettings, TraversalState};
pub use endpoint::{Endpoint, Received};
pub use handle::ConnectionHandle;
pub use path::{PathView, scheduler::Scheduler};
pub use qevent::{Signals, TimerName};
