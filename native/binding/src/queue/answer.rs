//! One answer that the JavaScript thread waits for, at most a second (docs/design/ring, section 6).
//!
//! Filled by the engine, or never if its thread ends. Never used for data.

use std::{
    sync::{Arc, Condvar, PoisonError},
    time::Duration,
};

use crate::{
    error::NativeError,
    lock::{Lock, lock},
};

/// How long JavaScript waits.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// What is answered: JSON, or why not.
pub type Reply = Result<String, NativeError>;

/// Where an answer is put; clones are the same place.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    place: Arc<Place>,
}

#[derive(Debug, Default)]
struct Place {
    reply: Lock<Option<Reply>>,
    bell: Condvar,
}

impl Answer {
    /// Gives the answer; a second one is ignored by whoever has left.
    pub fn give(&self, reply: Reply) {
        *lock(&self.place.reply) = Some(reply);
        self.place.bell.notify_all();
    }

    /// Waits for the answer; `None`: it did not come in time.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> Option<Reply> {
        let waiting = self.place.bell.wait_timeout_while(lock(&self.place.reply), patience, |reply| reply.is_none());
        let (mut reply, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        reply.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_another_thread_is_heard() {
        let answer = Answer::default();
        let other = answer.clone();
        let thread = std::thread::spawn(move || other.give(Ok("1".to_owned())));
        assert!(matches!(answer.wait(Duration::from_secs(10)), Some(Ok(text)) if text == "1"));
        thread.join().expect("thread");
    }

    #[test]
    fn an_answer_that_never_comes_is_given_up() {
        assert!(Answer::default().wait(Duration::from_millis(1)).is_none());
    }
}
