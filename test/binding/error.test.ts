import { describe, expect, it } from 'vitest'
import { fromNative, fromThrown } from '../../src/binding/error.ts'
import { platformName } from '../../src/binding/load.ts'
import { loadNative } from '../../src/binding/index.ts'
import { isQuicbraidError } from '../../src/errors/index.ts'

describe('native errors', () => {
  it('become the class that the public table names', () => {
    const classes: Record<string, string> = {
      QB_OPTION_INVALID: 'OptionError', QB_TLS_IDENTITY: 'OptionError', QB_SCHEDULER_NO_PLAN: 'OptionError', QB_BIND_FAILED: 'EndpointError', QB_NOT_LISTENING: 'EndpointError',
      QB_TLS_ALPN: 'ConnectionError', QB_TLS_CERTIFICATE: 'ConnectionError', QB_NO_PATH: 'ConnectionError', QB_CONNECT_TIMEOUT: 'ConnectionError', QB_IDLE_TIMEOUT: 'ConnectionError', QB_CONNECTION_CLOSED: 'ConnectionError',
      QB_PATH_LIMIT: 'PathError', QB_STREAM_RESET: 'StreamError', QB_DATAGRAM_REFUSED: 'StreamError', QB_RELAY_REFUSED: 'ServiceError', QB_INTERNAL: 'QuicbraidError',
    }
    for (const [code, name] of Object.entries(classes)) expect(fromNative({ code, message: 'm' })).toMatchObject({ code, name, message: 'm' })
  })

  it('keep every fact, large codes too', () => {
    const error = fromNative({ code: 'QB_APPLICATION_CLOSED', message: 'm', errorCode: '4611686018427387903', codeName: 'X', by: 'peer', layer: 'application', path: 3, field: null, value: 1 })
    expect(error).toMatchObject({ errorCode: (1n << 62n) - 1n, codeName: 'X', by: 'peer', layer: 'application', path: 3, field: null, value: 1 })
    expect(error.toJSON()).toEqual({ code: 'QB_APPLICATION_CLOSED', message: 'm', errorCode: '4611686018427387903', codeName: 'X', by: 'peer', path: 3 })
    expect(isQuicbraidError(error)).toBe(true)
    expect(error.stack).toContain('ConnectionError')
  })

  it('that are not the agreed JSON are reported as broken invariants', () => {
    for (const thrown of [new Error('boom'), new Error('{"code":5}'), new Error('{broken'), 'text']) {
      expect(fromThrown(thrown)).toMatchObject({ code: 'QB_INTERNAL', message: expect.stringContaining('please report') })
    }
    expect(fromThrown(new Error('{"code":"QB_BIND_FAILED","message":"no"}'))).toMatchObject({ code: 'QB_BIND_FAILED', name: 'EndpointError' })
  })

  it('of another copy of the package are recognised, other things are not', () => {
    expect(isQuicbraidError({ [Symbol.for('quicbraid.error')]: true })).toBe(true)
    for (const value of [null, undefined, 5, new Error('x'), {}]) expect(isQuicbraidError(value)).toBe(false)
  })
})

it('a missing native module is named with its platform and what to install', () => {
  expect(platformName()).toMatch(/^(linux-(x64|arm64)-(gnu|musl)|darwin-(x64|arm64)|win32-x64-msvc)/)
  try {
    expect(loadNative().contract()).toBe(1)
  } catch (error) {
    expect(error).toMatchObject({ code: 'QB_NATIVE_MISSING', name: 'EndpointError', message: expect.stringMatching(/quicbraid-.*install|install.*quicbraid-/) })
  }
})
