//! The locks of this crate: between the JavaScript thread and the I/O thread, held for a few moves of memory.
//!
//! Every lock of the crate is one of these, so that the rule "no locks" has one exception. Never held while anything
//! waits, calls JavaScript or makes a system call.

use std::sync::{MutexGuard, PoisonError};

/// A lock between the two threads.
#[expect(clippy::disallowed_types, reason = "the threads meet here, once per batch; inside a connection there is no lock")]
pub type Lock<T> = std::sync::Mutex<T>;

/// Takes a lock. What a panicking holder left is still whole: every critical section moves values only.
pub fn lock<T>(lock: &Lock<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
