/** The client's part of `-R`: dials the server as the private end of a reverse connection, and joins each stream that comes to the target here. */
import type { Connection, ConnectionOptions, Endpoint } from '../../index.ts'
import { reverseConnect } from '../../reverse/index.ts'
import type { ReverseDialler } from '../../reverse/index.ts'
import type { TunnelManager } from '../../tunnel/index.ts'
import { backwardOf } from '../../tunnel/inner.ts'
import { serviceOf } from './listeners.ts'
import { join } from './specs.ts'
import type { Forward } from './specs.ts'
import { remoteFailure } from './words.ts'
import type { Wanted } from './words.ts'

/** What no second attempt would mend. */
const FINAL = /^QB_(?:REVERSE_(?:AUTH|NAME|NOT_SUPPORTED|PROTOCOL)|TLS_|OPTION_)/
/** Pauses between attempts, as those of tunnels. */
const PAUSES = { minMs: 250, maxMs: 30_000, factor: 2, jitter: 0.2 }

export interface RemoteOptions {
  endpoint: Endpoint
  manager: TunnelManager
  /** Of the server, with its port. */
  remote: string
  connection: ConnectionOptions
  /** `--cert`, `--key`. */
  identity: { cert: string; key: string }
  timeoutMs: number
  keepAliveMs: number
  /** Failures in a row after which it gives up; 0: none is repeated. The first attempt never is. */
  attempts: number
  forward: Forward
  /** Not for the first time that it opens, nor after its end. */
  onChange(change: RemoteChange): void
}

/** The port at the server is open (again), or is not. */
export interface RemoteChange {
  open: boolean
  /** For people. */
  reason: string
}

/** One `-R`. */
export class RemoteForward {
  readonly #dialler: ReverseDialler
  readonly #forward: Forward
  readonly #wanted: Wanted
  readonly #attempts: number
  readonly #onChange: RemoteOptions['onChange']
  #connection: Connection | null = null
  /** In a row. */
  #failures = 0
  #last: Error | null = null
  #wasOpen = false
  #over = false
  #settleOpened: { resolve: () => void; reject: (error: Error) => void } = { resolve: () => undefined, reject: () => undefined }
  #settleClosed: (end: { error: Error | null }) => void = () => undefined
  /** The server has opened the port. */
  readonly opened: Promise<void>
  /** It will not be open again; no error: the server has ended it in order. Never rejects. */
  readonly closed: Promise<{ error: Error | null }>

  constructor({ endpoint, manager, remote, connection, identity, timeoutMs, keepAliveMs, attempts, forward, onChange }: RemoteOptions) {
    this.#forward = forward
    this.#wanted = { spec: `-R ${forward.spec}`, remote, target: null }
    this.#attempts = attempts
    this.#onChange = onChange
    this.opened = new Promise((resolve, reject) => { this.#settleOpened = { resolve, reject } })
    this.closed = new Promise((resolve) => { this.#settleClosed = resolve })
    this.opened.catch(() => undefined)
    const { target, bind } = forward
    const { limits: { idleTimeoutMs } = {}, cert: _cert, key: _key, ...rest } = connection
    const limits = idleTimeoutMs === undefined ? {} : { limits: { idleTimeoutMs } }
    this.#dialler = reverseConnect(
      { to: remote, endpoint, identity, service: serviceOf(bind), retry: PAUSES, connectTimeoutMs: timeoutMs, pingMs: keepAliveMs, connection: { ...rest, ...limits } },
      (stream) => backwardOf(manager).serve(stream, { ...target, label: join(target) }, `-R ${join(bind)}`),
    )
    this.#dialler.connections$.subscribe(([first]) => { this.#connection = first ?? null })
    // Attempts that fail one after the other are one state: they are counted by connection.
    this.#dialler.events$.subscribe(({ state }) => { if (state === 'FAILED') this.#failures += 1 })
    this.#dialler.state$.subscribe(({ state, reason, error }) => this.#onState(state, reason, error))
    this.#dialler.events$.subscribe(() => this.#countOut())
  }

  get connection(): Connection | null {
    return this.#connection
  }

  get name(): string {
    return `-R ${join(this.#forward.bind)}`
  }

  prometheus(): string {
    return this.#dialler.prometheus()
  }

  stop(drainMs: number): Promise<void> {
    return this.#dialler.stop({ drainMs })
  }

  #onState(state: string, reason: string, error: Error | null): void {
    if (this.#over || state === 'STOP') return
    if (state === 'FULL') {
      this.#failures = 0
      if (this.#wasOpen) this.#onChange({ open: true, reason })
      this.#wasOpen = true
      this.#settleOpened.resolve()
      return
    }
    if (error !== null) this.#last = error
    const final = FINAL.test((error as { code?: string } | null)?.code ?? '')
    if (this.#wasOpen ? final || this.#attempts === 0 : error !== null) this.#give(error)
    else if (this.#wasOpen) this.#countOut()
    if (this.#wasOpen && !this.#over) this.#onChange({ open: false, reason: error === null ? reason : remoteFailure(error, this.#wanted).message })
  }

  #countOut(): void {
    if (this.#wasOpen && this.#last !== null && this.#failures >= this.#attempts) this.#give(this.#last)
  }

  #give(error: Error | null): void {
    if (this.#over) return
    this.#over = true
    const told = error === null ? null : remoteFailure(error, this.#wanted)
    if (told !== null) this.#settleOpened.reject(told)
    this.#settleClosed({ error: told })
    void this.#dialler.stop({ drainMs: 0 })
  }
}
