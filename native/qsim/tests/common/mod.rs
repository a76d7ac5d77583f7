//! What several topics share: short names for links, and many seeds at once.

#![allow(dead_code, unused_imports, reason = "no topic uses every helper")]

pub mod crowd;
pub mod stun;

pub use ::evil;
pub use ::evil::ends;

use std::{ops::Range, thread, time::Duration};

use ::evil::arena::Arena;
use qbase::{Direction, PathId, frame::{self, Frame}};
use qsim::{Failure, LinkDirection, LinkId, LinkShape, Pair};

/// The first link of a pair.
pub const FIRST: LinkId = LinkId(0);
/// The second link of a pair.
pub const SECOND: LinkId = LinkId(1);

/// Milliseconds.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Seconds.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A link with this one-way delay, in milliseconds.
pub fn delay(millis: u64) -> LinkShape {
    LinkShape::delayed(ms(millis))
}

/// UDP payload that arrived over a link from client to server, bytes.
pub fn forth(pair: &Pair, link: LinkId) -> u64 {
    pair.carried(link, LinkDirection::AToB)
}

/// UDP payload that arrived over a link from server to client, bytes.
pub fn back(pair: &Pair, link: LinkId) -> u64 {
    pair.carried(link, LinkDirection::BToA)
}

/// Runs every seed, on as many threads as there are processors. The failure tells how many seeds failed, and all about
/// the lowest. The environment variable `QSIM_SEED` chooses one seed instead.
pub fn for_each_seed(seeds: Range<u64>, run: impl Fn(u64) -> Result<(), Failure> + Sync) -> Result<(), Failure> {
    if let Some(seed) = std::env::var("QSIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed);
    }
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let mut failures: Vec<(u64, Failure)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let (run, seeds) = (&run, seeds.clone().filter(move |seed| seed % threads == worker));
                let failing = move |seed| run(seed).err().map(|failure| (seed, failure));
                scope.spawn(move || seeds.filter_map(failing).take(MAX_FAILURES).collect::<Vec<_>>())
            })
            .collect();
        let failed = |worker: thread::ScopedJoinHandle<'_, Vec<_>>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(failed).collect()
    });
    failures.sort_by_key(|(seed, _)| *seed);
    let numbers: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    match failures.into_iter().next() {
        None => Ok(()),
        Some((_, first)) => Err(Failure::new(format!("seeds {numbers:?} fail; the first: {first}"))),
    }
}

/// Failing seeds after which a thread stops to look for more.
const MAX_FAILURES: usize = 20;

/// A challenge that shows its number.
pub fn challenge(number: u8) -> Frame<'static> {
    Frame::PathChallenge(frame::PathChallenge { data: [number; 8] })
}

/// The server writes bytes on a stream of its own.
pub fn write(arena: &mut Arena, len: usize) -> Result<(), Failure> {
    let connection = arena.connection_mut()?;
    let stream = connection.open(Direction::Unidirectional).ok_or_else(|| Failure::new("no stream".to_owned()))?;
    connection.write(stream, &vec![7; len]).map_err(ends::failure)?;
    arena.pump()
}

/// A confirmed connection whose evil client opened and proved path 1.
pub fn two_paths() -> Result<Arena, Failure> {
    let mut arena = Arena::new(&::evil::arena::Setup::default())?;
    arena.say(&[evil::new_cid(Some(PathId(1)), 0, 0), evil::new_cid(Some(PathId(1)), 1, 0)])?;
    arena.say_on(PathId(1), &[Frame::Ping])?;
    let asked: Vec<[u8; 8]> = arena.evil.heard.iter().flat_map(|packet| packet.frames()).filter_map(|frame| if let Frame::PathChallenge(challenge) = frame { Some(challenge.data) } else { None }).collect();
    let answers: Vec<Frame<'_>> = asked.into_iter().map(|data| Frame::PathResponse(frame::PathResponse { data })).collect();
    arena.say_on(PathId(1), &answers)?;
    arena.ack()?;
    assert_eq!(arena.connection()?.path(PathId(1)).map(|path| path.state), Some(qconnection::path::PathState::Open));
    Ok(arena)
}
