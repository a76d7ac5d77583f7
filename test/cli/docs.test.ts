/** What the documents say exists, exists. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const read = (name: string): string => readFileSync(join(ROOT, name), 'utf8')
const guides = readdirSync(join(ROOT, 'docs/guide')).map((name) => `docs/guide/${name}`)
const specs = readdirSync(join(ROOT, 'docs/spec')).map((name) => `docs/spec/${name}`)

describe('documents', () => {
  it('link to files that are there', () => {
    const broken = ['README.md', 'ARCHITECTURE.md', ...guides, 'docs/spec/README.md'].flatMap((name) =>
      [...read(name).matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)].map(([, target]) => target ?? '').filter((target) => !existsSync(join(ROOT, dirname(name), target))).map((target) => `${name}: ${target}`))
    expect(broken).toEqual([])
  })

  it('name files of the architecture as they are', () => {
    const named = [...read('ARCHITECTURE.md').matchAll(/`((?:native|src)\/[\w./-]+)`/g)].map(([, path]) => path ?? '')
    expect(named.length).toBeGreaterThan(30)
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([])
  })

  it('show the first example as it stands in examples/', () => {
    expect(read('README.md')).toContain(read('examples/01-two-paths.mjs'))
  })

  it('show examples as the contract has them', () => {
    const api = read('docs/spec/api.md')
    for (const name of readdirSync(join(ROOT, 'examples'))) expect(api, name).toContain(read(`examples/${name}`))
  })

  it('hold the rules that code cites', () => {
    const text = specs.map(read).join('\n')
    for (const rule of ['B-43', 'B-132', 'MP-83', 'MP-97', '| L27 |', 'R61', 'S12', 'T-102', 'V53', 'T65']) expect(text, rule).toContain(rule)
  })
})
