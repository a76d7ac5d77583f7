//! The transfer protocol of `test/peers` over our own endpoint, driven by our own I/O thread.
//!
//! Besides the two roles of all programs: `cert --out DIRECTORY` writes the certificate that all of them use.

mod cert;
mod client;
mod path_log;
mod run;
mod server;
mod transfer;

use std::{process::ExitCode, time::Instant};

use peer_common::{
    options::{self, Command},
    report,
};

fn main() -> ExitCode {
    let started = Instant::now();
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == "cert").is_some() {
        return cert::write(arguments);
    }
    let (role, outcome) = match options::parse(arguments) {
        Ok(Command::Server(options)) => ("server", server::serve(&options)),
        Ok(Command::Client(options)) => ("client", client::connect(options)),
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::from(2);
        }
    };
    report::finish("ours", role, started, outcome)
}
