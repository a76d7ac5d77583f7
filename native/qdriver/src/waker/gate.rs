//! The protocol that lets callers skip the system call while the called thread is awake, without ever losing a call.
//!
//! ```text
//!            try_nap                call
//!   Awake ───────────▶ Napping ───────────▶ Called      (this caller rings the bell)
//!     │  ▲                │                   │
//!     │  └── rise ────────┘                   │
//!     │  └── rise ────────────────────────────┘
//!     └───────── call ──▶ Called                        (nobody rings: try_nap refuses)
//! ```
//! All steps are read-modify-write operations on one word, so they have one order: either the call comes before
//! `try_nap` (which then refuses, and the thread takes another turn) or after it (then the caller rings). A turn begins
//! with `rise`, and what the caller wrote before `call` is visible after it. `tests` explores every interleaving.
//! Called by [`super::Waker`] and by the threads that nap. Never blocks.

use std::sync::atomic::{AtomicU8, Ordering};

const AWAKE: u8 = 0;
const NAPPING: u8 = 1;
const CALLED: u8 = 2;

/// The word both sides share.
#[derive(Debug)]
pub(crate) struct Gate<W = AtomicU8> {
    state: W,
}

/// What a caller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// The thread naps: ring its bell.
    Ring,
    /// It is awake or someone else called: it will take a turn anyway.
    Quiet,
}

impl Call {
    pub(crate) fn must_ring(self) -> bool {
        self == Self::Ring
    }
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(AWAKE) }
    }
}

impl<W: Word> Gate<W> {
    /// A caller wants a turn.
    pub(crate) fn call(&self) -> Call {
        if self.state.swap(CALLED) == NAPPING { Call::Ring } else { Call::Quiet }
    }

    /// The thread is about to nap; `false`: it was called, take a turn instead.
    pub(crate) fn try_nap(&self) -> bool {
        self.state.replace(AWAKE, NAPPING)
    }

    /// The thread begins a turn: calls up to here are answered by it.
    pub(crate) fn rise(&self) {
        self.state.swap(AWAKE);
    }
}

/// An atomic byte; the second implementation belongs to the model checker.
pub(crate) trait Word {
    /// Stores `new` and returns what was there (acquire and release).
    fn swap(&self, new: u8) -> u8;
    /// Stores `new` if `current` is there; whether it was (acquire and release).
    fn replace(&self, current: u8, new: u8) -> bool;
}

impl Word for AtomicU8 {
    fn swap(&self, new: u8) -> u8 {
        Self::swap(self, new, Ordering::AcqRel)
    }

    fn replace(&self, current: u8, new: u8) -> bool {
        self.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use loom::sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU8 as ModelU8, AtomicUsize as ModelUsize},
    };

    use super::*;

    impl Word for ModelU8 {
        fn swap(&self, new: u8) -> u8 {
            Self::swap(self, new, Ordering::AcqRel)
        }

        fn replace(&self, current: u8, new: u8) -> bool {
            self.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
        }
    }

    #[test]
    fn no_call_of_one_caller_is_lost_in_any_interleaving() {
        loom::model(|| converse(1));
    }

    #[test]
    fn no_call_of_two_callers_is_lost_in_interleavings_of_up_to_two_preemptions() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| converse(2));
    }

    /// Callers send one message each; a lost call would leave this thread at the bell for ever, which the model
    /// checker reports as a deadlock.
    fn converse(callers: usize) {
        let room = Arc::new(Room::new());
        let threads: Vec<_> = (0..callers)
            .map(|_| {
                let room = Arc::clone(&room);
                loom::thread::spawn(move || room.send())
            })
            .collect();
        while room.take_turn() < callers {
            room.nap();
        }
        for thread in threads {
            thread.join().expect("caller");
        }
    }

    #[test]
    fn a_call_during_a_turn_rings_no_bell_but_forbids_the_nap() {
        let gate = Gate::new();
        gate.rise();
        assert_eq!(gate.call(), Call::Quiet);
        assert!(!gate.try_nap());
        gate.rise();
        assert!(gate.try_nap());
    }

    #[test]
    fn many_calls_during_one_nap_ring_once() {
        let gate = Gate::new();
        assert!(gate.try_nap());
        let rings = (0..100).filter(|_| gate.call().must_ring()).count();
        assert_eq!(rings, 1);
    }

    /// A thread that counts messages, its callers, and a bell that stays rung until heard (an eventfd).
    struct Room {
        gate: Gate<ModelU8>,
        messages: ModelUsize,
        rung: Mutex<bool>,
        bell: Condvar,
    }

    impl Room {
        fn new() -> Self {
            Self {
                gate: Gate { state: ModelU8::new(AWAKE) },
                messages: ModelUsize::new(0),
                rung: Mutex::new(false),
                bell: Condvar::new(),
            }
        }

        fn send(&self) {
            self.messages.fetch_add(1, Ordering::Relaxed);
            if self.gate.call().must_ring() {
                *self.rung.lock().expect("lock") = true;
                self.bell.notify_one();
            }
        }

        fn take_turn(&self) -> usize {
            self.gate.rise();
            self.messages.load(Ordering::Relaxed)
        }

        fn nap(&self) {
            if !self.gate.try_nap() {
                return;
            }
            let mut rung = self.rung.lock().expect("lock");
            while !*rung {
                rung = self.bell.wait(rung).expect("bell");
            }
            *rung = false;
        }
    }
}
