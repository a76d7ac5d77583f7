//! A scheduler of JavaScript's that is asked for every burst of data: in simulated worlds and over carriers, where the machine and
//! JavaScript share a thread.
//!
//! Called by the machine in the middle of a step of the world, or while a carrier asks for the next burst. Decides nothing: what cannot be read is "it could not choose".

use std::{
    fmt,
    thread::{self, ThreadId},
};

use napi::{
    Env,
    bindgen_prelude::{Function, FunctionRef},
    sys,
};
use qbase::{PathId, Timestamp};
use qconnection::path::scheduler::{Pick, Picker, SchedulerView};

use crate::messages::plans::{self, View};

/// A function of JavaScript's: JSON of `NativeSchedulerView` in, of `NativePick` out.
pub struct JsPicker {
    home: Home,
    function: FunctionRef<String, String>,
    /// The zero of its clock, ms of virtual time.
    zero_ms: f64,
    words: String,
    copies: Vec<PathId>,
}

/// The environment of the function and its thread.
struct Home {
    env: Env,
    thread: ThreadId,
}

// SAFETY: the environment is used by `JsPicker::call` alone, which refuses to do so on any other thread than its own.
#[expect(unsafe_code, reason = "machines can be sent to a thread; those of a simulated world never are")]
unsafe impl Send for Home {}

impl JsPicker {
    /// A picker that asks `function`.
    ///
    /// # Errors
    /// Node refused.
    pub fn new(env: Env, function: &Function<'_, String, String>, zero: Timestamp) -> napi::Result<Self> {
        let home = Home { env, thread: thread::current().id() };
        Ok(Self { home, function: function.create_ref()?, zero_ms: zero.as_millis_f64(), words: String::new(), copies: Vec::new() })
    }

    fn call(&self, view: String) -> Option<String> {
        if thread::current().id() != self.home.thread {
            return None;
        }
        let env = &self.home.env;
        let _scope = Scope::open(env)?;
        self.function.borrow_back(env).ok()?.call(view).ok()
    }
}

impl Picker for JsPicker {
    fn pick(&mut self, view: SchedulerView<'_>) -> Pick {
        let paths = view.paths.iter().filter_map(|candidate| {
            let path = view.facts.iter().find(|path| path.id == candidate.path)?;
            Some((*path, candidate.room))
        });
        let told = View::of(view.now.as_millis_f64() - self.zero_ms, paths, view.demand);
        let answer = serde_json::to_string(&told).ok().and_then(|json| self.call(json));
        let pick = answer.and_then(|answer| serde_json::from_str::<plans::Pick>(&answer).ok());
        let nothing = || (Pick::Fallback, "no answer".to_owned(), Vec::new());
        let (pick, words, copies) = pick.map_or_else(nothing, |pick| pick.decided(view.now));
        (self.words, self.copies) = (words, copies);
        pick
    }

    fn reason(&self) -> &str {
        &self.words
    }

    fn duplicate_on(&self) -> &[PathId] {
        &self.copies
    }
}

impl fmt::Debug for JsPicker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JsPicker").field("words", &self.words).finish_non_exhaustive()
    }
}

/// Values of JavaScript that are made while it is open go with it: a step makes very many.
struct Scope<'a> {
    env: &'a Env,
    scope: sys::napi_handle_scope,
}

impl<'a> Scope<'a> {
    #[expect(unsafe_code, reason = "the wrapper can only be closed with a value in hand")]
    fn open(env: &'a Env) -> Option<Self> {
        let mut scope = std::ptr::null_mut();
        // SAFETY: on the thread of the environment, inside a call from JavaScript.
        let status = unsafe { sys::napi_open_handle_scope(env.raw(), &raw mut scope) };
        (status == sys::Status::napi_ok).then_some(Self { env, scope })
    }
}

impl Drop for Scope<'_> {
    #[expect(unsafe_code, reason = "the wrapper can only be closed with a value in hand")]
    fn drop(&mut self) {
        // SAFETY: opened by `open` and closed nowhere else; nothing made within it is left.
        unsafe { sys::napi_close_handle_scope(self.env.raw(), self.scope) };
    }
}
