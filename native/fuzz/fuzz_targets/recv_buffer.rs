//! See `evil::target`.

#![no_main]

fuzz::target!("recv_buffer");
