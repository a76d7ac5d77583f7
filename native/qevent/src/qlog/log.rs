//! The log of one connection: its header record, the records that wait to be read, and the packets that wait for their
//! socket's answer.
//!
//! Called by the connection for every event, by the endpoint to read. Decides how much waits: at most
//! [`limits::QLOG_BYTES`], then the oldest records go and are counted in the log itself (attacks R2). Times never run
//! backwards. Never does I/O.

use std::{collections::VecDeque, time::Duration};

use qbase::{ConnectionId, PathId, Role, Timestamp, limits};

use super::json::Json;

/// Record separator in front of every record (RFC 7464 §2.2).
const SEPARATOR: u8 = 0x1e;
/// Event schemas of the records; drafts carry their number.
const SCHEMAS: [&str; 2] = ["urn:ietf:params:qlog:events:quic-13", "urn:ietf:params:qlog:events:loglevel"];

/// What a burst is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BurstKind {
    /// Anything but the path MTU.
    Data,
    /// Path MTU discovery.
    MtuProbe,
}

/// A packet that was written and not yet taken by its socket.
#[derive(Debug)]
pub struct Written {
    /// Segment of the burst it lies in.
    pub segment: u16,
    /// Members of its `packet_sent` event.
    pub members: Vec<u8>,
}

/// The log of one connection.
#[derive(Debug)]
pub struct Qlog {
    odcid: ConnectionId,
    role: Role,
    /// Time 0 of the log.
    started: Timestamp,
    /// Time of the newest record.
    newest: Timestamp,
    /// The first record, until it is read.
    header: Option<Vec<u8>>,
    records: VecDeque<Vec<u8>>,
    /// Bytes in `records`.
    waiting: usize,
    /// Records dropped since the last read.
    untold: u64,
    /// Records dropped in all.
    dropped: u64,
    /// Packets of each path's open burst with the burst's checksums, one per segment.
    written: Vec<(PathId, Vec<Written>, Vec<u32>)>,
}

impl Qlog {
    /// A log with nothing but its header. `unix_at_zero` is the time since 1970 at [`Timestamp::ZERO`]; zero: unknown.
    #[must_use]
    pub fn new(role: Role, odcid: ConnectionId, started: Timestamp, title: &str, unix_at_zero: Duration) -> Self {
        let wall_clock = (!unix_at_zero.is_zero()).then(|| unix_at_zero.saturating_add(Duration::from_nanos(started.as_nanos())));
        Self {
            odcid,
            role,
            started,
            newest: started,
            header: Some(header(role, &odcid, title, wall_clock)),
            records: VecDeque::new(),
            waiting: 0,
            untold: 0,
            dropped: 0,
            written: Vec::new(),
        }
    }

    /// The id the log is named by: the destination of the client's first Initial packet.
    #[must_use]
    pub const fn odcid(&self) -> ConnectionId {
        self.odcid
    }

    /// Whose view it is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// When the newest record was made.
    #[must_use]
    pub const fn newest(&self) -> Timestamp {
        self.newest
    }

    /// Records that were dropped because nobody read them.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Nothing waits to be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.header.is_none() && self.records.is_empty() && self.untold == 0
    }

    /// Adds an event; `data` writes the members of its `data`. When too much waits, the oldest record goes.
    pub fn event(&mut self, at: Timestamp, path: Option<PathId>, name: &str, data: impl FnOnce(&mut Json)) {
        self.newest = self.newest.max(at);
        let record = self.record(path, name, data);
        self.waiting = self.waiting.saturating_add(record.len());
        self.records.push_back(record);
        while self.waiting > limits::QLOG_BYTES && self.records.len() > 1 {
            let oldest = self.records.pop_front().map_or(0, |record| record.len());
            self.waiting = self.waiting.saturating_sub(oldest);
            self.untold = self.untold.saturating_add(1);
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    fn record(&self, path: Option<PathId>, name: &str, data: impl FnOnce(&mut Json)) -> Vec<u8> {
        let mut json = Json::behind(&[SEPARATOR]);
        json.object(|json| {
            json.key("time").millis(self.newest.saturating_since(self.started));
            json.key("name").text(name);
            if let Some(path) = path {
                json.key("path_id").number(u64::from(path.0));
                // The handshake's tuple is the default one and has the empty name.
                if path != PathId::ZERO {
                    json.key("tuple").text(&path.0.to_string());
                }
            }
            json.key("data").object(data);
        });
        let mut record = json.into_bytes();
        record.push(b'\n');
        record
    }

    /// Moves waiting records to the end of `out`, whole ones, until it holds `most` bytes or more. The header comes first;
    /// where records were dropped, a warning stands in their place.
    pub fn poll(&mut self, out: &mut Vec<u8>, most: usize) {
        if let Some(header) = self.header.take() {
            out.extend_from_slice(&header);
        }
        if self.untold > 0 {
            let dropped = std::mem::take(&mut self.untold);
            let oldest = self.oldest_waiting();
            let at = std::mem::replace(&mut self.newest, oldest);
            let warning = self.record(None, "loglevel:warning", |json| {
                json.key("message").text("records were dropped here because the reader of the log was too slow");
                json.key("records").number(dropped);
            });
            self.newest = at;
            out.extend_from_slice(&warning);
        }
        while out.len() < most
            && let Some(record) = self.records.pop_front()
        {
            self.waiting = self.waiting.saturating_sub(record.len());
            out.extend_from_slice(&record);
        }
    }

    /// Time of the oldest record that waits, as it stands in its text.
    fn oldest_waiting(&self) -> Timestamp {
        let time = self.records.front().and_then(|record| {
            let text = std::str::from_utf8(record.get(1..)?).ok()?;
            let millis = text.strip_prefix("{\"time\":")?.split(',').next()?;
            millis.parse::<f64>().ok()
        });
        // Rounded down, so that the warning does not come after what follows it.
        time.map_or(self.newest, |millis| self.started + Duration::from_micros((millis * 1_000.0) as u64))
    }

    /// A new burst of `path` is about to be written: what an earlier one left goes.
    pub fn begin_burst(&mut self, path: PathId) {
        if let Some((_, packets, checksums)) = self.written.iter_mut().find(|(of, _, _)| *of == path) {
            packets.clear();
            checksums.clear();
        } else if self.written.len() < limits::OPEN_PATHS * 2 {
            self.written.push((path, Vec::new(), Vec::new()));
        }
    }

    /// A packet of the open burst of `path` was written.
    pub fn packet_written(&mut self, path: PathId, packet: Written) {
        if let Some((_, packets, _)) = self.written.iter_mut().find(|(of, _, _)| *of == path) {
            packets.push(packet);
        }
    }

    /// A segment of the open burst of `path` is complete.
    pub fn segment_written(&mut self, path: PathId, checksum: u32) {
        if let Some((_, _, checksums)) = self.written.iter_mut().find(|(of, _, _)| *of == path) {
            checksums.push(checksum);
        }
    }

    /// The socket took the first `segments` of the open burst of `path`; packets in the others were not sent.
    pub fn burst_sent(&mut self, at: Timestamp, path: PathId, segments: usize, kind: BurstKind) {
        let Some(index) = self.written.iter().position(|(of, _, _)| *of == path) else { return };
        // The path's place is made anew by its next burst.
        let (_, packets, checksums) = self.written.swap_remove(index);
        for packet in packets.into_iter().filter(|packet| usize::from(packet.segment) < segments) {
            let checksum = checksums.get(usize::from(packet.segment)).copied();
            self.event(at, Some(path), "quic:packet_sent", |json| {
                json.raw(&packet.members);
                if let Some(checksum) = checksum {
                    json.key("datagram_payload_checksum").number(u64::from(checksum));
                }
                if kind == BurstKind::MtuProbe {
                    json.key("is_mtu_probe_packet").flag(true);
                }
            });
        }
    }
}

/// The first record (main schema, QlogFileSeq).
fn header(role: Role, odcid: &ConnectionId, title: &str, wall_clock: Option<Duration>) -> Vec<u8> {
    let side = if role.is_client() { "client" } else { "server" };
    let mut json = Json::behind(&[SEPARATOR]);
    json.object(|json| {
        json.key("file_schema").text("urn:ietf:params:qlog:file:sequential");
        json.key("serialization_format").text("application/qlog+json-seq");
        json.key("title").text(title);
        json.key("trace").object(|json| {
            json.key("vantage_point").object(|json| {
                json.key("name").text(&format!("quicbraid {side}"));
                json.key("type").text(side);
            });
            json.key("common_fields").object(|json| {
                json.key("group_id").hex(odcid.as_bytes());
                json.key("time_format").text("relative_to_epoch");
                json.key("reference_time").object(|json| {
                    json.key("clock_type").text("monotonic");
                    json.key("epoch").text("unknown");
                    if let Some(since_1970) = wall_clock {
                        json.key("wall_clock_time").text(&rfc3339(since_1970));
                    }
                });
            });
            json.key("event_schemas").list(|json| SCHEMAS.iter().for_each(|schema| json.text(schema)));
        });
    });
    let mut record = json.into_bytes();
    record.push(b'\n');
    record
}

/// A time of day in UTC, by the civil calendar (RFC 3339 §5.6).
fn rfc3339(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March, so that the leap day is the last; eras of 400 years have 146,097 days.
    let shifted = days.saturating_add(719_468);
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let leaps = (of_era / 1_460).saturating_add(of_era / 146_096);
    let year_of_era = of_era.saturating_add(of_era / 36_524).saturating_sub(leaps) / 365;
    let before = (year_of_era.saturating_mul(365)).saturating_add(year_of_era / 4).saturating_sub(year_of_era / 100);
    let of_year = of_era.saturating_sub(before);
    let month_from_march = of_year.saturating_mul(5).saturating_add(2) / 153;
    let day = of_year.saturating_sub(month_from_march.saturating_mul(153).saturating_add(2) / 5).saturating_add(1);
    let month = if month_from_march < 10 { month_from_march.saturating_add(3) } else { month_from_march.saturating_sub(9) };
    let year = era.saturating_mul(400).saturating_add(year_of_era).saturating_add(u64::from(month <= 2));
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since_1970.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Qlog {
        let odcid = ConnectionId::new(&[0xab; 8]).expect("short");
        Qlog::new(Role::Client, odcid, Timestamp::from_millis(1_000), "a \"title\"", Duration::ZERO)
    }

    fn read(log: &mut Qlog) -> Vec<String> {
        let mut out = Vec::new();
        log.poll(&mut out, usize::MAX);
        let text = String::from_utf8(out).expect("UTF-8");
        text.split('\u{1e}').skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn first_record_is_the_header_and_comes_once() {
        let mut log = log();
        let records = read(&mut log);
        assert_eq!(records.len(), 1);
        let expected = concat!(
            r#"{"file_schema":"urn:ietf:params:qlog:file:sequential","serialization_format":"application/qlog+json-seq","title":"a \"title\"","#,
            r#""trace":{"vantage_point":{"name":"quicbraid client","type":"client"},"common_fields":{"group_id":"abababababababab","#,
            r#""time_format":"relative_to_epoch","reference_time":{"clock_type":"monotonic","epoch":"unknown"}},"#,
            r#""event_schemas":["urn:ietf:params:qlog:events:quic-13","urn:ietf:params:qlog:events:loglevel"]}}"#,
            "\n"
        );
        assert_eq!(records[0], expected);
        assert!(log.is_empty() && read(&mut log).is_empty());
    }

    #[test]
    fn events_have_times_since_the_start_that_never_run_backwards() {
        let mut log = log();
        let path = Some(PathId(1));
        log.event(Timestamp::from_millis(1_002), path, "quic:mtu_updated", |json| json.key("new").number(1_400));
        log.event(Timestamp::from_millis(1_001), None, "quic:x", |_| {});
        let records = read(&mut log);
        assert_eq!(records[1], "{\"time\":2,\"name\":\"quic:mtu_updated\",\"path_id\":1,\"tuple\":\"1\",\"data\":{\"new\":1400}}\n");
        assert_eq!(records[2], "{\"time\":2,\"name\":\"quic:x\",\"data\":{}}\n");
    }

    /// attacks R2: a reader that is too slow loses the oldest records, and the log says so.
    #[test]
    fn a_full_log_drops_its_oldest_records_and_counts_them() {
        let mut log = log();
        let text = "x".repeat(1_000);
        let mut events = 0_u64;
        let mut add = |log: &mut Qlog| {
            log.event(Timestamp::from_millis(2_000 + events), None, "quic:x", |json| json.key("text").text(&text));
            events += 1;
        };
        add(&mut log);
        let one = log.waiting;
        for _ in 1..limits::QLOG_BYTES / (one + 5) {
            add(&mut log);
        }
        assert_eq!(log.dropped(), 0, "there is room");
        while log.dropped() == 0 {
            assert!(log.waiting <= limits::QLOG_BYTES);
            add(&mut log);
        }
        assert!(log.waiting <= limits::QLOG_BYTES, "one past the limit");
        let records = read(&mut log);
        assert!(records[1].starts_with(r#"{"time":1001,"name":"loglevel:warning""#) && records[1].contains(r#""records":1"#), "{}", records[1]);
        assert!(records[2].starts_with(r#"{"time":1001,"#), "{}", records[2]);
        assert_eq!(log.waiting, 0);
        assert_eq!(read(&mut log).len(), 0, "the loss is told once");
    }

    #[test]
    fn reading_in_pieces_keeps_records_whole() {
        let mut log = log();
        for at in 0..10 {
            log.event(Timestamp::from_millis(2_000 + at), None, "quic:x", |_| {});
        }
        let mut pieces = Vec::new();
        while !log.is_empty() {
            let mut piece = Vec::new();
            log.poll(&mut piece, 100);
            assert!(piece.starts_with(&[SEPARATOR]) && piece.ends_with(b"\n"));
            pieces.push(piece);
        }
        assert!(pieces.len() > 3);
    }

    #[test]
    fn packets_are_sent_when_the_socket_took_their_segment() {
        let mut log = log();
        let path = PathId(2);
        let write = |log: &mut Qlog, segment, members: &[u8]| log.packet_written(path, Written { segment, members: members.to_vec() });
        log.begin_burst(path);
        write(&mut log, 0, br#""n":0"#);
        log.begin_burst(path);
        for segment in 0..3 {
            write(&mut log, segment, br#""n":1"#);
            log.segment_written(path, 7 + u32::from(segment));
        }
        log.burst_sent(Timestamp::from_millis(1_000), path, 2, BurstKind::Data);
        log.burst_sent(Timestamp::from_millis(1_000), path, 3, BurstKind::Data);
        let records = read(&mut log);
        assert_eq!(records.len(), 3, "the header and two packets");
        assert!(records[1].ends_with("\"data\":{\"n\":1,\"datagram_payload_checksum\":7}}\n"), "{}", records[1]);
        assert!(records[2].contains(":8}}"), "{}", records[2]);
    }

    #[test]
    fn times_of_day_follow_the_calendar() {
        let cases = [(0, "1970-01-01T00:00:00.000Z"), (951_782_400, "2000-02-29T00:00:00.000Z"), (1_735_689_599, "2024-12-31T23:59:59.000Z"), (4_107_542_400, "2100-03-01T00:00:00.000Z")];
        for (seconds, text) in cases {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), text);
        }
        let odcid = ConnectionId::new(&[1]).expect("short");
        let mut log = Qlog::new(Role::Server, odcid, Timestamp::from_millis(1_500), "t", Duration::from_secs(10));
        assert!(read(&mut log)[0].contains(r#""wall_clock_time":"1970-01-01T00:00:11.500Z""#));
    }
}
