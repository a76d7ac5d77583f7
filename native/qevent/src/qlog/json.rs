//! JSON text, written forwards into one buffer (RFC 8259): no tree, no maps, no copies of names.
//!
//! Called by the qlog events. Decides escaping and how numbers that JavaScript cannot hold are written. Never checks that
//! keys are distinct.

use std::time::Duration;

/// Largest integer that every JSON reader takes exactly (RFC 7493 §2.2).
const EXACT: u64 = (1 << 53) - 1;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// A JSON text under construction.
#[derive(Debug, Default)]
pub struct Json {
    out: Vec<u8>,
    /// A value was written at this level: the next one needs a comma.
    follows: bool,
}

impl Json {
    /// An empty text behind `prefix`.
    #[must_use]
    pub fn behind(prefix: &[u8]) -> Self {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(prefix);
        Self { out, follows: false }
    }

    /// The bytes written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// `{` … `}` around what `members` writes.
    pub fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.around(b'{', b'}', members);
    }

    /// `[` … `]` around what `items` writes.
    pub fn list(&mut self, items: impl FnOnce(&mut Self)) {
        self.around(b'[', b']', items);
    }

    fn around(&mut self, open: u8, close: u8, inside: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.push(open);
        self.follows = false;
        inside(self);
        self.out.push(close);
        self.follows = true;
    }

    /// The name of the next value.
    pub fn key(&mut self, name: &str) -> &mut Self {
        self.separate();
        self.quote(name);
        self.out.push(b':');
        self.follows = false;
        self
    }

    /// A string.
    pub fn text(&mut self, value: &str) {
        self.separate();
        self.quote(value);
    }

    /// An integer; a string where JSON readers would round it (qlog main schema, JSON interoperability).
    pub fn number(&mut self, value: u64) {
        self.separate();
        let quotes = value > EXACT;
        if quotes {
            self.out.push(b'"');
        }
        self.digits(value, 1);
        if quotes {
            self.out.push(b'"');
        }
    }

    /// `true` or `false`.
    #[expect(clippy::fn_params_excessive_bools, reason = "it is the JSON value itself")]
    pub fn flag(&mut self, value: bool) {
        self.separate();
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Bytes as lower-case hexadecimal.
    pub fn hex(&mut self, bytes: &[u8]) {
        self.separate();
        self.out.push(b'"');
        for byte in bytes {
            for half in [byte >> 4, byte & 15] {
                self.out.push(HEX.get(usize::from(half)).copied().unwrap_or(b'0'));
            }
        }
        self.out.push(b'"');
    }

    /// Milliseconds with six decimals at most.
    pub fn millis(&mut self, time: Duration) {
        self.separate();
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.digits(nanos / 1_000_000, 1);
        let rest = nanos % 1_000_000;
        if rest > 0 {
            self.out.push(b'.');
            self.digits(rest, 6);
            while self.out.last() == Some(&b'0') {
                self.out.pop();
            }
        }
    }

    /// JSON that is already written.
    pub fn raw(&mut self, json: &[u8]) {
        self.separate();
        self.out.extend_from_slice(json);
    }

    fn separate(&mut self) {
        if self.follows {
            self.out.push(b',');
        }
        self.follows = true;
    }

    /// Decimal digits, at least `least` of them, at most 20.
    fn digits(&mut self, mut value: u64, least: usize) {
        let mut digits = [b'0'; 20];
        let mut used = 0_usize;
        for slot in digits.iter_mut().rev() {
            if value == 0 && used >= least {
                break;
            }
            *slot = b'0' | (value % 10) as u8;
            value /= 10;
            used = used.saturating_add(1);
        }
        self.out.extend_from_slice(digits.get(20_usize.saturating_sub(used)..).unwrap_or_default());
    }

    fn quote(&mut self, text: &str) {
        self.out.push(b'"');
        for &byte in text.as_bytes() {
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                0..0x20 | 0x7f => {
                    self.out.extend_from_slice(b"\\u00");
                    for half in [byte >> 4, byte & 15] {
                        self.out.push(HEX.get(usize::from(half)).copied().unwrap_or(b'0'));
                    }
                }
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::default();
        write(&mut json);
        String::from_utf8(json.into_bytes()).expect("UTF-8")
    }

    #[test]
    fn nested_values_are_separated_where_needed() {
        let text = written(|json| {
            json.object(|json| {
                json.key("a").number(1);
                json.key("b").list(|json| {
                    json.object(|_| {});
                    json.list(|json| json.flag(true));
                    json.text("x");
                });
                json.key("c").flag(false);
            });
            json.object(|_| {});
        });
        assert_eq!(text, r#"{"a":1,"b":[{},[true],"x"],"c":false},{}"#);
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(written(|json| json.text("a\"\\\n\u{1}\u{7f}é\u{2028}")), "\"a\\\"\\\\\\n\\u0001\\u007fé\u{2028}\"");
        assert_eq!(written(|json| json.key("\"").hex(&[0, 0xab, 15])), r#""\"":"00ab0f""#);
    }

    #[test]
    fn numbers_keep_all_their_digits() {
        for value in [0, 7, 10, 1_234_567_890, EXACT] {
            assert_eq!(written(|json| json.number(value)), value.to_string());
        }
        assert_eq!(written(|json| json.number(EXACT + 1)), "\"9007199254740992\"", "JavaScript would round it");
        assert_eq!(written(|json| json.number(u64::MAX)), "\"18446744073709551615\"");
    }

    #[test]
    fn times_are_milliseconds_with_fractions() {
        let cases = [(0, "0"), (1, "0.000001"), (1_500_000, "1.5"), (20_000_000, "20"), (12_345_678_901, "12345.678901"), (1_000_010, "1.00001")];
        for (nanos, text) in cases {
            assert_eq!(written(|json| json.millis(Duration::from_nanos(nanos))), text);
        }
    }
}
