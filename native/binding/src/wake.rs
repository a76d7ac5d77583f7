//! Calling JavaScript from the I/O thread: one thread-safe function per endpoint, without arguments. A simulated endpoint
//! has no thread: its calls are noted for the world, which makes them.
//!
//! Decides nothing: the record queue says when a call is due. Never blocks, and never calls after [`Wake::close`], which
//! the environment's cleanup hook makes sure of (attacks I6).

use std::sync::atomic::{AtomicBool, Ordering};

use napi::{
    Env, Status, bindgen_prelude::Function, sys,
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};

use crate::{
    error::NativeError,
    lock::{Lock, lock},
};

/// Not handled by a callee, weak (does not keep the process alive), unlimited queue (it holds one call at most).
type Callback = ThreadsafeFunction<(), (), (), Status, false, true, 0>;

/// The way to JavaScript; both threads share it.
#[derive(Default)]
pub struct Wake {
    callback: Lock<Option<Callback>>,
    /// A call was due and there is no function to call.
    noted: AtomicBool,
}

impl Wake {
    /// Calls `function` on the thread that owns it. It does not keep the process alive.
    ///
    /// # Errors
    /// Node refused.
    pub fn new(function: &Function<'_, (), ()>) -> Result<Self, NativeError> {
        let callback = function.build_threadsafe_function().weak::<true>().build();
        let callback = callback.map_err(|error| NativeError::internal(error.reason))?;
        Ok(Self { callback: Lock::new(Some(callback)), noted: AtomicBool::new(false) })
    }

    /// Calls JavaScript soon.
    pub fn call(&self) {
        if let Some(callback) = &*lock(&self.callback) {
            // A closing environment drains no more; its hook has stopped us by then.
            callback.call((), ThreadsafeFunctionCallMode::NonBlocking);
        } else {
            self.noted.store(true, Ordering::Relaxed);
        }
    }

    /// As [`Self::take_noted`], and it stays so.
    pub fn is_noted(&self) -> bool {
        self.noted.load(Ordering::Relaxed)
    }

    /// A call was due since this was asked last, and nobody was there to be called.
    pub fn take_noted(&self) -> bool {
        self.noted.swap(false, Ordering::Relaxed)
    }

    /// No call follows.
    pub fn close(&self) {
        let callback = lock(&self.callback).take();
        drop(callback);
    }

    /// Chooses whether waiting for calls keeps the process alive.
    pub fn keep_alive(&self, env: Env, choice: KeepAlive) {
        let Some(raw) = lock(&self.callback).as_ref().map(ThreadsafeFunction::raw) else { return };
        reference(env, raw, choice);
    }
}

/// Whether something keeps the process alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// It does.
    Yes,
    /// It does not.
    No,
}

#[expect(unsafe_code, reason = "the wrapper of thread-safe functions cannot be referenced while it is shared")]
fn reference(env: Env, raw: sys::napi_threadsafe_function, choice: KeepAlive) {
    // SAFETY: called on the thread of `env` with a thread-safe function of that environment that is not released: the
    // only release is in `close`, on this same thread. Referencing twice is allowed and counts once.
    unsafe {
        match choice {
            KeepAlive::Yes => sys::napi_ref_threadsafe_function(env.raw(), raw),
            KeepAlive::No => sys::napi_unref_threadsafe_function(env.raw(), raw),
        };
    }
}
