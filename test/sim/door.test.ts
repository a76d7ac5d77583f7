import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { MODULE_BUILT } from '../native/built.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SIM = join(ROOT, 'dist/sim.mjs')

function hashInWorker(seed: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('worker.mjs', import.meta.url), { workerData: { sim: pathToFileURL(SIM).href, seed } })
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}

describe.skipIf(!MODULE_BUILT || !existsSync(SIM))('the door quicbraid/sim', () => {
  it('gives worlds that are the same in every worker thread', async () => {
    const [first, ...others] = await Promise.all([hashInWorker(3), hashInWorker(3), hashInWorker(3), hashInWorker(4)])
    expect(others.slice(0, 2)).toEqual([first, first])
    expect(others[2]).not.toBe(first)
  })

  it('opens for import and for require', () => {
    const run = (...args: string[]): string => execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' }).trim()
    expect(run('--input-type=module', '-e', "import { World } from 'quicbraid/sim'; console.log(typeof World.pair)")).toBe('function')
    expect(run('--input-type=commonjs', '-e', "console.log(typeof require('quicbraid/sim').World.pair)")).toBe('function')
  })

  it('runs its examples to the same hash each time', () => {
    const run = (): string[] => execFileSync(process.execPath, [join(ROOT, 'examples/03-path-cut.mjs')], { encoding: 'utf8' }).trim().split('\n')
    const [received, hash] = run()
    expect(received).toBe('received 4000000 stall within 300 ms')
    expect(run()[1]).toBe(hash)
  })

  it('runs its example of two peers behind NATs: relayed at once, then direct', () => {
    const said = execFileSync(process.execPath, [join(ROOT, 'examples/05-punch.mjs')], { encoding: 'utf8' })
    expect(said).toBe('relayed true\ndirect true open\n')
  })
}, 30_000)
