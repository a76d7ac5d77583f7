/** What `quicbraid tunnel` tells while it runs: lines for people, or one JSON object a line. */
import type { BridgeEvent, TunnelManager } from '../../tunnel/index.ts'
import { nowMs } from '../clock.ts'
import { inFlags } from '../flags.ts'
import { printable } from '../format.ts'
import { rounded } from '../paths.ts'
import type { Progress } from '../progress.ts'
import type { Terminal } from '../terminal.ts'
import { endedLine, summaryOf } from './view.ts'

export interface LogChoice {
  json?: true
  quiet?: true
}

/** Lines about what was refused, in one second. */
const REFUSALS_PER_SECOND = 20
/** Beginnings of bridges that are remembered. */
const MOST_BEGINNINGS = 65_536

export class TunnelLog {
  readonly terminal: Terminal
  readonly #json: boolean
  readonly #quiet: boolean
  readonly #now: () => number
  readonly #startMs = nowMs()
  /** When a bridge began, by its number. */
  readonly #began = new Map<number, number>()
  #progress: Progress | null = null
  #refusals = { second: 0, count: 0 }

  /** `now`: of the endpoint. */
  constructor(terminal: Terminal, now: () => number, { json, quiet }: LogChoice) {
    this.terminal = terminal
    this.#now = now
    this.#json = json === true
    this.#quiet = quiet === true
  }

  /** Lines stand above it. */
  watchedBy(progress: Progress): void {
    this.#progress = progress
  }

  /** What bridges do, until the manager ends. */
  follow(manager: TunnelManager): void {
    const lost = new Set<number>()
    manager.bridges$.subscribe((event) => this.#onBridge(event))
    manager.tunnels$.subscribe((event) => {
      const reason = inFlags(event.reason)
      if (this.#json) this.event('tunnel', { ...event, reason, ok: true })
      else if (event.type === 'lost') {
        this.line(`${this.terminal.colors.yellow('..')}  ${lost.has(event.tunnel) ? 'not connected again' : 'connection lost'}: ${printable(reason)}`)
        lost.add(event.tunnel)
      } else if (event.type === 'opened' && lost.delete(event.tunnel)) this.line(`${this.terminal.colors.green('ok')}  connected again to ${reason}`)
    })
  }

  /** The same in both forms; null: nothing for people. */
  tell(event: string, facts: object, line: string | null): void {
    if (this.#json) this.event(event, facts)
    else if (line !== null) this.line(line)
  }

  /** Somebody was not let go where they wanted. Peers choose how often: bounded. */
  refused(remote: string, wanted: string, why: string): void {
    const second = Math.floor(nowMs() / 1000)
    if (this.#refusals.second !== second) this.#refusals = { second, count: 0 }
    this.#refusals.count += 1
    if (this.#refusals.count > REFUSALS_PER_SECOND) return
    this.tell('refused', { ok: false, remote, target: wanted, reason: why }, `${this.terminal.colors.red('--')}  ${remote} wanted ${printable(wanted)}: ${why}`)
  }

  /** What the last object has, beside an error if there is one. */
  last(manager: TunnelManager): object {
    return { event: 'end', atMs: rounded(this.#now()), ...manager.statistics() }
  }

  end(manager: TunnelManager): void {
    if (this.#json) this.terminal.json({ ok: true, ...this.last(manager) })
    else this.terminal.result(summaryOf(manager.statistics(), nowMs() - this.#startMs))
  }

  /** For people; a result, so that it may be kept. */
  line(text: string): void {
    if (this.#quiet) return undefined
    if (this.#progress === null) this.terminal.result(text)
    else this.#progress.above(() => this.terminal.result(text))
    return undefined
  }

  event(event: string, facts: object): void {
    this.terminal.json({ event, atMs: rounded(this.#now()), ok: true, ...facts })
  }

  #onBridge(event: BridgeEvent): void {
    const { bridge, type, atMs } = event
    const began = this.#began.get(bridge)
    if (type === 'pending' && this.#began.size < MOST_BEGINNINGS) this.#began.set(bridge, atMs)
    const over = type === 'closed' || type === 'failed'
    if (over) this.#began.delete(bridge)
    if (this.#json) return this.event('bridge', { ...event, ok: type !== 'failed' })
    // A server has told of refusals already, with the reason.
    if (over && !(event.tunnel === null && event.reason === 'refused')) this.line(endedLine(event, atMs - (began ?? atMs), this.terminal.colors))
    return undefined
  }
}
