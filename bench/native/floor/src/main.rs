//! What no protocol over UDP can beat: segments sealed once, sent with segmentation offload, received with receive
//! offload, opened once; a credit datagram per received batch keeps 1 MiB in flight. Only the case `bulk`.
//!
//! A segment is an 8-byte number and sealed bytes; the number is the nonce. A credit is the count of bytes opened so far.

mod wire;

use std::{
    io::{Error, ErrorKind, Result},
    process::ExitCode,
    sync::atomic::Ordering,
};

use bench_common::{
    options::{self, Case, ClientOptions, Command},
    report::{self, Meter, Report},
    settings::STREAM_WINDOW,
    sockets,
};

use wire::{Channel, SEGMENT, SEGMENTS, Sealer};

fn main() -> ExitCode {
    let outcome = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Server(options)) if options.case == Case::Bulk => serve(),
        Ok(Command::Client(options)) if options.case == Case::Bulk => send(&options),
        Ok(_) => Err(Error::new(ErrorKind::Unsupported, "only bulk has a floor")),
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::from(2);
        }
    };
    report::finish(outcome.map_err(|error| error.to_string()))
}

fn serve() -> Result<Report> {
    let mut channel = Channel::new(sockets::bind()?)?;
    report::listening(channel.local_address()?);
    let meter = Meter::start();
    let told = report::told_flag();
    let sealer = Sealer::new();
    let mut opened = 0_u64;
    while !told.load(Ordering::Relaxed) {
        let Some(from) = channel.receive(|segment| {
            if let Some(length) = sealer.open(segment) {
                opened += length as u64;
            }
        })?
        else {
            continue;
        };
        channel.send(from, &opened.to_be_bytes(), 8)?;
    }
    Ok(meter.report())
}

fn send(options: &ClientOptions) -> Result<Report> {
    let mut channel = Channel::new(sockets::bind()?)?;
    let sealer = Sealer::new();
    let mut burst = vec![7; SEGMENT * SEGMENTS];
    let meter = Meter::start();
    let window = u64::from(STREAM_WINDOW);
    let mut sent = Sent::default();
    while meter.elapsed() < options.time {
        while sent.in_flight() < window {
            for segment in burst.chunks_exact_mut(SEGMENT) {
                sent.bytes += sealer.seal(segment) as u64;
            }
            channel.send(options.connect, &burst, SEGMENT)?;
            sent.bursts += 1;
        }
        sent.wait(&mut channel)?;
    }
    while sent.in_flight() > 0 {
        sent.wait(&mut channel)?;
    }
    let segments = sent.bursts * SEGMENTS as u64;
    let lost = sent.lost / SEGMENT as u64;
    Ok(Report { bytes: sent.bytes - sent.lost, bursts: sent.bursts, segments, lost, ..meter.report() })
}

/// What the sender knows, in sealed bytes.
#[derive(Default)]
struct Sent {
    bytes: u64,
    opened: u64,
    lost: u64,
    bursts: u64,
}

impl Sent {
    const fn in_flight(&self) -> u64 {
        self.bytes.saturating_sub(self.opened).saturating_sub(self.lost)
    }

    /// Waits for credit; what is still unanswered after a silence is lost.
    fn wait(&mut self, channel: &mut Channel) -> Result<()> {
        let opened = &mut self.opened;
        let answer = channel.receive(|credit| {
            if let Some(total) = credit.first_chunk::<8>() {
                *opened = u64::from_be_bytes(*total).max(*opened);
            }
        })?;
        if answer.is_none() {
            self.lost = self.bytes.saturating_sub(self.opened);
        }
        Ok(())
    }
}
