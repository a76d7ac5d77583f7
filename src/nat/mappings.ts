/**
 * What NATs do with sockets of one endpoint, learned once for all of its connections: mappings that are kept alive as long as somebody
 * watches, and reports of detections, good until the network changes (traversal T-46, T-50).
 */
import type { NativeStunForm } from '../binding/index.ts'
import type { Cancel } from '../config/index.ts'
import type { InterfaceWatch } from '../path/index.ts'
import type { StunDesk } from './desk.ts'
import type { NatReport } from './types.ts'

type Watch = (mapped: string | null) => void

interface Kept {
  mapped: string | null
  /** The server has spoken, or was silent. */
  told: boolean
  readonly watchers: Set<Watch>
  /** The server said so, or was silent. */
  hear: Watch
  stop: Cancel
}

const PATIENCE = { timeoutMs: 300, tries: 3 }
/** What is asked because something is wrong. */
const DOUBT = { timeoutMs: 500, tries: 3 }

export class Mappings {
  readonly #desk: StunDesk
  readonly #interfaces: InterfaceWatch
  /** By socket and server. */
  readonly #kept = new Map<string, Kept>()
  /** By socket and servers. */
  readonly #reports = new Map<string, Promise<NatReport | null>>()
  #stopListening: Cancel | null = null
  #doubting = false

  constructor(desk: StunDesk, interfaces: InterfaceWatch) {
    this.#desk = desk
    this.#interfaces = interfaces
  }

  /** Keeps a mapping alive; `watch` hears what it is now, if that is known, and every change. */
  watch(local: string, server: string, form: NativeStunForm, watch: Watch): Cancel {
    const key = `${local} ${server} ${form}`
    let kept = this.#kept.get(key)
    if (kept === undefined) {
      const made: Kept = { mapped: null, told: false, watchers: new Set(), hear: () => {}, stop: () => {} }
      kept = made
      this.#kept.set(key, made)
      made.hear = (mapped) => {
        made.mapped = mapped
        made.told = true
        for (const each of made.watchers) each(mapped)
      }
      made.stop = this.#desk.keep(local, server, form, made.hear)
    }
    const { watchers, told, mapped } = kept
    // Each counts, also if two are the same function.
    const own: Watch = (now) => watch(now)
    watchers.add(own)
    if (told) own(mapped)
    return () => {
      watchers.delete(own)
      if (watchers.size > 0 || this.#kept.get(key)?.watchers !== watchers) return
      this.#kept.get(key)?.stop()
      this.#kept.delete(key)
    }
  }

  /** A way has gone silent: perhaps a NAT has forgotten us. All mappings are asked for now, not when their next keep-alive is due (traversal T-36). */
  doubt(): void {
    if (this.#doubting || this.#kept.size === 0) return
    this.#doubting = true
    const asked = Array.from(this.#kept, async ([key, kept]) => {
      const [local = '', server = '', form] = key.split(' ')
      const answer = await this.#desk.ask(local, server, form as NativeStunForm, DOUBT)
      // Silence is judged by the keep-alive, which is more patient.
      if (answer !== null && answer.mapped !== kept.mapped && this.#kept.get(key) === kept) kept.hear(answer.mapped)
    })
    void Promise.allSettled(asked).then(() => {
      this.#doubting = false
    })
  }

  /** What stands before a socket; null: no server answered. Asked once, until the addresses of this host change. Never rejects. */
  report(local: string, servers: readonly string[], form: NativeStunForm): Promise<NatReport | null> {
    const key = reportKey(local, servers, form)
    let report = this.#reports.get(key)
    if (report === undefined) {
      this.#stopListening ??= this.#interfaces.listen(() => this.#reports.clear())
      report = this.#desk.detect({ local, servers, form, patience: PATIENCE, life: false, onObservation: () => {} })
      this.#reports.set(key, report)
    }
    return report
  }

  /** What somebody has found out already: connections of this endpoint need not ask again. */
  learn(local: string, servers: readonly string[], form: NativeStunForm, report: NatReport): void {
    this.#stopListening ??= this.#interfaces.listen(() => this.#reports.clear())
    this.#reports.set(reportKey(local, servers, form), Promise.resolve(report))
  }

  end(): void {
    this.#stopListening?.()
    this.#kept.clear()
    this.#reports.clear()
  }
}

function reportKey(local: string, servers: readonly string[], form: NativeStunForm): string {
  return `${local} ${form} ${servers.join(' ')}`
}
