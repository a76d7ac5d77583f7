import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nearestName } from '../../src/config/check.ts'
import { prepareConnect, prepareEndpoint, prepareServer, parseAddress, formatAddress, splitPort } from '../../src/config/index.ts'
import { OptionError } from '../../src/errors/index.ts'

const NONE: ReadonlySet<string> = new Set()
const connect = (options: unknown, features = NONE): unknown => prepareConnect({}, { alpn: 'x', ...(options as object) }, features)

function failure(run: () => unknown): OptionError {
  try {
    run()
  } catch (error) {
    if (error instanceof OptionError) return error
    throw error
  }
  throw new Error('no error')
}

describe('a refusal', () => {
  it('names field path, value and what is allowed', () => {
    const error = failure(() => connect({ limits: { idleTimeoutMs: 'abc' } }))
    expect(error).toMatchObject({ code: 'QB_OPTION_INVALID', field: 'limits.idleTimeoutMs', value: 'abc', message: "option limits.idleTimeoutMs is 'abc'; allowed: a number of milliseconds from 0 to 2147483647" })
    expect(failure(() => connect({ scheduler: 'fast' })).message).toContain("'min-rtt', 'round-robin'")
    expect(failure(() => connect({ paths: [{}, { local: 'nowhere' }] })).field).toBe('paths[1].local')
    expect(failure(() => connect({ congestion: 5 })).message).toContain("'cubic', 'newreno'")
  })

  it('gives the nearest known name for one that is not known', () => {
    expect(failure(() => connect({ shceduler: 'min-rtt' }))).toMatchObject({ code: 'QB_OPTION_UNKNOWN', field: 'shceduler', message: 'option shceduler is not known; did you mean scheduler?' })
    expect(failure(() => connect({ limits: { idleTimeoutMS: 1 } })).message).toContain('idleTimeoutMs')
    expect(failure(() => connect({ paths: [{ remot: 'x' }] })).message).toContain('did you mean remote?')
    expect(failure(() => connect({ somethingElse: 1 })).message).toContain('leave it out')
    expect(nearestName('xyz', ['alpn', 'ca'])).toBe(null)
  })

  it('attack I12: never shows keys', () => {
    const error = failure(() => connect({ key: 12345, cert: 'c' }))
    expect(error.value).toBe('[hidden]')
    expect(JSON.stringify(error) + error.message).not.toContain('12345')
    expect(failure(() => prepareServer({}, { alpn: 'x', sni: { a: { cert: 'c', key: 777 } } }, NONE, '')).message).not.toContain('777')
  })

  it('attack I12: reads own properties only, and survives getters that throw', () => {
    const inherited = Object.create({ alpn: 'x', nonsense: 1 }) as object
    expect(() => connect(Object.assign(inherited, {}))).not.toThrow()
    const hostile = { alpn: 'x', get limits(): never { throw new Error('trap') } }
    expect(failure(() => prepareConnect({}, hostile, NONE)).message).toContain('getter threw')
    const polluted = Object.prototype as { nonsense?: number }
    polluted.nonsense = 1
    try {
      expect(() => connect({ limits: {} })).not.toThrow()
    } finally {
      delete polluted.nonsense
    }
  })

  it('is an OptionError whatever the options are made of', () => {
    const hostile = fc.oneof(fc.object({ key: fc.constantFrom('alpn', 'limits', 'paths', 'scheduler', 'ca', 'verify', 'handshake', 'idleTimeoutMs', '__proto__') }), fc.anything({ withBigInt: true, withTypedArray: true, withNullPrototype: true }))
    fc.assert(fc.property(hostile, (options) => {
      for (const run of [() => prepareConnect({}, options, NONE), () => prepareEndpoint(options, NONE), () => prepareServer({}, options, NONE, 'server')]) {
        try {
          run()
        } catch (error) {
          if (!(error instanceof OptionError)) throw error
        }
      }
    }), { numRuns: 2000 })
  })
})

describe('what this build lacks', () => {
  it('is refused by name, and accepted where the engine has it', () => {
    const cases: [object, string, string][] = [
      [{ scheduler: 'weighted' }, 'scheduler', 'scheduler.weighted'], [{ congestion: 'lia' }, 'congestion', 'congestion.lia'], [{ handshake: 'race' }, 'handshake', 'handshake.race'],
      [{ earlyData: true }, 'earlyData', 'earlyData'], [{ maxDatagramFrameBytes: 100 }, 'maxDatagramFrameBytes', 'datagrams'], [{ verify: () => {} }, 'verify', 'verify'],
      [{ multipath: 'shared-space' }, 'multipath', 'sharedSpace'], [{ versions: ['v2', 'v1'] }, 'versions', 'versions'], [{ firstVersion: 'reserved' }, 'firstVersion', 'firstVersion'], [{ scheduler: { name: 'deadline', deadlineMs: 5 } }, 'scheduler', 'scheduler.deadline'],
    ]
    for (const [options, field, feature] of cases) {
      expect(failure(() => connect(options))).toMatchObject({ code: 'QB_OPTION_INVALID', field, message: expect.stringContaining('not available in this version') })
      expect(() => connect(options, new Set([feature]))).not.toThrow()
    }
    expect(failure(() => prepareServer({}, { alpn: 'x', cert: 'c', key: 'k', clientAuth: 'require', ca: 'c' }, NONE, 'server')).field).toBe('server.clientAuth')
  })

  it('does not hide a scheduler of the user\'s', () => {
    const scheduler = { name: 'mine', pick: () => ({ path: 0, reason: '' }) }
    expect(failure(() => connect({ scheduler }))).toMatchObject({ code: 'QB_SCHEDULER_NO_PLAN', message: expect.stringContaining('mine') })
    const planning = { ...scheduler, plan: () => ({ order: [], reason: '' }) }
    expect(failure(() => connect({ scheduler: planning }))).toMatchObject({ code: 'QB_OPTION_INVALID', field: 'scheduler', message: expect.stringContaining('not available') })
    expect(connect({ scheduler: planning }, new Set(['scheduler.plan']))).toMatchObject({ scheduler: planning })
    expect(connect({ scheduler }, new Set(['scheduler.plan', 'scheduler.pick']))).toMatchObject({ scheduler })
    expect(failure(() => connect({ scheduler: { ...planning, name: '' } })).field).toBe('scheduler.name')
    expect(failure(() => connect({ scheduler: { ...planning, pick: 5 } })).field).toBe('scheduler.pick')
    expect(failure(() => connect({ scheduler: { name: 'fast' } })).field).toBe('scheduler.name')
    expect(failure(() => connect({ scheduler: { name: 'min-rtt', deadline: 5 } })).code).toBe('QB_OPTION_UNKNOWN')
  })
})

describe('combinations', () => {
  it('are checked before anything is sent', () => {
    const fields: [object, string][] = [
      [{ limits: { connectionIdBytes: 0 } }, 'limits.connectionIdBytes'], [{ limits: { streamWindowBytes: 100_000, maxStreamWindowBytes: 50_000 } }, 'limits.streamWindowBytes'],
      [{ cert: 'c' }, 'key'], [{ key: 'k' }, 'cert'], [{ maxPaths: 1, paths: [{}, {}] }, 'paths'], [{ paths: [{ local: '127.0.0.1', remote: '[::1]:5' }] }, 'paths[0].local'],
      [{ paths: [{ remote: '127.0.0.1' }] }, 'paths[0].remote'], [{ versions: ['v1'], firstVersion: 'v2' }, 'firstVersion'], [{ alpn: [] }, 'alpn'], [{ alpn: ['a', 'a'] }, 'alpn'], [{ alpn: 'x'.repeat(256) }, 'alpn'], [{ pins: ['sha256//short'] }, 'pins[0]'],
    ]
    for (const [options, field] of fields) expect(failure(() => connect(options)).field, JSON.stringify(options)).toBe(field)
    expect(() => connect({ limits: { connectionIdBytes: 0 }, multipath: 'off' })).not.toThrow()
  })
})

describe('addresses', () => {
  it('are read and written back', () => {
    fc.assert(fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 0, max: 65_535 }), (host, port) => {
      const family = host.includes(':') ? 6 : 4
      const text = formatAddress({ host, port, family })
      expect(parseAddress(text)).toEqual({ host, port, family })
      expect(parseAddress(host)).toEqual({ host, port: 0, family })
    }))
  })

  it('are refused when they are none', () => {
    for (const text of ['', 'localhost', '1.2.3:4', '1.2.3.4:', '1.2.3.4:70000', '::1:5:', '[::1', '[1.2.3.4]:5x', ':5', '1.2.3.4:-1']) expect(parseAddress(text), text).toBe(null)
    expect(splitPort('name:5')).toEqual({ host: 'name', port: 5 })
    expect(splitPort('name')).toBe(null)
  })
})
