/** `reverse listen` and `reverse dial` as processes, with a web server behind them: requests, targets that are away, refusals, several paths, a relay, the end. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { Server, ServerResponse } from 'node:http'
import { connect, createServer as createTcpServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { BUILT } from '../native/built.ts'
import { Commands } from './running.ts'
import type { Line, Running } from './running.ts'

const PATIENCE_MS = 180_000
const folder = mkdtempSync(join(tmpdir(), 'quicbraid-reverse-'))
const commands = new Commands(folder)
const pins: Record<string, string> = {}
let servers: Server[] = []

beforeAll(async () => {
  if (!BUILT) return
  for (const name of ['web', 'db', 'public']) pins[name] = String((await commands.run('cert', ...(name === 'public' ? [] : [name]), '-o', name, '--json')).json['pin'])
})
afterEach(async () => {
  await commands.endAll()
  for (const server of servers) server.closeAllConnections()
  servers = []
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Public { child: Running; to: string; http: string; tcp: string }

async function listen(...more: string[]): Promise<Public> {
  const child = commands.start('reverse', 'listen', '--json', '-l', '127.0.0.1:0', '--http', '0', '--cert', 'public/cert.pem', '--key', 'public/key.pem', '--pin', pins['web'] ?? '', ...more)
  const { local, http, tcp, pin } = (await child.event('listening')) as unknown as { local: string[]; http: string[]; tcp: { local: string }[]; pin: string }
  expect(pin).toBe(pins['public'])
  return { child, to: local[0] ?? '', http: `http://${http[0]}`, tcp: tcp[0]?.local ?? '' }
}

const dialArgs = (to: string, target: string, ...more: string[]): string[] => ['reverse', 'dial', '--json', '--to', to, '--service', 'web', '--target', target, '--pin', pins['public'] ?? '', '--cert', 'web/cert.pem', '--key', 'web/key.pem', ...more]

async function dial(to: string, target: string, ...more: string[]): Promise<Running> {
  const child = commands.start(...dialArgs(to, target, ...more))
  await child.event('state', ({ state }) => state === 'FULL')
  return child
}

/** A web app on a port of loopback. */
async function app(port = 0): Promise<{ target: string; slow: ServerResponse[]; close: () => Promise<unknown>; port: number }> {
  const slow: ServerResponse[] = []
  const server = createServer((request, response) => {
    if (request.url === '/slow') slow.push(response.writeHead(200).on('error', () => undefined))
    else request.pipe(response.setHeader('x-host', String(request.headers.host)))
    if (request.url === '/slow') response.write('begin ')
  })
  servers.push(server)
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const { port: real } = server.address() as AddressInfo
  const close = async (): Promise<unknown> => {
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    return closed
  }
  return { target: `127.0.0.1:${real}`, slow, close, port: real }
}

/** Long texts by their length and hash, or failures would be long, too. */
async function ask(url: string, body = ''): Promise<{ status: number; text: string }> {
  const response = await fetch(url, body === '' ? {} : { method: 'POST', body })
  return { status: response.status, text: digest(await response.text()) }
}

function digest(text: string): string {
  return text.length < 1000 ? text : `${text.length} ${createHash('sha256').update(text).digest('hex')}`
}

/** Until `check` is content. */
async function eventually<T>(make: () => Promise<T>, check: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await make()
    if (check(value)) return value
    await new Promise((resolve) => { setTimeout(resolve, 20) })
  }
}

const stop = async (running: Running): Promise<Line> => {
  running.child.kill('SIGINT')
  expect(await running.ended, running.err).toBe(130)
  return running.lines.at(-1) ?? {}
}

describe.skipIf(!BUILT)('reverse listen and reverse dial', () => {
  it('bring requests to a service that dialled out; it may go away and come back', { timeout: PATIENCE_MS }, async () => {
    const end = await listen('--tcp', '0=web', '--sni-map', '*=web', '--wait', '10ms')
    expect(await ask(end.http)).toMatchObject({ status: expect.toSatisfy((status: number) => status === 404 || status === 503) as never })
    const web = await app()
    const private_ = await dial(end.to, web.target, '--pool', '2')
    expect(await end.child.event('accepted', ({ size }) => size === 2)).toMatchObject({ ok: true, service: 'web', key: 'web' })
    const body = 'x'.repeat(300_000)
    expect(await ask(`${end.http}/echo`, body)).toEqual({ status: 200, text: digest(body) })
    expect(await end.child.event('request')).toMatchObject({ ok: expect.any(Boolean) as never })
    const [host = '', port = ''] = end.tcp.split(':')
    const raw = connect({ host, port: Number(port), allowHalfOpen: true })
    raw.end('GET / HTTP/1.0\r\nhost: raw\r\n\r\n')
    let text = ''
    raw.on('data', (bytes) => { text += String(bytes) })
    await once(raw, 'end')
    expect(text).toContain('x-host: raw')

    await web.close()
    expect(await ask(end.http)).toMatchObject({ status: 502 })
    expect(await private_.event('target')).toMatchObject({ ok: false, target: web.target, reason: 'ECONNREFUSED' })
    await app(web.port)
    expect(await ask(`${end.http}/again`, 'back')).toEqual({ status: 200, text: 'back' })
    expect(await private_.event('target', ({ ok }) => ok === true)).toBeDefined()

    expect(await stop(private_)).toMatchObject({ event: 'end', failed: 1 })
    expect(await end.child.event('empty')).toMatchObject({ service: 'web', size: 0 })
    expect(await ask(end.http)).toMatchObject({ status: 503 })
    expect(await stop(end.child)).toMatchObject({ event: 'end', accepted: 2 })
  })

  it('let what is under way end when one of them is interrupted', { timeout: PATIENCE_MS }, async () => {
    const web = await app()
    const end = await listen('--wait', '10ms')
    const private_ = await dial(end.to, web.target)
    const asked = ask(`${end.http}/slow`)
    await eventually(async () => web.slow.length, (length) => length === 1)
    private_.child.kill('SIGINT')
    await end.child.event('draining')
    web.slow[0]?.end('end')
    expect(await asked).toEqual({ status: 200, text: 'begin end' })
    expect(await private_.ended).toBe(130)
  })

  it('say who comes and where to, in front of TCP; a visitor who stays does not keep a public end that is interrupted', { timeout: PATIENCE_MS }, async () => {
    let head = Buffer.alloc(0)
    const target = createTcpServer((socket) => void socket.on('error', () => undefined).on('data', (bytes) => {
      head = Buffer.concat([head, bytes])
      socket.write('here')
    })).listen(0, '127.0.0.1')
    await once(target, 'listening')
    const end = await listen('--tcp', '0=web', '--proxy-protocol', 'v2')
    const private_ = await dial(end.to, String((target.address() as AddressInfo).port))
    const port = Number(end.tcp.split(':')[1])
    const visitor = connect(port, '127.0.0.1').on('error', () => undefined)
    visitor.write('hello')
    await once(visitor, 'data')
    await eventually(async () => head.length, (length) => length === 28 + 5)
    expect([head.subarray(16, 24).toString('hex'), head.readUInt16BE(24), head.readUInt16BE(26)]).toEqual(['7f0000017f000001', visitor.localPort, port])
    const cut = new Promise((resolve) => void visitor.once('close', resolve))
    await stop(end.child)
    await cut
    // They have had their two seconds before private ends are told, and no two more.
    const [draining, closed] = await Promise.all(['draining', 'closed'].map((event) => end.child.event(event)))
    expect(Number(closed?.['atMs']) - Number(draining?.['atMs'])).toBeLessThan(1900)
    await stop(private_)
    target.close()
  })

  it('tell a public end that has gone, once, and come back to the next one there', { timeout: PATIENCE_MS }, async () => {
    const web = await app()
    const first = await listen()
    const private_ = await dial(first.to, web.target, '--retry', '50ms..100ms', '--connect-timeout', '200ms')
    await stop(first.child)
    await private_.event('state', ({ state }) => state === 'ERR')
    const second = await listen('-l', first.to)
    expect(await eventually(() => ask(`${second.http}/x`, 'again'), ({ status }) => status === 200)).toEqual({ status: 200, text: 'again' })
    const states = private_.lines.filter(({ event }) => event === 'state').map(({ state, error }) => `${String(state)} ${String((error as { code?: string } | undefined)?.code)}`)
    expect(states.every((state, index) => state !== states[index - 1])).toBe(true)
    await stop(private_)
  })
})

describe.skipIf(!BUILT)('reverse dial --once', () => {
  it('ends with 3 when either end does not know the other, and when the name is not allowed', { timeout: PATIENCE_MS }, async () => {
    const end = await listen('--allow-service', 'web')
    const refusals: [string[], string][] = [
      [['--pin', pins['db'] ?? ''], 'QB_TLS_'],
      [['--service', 'db'], 'QB_REVERSE_NAME'],
      [['--cert', 'db/cert.pem', '--key', 'db/key.pem'], 'QB_'],
    ]
    for (const [more, code] of refusals) {
      const args = dialArgs(end.to, '127.0.0.1:9', '--once').filter((word, index, all) => !(more[0] === '--pin' && (word === '--pin' || all[index - 1] === '--pin')))
      const { exit, json } = await commands.run(...args, ...more)
      expect(exit, `${more.join(' ')} ${JSON.stringify(json)}`).toBe(3)
      expect(json).toMatchObject({ ok: false, error: { code: expect.stringContaining(code) as never } })
    }
    expect(await end.child.event('refused', ({ reason }) => reason === 'name')).toMatchObject({ ok: false, service: 'db' })
  })

  it('ends with 4 where nobody listens, and with 1 where it cannot be right', { timeout: PATIENCE_MS }, async () => {
    expect(await commands.run(...dialArgs('127.0.0.1:9', '127.0.0.1:9', '--once', '--connect-timeout', '100ms'))).toMatchObject({ exit: 4, json: { ok: false } })
    writeFileSync(join(folder, 'broken.pem'), 'no certificate')
    expect(await commands.run(...dialArgs('127.0.0.1:9', '127.0.0.1:9'), '--cert', 'broken.pem')).toMatchObject({ exit: 1, json: { ok: false, error: { code: 'QB_TLS_IDENTITY' } } })
    expect(await commands.run('reverse', 'listen', '--json', '--http', '0', '--pin', pins['web'] ?? '', '--cert', 'broken.pem', '--key', 'public/key.pem')).toMatchObject({ exit: 1, json: { ok: false, error: { code: 'QB_TLS_IDENTITY' } } })
  })
})

describe.skipIf(!BUILT)('reverse connections', () => {
  it('go over several paths', { timeout: PATIENCE_MS }, async () => {
    const web = await app()
    const end = await listen()
    const private_ = await dial(end.to, web.target, '--path', '127.0.0.1', '--path', '127.0.0.2', '--scheduler', 'round-robin')
    const body = 'y'.repeat(400_000)
    await eventually(async () => {
      expect(await ask(`${end.http}/`, body)).toEqual({ status: 200, text: digest(body) })
      return private_.lines.length
    }, (length) => length > 8)
    const { paths } = (await stop(private_)) as unknown as { paths: { local: string; bytesSent: number }[] }
    for (const host of ['127.0.0.1:', '127.0.0.2:']) expect(paths.some(({ local, bytesSent }) => local.startsWith(host) && bytesSent > 100_000), host).toBe(true)
  })

  it('go through a relay where both ends have registered', { timeout: PATIENCE_MS }, async () => {
    writeFileSync(join(folder, 'tokens'), 'secret\n')
    const relay = commands.start('relay', '--json', '-l', '127.0.0.1:0', '--token-file', 'tokens', '--allow-private')
    const { address, pin } = (await relay.event('listening')) as unknown as { address: string; pin: string }
    const through = ['--relay-pin', pin, '--token', 'secret']
    const end = await listen('--relay', address, ...through)
    const { relay: at } = (await end.child.event('listening')) as unknown as { relay: string }
    expect(at.startsWith(`${address}-127.0.0.1:`)).toBe(true)
    const web = await app()
    await dial(at, web.target, ...through)
    expect(await ask(`${end.http}/`, 'over the relay')).toEqual({ status: 200, text: 'over the relay' })
    const refused = await commands.run('reverse', 'listen', '--json', '--http', '0', '--pin', pins['web'] ?? '', '-l', '127.0.0.1:0', '--relay', address, '--relay-pin', pin, '--token', 'guess')
    expect(refused).toMatchObject({ exit: 3, json: { ok: false, error: { code: 'QB_RELAY_REFUSED' } } })
  })
})

describe.skipIf(!BUILT)("reverse connections in HAProxy's protocol", () => {
  it('carry HTTP both with certificates and without, and say that the target is away', { timeout: PATIENCE_MS }, async () => {
    const web = await app()
    const cases = [
      [['--client-ca', 'web/cert.pem'], ['--ca', 'public/cert.pem', '--servername', 'localhost', '--cert', 'web/cert.pem', '--key', 'web/key.pem']],
      [['--plain', '--allow-service', 'web'], ['--plain']],
    ] as const
    for (const [listens, dials] of cases) {
      const child = commands.start('reverse', 'listen', '--json', '--proto', 'h2-haproxy', '-l', '127.0.0.1:0', '--http', '0', '--cert', 'public/cert.pem', '--key', 'public/key.pem', '--wait', '10ms', ...listens)
      const { local, http } = (await child.event('listening')) as unknown as { local: string[]; http: string[] }
      const private_ = commands.start('reverse', 'dial', '--json', '--proto', 'h2-haproxy', '--to', local[0] ?? '', '--service', 'web', '--target', web.target, ...dials)
      await private_.event('state', ({ state }) => state === 'FULL')
      expect(await child.event('accepted')).toMatchObject({ key: 'web', size: 1 })
      const body = 'z'.repeat(200_000)
      expect(await ask(`http://${http[0]}/`, body)).toEqual({ status: 200, text: digest(body) })
      if (listens[0] === '--plain') {
        await web.close()
        expect(await ask(`http://${http[0]}/`)).toMatchObject({ status: 502 })
        expect(await private_.event('target')).toMatchObject({ ok: false, reason: 'ECONNREFUSED' })
      }
      expect(await stop(private_)).toMatchObject({ event: 'end' })
      await child.event('closed')
      expect(await stop(child)).toMatchObject({ event: 'end', accepted: 1 })
    }
  })
})
