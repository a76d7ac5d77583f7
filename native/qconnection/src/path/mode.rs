//! How a connection uses several paths: what both ends negotiated (multipath MP-5, MP-98).
//!
//! Set once, when the handshake is complete; asked by every part that does something else with several paths. Decides nothing.

/// What both ends can do with several paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PathMode {
    /// One path is active; others are only proved and kept (multipath MP-95).
    #[default]
    None,
    /// draft-ietf-quic-multipath-21: each path id has packet numbers of its own.
    Ietf,
    /// Our own: path ids as there, and one row of packet numbers for all of them.
    SharedSpace,
}

impl PathMode {
    /// Path ids beside 0 can be used, and the frames about them.
    #[must_use]
    pub const fn has_paths(self) -> bool {
        !matches!(self, Self::None)
    }

    /// The name in the API and in qlog.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ietf => "ietf",
            Self::SharedSpace => "shared-space",
        }
    }
}
