/**
 * Between an endpoint and the store of the user's: takes what a new connection may use, once, and puts in what a server gave. A store that
 * throws, hangs or answers nonsense costs a full handshake and a warning, never a connection. Tokens are bytes and portable; a ticket stays
 * in the engine of one endpoint, and its entry is a handle that is worth something there alone.
 */
import type { Bytes, Logger, SessionEntry, SessionStore, Timing } from '../config/index.ts'

/** Entries of one name (attacks L18). */
const ENTRIES = 4
/** RFC 8446 §4.6.1: no ticket lives longer. How long a token serves only its server knows. */
const LIFETIME_MS = 7 * 24 * 3_600_000
const PATIENCE_MS = 1000
const HANDLE_BYTES = 16

export interface TakenSession {
  /** Proves our address to the server. */
  token: Bytes | null
  /** The engine has a ticket for the server. */
  ticket: boolean
}

const NOTHING: TakenSession = { token: null, ticket: false }

export class SessionKeeper {
  readonly #store: SessionStore
  readonly #logger: Logger
  /** First bytes of this endpoint's handles. */
  readonly #realm: Uint8Array
  readonly #timing: Timing
  #handles = 0
  /** Work on one name goes in line, so that no entry is lost between a get and a set. */
  readonly #lines = new Map<string, Promise<unknown>>()

  /** `realm`: names the engine whose tickets these are. */
  constructor(store: SessionStore, realm: Uint8Array, logger: Logger, timing: Timing) {
    this.#store = store
    this.#realm = realm
    this.#logger = logger
    this.#timing = timing
  }

  /** The newest of each kind, taken out: each serves once. */
  async take(key: string): Promise<TakenSession> {
    return this.#inLine(key, NOTHING, async () => {
      const held = await this.#held(key)
      const token = held.findLast((entry) => entry.kind === 'token') ?? null
      const ticket = held.findLast((entry) => entry.kind === 'ticket' && this.#isOurs(entry)) ?? null
      if (token !== null || ticket !== null) await this.#store.set(key, held.filter((entry) => entry !== token && entry !== ticket))
      return { token: token?.bytes ?? null, ticket: ticket !== null }
    })
  }

  /** Resolves when it is stored, as `putTickets`. */
  async putToken(key: string, bytes: Bytes): Promise<void> {
    await this.#put(key, [this.#entry('token', bytes, true)])
  }

  async putTickets(key: string, count: number): Promise<void> {
    await this.#put(key, Array.from({ length: count }, () => this.#entry('ticket', this.#handle(), false)))
  }

  async #put(key: string, fresh: SessionEntry[]): Promise<void> {
    await this.#inLine(key, undefined, async () => {
      await this.#store.set(key, bounded([...(await this.#held(key)), ...fresh]))
    })
  }

  async #held(key: string): Promise<SessionEntry[]> {
    const entries: unknown = await this.#store.get(key)
    const now = this.#timing.unixMs()
    return Array.isArray(entries) ? entries.filter((entry) => isEntry(entry) && entry.expiresUnixMs > now) : []
  }

  #entry(kind: SessionEntry['kind'], bytes: Bytes, portable: boolean): SessionEntry {
    return { kind, bytes, portable, expiresUnixMs: this.#timing.unixMs() + LIFETIME_MS }
  }

  #handle(): Bytes {
    this.#handles += 1
    const handle = new Uint8Array(HANDLE_BYTES + 4)
    handle.set(this.#realm.subarray(0, HANDLE_BYTES))
    new DataView(handle.buffer).setUint32(HANDLE_BYTES, this.#handles)
    return handle
  }

  #isOurs({ bytes }: SessionEntry): boolean {
    return bytes.length === HANDLE_BYTES + 4 && this.#realm.subarray(0, HANDLE_BYTES).every((byte, index) => bytes[index] === byte)
  }

  /** Runs behind what was begun for the same name; at most `PATIENCE_MS`, then `otherwise`. */
  #inLine<T>(key: string, otherwise: T, work: () => Promise<T>): Promise<T> {
    const before = this.#lines.get(key) ?? Promise.resolve()
    const result = before.then(() => this.#limited(otherwise, work))
    this.#lines.set(key, result)
    void result.then(() => {
      if (this.#lines.get(key) === result) this.#lines.delete(key)
    })
    return result
  }

  #limited<T>(otherwise: T, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve) => {
      const giveUp = (error: unknown): void => {
        stop()
        this.#logger.warn?.('the session store failed; the connection goes on without it', { error })
        resolve(otherwise)
      }
      const stop = this.#timing.after(PATIENCE_MS, () => giveUp(new Error(`no answer within ${PATIENCE_MS} ms`)))
      work().then((result) => {
        stop()
        resolve(result)
      }, giveUp)
    })
  }
}

/** The newest few; of too many, the oldest of the kind that has more. */
function bounded(entries: SessionEntry[]): SessionEntry[] {
  const kept = [...entries]
  while (kept.length > ENTRIES) {
    const tickets = kept.filter((entry) => entry.kind === 'ticket').length
    const kind = tickets * 2 > kept.length ? 'ticket' : 'token'
    kept.splice(kept.findIndex((entry) => entry.kind === kind), 1)
  }
  return kept
}

function isEntry(entry: unknown): entry is SessionEntry {
  const { kind, bytes, expiresUnixMs } = (entry ?? {}) as Partial<SessionEntry>
  return (kind === 'ticket' || kind === 'token') && bytes instanceof Uint8Array && typeof expiresUnixMs === 'number'
}
