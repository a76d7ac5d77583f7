/**
 * The end of processes and threads while bytes run: no crash, nothing left behind (attacks I5, I6). The long form, 300 ends at random
 * instants, is `npm run torture -- exits`, with `--node` for another Node than the one that runs the tests.
 */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { progress, RUNS } from '../life/torture.ts'
import { BUILT, PACKAGE } from './built.ts'

const LOAD = fileURLToPath(new URL('load.mjs', import.meta.url))
const WORKERS = fileURLToPath(new URL('../life/workers.mjs', import.meta.url))
const LIMIT_MS = 86_400_000
const NODE = process.env['QUICBRAID_TORTURE_NODE'] ?? process.execPath
/** Later than any start of the program. */
const LATEST_MS = 800

type End = [number | null, string | null]

/** A program that is ended has this exit code and signal; if not, its last words are shown. */
async function ends(expected: End, program: string, ...args: (string | number)[]): Promise<void> {
  const child = spawn(NODE, [program, PACKAGE, ...args.map(String)], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (bytes: Buffer) => { said = (said + bytes.toString()).slice(-2000) })
  const end = await new Promise<End>((resolve) => child.once('close', (code, signal) => resolve([code, signal])))
  expect(end, `${args.join(' ')}: ${said}`).toEqual(expected)
}

/** I/O threads of endpoints in this process. */
function threads(): number {
  const names = readdirSync('/proc/self/task').map((task) => {
    try {
      return readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim()
    } catch {
      return '' // It has ended meanwhile.
    }
  })
  return names.filter((name) => name === 'quicbraid').length
}

/** How a process ends, and what it must end with. */
const WAYS: Record<string, End> = {
  exit: [7, null], throw: [1, null], reject: [1, null], SIGINT: [null, 'SIGINT'], SIGTERM: [null, 'SIGTERM'], SIGKILL: [null, 'SIGKILL'],
}

/** What a worker's end leaves of the program that has it. */
const WORKER_WAYS: Record<string, End> = { terminate: [0, null], own: [0, null], thrown: [0, null], main: [7, null] }

/** What runs until the end. */
const LOADS = ['transfers', 'handshakes', 'simulator', 'carriers']

describe.skipIf(!BUILT)('a process that ends under load', () => {
  it.each(Object.entries(WAYS))('attack I5: ends by %s as it was told, at any instant', async (how, expected) => {
    for (const afterMs of [0, 20, 120]) await ends(expected, LOAD, how, afterMs)
  }, LIMIT_MS)

  it.each(LOADS)('attack I5: ends as it was told while there are %s', async (load) => {
    await ends([7, null], LOAD, 'exit', 300, load)
    await ends([0, null], LOAD, 'orderly', 300, load)
    await ends([0, null], WORKERS, 'terminate', 300, 1, load)
  }, LIMIT_MS)

  it.skipIf(RUNS === null)('attack I5: ends as it was told at random instants, and so do its threads', async () => {
    const runs = RUNS ?? 1
    const told = progress('ends', runs)
    const way = fc.constantFrom(...Object.keys(WAYS), 'orderly', ...Object.keys(WORKER_WAYS), 'terminate')
    await fc.assert(fc.asyncProperty(way, fc.integer({ min: 0, max: LATEST_MS }), fc.constantFrom(...LOADS), async (how, afterMs, load) => {
      const expected = WAYS[how] ?? WORKER_WAYS[how] ?? [0, null]
      await (how in WORKER_WAYS ? ends(expected, WORKERS, how, afterMs, 1 + (afterMs % 3), load) : ends(expected, LOAD, how, afterMs, load))
      told()
    }), { numRuns: runs, endOnFailure: true })
  }, LIMIT_MS)
})

describe.skipIf(!BUILT)('threads of a process of their own', () => {
  it('attack I6: are terminated or end by themselves, one after the other, beside a main thread that goes on', async () => {
    await ends([0, null], WORKERS, 'terminate', 100, 2)
    await ends([0, null], WORKERS, 'own', 100, 2)
    await ends([0, null], WORKERS, 'thrown', 200, 1, 'handshakes')
    await ends([7, null], WORKERS, 'main', 200, 1)
  }, LIMIT_MS)
})

describe.skipIf(!BUILT || process.platform !== 'linux')('worker threads', () => {
  it('attack I6: can be terminated under load, and leave no thread', async () => {
    const before = threads()
    for (const afterMs of [0, 3, 10, 30]) {
      const worker = new Worker(LOAD, { workerData: { package: PACKAGE } })
      await new Promise((resolve, reject) => {
        worker.once('message', resolve)
        worker.once('error', reject)
      })
      expect(threads()).toBe(before + 2)
      await new Promise((resolve) => setTimeout(resolve, afterMs))
      await worker.terminate()
      expect(threads()).toBe(before)
    }
  }, LIMIT_MS)

  it('attack I6: can be terminated at any instant of their start', async () => {
    const before = threads()
    for (const afterMs of [0, 20, 40, 60, 80, 100, 150, 200]) {
      const worker = new Worker(LOAD, { workerData: { package: PACKAGE } })
      await new Promise((resolve) => setTimeout(resolve, afterMs))
      await worker.terminate()
    }
    expect(threads()).toBe(before)
  }, LIMIT_MS)
})
