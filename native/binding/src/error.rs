//! What the engine refuses or reports, as the JSON that `src/binding/error.ts` makes our classes of.
//!
//! Decides no code: callers do. Errors thrown at JavaScript carry the JSON as their message; events carry it as an
//! object. A Rust panic inside a call becomes QB_INTERNAL here.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::Serialize;

use crate::messages::JsonCode;

/// An error on its way to JavaScript.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct NativeError(Box<Facts>);

/// An error as it crosses: `NativeError` of `src/binding/messages.ts`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// `QB_…`, from the table of the public contract.
    pub code: &'static str,
    /// Begins with what failed, ends with what to do.
    pub message: String,
    /// The code on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<JsonCode>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_name: Option<String>,
    /// Who ended it: `local`, `peer`, `timeout` or `reset`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'static str>,
    /// `application` or `transport`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<&'static str>,
    /// The path concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<u32>,
    /// Option that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
}

impl NativeError {
    /// An error with a code and a message.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Facts { code, message: message.into(), ..Facts::default() }))
    }

    /// The error with more facts.
    #[must_use]
    pub fn with(mut self, add: impl FnOnce(&mut Facts)) -> Self {
        add(&mut self.0);
        self
    }

    /// What it says.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.0
    }

    /// A broken invariant of ours.
    #[must_use]
    pub fn internal(what: impl std::fmt::Display) -> Self {
        let message = format!("{what}; please report this with the version of quicbraid");
        Self::new("QB_INTERNAL", message).with(|facts| facts.error_code = Some(JsonCode(1)))
    }

    /// A refused option.
    #[must_use]
    pub fn option(field: &str, what: impl std::fmt::Display) -> Self {
        Self::new("QB_OPTION_INVALID", format!("{field}: {what}")).with(|facts| facts.field = Some(field.to_owned()))
    }

    /// A call on an endpoint that is closed.
    #[must_use]
    pub fn endpoint_closed() -> Self {
        Self::new("QB_ENDPOINT_CLOSED", "the endpoint is closed; bind another")
    }

    /// A question about a connection that is unknown or has ended.
    #[must_use]
    pub fn connection_closed() -> Self {
        Self::new("QB_CONNECTION_CLOSED", "the connection has ended; open a new one")
    }

    /// The message of the error that is thrown at JavaScript.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| format!("{{\"code\":\"{}\",\"message\":\"\"}}", self.0.code))
    }
}

impl From<serde_json::Error> for NativeError {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(format_args!("a message from JavaScript cannot be read: {error}"))
    }
}

impl From<NativeError> for napi::Error {
    fn from(error: NativeError) -> Self {
        Self::from_reason(error.to_json())
    }
}

/// Runs what JavaScript called; a panic comes out as QB_INTERNAL.
///
/// # Errors
/// What `call` refuses, and panics.
pub fn guarded<T>(call: impl FnOnce() -> Result<T, NativeError>) -> napi::Result<T> {
    caught(call).map_err(napi::Error::from)
}

/// As [`guarded`], with our own error.
///
/// # Errors
/// What `call` refuses, and panics.
pub fn caught<T>(call: impl FnOnce() -> Result<T, NativeError>) -> Result<T, NativeError> {
    // A panicking call leaves values of the JavaScript thread only; each is whole after every statement.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(NativeError::internal(words(panic.as_ref()))))
}

/// What a panic said.
#[must_use]
pub fn words(panic: &(dyn Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().map(|&words| words.to_owned());
    literal.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_cross_as_json_without_empty_fields() {
        let error = NativeError::new("QB_X", "what").with(|facts| {
            facts.by = Some("peer");
            facts.error_code = Some(JsonCode(1 << 60));
        });
        assert_eq!(error.to_json(), r#"{"code":"QB_X","message":"what","errorCode":"1152921504606846976","by":"peer"}"#);
    }

    /// attacks I9.
    #[test]
    fn a_panic_is_an_error_with_its_words() {
        let error = caught::<()>(|| panic!("boom {}", 7)).expect_err("panicked");
        assert_eq!(error.facts().code, "QB_INTERNAL");
        assert!(error.facts().message.starts_with("boom 7"), "{error:?}");
    }
}
