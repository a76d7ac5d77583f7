//! Transport errors: what closes a connection (RFC 9000 §20.1, multipath MP-3, RFC 9368 §10.2).

use std::{borrow::Cow, fmt};

/// A transport error code as it stands in CONNECTION_CLOSE (0x1c) and PATH_ABANDON, 0 ..= 2^62-1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub u64);

/// One table for constants and names.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal),+ $(,)?) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)+

            /// The registered name, if there is one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)+
                    0x100..=0x1ff => Some("CRYPTO_ERROR"),
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Closed without an error.
    NO_ERROR = 0x0,
    /// We cannot go on.
    INTERNAL_ERROR = 0x1,
    /// The server refuses the connection.
    CONNECTION_REFUSED = 0x2,
    /// More bytes than credit.
    FLOW_CONTROL_ERROR = 0x3,
    /// More streams than credit.
    STREAM_LIMIT_ERROR = 0x4,
    /// A frame for a stream in a state that forbids it.
    STREAM_STATE_ERROR = 0x5,
    /// A final size changed.
    FINAL_SIZE_ERROR = 0x6,
    /// A frame is badly formed.
    FRAME_ENCODING_ERROR = 0x7,
    /// A transport parameter is bad.
    TRANSPORT_PARAMETER_ERROR = 0x8,
    /// More connection ids than announced.
    CONNECTION_ID_LIMIT_ERROR = 0x9,
    /// Any other breach of the protocol.
    PROTOCOL_VIOLATION = 0xa,
    /// A Retry token is not ours.
    INVALID_TOKEN = 0xb,
    /// The application closed before 1-RTT keys existed.
    APPLICATION_ERROR = 0xc,
    /// More CRYPTO data than we buffer.
    CRYPTO_BUFFER_EXCEEDED = 0xd,
    /// A key update broke the rules.
    KEY_UPDATE_ERROR = 0xe,
    /// Keys are used up.
    AEAD_LIMIT_REACHED = 0xf,
    /// No path is left.
    NO_VIABLE_PATH = 0x10,
    /// Version negotiation was tampered with.
    VERSION_NEGOTIATION_ERROR = 0x11,
    /// The application abandoned the path.
    APPLICATION_ABANDON_PATH = 0x3e,
    /// No resources for the path.
    PATH_RESOURCE_LIMIT_REACHED = 0x3e75,
    /// The path is bad.
    PATH_UNSTABLE_OR_POOR = 0x3e76,
    /// No connection id for the path.
    NO_CID_AVAILABLE_FOR_PATH = 0x3e77,
}

impl ErrorCode {
    /// The code of a TLS alert: 0x100 + alert (RFC 9001 §4.8).
    #[must_use]
    pub const fn crypto(alert: u8) -> Self {
        Self(0x100 | alert as u64)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} (0x{:x})", self.0),
            None => write!(f, "0x{:x}", self.0),
        }
    }
}

/// Why a connection must be closed with CONNECTION_CLOSE (0x1c).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {reason}")]
pub struct TransportError {
    /// The code that goes on the wire.
    pub code: ErrorCode,
    /// Type of the frame that broke the rule; `None` when no frame did.
    pub frame_type: Option<u64>,
    /// A few words for people.
    pub reason: Cow<'static, str>,
}

impl TransportError {
    /// An error that no frame caused.
    #[must_use]
    pub const fn new(code: ErrorCode, reason: &'static str) -> Self {
        Self { code, frame_type: None, reason: Cow::Borrowed(reason) }
    }

    /// The same error, caused by a frame of this type.
    #[must_use]
    pub const fn by_frame(mut self, frame_type: u64) -> Self {
        self.frame_type = Some(frame_type);
        self
    }

    /// PROTOCOL_VIOLATION.
    #[must_use]
    pub const fn violation(reason: &'static str) -> Self {
        Self::new(ErrorCode::PROTOCOL_VIOLATION, reason)
    }

    /// FRAME_ENCODING_ERROR.
    #[must_use]
    pub const fn encoding(reason: &'static str) -> Self {
        Self::new(ErrorCode::FRAME_ENCODING_ERROR, reason)
    }

    /// INTERNAL_ERROR.
    #[must_use]
    pub const fn internal(reason: &'static str) -> Self {
        Self::new(ErrorCode::INTERNAL_ERROR, reason)
    }
}
