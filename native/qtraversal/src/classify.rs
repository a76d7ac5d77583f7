//! What a UDP payload is: QUIC, STUN or a forwarded datagram (traversal §2).
//!
//! | first byte | kind |
//! |---|---|
//! | `1100001x`, version 0, no CIDs, extension version 0 | STUN disguised as Version Negotiation (T-10, T-11, T-13) |
//! | `00xxxxxx`, magic cookie, length field = size - 20 | standard STUN (T-42) |
//! | `011xxxxx`, version nibble 0, marker | forwarded (T-11), unless its DCID is a known one (T-12) |
//! | else with the fixed bit, or Version Negotiation | QUIC |
//! | else | dropped, where no QUIC bit may be greased (RFC 9287) |
//!
//! Called for each datagram (or the first of a GRO train) a socket received. Never decodes attributes, never decrypts. What is
//! no whole STUN or forward datagram is QUIC's to judge.

use crate::{
    forward::{ForwardHeader, Stripped},
    stun::{Form, Forms},
};

/// What runs on a socket beside QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Listening {
    /// Forms of STUN that a client or a server on it speaks.
    pub stun: Forms,
    /// Forwarded datagrams.
    pub forward: Forward,
    /// The fixed bit of QUIC packets.
    pub fixed_bit: FixedBit,
}

/// Whether forwarded datagrams are expected. A socket that expects them never sends the spin bit (T-12a).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Forward {
    /// `011xxxxx` is QUIC.
    #[default]
    Ignored,
    /// `011xxxxx` with a whole header and no known DCID is forwarded.
    Accepted,
}

/// Whether packets without the fixed bit may be QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FixedBit {
    /// No: no connection here negotiated `grease_quic_bit`.
    #[default]
    Required,
    /// Yes (RFC 9287).
    Greased,
}

/// A UDP payload by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// For the QUIC machine.
    Quic(&'a [u8]),
    /// For a STUN client or server.
    Stun {
        /// How it is spelled.
        form: Form,
        /// All of it.
        message: &'a [u8],
    },
    /// For the relay, or, stripped, for the QUIC machine: what is inside is QUIC whatever it looks like.
    Forward(Stripped<'a>),
    /// For nobody: it has no fixed bit.
    Dropped,
}

/// Bit of every QUIC packet that is not greased.
const FIXED: u8 = 0x40;
const LONG: u8 = 0x80;

/// Says what a payload is. `knows_dcid` is asked at most once, with the whole payload: does the DCID of this packet belong
/// to a connection of ours?
#[must_use]
pub fn classify<'a>(datagram: &'a [u8], listening: Listening, knows_dcid: impl FnOnce(&'a [u8]) -> bool) -> Datagram<'a> {
    let Some(&first) = datagram.first() else { return Datagram::Dropped };
    if let Some(form) = listening.stun.recognize(datagram) {
        // A greased short header may look like standard STUN: a known DCID wins. The disguised forms have no DCID.
        if form != Form::Rfc || !knows_dcid(datagram) {
            return Datagram::Stun { form, message: datagram };
        }
        return Datagram::Quic(datagram);
    }
    if listening.forward == Forward::Accepted
        && let Some(stripped) = ForwardHeader::strip(datagram)
        && !knows_dcid(datagram)
    {
        return Datagram::Forward(stripped);
    }
    if first & FIXED != 0 || is_version_negotiation(datagram) || listening.fixed_bit == FixedBit::Greased {
        return Datagram::Quic(datagram);
    }
    Datagram::Dropped
}

/// All bits of its first byte but the first are free (RFC 9000 §17.2.1).
fn is_version_negotiation(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 0, 0, 0, 0, ..] if first & LONG != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        address::tests::endpoint,
        stun::{Message, TransactionId},
    };

    const ALL: Listening =
        Listening { stun: Forms::ALL, forward: Forward::Accepted, fixed_bit: FixedBit::Required };

    fn forwarded(quic: &[u8]) -> Vec<u8> {
        let header =
            ForwardHeader { source: endpoint("192.0.2.1:1"), destination: endpoint("192.0.2.2:2-192.0.2.3:3") };
        let stamp = header.stamp().unwrap();
        let mut datagram = vec![0; stamp.size()];
        datagram.extend_from_slice(quic);
        stamp.fill(&mut datagram).unwrap();
        datagram
    }

    fn stun(form: Form) -> Vec<u8> {
        let mut buffer = [0; 1_500];
        let len = Message::request(form, TransactionId::from_bytes([7; 16])).encode(&mut buffer).unwrap();
        buffer[..len].to_vec()
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Kind {
        Quic,
        Stun(Form),
        Forward,
        Dropped,
    }

    /// Whose the connection id is.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Dcid {
        Known,
        Strange,
    }

    fn kind(datagram: &[u8], listening: Listening, dcid: Dcid) -> Kind {
        match classify(datagram, listening, |_| dcid == Dcid::Known) {
            Datagram::Quic(_) => Kind::Quic,
            Datagram::Stun { form, .. } => Kind::Stun(form),
            Datagram::Forward(_) => Kind::Forward,
            Datagram::Dropped => Kind::Dropped,
        }
    }

    /// traversal V2, T-10 to T-13: 256 first bytes before the bodies of each kind.
    #[test]
    fn the_first_byte_and_the_body_together_say_the_kind() {
        let quic = [0xab; 60];
        let mut version_negotiation = vec![0x80, 0, 0, 0, 0, 8];
        version_negotiation.extend_from_slice(&[0xcd; 30]);
        for first in 0..=u8::MAX {
            let put = |mut body: Vec<u8>| {
                body[0] = first;
                body
            };
            let plain = if first & 0x40 != 0 { Kind::Quic } else { Kind::Dropped };
            assert_eq!(kind(&put(quic.to_vec()), ALL, Dcid::Strange), plain, "quic {first:08b}");

            let expected = if first >> 5 == 0b011 { Kind::Forward } else { plain };
            assert_eq!(kind(&put(forwarded(b"quic")), ALL, Dcid::Strange), expected, "forward {first:08b}");
            let expected = if first & 0x40 != 0 { Kind::Quic } else { Kind::Dropped };
            assert_eq!(kind(&put(forwarded(b"quic")), ALL, Dcid::Known), expected, "spinning {first:08b}");

            let expected = if first & 0x80 != 0 { Kind::Quic } else { plain };
            assert_eq!(kind(&put(version_negotiation.clone()), ALL, Dcid::Strange), expected, "negotiation {first:08b}");

            // 0.5 and 0.7 of dquic share 0xc2; a response of 0.7 is 0xc3.
            let expected = match first {
                0xc2 | 0xc3 => Kind::Stun(Form::Dquic07),
                _ if first & 0xc0 != 0 => Kind::Quic,
                _ => Kind::Dropped,
            };
            assert_eq!(kind(&put(stun(Form::Dquic07)), ALL, Dcid::Strange), expected, "dquic 0.7 {first:08b}");

            let expected = if first & 0xc0 == 0 { Kind::Stun(Form::Rfc) } else { plain };
            assert_eq!(kind(&put(stun(Form::Rfc)), ALL, Dcid::Strange), expected, "standard {first:08b}");
        }
        assert_eq!(kind(&stun(Form::Dquic05), ALL, Dcid::Strange), Kind::Stun(Form::Dquic05));
        assert_eq!(kind(&[], ALL, Dcid::Strange), Kind::Dropped);
    }

    /// traversal V2, T-12: a spinning peer on a forwarding socket works.
    #[test]
    fn a_known_connection_id_wins_over_the_forward_mark() {
        let datagram = forwarded(b"quic");
        assert_eq!(kind(&datagram, ALL, Dcid::Known), Kind::Quic);
        assert_eq!(kind(&datagram, ALL, Dcid::Strange), Kind::Forward);
        assert_eq!(kind(&datagram, Listening { forward: Forward::Ignored, ..ALL }, Dcid::Strange), Kind::Quic);
    }

    /// traversal §2, RFC 9287: a greased packet of a known connection is QUIC even if it looks like STUN.
    #[test]
    fn a_greased_packet_is_quic_where_grease_was_negotiated() {
        let greased = Listening { fixed_bit: FixedBit::Greased, ..ALL };
        assert_eq!(kind(&[0x00; 40], greased, Dcid::Known), Kind::Quic);
        assert_eq!(kind(&[0x00; 40], ALL, Dcid::Strange), Kind::Dropped);
        assert_eq!(kind(&stun(Form::Rfc), greased, Dcid::Known), Kind::Quic);
        assert_eq!(kind(&stun(Form::Rfc), greased, Dcid::Strange), Kind::Stun(Form::Rfc));
    }

    /// traversal §2: forms nobody speaks here are not STUN.
    #[test]
    fn stun_is_recognized_only_in_the_forms_that_are_spoken() {
        for form in [Form::Dquic07, Form::Dquic05, Form::Rfc] {
            let listening = Listening { stun: Forms::NONE, ..ALL };
            assert_ne!(kind(&stun(form), listening, Dcid::Strange), Kind::Stun(form));
            let listening = Listening { stun: Forms::NONE.with(form), ..ALL };
            assert_eq!(kind(&stun(form), listening, Dcid::Strange), Kind::Stun(form));
        }
    }

    /// traversal T-11.
    #[test]
    fn what_only_begins_like_stun_is_left_to_quic() {
        for form in [Form::Dquic07, Form::Dquic05] {
            let whole = stun(form);
            for cut in 1..25 {
                assert_eq!(kind(&whole[..cut], ALL, Dcid::Strange), Kind::Quic, "{form:?} cut to {cut}");
            }
            for position in 1..9 {
                let mut other = whole.clone();
                other[position] ^= 1;
                assert_eq!(kind(&other, ALL, Dcid::Strange), Kind::Quic, "{form:?} changed at {position}");
            }
        }
        let whole = stun(Form::Rfc);
        for position in 2..8 {
            let mut other = whole.clone();
            other[position] ^= 1;
            assert_eq!(kind(&other, ALL, Dcid::Strange), Kind::Dropped, "changed at {position}");
        }
    }

    proptest! {
        /// attacks A1, G12: nothing panics, and a known id is never mistaken.
        #[test]
        fn any_bytes_have_a_kind(bytes in prop::collection::vec(any::<u8>(), 0..150), known: bool) {
            let kind = kind(&bytes, ALL, if known { Dcid::Known } else { Dcid::Strange });
            if known {
                prop_assert!(!matches!(kind, Kind::Forward | Kind::Stun(Form::Rfc)));
            }
        }
    }
}
