//! The benchmark cases over quinn: one tokio thread a side, chunks without copies where the API has them.

mod client;
mod server;

use std::{error::Error, process::ExitCode, sync::Arc};

use bench_common::{
    options::{self, Command, Switch},
    report,
    settings::{CONNECTION_WINDOW, DATAGRAM_SIZE, IDLE, MAX_STREAMS, SEND_BUFFER, STREAM_WINDOW},
};
use quinn::TransportConfig;

/// What goes wrong here.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let command = match options::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report::finish(Err(error.to_string())),
    };
    let outcome = runtime.block_on(async {
        match command {
            Command::Server(options) => server::serve(&options).await,
            Command::Client(options) => client::measure(&options).await,
        }
    });
    report::finish(outcome.map_err(|error| error.to_string()))
}

fn transport(gso: Switch) -> Result<Arc<TransportConfig>, Failure> {
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_BUFFER.into())
        .max_concurrent_bidi_streams(MAX_STREAMS.into())
        .max_concurrent_uni_streams(MAX_STREAMS.into())
        .max_idle_timeout(Some(IDLE.try_into()?))
        .initial_mtu(DATAGRAM_SIZE)
        .mtu_discovery_config(None)
        .enable_segmentation_offload(gso == Switch::On);
    Ok(Arc::new(config))
}
