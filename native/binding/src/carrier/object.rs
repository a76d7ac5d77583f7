//! The class `NativeCarrier` of `src/binding/native.ts`: an endpoint over a carrier as JavaScript drives it.
//!
//! Decides nothing: it converts. Time crosses as nanoseconds since the carrier was made.

use std::{cell::RefCell, io::Write, net::SocketAddr, rc::Rc, sync::Arc};

use napi::bindgen_prelude::{Uint8ArraySlice, Uint32ArraySlice};
use napi_derive::napi;
use qbase::{Ecn, Timestamp};
use qdriver::drive::{Manual, Outcome, SendFailure};
use qsim::{Random, world::UNIX_TIME};
use serde::Deserialize;

use super::{Seat, core::{Core, Leaving}, ports::Ports};
use crate::{
    endpoint::{Home, NativeEndpoint, Parts},
    error::{NativeError, guarded},
    link::TimeSource,
    lock::Lock,
    memory,
    options::{endpoint::Birth, tls::Providers},
    wake::Wake,
};

/// Words that tell of a datagram: length, ECN, place of the remote in the list of addresses, place of the local one + 1.
const DATAGRAM_WORDS: usize = 4;
/// Words that tell of a burst: bytes of a segment, segments, ECN, path + 1, bytes of the addresses.
const BURST_WORDS: usize = 5;
/// Room for two addresses, at the end of the buffer.
const ADDRESS_BYTES: usize = 128;
/// Answers of `turn`: records wait; the endpoint has ended.
const NEWS: u32 = 1;
const ENDED: u32 = 2;
/// Instead of a number of segments: no burst was given out; the carrier failed.
const NOTHING: i32 = -1;

/// `NativeCarrierOptions`.
#[derive(Deserialize)]
struct Options {
    local: Option<SocketAddr>,
    seed: Option<f64>,
}

/// A carrier of JavaScript's.
#[napi]
pub struct NativeCarrier {
    core: Rc<RefCell<Core>>,
    seed: Option<u64>,
}

impl NativeCarrier {
    /// See `createCarrier`.
    pub(crate) fn create(options: &str) -> napi::Result<Self> {
        guarded(|| {
            let Options { local, seed } = serde_json::from_str(options)?;
            Ok(Self { core: Rc::new(RefCell::new(Core::new(Ports::new(local)))), seed: seed.map(whole) })
        })
    }

    fn with<T>(&self, call: impl FnOnce(&mut Core) -> Result<T, NativeError>) -> napi::Result<T> {
        guarded(|| {
            let busy = |_| NativeError::internal("the carrier was called from within itself");
            call(&mut *self.core.try_borrow_mut().map_err(busy)?)
        })
    }

    fn seat(&self, json: &str) -> Result<NativeEndpoint, NativeError> {
        let busy = |_| NativeError::internal("the carrier was called from within itself");
        let mut core = self.core.try_borrow_mut().map_err(busy)?;
        let mut random = self.seed.map(|seed| Random::labelled(seed, u64::MAX));
        let birth = match &mut random {
            Some(random) => Birth { seed: random.seed(), secret: random.seed(), unix_at_zero: UNIX_TIME },
            None => Birth::now()?,
        };
        let clock = TimeSource::Virtual { now: core.clock(), zero: Timestamp::ZERO };
        let mut parts = Parts::new(json, Wake::default(), &birth, clock)?;
        if let Some(random) = random {
            parts.surroundings.providers = Providers::Seeded(Arc::new(Lock::new(random)));
        }
        parts.link.set_local(core.ports.names());
        let segments = parts.options.max_segments();
        Ok(NativeEndpoint::seated(parts, |machine, engine, wake| {
            core.begin(wake, Manual::new(machine, engine.with_immediate_calls(), segments));
            Home::Carrier(Seat::new(Rc::clone(&self.core)))
        }))
    }
}

#[napi]
impl NativeCarrier {
    /// The endpoint over it. `options`: JSON of `NativeEndpointOptions`, whose addresses do not count.
    #[napi]
    pub fn create_endpoint(&self, options: String) -> napi::Result<NativeEndpoint> {
        guarded(|| self.seat(&options))
    }

    /// Time is `now`.
    #[napi]
    pub fn advance(&self, now: f64) -> napi::Result<()> {
        self.with(|core| {
            core.advance(instant(now));
            Ok(())
        })
    }

    /// Datagrams that have come: words of each, addresses they name, their bytes back to back.
    #[napi]
    pub fn receive(&self, now: f64, words: &[u32], count: u32, addresses: Vec<String>, mut bytes: Uint8ArraySlice<'_>) -> napi::Result<()> {
        self.with(|core| {
            let broken = || NativeError::internal("receive was called with words that break the contract");
            core.advance(instant(now));
            let addresses = addresses.iter().map(|text| text.parse::<SocketAddr>());
            let addresses = addresses.collect::<Result<Vec<_>, _>>().map_err(|_| broken())?;
            let (words, _) = words.as_chunks::<DATAGRAM_WORDS>();
            let mut rest = memory::bytes(&mut bytes);
            for [length, ecn, remote, local] in words.get(..count as usize).ok_or_else(broken)? {
                let (datagram, behind) = rest.split_at_mut_checked(*length as usize).ok_or_else(broken)?;
                rest = behind;
                let remote = *addresses.get(*remote as usize).ok_or_else(broken)?;
                let local = local.checked_sub(1).map(|place| addresses.get(place as usize).copied().ok_or_else(broken)).transpose()?;
                core.receive(local, remote, Ecn::from_bits((*ecn & 3) as u8), datagram);
            }
            Ok(())
        })
    }

    /// Timers that are due, and the engine; answers `NEWS` and `ENDED`.
    #[napi]
    pub fn turn(&self, now: f64) -> napi::Result<u32> {
        self.with(|core| {
            core.advance(instant(now));
            core.work();
            let news = if core.take_news() { NEWS } else { 0 };
            Ok(if core.has_ended() { news | ENDED } else { news })
        })
    }

    /// Tells what became of the burst before (segments taken, -1: there was none, less: the carrier failed) and writes the
    /// next one into `bytes`, its addresses (local LF remote) into the last 128 of those; answers how many bytes it has, 0: there is none.
    #[napi]
    pub fn poll(&self, now: f64, taken: i32, mut head: Uint32ArraySlice<'_>, mut bytes: Uint8ArraySlice<'_>) -> napi::Result<u32> {
        self.with(|core| {
            core.advance(instant(now));
            settle(core, taken);
            let bytes = memory::bytes(&mut bytes);
            let room = bytes.len().saturating_sub(ADDRESS_BYTES);
            let (buffer, behind) = bytes.split_at_mut(room);
            let Some(leaving) = core.next_burst(buffer) else { return Ok(0) };
            let Leaving { four_tuple, ecn, len, segment_size, path } = leaving;
            let mut text = &mut *behind;
            let written = writeln!(text, "{}\n{}", four_tuple.local, four_tuple.remote);
            written.map_err(|_| NativeError::internal("the addresses of a burst are too long"))?;
            let text = ADDRESS_BYTES.saturating_sub(text.len());
            let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
            let segments = len.div_ceil(segment_size.max(1)).max(1);
            let words = [number(segment_size), number(segments), ecn as u32, path.map_or(0, |path| path.0.saturating_add(1)), number(text)];
            let head = memory::words(&mut head);
            for (word, value) in head.iter_mut().zip::<[u32; BURST_WORDS]>(words) {
                *word = value;
            }
            Ok(number(len))
        })
    }

    /// Tells what became of the last burst that is asked for now.
    #[napi]
    pub fn settle(&self, now: f64, taken: i32) -> napi::Result<()> {
        self.with(|core| {
            core.advance(instant(now));
            settle(core, taken);
            Ok(())
        })
    }

    /// A call has failed: the endpoint ends, with these words.
    #[napi]
    pub fn break_down(&self, words: String) -> napi::Result<()> {
        self.with(|core| {
            core.break_down(words);
            Ok(())
        })
    }

    /// When the next turn is due, ns; in the past: at once; -1: when something happens.
    #[napi]
    pub fn next_turn(&self) -> napi::Result<f64> {
        self.with(|core| Ok(core.next_turn().map_or(-1.0, |at| at.as_nanos() as f64)))
    }
}

fn settle(core: &mut Core, taken: i32) {
    match usize::try_from(taken) {
        Ok(segments) => core.settle(Outcome::Taken(segments)),
        Err(_) if taken == NOTHING => {}
        Err(_) => core.settle(Outcome::Failed(SendFailure::Other)),
    }
}

/// An instant of JavaScript's.
const fn instant(now: f64) -> Timestamp {
    Timestamp::from_nanos(whole(now))
}

/// A number of JavaScript's that counts something.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
const fn whole(number: f64) -> u64 {
    number.clamp(0.0, 9_007_199_254_740_992.0) as u64
}
