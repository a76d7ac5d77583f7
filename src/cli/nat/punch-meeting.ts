/** One connection of `nat punch` from its first byte to its end: watches what its traversal does, keeps bytes moving, knows what it came to. */
import type { Connection, Endpoint, Path } from '../../index.ts'
import type { NatReport, TraversalEvent } from '../../traversal/index.ts'
import { nowMs, sleep } from '../clock.ts'
import type { Stage } from '../exit.ts'
import { printable } from '../format.ts'
import { toJson } from '../json.ts'
import type { Colors } from '../terminal.ts'
import { Talk } from './punch-talk.ts'
import { eventLine, step } from './punch-view.ts'
import type { PunchResult } from './punch-view.ts'

/** Bytes go on for so long on the direct path: a pause of the change would show. */
const AFTERWARDS_MS = 300
const MAX_EVENTS = 1000

export class Meeting {
  /** How far it came. */
  stage: Stage = 'connecting'
  begun = false
  /** Why there is no direct path. */
  failure: { code: string; message: string } | null = null
  readonly #endpoint: Endpoint
  readonly #name: string
  readonly #colors: Colors
  readonly #show: (line: string) => void
  readonly #events: TraversalEvent[] = []
  #startMs = nowMs()
  /** The same instant on the endpoint's clock. */
  #startedAt: number
  #talk: Talk
  #connection: Connection | null = null
  /** The last event, whenever it was. */
  #said = ''
  #probes = 0
  #path: { local: string; remote: string } | null = null
  #msToDirect: number | null = null
  #msToRelay: number | null = null

  /** `name`: of ours. */
  constructor(endpoint: Endpoint, name: string, colors: Colors, show: (line: string) => void) {
    this.#endpoint = endpoint
    this.#name = name
    this.#colors = colors
    this.#show = show
    this.#startedAt = endpoint.now()
    this.#talk = new Talk(this.#startMs)
  }

  /** Time counts from here. */
  begin(): void {
    this.begun = true
    this.#startMs = nowMs()
    this.#startedAt = this.#endpoint.now()
    this.#talk = new Talk(this.#startMs)
  }

  say(mark: 'begin' | 'news' | 'good' | 'bad', words: string): void {
    this.#show(step(nowMs() - this.#startMs, mark, words, this.#colors))
  }

  /** Ends with the direct path, with nothing left to try, or with the connection. @throws the connection's error, and the signal's reason */
  async attend(connection: Connection, role: 'dials' | 'waits', signal: AbortSignal): Promise<void> {
    if (role === 'waits') this.begin()
    this.#connection = connection
    this.stage = 'connected'
    const first = [...connection.paths][0]
    this.#msToRelay = role === 'dials' && first?.relayed === true ? nowMs() - this.#startMs : null
    this.#path = first === undefined ? null : sides(first)
    this.say('good', `${first?.relayed === true ? 'relayed  ' : 'connected'}  ${connection.local} ─ ${connection.remote}`)
    const watching = connection.traversal.events$.subscribe((event) => this.#onEvent(event))
    try {
      const direct = this.#direct(connection, signal)
      await this.#talk.start(connection, role, this.#name, signal)
      if (this.#talk.peer !== '') this.say('news', `peer       calls itself ${printable(this.#talk.peer)}`)
      if (role === 'dials') await this.#finish(direct, connection, signal)
      else await Promise.all([this.#talk.heard(), Promise.race([direct, connection.closed])])
    } finally {
      this.#talk.stop()
      this.#probes = connection.traversal.puncher.probesSent
      watching.unsubscribe()
    }
    if (role === 'waits') await this.#talk.end()
  }

  result(): PunchResult {
    const rounds = this.#events.filter((event) => event.type === 'round' && event.state === 'started').length
    const report = this.#events.findLast((event) => event.type === 'nat')
    return {
      direct: this.#msToDirect !== null, path: this.#path, rounds, probes: this.#connection?.traversal.puncher.probesSent ?? this.#probes,
      msToRelay: this.#msToRelay, msToDirect: this.#msToDirect, local: (report as { report: NatReport } | undefined)?.report ?? null,
      events: this.#events, peer: this.#talk.peer === '' ? null : this.#talk.peer, pauseMs: this.#talk.pauseMs,
    }
  }

  async #finish(direct: Promise<void>, connection: Connection, signal: AbortSignal): Promise<void> {
    await direct
    await sleep(AFTERWARDS_MS, signal)
    signal.throwIfAborted()
    await this.#talk.end()
    await connection.close()
  }

  async #direct(connection: Connection, signal: AbortSignal): Promise<void> {
    try {
      const path = await connection.traversal.direct({ signal })
      this.#msToDirect = nowMs() - this.#startMs
      this.#path = sides(path)
      this.say('good', `direct     ${path.local} ═ ${path.remote}`)
    } catch (error) {
      signal.throwIfAborted()
      const { code = 'QB_INTERNAL', message } = error as { code?: string; message: string }
      this.failure = { code, message }
      this.say('bad', `relayed    ${message}`)
    }
  }

  #onEvent(event: TraversalEvent): void {
    if (this.#events.length < MAX_EVENTS) this.#events.push(event)
    // A report that is told again says nothing new.
    const words = toJson({ ...event, atMs: 0 })
    const line = eventLine(event, this.#startedAt, this.#colors)
    if (line !== null && words !== this.#said) this.#show(line)
    this.#said = words
  }
}

function sides({ local, remote }: Path): { local: string; remote: string } {
  return { local, remote }
}
