/**
 * Rounds of hole punching as people see them (traversal §7): begun by hand, told as they come, run by a function of the user's where there is
 * one. The engine decides whether a round begins, and bounds it.
 */
import type { NativePunchEvent } from '../binding/index.ts'
import { checkCall, invalidOption, waitFor } from '../config/index.ts'
import type { Settle, Waiting } from '../config/index.ts'
import { ServiceError } from '../errors/index.ts'
import type { ErrorCode } from '../errors/index.ts'
import type { Path } from '../path/index.ts'
import { publicAddress } from './address-book.ts'
import type { PunchBook } from './address-book.ts'
import { offError, tellIfAlive } from './part.ts'
import type { NatPart } from './part.ts'
import type { Progress } from './progress.ts'
import { StrategyRun } from './strategy.ts'
import type { Address, NatReport, Puncher, PunchStrategy, TraversalEvent } from './types.ts'

/** From a hole to a path: validation, three times. */
const VALIDATION_MS = 6000

type RoundEvent = Extract<NativePunchEvent, { type: 'punch-round' }>
type StepsEvent = Extract<NativePunchEvent, { type: 'punch-wants-steps' }>

/** Somebody waits for a round. */
interface Call {
  remote: Address
  settle: Settle<Path>
  /** The round is done; the path is awaited. */
  onDone: () => void
}

export interface PuncherOwner {
  readonly part: NatPart
  readonly book: PunchBook
  readonly progress: Progress
  /** Throws where traversal is not on. */
  check(): void
  emit(event: TraversalEvent): void
  /** Of a bound socket or of its outer address; null: not known. */
  report(address: string): NatReport | null
}

export class ConnectionPuncher implements Puncher {
  readonly #owner: PuncherOwner
  readonly #calls = new Map<number, Call>()
  readonly #rounds = new Set<string>()
  readonly #runs = new Map<string, { round: number; run: StrategyRun }>()
  /** Of punches by hand, by the peer's seq. */
  readonly #strategies = new Map<number, PunchStrategy>()
  #tickets = 0
  /** As last asked. */
  #probes = 0

  constructor(owner: PuncherOwner) {
    this.#owner = owner
  }

  get running(): number {
    return this.#rounds.size
  }

  get probesSent(): number {
    const { part } = this.#owner
    if (part.error() !== null || part.traversal === null) return this.#probes
    try {
      const state = part.engine.ask(part.key, { ask: 'traversal' }) as { probesSent?: number } | null
      this.#probes = state?.probesSent ?? this.#probes
    } catch {
      // The engine knows of an end that is not told yet.
    }
    return this.#probes
  }

  async punch(remote: Address, options: Waiting & { strategy?: PunchStrategy } = {}): Promise<Path> {
    checkCall(options, ['signal', 'strategy'])
    const { signal, strategy } = options
    if (strategy !== undefined && typeof strategy !== 'function') throw invalidOption('strategy', strategy, 'a function')
    const { part, book, progress } = this.#owner
    this.#owner.check()
    const target = book.remote((remote as Partial<Address> | undefined)?.seq ?? -1)
    if (target === undefined) throw invalidOption('remote', remote, 'an address of `addresses.remote$` that the peer has not withdrawn')
    return waitFor(signal, (settle) => {
      const ticket = (this.#tickets += 1)
      let leaveWait = (): void => {}
      let cancelLimit = (): void => {}
      const onDone = (): void => {
        leaveWait = progress.wait(settle)
        cancelLimit = part.sampling.timing.after(VALIDATION_MS, () => settle.reject(punchError('QB_PUNCH_FAILED', target, 'the hole did not become a path')))
      }
      this.#calls.set(ticket, { remote: target, settle, onDone })
      if (strategy !== undefined) this.#strategies.set(target.seq, strategy)
      part.engine.tell(part.key, { do: 'punch', ticket, remote: target.seq, own: strategy !== undefined || part.traversal?.strategy !== undefined })
      return () => {
        leaveWait()
        cancelLimit()
        this.#calls.delete(ticket)
        if (signal?.aborted === true) this.#cancel(target.seq)
      }
    })
  }

  onRefused({ ticket, reason }: Extract<NativePunchEvent, { type: 'punch-refused' }>): void {
    const call = this.#calls.get(ticket)
    if (call === undefined) return
    const { remote, settle } = call
    switch (reason) {
      case 'running': return undefined
      case 'off': return settle.reject(offError('the peer did not offer it'))
      case 'direct': return call.onDone()
      case 'no-pair': return settle.reject(punchError('QB_PUNCH_FAILED', remote, 'none of our addresses fits it: announce one of its tier and family'))
    }
  }

  onRound(event: RoundEvent): void {
    const { atMs, localSeq, remoteSeq, as, state, plan, probes, reason } = event
    const punch = `${localSeq}-${remoteSeq}`
    if (state === 'started') this.#rounds.add(punch)
    else if (state !== 'yielded') this.#onEnd(punch, event)
    if (state !== 'yielded') this.#owner.emit({ atMs, type: 'round', state, punch, as, plan, probes, reason })
  }

  onWantsSteps(event: StepsEvent): void {
    const { localSeq, remoteSeq, context } = event
    const punch = `${localSeq}-${remoteSeq}`
    void this.#steps(punch, event).catch((error: unknown) => {
      void this.#drop(punch)
      this.#owner.part.callbackFailed('traversal.strategy', error)
      return { steps: [], more: false }
    }).then(({ steps, more }) => {
      const { part } = this.#owner
      // The round may be over meanwhile.
      if (this.#isCurrent(punch, context.round)) tellIfAlive(part, { do: 'punch-steps', localSeq, remoteSeq, steps, more })
    })
  }

  end(error: Error): void {
    for (const { settle } of Array.from(this.#calls.values())) settle.reject(error)
    for (const punch of Array.from(this.#runs.keys())) void this.#drop(punch)
    this.#rounds.clear()
  }

  #isCurrent(punch: string, round: number): boolean {
    return this.#rounds.has(punch) && (this.#runs.get(punch)?.round ?? round) === round
  }

  async #steps(punch: string, { remoteSeq, context }: StepsEvent): Promise<Awaited<ReturnType<StrategyRun['next']>>> {
    let known = this.#runs.get(punch)
    if (known === undefined || known.round !== context.round) {
      void this.#drop(punch)
      const strategy = this.#strategies.get(remoteSeq) ?? this.#owner.part.traversal?.strategy
      if (strategy === undefined) return { steps: [], more: false }
      const { agent } = this.#owner.part
      const local = publicAddress(context.local)
      const relayed = this.#owner.progress.direct === null
      known = { round: context.round, run: new StrategyRun(strategy, {
        role: context.role, local, remote: publicAddress(context.remote), round: context.round, report: this.#owner.report(local.address),
        relayRttMs: relayed && this.#owner.progress.relayed ? context.rttMs : null, random: () => agent.random(),
      }) }
      this.#runs.set(punch, known)
    }
    return known.run.next()
  }

  #onEnd(punch: string, { remoteSeq, state, reason, probes, number }: RoundEvent): void {
    this.#rounds.delete(punch)
    void this.#drop(punch)
    for (const call of Array.from(this.#calls.values())) {
      if (call.remote.seq !== remoteSeq) continue
      if (state === 'done') call.onDone()
      else call.settle.reject(punchError(codeOf(reason), call.remote, `${reason}, in round ${number} after ${probes} probes`))
    }
    this.#strategies.delete(remoteSeq)
  }

  /** What the strategy throws when it is told to stop is nobody's concern. */
  async #drop(punch: string): Promise<void> {
    const known = this.#runs.get(punch)
    this.#runs.delete(punch)
    await known?.run.stop().catch(() => {})
  }

  #cancel(remoteSeq: number): void {
    const { part } = this.#owner
    for (const punch of this.#rounds) {
      const [localSeq = 0, remote = 0] = punch.split('-').map(Number)
      if (remote === remoteSeq) tellIfAlive(part, { do: 'punch-cancel', localSeq, remoteSeq })
    }
  }
}

/** The engine's reasons in the words of the contract. */
function codeOf(reason: string): ErrorCode {
  if (/budget|probed as may|volume/i.test(reason)) return 'QB_PUNCH_BUDGET'
  return /must not be|not allowed|forbid/i.test(reason) ? 'QB_PUNCH_FORBIDDEN' : 'QB_PUNCH_FAILED'
}

const HINTS: Readonly<Record<string, string>> = { QB_PUNCH_BUDGET: 'wait a minute', QB_PUNCH_FORBIDDEN: "privateTargets and portSearch widen what may be probed" }

function punchError(code: ErrorCode, { address, nat }: Address, why: string): ServiceError {
  return new ServiceError(code, `no hole to ${address} (${nat}): ${why}; ${HINTS[code] ?? 'the relay still carries the connection'}`, { value: address })
}
