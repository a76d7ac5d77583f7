/** The compliance check: what it reads and what it finds broken (docs/compliance/README.md). */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

interface Row { id: string; section: string; rule: string; status: string; why?: string; files: string[]; tests: { file: string; name: string }[]; cells: number }
interface Judged { rows: Row[]; broken: string[]; cited: { id: string; test: string; status: string }[] }
interface ComplianceModule {
  citations(text: string): { id: string; test: string }[]
  count(ids: object[], rows: object[], documents: string[]): { musts: number; tested: number; exceptions: number; open: number }
  hasTest(path: string, text: string, name: string): boolean
  judge(all: { ids: object[]; tables: Record<string, string>; read(path: string): string | undefined; sources: [string, string][] }): Judged
  line(counts: object): string
  parseIds(text: string): { id: string; section: string; level: string }[]
  parseTable(text: string): Row[]
}

const script = new URL('../../scripts/lib/compliance.mjs', import.meta.url).href
const { citations, count, hasTest, judge, line, parseIds, parseTable } = (await import(script)) as ComplianceModule

const IDS = parseIds('id\tsection\tlevel\n9000-1-1\t1\tMUST\n9000-1-2\t1\tMUST\n9000-1-3\t1\tSHOULD\n9001-2.1-1\t2.1\tMUST\n')
const SOURCE = '/// Shows 9000-1-1.\n#[test]\nfn a_rule_is_kept() {}\n\nproptest! {\n    #[test]\n    fn always(x: u8) {}\n}\nfn helper() {}\n'
const table = (...rows: string[]): string => ['| id | section | rule | file | test |', '|---|---|---|---|---|', ...rows].join('\n')
const GOOD = table(
  '| 9000-1-1 | 1 | a rule | native/a.rs | native/a.rs::a_rule_is_kept; native/a.rs::always |',
  '| 9000-1-2 | 1 | another | – | exception: concerns others |',
)
const OPEN = table('| 9001-2.1-1 | 2.1 | a third | native/a.rs | open: nobody wrote it |')

const judged = (tables: Record<string, string>, source: string = SOURCE): Judged =>
  judge({ ids: IDS, tables, read: (path) => (path === 'native/a.rs' ? source : undefined), sources: [['native/a.rs', source]] })

describe('a compliance table', () => {
  it('has rows with tests, exceptions and open ones', () => {
    const [tested, exception] = parseTable(GOOD)
    expect(tested).toMatchObject({ id: '9000-1-1', section: '1', rule: 'a rule', status: 'tested', files: ['native/a.rs'], cells: 5 })
    expect(tested?.tests).toEqual([{ file: 'native/a.rs', name: 'a_rule_is_kept' }, { file: 'native/a.rs', name: 'always' }])
    expect(exception).toMatchObject({ status: 'exception', why: 'concerns others', files: [], tests: [] })
    expect(parseTable(OPEN)[0]).toMatchObject({ status: 'open', why: 'nobody wrote it' })
  })

  it('is good when everything it names exists', () => {
    expect(judged({ 9000: GOOD, 9001: OPEN }).broken).toEqual([])
  })

  it('is broken by whatever does not exist', () => {
    const cases: [string, string, string][] = [
      ['| 9000-1-1 | 1 | a rule | native/b.rs | native/a.rs::always |', 'no file native/b.rs', ''],
      ['| 9000-1-1 | 1 | a rule | native/a.rs | native/b.rs::always |', 'no file native/b.rs', ''],
      ['| 9000-1-1 | 1 | a rule | native/a.rs | native/a.rs::helper |', 'no test helper in native/a.rs', 'a function is not a test'],
      ['| 9000-1-1 | 2 | a rule | native/a.rs | native/a.rs::always |', 'section 2 instead of 1', ''],
      ['| 9000-1-1 | 1 | a rule | native/a.rs | |', 'neither tested nor an exception nor open', ''],
      ['| 9000-1-1 | 1 | a rule | native/a.rs | exception |', 'no file exception', 'a reason is missing'],
      ['| 9000-1-1 | 1 |  | native/a.rs | native/a.rs::always |', 'no rule', ''],
      ['| 9000-1-1 | 1 | a rule | native/a.rs::always |', '4 cells instead of 5', ''],
      ['| 9000-9-9 | 9 | a rule | native/a.rs | native/a.rs::always |', 'no such id', ''],
      ['| 9001-2.1-1 | 2.1 | a rule | native/a.rs | native/a.rs::always |', 'belongs to another document', ''],
    ]
    for (const [row, found, why] of cases) expect(judged({ 9000: table(row), 9001: OPEN }).broken.join('\n'), why).toContain(found)
  })

  it('has every MUST once', () => {
    expect(judged({ 9000: GOOD, 9001: '' }).broken).toEqual(['9001-2.1-1: no row'])
    expect(judged({ 9000: `${GOOD}\n${GOOD}`, 9001: OPEN }).broken).toEqual(['9000-1-1: more than one row', '9000-1-2: more than one row'])
  })
})

describe('comments that cite', () => {
  it('name ids with dots, several at once, over several lines', () => {
    const text = [
      '    /// attacks B4. Shows 9000-8.1.2-3, 9368-version-downgrade-prevention-downgrade-4 and',
      '    /// 9001-4.9.1-1. Later sentences cite 9000-1-1 in vain.',
      '    #[test]',
      '    fn first() {}',
      '/** Shows 9002-7.5-1. */',
      "it('second', () => {})",
    ].join('\n')
    expect(citations(text)).toEqual([
      { id: '9000-8.1.2-3', test: 'first' },
      { id: '9368-version-downgrade-prevention-downgrade-4', test: 'first' },
      { id: '9001-4.9.1-1', test: 'first' },
      { id: '9002-7.5-1', test: 'second' },
    ])
  })

  it('must name ids that exist, and are told when their row does not name them', () => {
    expect(judged({ 9000: GOOD, 9001: OPEN }, `/// Shows 9000-7.7-7.\n${SOURCE}`).broken).toEqual(['native/a.rs: cites 9000-7.7-7, which does not exist'])
    const { broken, cited } = judged({ 9000: GOOD, 9001: OPEN }, `${SOURCE}\n/// Shows 9001-2.1-1.\n#[test]\nfn other() {}\n`)
    expect(broken).toEqual([])
    expect(cited).toEqual([{ id: '9001-2.1-1', path: 'native/a.rs', test: 'other', status: 'open' }])
  })
})

describe('the state', () => {
  it('counts the MUSTs of some documents', () => {
    const { rows } = judged({ 9000: GOOD, 9001: OPEN })
    expect(line(count(IDS, rows, ['9000', '9001']))).toBe('1 of 3 MUSTs tested, 1 exceptions, 1 open')
    expect(line(count(IDS, rows, ['9001']))).toBe('0 of 1 MUSTs tested, 0 exceptions, 1 open')
    expect(line(count(IDS, [], ['9000']))).toBe('0 of 2 MUSTs tested, 0 exceptions, 2 open')
  })

  it('finds tests in other languages by their titles', () => {
    expect(hasTest('test/a.test.ts', "it('keeps the rule', () => {})", 'keeps the rule')).toBe(true)
    expect(hasTest('test/a.test.ts', '// keeps the rule', 'keeps the rule')).toBe(false)
    expect(hasTest('test/a.test.ts', "''", '')).toBe(false)
  })

  it('of this repository ends with the line of the seven RFCs', () => {
    const command = fileURLToPath(new URL('../../scripts/compliance.mjs', import.meta.url))
    const { status, stdout } = spawnSync(process.execPath, [command], { encoding: 'utf8' })
    expect(stdout).not.toContain('broken:')
    expect(status).toBe(0)
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^\d+ of 482 MUSTs tested, \d+ exceptions, \d+ open$/)
    expect(spawnSync(process.execPath, [command, '--nonsense']).status).toBe(1)
    expect(JSON.parse(spawnSync(process.execPath, [command, '--json'], { encoding: 'utf8' }).stdout)).toMatchObject({ total: { musts: 482 }, broken: [] })
  })
})
