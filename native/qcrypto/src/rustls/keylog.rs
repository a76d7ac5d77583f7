//! Secrets for capture readers, line by line in the NSS key log format.

use std::{fmt, sync::Arc};

/// Takes one line, without line feed: label, client random and secret in hex.
pub type KeyLog = Arc<dyn Fn(&str) + Send + Sync>;

/// Makes lines of what TLS reports.
pub(super) struct Lines(pub(super) KeyLog);

impl rustls::KeyLog for Lines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        (self.0)(&format!("{label} {} {}", Hex(client_random), Hex(secret)));
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines(..)")
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
