/** What `reverse dial` and `reverse listen` understand, and what they say. Nothing is connected here. */
import { describe, expect, it } from 'vitest'
import { DialLog } from '../../src/cli/reverse/dial-log.ts'
import { introduction, ListenLog } from '../../src/cli/reverse/listen-log.ts'
import type { Listening, PoolEvent } from '../../src/cli/reverse/listen-log.ts'
import { parseListen, parseNameMapping, parsePortMapping, parseRetry, parseService, parseTarget, targetText } from '../../src/cli/reverse/parse.ts'
import { Routes } from '../../src/cli/reverse/routes.ts'
import { Terminal } from '../../src/cli/terminal.ts'

const usage = expect.objectContaining({ code: 'QB_OPTION_INVALID', exit: 1 })
const clock = { now: () => 12.3456 }

function captured(): { terminal: Terminal; lines: () => string[]; json: () => Record<string, unknown>[] } {
  let text = ''
  const terminal = new Terminal({ write: (more: string) => (text += more) }, { write: () => undefined }, {})
  const lines = (): string[] => text.split('\n').slice(0, -1)
  return { terminal, lines, json: () => lines().map((line) => JSON.parse(line) as Record<string, unknown>) }
}

describe('the words of reverse', () => {
  it('name targets by host and port, by port alone, by the path of a socket', () => {
    const cases: [string, unknown, string][] = [
      ['10.0.0.5:80', { kind: 'tcp', host: '10.0.0.5', port: 80 }, '10.0.0.5:80'],
      ['app.lan:8080', { kind: 'tcp', host: 'app.lan', port: 8080 }, 'app.lan:8080'],
      ['localhost:8080', { kind: 'tcp', host: '127.0.0.1', port: 8080 }, '127.0.0.1:8080'],
      ['8080', { kind: 'tcp', host: '127.0.0.1', port: 8080 }, '127.0.0.1:8080'],
      ['[::1]:8080', { kind: 'tcp', host: '::1', port: 8080 }, '[::1]:8080'],
      ['unix:/run/app.sock', { kind: 'unix', path: '/run/app.sock' }, 'unix:/run/app.sock'],
    ]
    for (const [text, value, shown] of cases) {
      const target = parseTarget(text)
      expect(target, text).toEqual(value)
      expect(targetText(target)).toBe(shown)
    }
    for (const text of ['', 'app', 'app:', 'app:0', 'app:65536', 'http://app:80', 'unix:', '::1:80']) expect(() => parseTarget(text), text).toThrow(usage)
  })

  it('say how long to wait between attempts', () => {
    expect(parseRetry('1s..30s')).toEqual({ minMs: 1000, maxMs: 30_000 })
    expect(parseRetry('250ms..2m')).toEqual({ minMs: 250, maxMs: 120_000 })
    expect(parseRetry('fixed')).toBe('fixed')
    for (const text of ['', '1s', '1s..', '..30s', '30s..1s', '0..1s', 'often', '1s..10000h']) expect(() => parseRetry(text), text).toThrow(usage)
  })

  it('give ports to services; without an address they are of this machine only', () => {
    expect(parseListen('8080')).toEqual({ host: '127.0.0.1', port: 8080 })
    expect(parseListen('0.0.0.0:0')).toEqual({ host: '0.0.0.0', port: 0 })
    expect(parsePortMapping('[::]:5432=db')).toEqual({ host: '::', port: 5432, service: 'db' })
    expect(parsePortMapping('5432=db=1')).toEqual({ host: '127.0.0.1', port: 5432, service: 'db=1' })
    for (const text of ['', '5432', '5432=', '=db', 'example.net:5432=db', '5432=a b']) expect(() => parsePortMapping(text), text).toThrow(usage)
    expect(parseNameMapping('WWW.example.net=web')).toEqual({ name: 'www.example.net', service: 'web' })
    for (const text of ['', 'web', '=web', 'www.example.net=', '**=web', 'a.*=web', 'a b=web']) expect(() => parseNameMapping(text), text).toThrow(usage)
    expect(parseService('grün')).toBe('grün')
    for (const text of ['', 'a b', 'a\u001Bb', 'x'.repeat(256)]) expect(() => parseService(text), text).toThrow(usage)
  })
})

describe('a host name of a visitor', () => {
  it('means what the map says: the name, its wildcard, everything', () => {
    const routes = new Routes(['www.example.net=web', '*.example.net=other', '*=rest'].map(parseNameMapping), [])
    for (const [name, service] of [['www.example.net', 'web'], ['WWW.Example.Net:8080', 'web'], ['www.example.net.', 'web'], ['a.example.net', 'other'], ['b.a.example.net', 'rest'], ['example.net', 'rest'], ['', 'rest']]) expect(routes.serviceOf(name), name).toBe(service)
    expect(new Routes([parseNameMapping('www.example.net=web')], ['web']).serviceOf('other.net')).toBeUndefined()
  })

  it('means, without a map, the service of that name or of its first label, or the only one', () => {
    const routes = new Routes([], [])
    expect(routes.serviceOf('web')).toBeUndefined()
    routes.knows('web')
    expect(routes.serviceOf('anything.example.net')).toBe('web')
    routes.knows('db.example.net')
    for (const [name, service] of [['web', 'web'], ['web.example.net', 'web'], ['db.example.net', 'db.example.net'], ['anything.example.net', undefined], ['127.0.0.1:80', undefined], [null, undefined]] as const) expect(routes.serviceOf(name), String(name)).toBe(service)
  })
})

describe('a service with a TCP port of its own', () => {
  it('is meant by no host name, unless the map says so', () => {
    const routes = new Routes([], ['db'], ['db'])
    routes.knows('db')
    for (const name of ['db', 'db.example.net', 'other', null]) expect(routes.serviceOf(name), String(name)).toBeUndefined()
    routes.knows('web')
    for (const name of ['db', 'other']) expect(routes.serviceOf(name), name).toBe('web')
    expect(new Routes([parseNameMapping('db.example.net=db')], [], ['db']).serviceOf('db.example.net')).toBe('db')
  })
})

describe('reverse dial', () => {
  const facts = { to: 'public.example:4433', service: 'web', target: parseTarget('3000'), pool: 2, retry: parseRetry('1s..30s') }

  it('says one line for each change, and of its target', () => {
    const { terminal, lines } = captured()
    const log = new DialLog(terminal, clock, facts)
    log.dialling()
    log.state({ state: 'INIT', reason: 'enabled', error: null })
    log.state({ state: 'ERR', reason: 'nobody answers', error: new Error('nobody answers') })
    log.state({ state: 'FULL', reason: '2 of 2 accepted', error: null })
    for (const why of ['ECONNREFUSED', 'ECONNREFUSED', null]) {
      log.begins()
      log.request('203.0.113.1:4433', { ok: why === null, reason: why === null ? null : 'connect', why, bytesUp: 5, bytesDown: why === null ? 2048 : 0, ms: 3 })
    }
    log.state({ state: 'STOP', reason: 'stopped', error: null })
    log.end('in-order')
    expect(lines().slice(0, -1)).toEqual([
      "service 'web' at 127.0.0.1:3000 is offered to public.example:4433",
      '..  INIT  connecting (enabled)',
      '--  ERR   nobody answers; tried again after 1 s to 30 s',
      'ok  FULL  2 connections: requests come in',
      '--  target 127.0.0.1:3000 does not answer (ECONNREFUSED): requests are reset until it does',
      'ok  target 127.0.0.1:3000 answers again',
    ])
    expect(lines().at(-1)).toMatch(/^3 requests, 2 failed, 15 B in, 2 KiB out in /)
  })

  it('says the same as JSON, a line each, requests included', () => {
    const { terminal, json } = captured()
    const log = new DialLog(terminal, clock, { ...facts, json: true })
    log.dialling()
    log.state({ state: 'ERR', reason: 'refused', error: Object.assign(new Error('refused'), { code: 'QB_REVERSE_NAME', errorCode: 3n, codeName: 'NAME', by: 'peer' }) })
    log.begins()
    log.request('203.0.113.1:4433', { ok: true, reason: null, why: null, bytesUp: 5, bytesDown: 6, ms: 1.23456 })
    log.end('in-order')
    expect(json()).toEqual([
      { event: 'dialling', atMs: 12.346, ok: true, to: 'public.example:4433', service: 'web', target: '127.0.0.1:3000' },
      { event: 'state', atMs: 12.346, ok: false, state: 'ERR', reason: 'refused', connections: 0, error: { code: 'QB_REVERSE_NAME', message: 'refused', errorCode: 3, codeName: 'NAME', by: 'peer', path: null } },
      { event: 'request', atMs: 12.346, ok: true, reason: null, why: null, remote: '203.0.113.1:4433', bytesUp: 5, bytesDown: 6, ms: 1.235 },
      { event: 'end', atMs: 12.346, ok: true, requests: 1, failed: 0, open: 0, bytesUp: 5, bytesDown: 6, paths: [] },
    ])
  })
})

describe('reverse listen', () => {
  const where: Listening = { local: ['0.0.0.0:4433'], relay: null, pin: 'sha256//abc', http: ['127.0.0.1:8080'], https: ['127.0.0.1:8443'], tcp: [{ local: '127.0.0.1:5432', service: 'db' }], metrics: null }
  const event = (type: PoolEvent['type'], size: number, more: Partial<PoolEvent> = {}): PoolEvent => ({ type, size, service: 'web', key: 'web', remote: '198.51.100.7:5000', text: '', reason: null, ...more })

  it('says where it is and how a private end comes there', () => {
    expect(introduction(where, { service: null, trust: 'quic', relay: null })).toEqual([
      'listening on 0.0.0.0:4433', 'pin sha256//abc', 'http://127.0.0.1:8080', 'https://127.0.0.1:8443', 'tcp 127.0.0.1:5432 → db',
      'quicbraid reverse dial --to THIS-HOST:4433 --pin sha256//abc --service NAME --target 127.0.0.1:8080 --cert cert.pem --key key.pem',
    ])
    expect(introduction({ ...where, relay: '203.0.113.1:4434-198.51.100.7:5000' }, { service: 'web', trust: 'quic', relay: { pin: 'sha256//rel', token: true } }).at(-1)).toBe(
      'quicbraid reverse dial --to 203.0.113.1:4434-198.51.100.7:5000 --pin sha256//abc --service web --target 127.0.0.1:8080 --cert cert.pem --key key.pem --relay-pin sha256//rel --token …')
  })

  it('says the size of a pool when it changes, and who was refused, in words that steer no terminal', () => {
    const { terminal, lines } = captured()
    const log = new ListenLog(terminal, clock, {})
    log.pool(event('accepted', 1))
    log.pool(event('accepted', 2))
    log.pool(event('draining', 1, { text: 'it is being stopped' }))
    log.pool(event('closed', 1))
    log.pool(event('closed', 0, { text: 'idle timeout' }))
    log.pool(event('refused', 0, { service: '\u001B[2J', key: null, text: 'no \u001B[31mname' }))
    log.pool(event('refused', 0, { service: 'db', key: null, reason: 'name' }))
    expect(lines()).toEqual([
      'ok  web: 1 connection (198.51.100.7:5000 has come)', 'ok  web: 2 connections (198.51.100.7:5000 has come)', '..  web: 1 connection (198.51.100.7:5000 is leaving: it is being stopped)',
      '--  web: no connection (198.51.100.7:5000 is gone: idle timeout)', "--  198.51.100.7:5000 refused as '?[2J': no ?[31mname",
      "--  198.51.100.7:5000 refused as 'db': its certificate does not name that service, or the service is not allowed here",
    ])
  })

  it('says the same as JSON, and that a pool is empty', () => {
    const { terminal, json } = captured()
    const log = new ListenLog(terminal, clock, { json: true })
    log.listening(where, { service: null, trust: 'quic', relay: null })
    log.pool(event('accepted', 1))
    log.pool(event('closed', 0, { reason: 'none' }))
    log.pool(event('refused', 0, { key: null, reason: 'name', text: 'not yours' }))
    log.http({ method: 'GET', host: 'web', path: '/', status: 200, bytesUp: 0, bytesDown: 7, ms: 1, service: 'web', protocol: 'h2', remote: '192.0.2.1:9', reason: null })
    log.tcp('db', '192.0.2.1:8', { ok: false, reason: 'connect', why: 'QB_REVERSE_NO_CONNECTION', bytesUp: 0, bytesDown: 0, ms: 2 })
    log.end({ accepted: 1 })
    expect(json()).toMatchObject([
      { event: 'listening', ok: true, local: ['0.0.0.0:4433'], relay: null, pin: 'sha256//abc', http: ['127.0.0.1:8080'], tcp: [{ local: '127.0.0.1:5432', service: 'db' }] },
      { event: 'accepted', service: 'web', size: 1 }, { event: 'closed', service: 'web', size: 0, reason: 'none' }, { event: 'empty', service: 'web' },
      { event: 'refused', ok: false, service: 'web', reason: 'name', text: 'not yours' },
      { event: 'request', ok: true, method: 'GET', status: 200, service: 'web', bytesDown: 7 }, { event: 'request', ok: false, protocol: 'tcp', service: 'db', why: 'QB_REVERSE_NO_CONNECTION' },
      { event: 'end', accepted: 1, requests: 2, failed: 1 },
    ])
  })
})
