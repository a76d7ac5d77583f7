//! See `evil::target`.

#![no_main]

fuzz::target!("traversal");
