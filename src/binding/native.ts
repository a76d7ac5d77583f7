/**
 * The N-API contract: every function of the native module and the layout of the records and commands that cross.
 * `messages.ts` has the JSON of what is rare, `numbers.ts` the order of statistics,
 * `docs/design/ring/design.md` why it has this shape.
 *
 * The Rust side (`native/binding`) implements these three files; only `src/binding` calls the module.
 * They decide nothing: no defaults, no checking of options.
 */

/** Number of this contract. The loader refuses a module that answers another one. */
export const CONTRACT = 1

// Records and commands: one layout of 8 words of 32 bits (32 bytes), in the byte order of the machine.
//
//   word 0     kind (bits 0-7) | flags (bits 8-31)
//   word 1     connection key; 0 = the endpoint itself
//   word 2     length in bytes of this record's payload; payloads lie back to back in the staging buffer (or arena)
//              in the order of the records, without padding, the first at offset 0
//   word 3     c: a small number
//   words 4-5  a: one float64 (stream id, path id), an integer below 2^53
//   words 6-7  b: one float64 (an integer below 2^53), or for error codes one uint64, low word first

export const RECORD_WORDS = 8

/** Native to JavaScript: kinds that `drain` writes. */
export const Record = {
  /** a = stream; payload = next bytes in order (may be 0 with `FIN` or `OPENED`); flags: `DataFlag`. */
  DATA: 1,
  /** a = stream; b = bytes of it that have left the send queue (cumulative); c = how many of those are not yet acknowledged. Every >= 1/2 of `sendBufferBytes`. */
  WRITABLE: 2,
  /** a = stream; all its bytes and FIN are acknowledged. Last record of the sending part. */
  FINISHED: 3,
  /** a = stream; b = uint64 code; the peer sent STOP_SENDING (the engine answers with RESET_STREAM by itself). Last record of the sending part. */
  STOPPED: 4,
  /** a = stream; b = uint64 code; the peer sent RESET_STREAM; flags may hold `OPENED`. Last record of the receiving part. */
  RESET: 5,
  /** c = direction (0 bidirectional, 1 unidirectional); b = number of streams we may have opened in all (MAX_STREAMS). */
  STREAMS: 6,
  /** b = bytes of all streams of this connection that have left the send queues (cumulative). Every >= 1/4 of `connectionSendBufferBytes`. */
  CONNECTION_WRITABLE: 7,
  /** payload = one message of the peer (RFC 9221); flags: `DataFlag.EARLY` if it came in 0-RTT. */
  DATAGRAM: 8,
  /** a = number of a message of ours; c = its fate: 0 acknowledged, 1 lost, 2 never sent; b = path that carried it + 1, 0 = none; only while `Trace.DATAGRAMS` is set. */
  DATAGRAM_FATE: 9,
  /** b = messages of ours that have left the queue (cumulative); c = bytes a message may have now, 0 = the peer takes none. When the size changes; and every half window while a window of messages has not been told to have left. */
  DATAGRAM_ROOM: 10,
  /** payload = `remote`, a line feed, `local`, a line feed, one datagram that is no QUIC; c = bytes before the datagram; b = ms on the endpoint's clock, with a fraction. Connection 0; only after the order `raw`. */
  RAW: 11,
  /** a = splice; c = `SpliceNews`; b = with `STARTED` its number. Connection 0. */
  SPLICE: 12,
  /** payload = UTF-8 JSON, one `NativeEvent`. */
  EVENT: 16,
  /** payload = UTF-8 JSON, one `BurstRecord | BlockedRecord`; only while `Trace.BURSTS` is set. */
  TRACE: 17,
  /** payload = UTF-8 JSON, one `NativeAcks`; only while `Trace.ACKS` is set. */
  ACKS: 18,
  /** payload = one key log line in UTF-8 without line end; only with the endpoint option `keylog`. */
  KEYLOG: 19,
  /** payload = name of a qlog, a line feed, whole JSON-SEQ records; c = 1: the last of this log. Only with the endpoint option `qlog`; the connection may be 0. */
  QLOG: 20,
} as const

export const DataFlag = {
  /** The bytes end the stream. Last record of the receiving part. */
  FIN: 1,
  /** First record of a stream that the peer opened. Of one direction they come in the order of their ids, none left out. */
  OPENED: 2,
  /** With `OPENED`: its first bytes came in 0-RTT and may be a replay. Of a message: all of it. */
  EARLY: 4,
} as const

/** JavaScript to native: kinds that `flush` takes. */
export const Command = {
  /** a = stream; the next stream of its direction (ids without gaps, within `STREAMS`). c = urgency | incremental << 8 | told << 9. `told`: the first acknowledgement of its bytes comes as WRITABLE (feature `acknowledged`). Comes before any other command for it. */
  OPEN: 1,
  /** a = stream; payload = bytes to send (0 with `FIN` alone); flags: `WriteFlag`. */
  WRITE: 2,
  /** a = stream; b = uint64 code: RESET_STREAM. Nothing after the end of the part. */
  RESET: 3,
  /** a = stream; b = uint64 code: STOP_SENDING. Its bytes no longer cross. */
  STOP: 4,
  /** a = stream; b = bytes the consumer took (cumulative): opens the flow-control window and the `AHEAD_BYTES` window. */
  CONSUMED: 5,
  /** a = stream; JavaScript has let go of it: no further record, no further command; what was handed over counts as consumed (mux R40, R43). */
  RELEASE: 6,
  /** a = stream; c = urgency | incremental << 8. Only with feature `priority`. */
  PRIORITY: 7,
  /** a = number of the message (1, 2, ... on each connection); payload = its bytes, in the arena; c = path + 1, 0 = any; b = ms after which it is given up if it has not left, 0 = never. */
  DATAGRAM: 8,
  /** a = stream; c = path + 1, 0 = free: keeps its bytes on a path while that lives. Feature `pins`. */
  PIN: 9,
  /** Connection 0. payload = `remote`, a line feed, `local` or nothing, a line feed, the bytes of one datagram, in the arena; c = time to live, 0 = the system's. Feature `raw`. */
  RAW: 10,
} as const

export const WriteFlag = {
  /** The bytes end the stream. */
  FIN: 1,
  /** The payload is `tail` of this `flush` call, not the arena. Only on the last command of a call. */
  TAIL: 2,
} as const

/** What SPLICE tells. */
export const SpliceNews = {
  /** The engine moves the bytes; b = bytes of the stream that crossed before. Unless CONSUMED has told all of them, none go to TCP before `spliceGo` has given back what was not used. */
  STARTED: 1,
  /** TCP's FIN was passed on to the stream. */
  INWARD_ENDED: 2,
  /** The stream's end was passed on to TCP, which took everything before. */
  OUTWARD_ENDED: 3,
  /** TCP is broken, or was reset; nothing moves any more. */
  FAILED: 4,
} as const

/** Argument `wake` of `flush`. */
export const Wake = {
  /** Take the commands over; another `flush` with `NOW` follows in this turn of the event loop. */
  LATER: 0,
  /** Take them over and wake the I/O thread if it sleeps. */
  NOW: 1,
} as const

/** In the answer of `drain`: records are left, call again. The low 16 bits are the number of records. */
export const DRAIN_MORE = 0x1_0000

/** Bytes of one stream that the engine hands over beyond what `CONSUMED` told it (512 KiB: one half fills while the other is read). */
export const AHEAD_BYTES = 524_288

/** Longest payload of one DATA record (64 KiB), so that one record is one chunk. */
export const PIECE_BYTES = 65_536

/** JSON payloads are never longer than this (a longer one is cut to its `type` and a counted loss), so that one always fits into the staging buffer. */
export const EVENT_BYTES = 131_072

/** Bits of `trace` orders. */
export const Trace = { BURSTS: 1, ACKS: 2, DATAGRAMS: 4 } as const

/** The module that `napi build` makes. Every function may throw an `Error` whose message is the JSON of a `NativeError`. */
export interface NativeModule {
  /** `CONTRACT` of this build. */
  contract(): number
  /** Names of what this build can do beyond the base, for refusing options: see `Feature`. */
  features(): string[]
  /** Binds the sockets, starts the I/O thread. `options`: JSON of `NativeEndpointOptions`. `wake` is called without arguments, on the JavaScript thread, when records wait. */
  createEndpoint(options: string, wake: () => void): NativeEndpoint
  /** JSON of `NativeDevCertificateOptions` in, JSON of `NativeDevCertificate` out. */
  createDevCertificate(options: string): string
  /** Simulated hosts and links: JSON of `NativeWorldOptions`. */
  createWorld(options: string): NativeWorld
  /** An endpoint without sockets and threads: JSON of `NativeCarrierOptions`. Feature `carrier`. */
  createCarrier(options: string): NativeCarrier
}

/** The datagrams of one endpoint in JavaScript's hands. Times are ns since it was made and never go back. Nothing happens but in its calls. */
export interface NativeCarrier {
  /** The one endpoint over it. Its commands are obeyed, and its records made, by `turn`, `ask` and `listen`. */
  createEndpoint(options: string): NativeEndpoint
  /** Time is `nowNs`: before calls of the endpoint that answer at once. */
  advance(nowNs: number): void
  /** `count` datagrams: `DATAGRAM_WORDS` words each (bytes, ECN bits, place of the remote in `addresses`, place of the local address + 1 or 0), their bytes back to back in `bytes`, which are decrypted in place. */
  receive(nowNs: number, words: Uint32Array, count: number, addresses: string[], bytes: Uint8Array): void
  /** Timers that are due, and the engine; sends nothing. Answers bits of `CarrierTurn`. */
  turn(nowNs: number): number
  /** Tells what became of the burst before (`taken`: segments, or a `Taken`) and fills in the next one: its bytes, at `BURST_ADDRESSES` the text `local LF remote LF`, in `head` bytes of a segment, segments, ECN bits, path + 1 or 0, bytes of the text. Answers its bytes; none, and no segments: there is nothing to send. */
  poll(nowNs: number, taken: number, head: Uint32Array, bytes: Uint8Array): number
  /** Tells what became of the last burst. */
  settle(nowNs: number, taken: number): void
  /** A call has thrown: the endpoint ends with these words in its last record. */
  breakDown(words: string): void
  /** When the next turn is due; in the past: at once; -1: when something happens. */
  nextTurn(): number
}

/** Words of a datagram that has come. */
export const DATAGRAM_WORDS = 4

/** Where the addresses of a burst stand; the buffer has 128 bytes more. */
export const BURST_ADDRESSES = 65_536

/** What `turn` answers. */
export const CarrierTurn = {
  /** Records wait for `drain`. */
  NEWS: 1,
  /** The endpoint sends and receives no more. */
  ENDED: 2,
} as const

/** Instead of a number of segments. */
export const Taken = {
  /** No burst was given out. */
  NOTHING: -1,
  /** The carrier failed. */
  FAILED: -2,
} as const

/** A simulated world: nodes (hosts and routers), links and endpoints are numbers in the order of their making, from 0. Nothing happens but in its calls. */
export interface NativeWorld {
  host(): number
  router(): number
  /** An address translator: JSON of `NativeNat`. */
  nat(options: string): number
  /** JSON of `NativeNat`: all of it, in place of what was. */
  setNat(nat: number, options: string): void
  rebind(nat: number): void
  /** JSON of `[inside, outside][]`, addresses with ports. */
  mappings(nat: number): string
  /** JSON of `NativeLink`. Refuses addresses in use and ends that are one node. */
  link(options: string): number
  /** JSON of `NativeLinkShape`, in force from now on; `direction`: 'both', 'a-to-b' or 'b-to-a'. */
  setLink(link: number, shape: string, direction: string): void
  cutLink(link: number, cut: boolean, direction: string): void
  /** JSON of `NativeLinkFacts`. */
  linkFacts(link: number): string
  /** The address at an end (0: `a`, 1: `b`). */
  address(link: number, end: number): string
  addresses(node: number): string[]
  /** JSON of `NativeInterface[]`. */
  interfaces(node: number): string
  setPort(link: number, end: number, up: boolean): void
  /** Null: the next free address beside the old one. Answers the new one. */
  renumber(link: number, end: number, address: string | null): string
  /** As `NativeModule.createEndpoint`; its records are announced by `step`. Without addresses it is bound to all of the host's. */
  createEndpoint(host: number, options: string): NativeEndpoint
  /** Endpoints of the host end without a datagram; the words are their error. */
  crash(host: number, words: string): void
  /** Goes on until `until` (ns since the start) or until JavaScript has something to do; with `idle` to `until` even if nothing happens before. Fills now (ns), a `StepEnd`, then numbers of endpoints whose records wait; answers how many those are (the others follow with the next call). */
  step(until: number, idle: boolean, out: Float64Array): number
  /** 16 bytes out of the seed, hex; others each time. */
  random(): string
  /** JSON of names in, of `NativeIdentity` out: the same names, the same certificate. */
  identity(names: string): string
  traceHash(): string
  /** A pcapng file of everything that was on the links, with the key log; null: it was not recorded. `links`: names by number. */
  pcap(links: readonly string[]): Uint8Array | null
  /** Stops for every datagram whose fate is known, so that `takeEvents` can tell. */
  watch(on: boolean): void
  /** JSON of `NativeSimEvent[]`, oldest first. */
  takeEvents(): string
}

/** Why `step` came back. */
export const StepEnd = {
  /** `until` is reached. */
  REACHED: 0,
  /** Records or events wait. */
  NEWS: 1,
  /** Nothing will ever happen by itself. */
  IDLE: 2,
  /** Long enough for one call; call again. */
  LATER: 3,
  /** Something happens at one instant without end. */
  LIVELOCK: 4,
} as const

/** One endpoint: sockets and an I/O thread. Methods never block, except `ask` (bounded, see there). */
export interface NativeEndpoint {
  /** Fills records and the payload bytes, as many as fit both; answers count | `DRAIN_MORE`. Bytes of `staging` behind the payloads are undefined. */
  drain(records: Uint32Array, staging: Uint8Array): number
  /** Takes `count` commands and the arena bytes they name; copies before it returns. `wake`: `Wake`. `tail` belongs to a last command with `WriteFlag.TAIL`. */
  flush(commands: Uint32Array, count: number, arena: Uint8Array, wake: number, tail: Uint8Array | null): void
  /** Starts a handshake with the next `flush`, `tell` or `ask`, so that orders of the same tick come before it; answers the connection key (never 0, never used again). JSON of `NativeConnect`. Bad PEM, names, pins throw; what happens later comes as `closed`. */
  connect(options: string): number
  /** Starts accepting, or replaces the options for new connections; in force when it returns (it waits for the I/O thread as `ask` does). JSON of `NativeServer`. */
  listen(options: string): void
  unlisten(): void
  /** Verdict on an `attempt` (feature `admit`); `options`: JSON of `NativeServer`, terms of its own for an accepted one, checked here. An accepted one is told by `connection` with its `attempt`; anything else, and an attempt that is over, by `attempt-over`. */
  admit(attempt: number, verdict: 'accept' | 'refuse' | 'retry' | 'ignore', options: string | null): void
  /** Trust anchors for `ca: 'default'`, PEM; given once, before the first `connect` or `listen` that names them. */
  setDefaultRoots(pem: string[]): void
  /** Something to do, without an answer: JSON of a `NativeOrder`. Ordered with `flush`; taken from the moment `connect` returns. Connection 0 is the endpoint (`admission` and `raw`). An unknown or ended connection: nothing happens. */
  tell(connection: number, order: string): void
  /** A question answered by the I/O thread while JavaScript waits (about 0.1 ms, at most 1 s, then QB_INTERNAL). JSON of a `NativeQuestion` in; JSON out. An unknown or ended connection throws QB_CONNECTION_CLOSED. */
  ask(connection: number, question: string): string
  /** Fills `out` in the order of the `…_NUMBERS` of `scope` (`Scope`) from the shared page; answers false for what it does not know (then `out` is untouched). Numbers of an ended connection stay readable until its key is forgotten. */
  statistics(scope: number, connection: number, path: number, out: Float64Array): boolean
  /** Asks `pick` for every data burst of a connection, from the next `flush` or `tell` on: JSON of a `NativeSchedulerView` in, of a `NativePick` out. Endpoints of a world or over a carrier only (feature `scheduler.pick`, which those add); called inside `step`, `ask` and `poll`. */
  setPicker(connection: number, pick: (view: string) => string): void
  /** Joins the TCP connection behind `descriptor`, which is duplicated, to a bidirectional stream (feature `splice`): DATA of it crosses no more but for an empty one with FIN, and FIN of TCP ends it. Answers a name for the pair, 0: this endpoint has no thread, or that is no connected TCP socket. Ordered with `flush`; SPLICE tells what becomes of it. */
  splice(connection: number, stream: number, descriptor: number): number
  /** What of the bytes that crossed before STARTED is to be written to TCP first. */
  spliceGo(splice: number, bytes: Uint8Array): void
  /** Lets the TCP connection go: RST, unless both its directions have ended. */
  spliceCut(splice: number): void
  /** Bytes moved to the stream and to TCP; false: not known, or cut. */
  spliceBytes(splice: number, out: Float64Array): boolean
  /** JavaScript has let go of the key: no record of it need cross any more, its numbers may go. Comes after `closed`, or right after an order to close. */
  forget(connection: number): void
  /** Bound addresses with real ports. Not called after `close`; `now`, `keepAlive`, `statistics` and `forget` may be. */
  local(): string[]
  /** Milliseconds since this endpoint was made, monotonic, with fractions. */
  now(): number
  /** Whether waiting for `wake` keeps the process alive (starts false). */
  keepAlive(on: boolean): void
  /** Connections that still live are closed at once; when the last datagram has gone, the sockets close, the thread ends and the endpoint event `endpoint-closed` comes (the last record). Idempotent. */
  close(): void
}

/**
 * Base (always there): client and server, several paths, schedulers `min-rtt` and `round-robin`, congestion `cubic`, `newreno` and `bbr3`,
 * `ca`, `pins`, `verify` default or none, `cert` and `key` of servers.
 * Others: `scheduler.NAME`, `congestion.NAME`, `handshake.MODE` (beyond single and stagger), and one word an option, as the option table names it.
 */
export type Feature = string

