/** The built command over the native module and real sockets. Skipped, by name, when either has not been built. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { on } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CLI = join(ROOT, 'dist/cli.mjs')
const BUILT = existsSync(CLI) && readdirSync(join(ROOT, 'native/binding')).some((name) => name.endsWith('.node'))
const LIMIT_MS = 60_000

let folder = ''
const content = randomBytes(3_000_000)
const running: ChildProcess[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quicbraid-cli-'))
  await mkdir(join(folder, 'www'))
  await writeFile(join(folder, 'www', 'file.bin'), content)
  await writeFile(join(folder, 'www', 'small.txt'), 'small\n')
  await writeFile(join(folder, 'secret'), 'secret')
})

afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
})

afterAll(async () => rm(folder, { recursive: true, force: true }))

interface Outcome { exit: number; out: string; err: string; json: Record<string, unknown> }

function start(args: readonly string[], more: { cwd?: string; entry?: string } = {}): { child: ChildProcess; outcome: Promise<Outcome>; line: Promise<string> } {
  const child = spawn(process.execPath, [more.entry ?? CLI, ...args], { cwd: more.cwd ?? folder, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NO_COLOR: '1', SSLKEYLOGFILE: '' } })
  running.push(child)
  let out = ''
  let err = ''
  child.stderr.on('data', (bytes) => { err += String(bytes) })
  const line = new Promise<string>((resolve) => {
    child.stdout.on('data', (bytes) => {
      out += String(bytes)
      if (out.includes('\n')) resolve(out.slice(0, out.indexOf('\n')))
    })
    child.once('close', () => resolve(''))
  })
  const outcome = new Promise<Outcome>((resolve) => {
    child.once('close', (code) => {
      const last = out.trimEnd().split('\n').at(-1) ?? ''
      resolve({ exit: code ?? -1, out, err, json: last.startsWith('{') ? (JSON.parse(last) as Record<string, unknown>) : {} })
    })
  })
  return { child, outcome, line }
}

/** Waits for a line of a command's notes. */
async function said(child: ChildProcess, line: RegExp): Promise<void> {
  let text = ''
  for await (const bytes of on(child.stderr as Readable, 'data', { close: ['close'] })) {
    text += String(bytes)
    if (line.test(text)) return
  }
}

const quicbraid = (...args: string[]): Promise<Outcome> => start(args).outcome

async function serve(...args: string[]): Promise<{ child: ChildProcess; outcome: Promise<Outcome>; address: string; pin: string }> {
  const server = start(['serve', 'www', '-l', '127.0.0.1:0', '--json', ...args])
  const { event, local, pin } = JSON.parse(await server.line) as { event: string; local: string[]; pin: string }
  expect(event).toBe('listening')
  return { ...server, address: local[0] ?? '', pin }
}

describe.skipIf(!BUILT)('serve and get', () => {
  it('carry a file over two paths, byte for byte', { timeout: LIMIT_MS }, async () => {
    const { child, outcome, address, pin } = await serve('--scheduler', 'round-robin')
    const got = await quicbraid('get', `https://${address}/file.bin`, '-o', 'got.bin', '--pin', pin, '--path', '127.0.0.1', '--path', '127.0.0.2', '--json')
    expect(got.err).toBe('')
    const sha256 = createHash('sha256').update(content).digest('hex')
    expect(got).toMatchObject({ exit: 0, json: { ok: true, bytes: content.length, files: [{ url: `https://${address}/file.bin`, file: 'got.bin', bytes: content.length, sha256 }], handshake: { multipath: 'ietf', version: 'v1' } } })
    expect((await readFile(join(folder, 'got.bin'))).equals(content)).toBe(true)
    expect((got.json['paths'] as unknown[]).length).toBeGreaterThanOrEqual(1)
    child.kill('SIGINT')
    const ended = await outcome
    expect(ended.exit).toBe(130)
    const events = ended.out.trim().split('\n').map((line) => JSON.parse(line) as { event: string; atMs: number })
    expect(events.map(({ event }) => event)).toEqual(expect.arrayContaining(['listening', 'request', 'closed', 'end']))
    expect(events.find(({ event }) => event === 'request')).toMatchObject({ method: 'GET', path: '/file.bin', bytes: content.length, ok: true })
  })

  it('fetch several files over one connection, and pipe to stdout', { timeout: LIMIT_MS }, async () => {
    const { address, pin } = await serve()
    const urls = ['file.bin', 'small.txt'].map((name) => `https://${address}/${name}`)
    const got = await quicbraid('get', ...urls, '-P', 'there', '--pin', pin, '--json')
    expect(got).toMatchObject({ exit: 0, json: { ok: true, bytes: content.length + 6 } })
    expect((await readdir(join(folder, 'there'))).sort()).toEqual(['file.bin', 'small.txt'])
    const piped = await quicbraid('get', `https://${address}/small.txt`, '--pin', pin, '-q')
    expect(piped).toMatchObject({ exit: 0, out: 'small\n', err: '' })
  })

  it('refuse what is missing or outside, and leave no file', { timeout: LIMIT_MS }, async () => {
    const { address, pin } = await serve()
    for (const path of ['missing', '%2e%2e%2fsecret']) {
      const got = await quicbraid('get', `https://${address}/${path}`, '-o', 'none', '--pin', pin, '--json')
      expect(got, path).toMatchObject({ exit: 5, json: { ok: false, error: { code: 'QB_STREAM_RESET', errorCode: 0x404, by: 'peer' } } })
    }
    expect((await readdir(folder)).filter((name) => name.startsWith('none'))).toEqual([])
  })

  it('stop at SIGINT with exit 130, what there is as JSON, and no file', { timeout: LIMIT_MS }, async () => {
    await writeFile(join(folder, 'www', 'large.bin'), Buffer.alloc(600_000_000))
    const { address, pin } = await serve()
    const { child, outcome } = start(['get', `https://${address}/large.bin`, '-o', 'none', '--pin', pin, '--json'])
    while (!(await readdir(folder)).includes('none.part')) await new Promise((resolve) => { setTimeout(resolve, 5) })
    child.kill('SIGINT')
    expect(await outcome).toMatchObject({ exit: 130, json: { ok: false, error: { code: 'QB_INTERRUPTED' }, files: [] } })
    expect((await readdir(folder)).filter((name) => name.startsWith('none'))).toEqual([])
  })

  it('answer HTTP at --metrics while they run, and let go of the port', { timeout: LIMIT_MS }, async () => {
    const server = start(['serve', 'www', '-l', '127.0.0.1:0', '--json', '--metrics', '0'])
    const { local, pin, metrics } = JSON.parse(await server.line) as { local: string[]; pin: string; metrics: string }
    expect(metrics).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    const events = await fetch(`${metrics}/events`)
    const got = await quicbraid('get', `https://${local[0]}/small.txt`, '-o', 'seen.txt', '--pin', pin, '--metrics', '0', '--json')
    expect(got).toMatchObject({ exit: 0, err: '', json: { ok: true } })
    const text = await (await fetch(`${metrics}/metrics`)).text()
    expect(text).toContain('quicbraid_endpoint_connections_accepted_total 1\n')
    expect(await (await fetch(`${metrics}/healthz`)).json()).toMatchObject({ ok: true, local, listening: true })
    const taken = await quicbraid('serve', 'www', '-l', '127.0.0.1:0', '--json', '--metrics', new URL(metrics).port)
    expect(taken).toMatchObject({ exit: 2, json: { ok: false, error: { code: 'QB_BIND_FAILED', message: expect.stringContaining('another program has this port') as never } } })
    server.child.kill('SIGINT')
    expect((await server.outcome).exit).toBe(130)
    const told = await events.text()
    for (const word of ['event: hello', 'event: connection', '"type":"opened"', '"type":"closing"']) expect(told).toContain(word)
    await expect(fetch(`${metrics}/healthz`)).rejects.toThrow()
  })

  it('log as lines or as JSON what the library warns of', { timeout: LIMIT_MS }, async () => {
    for (const [form, expected] of [['plain', /^warning: qlog failed and is off \(field: qlog, value: \/dev\/null\/logs, error: .+\)\n$/], ['json', /^\{"field":"qlog","value":"\/dev\/null\/logs",.*"level":"warning".*\}\n$/]] as const) {
      const { address, pin } = await serve()
      const got = await quicbraid('get', `https://${address}/small.txt`, '-o', `log-${form}.txt`, '--pin', pin, '--json', '--log', form, '--qlog', '/dev/null/logs')
      expect(got).toMatchObject({ exit: 0, err: expect.stringMatching(expected) as never })
    }
  })

  it('fail with exit 5 on another hash', { timeout: LIMIT_MS }, async () => {
    const { address, pin } = await serve()
    const got = await quicbraid('get', `https://${address}/small.txt`, '-o', 'none', '--pin', pin, '--sha256', '0'.repeat(64), '--json')
    expect(got).toMatchObject({ exit: 5, json: { ok: false, error: { code: 'QB_RESULT_WRONG' } } })
  })
})

describe.skipIf(!BUILT)('get without a connection', () => {
  it('says 3 when the certificate is not trusted', { timeout: LIMIT_MS }, async () => {
    const { address } = await serve()
    const got = await quicbraid('get', `https://${address}/small.txt`, '-o', 'none', '--json')
    expect(got).toMatchObject({ exit: 3, json: { ok: false, error: { code: 'QB_TLS_CERTIFICATE' } } })
  })

  it('says 4 when nobody is there', { timeout: LIMIT_MS }, async () => {
    const got = await quicbraid('get', 'https://127.0.0.1:9/x', '-o', 'none', '-k', '--connect-timeout', '500ms', '--json')
    expect(got).toMatchObject({ exit: 4, json: { ok: false } })
  })

  it('says 1 for options the library refuses and 2 for files that are not there', { timeout: LIMIT_MS }, async () => {
    expect(await quicbraid('get', 'https://127.0.0.1:9/x', '-o', 'none', '-k', '--scheduler', 'fastest', '--json')).toMatchObject({ exit: 1, json: { ok: false, error: { code: 'QB_OPTION_INVALID' } } })
    expect(await quicbraid('get', 'https://127.0.0.1:9/x', '-o', 'none', '--ca', '/does/not/exist', '--json')).toMatchObject({ exit: 2, json: { ok: false } })
    expect(await quicbraid('get', 'https://127.0.0.1:9/x', '-o', '/does/not/exist/x', '-k', '--connect-timeout', '300ms', '--json')).toMatchObject({ json: { ok: false } })
  })
})

describe.skipIf(!BUILT)('cert', () => {
  it('makes files once, for serve to use', { timeout: LIMIT_MS }, async () => {
    const made = await quicbraid('cert', 'localhost', '127.0.0.1', '-o', 'tls', '--json')
    expect(made).toMatchObject({ exit: 0, json: { ok: true, cert: 'tls/cert.pem', names: ['localhost', '127.0.0.1'] } })
    expect(await quicbraid('cert', '-o', 'tls', '--json')).toMatchObject({ exit: 2, json: { error: { code: 'QB_FILE_EXISTS' } } })
    const { address } = await serve('--cert', 'tls/cert.pem', '--key', 'tls/key.pem')
    expect(await quicbraid('get', `https://${address}/small.txt`, '-q', '--ca', 'tls/cert.pem')).toMatchObject({ exit: 0, out: 'small\n' })
    const strict = await serve('--cert', 'tls/cert.pem', '--key', 'tls/key.pem', '--client-ca', 'tls/cert.pem')
    const url = `https://${strict.address}/small.txt`
    expect(await quicbraid('get', url, '-o', 'none', '--ca', 'tls/cert.pem', '--json')).toMatchObject({ exit: 3, json: { error: { code: 'QB_TLS_CLIENT_CERTIFICATE' } } })
    expect(await quicbraid('get', url, '-q', '--ca', 'tls/cert.pem', '-E', 'tls/cert.pem', '--key', 'tls/key.pem')).toMatchObject({ exit: 0, out: 'small\n' })
  })
})

describe.skipIf(!BUILT)('the demo', () => {
  it('moves a file over two paths while one is cut and restored', { timeout: LIMIT_MS }, async () => {
    const { exit, json, out } = await quicbraid('demo', '--size', '24MiB', '--rate', '80mbit', '--json')
    expect(json['error']).toBeUndefined()
    expect(json).toMatchObject({ ok: true, bytes: 25_165_824, sha256Match: true })
    expect(exit).toBe(0)
    expect(out.trim().split('\n')).toHaveLength(1)
    expect(Object.keys(json)).toEqual(['ok', 'bytes', 'seconds', 'sha256Match', 'stallMs', 'paths', 'handshake'])
    const paths = json['paths'] as { bytesSent: number; bytesReceived: number; bursts: number; segmentsPerBurst: number }[]
    expect(paths.length).toBeGreaterThanOrEqual(2)
    for (const path of paths.slice(0, 2)) {
      expect(path.bytesReceived).toBeGreaterThan(1_000_000)
      expect(path.bytesSent).toBeGreaterThanOrEqual(path.bytesReceived)
      expect(path.segmentsPerBurst).toBeGreaterThanOrEqual(1)
    }
    expect(paths.reduce((sum, path) => sum + path.bytesReceived, 0)).toBeGreaterThan(25_165_824)
    expect((await readdir(tmpdir())).filter((name) => name.startsWith('quicbraid-demo-'))).toEqual([])
  })

  it('sends a file of the user', { timeout: LIMIT_MS }, async () => {
    const { exit, json } = await quicbraid('demo', join('www', 'file.bin'), '--no-cut', '--json')
    expect(json).toMatchObject({ ok: true, bytes: content.length, sha256Match: true })
    expect(exit).toBe(0)
  })

  it('stops at SIGINT with exit 130 and leaves nothing behind', { timeout: LIMIT_MS }, async () => {
    const { child, outcome } = start(['demo', '--size', '32MiB', '--rate', '20mbit'])
    await said(child, /^connected in /m)
    child.kill('SIGINT')
    expect(await outcome).toMatchObject({ exit: 130, out: '', err: expect.stringMatching(/^error: interrupted by SIGINT/m) as never })
    expect((await readdir(tmpdir())).filter((name) => name.startsWith('quicbraid-demo-'))).toEqual([])
  })
})

describe.skipIf(!BUILT)('examples', () => {
  it('use both paths', { timeout: LIMIT_MS }, async () => {
    const { exit, out, err } = await start([], { entry: join(ROOT, 'examples/01-two-paths.mjs') }).outcome
    expect({ exit, err }).toEqual({ exit: 0, err: '' })
    expect(out).toMatch(/^received 4194304\npath 0 127\.0\.0\.1:\d+: used\npath 1 127\.0\.0\.2:\d+: used\n$/)
  })

  it('schedule by a scheduler of their own, simulated and real', { timeout: LIMIT_MS }, async () => {
    const { exit, out, err } = await start([], { entry: join(ROOT, 'examples/02-scheduler.mjs') }).outcome
    expect({ exit, err }).toEqual({ exit: 0, err: '' })
    expect(out).toBe('sim, 20000 bytes: path 0 used, path 1 spared\nsim, 2000000 bytes: path 0 used, path 1 used\nnative, 20000 bytes: path 0 used, path 1 spared\n')
  })

  it('send messages and tell their fate', { timeout: LIMIT_MS }, async () => {
    const { exit, out, err } = await start([], { entry: join(ROOT, 'examples/09-datagrams.mjs') }).outcome
    expect({ exit, err, out }).toEqual({ exit: 0, err: '', out: 'ping true acknowledged\n' })
  })

  it('hurry past a dead first path', { timeout: LIMIT_MS }, async () => {
    const { exit, out, err } = await start([], { entry: join(ROOT, 'examples/04-handshake-race.mjs') }).outcome
    expect({ exit, err }).toEqual({ exit: 0, err: '' })
    const took = new Map([...out.matchAll(/^(\w+) (\d+) ms by 10\.0\.2\.1:4433$/gm)].map(([, mode, ms]) => [mode, Number(ms)]))
    expect([...took.keys()]).toEqual(['single', 'stagger', 'race', 'shared'])
    expect(took.get('single')).toBeGreaterThan(took.get('stagger') ?? Infinity)
    expect(took.get('stagger')).toBeGreaterThan(took.get('race') ?? Infinity)
  })

  it('speak as js-quic does', { timeout: LIMIT_MS }, async () => {
    const { exit, out, err } = await start([], { entry: join(ROOT, 'examples/08-js-quic.mjs') }).outcome
    expect({ exit, err, out }).toEqual({ exit: 0, err: '', out: 'Hello World\n' })
  })

  it('say hello in early data', { timeout: LIMIT_MS }, async () => {
    const { exit, out, err } = await start([], { entry: join(ROOT, 'examples/12-early-data.mjs') }).outcome
    expect({ exit, err }).toEqual({ exit: 0, err: '' })
    expect(out).toMatch(/^hello again \((may be a replay|the handshake was quicker)\)\naccepted true\n$/)
  })

  it('show bursts and the reason of silence', { timeout: LIMIT_MS }, async () => {
    const { exit, out, err } = await start([], { entry: join(ROOT, 'examples/10-bursts.mjs') }).outcome
    expect({ exit, err }).toEqual({ exit: 0, err: '' })
    expect(out).toMatch(/^initial/)
    expect(out).toMatch(/silent: [A-Z_]/)
  })

  it('answer requests over a connection that the service dialled', { timeout: LIMIT_MS }, async () => {
    const { exit, out, err } = await start([], { entry: join(ROOT, 'examples/07-reverse-http.mjs') }).outcome
    expect({ exit, out, err }).toEqual({ exit: 0, out: 'hello /from-outside\n', err: '' })
  })

  it('keep a spare path by a policy of their own', { timeout: LIMIT_MS }, async () => {
    const { exit, out, err } = await start([], { entry: join(ROOT, 'examples/11-path-policy.mjs') }).outcome
    expect({ exit, err }).toEqual({ exit: 0, err: '' })
    expect(out).toBe('path 1 validated\npath 1 abandoned\npath 2 validated\nnow 127.0.0.1 available and 127.0.0.2 backup\n')
  })
})
