//! See `evil::target`.

#![no_main]

fuzz::target!("crypto_stream");
