/**
 * The native side of an endpoint over a carrier: packs datagrams, unpacks bursts, and tells its host of every call after which the engine
 * wants a turn. Decides nothing; `src/endpoint/carrier.ts` says when turns are taken.
 */
import type { Ecn } from './burst-records.ts'
import { guarded } from './error.ts'
import type { NativeCarrierOptions } from './messages.ts'
import { BURST_ADDRESSES, CarrierTurn, DATAGRAM_WORDS, DRAIN_MORE, Taken, Wake } from './native.ts'
import type { NativeCarrier, NativeEndpoint, NativeModule } from './native.ts'

/** By the two bits on the wire. */
const ECN: readonly Ecn[] = ['not-ect', 'ect1', 'ect0', 'ce']
const BURST_WORDS = 5
/** Datagrams and bytes of one call. */
const DATAGRAMS = 512
const STAGING_BYTES = 262_144
/** No datagram is longer. */
const LONGEST = 65_535

/** One burst on its way out: `segments` datagrams of `segmentBytes` each, the last may be shorter. */
export interface CarrierBurst {
  /** The callee's to keep. */
  bytes: Uint8Array
  segmentBytes: number
  segments: number
  local: string
  remote: string
  ecn: Ecn
  /** Null: an answer without a connection, or no QUIC. */
  path: number | null
}

/** One datagram that has come. */
export interface CarrierDatagram {
  /** Copied. */
  bytes: Uint8Array
  remote: string
  /** @default the carrier's own address */
  local?: string
  /** @default 'not-ect' */
  ecn?: Ecn
}

export function isEcn(value: unknown): value is Ecn {
  return (ECN as readonly unknown[]).includes(value)
}

/** What calls from JavaScript mean for whoever gives turns. */
export interface CarrierHost {
  /** ns since the carrier was made. */
  nowNs(): number
  /** The engine wants a turn soon. */
  stir(): void
  keepAlive(on: boolean): void
}

export class CarrierCore {
  readonly #native: NativeCarrier
  readonly #words = new Uint32Array(DATAGRAMS * DATAGRAM_WORDS)
  readonly #staging = new Uint8Array(STAGING_BYTES)
  readonly #head = new Uint32Array(BURST_WORDS)
  readonly #burst = Buffer.alloc(BURST_ADDRESSES + 128)

  /** @throws QB_OPTION_INVALID */
  constructor(module: NativeModule, options: NativeCarrierOptions) {
    this.#native = guarded(() => module.createCarrier(JSON.stringify(options)))
  }

  createEndpoint(options: string, host: CarrierHost): NativeEndpoint {
    this.#native.advance(host.nowNs())
    return new SeatedEndpoint(this.#native.createEndpoint(options), () => this.#native.advance(host.nowNs()), host)
  }

  /** Checked ones. Longer ones than a datagram can be are dropped. */
  receive(nowNs: number, datagrams: readonly CarrierDatagram[]): void {
    const addresses: string[] = []
    const places = new Map<string, number>()
    const place = (address: string): number => {
      const known = places.get(address)
      if (known !== undefined) return known
      places.set(address, addresses.length)
      return addresses.push(address) - 1
    }
    let count = 0
    let used = 0
    const handOver = (): void => {
      if (count > 0) guarded(() => this.#native.receive(nowNs, this.#words, count, addresses, this.#staging))
      count = 0
      used = 0
    }
    for (const { bytes, remote, local, ecn = 'not-ect' } of datagrams) {
      if (bytes.length > LONGEST) continue
      if (count === DATAGRAMS || used + bytes.length > STAGING_BYTES) handOver()
      this.#words.set([bytes.length, ECN.indexOf(ecn), place(remote), local === undefined ? 0 : place(local) + 1], count * DATAGRAM_WORDS)
      this.#staging.set(bytes, used)
      used += bytes.length
      count += 1
    }
    handOver()
  }

  turn(nowNs: number): { news: boolean; ended: boolean } {
    const answer = guarded(() => this.#native.turn(nowNs))
    return { news: (answer & CarrierTurn.NEWS) !== 0, ended: (answer & CarrierTurn.ENDED) !== 0 }
  }

  /** The next burst; `taken`: segments of the one before, or a `Taken`. */
  poll(nowNs: number, taken: number): CarrierBurst | null {
    this.#head[1] = 0
    const length = guarded(() => this.#native.poll(nowNs, taken, this.#head, this.#burst))
    const [segmentBytes = 0, segments = 0, ecn = 0, path = 0, text = 0] = this.#head
    // A raw datagram may be empty: it has a segment all the same.
    if (length === 0 && segments === 0) return null
    const [local = '', remote = ''] = this.#burst.toString('latin1', BURST_ADDRESSES, BURST_ADDRESSES + text).split('\n')
    return { bytes: Uint8Array.from(this.#burst.subarray(0, length)), segmentBytes, segments, local, remote, ecn: ECN[ecn] ?? 'not-ect', path: path === 0 ? null : path - 1 }
  }

  settle(nowNs: number, taken: number): void {
    if (taken !== Taken.NOTHING) guarded(() => this.#native.settle(nowNs, taken))
  }

  /** A call has thrown: the endpoint ends, and its last record says so. */
  breakDown(words: string): void {
    guarded(() => this.#native.breakDown(words))
  }

  /** ns; Infinity: when something happens. */
  nextTurnNs(): number {
    const at = guarded(() => this.#native.nextTurn())
    return at < 0 ? Infinity : at
  }
}

/** As the endpoint of the module, with the time told before calls that need it, and turns wished for after calls that give work. */
class SeatedEndpoint implements NativeEndpoint {
  readonly #inner: NativeEndpoint
  readonly #advance: () => void
  readonly #host: CarrierHost
  #more = false

  constructor(inner: NativeEndpoint, advance: () => void, host: CarrierHost) {
    this.#inner = inner
    this.#advance = advance
    this.#host = host
  }

  drain(records: Uint32Array, staging: Uint8Array): number {
    const answer = this.#inner.drain(records, staging)
    const more = (answer & DRAIN_MORE) !== 0
    // An engine that waited for room may go on.
    if (more || this.#more) this.#host.stir()
    this.#more = more
    return answer
  }

  flush(commands: Uint32Array, count: number, arena: Uint8Array, wake: number, tail: Uint8Array | null): void {
    this.#inner.flush(commands, count, arena, wake, tail)
    if (wake === Wake.NOW) this.#host.stir()
  }

  connect(options: string): number {
    return this.#inner.connect(options)
  }

  listen(options: string): void {
    this.#advance()
    this.#inner.listen(options)
    this.#host.stir()
  }

  unlisten(): void {
    this.#inner.unlisten()
    this.#host.stir()
  }

  admit(attempt: number, verdict: 'accept' | 'refuse' | 'retry' | 'ignore', options: string | null): void {
    this.#inner.admit(attempt, verdict, options)
    this.#host.stir()
  }

  setDefaultRoots(pem: string[]): void {
    this.#inner.setDefaultRoots(pem)
  }

  tell(connection: number, order: string): void {
    this.#inner.tell(connection, order)
    this.#host.stir()
  }

  ask(connection: number, question: string): string {
    this.#advance()
    const answer = this.#inner.ask(connection, question)
    this.#host.stir()
    return answer
  }

  statistics(scope: number, connection: number, path: number, out: Float64Array): boolean {
    return this.#inner.statistics(scope, connection, path, out)
  }

  setPicker(connection: number, pick: (view: string) => string): void {
    this.#inner.setPicker(connection, pick)
  }

  splice(connection: number, stream: number, descriptor: number): number {
    return this.#inner.splice(connection, stream, descriptor)
  }

  spliceGo(splice: number, bytes: Uint8Array): void {
    this.#inner.spliceGo(splice, bytes)
  }

  spliceCut(splice: number): void {
    this.#inner.spliceCut(splice)
  }

  spliceBytes(splice: number, out: Float64Array): boolean {
    return this.#inner.spliceBytes(splice, out)
  }

  forget(connection: number): void {
    this.#inner.forget(connection)
  }

  local(): string[] {
    return this.#inner.local()
  }

  now(): number {
    return this.#host.nowNs() / 1e6
  }

  keepAlive(on: boolean): void {
    this.#host.keepAlive(on)
  }

  close(): void {
    this.#inner.close()
    this.#host.stir()
  }
}
