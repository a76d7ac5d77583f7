//! Attempts that wait for the application's word: whom to let in is decided before anything is computed for a client
//! (attacks L2, R7).
//!
//! ```text
//!  first Initial --authentic, ClientHello whole--> Attempt told --Accept--> connection, from the datagrams as they came
//!                                                       |--Refuse, 5 s--> CONNECTION_REFUSED, nothing kept
//!                                                       |--Retry--> Retry; the client comes again with its token
//!                                                       \--Ignore--> silence
//! ```
//! A verdict is remembered for what the client repeats. Waiting attempts count as half-open connections, so that beyond
//! 64 clients prove their address first. Called by the accept step, the timer and the application. Never answers a
//! packet that is not authentic.

use super::{
    Endpoint,
    accept::Arriving,
    early::Waiting,
    refuse::{self, Refusal},
    token::Verdict as TokenVerdict,
};
use crate::{config::ServerConfig, connection::AddressProof, handle::ConnectionHandle};
use qbase::{
    ConnectionId, ErrorCode, FourTuple, Reader, Role, Timestamp,
    frame::Frame,
    limits,
    packet::{PacketType, ProtectedHeader},
};
use qcrypto::{Keys, hello::{self, Hello}};
use qevent::DropReason;
use qrecovery::crypto_stream::CryptoStream;
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

/// Who decides about newcomers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Admission {
    /// Whoever comes is let in, as far as there is room.
    #[default]
    Open,
    /// The application, attempt by attempt: [`EndpointNews::Attempt`].
    Asked,
}

/// An attempt's name; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// A client that wants in. Nothing of it is proved but, where it says so, its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its name.
    pub id: AttemptId,
    /// Where its first datagram came from, and to.
    pub four_tuple: FourTuple,
    /// The host name it asks for.
    pub server_name: Option<String>,
    /// Protocols it offers, the preferred one first.
    pub protocols: Vec<Vec<u8>>,
    /// It came with a good token: the address is its own (RFC 9000 §8.1).
    pub validated: bool,
}

/// What an endpoint tells beside the events of its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointNews {
    /// An attempt waits for a verdict.
    Attempt(Box<Attempt>),
    /// An attempt was refused because nobody decided in time.
    AttemptOver(AttemptId),
    /// A client was refused with CONNECTION_CLOSE.
    Refused {
        /// Its address.
        remote: SocketAddr,
        /// In words, as it was told.
        reason: &'static str,
    },
    /// A client must prove its address first.
    Retried {
        /// The address.
        remote: SocketAddr,
    },
}

/// A verdict that clients may make us repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decided {
    Refused,
    Retried,
    Ignored,
}

/// An attempt as it is kept.
#[derive(Debug)]
struct Kept {
    id: AttemptId,
    /// Its datagrams, as they came.
    datagrams: Vec<Waiting>,
    validated: bool,
    /// The application was asked.
    is_asked: bool,
    crypto: CryptoStream,
    /// The beginning of the ClientHello.
    hello: Vec<u8>,
}

/// All attempts that wait, and the verdicts on those that came lately.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    mode: Admission,
    /// Names given so far.
    last: u64,
    waiting: BTreeMap<ConnectionId, Kept>,
    /// In the order of their ends, which is that of their beginnings.
    order: VecDeque<(Timestamp, AttemptId, ConnectionId)>,
    bytes: usize,
    decided: BTreeMap<ConnectionId, Decided>,
    decided_order: VecDeque<ConnectionId>,
    news: VecDeque<EndpointNews>,
}

impl Attempts {
    pub(super) fn is_asked(&self) -> bool {
        self.mode == Admission::Asked
    }

    /// The client's first DCID belongs to an attempt that waits or was decided.
    pub(super) fn knows(&self, dcid: &ConnectionId) -> bool {
        (!self.waiting.is_empty() && self.waiting.contains_key(dcid)) || (!self.decided.is_empty() && self.decided.contains_key(dcid))
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.order.front().map(|(at, ..)| *at)
    }

    /// Refusals and Retries are told as long as the application keeps up.
    pub(super) fn tell(&mut self, news: EndpointNews) {
        if self.news.len() < limits::ENDPOINT_NEWS {
            self.news.push_back(news);
        }
    }

    fn take(&mut self, id: AttemptId) -> Option<(ConnectionId, Kept)> {
        let at = self.order.iter().position(|(_, other, _)| *other == id)?;
        let (_, _, dcid) = self.order.remove(at)?;
        let kept = self.waiting.remove(&dcid)?;
        self.bytes = self.bytes.saturating_sub(kept.datagrams.iter().map(|waiting| waiting.bytes.len()).sum());
        Some((dcid, kept))
    }

    /// The application hears that an attempt is over; if it has not heard of the attempt, of neither.
    fn end(&mut self, id: AttemptId) {
        let untold = self.news.iter().position(|news| matches!(news, EndpointNews::Attempt(attempt) if attempt.id == id));
        match untold {
            Some(at) => drop(self.news.remove(at)),
            None => self.news.push_back(EndpointNews::AttemptOver(id)),
        }
    }

    fn decide(&mut self, dcid: ConnectionId, decided: Decided) {
        if self.decided.insert(dcid, decided).is_none() {
            self.decided_order.push_back(dcid);
        }
        if self.decided_order.len() > limits::ATTEMPTS_DECIDED
            && let Some(oldest) = self.decided_order.pop_front()
        {
            self.decided.remove(&oldest);
        }
    }

    /// Keeps a datagram of an attempt, if there is room for it.
    fn keep(&mut self, dcid: &ConnectionId, arriving: Arriving, bytes: &[u8]) -> DropReason {
        let Some(kept) = self.waiting.get_mut(dcid) else { return DropReason::UnknownConnection };
        let is_full = kept.datagrams.len() >= limits::ATTEMPT_DATAGRAMS || self.bytes.saturating_add(bytes.len()) > limits::ATTEMPT_BYTES;
        if is_full {
            return DropReason::QueueFull;
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        kept.datagrams.push(Waiting { four_tuple: arriving.four_tuple, ecn: arriving.ecn, bytes: bytes.to_vec() });
        DropReason::KeptForKeys
    }
}

/// What a datagram of an attempt brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Its first packet is not authentic.
    Forged,
    /// The ClientHello is not whole.
    More,
    /// It is, or never will be.
    Done,
}

impl Kept {
    /// Reads the ClientHello out of a copy of a datagram; packets after the first may be anything.
    fn read(&mut self, bytes: &[u8], dcid: ConnectionId) -> Reading {
        let mut copy = bytes.to_vec();
        let mut rest = copy.as_mut_slice();
        let mut reading = Reading::Forged;
        while let Ok(header) = ProtectedHeader::parse(rest, limits::LOCAL_CID_LEN)
            && header.kind == PacketType::Initial
            && header.dcid == dcid
        {
            let keys = Keys::initial(header.version, &dcid, Role::Server);
            let Some(payload) = refuse::open(&keys, &header, rest) else { break };
            reading = self.take(payload);
            if reading == Reading::Done {
                break;
            }
            rest = rest.get_mut(header.end..).unwrap_or_default();
        }
        reading
    }

    fn take(&mut self, payload: &[u8]) -> Reading {
        let mut reader = Reader::new(payload);
        while !reader.is_empty() {
            match Frame::decode(&mut reader) {
                Ok(Frame::Crypto(frame)) if self.crypto.on_frame(frame.offset, frame.data).is_ok() => {}
                // What a client must not send is for its connection to say.
                Ok(Frame::Crypto(_)) | Err(_) => return Reading::Done,
                Ok(_) => {}
            }
        }
        self.hello.extend_from_slice(&self.crypto.take_readable());
        let is_short = self.hello.len() as u64 <= limits::CRYPTO_BUFFER_INITIAL;
        if matches!(hello::parse(&self.hello), Hello::Incomplete) && is_short { Reading::More } else { Reading::Done }
    }
}

/// What a client is told that the application does not want.
const UNWANTED: Refusal = (ErrorCode::CONNECTION_REFUSED, "the server does not want this connection");

impl Endpoint {
    /// Chooses who decides about newcomers from now on. Attempts that wait go on waiting.
    pub fn set_admission(&mut self, admission: Admission) {
        self.admission.mode = admission;
    }

    /// The next news of the endpoint itself.
    pub fn poll_news(&mut self) -> Option<EndpointNews> {
        self.admission.news.pop_front()
    }

    /// Lets a client in, with these settings or those of [`Endpoint::listen`]. `None`: the attempt is over, there is no
    /// room, or nobody listens.
    pub fn accept_attempt(&mut self, now: Timestamp, id: AttemptId, server: Option<Arc<ServerConfig>>) -> Option<ConnectionHandle> {
        let (dcid, kept) = self.admission.take(id)?;
        let server = server.or_else(|| self.server.clone())?;
        let mut datagrams = kept.datagrams.into_iter();
        let mut first = datagrams.next()?;
        let header = ProtectedHeader::parse(&first.bytes, limits::LOCAL_CID_LEN).ok()?;
        // Again: another attempt may have used the token up since.
        let token = first.bytes.get(header.token.clone()).unwrap_or_default();
        let proof = match self.tokens.check(now, header.version, first.four_tuple, &header.dcid, token) {
            TokenVerdict::Proved(proof) => Some(proof),
            TokenVerdict::Nothing => None,
            TokenVerdict::Invalid => {
                self.refuse(now, first.four_tuple, &header, &mut first.bytes, UNWANTED);
                return None;
            }
        };
        if let Some(refusal) = self.no_room_for(&server, first.four_tuple) {
            self.refuse(now, first.four_tuple, &header, &mut first.bytes, refusal);
            return None;
        }
        self.open(&server, proof, Arriving { now, four_tuple: first.four_tuple, ecn: first.ecn }, &header, &mut first.bytes);
        for mut later in datagrams {
            if let Some(route) = self.routes.find(dcid.as_bytes()) {
                self.deliver(now, later.four_tuple, later.ecn, route, &mut later.bytes);
            }
        }
        self.routes.find(dcid.as_bytes()).map(|route| route.handle)
    }

    /// Tells a client that it is not wanted, as far as the ration of refusals goes.
    pub fn refuse_attempt(&mut self, now: Timestamp, id: AttemptId) {
        let Some((dcid, mut kept)) = self.admission.take(id) else { return };
        self.admission.decide(dcid, Decided::Refused);
        let Some(first) = kept.datagrams.first_mut() else { return };
        if let Ok(header) = ProtectedHeader::parse(&first.bytes, limits::LOCAL_CID_LEN) {
            self.refuse(now, first.four_tuple, &header, &mut first.bytes, UNWANTED);
        }
    }

    /// Makes a client prove its address; it comes again as another attempt. One whose address is proved is let in:
    /// nothing more can be proved. Answers as [`Endpoint::accept_attempt`].
    pub fn retry_attempt(&mut self, now: Timestamp, id: AttemptId) -> Option<ConnectionHandle> {
        let is_validated = self.admission.waiting.values().any(|kept| kept.id == id && kept.validated);
        if is_validated {
            return self.accept_attempt(now, id, None);
        }
        let (dcid, kept) = self.admission.take(id)?;
        self.admission.decide(dcid, Decided::Retried);
        let first = kept.datagrams.first()?;
        if let Ok(header) = ProtectedHeader::parse(&first.bytes, limits::LOCAL_CID_LEN) {
            self.answer_with_retry(now, first.four_tuple, &header);
        }
        None
    }

    /// Says nothing to a client, now and when it repeats itself.
    pub fn ignore_attempt(&mut self, id: AttemptId) {
        if let Some((dcid, _)) = self.admission.take(id) {
            self.drops.count(DropReason::Refused);
            self.admission.decide(dcid, Decided::Ignored);
        }
    }

    /// Handshakes under way, attempts included (attacks L2).
    pub(super) fn half_open(&self) -> usize {
        self.counters.half_open.saturating_add(self.admission.len())
    }

    /// A first Initial that the application has to decide about.
    pub(super) fn begin_attempt(&mut self, arriving: Arriving, address: AddressProof, header: &ProtectedHeader, bytes: &[u8]) {
        let until = arriving.now + limits::ATTEMPT_PATIENCE;
        let id = AttemptId(self.admission.last.saturating_add(1));
        let validated = address == AddressProof::Token;
        let mut kept = Kept { id, datagrams: Vec::new(), validated, is_asked: false, crypto: CryptoStream::initial(), hello: Vec::new() };
        let reading = kept.read(bytes, header.dcid);
        if reading == Reading::Forged {
            return self.drops.count(DropReason::Undecryptable);
        }
        self.admission.last = id.0;
        self.admission.order.push_back((until, id, header.dcid));
        self.admission.waiting.insert(header.dcid, kept);
        let reason = self.admission.keep(&header.dcid, arriving, bytes);
        self.drops.count(reason);
        if reason != DropReason::KeptForKeys {
            self.admission.take(id);
        } else if reading == Reading::Done {
            self.ask(&header.dcid);
        }
    }

    /// Another Initial of a client whose attempt waits, or was decided.
    pub(super) fn on_more_of_attempt(&mut self, arriving: Arriving, header: &ProtectedHeader, bytes: &mut [u8]) {
        match self.admission.decided.get(&header.dcid) {
            Some(Decided::Refused) => return self.refuse(arriving.now, arriving.four_tuple, header, bytes, UNWANTED),
            Some(Decided::Retried) => return self.answer_with_retry(arriving.now, arriving.four_tuple, header),
            Some(Decided::Ignored) => return self.drops.count(DropReason::Refused),
            None => {}
        }
        let Some(kept) = self.admission.waiting.get_mut(&header.dcid) else { return };
        let reading = if kept.is_asked { Reading::More } else { kept.read(bytes, header.dcid) };
        if reading == Reading::Forged {
            return self.drops.count(DropReason::Undecryptable);
        }
        let reason = self.admission.keep(&header.dcid, arriving, bytes);
        self.drops.count(reason);
        if reading == Reading::Done {
            self.ask(&header.dcid);
        }
    }

    /// The ClientHello is whole: the application hears of the attempt.
    fn ask(&mut self, dcid: &ConnectionId) {
        let Some(kept) = self.admission.waiting.get_mut(dcid) else { return };
        let Some(first) = kept.datagrams.first() else { return };
        kept.is_asked = true;
        let hello::Wishes { server_name, protocols } = hello::wishes(&kept.hello);
        kept.hello = Vec::new();
        let attempt = Attempt { id: kept.id, four_tuple: first.four_tuple, server_name, protocols, validated: kept.validated };
        // Not bounded by itself: there are no more of them than attempts that wait.
        self.admission.news.push_back(EndpointNews::Attempt(Box::new(attempt)));
    }

    /// Attempts that nobody decided in time are refused; those whose ClientHello never came are forgotten.
    pub(super) fn expire_attempts(&mut self, now: Timestamp) {
        while let Some((at, id, dcid)) = self.admission.order.front().copied()
            && at <= now
        {
            if self.admission.waiting.get(&dcid).is_some_and(|kept| kept.is_asked) {
                self.refuse_attempt(now, id);
                self.admission.end(id);
            } else {
                self.admission.take(id);
            }
        }
    }
}
