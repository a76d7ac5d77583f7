//! See `evil::target`.

#![no_main]

fuzz::target!("send_buffer");
