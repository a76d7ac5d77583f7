//! What the connection ids of an endpoint look like: random, or with the id of a server in them, so that a load balancer
//! finds the machine that issued one (draft-ietf-quic-load-balancers, the form without a key).
//!
//! ```text
//!  byte 0                 1 … n          n+1 … length-1
//!  rrr lllll              server id      nonce: random, 4 bytes at least
//!  |   length - 1, or random bits
//!  number of the configuration, 0 to 6
//! ```
//! Called by whoever makes ids: the endpoint and its connections. All ids of an endpoint have one length, since packets
//! with short headers do not tell it. Never keeps an id.

use qbase::{ConnectionId, limits};
use rand_core::RngCore;

/// Shortest id, bytes: below, two random ones would be the same too often.
pub const MIN_LEN: usize = 8;
/// Longest id, bytes (RFC 9000 §17.2).
pub const MAX_LEN: usize = 20;
/// Longest server id: one byte before it, four of the nonce after it.
pub const MAX_SERVER_ID: usize = 15;
/// Shortest nonce, bytes.
pub const MIN_NONCE: usize = 4;
/// Nonce where nothing says how long ids are and there is room: as random as an id without a server's in it.
const GOOD_NONCE: usize = 8;
/// Largest number of a configuration; 7 says "cannot be routed".
pub const MAX_CONFIGURATION: u8 = 6;

/// Length and contents of the ids that an endpoint issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CidShape {
    /// Bytes of an id.
    len: usize,
    server: Option<ServerId>,
}

/// The id of a server, as it stands in connection ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerId {
    bytes: [u8; MAX_SERVER_ID],
    len: usize,
    configuration: u8,
    first: FirstOctet,
}

/// What the lower five bits of an id's first byte say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FirstOctet {
    /// Nothing.
    #[default]
    Random,
    /// How many bytes follow, for machines that look at packets without knowing the endpoint.
    Length,
}

/// No ids can look like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The server id is empty or too long.
    #[error("a server id has 1 to {MAX_SERVER_ID} bytes")]
    ServerId,
    /// There is no such configuration.
    #[error("the number of a configuration is 0 to {MAX_CONFIGURATION}")]
    Configuration,
    /// Ids of that length are too short or too long.
    #[error("connection ids have {MIN_LEN} to {MAX_LEN} bytes")]
    Length,
    /// The ids are too short for the server id.
    #[error("a server id of {server} bytes needs connection ids of {needed} bytes at least")]
    TooShort {
        /// Bytes of the server id.
        server: usize,
        /// Bytes of ids that have room for it.
        needed: usize,
    },
}

impl ServerId {
    /// These bytes under the configuration of this number.
    ///
    /// # Errors
    /// [`ShapeError::ServerId`], [`ShapeError::Configuration`].
    pub fn new(id: &[u8], configuration: u8, first: FirstOctet) -> Result<Self, ShapeError> {
        let mut bytes = [0; MAX_SERVER_ID];
        let place = bytes.get_mut(..id.len()).filter(|place| !place.is_empty()).ok_or(ShapeError::ServerId)?;
        place.copy_from_slice(id);
        if configuration > MAX_CONFIGURATION {
            return Err(ShapeError::Configuration);
        }
        Ok(Self { bytes, len: id.len(), configuration, first })
    }
}

impl CidShape {
    /// Ids of `len` bytes; `None`: as long as they need to be.
    ///
    /// # Errors
    /// [`ShapeError::Length`], [`ShapeError::TooShort`].
    pub const fn new(server: Option<ServerId>, len: Option<usize>) -> Result<Self, ShapeError> {
        let (taken, needed) = match server {
            Some(server) => (server.len.saturating_add(1), server.len.saturating_add(1).saturating_add(MIN_NONCE)),
            None => (0, MIN_LEN),
        };
        let good = taken.saturating_add(GOOD_NONCE);
        let len = match len {
            Some(len) => len,
            None if good > MAX_LEN => MAX_LEN,
            None => good,
        };
        if len < MIN_LEN || len > MAX_LEN {
            return Err(ShapeError::Length);
        }
        if len < needed {
            return Err(ShapeError::TooShort { server: taken.saturating_sub(1), needed });
        }
        Ok(Self { len, server })
    }

    /// Bytes of every id.
    #[expect(clippy::len_without_is_empty, reason = "no id is empty")]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// A fresh id. What `random` gives is its nonce, so ids of one connection show no relation (QUIC-LB, "Server Actions").
    pub fn draw(&self, random: &mut impl RngCore) -> ConnectionId {
        let mut bytes = [0; MAX_LEN];
        let id = bytes.get_mut(..self.len).unwrap_or_default();
        random.fill_bytes(id);
        if let Some(server) = &self.server
            && let Some((first, rest)) = id.split_first_mut()
        {
            let low = match server.first {
                FirstOctet::Random => *first,
                FirstOctet::Length => rest.len() as u8,
            };
            *first = server.configuration << 5 | low & 0x1f;
            for (place, byte) in rest.iter_mut().zip(server.bytes.iter().take(server.len)) {
                *place = *byte;
            }
        }
        ConnectionId::new(id).unwrap_or_default()
    }
}

impl Default for CidShape {
    fn default() -> Self {
        Self { len: limits::LOCAL_CID_LEN, server: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    fn random() -> ChaCha8Rng {
        ChaCha8Rng::from_seed([7; 32])
    }

    /// What a load balancer does with an id: the configuration's number, and the server id of the length that one has.
    fn read(id: &[u8], server_len: usize) -> (u8, Vec<u8>) {
        (id[0] >> 5, id[1..=server_len].to_vec())
    }

    #[test]
    fn a_load_balancer_reads_the_server_id_out_of_every_id() {
        let mut random = random();
        for server_len in 1..=MAX_SERVER_ID {
            for configuration in 0..=MAX_CONFIGURATION {
                let name: Vec<u8> = (1..=server_len as u8).collect();
                let server = ServerId::new(&name, configuration, FirstOctet::Random).expect("server id");
                let least = (server_len + 1 + MIN_NONCE).max(MIN_LEN);
                for len in least..=MAX_LEN {
                    let shape = CidShape::new(Some(server), Some(len)).expect("shape");
                    let id = shape.draw(&mut random);
                    assert_eq!(id.len(), len);
                    assert_eq!(read(id.as_bytes(), server_len), (configuration, name.clone()));
                }
            }
        }
    }

    /// The draft has vectors for encrypted ids only. This is the plaintext of the example in its section on encryption:
    /// server id 31441a, nonce 9c69c275, first octet 07, which says that seven bytes follow.
    #[test]
    fn the_plaintext_of_the_drafts_example_is_drawn_byte_by_byte() {
        struct Fixed;
        impl RngCore for Fixed {
            fn next_u32(&mut self) -> u32 {
                0
            }
            fn next_u64(&mut self) -> u64 {
                0
            }
            fn fill_bytes(&mut self, place: &mut [u8]) {
                let nonce = [0, 0, 0, 0, 0x9c, 0x69, 0xc2, 0x75];
                place.copy_from_slice(&nonce);
            }
        }
        let server = ServerId::new(&[0x31, 0x44, 0x1a], 0, FirstOctet::Length).expect("server id");
        let shape = CidShape::new(Some(server), Some(8)).expect("shape");
        assert_eq!(shape.draw(&mut Fixed).as_bytes(), [0x07, 0x31, 0x44, 0x1a, 0x9c, 0x69, 0xc2, 0x75]);
    }

    #[test]
    fn an_id_that_tells_its_length_tells_the_bytes_after_the_first() {
        let mut random = random();
        for len in MIN_LEN..=MAX_LEN {
            let server = ServerId::new(&[9], 3, FirstOctet::Length).expect("server id");
            let id = CidShape::new(Some(server), Some(len)).expect("shape").draw(&mut random);
            assert_eq!((id.as_bytes()[0] >> 5, usize::from(id.as_bytes()[0] & 0x1f)), (3, len - 1));
        }
    }

    #[test]
    fn nonces_and_random_bits_differ_from_id_to_id() {
        let mut random = random();
        let server = ServerId::new(&[1, 2, 3], 5, FirstOctet::Random).expect("server id");
        let shape = CidShape::new(Some(server), None).expect("shape");
        let ids: Vec<ConnectionId> = (0..1_000).map(|_| shape.draw(&mut random)).collect();
        let nonces: std::collections::BTreeSet<&[u8]> = ids.iter().map(|id| &id.as_bytes()[4..]).collect();
        let bits: std::collections::BTreeSet<u8> = ids.iter().map(|id| id.as_bytes()[0] & 0x1f).collect();
        assert_eq!((nonces.len(), bits.len()), (1_000, 32));
    }

    #[test]
    fn the_length_follows_the_server_id_unless_it_is_said() {
        let len = |server: Option<&[u8]>, len| {
            let server = server.map(|id| ServerId::new(id, 0, FirstOctet::Random).expect("server id"));
            CidShape::new(server, len).map(|shape| shape.len())
        };
        assert_eq!(len(None, None), Ok(8));
        assert_eq!(CidShape::default(), CidShape::new(None, None).expect("default"));
        assert_eq!(len(None, Some(20)), Ok(20));
        assert_eq!(len(Some(&[1]), None), Ok(10));
        assert_eq!(len(Some(&[1; 11]), None), Ok(20));
        assert_eq!(len(Some(&[1; 15]), None), Ok(20));
        assert_eq!(len(Some(&[1; 3]), Some(8)), Ok(8));
        assert_eq!(len(Some(&[1; 4]), Some(8)), Err(ShapeError::TooShort { server: 4, needed: 9 }));
        assert_eq!(len(None, Some(7)), Err(ShapeError::Length));
        assert_eq!(len(None, Some(21)), Err(ShapeError::Length));
        assert_eq!(ServerId::new(&[], 0, FirstOctet::Random), Err(ShapeError::ServerId));
        assert_eq!(ServerId::new(&[0; 16], 0, FirstOctet::Random), Err(ShapeError::ServerId));
        assert_eq!(ServerId::new(&[0], 7, FirstOctet::Random), Err(ShapeError::Configuration));
    }
}
