/** What `reverse dial` tells: one line for each change of its state and of its target; requests as JSON, or with `-v`. */
import type { Connection, Endpoint } from '../../index.ts'
import type { PreconnectState } from '../../reverse/index.ts'
import { nowMs } from '../clock.ts'
import { errorJson } from '../exit.ts'
import { inFlags } from '../flags.ts'
import { formatBytes, formatMs, printable } from '../format.ts'
import type { ObserveValues } from '../options.ts'
import { PathLedger, rounded } from '../paths.ts'
import type { PathReport } from '../paths.ts'
import type { Terminal } from '../terminal.ts'
import type { RequestReport } from './join.ts'
import { targetText } from './parse.ts'
import type { RetryChoice, TargetAddress } from './parse.ts'
import { count, Teller } from './teller.ts'

export interface DialFacts extends ObserveValues {
  to: string
  service: string
  target: TargetAddress
  pool: number
  retry: RetryChoice
  once?: true
}

/** A change of the preconnector. */
export interface StateChange {
  state: PreconnectState
  reason: string
  error: Error | null
}

/** Connections whose paths the end tells, the last ones. */
const REMEMBERED = 64

export class DialLog {
  readonly #facts: DialFacts
  readonly #target: string
  readonly #tell: Teller
  readonly #startMs = nowMs()
  readonly #ledgers = new Map<Connection, PathLedger>()
  #live = 0
  #targetDown = false
  #open = 0
  #requests = 0
  #failed = 0
  #bytesUp = 0
  #bytesDown = 0

  constructor(terminal: Terminal, endpoint: Pick<Endpoint, 'now'>, facts: DialFacts) {
    this.#facts = facts
    this.#target = targetText(facts.target)
    this.#tell = new Teller(terminal, () => endpoint.now(), facts)
  }

  dialling(metrics?: string): void {
    const { to, service } = this.#facts
    this.#tell.event('dialling', { to, service, target: this.#target, ...(metrics === undefined ? {} : { metrics }) })
    this.#tell.say(`service '${service}' at ${this.#target} is offered to ${to}`)
  }

  state({ state, reason: said, error }: StateChange): void {
    if (state === 'STOP') return
    const reason = inFlags(said)
    this.#tell.event('state', { ok: state !== 'ERR', state, reason, connections: this.#live, ...(error === null ? {} : { error: errorJson(error) }) })
    // It ends the command, which says it.
    if (state === 'ERR' && this.#facts.once === true) return
    const mark = { INIT: 'news', FULL: 'good', ERR: 'bad' } as const
    this.#tell.line(mark[state], `${state.padEnd(4)}  ${printable(this.#words(state, reason))}`)
  }

  /** Those that are accepted now. */
  connections(all: readonly Connection[]): void {
    this.#live = all.length
    for (const connection of all) {
      if (this.#ledgers.has(connection)) continue
      this.#ledgers.set(connection, new PathLedger(connection, 'bytesSent'))
      const [[oldest, ledger] = []] = this.#ledgers
      if (this.#ledgers.size <= REMEMBERED || oldest === undefined) continue
      ledger?.stop()
      this.#ledgers.delete(oldest)
    }
  }

  begins(): void {
    this.#open += 1
  }

  request(remote: string, { ok, reason, why, bytesUp, bytesDown, ms }: RequestReport): void {
    this.#open -= 1
    this.#requests += 1
    if (!ok) this.#failed += 1
    this.#bytesUp += bytesUp
    this.#bytesDown += bytesDown
    this.#targetIs(reason === 'connect' ? (why ?? 'unreachable') : null)
    this.#tell.event('request', { ok, reason, why, remote, bytesUp, bytesDown, ms: rounded(ms) })
    if (this.#facts.verbose === true) this.#tell.line(ok ? 'good' : 'bad', `request  ${formatBytes(bytesUp)} in, ${formatBytes(bytesDown)} out, ${formatMs(ms)}${reason === null ? '' : `: ${reason}${why === null ? '' : ` (${why})`}`}`)
  }

  /** `failed`: an error follows. */
  end(how: 'in-order' | 'failed'): void {
    const paths = [...this.#ledgers.values()].flatMap((ledger) => ledger.report())
    for (const ledger of this.#ledgers.values()) ledger.stop()
    this.#tell.event('end', { requests: this.#requests, failed: this.#failed, open: this.#open, bytesUp: this.#bytesUp, bytesDown: this.#bytesDown, paths })
    const failed = this.#failed === 0 ? '' : `, ${this.#failed} failed`
    if (how === 'in-order' || this.#requests > 0) this.#tell.say(`${count(this.#requests, 'request')}${failed}, ${formatBytes(this.#bytesUp)} in, ${formatBytes(this.#bytesDown)} out in ${formatMs(nowMs() - this.#startMs)}`)
    if (new Set(paths.map(({ local }) => local)).size > 1) for (const line of pathLines(paths)) this.#tell.say(line)
  }

  #words(state: PreconnectState, reason: string): string {
    const { pool, retry } = this.#facts
    if (state === 'FULL') return `${count(pool, 'connection')}: requests come in`
    if (state === 'INIT') return this.#live === 0 ? `connecting (${reason})` : `${this.#live} of ${count(pool, 'connection')} (${reason})`
    return `${reason}; tried again ${retry === 'fixed' ? 'every second' : `after ${formatMs(retry.minMs)} to ${formatMs(retry.maxMs)}`}`
  }

  /** Told when it changes. */
  #targetIs(down: string | null): void {
    if ((down !== null) === this.#targetDown) return
    this.#targetDown = down !== null
    this.#tell.event('target', { ok: down === null, target: this.#target, reason: down })
    this.#tell.line(down === null ? 'good' : 'bad', down === null ? `target ${this.#target} answers again` : `target ${this.#target} does not answer (${down}): requests are reset until it does`)
  }
}

/** What each path of ours carried, over all connections. */
function pathLines(paths: readonly PathReport[]): string[] {
  const sent = new Map<string, number>()
  for (const { local, bytesSent, bytesReceived } of paths) {
    const host = local.replace(/:\d+$/, '')
    sent.set(host, (sent.get(host) ?? 0) + bytesSent + bytesReceived)
  }
  return [...sent].map(([host, bytes]) => `path ${host}: ${formatBytes(bytes)}`)
}
