/**
 * The order of things in a simulated world: the program runs until nothing of it is runnable, then time goes on to the next thing that
 * happens, in the engine or on the clock. The only place that uses the real event loop, and only to let the program run.
 *
 * What counts as runnable: microtasks, `process.nextTick`, `setImmediate` (the program's own and the library's turns), and what `hold()`
 * holds. Files, sockets, threads and real timers do not: a program that waits for those holds the world meanwhile.
 */
import { StepEnd } from '../binding/index.ts'
import type { NativeWorld } from '../binding/index.ts'
import { REAL_TIME } from '../config/index.ts'
import { ServiceError } from '../errors/index.ts'
import { VirtualClock } from './clock.ts'

/** Endpoints that one step can announce. */
const WOKEN = 64
/** Turns of `setImmediate` in a row after which a program counts as polling, not as working. */
const POLLS = 100
/** When nothing can happen any more, real work that nobody held gets this many chances, this far apart. */
const GRACE = 20
const GRACE_MS = 5

export interface LoopOwner {
  native: NativeWorld
  limitMs: number
  /** Calls JavaScript of an endpoint. */
  wake(endpoint: number): void
  /** The engine may have told of datagrams. */
  onNews(): void
  /** What everybody says when nothing can happen. */
  explain(): string
}

export class Loop {
  readonly clock: VirtualClock
  readonly #owner: LoopOwner
  readonly #out = new Float64Array(2 + WOKEN)
  #soon: (() => void)[] = []
  #holds = 0
  #onRelease: (() => void) | null = null
  #failure: { error: unknown } | null = null
  #running = false

  constructor(owner: LoopOwner) {
    this.#owner = owner
    this.clock = new VirtualClock((run) => void this.#soon.push(run))
  }

  /** @throws QB_SIM_STUCK QB_SIM_TIME_LIMIT, and what `main` or a scripted event throws */
  async run<T>(main: () => Promise<T>): Promise<T> {
    if (this.#running) throw new ServiceError('QB_OPTION_INVALID', 'the world is running already; await the first run()')
    this.#running = true
    this.#failure = null
    try {
      return await this.#drive(main)
    } finally {
      this.#running = false
    }
  }

  hold(): () => void {
    this.#holds += 1
    let held = true
    return () => {
      if (!held) return
      held = false
      this.#holds -= 1
      if (this.#holds === 0) this.#onRelease?.()
    }
  }

  /** `run` fails with this. */
  fail(error: unknown): void {
    this.#failure ??= { error }
  }

  async #drive<T>(main: () => Promise<T>): Promise<T> {
    const result: { value?: T; settled: boolean } = { settled: false }
    // A main that throws before its first await rejects as well.
    const promise = (async () => main())()
    promise.then((value) => Object.assign(result, { value, settled: true }), (error: unknown) => this.fail(error))
    let chances = GRACE
    for (;;) {
      await this.#settle()
      if (this.#failure !== null) throw this.#failure.error
      if (result.settled) return result.value as T
      if (this.#goOn()) {
        chances = GRACE
        continue
      }
      if (chances === 0) throw this.#stuck()
      chances -= 1
      await new Promise<void>((resolve) => void REAL_TIME.after(GRACE_MS, resolve))
    }
  }

  /** Lets the program run until it waits for the world. */
  async #settle(): Promise<void> {
    let polls = 0
    for (;;) {
      await new Promise<void>((resolve) => setImmediate(resolve))
      if (this.#soon.length > 0) {
        const due = this.#soon
        this.#soon = []
        for (const run of due) run()
        continue
      }
      if (this.#holds > 0) {
        await new Promise<void>((resolve) => (this.#onRelease = resolve))
        this.#onRelease = null
        continue
      }
      polls += 1
      if (polls >= POLLS || !process.getActiveResourcesInfo().includes('Immediate')) return
    }
  }

  /** One thing happens; false: nothing can. */
  #goOn(): boolean {
    const { native, limitMs } = this.#owner
    const due = this.clock.takeDue()
    if (due !== null) {
      due()
      return true
    }
    const limitNs = limitMs * 1e6
    const until = Math.min(this.clock.nextNs, limitNs)
    // Samples follow what happens; they alone do not make time pass.
    const count = native.step(until, this.clock.awaited, this.#out)
    const end = this.#out[1]
    this.clock.advance(this.#out[0] ?? 0)
    for (let index = 0; index < count; index++) this.#owner.wake(this.#out[2 + index] ?? 0)
    this.#owner.onNews()
    if (end === StepEnd.LIVELOCK) throw new ServiceError('QB_INTERNAL', `the simulated world does not get past ${this.clock.now()} ms; please report this with the program`)
    if (end !== StepEnd.REACHED) return end !== StepEnd.IDLE
    if (this.clock.nowNs >= limitNs) throw new ServiceError('QB_SIM_TIME_LIMIT', `the program was not done after ${limitMs} ms of virtual time (limitMs); ${this.#owner.explain()}`)
    return true
  }

  #stuck(): ServiceError {
    return new ServiceError('QB_SIM_STUCK', `nothing can happen any more at ${this.clock.now()} ms, and the program still waits; ${this.#owner.explain()}`)
  }
}
