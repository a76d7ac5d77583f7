/**
 * Ways through NATs of one connection as people hold it: what is negotiated, who has which addresses, holes that are punched, and what
 * became of it. Puts the parts together; the engine punches (traversal §7).
 */
import type { NativeEvent } from '../binding/index.ts'
import { checkCall, waitFor } from '../config/index.ts'
import type { Cancel, Observable, Waiting } from '../config/index.ts'
import { ServiceError } from '../errors/index.ts'
import type { Path, PathSet } from '../path/index.ts'
import { PunchBook } from './address-book.ts'
import { Announcer } from './announcer.ts'
import { NatFeeds } from './observe.ts'
import { offError } from './part.ts'
import type { NatPart } from './part.ts'
import { Progress } from './progress.ts'
import { ConnectionPuncher } from './puncher.ts'
import { watchSilence } from './silence.ts'
import type { AddressBook, Puncher, Traversal, TraversalEvent } from './types.ts'

/** Without anything new for so long, nothing is left to try. */
const QUIET_MS = 5000

export class ConnectionTraversal implements Traversal {
  readonly addresses: AddressBook
  readonly puncher: Puncher
  readonly #part: NatPart
  readonly #paths: PathSet
  readonly #feeds = new NatFeeds()
  readonly #book: PunchBook
  readonly #puncher: ConnectionPuncher
  readonly #progress: Progress
  readonly #announcer: Announcer | null
  /** Who waits for a direct path hears of everything that is new. */
  readonly #hopes = new Set<() => void>()
  #state: 'off' | 'negotiating' | 'on'
  #profile: 'braid' | 'dquic' | null = null
  #why = 'it was not asked for'
  #relayed = false
  #stopWatching: Cancel | null = null

  constructor(part: NatPart, paths: PathSet) {
    this.#part = part
    this.#paths = paths
    const { traversal } = part
    this.#state = traversal === null ? 'off' : 'negotiating'
    const check = (): void => this.#check()
    const emit = (event: TraversalEvent): void => this.#feeds.emit(event)
    this.#book = new PunchBook(part, this.#feeds, check)
    this.#progress = new Progress(part, paths, emit)
    this.#puncher = new ConnectionPuncher({ part, book: this.#book, progress: this.#progress, check, emit, report: (address) => this.#announcer?.report(address) ?? null })
    this.addresses = this.#book
    this.puncher = this.#puncher
    this.#announcer = traversal === null ? null : new Announcer(part, traversal, this.#book, emit, () => this.#onNews())
    this.#announcer?.start()
  }

  get state(): 'off' | 'negotiating' | 'on' {
    return this.#state
  }

  get profile(): 'braid' | 'dquic' | null {
    return this.#profile
  }

  get events$(): Observable<TraversalEvent> {
    return this.#feeds.events$
  }

  async direct(options: Waiting = {}): Promise<Path> {
    checkCall(options, ['signal'])
    const { direct } = this.#progress
    if (direct !== null) return direct
    if (this.#state === 'off') return this.#off()
    return waitFor(options.signal, (settle) => {
      let cancel: Cancel = () => {}
      const hope = (): void => {
        cancel()
        if (this.#state === 'off') settle.reject(this.#part.error() ?? offError(this.#why))
        else cancel = this.#part.sampling.timing.after(QUIET_MS, () => (this.#isBusy ? hope() : settle.reject(this.#hopeless())))
      }
      this.#hopes.add(hope)
      hope()
      const leave = this.#progress.wait(settle)
      return () => {
        cancel()
        leave()
        this.#hopes.delete(hope)
      }
    })
  }

  onEvent(event: NativeEvent): void {
    switch (event.type) {
      case 'traversal': return this.#onNegotiated(event)
      case 'punch-address':
        this.#book.onEvent(event)
        if (event.side === 'remote') this.#announcer?.onRemote()
        else if (event.change === 'removed') this.#announcer?.onWithdrawn()
        this.#openRelayed()
        return this.#onNews()
      case 'punch-round':
        this.#puncher.onRound(event)
        return this.#onNews()
      case 'punch-refused': return this.#puncher.onRefused(event)
      case 'punch-wants-steps': return this.#puncher.onWantsSteps(event)
      case 'punch-hole': return this.#onNews()
      case 'observed-address': {
        const path = this.#paths.get(event.path)
        if (path !== undefined && !path.relayed) this.#announcer?.onObserved(path.local, event.address)
        return undefined
      }
      default: return undefined
    }
  }

  /** A path has changed. */
  onPath(): void {
    this.#progress.onPath()
    if (this.#state === 'on' && [...this.#paths].some(({ facts }) => facts.state === 'open' && facts.suspect)) this.#part.agent.mappings.doubt()
  }

  /** The connection has ended. */
  end(): void {
    const error = this.#part.error() ?? offError('the connection has ended')
    if (this.#state !== 'off') this.#state = 'off'
    this.#stopWatching?.()
    this.#announcer?.end()
    this.#puncher.end(error)
    this.#progress.end(error)
    this.#feeds.end()
  }

  #onNegotiated({ state, profile, reason }: Extract<NativeEvent, { type: 'traversal' }>): void {
    this.#state = state
    this.#profile = profile
    if (state === 'off') {
      this.#why = reason
      this.#announcer?.end()
    } else {
      this.#announcer?.onNegotiated()
      this.#stopWatching ??= watchSilence(this.#paths, this.#part.sampling.timing, () => this.#part.agent.mappings.doubt())
    }
    this.#onNews()
  }

  #onNews(): void {
    this.#openRelayed()
    for (const hope of Array.from(this.#hopes)) hope()
  }

  /** The client opens one way over a relay of the peer's, to fall back to. */
  #openRelayed(): void {
    if (this.#part.role !== 'client' || this.#relayed || this.#state !== 'on' || this.#announcer?.isRelayed !== true || this.#progress.relayed) return
    const far = this.#book.remotes.find(({ kind, relay }) => kind === 'relayed' && relay !== null)
    if (far === undefined) return
    this.#relayed = true
    this.#paths.open({ remote: `${far.relay}-${far.address}`, status: 'backup' }).catch((error: unknown) => {
      this.#part.logger.debug?.('no path over the relay', { relay: far.relay, error })
    })
  }

  get #isBusy(): boolean {
    return this.#puncher.running > 0 || this.#state === 'negotiating' || this.#announcer?.isSettled === false
  }

  #hopeless(): ServiceError {
    const remotes = this.#book.remotes.map(({ address, nat }) => `${address} (${nat})`).join(', ')
    return new ServiceError('QB_PUNCH_FAILED', `no direct path: nothing is left to try towards ${remotes === '' ? 'a peer that has told no address' : remotes} after ${this.#puncher.probesSent} probes; the relay still carries the connection`, { value: remotes })
  }

  #check(): void {
    if (this.#state !== 'on') this.#off()
  }

  #off(): never {
    throw this.#part.error() ?? offError(this.#state === 'negotiating' ? 'the handshake is not complete' : this.#why)
  }
}

export function createTraversal(part: NatPart, paths: PathSet): ConnectionTraversal {
  return new ConnectionTraversal(part, paths)
}
