/** The native module called by itself: nonsense is refused, nothing leaks (attacks I8, I9). */
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DRAIN_MORE } from '../../src/binding/native.ts'
import type { NativeEndpoint, NativeModule } from '../../src/binding/native.ts'
import { RUNS } from '../life/torture.ts'
import { BUILT, MODULE } from './built.ts'

const LIMIT_MS = 60_000
const load = (): NativeModule => createRequire(import.meta.url)(MODULE) as NativeModule
const start = (options: object, wake = (): void => {}): NativeEndpoint => load().createEndpoint(JSON.stringify(options), wake)

/** Everything that waits, as JSON of events. */
function drain(endpoint: NativeEndpoint): { type: string }[] {
  const [words, staging] = [new Uint32Array(256 * 8), Buffer.alloc(262_144)]
  const events: { type: string }[] = []
  let answer = DRAIN_MORE
  while ((answer & DRAIN_MORE) !== 0) {
    answer = endpoint.drain(words, staging)
    let offset = 0
    for (let index = 0; index < (answer & 0xffff); index++) {
      const end = offset + (words[index * 8 + 2] ?? 0)
      if (((words[index * 8] ?? 0) & 0xff) === 16) events.push(JSON.parse(staging.toString('utf8', offset, end)) as { type: string })
      offset = end
    }
  }
  return events
}

/** Closes and waits for the last record. */
async function close(endpoint: NativeEndpoint): Promise<void> {
  endpoint.close()
  while (!drain(endpoint).some((event) => event.type === 'endpoint-closed')) await new Promise((resolve) => setTimeout(resolve, 1))
}

describe.skipIf(!BUILT)('native module', () => {
  it('attack I9: refuses nonsense with an error, never with a crash', async () => {
    const endpoint = start({ local: ['127.0.0.1:0'] })
    const shared = new SharedArrayBuffer(256)
    const arrays = [new Uint32Array(0), new Uint32Array(7), new Uint32Array(64), new Uint32Array(shared), new Uint8Array(0), new Uint8Array(shared), Buffer.alloc(10), new Float64Array(3), new DataView(new ArrayBuffer(8))]
    const texts = ['', '{}', '[]', '{"do":"close"}', '{"do":"trace","mask":3}', '{"ask":"drops"}', '{"ask":"explain","about":"connection"}', '{"local":[]}']
    const numbers = [0, -1, 1.5, Number.NaN, Infinity, 2 ** 31, 2 ** 32, 2 ** 53, 2n ** 64n]
    const others = [undefined, null, true, [], {}, () => {}, Symbol('x'), new Proxy({}, {}), new Date(0)]
    const value = fc.constantFrom<unknown>(...arrays, ...texts, ...numbers, ...others)
    const methods = ['drain', 'flush', 'connect', 'listen', 'unlisten', 'setDefaultRoots', 'tell', 'ask', 'statistics', 'forget', 'local', 'now', 'keepAlive'] as const
    const words = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 0, max: 9 }) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) })
    fc.assert(
      fc.property(fc.constantFrom(...methods), fc.array(value, { maxLength: 6 }), fc.array(words, { minLength: 64, maxLength: 64 }), (method, args, content) => {
        for (const arg of args) if (arg instanceof Uint32Array) arg.set(content.slice(0, arg.length))
        try {
          ;(endpoint[method] as (...args: unknown[]) => unknown)(...args)
        } catch (error) {
          expect(error).toBeInstanceOf(Error)
        }
      }),
      { numRuns: RUNS ?? 20_000 },
    )
    expect(endpoint.local()).toHaveLength(1)
    await close(endpoint)
  }, LIMIT_MS)

  it('does not lend its methods to other objects', async () => {
    const endpoint = start({ local: [] })
    expect(() => endpoint.drain.call({}, new Uint32Array(8), new Uint8Array(8))).toThrow(/./)
    await close(endpoint)
  })

  it('says nothing through the wake of an endpoint that could not be made', async () => {
    const first = start({ local: ['127.0.0.1:0'] })
    let wakes = 0
    expect(() => start({ local: first.local() }, () => (wakes += 1))).toThrow(/QB_BIND_FAILED/)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(wakes).toBe(0)
    await close(first)
  })

  it('answers calls on a closed endpoint', async () => {
    const endpoint = start({ local: ['127.0.0.1:0'] })
    await close(endpoint)
    expect(endpoint.local()).toEqual([])
    expect(endpoint.statistics(3, 0, 0, new Float64Array(64))).toBe(true)
    expect(() => endpoint.ask(0, '{"ask":"update-key"}')).toThrow(/QB_CONNECTION_CLOSED/)
    expect(() => endpoint.connect('{}')).toThrow(/QB_ENDPOINT_CLOSED/)
    expect(endpoint.drain(new Uint32Array(8), new Uint8Array(8))).toBe(0)
    endpoint.close()
  })

  it.skipIf(process.platform !== 'linux')('leaves no descriptor behind when endpoints come and go', async () => {
    const ROUNDS = 100
    const count = (): number => readdirSync('/proc/self/fd').length
    await close(start({ local: ['127.0.0.1:0'] }))
    const before = count()
    for (let round = 0; round < ROUNDS; round++) await close(start({ local: ['127.0.0.1:0', '127.0.0.1:0'] }))
    // Whatever an endpoint leaves behind is left once a round; Node opens a file of its own now and then.
    expect(count() - before).toBeLessThan(ROUNDS / 2)
  }, LIMIT_MS)
})
