/**
 * Programs in the documents run. A fenced block that begins with `js run` is a whole program: it must end by itself, say nothing
 * on stderr, and print what the `text output` block behind it shows, if there is one. `js experiment` is a file for `quicbraid lab run`.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { BUILT } from '../native/built.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CLI = join(ROOT, 'dist/cli.mjs')
/** Of the programs: inside the package, so that `quicbraid` is the package itself, as users name it. */
const FOLDER = join(ROOT, '.tmp', `docs-${process.pid}`)
const PAGES = ['README.md', ...readdirSync(join(ROOT, 'docs/guide')).map((name) => `docs/guide/${name}`)]
const LIMIT_MS = 60_000

interface Block { page: string; line: number; info: string; text: string }

const blocks = PAGES.flatMap(blocksOf)
const programs = blocks.flatMap((block, index) => {
  if (block.info !== 'js run' && block.info !== 'js experiment') return []
  const next = blocks[index + 1]
  const output = next?.info === 'text output' && next.page === block.page ? next.text : null
  return [{ ...block, name: `${block.page}:${block.line}`, output }]
})

afterAll(() => rmSync(FOLDER, { recursive: true, force: true }))

describe('programs in the documents', () => {
  it('are marked to run, or stand in examples/, or are abbreviated', () => {
    const examples = readdirSync(join(ROOT, 'examples')).map((name) => readFileSync(join(ROOT, 'examples', name), 'utf8'))
    const whole = blocks.filter(({ info, text }) => /^(js|ts|typescript|javascript)$/.test(info) && /^import .* from 'quicbraid/m.test(text))
    const unmarked = whole.filter(({ text }) => !text.includes('…') && !examples.some((example) => example.includes(text)))
    expect(unmarked.map(({ page, line }) => `${page}:${line}`)).toEqual([])
  })

  it('are there', () => {
    expect(programs.length).toBeGreaterThanOrEqual(5)
  })
})

describe.skipIf(!BUILT)('running the programs of', () => {
  it.each(programs)('$name', { timeout: LIMIT_MS }, async ({ page, line, info, text, output }) => {
    mkdirSync(FOLDER, { recursive: true })
    const file = join(FOLDER, `${page.replace(/\W/g, '-')}-${line}.mjs`)
    writeFileSync(file, text)
    const { code, out, err } = await run(info === 'js run' ? [file] : [CLI, 'lab', 'run', file, '--seeds', '1', '--workers', '1', '-q'])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    if (output !== null) expect(out).toBe(output)
  })
})

function blocksOf(page: string): Block[] {
  const found: Block[] = []
  let open: Block | null = null
  for (const [index, line] of readFileSync(join(ROOT, page), 'utf8').split('\n').entries()) {
    if (open === null && line.startsWith('```')) open = { page, line: index + 1, info: line.slice(3).trim(), text: '' }
    else if (open !== null && line.startsWith('```')) {
      found.push(open)
      open = null
    } else if (open !== null) open.text += `${line}\n`
  }
  return found
}

function run(args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: FOLDER, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NODE_OPTIONS: '' }, timeout: LIMIT_MS - 5000 })
    let [out, err] = ['', '']
    child.stdout.on('data', (bytes) => { out += String(bytes) })
    child.stderr.on('data', (bytes) => { err += String(bytes) })
    child.once('close', (code) => resolve({ code, out, err }))
  })
}
