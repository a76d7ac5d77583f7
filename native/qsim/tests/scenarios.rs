//! Every scenario of the simulator in one program: the machine and the harness are compiled and linked once.
//!
//! `cargo test -p qsim --test scenarios handshake::` runs one topic. What needs an allocator of its own stands beside.

#![cfg(test)]

mod common;
mod interaction;

mod ack_copies;
mod ack_frequency;
mod admission;
mod attack_addresses;
mod attack_early;
mod attack_frames;
mod attack_gauges;
mod attack_ids;
mod attack_memory;
mod attack_multipath;
mod attack_packets;
mod attack_paths;
mod attack_shared_space;
mod attack_streams;
mod bursts;
mod cids;
mod compliance_addresses;
mod compliance_client;
mod compliance_close;
mod compliance_early;
mod compliance_paths;
mod compliance_recovery;
mod compliance_server;
mod compliance_wire;
mod congestion;
mod datagrams;
mod determinism;
mod early;
mod ecn;
mod endings;
mod gate;
mod half_rtt;
mod handshake;
mod handshake_modes;
mod handshake_silence;
mod handshake_wire;
mod hostile;
mod idle;
mod keys;
mod memory;
mod migration;
mod mtu;
mod multipath;
mod multipath_rules;
mod nat_detection;
mod nat_keeper;
mod nat_server;
mod network;
mod newcomers;
mod pings;
mod preferred_address;
mod priorities;
mod qlog;
mod random;
mod random_interaction;
mod relayed;
mod relays;
mod reset;
mod resumption;
mod retry;
mod schedulers;
mod shared_space;
mod spares;
mod transfer;
mod verdict;
mod version;
mod windows;
