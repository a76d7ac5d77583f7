//! Bounds on everything a peer can make grow, and the protocol's defaults: one registry (attacks table "Bounds", R2).
//!
//! A container that a peer feeds and that has no constant here is a bug.

use std::time::Duration;

/// L2: half-open connections before new ones must prove their address.
pub const HALF_OPEN_BEFORE_RETRY: usize = 64;
/// L2: half-open connections at most; beyond, Initials are dropped.
pub const HALF_OPEN_MAX: usize = 1_024;
/// Pings of the application that wait for an answer per connection.
pub const PINGS_WAITING: usize = 64;
/// L2: datagrams kept of an attempt that waits for the application's word.
pub const ATTEMPT_DATAGRAMS: usize = 8;
/// L2: bytes kept of all attempts that wait.
pub const ATTEMPT_BYTES: usize = 4 * 1_024 * 1_024;
/// L2: an attempt that the application does not decide for so long is refused.
pub const ATTEMPT_PATIENCE: Duration = Duration::from_secs(5);
/// L2: verdicts remembered for what clients repeat; the oldest goes first.
pub const ATTEMPTS_DECIDED: usize = 1_024;
/// L26: refusals and Retries of an endpoint that wait for its application; newer ones are not told.
pub const ENDPOINT_NEWS: usize = 256;
/// L3: packets kept per connection until their keys exist.
pub const UNDECRYPTABLE_PACKETS: usize = 16;
/// L3: bytes of those packets.
pub const UNDECRYPTABLE_BYTES: usize = 24 * 1_024;
/// Flights that a server repeats before its PTO because the client asks again, on one connection (RFC 9002 §6.2.3).
pub const HURRIED_FLIGHTS: u8 = 4;
/// L4: CRYPTO bytes buffered beyond the read offset in the Initial space.
pub const CRYPTO_BUFFER_INITIAL: u64 = 16 * 1_024;
/// L4: CRYPTO bytes buffered beyond the read offset in the other spaces.
pub const CRYPTO_BUFFER: u64 = 64 * 1_024;
/// L4: gaps in one CRYPTO stream.
pub const CRYPTO_GAPS: usize = 64;
/// L5: received packet-number ranges kept per application space.
pub const ACK_RANGES: usize = 64;
/// L5: received packet-number ranges kept where all paths share one application space: packets of slower paths leave holes
/// (multipath MP-103).
pub const ACK_RANGES_SHARED: usize = 512;
/// Packets whose own acknowledgement may still give an RTT sample, kept per path where all paths share one application space
/// (multipath MP-105).
pub const UNMEASURED_PACKETS: usize = 512;
/// L5: received packet-number ranges kept in the Initial and Handshake spaces.
pub const ACK_RANGES_HANDSHAKE: usize = 16;
/// L6: gaps in one receive stream, before the share for bytes held.
pub const STREAM_GAPS: usize = 512;
/// L6: gaps over all receive streams of a connection, before the share for bytes held.
pub const CONNECTION_GAPS: usize = 4_096;
/// L6: one more gap is allowed for this many bytes held.
pub const BYTES_PER_GAP: u64 = 512;
/// L8: PATH_RESPONSE frames waiting per path.
pub const PATH_RESPONSES_PER_PATH: usize = 4;
/// L8: PATH_RESPONSE frames waiting per connection.
pub const PATH_RESPONSES: usize = 16;
/// L9: connection ids of the peer kept per path id; our `active_connection_id_limit`.
pub const REMOTE_CIDS_PER_PATH: u64 = 4;
/// L10: RETIRE_CONNECTION_ID frames waiting per path id.
pub const RETIRE_CIDS_PER_PATH: usize = 12;
/// L11: paths open or opening at once.
pub const OPEN_PATHS: usize = 8;
/// L12: unvalidated network paths per path id: the one in use and one candidate.
pub const NETWORK_PATHS_PER_PATH: usize = 2;
/// L13: records of ACK-only packets kept per space.
pub const ACK_ONLY_RECORDS: usize = 32;
/// L14: DATAGRAM frames queued each way.
pub const DATAGRAMS_QUEUED: usize = 64;
/// L14: bytes of DATAGRAM frames queued each way.
pub const DATAGRAM_BYTES_QUEUED: usize = 64 * 1_024;
/// L15: control frames that may wait per connection as long as either end has no more than its default number of
/// streams. None is queued: they follow from state.
pub const CONTROL_FRAMES: usize = 1_024;
/// L16: streams of each kind the peer may have open at once.
pub const PEER_STREAMS: u64 = 100;
/// L1: datagrams waiting for their connection per endpoint.
pub const WAITING_DATAGRAMS: usize = 1_024;
/// L18: tokens that wait for a client's application; the newest are kept.
pub const TOKENS_WAITING: usize = 4;
/// L19: used tokens remembered per kind and time bucket, of which there are two.
pub const USED_TOKENS: usize = 128 * 1_024;
/// L1: bytes of those datagrams.
pub const WAITING_BYTES: usize = 1_536 * 1_024;
/// L18: server names for which a client keeps tickets; the name used longest ago goes first.
pub const SESSION_NAMES: usize = 256;
/// L18: tickets a client keeps per name; the oldest goes first.
pub const TICKETS_PER_NAME: usize = 4;
/// L18: longest NewSessionTicket message a client keeps, bytes; longer ones are ignored.
pub const TICKET_MESSAGE: usize = 4 * 1_024;
/// Tickets a server can redeem; the oldest goes first, and its client makes a full handshake.
pub const SERVER_TICKETS: usize = 16 * 1_024;
/// Bytes of what a server keeps for them.
pub const SERVER_TICKET_BYTES: usize = 8 * 1_024 * 1_024;
/// Tickets a server gives with each handshake.
pub const TICKETS_GIVEN: usize = 2;
/// L20: unsolicited answers of each kind (Version Negotiation, stateless reset, close) per second and endpoint.
pub const STATELESS_ANSWERS_PER_SECOND: u32 = 100;
/// L20: of those, per second and remote address.
pub const STATELESS_ANSWERS_PER_ADDRESS: u32 = 5;
/// L1: answers without a connection that wait for the socket.
pub const ANSWERS_WAITING: usize = 1_024;
/// L26: events that wait for the application per connection before reading pauses.
pub const EVENTS_WAITING: usize = 1_024;
/// R2: bytes of qlog records that wait for their reader per connection; then the oldest go.
pub const QLOG_BYTES: usize = 1 << 20;
/// R2: logs of ended connections that wait for their reader per endpoint; then the oldest go.
pub const QLOG_ENDED: usize = 64;
/// D13: useless empty STREAM frames in a row before the connection is closed.
pub const USELESS_STREAM_FRAMES: u32 = 1_000;

/// Smallest UDP payload that carries an Initial packet (RFC 9000 §14.1).
pub const MIN_INITIAL: usize = 1_200;
/// Largest UDP payload that path MTU discovery tries unless told otherwise: Ethernet and IPv6 (RFC 9000 §14).
pub const MAX_MTU: u16 = 1_452;
/// Largest UDP payload that is tried within a host, whose own interface carries 64 KiB. Four of them are a burst that the kernel
/// takes whole from socket to socket: with its headers (14, 40 and 8 bytes) it stays below what Linux allows a train, 65,536 bytes.
pub const LOOPBACK_MTU: u16 = 16_352;
/// Bytes sent per byte received before an address is validated (RFC 9000 §8.1).
pub const AMPLIFICATION: u64 = 3;
/// Packet number, frames and AEAD tag of every packet: enough to sample (burst §1).
pub const MIN_SAMPLE: usize = 20;
/// Length of the AEAD tag, bytes (RFC 9001 §5.3).
pub const TAG_LEN: usize = 16;
/// Segments of one burst at most.
pub const MAX_SEGMENTS: usize = 64;
/// Datagrams that are no QUIC and wait for a program that is slow to read them; beyond, the oldest go (attacks L26).
pub const RAW_DATAGRAMS: usize = 1_024;
/// Their bytes.
pub const RAW_BYTES: usize = 1_024 * 1_024;
/// Bytes of one burst at most: an IPv4 datagram's payload.
pub const MAX_BURST_BYTES: usize = 65_507;

/// Relays that may know an endpoint's sockets, counted by pair (attacks R2).
pub const RELAYS: usize = 32;
/// Ways through relays that an endpoint remembers (attacks R2).
pub const PATHWAYS: usize = 4_096;

/// Addresses that one token of a NEW_TOKEN frame proves (multipath MP-29).
pub const TOKEN_ADDRESSES: usize = 4;

/// Longest token a client repeats: its Initial packets must keep room for the handshake.
pub const TOKEN_LEN: usize = 512;
/// A Retry's token is accepted for so long: clients bring it back at once (RFC 9000 §8.1.4).
pub const RETRY_TOKEN_LIFETIME: Duration = Duration::from_secs(15);
/// A NEW_TOKEN's token is accepted for so long.
pub const NEW_TOKEN_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Tokens may come from a machine whose time of day is ahead by so much (attacks J12).
pub const TOKEN_CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// Datagrams of a client's first flight that are kept for further address pairs.
pub const FIRST_FLIGHT: usize = 8;
/// Address pairs that a client's handshake tries; others wait for it to be confirmed.
pub const HANDSHAKE_CANDIDATES: usize = 4;
/// Addresses that a server knows of one client before it proved one of them (multipath MP-96).
pub const HANDSHAKE_ADDRESSES: usize = 8;
/// Steps of a handshake over several address pairs that are told (multipath MP-97).
pub const HANDSHAKE_STEPS: usize = 64;

/// Bursts in flight whose state a rate sampler remembers, per path (attacks R2): more give no samples.
pub const RATE_SNAPSHOTS: usize = 4_096;
/// Time between the starts of two address pairs of one handshake (multipath MP-88).
pub const STAGGER: Duration = Duration::from_millis(150);
/// Idle timeout we offer.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a handshake to complete.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// RTT before the first sample (RFC 9002 §6.2.2).
pub const INITIAL_RTT: Duration = Duration::from_millis(333);
/// Longest we delay an ACK (RFC 9000 §18.2).
pub const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// Least delay of ACKs that a peer may ask for: finer timers are not kept (draft-ietf-quic-ack-frequency §3).
pub const MIN_ACK_DELAY: Duration = Duration::from_millis(1);
/// Packets out of order after which an ACK goes out whatever the peer asked for: far below [`ACK_RANGES`], so that each is
/// told at least once.
pub const OUT_OF_ORDER_BEFORE_ACK: u8 = 16;
/// IMMEDIATE_ACK frames in a row that are obeyed (attacks C12).
pub const IMMEDIATE_ACKS: u8 = 8;
/// Exponent of our ACK Delay fields (RFC 9000 §18.2).
pub const ACK_DELAY_EXPONENT: u8 = 3;
/// L28: accepted connections of an endpoint at once, unless options say otherwise; more are refused.
pub const CONNECTIONS: usize = 100_000;
/// L28: of those, from one IPv4 address or one IPv6 network of 64 bits.
pub const CONNECTIONS_PER_ADDRESS: usize = 1_000;
/// Length of the connection ids we issue where nothing else is said, bytes.
pub const LOCAL_CID_LEN: usize = 8;
/// First receive window of a stream, bytes.
pub const STREAM_WINDOW: u64 = 256 * 1_024;
/// Receive window of a stream at most, bytes.
pub const MAX_STREAM_WINDOW: u64 = 8 * 1_024 * 1_024;
/// First receive window of a connection, bytes.
pub const CONNECTION_WINDOW: u64 = 512 * 1_024;
/// Receive window of a connection at most, bytes.
pub const MAX_CONNECTION_WINDOW: u64 = 16 * 1_024 * 1_024;
/// Largest DATAGRAM frame we take: whatever fits into a packet (RFC 9221 §3).
pub const MAX_DATAGRAM_FRAME: u64 = 65_535;
/// `initial_max_path_id` we offer: eight path ids.
pub const INITIAL_MAX_PATH_ID: u32 = 7;

/// L21: addresses of a peer kept per connection for traversal (traversal T-67).
pub const TRAVERSAL_ADDRESSES: usize = 16;
/// L21: new ones taken per [`TRAVERSAL_WINDOW`].
pub const TRAVERSAL_NEW_ADDRESSES: usize = 20;
/// L22: punch rounds per [`TRAVERSAL_WINDOW`].
pub const PUNCH_ROUNDS: usize = 5;
/// L22: probes of one round.
pub const PROBES_PER_ROUND: usize = 16;
/// L22: bytes of those probes.
pub const PROBE_BYTES_PER_ROUND: usize = 19_200;
/// Punches running at once per connection (traversal T-67).
pub const PUNCHES_RUNNING: usize = 8;
/// Over this time new addresses, rounds and probe volumes are counted.
pub const TRAVERSAL_WINDOW: Duration = Duration::from_secs(60);
/// L22: probes to one IP address per [`TRAVERSAL_WINDOW`] and budget: five rounds of sixteen.
pub const PROBES_PER_ADDRESS: usize = 80;
/// Probes to one IP address per [`TRAVERSAL_WINDOW`] and budget where port searches are allowed (traversal T-97).
pub const SEARCH_PROBES_PER_ADDRESS: usize = 1_000;
/// Ports of one IP address that are tried per [`TRAVERSAL_WINDOW`] and budget where port searches are not allowed (attacks G3).
pub const PORTS_PER_ADDRESS: usize = 2;
/// Datagrams to one address in one round (attacks G1).
pub const PROBES_PER_TARGET: u8 = 5;
/// IP addresses whose probes a budget counts at once; to others nothing is sent.
pub const PROBED_ADDRESSES: usize = 256;
/// Port searches that wait for a lease of one budget.
pub const SEARCHES_WAITING: usize = 64;
/// Sockets of all port searches on one device and family at once (traversal T-94).
pub const SEARCH_SOCKETS_PER_DEVICE: usize = 300;
/// Ports of all port searches on one device and family, those of the last 60 s included (traversal T-94).
pub const SEARCH_PORTS_PER_DEVICE: usize = 1_000;
/// Sockets of all port searches of one budget (traversal T-94).
pub const SEARCH_SOCKETS: usize = 600;
/// Ports of all port searches of one budget, those of the last 60 s included (traversal T-94).
pub const SEARCH_PORTS: usize = 2_000;
/// Sockets of one port search that are open at once (traversal T-91).
pub const SEARCH_SOCKETS_OPEN: usize = 60;
/// Removed addresses of a peer whose numbers are remembered one by one; older ones are all taken for removed (attacks G4).
pub const TRAVERSAL_GONE: usize = 64;
/// Endpoints of a peer (direct and behind relays) that paths are opened to.
pub const TRAVERSAL_ENDPOINTS: usize = 16;
/// Punches that are over and remembered.
pub const PUNCH_HISTORY: usize = 256;
/// Links on which PUNCH_DONE is repeated at once (traversal T-87).
pub const PUNCH_ECHOES: usize = 8;
/// Traversal frames of early data kept until the handshake is complete (attacks B19).
pub const TRAVERSAL_EARLY_FRAMES: usize = 32;
/// Traversal frames and the application's wishes that wait for a connection's turn.
pub const TRAVERSAL_INPUTS: usize = 512;
/// Reliable traversal frames that wait to be sent or acknowledged, per connection.
pub const TRAVERSAL_FRAMES: usize = 128;
/// Bound sockets of a connection that punches may start from.
pub const TRAVERSAL_BINDS: usize = 64;
/// Probes that wait for their sockets, per connection.
pub const PROBES_WAITING: usize = 128;
/// Ways through both NATs that a connection remembers.
pub const HOLES: usize = 16;
/// Steps of one punch strategy that wait to be done.
pub const PUNCH_STEPS: usize = 32;
/// L27: longest forward header, bytes: IPv6, agent to agent.
pub const FORWARD_HEADER: usize = 74;
/// Networks and addresses in one list of a probe policy.
pub const POLICY_ENTRIES: usize = 64;

/// Sockets of one STUN server: two IPs and two ports (RFC 5780 §6), of both families.
pub const STUN_SOCKETS: usize = 8;
/// Neighbours of one STUN server.
pub const STUN_NEIGHBOURS: usize = 16;
/// Buckets over which the sources of a STUN server are spread; those that share one share its rate.
pub const STUN_SOURCES: usize = 8_192;
/// Requests answered per second and source.
pub const STUN_PER_SOURCE: u64 = 20;
/// Requests of a source answered at once.
pub const STUN_BURST_PER_SOURCE: u64 = 60;
/// Requests answered per second in all.
pub const STUN_PER_SECOND: u64 = 20_000;

/// Clients registered with one relay (attacks G11).
pub const RELAY_REGISTRATIONS: usize = 16_384;
/// Outer addresses that a client of a relay had before, and is still reached by (attacks R2).
pub const RELAY_FORMER_NAMES: usize = 4;
/// Own addresses of one relay.
pub const RELAY_ADDRESSES: usize = 16;
/// A relay forwards to a client for so long after its last keep-alive (traversal T-33).
pub const RELAY_KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Longest datagram a relay forwards, bytes with its header (traversal T-33).
pub const RELAY_DATAGRAM: usize = 1_500;
/// Time to live of forwarded datagrams (traversal T-32).
pub const RELAY_HOP_LIMIT: u8 = 64;
/// Datagrams that wait in an endpoint to be sent on, where it is asked for them one by one (attacks R2).
pub const RELAY_WAITING: usize = 1_024;
/// Buckets over which sources, and as many over which destinations of a relay are spread.
pub const RELAY_BUCKETS: usize = 16_384;
/// Bytes per second that a relay takes from one source, and as many that it sends to one destination, unless told otherwise.
pub const RELAY_BYTES_PER_SECOND: u64 = 12_500_000;
/// Bytes of one source or to one destination at once.
pub const RELAY_BURST_BYTES: u64 = 4 * 1_024 * 1_024;
/// Raw observations kept of one NAT detection.
pub const NAT_OBSERVATIONS: usize = 64;
/// Questions of the application to STUN servers that wait for an answer at once (attacks R2).
pub const NAT_ASKS: usize = 64;
/// The same for sockets of punches.
pub const PUNCH_ASKS: usize = 64;
/// STUN servers that one question goes to, one after the other.
pub const NAT_SERVERS: usize = 4;
/// Mappings that one endpoint keeps open.
pub const NAT_KEEPERS: usize = 64;
/// NAT detections of one endpoint at once.
pub const NAT_DETECTIONS: usize = 8;
/// News about NATs that wait for the application; beyond, the oldest go (attacks L26).
pub const NAT_NEWS: usize = 1_024;
/// Temporary sockets of one endpoint: those of all port searches (traversal T-94), of detections, and some for other punches.
pub const TEMPORARY_SOCKETS: usize = SEARCH_SOCKETS + 100;
