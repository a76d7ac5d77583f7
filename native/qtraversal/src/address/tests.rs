//! Addresses: bytes, text, use and reach.
