//! What a relay costs that decides nothing: trains in, the same trains out to one address.

use std::{io::Result, sync::atomic::Ordering};

use bench_common::{
    report::{self, Meter, Report},
    sockets,
};

use crate::{channel::Channel, load::LONGER_THAN_REQUESTS};

/// Forwards until stdin ends.
pub fn serve() -> Result<Report> {
    let mut channel = Channel::new(sockets::bind()?)?;
    report::listening(channel.local_address()?);
    let meter = Meter::start();
    let told = report::told_flag();
    let mut client = None;
    while !told.load(Ordering::Relaxed) {
        channel.receive(|outlet, train| {
            let to = if train.bytes.len() < LONGER_THAN_REQUESTS {
                client = Some(train.from);
                train.from
            } else if let Some(client) = client {
                client
            } else {
                return Ok(());
            };
            // A full socket drops, as our relay does.
            outlet.try_send(to, &train).map(drop)
        })?;
    }
    Ok(meter.report())
}
