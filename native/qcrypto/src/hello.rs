//! The transport parameters in a ClientHello that TLS has not seen (RFC 8446 §4.1.2, RFC 9001 §8.2).
//!
//! A server that may answer in another version must know the client's versions before it makes its session, because a
//! session's version is fixed (RFC 9369 §4.1). Called once a connection, by such servers only. Checks no more than it
//! needs to find the extension: TLS judges the message.

use qbase::{Reader, UnexpectedEnd};

/// Type of a ClientHello message.
const CLIENT_HELLO: u8 = 1;
/// The quic_transport_parameters extension, the same in versions 1 and 2.
const TRANSPORT_PARAMETERS: u16 = 0x39;
/// Bytes of the legacy version and the random field.
const FIXED: usize = 2 + 32;

/// What handshake bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello<'a> {
    /// A message that is not all there.
    Incomplete,
    /// A ClientHello with these encoded transport parameters.
    Parameters(&'a [u8]),
    /// Anything else, whole or hopeless.
    Other,
}

/// Looks into the first message of a client.
#[must_use]
pub fn parse(bytes: &[u8]) -> Hello<'_> {
    let Some((&[kind, a, b, c], rest)) = bytes.split_first_chunk::<4>() else { return Hello::Incomplete };
    if kind != CLIENT_HELLO {
        return Hello::Other;
    }
    let len = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
    match rest.get(..len) {
        None => Hello::Incomplete,
        Some(body) => find(body).ok().flatten().map_or(Hello::Other, Hello::Parameters),
    }
}

fn find(body: &[u8]) -> Result<Option<&[u8]>, UnexpectedEnd> {
    let mut reader = Reader::new(body);
    reader.bytes(FIXED)?;
    // Session id, cipher suites, compression methods.
    let len = reader.u8()?;
    reader.bytes(len.into())?;
    let len = reader.u16()?;
    reader.bytes(len.into())?;
    let len = reader.u8()?;
    reader.bytes(len.into())?;
    let len = reader.u16()?;
    let mut extensions = Reader::new(reader.bytes(len.into())?);
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let len = extensions.u16()?;
        let value = extensions.bytes(len.into())?;
        if kind == TRANSPORT_PARAMETERS {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CLIENT_PARAMETERS, End, options, sessions};
    use proptest::prelude::*;

    fn client_hello() -> Vec<u8> {
        let (client, server) = options();
        let mut client = End::new(sessions(&client, &server).0);
        client.drain().into_iter().flat_map(|(_, bytes)| bytes).collect()
    }

    #[test]
    fn the_parameters_of_a_real_client_hello_are_found() {
        assert_eq!(parse(&client_hello()), Hello::Parameters(CLIENT_PARAMETERS));
    }

    #[test]
    fn a_cut_client_hello_is_incomplete_at_every_length() {
        let hello = client_hello();
        for len in 0..hello.len() {
            assert_eq!(parse(&hello[..len]), Hello::Incomplete, "{len} bytes");
        }
    }

    #[test]
    fn other_messages_and_broken_ones_are_left_to_tls() {
        assert_eq!(parse(&[2, 0, 0, 0]), Hello::Other);
        assert_eq!(parse(&[1, 0, 0, 3, 1, 2, 3]), Hello::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            if let [kind, a, b, c, ..] = bytes.as_mut_slice() {
                (*kind, *a, *b, *c) = (1, 0, 0, 40);
            }
            let _ = parse(&bytes);
        }
    }
}
