/**
 * One client at a relay's desk (traversal T-35): reads its requests, asks `authorize`, tells the engine who may be forwarded to, and lets go
 * of it when its connection ends. What a client sends can cost it its connection and nobody else anything.
 */
import type { Engine } from '../binding/index.ts'
import type { Logger, Timing } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import { encodeRelayFrame, RelayCode, RelayFault, RelayReader } from '../nat/index.ts'
import type { RelayFrame } from '../nat/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import type { RelayOptions } from './types.ts'

/** For a REGISTER after the handshake, and for a verdict. */
const PATIENCE_MS = 5000
/** Requests of one client in a minute; more are a fault. */
const MOST_REQUESTS = 30
const MINUTE_MS = 60_000

export interface ClerkOwner {
  readonly engine: Engine
  readonly logger: Logger
  readonly timing: Timing
  readonly authorize: RelayOptions['authorize']
  readonly registrationMs: number
  /** Who has which address now, of all clients of this relay: a NAT may give one's address to another. */
  readonly holders: Map<string, Clerk>
  /** How many more may register. */
  room(): number
  onRegistered(address: string): void
  onGone(address: string): void
}

export class Clerk {
  readonly #owner: ClerkOwner
  readonly #connection: Connection
  readonly #reader = new RelayReader()
  /** As it was admitted; null: it is not. */
  #admitted: string | null = null
  #requests = 0
  #asked = false

  constructor(owner: ClerkOwner, connection: Connection) {
    this.#owner = owner
    this.#connection = connection
  }

  /** Until the client has gone. Never rejects. */
  async serve(): Promise<void> {
    const { timing } = this.#owner
    const late = timing.after(PATIENCE_MS, () => {
      if (!this.#asked) this.#close(RelayCode.TIMEOUT, 'no REGISTER came')
    })
    const minutes = timing.every(MINUTE_MS, () => {
      this.#requests = 0
    })
    try {
      const { value: stream } = await this.#connection.incomingBidirectional().next()
      if (stream !== undefined) await this.#read(stream as BidirectionalStream)
      await this.#connection.close({ code: RelayCode.DONE })
    } catch (error) {
      if (error instanceof RelayFault) this.#close(RelayCode.FAULT, error.message)
      else this.#connection.destroy()
    } finally {
      late()
      minutes()
      await this.#connection.closed
      this.#forget()
    }
  }

  async #read(stream: BidirectionalStream): Promise<void> {
    const moves = this.#connection.paths.events$.subscribe(({ type }) => {
      if (type === 'rebound' || type === 'migrated') this.#onMoved(stream)
    })
    try {
      // Frames wait for the verdict on those before them: so does what the client sends meanwhile, by flow control.
      for await (const batch of stream) for (const bytes of batch) for (const frame of this.#reader.read(bytes)) await this.#onFrame(stream, frame)
    } finally {
      moves.unsubscribe()
    }
  }

  async #onFrame(stream: BidirectionalStream, frame: RelayFrame): Promise<void> {
    if (frame.type !== 'register') throw new RelayFault('a frame that only relays send')
    this.#requests += 1
    this.#asked = true
    if (this.#requests > MOST_REQUESTS) throw new RelayFault('too many requests')
    const address = this.#connection.remote
    const refused = await this.#verdict(address, frame.token)
    if (this.#connection.state !== 'open') return
    if (refused !== null) return this.#refuse(stream, refused)
    if (this.#admitted === null && this.#owner.room() <= 0) return this.#close(RelayCode.FULL, 'as many are registered as can be')
    this.#admit(stream)
  }

  /** Null: welcome. Else a reason for the client. */
  async #verdict(address: string, token: Uint8Array | null): Promise<string | null> {
    const { timing, authorize, logger } = this.#owner
    return new Promise((resolve) => {
      const cancel = timing.after(PATIENCE_MS, () => resolve('no verdict in time'))
      // What is thrown at once is a rejection, too.
      new Promise<void>((done) => done(authorize({ address, token, peer: this.#connection.peer }))).then(() => resolve(null), (error: unknown) => {
        logger.debug?.('a client was not registered', { client: address, error })
        resolve('not welcome')
      }).finally(cancel)
    })
  }

  #admit(stream: BidirectionalStream): void {
    const { engine, registrationMs, holders } = this.#owner
    const address = this.#connection.remote
    const before = this.#admitted
    // Only what it holds itself can follow it (traversal T-36).
    const moves = before !== null && before !== address && holders.get(before) === this
    if (moves) holders.delete(before)
    const other = holders.get(address)
    if (other !== undefined && other !== this) engine.tell(0, { do: 'relay-forget', client: address })
    holders.set(address, this)
    this.#admitted = address
    engine.tell(0, { do: 'relay-admit', client: address, forMs: registrationMs, ...(moves ? { formerly: before } : {}) })
    stream.write(encodeRelayFrame({ type: 'registered', forMs: registrationMs, outer: address }))
    if (before === null) this.#owner.onRegistered(address)
  }

  /** Its NAT has mapped it anew, or it has moved; the path is validated, and its credentials are still good. */
  #onMoved(stream: BidirectionalStream): void {
    if (this.#admitted !== null && this.#admitted !== this.#connection.remote) this.#admit(stream)
  }

  #refuse(stream: BidirectionalStream, reason: string): void {
    this.#forget()
    stream.write(encodeRelayFrame({ type: 'refused', reason }))
    stream.end()
    void this.#connection.close({ code: RelayCode.REFUSED, reason })
  }

  #close(code: number, reason: string): void {
    void this.#connection.close({ code, reason, drainMs: 0 })
  }

  #forget(): void {
    const address = this.#admitted
    this.#admitted = null
    if (address === null) return
    const { engine, holders, onGone } = this.#owner
    if (holders.get(address) === this) {
      holders.delete(address)
      engine.tell(0, { do: 'relay-forget', client: address })
    }
    onGone(address)
  }
}
