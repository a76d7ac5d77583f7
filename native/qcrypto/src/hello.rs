//! What stands in a ClientHello that TLS has not seen: transport parameters, name, protocols (RFC 8446 §4.1.2, RFC 9001 §8.2,
//! RFC 6066 §3, RFC 7301 §3.1).
//!
//! A server that may answer in another version must know the client's versions before it makes its session, because a
//! session's version is fixed (RFC 9369 §4.1); one that asks its application whom to let in tells it what the client wants
//! (`facts`). Called once a connection, by such servers only. Checks no more than it needs to find the extensions: TLS judges
//! the message.

use qbase::{Reader, UnexpectedEnd};

/// Type of a ClientHello message.
const CLIENT_HELLO: u8 = 1;
/// The quic_transport_parameters extension, the same in versions 1 and 2.
const TRANSPORT_PARAMETERS: u16 = 0x39;
/// The early_data extension.
const EARLY_DATA: u16 = 42;
/// The server_name extension.
const SERVER_NAME: u16 = 0;
/// Its only type of name.
const HOST_NAME: u8 = 0;
/// The application_layer_protocol_negotiation extension.
const PROTOCOLS: u16 = 16;
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
        Some(body) => find(body, TRANSPORT_PARAMETERS).ok().flatten().map_or(Hello::Other, Hello::Parameters),
    }
}

/// The client sends 0-RTT packets behind this ClientHello, a whole message (RFC 8446 §4.2.10).
#[must_use]
pub fn offers_early_data(bytes: &[u8]) -> bool {
    bytes.get(4..).is_some_and(|body| matches!(find(body, EARLY_DATA), Ok(Some(_))))
}

/// What a client asks for, as far as it can be read: nothing of it is proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The host name; `None`: it names none.
    pub server_name: Option<String>,
    /// Application protocols in its order of preference.
    pub protocols: Vec<Vec<u8>>,
}

/// Reads the name and the protocols out of a ClientHello that [`parse`] found whole.
#[must_use]
pub fn wishes(bytes: &[u8]) -> Wishes {
    let Some(body) = bytes.get(4..) else { return Wishes::default() };
    let extension = |kind| find(body, kind).ok().flatten();
    Wishes {
        server_name: extension(SERVER_NAME).and_then(|list| host_name(list).ok().flatten()),
        protocols: extension(PROTOCOLS).and_then(|list| protocols(list).ok()).unwrap_or_default(),
    }
}

fn host_name(list: &[u8]) -> Result<Option<String>, UnexpectedEnd> {
    let mut reader = Reader::new(list);
    let len = reader.u16()?;
    let mut names = Reader::new(reader.bytes(len.into())?);
    while !names.is_empty() {
        let kind = names.u8()?;
        let len = names.u16()?;
        let name = names.bytes(len.into())?;
        if kind == HOST_NAME {
            return Ok(str::from_utf8(name).ok().map(str::to_owned));
        }
    }
    Ok(None)
}

fn protocols(list: &[u8]) -> Result<Vec<Vec<u8>>, UnexpectedEnd> {
    let mut reader = Reader::new(list);
    let len = reader.u16()?;
    let mut names = Reader::new(reader.bytes(len.into())?);
    let mut protocols = Vec::new();
    while !names.is_empty() {
        let len = names.u8()?;
        protocols.push(names.bytes(len.into())?.to_vec());
    }
    Ok(protocols)
}

fn find(body: &[u8], wanted: u16) -> Result<Option<&[u8]>, UnexpectedEnd> {
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
        if kind == wanted {
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
    fn the_wishes_of_a_real_client_hello_are_found() {
        assert_eq!(wishes(&client_hello()), Wishes { server_name: Some("localhost".to_owned()), protocols: vec![b"test".to_vec()] });
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
            let _ = (parse(&bytes), wishes(&bytes), offers_early_data(&bytes));
        }
    }
}
