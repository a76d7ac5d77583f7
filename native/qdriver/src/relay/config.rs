//! What links look like.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{capture::CaptureFiles, script::Script};
use crate::socket::BufferSizes;

/// Shortest time between two releases of a paced line.
const GRANULARITY: Duration = Duration::from_millis(1);

/// A set of links on one thread.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// The links.
    pub links: Vec<LinkConfig>,
    /// Cuts by byte count.
    pub script: Script,
    /// Lines with a rate or a delay release datagrams on this grid, all lines together; fewer wakes, larger bursts.
    pub granularity: Duration,
}

impl RelayConfig {
    /// Links without a script, released every millisecond.
    #[must_use]
    pub fn new(links: Vec<LinkConfig>) -> Self {
        Self { links, script: Script::default(), granularity: GRANULARITY }
    }
}

/// One link.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Where clients send to; port 0: any free one.
    pub listen: SocketAddr,
    /// Where their datagrams go.
    pub target: SocketAddr,
    /// From clients to the target.
    pub up: LineConfig,
    /// From the target to clients.
    pub down: LineConfig,
    /// Where the luck of both lines comes from.
    pub seed: u64,
    /// Clients at once; the one silent for longest makes room.
    pub clients: usize,
    /// Kernel buffers of its sockets.
    pub buffers: BufferSizes,
    /// Our address towards the target; `None`: the kernel picks.
    pub source: Option<IpAddr>,
    /// Captures of what passes; `None`: nobody watches.
    pub capture: Option<CaptureFiles>,
}

impl LinkConfig {
    /// A link that only passes on.
    #[must_use]
    pub fn new(listen: SocketAddr, target: SocketAddr) -> Self {
        Self {
            listen,
            target,
            up: LineConfig::default(),
            down: LineConfig::default(),
            seed: 0,
            clients: 64,
            buffers: BufferSizes::default(),
            source: None,
            capture: None,
        }
    }

    /// The same line both ways.
    #[must_use]
    pub const fn with_lines(mut self, line: LineConfig) -> Self {
        self.up = line;
        self.down = line;
        self
    }
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineConfig {
    /// UDP payload bits per second; `None`: unlimited.
    pub bits_per_second: Option<u64>,
    /// Time on the line, after the last bit left.
    pub delay: Duration,
    /// UDP payload bytes that may wait for their turn on the line; more are dropped. No meaning without a rate.
    pub queue_bytes: u64,
    /// Share of datagrams lost before the queue, 0.0 ..= 1.0.
    pub loss: f64,
    /// Share of datagrams of which a bit is flipped, 0.0 ..= 1.0.
    pub corruption: f64,
    /// Most datagrams in a row that chance loses or corrupts; 0: no bound.
    pub max_in_a_row: u32,
    /// Datagrams that are lost by their number on the line: bit 0 is the first.
    pub drop_list: u64,
    /// Datagrams with more UDP payload bytes are lost; `None`: none is too long.
    pub max_datagram: Option<usize>,
}

impl Default for LineConfig {
    fn default() -> Self {
        Self { bits_per_second: None, delay: Duration::ZERO, queue_bytes: 1_024 * 1_024, loss: 0.0, corruption: 0.0, max_in_a_row: 0, drop_list: 0, max_datagram: None }
    }
}
