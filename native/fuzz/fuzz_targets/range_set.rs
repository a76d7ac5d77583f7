//! See `evil::target`.

#![no_main]

fuzz::target!("range_set");
