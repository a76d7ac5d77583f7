//! What the two applications and the network of a random scenario do, and how a scenario is drawn from its seed.
//!
//! Every operation makes sense at every time, so that any part of a list is a list: that is what shrinking needs.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use qbase::{Direction, Role, frame::PathStatusKind};
use qconnection::{Multipath, RetryPolicy, Scheduler, SendLimits, TransportConfig, connection::Migration};
use qcongestion::algorithm::Algorithm;
use qsim::{Directions, LinkShape, LossModel, PairConfig, Paths, Queue, Random, Reorder, pair::TlsSetup};

use crate::common::{ms, secs};

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Operation {
    /// An application opens a stream, writes, and finishes it.
    Send(Role, Direction, u64),
    /// The sender of a stream gives it up; which one, counted round.
    Reset(Role, usize),
    /// The receiver of a stream wants no more of it.
    Stop(Role, usize),
    /// A message of so many bytes.
    Message(Role, usize),
    /// An application stops to read, or reads again.
    Read(Role, bool),
    /// New keys.
    UpdateKey(Role),
    /// A PING.
    Ping(Role),
    /// Another scheduler.
    Schedule(Role, Scheduler),
    /// The client opens a path over a link.
    Open(u32),
    /// An end gives a path up; which one, counted round.
    Abandon(Role, usize),
    /// An end says what it thinks of a path.
    Status(Role, usize, PathStatusKind),
    /// A link loses everything.
    Cut(u32, Directions),
    /// It works again.
    Restore(u32),
    /// It becomes another link.
    Shape(u32, Box<LinkShape>),
    /// Time passes.
    Wait(Duration),
    /// An application closes the connection.
    Close(Role, u64),
    /// The client takes a path to one of its addresses; which path, counted round.
    Migrate(usize, usize, Migration),
    /// A NAT gives one of the client's addresses another one outside.
    Rebind(usize, Outside),
    /// The connection ends and leaves nothing; the client dials again, and what follows may be early data.
    Again(Memory),
}

/// What a NAT changes.
#[derive(Clone, Copy, Debug)]
pub enum Outside {
    /// The port.
    Port(u16),
    /// The host.
    Host(u8),
}

/// What a server remembers of the connection before.
#[derive(Clone, Copy, Debug)]
pub enum Memory {
    /// Its tickets: early data is accepted.
    Tickets,
    /// Nothing: early data is rejected.
    Nothing,
    /// Its tickets, but it has smaller limits: early data is rejected.
    LowerLimits,
}

/// Addresses of the client beside those of its links.
pub const SPARE_ADDRESSES: usize = 2;

/// A scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub config: PairConfig,
    pub operations: Vec<Operation>,
}

/// Draws a scenario.
pub fn scenario(seed: u64) -> Scenario {
    let mut random = Random::labelled(seed, 0x5ce0);
    let links = 1 + random.below(3);
    let config = config(seed, links, &mut random);
    let operations = (0..10 + random.below(60)).map(|_| operation(links, &mut random)).collect();
    Scenario { config, operations }
}

fn config(seed: u64, links: u64, random: &mut Random) -> PairConfig {
    let links: Vec<LinkShape> = (0..links).map(|_| shape(random)).collect();
    let multipath = pick(random, &[Multipath::Auto, Multipath::Auto, Multipath::Off]);
    let transport = |random: &mut Random| TransportConfig {
        congestion: pick(random, &[Algorithm::Cubic, Algorithm::NewReno, Algorithm::Bbr3]),
        stream_window: 4_000 + random.below(100_000),
        connection_window: 8_000 + random.below(200_000),
        bidirectional_streams: 1 + random.below(10),
        unidirectional_streams: 1 + random.below(10),
        keep_alive: if random.chance(0.2) { secs(5) } else { Duration::ZERO },
        ack_frequency: random.chance(0.8),
        multipath,
        ..TransportConfig::default()
    };
    let limits = SendLimits { max_segments: pick(random, &[1, 3, 64]) };
    let (client, mut server) = (transport(random), transport(random));
    server.preferred_address.ipv4 = random.chance(0.2).then_some(PREFERRED);
    let tls = TlsSetup { early_data: random.chance(0.7), ..TlsSetup::default() };
    let retry = pick(random, &[RetryPolicy::Auto, RetryPolicy::Auto, RetryPolicy::Always]);
    let paths = pick(random, &[Paths::All, Paths::First]);
    PairConfig { client, server, limits, retry, paths, tls, ..PairConfig::new(seed, links) }
}

/// Where a server would rather be, if it has a wish.
pub const PREFERRED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 9), 4_433);

fn operation(links: u64, random: &mut Random) -> Operation {
    let role = pick(random, &[Role::Client, Role::Server]);
    let link = u32::try_from(random.below(links)).unwrap_or_default();
    let any = usize::try_from(random.below(16)).unwrap_or_default();
    // Mostly those that the first paths are on.
    let wire = if random.chance(0.8) { link } else { u32::try_from(random.below(20)).unwrap_or_default() };
    match random.below(112) {
        0..25 => {
            let direction = pick(random, &[Direction::Bidirectional, Direction::Unidirectional]);
            let bound = pick(random, &[10, 2_000, 20_000, 60_000]);
            Operation::Send(role, direction, random.below(bound))
        }
        25..31 => Operation::Reset(role, any),
        31..37 => Operation::Stop(role, any),
        37..43 => Operation::Message(role, usize::try_from(random.below(1_300)).unwrap_or_default()),
        43..47 => Operation::Read(role, random.chance(0.6)),
        47..51 => Operation::UpdateKey(role),
        51..53 => Operation::Ping(role),
        53..55 => Operation::Schedule(role, pick(random, &[Scheduler::MinRtt, Scheduler::RoundRobin, Scheduler::Redundant])),
        55..60 => Operation::Open(link),
        60..63 => Operation::Abandon(role, any),
        63..67 => Operation::Status(role, any, pick(random, &[PathStatusKind::Available, PathStatusKind::Backup])),
        67..71 => Operation::Cut(wire, pick(random, &[Directions::Both, Directions::AToB, Directions::BToA])),
        71..76 => Operation::Restore(wire),
        76..79 => Operation::Shape(wire, Box::new(shape(random))),
        79..99 => {
            let bound = pick(random, &[20, 200, 200, 2_000, 2_000, 15_000]);
            Operation::Wait(ms(random.below(bound)))
        }
        99 => Operation::Close(role, random.below(1_000)),
        100..105 => Operation::Migrate(any, any / 3, pick(random, &[Migration::WhenProved, Migration::AtOnce])),
        105..109 => {
            let number = 1 + random.below(200) as u8;
            Operation::Rebind(any, if random.chance(0.5) { Outside::Port(1_000 + u16::from(number)) } else { Outside::Host(number) })
        }
        _ => Operation::Again(pick(random, &[Memory::Tickets, Memory::Tickets, Memory::Nothing, Memory::LowerLimits])),
    }
}

fn shape(random: &mut Random) -> LinkShape {
    let share = random.fraction() * 0.1;
    let reorder = Reorder { probability: random.fraction() * 0.3, by: ms(random.below(60)) };
    LinkShape {
        delay: Duration::from_micros(200 + random.below(60_000)),
        jitter: ms(random.below(10)),
        rate_bits_per_sec: random.chance(0.5).then(|| 1_000_000 + random.below(40_000_000)),
        queue: pick(random, &[Queue::HundredMillis, Queue::TailDrop { bytes: 6_000 }]),
        loss: match random.below(4) {
            0 | 1 => LossModel::None,
            2 => LossModel::bursty(share, 1.0 + random.fraction() * 5.0),
            _ => LossModel::Independent(share),
        },
        corrupt: if random.chance(0.2) { random.fraction() * 0.05 } else { 0.0 },
        truncate: if random.chance(0.1) { random.fraction() * 0.02 } else { 0.0 },
        duplicate: if random.chance(0.3) { random.fraction() * 0.2 } else { 0.0 },
        reorder: random.chance(0.3).then_some(reorder),
        ..LinkShape::default()
    }
}

fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[usize::try_from(random.below(choices.len() as u64)).unwrap_or_default()]
}
