/**
 * Questions of one endpoint to STUN servers: names for requests, and who waits for the answer. The engine asks, repeats and infers
 * (traversal §4); here an answer finds its asker. Knows nothing of connections.
 */
import type { Engine, NativeEvent, NativeNatEvent, NativeNatReport, NativeStunForm } from '../binding/index.ts'
import { waitFor } from '../config/index.ts'
import type { Cancel } from '../config/index.ts'
import { ServiceError } from '../errors/index.ts'
import type { NatObservation, NatReport } from './types.ts'

export interface StunAnswer {
  /** The address of ours at which the answer came in. */
  local: string
  mapped: string
  from: string
  rttMs: number
  tries: number
}

/** How patient a question is. */
export interface Patience {
  timeoutMs: number
  tries: number
}

export interface Detection {
  local: string
  servers: readonly string[]
  form: NativeStunForm
  patience: Patience
  life: boolean
  onObservation: (observation: NatObservation) => void
}

/** Events that answer a question. */
type Answer = Extract<NativeNatEvent, { ticket: number }>
type Sink = (event: Answer) => void

export class StunDesk {
  readonly #engine: Engine
  readonly #work: () => Cancel
  readonly #sinks = new Map<number, Sink>()
  /** Of those who wait: what they hear when the endpoint closes. */
  readonly #ends = new Map<number, () => void>()
  #tickets = 0
  #ended = false

  /** `work`: as of `AgentOwner`, for questions that somebody waits for. */
  constructor(engine: Engine, work: () => Cancel) {
    this.#engine = engine
    this.#work = work
  }

  /** The outer address of a bound socket, as a server sees it; null: silence. Rejects with the abort reason only. */
  ask(local: string, server: string, form: NativeStunForm, patience: Patience, signal?: AbortSignal): Promise<StunAnswer | null> {
    return waitFor(signal, (settle) => {
      if (this.#ended) settle.resolve(null)
      return this.#wait((ticket) => ({ do: 'nat-ask', ticket, local, server, form, ...patience }), (event) => {
        if (event.type === 'nat-answer') settle.resolve({ local: event.local, mapped: event.mapped, from: event.from, rttMs: event.rttMs, tries: event.tries })
        else if (event.type === 'nat-silence') settle.resolve(null)
      }, () => settle.resolve(null))
    })
  }

  /** Null: no server answered. Rejects with the abort reason only. */
  detect({ local, servers, form, patience, life, onObservation }: Detection, signal?: AbortSignal): Promise<NatReport | null> {
    return waitFor(signal, (settle) => {
      if (this.#ended) settle.resolve(null)
      return this.#wait((ticket) => ({ do: 'nat-detect', ticket, local, servers: [...servers], form, ...patience, life }), (event) => {
        if (event.type === 'nat-observation') onObservation(event.observation)
        else if (event.type === 'nat-report') settle.resolve(event.report === null ? null : publicReport(event.report))
      }, () => settle.resolve(null))
    })
  }

  /** Keeps a mapping alive until the answer is called, and tells what it is, null while the server is silent. */
  keep(local: string, server: string, form: NativeStunForm, onMapping: (mapped: string | null) => void): Cancel {
    return this.#open((ticket) => ({ do: 'nat-keep', ticket, local, server, form }), (event) => {
      if (event.type === 'nat-mapping') onMapping(event.mapped)
    }, () => {})
  }

  /** True if it was for us. */
  onEvent(event: NativeEvent): boolean {
    if (!('ticket' in event) || !event.type.startsWith('nat-')) return false
    // One for a question that was given up finds nobody.
    this.#sinks.get((event as Answer).ticket)?.(event as Answer)
    return true
  }

  /** The endpoint has closed: whoever waits hears silence. */
  end(): void {
    this.#ended = true
    const ends = [...this.#ends.values()]
    this.#sinks.clear()
    this.#ends.clear()
    for (const end of ends) end()
  }

  /** As `#open`, and the process does not end meanwhile. */
  #wait(order: (ticket: number) => Parameters<Engine['tell']>[1], sink: Sink, onEnd: () => void): Cancel {
    const rest = this.#work()
    const stop = this.#open(order, sink, onEnd)
    return () => {
      stop()
      rest()
    }
  }

  /** Asks, and answers how to stop. */
  #open(order: (ticket: number) => Parameters<Engine['tell']>[1], sink: Sink, onEnd: () => void): Cancel {
    if (this.#ended) return () => {}
    const ticket = (this.#tickets += 1)
    this.#sinks.set(ticket, sink)
    this.#ends.set(ticket, onEnd)
    this.#engine.tell(0, order(ticket))
    return () => {
      if (!this.#sinks.delete(ticket)) return
      this.#ends.delete(ticket)
      if (!this.#ended) this.#engine.tell(0, { do: 'nat-cancel', ticket })
    }
  }
}

/** Without a translator in between nothing depends on anything. */
function publicReport(report: NativeNatReport): NatReport {
  return { ...report, mapping: report.mapping === 'none' ? 'endpoint-independent' : report.mapping }
}

/** No server answered. */
export function silentServers(servers: readonly string[], tries: number): ServiceError {
  return new ServiceError('QB_NAT_NO_SERVER', `none of ${servers.join(', ') || 'no servers'} answered ${tries} times asked; check the addresses, the dialect and that UDP may leave`, { value: servers })
}
