import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { ConnectionError, EndpointError, OptionError, StreamError } from '../../src/errors/index.ts'
import { asCommandError, CommandError, errorJson, Exit, exitOf, usageError } from '../../src/cli/exit.ts'

describe('exit codes', () => {
  it('follow the family of the error', () => {
    const cases: [unknown, number][] = [
      [usageError('x'), Exit.USAGE],
      [new OptionError('QB_OPTION_UNKNOWN', 'x'), Exit.USAGE],
      [new OptionError('QB_TLS_IDENTITY', 'x'), Exit.USAGE],
      [new EndpointError('QB_BIND_FAILED', 'x'), Exit.LOCAL],
      [new EndpointError('QB_NATIVE_MISSING', 'x'), Exit.LOCAL],
      [new ConnectionError('QB_TLS_CERTIFICATE', 'x'), Exit.REFUSED],
      [new ConnectionError('QB_TLS_ALPN', 'x'), Exit.REFUSED],
      [new ConnectionError('QB_MULTIPATH_REFUSED', 'x'), Exit.REFUSED],
      [new ConnectionError('QB_RESOLVE_FAILED', 'x'), Exit.UNREACHABLE],
      [new ConnectionError('QB_CONNECT_TIMEOUT', 'x'), Exit.UNREACHABLE],
      [new ConnectionError('QB_CONNECT_REFUSED', 'x'), Exit.UNREACHABLE],
    ]
    for (const [error, exit] of cases) expect(exitOf(error, 'connected'), String((error as { code: string }).code)).toBe(exit)
  })

  it('tell a connection that never was from one that broke', () => {
    const lost = new ConnectionError('QB_IDLE_TIMEOUT', 'x')
    expect([exitOf(lost, 'connecting'), exitOf(lost, 'connected')]).toEqual([Exit.UNREACHABLE, Exit.INCOMPLETE])
    expect(exitOf(new StreamError('QB_STREAM_RESET', 'x'), 'connected')).toBe(Exit.INCOMPLETE)
  })

  it('count errors of the file system as local', async () => {
    const error: unknown = await readFile('/does/not/exist').catch((thrown: unknown) => thrown)
    expect(exitOf(error, 'connected')).toBe(Exit.LOCAL)
    expect(errorJson(error)).toMatchObject({ code: 'QB_FILE_ACCESS', errorCode: null })
  })
})

describe('the error object', () => {
  it('has the six fields of the contract and nothing else', () => {
    const error = new StreamError('QB_STREAM_RESET', 'reset', { stream: 0n, errorCode: 0x404n, codeName: null, by: 'peer', path: 1 })
    expect(errorJson(error)).toEqual({ code: 'QB_STREAM_RESET', message: 'reset', errorCode: 0x404, codeName: null, by: 'peer', path: 1 })
  })

  it('keeps the facts of the cause and the words of the command, however often it was wrapped', () => {
    const cause = new ConnectionError('QB_TLS_ALPN', 'inner', { errorCode: 0x178n, codeName: 'no_application_protocol', by: 'peer' })
    const error = asCommandError(asCommandError(cause, 'connecting'), 'connected', { bytes: 3 })
    expect(error).toMatchObject({ exit: Exit.REFUSED, facts: { bytes: 3 } })
    expect(errorJson(error)).toEqual({ code: 'QB_TLS_ALPN', message: 'inner', errorCode: 0x178, codeName: 'no_application_protocol', by: 'peer', path: null })
  })

  it('writes codes beyond 2^53 as text', () => {
    expect(errorJson(new StreamError('QB_STREAM_RESET', 'x', { errorCode: 2n ** 61n })).errorCode).toBe('2305843009213693952')
  })

  it('calls what nobody named an internal error', () => {
    expect(errorJson(new TypeError('oops'))).toMatchObject({ code: 'QB_INTERNAL', message: 'oops' })
    expect(errorJson('text')).toMatchObject({ code: 'QB_INTERNAL', message: 'text' })
    expect(asCommandError(new CommandError('QB_X', Exit.LOCAL, 'y'), 'connecting').exit).toBe(Exit.LOCAL)
  })
})
