//! The real machine on real sockets and threads.
#![cfg(test)]

mod common;
mod endpoint;
mod nat;
mod relayed;
mod relays;
