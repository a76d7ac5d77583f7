//! STUN in three spellings: dquic's two, disguised as Version Negotiation, and the standard (traversal §4; RFC 8489, RFC 5780).
//!
//! Decides what a message says, whatever its bytes: `disguised` and `standard` have those. `transaction` asks and asks again,
//! `keepalive` holds a mapping open, `server` answers. Called by sockets that asked for it. Never authenticates: a mapped
//! address is a hint until a path over it is validated (attacks G6).

mod crc;
mod disguised;
pub mod keepalive;
pub mod server;
mod standard;
pub mod transaction;

pub use keepalive::{KeepAlive, MappingEvent};
pub use server::{Reply, Server, ServerConfig};
pub use transaction::{Answer, Expect, Patience, Step, Transaction};

use std::net::SocketAddr;

use qbase::Writer;
use rand_core::RngCore;

/// How STUN is spelled (traversal T-40, T-42).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// dquic 0.7 and later: the first byte tells a request from a response.
    Dquic07,
    /// dquic 0.5: a message type stands before the transaction id.
    Dquic05,
    /// RFC 8489, with the attributes of RFC 5780.
    Rfc,
}

/// A set of forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Forms(u8);

impl Forms {
    /// No STUN at all.
    pub const NONE: Self = Self(0);
    /// Every form.
    pub const ALL: Self = Self(7);

    /// These and `form`.
    #[must_use]
    pub const fn with(self, form: Form) -> Self {
        Self(self.0 | Self::bit(form))
    }

    /// These and those.
    #[must_use]
    pub const fn union(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// `form` is one of them.
    #[must_use]
    pub const fn has(self, form: Form) -> bool {
        self.0 & Self::bit(form) != 0
    }

    /// In which of these forms a datagram is spelled, by its head alone (traversal T-10, T-11); `None`: in none.
    #[must_use]
    pub fn recognize(self, datagram: &[u8]) -> Option<Form> {
        let form = if standard::recognize(datagram) {
            Form::Rfc
        } else {
            // A request of 0.7 may by chance begin like one of 0.5; where only one is spoken there is no doubt.
            match disguised::recognize(datagram)? {
                Form::Dquic05 if !self.has(Form::Dquic05) => Form::Dquic07,
                form => form,
            }
        };
        self.has(form).then_some(form)
    }

    const fn bit(form: Form) -> u8 {
        match form {
            Form::Dquic07 => 1,
            Form::Dquic05 => 2,
            Form::Rfc => 4,
        }
    }
}

/// What ties a response to its request: 16 bytes, of which the standard form uses the first 12.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId([u8; 16]);

impl TransactionId {
    /// An id nobody can guess, if `random` is good.
    pub fn random(random: &mut dyn RngCore) -> Self {
        let mut bytes = [0; 16];
        random.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// An id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// As a form can carry it: the standard one has 12 bytes, and a request of dquic 0.7 must not begin like one of 0.5.
    #[must_use]
    pub const fn fitting(self, form: Form) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.0;
        match form {
            Form::Rfc => Self([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0]),
            Form::Dquic07 if matches!(a, 0 | 1) && b == 1 => Self([a | 0x80, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]),
            Form::Dquic07 | Form::Dquic05 => self,
        }
    }
}

impl std::fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a message is. The disguised forms know requests and successes only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Asks.
    Request,
    /// Says something; never answered.
    Indication,
    /// Answers.
    Success,
    /// Answers that it cannot.
    Error,
}

/// From where a server shall answer, beside the address that was asked (RFC 5780 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// The address asked; says what saying nothing says.
    Nothing,
    /// The same IP, another port.
    Port,
    /// Another IP, the same port.
    Ip,
    /// Another IP and another port.
    Both,
}

impl Change {
    /// Bit 0: port, bit 1: IP.
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Nothing,
            1 => Self::Port,
            2 => Self::Ip,
            _ => Self::Both,
        }
    }

    const fn to_bits(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Port => 1,
            Self::Ip => 2,
            Self::Both => 3,
        }
    }

    /// `from` differs from `asked` in just the way asked for.
    #[must_use]
    pub fn fits(self, asked: SocketAddr, from: SocketAddr) -> bool {
        let (other_port, other_ip) = match self {
            Self::Nothing => (false, false),
            Self::Port => (true, false),
            Self::Ip => (false, true),
            Self::Both => (true, true),
        };
        (from.port() != asked.port()) == other_port && (from.ip() != asked.ip()) == other_ip
    }
}

/// Whether a message ends with a check sum (RFC 8489 §14.7). Read messages with a wrong one do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Fingerprint {
    /// No.
    #[default]
    Absent,
    /// Yes.
    Present,
}

/// Types of attributes that were not understood and should have been (RFC 8489 §6.3.1); the first few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Unknown {
    types: [u16; MAX_UNKNOWN],
    len: u8,
}

/// More unknown attributes than these are not listed.
const MAX_UNKNOWN: usize = 8;

impl Unknown {
    /// None were.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The types, in their order.
    #[must_use]
    pub fn types(&self) -> &[u16] {
        self.types.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn push(&mut self, kind: u16) {
        if let Some(slot) = self.types.get_mut(usize::from(self.len)) {
            *slot = kind;
            self.len = self.len.saturating_add(1);
        }
    }
}

/// A STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// How it is spelled.
    pub form: Form,
    /// What it is.
    pub class: Class,
    /// Which transaction's.
    pub id: TransactionId,
    /// The asker's address as the server sees it (XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS).
    pub mapped: Option<SocketAddr>,
    /// The address that answers (RESPONSE-ORIGIN, source address).
    pub origin: Option<SocketAddr>,
    /// Another address that can be asked, of another IP and port (OTHER-ADDRESS, changed address).
    pub other: Option<SocketAddr>,
    /// From where to answer (CHANGE-REQUEST).
    pub change: Option<Change>,
    /// Whom to answer (the disguised forms' response address); honoured from neighbours only (traversal T-44).
    pub response_address: Option<SocketAddr>,
    /// To which port of the asker to answer (RESPONSE-PORT, RFC 5780 §7.5).
    pub response_port: Option<u16>,
    /// Why not, 300 ..= 699 (ERROR-CODE).
    pub error: Option<u16>,
    /// What was not understood, or, in an error 420, what the server did not understand.
    pub unknown: Unknown,
    /// Check sum.
    pub fingerprint: Fingerprint,
}

/// Why bytes are no message. The datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// The head is not one of this form.
    #[error("no STUN head")]
    Head,
    /// Not a Binding.
    #[error("another method")]
    Method,
    /// An attribute ends behind the end.
    #[error("truncated")]
    Truncated,
    /// An attribute has a value it cannot have.
    #[error("attribute out of range")]
    Attribute,
    /// The check sum is wrong, or something stands behind it.
    #[error("wrong fingerprint")]
    Fingerprint,
}

/// The message does not fit the buffer, or its form has no word for something in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("message cannot be written")]
pub struct Unwritable;

/// A message of ours takes at most so many bytes.
pub const MAX_MESSAGE: usize = 160;

impl Message {
    const fn new(form: Form, class: Class, id: TransactionId) -> Self {
        Self {
            form,
            class,
            id: id.fitting(form),
            mapped: None,
            origin: None,
            other: None,
            change: None,
            response_address: None,
            response_port: None,
            error: None,
            unknown: Unknown { types: [0; MAX_UNKNOWN], len: 0 },
            fingerprint: Fingerprint::Absent,
        }
    }

    /// A plain Binding request; in the standard form with a check sum, so that it is not taken for another protocol's.
    #[must_use]
    pub const fn request(form: Form, id: TransactionId) -> Self {
        let fingerprint = if matches!(form, Form::Rfc) { Fingerprint::Present } else { Fingerprint::Absent };
        Self { fingerprint, ..Self::new(form, Class::Request, id) }
    }

    /// The success that answers this request, without attributes.
    #[must_use]
    pub const fn success(&self) -> Self {
        Self { fingerprint: self.fingerprint, ..Self::new(self.form, Class::Success, self.id) }
    }

    /// The error that answers this request.
    #[must_use]
    pub const fn refusal(&self, error: u16) -> Self {
        let unknown = self.unknown;
        let fingerprint = self.fingerprint;
        Self { error: Some(error), unknown, fingerprint, ..Self::new(self.form, Class::Error, self.id) }
    }

    /// Reads a message spelled in `form`, as [`Forms::recognize`] said.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn decode(form: Form, datagram: &[u8]) -> Result<Self, Malformed> {
        match form {
            Form::Rfc => standard::decode(datagram),
            Form::Dquic07 | Form::Dquic05 => disguised::decode(form, datagram),
        }
    }

    /// Writes the message to the front of `buffer`; its length is returned. [`MAX_MESSAGE`] bytes are always enough.
    ///
    /// # Errors
    /// No room, or the form cannot say it.
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, Unwritable> {
        let mut writer = Writer::new(buffer);
        match self.form {
            Form::Rfc => standard::encode(self, &mut writer),
            Form::Dquic07 | Form::Dquic05 => disguised::encode(self, &mut writer)?,
        }
        if writer.overflowed() { Err(Unwritable) } else { Ok(writer.len()) }
    }
}

#[cfg(test)]
pub(crate) mod tests;
