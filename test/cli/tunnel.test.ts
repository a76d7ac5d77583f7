/** `quicbraid tunnel` as processes over the native module and real sockets. Skipped, by name, when either has not been built. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { createSocket } from 'node:dgram'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import { ENDED } from './ended.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CLI = join(ROOT, 'dist/cli.mjs')
const BUILT = existsSync(CLI) && existsSync(join(ROOT, 'native/binding')) && readdirSync(join(ROOT, 'native/binding')).some((name) => name.endsWith('.node'))
const LIMIT_MS = 90_000

type Event = Record<string, unknown> & { event?: string }

interface Running {
  child: ChildProcess
  events: Event[]
  err: () => string
  /** The first event that fits, now or later. @throws when the process has ended without one */
  event(fits: (event: Event) => boolean): Promise<Event>
  exit: Promise<number>
}

let folder = ''
let pin = ''
let echo: Server
const running: ChildProcess[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quicbraid-tunnel-'))
  const { cert, key } = createDevCertificate()
  pin = new X509Certificate(cert).fingerprint256.replaceAll(':', '').toLowerCase()
  await writeFile(join(folder, 'cert.pem'), cert)
  await writeFile(join(folder, 'key.pem'), key)
  echo = createServer({ allowHalfOpen: true }, (socket) => void socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1')
  await once(echo, 'listening')
})

afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
})

afterAll(async () => {
  echo?.close()
  await rm(folder, { recursive: true, force: true })
})

function tunnel(...args: string[]): Running {
  const child = spawn(process.execPath, [CLI, 'tunnel', ...args, '--json'], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NO_COLOR: '1', SSLKEYLOGFILE: '' } })
  running.push(child)
  const events: Event[] = []
  let [rest, err] = ['', '']
  let look = (): void => {}
  let over = false
  child.stderr.on('data', (bytes) => { err += String(bytes) })
  child.stdout.on('data', (bytes) => {
    const lines = (rest + String(bytes)).split('\n')
    rest = lines.pop() ?? ''
    events.push(...lines.map((line) => JSON.parse(line) as Event))
    look()
  })
  const exit = new Promise<number>((resolve) => {
    child.once('close', (code) => {
      over = true
      look()
      resolve(code ?? -1)
    })
  })
  const event = (fits: (one: Event) => boolean): Promise<Event> => new Promise((resolve, reject) => {
    const before = look
    look = () => {
      before()
      const found = events.find(fits)
      if (found !== undefined) resolve(found)
      else if (over) reject(new Error(`ended without it: ${JSON.stringify(events)} ${err}`))
    }
    look()
  })
  return { child, events, err: () => err, event, exit }
}

/** A server for the certificate of the tests, and what a client needs to reach it. */
async function serve(...args: string[]): Promise<Running & { address: string; client: string[] }> {
  const server = tunnel('--server', '-l', '127.0.0.1:0', '--client-pin', pin, ...args)
  const { local, pin: own } = await server.event(({ event }) => event === 'listening') as { local: string[]; pin: string }
  const address = local[0] ?? ''
  return { ...server, address, client: [address, '--pin', own, '--cert', 'cert.pem', '--key', 'key.pem'] }
}

const listening = (kind: string) => (event: Event): boolean => event.event === 'listening' && event['kind'] === kind
const portOf = (address: unknown): number => Number(String(address).split(':').at(-1))
const echoPort = (): number => (echo.address() as AddressInfo).port

/** Sends, ends, and answers what comes back: 'rst' if it was cut. */
async function said(socket: Socket, text: string): Promise<string> {
  let answer = ''
  socket.on('data', (bytes) => { answer += String(bytes) })
  const ended = new Promise<string>((resolve) => {
    socket.once('end', () => resolve(answer)).once('error', () => resolve('rst')).once('close', () => resolve('rst'))
  })
  socket.end(text)
  return ended
}

const to = (port: number): Socket => connect({ port, host: '127.0.0.1', allowHalfOpen: true })

/** Asks a SOCKS5 proxy; the socket is at the target, or the reply is not 0. */
async function socks(port: number, name: string, targetPort: number, user?: [string, string]): Promise<{ reply: number; socket: Socket }> {
  const socket = to(port).on('error', () => {})
  const read = async (bytes: number): Promise<Buffer> => {
    for (;;) {
      const piece = socket.read(bytes) as Buffer | null
      if (piece !== null) return piece
      await once(socket, 'readable')
    }
  }
  socket.write(Uint8Array.of(5, 1, user === undefined ? 0 : 2))
  const [, method] = await read(2)
  if (method === 0xff) return { reply: -1, socket }
  if (user !== undefined) {
    socket.write(Uint8Array.from([1, user[0].length, ...Buffer.from(user[0]), user[1].length, ...Buffer.from(user[1])]))
    if ((await read(2))[1] !== 0) return { reply: -1, socket }
  }
  socket.write(Uint8Array.from([5, 1, 0, 3, name.length, ...Buffer.from(name), targetPort >> 8, targetPort & 0xff]))
  const [, reply = -2] = await read(10)
  return { reply, socket }
}

describe.skipIf(!BUILT)('quicbraid tunnel', () => {
  it('carries TCP by -L, tells of each bridge, and ends at SIGINT with what it did', { timeout: LIMIT_MS }, async () => {
    const server = await serve('--allow', `127.0.0.1:${echoPort()}`, '--allow', '127.0.0.1:1', '--metrics', '0')
    const client = tunnel('-L', `0:127.0.0.1:${echoPort()}`, '-L', '0:127.0.0.1:1', '--metrics', '0', ...server.client)
    const first = await client.event(listening('L'))
    expect(first).toMatchObject({ ok: true, target: `127.0.0.1:${echoPort()}` })
    expect(await said(to(portOf(first['local'])), 'through')).toBe('through')
    const other = await client.event((event) => listening('L')(event) && event['target'] === '127.0.0.1:1')
    expect(await said(to(portOf(other['local'])), 'x')).toBe('rst')
    expect(await client.event(({ event, type }) => event === 'bridge' && type === 'failed')).toMatchObject({ ok: false, reason: 'connect', target: '127.0.0.1:1' })
    expect(await (await fetch(`${String(server.events[0]?.['metrics'])}/metrics`)).text()).toContain('quicbraid_tunnel_bridges_total 2')
    expect(await (await fetch(`${String(first['metrics'])}/metrics`)).text()).toContain('quicbraid_tunnel_bridges_total')
    const open = to(portOf(first['local']))
    open.write('stays')
    await once(open, 'data')
    client.child.kill('SIGINT')
    open.end()
    expect(await client.exit).toBe(130)
    expect(client.err()).toBe('')
    expect(client.events.at(-1)).toMatchObject({ event: 'end', ok: true, bridgesTotal: 3, bridgesOpen: 0, bytesUp: 12, bytesDown: 12, failed: { connect: 1 } })
    server.child.kill('SIGTERM')
    expect(await server.exit).toBe(143)
    expect(server.events.filter(({ event, type }) => event === 'bridge' && type === 'closed')[0]).toMatchObject({ target: `127.0.0.1:${echoPort()}`, peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/), bytesUp: 7, bytesDown: 7 })
  })

  it('is a SOCKS5 proxy by -D, for the names that the server allows', { timeout: LIMIT_MS }, async () => {
    const server = await serve('--allow', `localhost:${echoPort()}`, '--allow', '127.0.0.1:1')
    const client = tunnel('-D', '0', '--socks-user', 'me:word', ...server.client)
    const port = portOf((await client.event(listening('D')))['local'])
    const good = await socks(port, 'localhost', echoPort(), ['me', 'word'])
    expect([good.reply, await said(good.socket, 'by name')]).toEqual([0, 'by name'])
    expect((await socks(port, 'localhost', echoPort(), ['me', 'wrong'])).reply).toBe(-1)
    expect((await socks(port, 'localhost', echoPort())).reply).toBe(-1)
    expect((await socks(port, 'elsewhere', echoPort(), ['me', 'word'])).reply).toBe(2)
    expect((await socks(port, '127.0.0.1', 1, ['me', 'word'])).reply).toBe(5)
    expect(await said(to(port), 'GET / HTTP/1.1\r\n\r\n')).toBe('')
    expect(await server.event(({ event }) => event === 'refused')).toMatchObject({ ok: false, target: `elsewhere:${echoPort()}`, reason: 'not allowed' })
  })

  it('opens a port at the server by -R, and carries UDP by -L udp:', { timeout: LIMIT_MS }, async () => {
    const udp = createSocket('udp4').on('message', (bytes, { port, address }) => udp.send(`udp ${String(bytes)}`, port, address))
    udp.bind(0, '127.0.0.1')
    await once(udp, 'listening')
    const free = await freePort()
    const server = await serve('--allow', `udp:127.0.0.1:${udp.address().port}`, '--allow-listen', String(free))
    const client = tunnel('-R', `${free}:localhost:${echoPort()}`, '-L', `udp:0:127.0.0.1:${udp.address().port}`, ...server.client)
    expect(await client.event(listening('R'))).toMatchObject({ local: `127.0.0.1:${free}`, target: `localhost:${echoPort()}` })
    expect(await said(to(free), 'backward')).toBe('backward')
    const { local } = await client.event(listening('L'))
    const asking = createSocket('udp4')
    asking.send('hello', portOf(local), '127.0.0.1')
    expect(String((await once(asking, 'message'))[0])).toBe('udp hello')
    asking.close()
    udp.close()
    // Another client does not get it, nor a port that is not allowed.
    expect(await tunnel('-R', `${free === 65_535 ? 1 : free + 1}:localhost:80`, ...server.client).exit).toBe(3)
    client.child.kill('SIGINT')
    expect(await client.exit).toBe(130)
    await server.event(({ event }) => event === 'unlistened')
    expect(await said(to(free), 'x')).toBe('rst')
  })

  it('ends with a code that tells why', { timeout: LIMIT_MS }, async () => {
    const server = await serve('--allow', `127.0.0.1:${echoPort()}`)
    const [address = '', , , ...identity] = server.client
    const forward = ['-L', `0:127.0.0.1:${echoPort()}`]
    const taken = tunnel('-L', `${echoPort()}:127.0.0.1:${echoPort()}`, ...server.client)
    const wrongPin = tunnel(...forward, address, '--pin', '0'.repeat(64), ...identity)
    const nameless = tunnel(...forward, ...server.client.slice(0, 3))
    const elsewhere = tunnel('-L', '0:10.0.0.1:80', ...server.client)
    const nobody = tunnel(...forward, '127.0.0.1:1', '-k', '--connect-timeout', '1s')
    expect(await Promise.all([taken, wrongPin, nameless, elsewhere, nobody].map(({ exit }) => exit))).toEqual([2, 3, 3, 3, 4])
    expect([taken, wrongPin, elsewhere].map(({ events }) => (events.at(-1)?.['error'] as { code?: string } | undefined)?.code)).toEqual(['QB_BIND_FAILED', expect.stringMatching(/^QB_TLS_/), 'QB_TUNNEL_REFUSED'])
    expect(elsewhere.events.at(-1)).toMatchObject({ ok: false, event: 'end', bridgesTotal: 0 })
  })

  it('stops at once when it is interrupted before it is connected', { timeout: LIMIT_MS }, async () => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1')
    await once(silent, 'listening')
    const more = [`127.0.0.1:${silent.address().port}`, '-k', '--connect-timeout', '10m', '--cert', 'cert.pem', '--key', 'key.pem']
    for (const what of [['-L', '0:x:80'], ['-D', '0'], ['-R', '8080:x:80']]) {
      const client = tunnel(...what, ...more)
      // Somebody who will never answer has been asked.
      await once(silent, 'message')
      client.child.kill('SIGINT')
      expect(await client.exit, what.join(' ')).toBe(130)
      expect(client.events.at(-1), what.join(' ')).toMatchObject({ event: 'end', ok: true, atMs: expect.any(Number) as never })
    }
    silent.close()
  })

  it('says of a port that the server does not open which one, and why, at both ends', { timeout: LIMIT_MS }, async () => {
    const free = await freePort()
    const server = await serve('--allow-listen', `${echoPort()}`)
    for (const [port, why] of [[free, /^not allowed$/], [echoPort(), /EADDRINUSE/]] as const) {
      const client = tunnel('-R', `${port}:localhost:80`, ...server.client)
      expect(await client.exit).toBe(3)
      expect(client.events.at(-1)).toMatchObject({ event: 'end', ok: false, error: { code: 'QB_REVERSE_NAME', message: expect.stringContaining(`-R ${port}:localhost:80: ${server.address} does not open this port`) as never } })
      expect(await server.event((event) => event.event === 'refused' && event['target'] === `tcp/127.0.0.1:${port}`)).toMatchObject({ remote: expect.stringMatching(/^127\.0\.0\.1:\d+$/) as never, reason: expect.stringMatching(why) as never })
    }
  })

  /** attacks H2 */
  it('lets nobody in whose certificate has ended, by -L and by -R, though its key is pinned; the client is warned', { timeout: LIMIT_MS }, async () => {
    await Promise.all(Object.entries(ENDED).map(([name, text]) => writeFile(join(folder, `ended-${name}.pem`), text)))
    const free = await freePort()
    const server = await serve('--allow', `127.0.0.1:${echoPort()}`, '--allow-listen', `${free}`, '--client-pin', new X509Certificate(ENDED.cert).fingerprint256.replaceAll(':', '').toLowerCase())
    for (const what of [['-L', `0:127.0.0.1:${echoPort()}`], ['-R', `${free}:localhost:80`]]) {
      const client = tunnel(...what, ...server.client.slice(0, 3), '--cert', 'ended-cert.pem', '--key', 'ended-key.pem')
      expect(await client.exit, what.join(' ')).toBe(3)
      expect(client.events.at(-1), what.join(' ')).toMatchObject({ ok: false, error: { message: expect.stringContaining('our certificate (--cert) has ended') as never } })
      expect(client.err(), what.join(' ')).toMatch(/^warning: --cert ended-cert\.pem: this certificate has ended on 2020-/)
    }
    expect(await server.event(({ event }) => event === 'refused')).toMatchObject({ target: `tcp/127.0.0.1:${free}`, reason: 'its certificate has ended' })
  })

  it('gives up after so many attempts; an orderly end of the server is none of its own', { timeout: LIMIT_MS }, async () => {
    const free = await freePort()
    const server = await serve('--allow', `127.0.0.1:${echoPort()}`, '--allow-listen', `${free}`)
    const args = ['--connect-timeout', '1s', '--keepalive', '300ms', ...server.client]
    const forward = ['-L', `0:127.0.0.1:${echoPort()}`]
    const clients = [tunnel(...forward, ...args, '--reconnect', 'max=2'), tunnel(...forward, ...args, '--reconnect', 'off'), tunnel('-R', `${free}:localhost:80`, ...args, '--reconnect', 'off')]
    await Promise.all(clients.map((client) => client.event(({ event }) => event === 'listening')))
    server.child.kill('SIGINT')
    const [stubborn, plain, backward] = clients
    expect([await plain?.exit, await backward?.exit, await stubborn?.exit]).toEqual([0, 0, 4])
    expect(stubborn?.events.at(-1)).toMatchObject({ ok: false, event: 'end', reconnects: 2 })
    expect(plain?.events.at(-1)).toMatchObject({ ok: true, event: 'end' })
  })
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
