/**
 * Strategies of the user's: functions that say what a round does, step by step (api 2.8). Steps are pulled when the engine asks for them,
 * checked, and bounded; the engine runs them within its budgets. A throw, and a step that is none, ends the round as failed.
 */
import * as v from 'valibot'
import type { NativePunchStep } from '../binding/index.ts'
import { check, invalidOption, parseAddress } from '../config/index.ts'
import type { PunchContext, PunchStep, PunchStrategy } from './types.ts'

/** Handed over at once; more are asked for when they are done. */
const BATCH = 32
/** Of one round. */
const MOST_STEPS = 1000
const TTL = 64

const whole = (min: number, max: number) => {
  const allowed = `a whole number from ${min} to ${max}`
  return v.pipe(v.number(allowed), v.integer(allowed), v.minValue(min, allowed), v.maxValue(max, allowed))
}
const ms = () => v.pipe(v.number('milliseconds from 0 to 60000'), v.minValue(0, 'milliseconds from 0 to 60000'), v.maxValue(60_000, 'milliseconds from 0 to 60000'))
const TO = "'peer', a port of the peer's IP as text, or an address whose IP the peer named"
const to = v.pipe(v.string(TO), v.check((value) => value === 'peer' || portOf(value) !== null || (parseAddress(value)?.port ?? 0) > 0, TO))
const STEPS = "a step: { do: 'hello' | 'tell-peer' | 'wait' | 'new-socket' | 'predict' | 'collision' | 'port-search' }"
const step = v.variant('do', [
  v.strictObject({ do: v.literal('hello'), to, count: v.optional(whole(1, 64)), everyMs: v.optional(ms()), ttl: v.optional(whole(1, 255)) }),
  v.strictObject({ do: v.literal('tell-peer') }),
  v.strictObject({ do: v.literal('wait'), for: v.picklist(['tell', 'hello', 'done', 'any'], "'tell', 'hello', 'done', 'any'"), ms: ms(), orFail: v.optional(v.boolean('true or false')) }),
  v.strictObject({ do: v.literal('new-socket'), step: v.optional(whole(-65_535, 65_535)) }),
  v.strictObject({ do: v.literal('predict'), ports: v.pipe(v.array(whole(1, 65_535), 'a list of ports'), v.minLength(1, 'at least one port'), v.maxLength(64, 'at most 64 ports')) }),
  v.strictObject({ do: v.literal('collision') }),
  v.strictObject({ do: v.literal('port-search') }),
], STEPS)

/** Steps for the engine; `more`: ask again after them. */
export interface StepBatch {
  steps: NativePunchStep[]
  more: boolean
}

/** One round of one strategy. */
export class StrategyRun {
  readonly #iterator: Iterator<PunchStep> | AsyncIterator<PunchStep>
  readonly #isAsync: boolean
  #given = 0
  #over = false

  /** @throws what the strategy throws, and QB_OPTION_INVALID for what is no iterable */
  constructor(strategy: PunchStrategy, context: PunchContext) {
    const steps = strategy(context) as Partial<Iterable<PunchStep> & AsyncIterable<PunchStep>> | null | undefined
    const many = steps?.[Symbol.asyncIterator]?.() ?? null
    const one = many ?? steps?.[Symbol.iterator]?.()
    if (one === undefined) throw invalidOption('strategy', steps, 'a function that answers steps, as a list or a generator')
    this.#isAsync = many !== null
    this.#iterator = one
  }

  /** The next steps. One at a time of those that are awaited, so that each is decided by what is known then. @throws (reject) what the strategy throws */
  async next(): Promise<StepBatch> {
    const steps: NativePunchStep[] = []
    const most = this.#isAsync ? 1 : BATCH
    while (steps.length < most && !this.#over) {
      const result = await this.#iterator.next()
      if (result.done === true) {
        this.#over = true
        break
      }
      this.#given += 1
      if (this.#given > MOST_STEPS) throw invalidOption('strategy', this.#given, `a strategy of at most ${MOST_STEPS} steps a round`)
      steps.push(...nativeSteps(check(step, result.value, 'step') as PunchStep))
    }
    return { steps, more: !this.#over }
  }

  /** The round has ended: the strategy may tidy up. */
  async stop(): Promise<void> {
    if (this.#over) return
    this.#over = true
    await this.#iterator.return?.()
  }
}

function nativeSteps(step: PunchStep): NativePunchStep[] {
  switch (step.do) {
    case 'hello': return [hello(step.to === 'peer' ? 'peer' : (portOf(step.to) ?? step.to), step.count ?? 1, step.everyMs ?? 0, step.ttl ?? TTL)]
    case 'predict': return step.ports.map((port) => hello(port, 1, 0, TTL))
    case 'wait': return [{ do: 'wait', for: step.for, ms: step.ms, orFail: step.orFail ?? false }]
    case 'new-socket': return [{ do: 'new-socket', step: step.step ?? null }]
    case 'tell-peer': case 'collision': case 'port-search': return [{ do: step.do }]
  }
}

function hello(to: string | number, count: number, everyMs: number, ttl: number): NativePunchStep {
  return { do: 'hello', to, count, everyMs, doubling: false, ttl }
}

function portOf(text: string): number | null {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  return port >= 1 && port <= 65_535 ? port : null
}
