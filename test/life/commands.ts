/** The commands of the life-cycle model, and how connections end. */
import * as fc from 'fast-check'
import type { Flow, Life, Side } from './model.ts'

type Command = fc.AsyncCommand<object, Life>

/** A command by name and arguments, as a counterexample shows it. */
class Act implements Command {
  readonly #words: string
  readonly #act: (life: Life) => unknown

  constructor(words: string, act: (life: Life) => unknown) {
    this.#words = words
    this.#act = act
  }

  check(): boolean {
    return true
  }

  async run(_model: object, life: Life): Promise<void> {
    await this.#act(life)
    life.checkFlows()
  }

  toString(): string {
    return this.#words
  }
}

const side = fc.constantFrom<Side>('near', 'far')
const pick = fc.nat({ max: 11 })

function onFlow(name: string, act: (life: Life, flow: Flow, value: number) => unknown, value: fc.Arbitrary<number> = fc.constant(0)): fc.Arbitrary<Command> {
  return fc.tuple(pick, value).map(([which, given]) => new Act(`${name}(${which}, ${given})`, (life) => {
    const flow = life.flow(which)
    return flow === null ? undefined : act(life, flow, given)
  }))
}

const sizes = fc.oneof(fc.nat({ max: 300 }), fc.integer({ min: 1000, max: 150_000 }))

const SLEEPS: fc.Arbitrary<Command>[] = [fc.integer({ min: 0, max: 200 }).map((ms) => new Act(`sleep(${ms})`, (life) => life.stage.sleep(ms)))]

const ALL: fc.Arbitrary<Command>[] = [
  fc.tuple(side, fc.constantFrom('bidi' as const, 'uni' as const)).map(([from, kind]) => new Act(`open(${from}, ${kind})`, (life) => life.open(from, kind))),
  onFlow('write', (life, flow, length) => life.write(flow, length), sizes),
  onFlow('end', (life, flow) => life.call(flow, 'end', () => {
    flow.ended = true
    flow.sender.end()
  })),
  onFlow('reset', (life, flow, code) => life.call(flow, 'reset', () => {
    flow.reset = true
    flow.sender.reset(code)
  }), fc.nat({ max: 1000 })),
  onFlow('stop', (life, flow, code) => {
    if (flow.receiver === null) return
    flow.stopped = true
    life.call(flow, 'stop', () => flow.receiver?.stop(code))
  }, fc.nat({ max: 1000 })),
  onFlow('destroy', (life, flow) => {
    for (const other of life.flows) {
      if (other.sender === flow.sender) other.reset = true
      if (other.receiver === flow.sender) other.stopped = true
    }
    life.destroyed.add(flow.sender)
    flow.sender.destroy()
  }),
  onFlow('read', (life, flow, style) => life.read(flow, style), fc.nat({ max: 3 })),
  onFlow('peek', (life, flow) => life.peek(flow)),
  onFlow('ready', (life, flow) => void life.note(`ready of ${flow.sender.id}`, flow.sender.ready())),
  onFlow('finished', (life, flow) => void life.note(`finished of ${flow.sender.id}`, flow.sender.finished)),
  ...SLEEPS,
  side.map((from) => new Act(`ping(${from})`, (life) => void life.note('ping', life.stage[from].ping()))),
]

/** What moves things comes more often than what ends them. */
export const COMMANDS: fc.Arbitrary<Command>[] = [...ALL, ...ALL.slice(0, 3), ...ALL.slice(0, 2), ...SLEEPS, ...SLEEPS]

/** Ends a connection in a way; what they leave is checked after it. */
export const ENDS: Record<string, (life: Life) => unknown> = {
  tidy: async (life) => {
    await life.settleStreams()
    await life.stage.near.close()
  },
  close: (life) => life.stage.near.close({ code: 7 }),
  farClose: (life) => life.stage.far.close({ code: 7, drainMs: 0 }),
  both: (life) => Promise.all([life.stage.near.close(), life.stage.far.close()]),
  destroy: (life) => life.stage.near.destroy(new Error('on purpose')),
  farDestroy: (life) => life.stage.far.destroy(),
  endpoint: (life) => life.stage.nearEndpoint.close(),
  farEndpoint: (life) => life.stage.farEndpoint.destroy(),
  crash: (life) => (life.stage.crash ?? (() => life.stage.far.destroy()))(),
}

/** Commands, then an end, then the checks. */
export async function live(life: Life, commands: Iterable<Command>, end: string): Promise<void> {
  const { stage } = life
  for (const from of ['near', 'far'] as const) life.note(`closed of ${from}`, stage[from].closed)
  for (const from of ['near', 'far'] as const) {
    life.open(from, 'bidi')
    life.open(from, 'uni')
  }
  await fc.asyncModelRun(() => ({ model: {}, real: life }), commands)
  if (end !== 'tidy') life.over = true
  await ENDS[end]?.(life)
  life.over = true
  await Promise.all([stage.near.closed, stage.far.closed])
  await life.checkEnd()
}
