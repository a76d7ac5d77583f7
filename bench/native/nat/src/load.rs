//! Who sends through a relay and receives from it: one thread, a window of 1 MiB in flight.

use std::{
    io::{Error, ErrorKind, Result},
    net::SocketAddr,
    time::Duration,
};

use bench_common::{
    report::{Meter, Report},
    settings::{DATAGRAM_SIZE, STREAM_WINDOW},
    sockets,
};
use qtraversal::{
    Endpoint,
    forward::ForwardHeader,
    stun::{Form, MAX_MESSAGE, Message, TransactionId},
};

use crate::channel::Channel;

/// What is shorter is a STUN request; everything else is [`SEGMENT`] bytes long.
pub const LONGER_THAN_REQUESTS: usize = 200;
/// Bytes of a datagram.
const SEGMENT: usize = DATAGRAM_SIZE as usize;
/// Datagrams of a train: what fits a UDP datagram of 64 KiB.
const TRAIN: usize = 44;
/// Between keep-alives.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Requests until somebody must have answered.
const TRIES: usize = 250;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// Bursts that stay together as trains.
    Trains,
    /// Datagrams one by one.
    Singles,
}

/// A run.
#[derive(Debug)]
pub struct Options {
    case: Case,
    connect: SocketAddr,
    time: Duration,
}

impl Options {
    /// Reads the command line.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> std::result::Result<Self, String> {
        let (mut case, mut connect, mut seconds) = (None, None, None);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            match (name.as_str(), value.as_str()) {
                ("--case", "trains") => case = Some(Case::Trains),
                ("--case", "singles") => case = Some(Case::Singles),
                ("--connect", address) => connect = address.parse().ok(),
                ("--seconds", number) => seconds = number.parse().ok(),
                _ => return Err(format!("{name} {value}?")),
            }
        }
        Ok(Self {
            case: case.ok_or("--case?")?,
            connect: connect.ok_or("--connect?")?,
            time: Duration::from_secs_f64(seconds.ok_or("--seconds?")?),
        })
    }
}

/// Sends until the time is up; `operations` are the datagrams that came through.
pub fn run(options: &Options) -> Result<Report> {
    let mut client = Client { channel: Channel::new(sockets::bind()?)?, relay: options.connect, received: 0, answered: 0 };
    client.register()?;
    let sender = Channel::new(sockets::bind()?)?;
    let burst = train(sender.local_address()?, options.connect, client.channel.local_address()?)?;
    let burst = if options.case == Case::Trains { &burst[..] } else { &burst[..SEGMENT] };
    let datagrams = (burst.len() / SEGMENT) as u64;
    let window = u64::from(STREAM_WINDOW) / SEGMENT as u64;
    let (mut sent, mut lost, mut bursts, mut alive) = (0, 0, 0, Duration::ZERO);
    let meter = Meter::start();
    while meter.elapsed() < options.time {
        while sent - lost - client.received.min(sent - lost) + datagrams <= window {
            sender.send(options.connect, burst, SEGMENT)?;
            sent += datagrams;
            bursts += 1;
        }
        if !client.receive()? {
            lost = sent - client.received.min(sent);
        }
        if meter.elapsed() >= alive + KEEP_ALIVE {
            alive = meter.elapsed();
            client.ask()?;
        }
    }
    let report = meter.report();
    while client.receive()? {}
    if client.received == 0 {
        return Err(Error::new(ErrorKind::TimedOut, "nothing came through"));
    }
    let lost = sent - client.received.min(sent);
    Ok(Report { bytes: client.received * SEGMENT as u64, operations: client.received, bursts, segments: sent, lost, ..report })
}

/// The relay's client.
struct Client {
    channel: Channel,
    relay: SocketAddr,
    /// Datagrams that came through.
    received: u64,
    /// Answers to requests.
    answered: u64,
}

impl Client {
    /// Asks until it is answered.
    fn register(&mut self) -> Result<()> {
        for _ in 0..TRIES {
            self.ask()?;
            self.receive()?;
            if self.answered > 0 {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::TimedOut, "nobody answers"))
    }

    fn ask(&self) -> Result<()> {
        let mut buffer = [0; MAX_MESSAGE];
        let request = Message::request(Form::Rfc, TransactionId::from_bytes([9; 16]));
        let len = request.encode(&mut buffer).map_err(|error| Error::other(format!("{error:?}")))?;
        self.channel.send(self.relay, &buffer[..len], len)
    }

    /// One batch; false after a silence.
    fn receive(&mut self) -> Result<bool> {
        let (received, answered) = (&mut self.received, &mut self.answered);
        self.channel.receive(|_, train| {
            if train.segment == SEGMENT {
                *received += train.len() as u64;
            } else {
                *answered += 1;
            }
            Ok(())
        })
    }
}

/// A burst of datagrams from one address to a client behind a relay.
fn train(from: SocketAddr, agent: SocketAddr, client: SocketAddr) -> Result<Vec<u8>> {
    let header = ForwardHeader { source: Endpoint::Direct(from), destination: Endpoint::Agent { agent, outer: client } };
    let stamp = header.stamp().map_err(Error::other)?;
    let mut burst = vec![0x47; SEGMENT * TRAIN];
    stamp.fill_burst(&mut burst, SEGMENT).map_err(Error::other)?;
    Ok(burst)
}
