/**
 * All accepted connections of a public end, by key, and the requests over them (reverse.md §6). Says which keys have room for another
 * connection; whether one is welcome otherwise is decided before it comes here. Never dials (V44).
 */
import type { Logger, Observable, Timing, Waiting } from '../config/index.ts'
import { invalidOption } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import { ConnectionError, ServiceError } from '../errors/index.ts'
import { sayUntilHeard } from '../stream/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import { ReverseCode } from './codes.ts'
import type { ReverseReason } from './codes.ts'
import type { ControlStream } from './control.ts'
import type { Ledger, Standing } from './ledger.ts'
import { Member } from './member.ts'
import type { MemberOwner } from './member.ts'
import { shown } from './names.ts'
import { PoolFeeds } from './observe.ts'
import { checkRequest } from './options.ts'
import type { CheckedRequest, Hello, RequestOptions, ReverseLimits } from './options.ts'
import { Shelf } from './shelf.ts'
import type { ReverseEvent } from './types.ts'
import { Waiters } from './waiters.ts'

/** Keys that an error names. */
const TOLD_KEYS = 8
/** Connections that one request may lose. */
const MAX_REPEATS = 8

export interface PoolsOwner {
  readonly timing: Timing
  readonly logger: Logger
  readonly limits: ReverseLimits
  readonly keyFromSni: ((serverName: string) => string | undefined) | undefined
  now(): number
}

export class Pools {
  readonly #owner: PoolsOwner
  readonly #ledger: () => Ledger
  readonly #all: Shelf
  readonly #shelves = new Map<string, Shelf>()
  readonly #members = new Set<Member>()
  /** Keys whose pools are drained. */
  readonly #drained = new Set<string>()
  readonly #waiters: Waiters
  readonly #feeds: PoolFeeds
  readonly #memberOwner: MemberOwner
  /** All are. */
  #allDrained = false
  /** For good. */
  #over = false
  /** Told when a member has closed. */
  #onQuiet: (() => void)[] = []

  constructor(owner: PoolsOwner, ledger: () => Ledger) {
    this.#owner = owner
    this.#ledger = ledger
    this.#all = new Shelf(() => owner.now())
    this.#waiters = new Waiters(owner.timing)
    this.#feeds = new PoolFeeds(() => this.connections())
    this.#memberOwner = {
      timing: owner.timing,
      onLive: (member) => this.#onLive(member),
      onDraining: (member, reason, text) => this.#onDraining(member, reason, text),
      onRoom: (member) => this.#waiters.serve(member),
      onClosed: (member, from, reason, text) => this.#onClosed(member, from, reason, text),
    }
  }

  get connections$(): Observable<readonly Connection[]> {
    return this.#feeds.connections$
  }

  connections(): readonly Connection[] {
    return this.#all.live.map(({ connection }) => connection)
  }

  empty$(key: string | null): Observable<boolean> {
    return this.#feeds.empty$(() => this.size(key))
  }

  size(key: string | null): number {
    return this.#shelf(key)?.live.length ?? 0
  }

  sizes(): Record<string, number> {
    const sizes = Object.create(null) as Record<string, number>
    for (const [key, { live }] of this.#shelves) if (live.length > 0) sizes[key] = live.length
    return sizes
  }

  standing(): Omit<Standing, 'pending'> {
    let [streamsOpen, keys] = [0, 0]
    for (const { open } of this.#members) streamsOpen += open
    for (const { live } of this.#shelves.values()) if (live.length > 0) keys += 1
    return { connections: this.#all.live.length, draining: this.#all.draining, keys, waiting: this.#waiters.size, streamsOpen }
  }

  /** Why there is no room for another connection with this key; null: there is. */
  refusal(key: string): bigint | null {
    const { maxConnections, maxPerKey } = this.#owner.limits
    if (this.#isDrained(key)) return ReverseCode.SHUTDOWN
    const shelf = this.#shelves.get(key)
    if (this.#members.size >= maxConnections) return ReverseCode.FULL
    if (shelf === undefined) return null
    // One that drains must not keep out the one that comes in its place; but there is an end to that, too.
    const fresh = shelf.live.length + shelf.opening
    return fresh >= maxPerKey || fresh + shelf.draining >= 2 * maxPerKey ? ReverseCode.FULL : null
  }

  /** Takes a place, whatever becomes of it. */
  enter(connection: Connection, control: ControlStream, key: string, hello: Hello): Member {
    let shelf = this.#shelves.get(key)
    if (shelf === undefined) this.#shelves.set(key, (shelf = new Shelf(() => this.#owner.now())))
    shelf.opening += 1
    this.#all.opening += 1
    const member = new Member(this.#memberOwner, connection, control, key, hello)
    this.#members.add(member)
    return member
  }

  /** @throws QB_OPTION_INVALID QB_REVERSE_NO_CONNECTION QB_REVERSE_DRAINING, the abort reason */
  async request(pool: string | null, key: string | undefined, options: (RequestOptions & Waiting) | undefined): Promise<BidirectionalStream> {
    const checked = checkRequest(options)
    if (key !== undefined && typeof key !== 'string') throw invalidOption('key', key, 'a pool key')
    const wanted = checked.serverName === null ? (key ?? pool) : this.keyOf(checked.serverName)
    if (wanted === undefined || (pool !== null && wanted !== pool)) throw this.#noConnection(wanted ?? checked.serverName)
    const stream = checked.head === null ? await this.#open(wanted, checked) : await this.#say(wanted, checked, checked.head)
    this.#ledger().requests += 1
    return stream
  }

  /** The key of a connection from outside. A throw counts as none. */
  keyOf(serverName: string): string | undefined {
    const { keyFromSni, logger } = this.#owner
    if (keyFromSni === undefined) return serverName
    try {
      const key = keyFromSni(serverName)
      return typeof key === 'string' ? key : undefined
    } catch (error) {
      logger.warn?.('keyFromSni failed; there is no key', { serverName, error })
      return undefined
    }
  }

  /** Resolves when every connection of the key (null: of all) has closed. */
  drain(key: string | null): Promise<void> {
    if (key === null) this.#allDrained = true
    else this.#drained.add(key)
    const error = (): Error => this.#drainingError(key)
    if (key === null) this.#waiters.failAll(error)
    else this.#waiters.fail(key, error)
    const ends = [...this.#members].filter((member) => key === null || member.key === key)
    for (const member of ends) member.drain()
    return this.#closed(ends)
  }

  /** As `drain` of all, for good. */
  close(): Promise<void> {
    this.#over = true
    return this.drain(null)
  }

  resume(key: string | null): void {
    if (this.#over) return undefined
    if (key !== null) return void this.#drained.delete(key)
    this.#allDrained = false
    return this.#drained.clear()
  }

  /** Ends what is left. */
  abort(code: bigint): void {
    for (const member of this.#members) member.close(code, '')
  }

  /** When nobody is left. */
  quiet(): Promise<void> {
    return this.#closed([...this.#members])
  }

  end(): void {
    this.#feeds.end()
  }

  async #open(key: string | null, request: CheckedRequest): Promise<BidirectionalStream> {
    const { waitForMs, retryUnsent, signal } = request
    for (;;) {
      if (this.#isDrained(key)) throw this.#drainingError(key)
      const member = this.#shelf(key)?.best() ?? null
      if (member === null) {
        if (waitForMs === 0) throw this.#noConnection(key)
        const { maxWaiting } = this.#owner.limits
        if (this.#waiters.size >= maxWaiting) throw this.#noConnection(key, `it cannot wait for one: as many requests as may (limits.maxWaiting, ${maxWaiting}) do`)
        return this.#waiters.wait(key, request, () => this.#noConnection(key, `that did not change in ${waitForMs} ms (waitForMs)`))
      }
      try {
        return await member.request(request)
      } catch (error) {
        // It has ended in this very turn: it leaves the shelf with its last word.
        if (!retryUnsent || signal?.aborted === true || member.state !== 'live') throw error
        member.drain()
      }
    }
  }

  /** Opens and says `head`, over another connection if one ends before it was heard (V47). */
  async #say(key: string | null, request: CheckedRequest, head: Uint8Array): Promise<BidirectionalStream> {
    for (let left = request.retryUnsent ? MAX_REPEATS : 0; ; left -= 1) {
      const stream = await this.#open(key, request)
      try {
        await sayUntilHeard(stream, head, request.signal)
        return stream
      } catch (error) {
        stream.destroy()
        // Anything else is the private end's word on this request, or the caller's.
        if (left === 0 || !(error instanceof ConnectionError)) throw error
        this.#ledger().repeated += 1
      }
    }
  }

  #shelf(key: string | null): Shelf | undefined {
    return key === null ? this.#all : this.#shelves.get(key)
  }

  #isDrained(key: string | null): boolean {
    return this.#allDrained || (key !== null && this.#drained.has(key))
  }

  #noConnection(key: string | null, hint = 'waitForMs waits for one'): ServiceError {
    this.#ledger().unserved += 1
    const size = this.size(key)
    const keys = Object.keys(this.sizes())
    const live = keys.length === 0 ? 'no private end is connected' : `there are ${keys.slice(0, TOLD_KEYS).map((name) => `"${name}"`).join(', ')}${keys.length > TOLD_KEYS ? `, and ${keys.length - TOLD_KEYS} more` : ''}`
    const why = size > 0 ? `its ${size} connections have no room for another stream` : `no connection has it; ${live}`
    return new ServiceError('QB_REVERSE_NO_CONNECTION', `${key === null ? 'any key' : `key "${shown(key)}"`}: ${why}; ${hint}`, { by: 'local' })
  }

  #drainingError(key: string | null): ServiceError {
    if (this.#over) return new ServiceError('QB_REVERSE_DRAINING', 'this public end is closed and takes no requests; call reverseListen again', { by: 'local' })
    return new ServiceError('QB_REVERSE_DRAINING', `the pool ${key === null ? 'of all keys' : `"${shown(key)}"`} is drained and takes no requests; resume() ends that`, { by: 'local' })
  }

  #onLive(member: Member): void {
    const shelf = this.#shelves.get(member.key) as Shelf
    for (const place of [shelf, this.#all]) {
      place.opening -= 1
      place.add(member)
    }
    this.#ledger().accepted(this.#facts(member, null, ''))
    this.#feeds.changed()
    this.#waiters.serve(member)
  }

  #onDraining(member: Member, reason: ReverseReason | null, text: string): void {
    const wasLive = this.#leave(member)
    for (const place of this.#places(member)) place.draining += 1
    this.#ledger().draining(this.#facts(member, reason, text))
    if (wasLive) this.#feeds.changed()
  }

  #onClosed(member: Member, from: Member['state'], reason: ReverseReason | null, text: string): void {
    this.#members.delete(member)
    if (from === 'draining') for (const place of this.#places(member)) place.draining -= 1
    const wasLive = from !== 'draining' && this.#leave(member)
    if (this.#shelves.get(member.key)?.isBare === true) this.#shelves.delete(member.key)
    const facts = this.#facts(member, reason, text)
    if (member.wasLive) this.#ledger().closed(facts)
    else this.#ledger().refused(facts)
    if (wasLive) this.#feeds.changed()
    for (const quiet of this.#onQuiet) quiet()
  }

  /** Out of the choice. Whether it was in it. */
  #leave(member: Member): boolean {
    let wasLive = false
    for (const place of this.#places(member)) {
      wasLive = place.remove(member)
      if (!wasLive) place.opening -= 1
    }
    return wasLive
  }

  #places(member: Member): readonly Shelf[] {
    return [this.#shelves.get(member.key) as Shelf, this.#all]
  }

  #closed(ends: readonly Member[]): Promise<void> {
    const left = new Set(ends.filter(({ state }) => state !== 'closed'))
    return new Promise((resolve) => {
      const quiet = (): void => {
        for (const member of left) if (member.state === 'closed') left.delete(member)
        if (left.size > 0) return
        this.#onQuiet = this.#onQuiet.filter((other) => other !== quiet)
        resolve()
      }
      this.#onQuiet.push(quiet)
      quiet()
    })
  }

  #facts({ key, hello, connection }: Member, reason: ReverseReason | null, text: string): Omit<ReverseEvent, 'atMs' | 'type'> {
    return { service: hello.service, key, remote: connection.remote, reason, text: shown(text), connection: connection.id, size: this.size(key) }
  }
}
