//! The bodies of all fuzz targets: plain functions that take any bytes and panic on a finding.
//!
//! Called by `native/fuzz` with the bytes of a fuzzer, and by the test `corpus` with the kept inputs and seeded random ones.
//! The same input does the same thing every time.

pub mod food;

mod assembler;
mod buffers;
mod initials;
mod live;
mod parsers;
mod traversal;

/// How long one input takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Microseconds: no connection.
    Light,
    /// Milliseconds: at least one TLS handshake.
    Heavy,
}

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: that of the fuzz target and of its folder of kept inputs.
    pub name: &'static str,
    /// How long one input takes.
    pub cost: Cost,
    /// Runs one input.
    pub run: fn(&[u8]),
}

/// All targets.
pub const ALL: [Target; 16] = [
    light("packet", parsers::packet),
    light("frames", parsers::frames),
    light("parameters", parsers::parameters),
    light("acks", parsers::acks),
    light("tokens", parsers::tokens),
    light("traversal", traversal::traversal),
    light("range_set", buffers::range_set),
    light("recv_buffer", buffers::recv_buffer),
    light("crypto_stream", buffers::crypto_stream),
    light("send_buffer", buffers::send_buffer),
    heavy("client_initial", initials::client_initial),
    heavy("server_initial", initials::server_initial),
    heavy("datagrams", initials::datagrams),
    heavy("client_frames", live::client_frames),
    heavy("server_frames", live::server_frames),
    heavy("bursts", assembler::bursts),
];

const fn light(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, cost: Cost::Light, run }
}

const fn heavy(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, cost: Cost::Heavy, run }
}

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
