/** `quicbraid lab` over the built package: lists, tables, JSON, files, exit codes. */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { BUILT } from '../native/built.ts'

const PATIENCE_MS = 120_000
const CLI = fileURLToPath(new URL('../../dist/cli.mjs', import.meta.url))
const EXAMPLE = fileURLToPath(new URL('../lab/example.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'quicbraid-lab-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function lab(...args: string[]): Promise<{ exit: number; out: string; err: string }> {
  const child = spawn(process.execPath, [CLI, 'lab', ...args], { cwd: folder, env: { ...process.env, NO_COLOR: '1' } })
  const text = { out: '', err: '' }
  child.stdout.on('data', (bytes) => { text.out += String(bytes) })
  child.stderr.on('data', (bytes) => { text.err += String(bytes) })
  return new Promise((resolve) => void child.once('close', (code) => resolve({ exit: code ?? -1, ...text })))
}

describe.skipIf(!BUILT)('quicbraid lab', () => {
  it('lists axes and runs of every experiment without running anything', { timeout: PATIENCE_MS }, async () => {
    for (const name of ['handshake', 'schedulers', 'failover', 'fairness']) {
      const { exit, out } = await lab(name, '--list', '--json')
      expect(exit, name).toBe(0)
      expect(JSON.parse(out)).toMatchObject({ ok: true, experiment: name })
    }
    expect((await lab('run', EXAMPLE, '--list', '--axis', 'fails=no')).out).toContain('example: 4 cells with 2 seeds, 8 runs')
  })

  it('prints a line of quantiles for each cell, and goes on with its file', { timeout: PATIENCE_MS }, async () => {
    const first = await lab('run', EXAMPLE, '--quick', '--axis', 'delayMs=5', '--seeds', '2', '-o', 'rows.jsonl', '--html', 'report.html', '--workers', '2')
    expect(first).toMatchObject({ exit: 0 })
    expect(first.out.split('\n').slice(2, 5).map((line) => line.trim().split(/ {2,}/))).toEqual([['loss', 'runs', 'ms P50', 'P90', 'P99', 'lossy'], ['0', '2', ...Array.from({ length: 3 }, () => expect.stringMatching(/^[\d.]+$/)), '0 %'], ['0.05', '2', ...Array.from({ length: 3 }, () => expect.anything()), '100 %']])
    expect(readFileSync(join(folder, 'report.html'), 'utf8')).toContain('<h1>example</h1>')
    const again = await lab('run', EXAMPLE, '--quick', '--axis', 'delayMs=5', '--seeds', '3', '-o', 'rows.jsonl', '--json')
    expect(JSON.parse(again.out)).toMatchObject({ ok: true, experiment: 'example', rows: 6, failed: 0, out: 'rows.jsonl', html: null, summary: [{ runs: 3 }, { runs: 3 }] })
    expect(readFileSync(join(folder, 'rows.jsonl'), 'utf8').trimEnd().split('\n')).toHaveLength(6)
  })

  it('ends with 5 when a run failed, and says which', { timeout: PATIENCE_MS }, async () => {
    const { exit, out } = await lab('run', EXAMPLE, '--axis', 'delayMs=5', '--axis', 'loss=0', '--axis', 'fails=no,throws', '--seeds', '1', '--json')
    expect(exit).toBe(5)
    expect(JSON.parse(out)).toMatchObject({ ok: false, rows: 2, failed: 1, error: { code: 'QB_RESULT_WRONG', message: expect.stringContaining('as asked') } })
  })

  it('ends with 130 when it is interrupted, with what there is, and goes on later', { timeout: PATIENCE_MS }, async () => {
    const args = ['run', EXAMPLE, '--axis', 'fails=no', '--axis', 'loss=0', '-o', 'cut.jsonl', '--json', '--workers', '1']
    const file = join(folder, 'cut.jsonl')
    const child = spawn(process.execPath, [CLI, 'lab', ...args, '--seeds', '100000'], { cwd: folder })
    let out = ''
    child.stdout.on('data', (bytes) => { out += String(bytes) })
    const poll = setInterval(() => {
      if (!existsSync(file) || !readFileSync(file, 'utf8').includes('\n')) return
      clearInterval(poll) // a second signal would end it at once
      child.kill('SIGINT')
    }, 50)
    const exit = await new Promise((resolve) => void child.once('close', resolve))
    clearInterval(poll)
    expect(exit).toBe(130)
    const rows = readFileSync(file, 'utf8').trimEnd().split('\n').length
    expect(JSON.parse(out)).toMatchObject({ ok: false, error: { code: 'QB_INTERRUPTED' }, rows })
    const more = await lab(...args, '--seeds', '2')
    expect(JSON.parse(more.out)).toMatchObject({ ok: true, rows: 4 })
    expect(readFileSync(file, 'utf8').trimEnd().split('\n').length).toBe(Math.max(rows, 4))
  })

  it('refuses what it cannot do with exit 1', { timeout: PATIENCE_MS }, async () => {
    for (const [args, words] of [
      [['handshake', '--workers', 'redis://localhost/name'], 'redis://[user:password@]host'], [['worker', 'localhost'], 'not the address of a Redis server'], [['handshake', '--axis', 'lost=1'], 'an axis of handshake'], [['handshake', '--axis', 'loss'], 'NAME=V,V'],
      [['handshake', '--resume'], '--out'], [['run', 'nothing.mjs'], 'nothing.mjs'], [['nothing'], 'nothing'],
    ] as const) {
      const { exit, err } = await lab(...args)
      expect(exit, args.join(' ')).toBe(1)
      expect(err).toContain(words)
    }
  })
})
