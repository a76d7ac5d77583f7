//! The evil client's own state: keys, numbers, ids, and what the server said so far.

use std::collections::{BTreeMap, BTreeSet};

use qbase::{
    ConnectionId, EncryptionLevel, FourTuple, PathId, Role, SpaceId, VERSION_1,
    frame::Frame,
    limits::LOCAL_CID_LEN,
    packet::{PacketType, ProtectedHeader},
};
use qcrypto::{KeyChange, Keys, OneRttKeys, Session};
use qsim::Failure;

use crate::{
    own_cid,
    wire::{self, Envelope, Packet},
};

/// CRYPTO bytes of one level, in order.
#[derive(Debug, Default)]
struct Assembly {
    pieces: BTreeMap<u64, Vec<u8>>,
    read: u64,
}

impl Assembly {
    fn add(&mut self, offset: u64, data: &[u8]) -> Vec<u8> {
        self.pieces.insert(offset, data.to_vec());
        let mut out = Vec::new();
        while let Some((&start, piece)) = self.pieces.range(..=self.read).next_back() {
            let end = start + piece.len() as u64;
            if end <= self.read {
                break;
            }
            let skip = usize::try_from(self.read - start).unwrap_or(usize::MAX);
            out.extend_from_slice(piece.get(skip..).unwrap_or_default());
            self.read = end;
        }
        out
    }
}

/// The evil end: a client, or a server if it is made by [`Peer::server`].
pub struct Peer {
    role: Role,
    /// Version of its long headers.
    version: u32,
    tls: Session,
    write_level: EncryptionLevel,
    /// Addresses as the server sees them.
    pub four_tuple: FourTuple,
    original: ConnectionId,
    /// The other end's id of the handshake.
    pub remote: Option<ConnectionId>,
    initial: Keys,
    handshake: Option<Keys>,
    application: Option<Box<OneRttKeys>>,
    next: BTreeMap<SpaceId, u64>,
    crypto: BTreeMap<EncryptionLevel, Assembly>,
    written: BTreeMap<EncryptionLevel, u64>,
    flight: Vec<(EncryptionLevel, u64, Vec<u8>)>,
    largest: BTreeMap<SpaceId, u64>,
    /// Packets of the other end, oldest first.
    pub heard: Vec<Packet>,
    /// Numbers of them, by path.
    pub numbers: BTreeMap<PathId, BTreeSet<u64>>,
    /// All paths share one packet-number space, that of path 0.
    pub shares_space: bool,
    /// Ids the server issued, by path and sequence.
    pub ids: BTreeMap<(PathId, u64), ConnectionId>,
}

impl Peer {
    /// A server whose client sent its first Initial to `original`, from `remote`.
    #[must_use]
    pub fn server(version: u32, tls: Session, four_tuple: FourTuple, original: ConnectionId, remote: ConnectionId) -> Self {
        let initial = Keys::initial(version, &original, Role::Server);
        Self { role: Role::Server, version, remote: Some(remote), initial, ..Self::new(tls, four_tuple, original) }
    }

    /// A client that sends its first Initial to `original`.
    #[must_use]
    pub fn new(tls: Session, four_tuple: FourTuple, original: ConnectionId) -> Self {
        Self {
            role: Role::Client,
            version: VERSION_1,
            tls,
            write_level: EncryptionLevel::Initial,
            four_tuple,
            original,
            remote: None,
            initial: Keys::initial(VERSION_1, &original, Role::Client),
            handshake: None,
            application: None,
            next: BTreeMap::new(),
            crypto: BTreeMap::new(),
            written: BTreeMap::new(),
            flight: Vec::new(),
            largest: BTreeMap::new(),
            heard: Vec::new(),
            numbers: BTreeMap::new(),
            shares_space: false,
            ids: BTreeMap::new(),
        }
    }

    /// What TLS wants to say: level, offset in its CRYPTO stream, bytes.
    pub fn take_flight(&mut self) -> Vec<(EncryptionLevel, u64, Vec<u8>)> {
        self.pump_tls();
        std::mem::take(&mut self.flight)
    }

    /// Takes keys as soon as they are there: the next packet of the same datagram may need them.
    fn pump_tls(&mut self) {
        loop {
            let mut bytes = Vec::new();
            let change = self.tls.write(&mut bytes);
            if bytes.is_empty() && change.is_none() {
                return;
            }
            if !bytes.is_empty() {
                let offset = self.written.entry(self.write_level).or_default();
                let at = *offset;
                *offset += bytes.len() as u64;
                self.flight.push((self.write_level, at, bytes));
            }
            match change {
                Some(KeyChange::Handshake(keys)) => {
                    self.handshake = Some(keys);
                    self.write_level = EncryptionLevel::Handshake;
                }
                Some(KeyChange::OneRtt(keys)) => {
                    self.application = Some(keys);
                    self.write_level = EncryptionLevel::OneRtt;
                }
                None => {}
            }
        }
    }

    /// Which end it plays.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// What the other end declared, encoded.
    pub fn peer_parameters(&self) -> Option<&[u8]> {
        self.tls.peer_parameters()
    }

    /// Keys of Initial packets.
    pub const fn initial_keys(&self) -> &Keys {
        &self.initial
    }

    /// The handshake is over for TLS.
    pub fn is_complete(&self) -> bool {
        self.application.is_some() && !self.tls.is_handshaking()
    }

    /// The keys of 1-RTT packets.
    pub fn keys(&mut self) -> Option<&mut OneRttKeys> {
        self.application.as_deref_mut()
    }

    /// The path whose numbers and nonces packets of `path` have.
    const fn row(&self, path: PathId) -> PathId {
        if self.shares_space { PathId::ZERO } else { path }
    }

    /// The number of the next packet in a space.
    pub fn next_number(&mut self, space: SpaceId) -> &mut u64 {
        self.next.entry(space).or_default()
    }

    /// Seals one packet with the next number of its space, to this id or one that fits.
    ///
    /// # Errors
    /// There are no keys or no id for it.
    pub fn seal(
        &mut self,
        level: EncryptionLevel,
        path: PathId,
        dcid: Option<ConnectionId>,
        first_bits: u8,
        payload: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let missing = || Failure::new(format!("no keys or id for {level:?} on path {path:?}"));
        let known = match path {
            PathId::ZERO => self.remote.or(Some(self.original)),
            _ => self.ids.iter().find(|((of, _), _)| *of == path).map(|(_, cid)| *cid),
        };
        let dcid = dcid.or(known).ok_or_else(missing)?;
        self.seal_from(level, path, (dcid, own_cid(PathId::ZERO, 0)), first_bits, payload)
    }

    /// The same with these destination and source ids in its header.
    ///
    /// # Errors
    /// There are no keys for it.
    pub fn seal_from(
        &mut self,
        level: EncryptionLevel,
        path: PathId,
        (dcid, scid): (ConnectionId, ConnectionId),
        first_bits: u8,
        payload: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let missing = || Failure::new(format!("no keys for {level:?} on path {path:?}"));
        let path = self.row(path);
        let next = self.next_number(level.space(path));
        let number = *next;
        *next += 1;
        let envelope = Envelope { level, path, dcid, scid, number, first_bits };
        match level {
            EncryptionLevel::OneRtt => {
                wire::seal_short(&envelope, self.application.as_deref_mut().ok_or_else(missing)?, payload)
            }
            EncryptionLevel::Handshake => {
                wire::seal_long_of(self.version, &envelope, self.handshake.as_ref().ok_or_else(missing)?, payload)
            }
            _ => wire::seal_long_of(self.version, &envelope, &self.initial, payload),
        }
    }

    /// Opens a datagram of the other end, remembers its packets and feeds TLS.
    ///
    /// # Errors
    /// TLS refuses what it says.
    pub fn hear(&mut self, mut datagram: &mut [u8]) -> Result<(), Failure> {
        let size = datagram.len();
        while let Ok(header) = ProtectedHeader::parse(datagram, LOCAL_CID_LEN) {
            let (packet, rest) = datagram.split_at_mut(header.end.min(datagram.len()));
            datagram = rest;
            let Some(opened) = self.open(&header, packet, size) else { continue };
            self.note(&opened)?;
            self.heard.push(opened);
        }
        Ok(())
    }

    fn open(&mut self, header: &ProtectedHeader, packet: &mut [u8], datagram: usize) -> Option<Packet> {
        let (level, path) = match header.kind {
            PacketType::Initial => (EncryptionLevel::Initial, PathId::ZERO),
            PacketType::Handshake => (EncryptionLevel::Handshake, PathId::ZERO),
            PacketType::OneRtt => {
                let digits = *header.dcid.as_bytes().first_chunk::<4>()?;
                (EncryptionLevel::OneRtt, PathId(u32::from_be_bytes(digits)))
            }
            _ => return None,
        };
        let row = self.row(path);
        let largest = self.largest.get(&level.space(row)).copied();
        let (number, payload) = match level {
            EncryptionLevel::OneRtt => {
                wire::open_short(self.application.as_deref_mut()?, row, packet, header.pn_offset, largest)?
            }
            EncryptionLevel::Handshake => wire::open_long(self.handshake.as_ref()?, packet, header.pn_offset, largest)?,
            _ => wire::open_long(&self.initial, packet, header.pn_offset, largest)?,
        };
        if level == EncryptionLevel::Initial && self.role.is_client() {
            self.remote.get_or_insert(header.scid);
        }
        self.largest.insert(level.space(row), largest.unwrap_or_default().max(number));
        let (dcid, scid, token) = (header.dcid, header.scid, header.token.len());
        Some(Packet { level, path, number, payload, datagram, dcid, scid, token })
    }

    fn note(&mut self, packet: &Packet) -> Result<(), Failure> {
        if packet.level == EncryptionLevel::OneRtt {
            let row = self.row(packet.path);
            self.numbers.entry(row).or_default().insert(packet.number);
        }
        for frame in packet.frames() {
            match frame {
                Frame::Crypto(crypto) => {
                    let bytes = self.crypto.entry(packet.level).or_default().add(crypto.offset, crypto.data);
                    if !bytes.is_empty() {
                        self.tls.read(packet.level, &bytes).map_err(crate::ends::failure)?;
                        self.pump_tls();
                    }
                }
                Frame::NewConnectionId(new) => {
                    self.ids.insert((new.path.unwrap_or_default(), new.sequence), new.cid);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
