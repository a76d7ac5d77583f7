//! See `evil::target`.

#![no_main]

fuzz::target!("client_initial");
