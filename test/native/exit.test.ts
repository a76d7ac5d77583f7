/** The end of processes and threads while bytes run: no crash, nothing left behind (attacks I5, I6). */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { BUILT, PACKAGE } from './built.ts'

const LOAD = fileURLToPath(new URL('load.mjs', import.meta.url))
const LIMIT_MS = 120_000

/** Exit code and signal of a process that ends in this way after so long. */
function ended(how: string, afterMs: number): Promise<[number | null, string | null]> {
  const child = spawn(process.execPath, [LOAD, PACKAGE, how, String(afterMs)], { stdio: 'ignore' })
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve([code, signal])))
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

describe.skipIf(!BUILT)('a process that ends under load', () => {
  const ways: [string, [number | null, string | null]][] = [['exit', [7, null]], ['throw', [1, null]], ['SIGTERM', [null, 'SIGTERM']], ['SIGKILL', [null, 'SIGKILL']]]

  it.each(ways)('ends by %s as it was told, at any instant', async (how, expected) => {
    for (const afterMs of [0, 5, 20, 60, 120, 250]) expect([how, afterMs, ...(await ended(how, afterMs))]).toEqual([how, afterMs, ...expected])
  }, LIMIT_MS)
})

describe.skipIf(!BUILT || process.platform !== 'linux')('worker threads', () => {
  it('can be terminated under load, and leave no thread', async () => {
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

  it('can be terminated at any instant of their start', async () => {
    const before = threads()
    for (const afterMs of [0, 20, 40, 60, 80, 100, 150, 200]) {
      const worker = new Worker(LOAD, { workerData: { package: PACKAGE } })
      await new Promise((resolve) => setTimeout(resolve, afterMs))
      await worker.terminate()
    }
    expect(threads()).toBe(before)
  }, LIMIT_MS)
})
