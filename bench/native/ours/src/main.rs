//! The benchmark cases over our own endpoint: one I/O thread a side, the application on it.
//!
//! Besides the two roles of all programs: `cert DIRECTORY` writes the certificate that all of them use.

mod cert;
mod client;
mod endpoint;
mod server;

use std::process::ExitCode;

use bench_common::{
    options::{self, Command},
    report,
};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == "cert").is_some() {
        return cert::write(arguments.next());
    }
    let outcome = match options::parse(arguments) {
        Ok(Command::Server(options)) => server::serve(&options),
        Ok(Command::Client(options)) => client::measure(options),
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::from(2);
        }
    };
    report::finish(outcome)
}
