/** Sweeps whose runs are done by worker processes over a Redis server of the test's own, over the built package. */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loaded, parseAddress } from '../../src/lab/fleet/server.ts'
import type * as Lab from '../../src/lab/index.ts'
import type { Row, SweepOptions, SweepPlan } from '../../src/lab/index.ts'
import { BUILT } from '../native/built.ts'

const PATIENCE_MS = 240_000
const EXAMPLE = fileURLToPath(new URL('example.mjs', import.meta.url))
const DOOR = fileURLToPath(new URL('../../dist/lab.mjs', import.meta.url))
const COMMAND = fileURLToPath(new URL('../../dist/cli.mjs', import.meta.url))
const HAS_REDIS = spawnSync('redis-server', ['--version']).status === 0
if (!HAS_REDIS) process.stderr.write('skipped: sweeps over several machines (redis-server is not installed)\n')

const folder = mkdtempSync(join(tmpdir(), 'quicbraid-fleet-'))
const children: ChildProcess[] = []
let port = 0

function start(command: string, args: readonly string[]): ChildProcess {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], cwd: folder })
  children.push(child)
  return child
}

/** Resolves with the first line that fits. */
async function line(child: ChildProcess, fits: RegExp): Promise<string> {
  if (child.stdout === null) throw new Error('no output')
  const lines = createInterface(child.stdout)
  for await (const text of lines) if (fits.test(text)) return text
  throw new Error('it ended')
}

async function worker(...files: string[]): Promise<ChildProcess> {
  const child = start(process.execPath, [COMMAND, 'lab', 'worker', url(), ...files, '--workers', '2', '-q'])
  await line(child, /^worker at /)
  return child
}

const url = (db = 0): `redis://${string}` => `redis://127.0.0.1:${port}/${db}`

async function rowsOf(options: SweepOptions): Promise<Row[]> {
  const { sweep$ } = (await import(DOOR)) as typeof Lab
  const rows: Row[] = []
  await new Promise<void>((resolve, reject) => void sweep$(options).subscribe({ next: (row) => rows.push(row), error: reject, complete: resolve }))
  return rows
}

/** What a run made, by run. */
const made = (rows: readonly Row[]): object => Object.fromEntries(rows.map(({ cell, seed, traceHash, values }) => [`${JSON.stringify(cell)} ${seed}`, [traceHash, values]]).sort())

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port: found } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return found
}

describe.skipIf(!BUILT || !HAS_REDIS)('a sweep over Redis', () => {
  beforeAll(async () => {
    port = await freePort()
    await line(start('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder]), /Ready to accept/)
  }, PATIENCE_MS)
  afterAll(() => {
    for (const child of children) child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })

  it('gives every run the same datagrams as on threads, and ends its workers in order', { timeout: PATIENCE_MS }, async () => {
    const part = { module: 'builtin:handshake', quick: true, seeds: 1, axes: { loss: [5], rttRatio: [4], certificate: ['large'] } }
    const workers = [await worker(), await worker()]
    let plan: SweepPlan | null = null
    const far = await rowsOf({ ...part, workers: url(), onPlan: (told) => { plan = told } })
    expect(plan).toMatchObject({ runs: 10, there: 0, workers: 2, server: `127.0.0.1:${port}/0` })
    expect(far.filter(({ ok }) => !ok)).toEqual([])
    expect(made(far)).toEqual(made(await rowsOf({ ...part, workers: 2 })))
    for (const one of workers) {
      one.kill('SIGINT')
      const [code] = (await once(one, 'exit')) as [number | null]
      expect(code).toBe(0)
    }
  })

  it("does an experiment of one's own only where the same file is, with a row of every failure", { timeout: PATIENCE_MS }, async () => {
    const both = [await worker(), await worker(EXAMPLE)]
    const part = { module: EXAMPLE, axes: { delayMs: [5], loss: [0] } }
    const far = await rowsOf({ ...part, workers: url() })
    const errors = Object.fromEntries(far.filter(({ seed }) => seed === 2).map(({ cell, error }) => [cell['fails'], error?.code ?? null]))
    expect(errors).toEqual({ no: null, throws: 'RangeError', stray: 'Error', stuck: 'QB_SIM_STUCK', dies: 'QB_LAB_WORKER' })
    expect(made(far)).toEqual(made(await rowsOf({ ...part, workers: 1 })))
    for (const one of both) one.kill('SIGKILL')
  })

  it('loses no run when a worker is killed in the middle', { timeout: PATIENCE_MS }, async () => {
    const [first] = [await worker(EXAMPLE)]
    const rows: Row[] = []
    const { sweep$ } = (await import(DOOR)) as typeof Lab
    const part = { module: EXAMPLE, axes: { fails: ['no'] }, seeds: 30 }
    let second: Promise<ChildProcess> | null = null
    await new Promise<void>((resolve, reject) => void sweep$({ ...part, workers: url() }).subscribe({
      next: (row) => {
        rows.push(row)
        if (rows.length !== 10) return
        first.kill('SIGKILL')
        second = worker(EXAMPLE)
      }, error: reject, complete: resolve,
    }))
    expect(rows).toHaveLength(120)
    expect(made(rows)).toEqual(made(await rowsOf({ ...part, workers: 2 })))
    expect(second).not.toBeNull()
    for (const one of children.slice(1)) one.kill('SIGKILL')
  })

  it('goes on with its file after an interruption, and takes its runs out of the queue', { timeout: PATIENCE_MS }, async () => {
    const out = join(folder, 'rows.jsonl')
    const part = { module: EXAMPLE, axes: { fails: ['no'] }, seeds: 4, workers: url(3), out }
    const over = new AbortController()
    const { sweep$ } = (await import(DOOR)) as typeof Lab
    const error = await new Promise((resolve) => void sweep$({ ...part, signal: over.signal, onPlan: () => setTimeout(() => over.abort('enough'), 300) }).subscribe({ error: resolve, complete: () => resolve('complete') }))
    expect(error).toBe('enough')
    const child = start(process.execPath, [COMMAND, 'lab', 'worker', url(3), EXAMPLE, '--workers', '2', '-q', '--json'])
    expect(await rowsOf(part)).toHaveLength(16)
    child.kill('SIGINT')
    expect(JSON.parse(await line(child, /^\{/))).toMatchObject({ ok: true, runs: 16, failed: 0 })
    expect(await rowsOf(part)).toHaveLength(16)
  })
})

describe.skipIf(!BUILT)('a sweep without its Redis server', () => {
  it('says which server does not answer', { timeout: PATIENCE_MS }, async () => {
    const closed = await freePort()
    await expect(rowsOf({ module: 'builtin:failover', quick: true, workers: `redis://127.0.0.1:${closed}` })).rejects.toMatchObject({ code: 'QB_LAB_QUEUE', message: expect.stringContaining(`127.0.0.1:${closed}/0`) })
  })
})

describe('a package that is not installed', () => {
  it('is named with what installs it', async () => {
    await expect(loaded(Promise.reject(new Error('Cannot find package')))).rejects.toMatchObject({ code: 'QB_LAB_QUEUE', message: expect.stringContaining('npm install bullmq ioredis') })
  })
})

describe('the address of a Redis server', () => {
  it('has a host, and a port, a number of its database and a password if they are said', () => {
    expect(parseAddress('redis://cache')).toEqual({ host: 'cache', port: 6379, db: 0 })
    expect(parseAddress('redis://user:p%40ss@[::1]:7000/3')).toEqual({ host: '::1', port: 7000, db: 3, username: 'user', password: 'p@ss' })
  })

  it('is refused when it is none', () => {
    for (const text of ['redis://', 'redis://host/name', 'http://host', 'redis:host']) expect(() => parseAddress(text)).toThrow(/redis:\/\//)
  })
})
