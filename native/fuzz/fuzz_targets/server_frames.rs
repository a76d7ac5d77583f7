//! See `evil::target`.

#![no_main]

fuzz::target!("server_frames");
