/**
 * `npm run --silent compliance [-- --open] [--cited] [--attacks] [--json]`: are all MUSTs of the RFCs in the tables, and does everything
 * the tables name exist? The last line is the state of the seven RFCs. Ends with 1 if a reference is broken.
 *
 * `--open` lists by section what is open, `--cited` the tests that cite a rule whose row does not name them. `--attacks` lists
 * instead the rows of the attack table with the number of their tests; it ends with 1 while a row lacks one.
 */
import { judgeAttacks } from './lib/attacks.mjs'
import { DOCUMENTS, RFCS, count, judge, line, tree } from './lib/compliance.mjs'
import { ROOT } from './lib/run.mjs'

const OPTIONS = ['--open', '--cited', '--attacks', '--json']
const asked = process.argv.slice(2)
const unknown = asked.filter((option) => !OPTIONS.includes(option))
if (unknown.length > 0) {
  process.stderr.write(`no option ${unknown.join(', ')}; there are ${OPTIONS.join(', ')}\n`)
  process.exit(1)
}
const all = tree(ROOT)
const { rows, broken, cited } = judge(all)
const open = rows.filter((row) => row.status === 'open')
const counts = (documents) => count(all.ids, rows, documents)
process.exitCode = broken.length === 0 ? 0 : 1

if (asked.includes('--attacks')) {
  const attacks = judgeAttacks(all.read('docs/spec/attacks.md') ?? '', all.sources)
  printAttacks(attacks)
  process.exitCode = attacks.missing.length + attacks.broken.length === 0 ? 0 : 1
} else if (asked.includes('--json')) {
  const documents = Object.fromEntries(DOCUMENTS.map((document) => [document, counts([document])]))
  const missing = open.map(({ id, section, rule, why }) => ({ id, section, rule, missing: why }))
  process.stdout.write(`${JSON.stringify({ total: counts(RFCS), documents, open: missing, cited, broken }, null, 2)}\n`)
} else {
  print(asked.includes('--open'), asked.includes('--cited'))
}

function print(withOpen, withCited) {
  const say = (text) => process.stdout.write(`${text}\n`)
  if (withOpen) {
    let heading = ''
    for (const { document, id, section, rule, why } of open) {
      if (heading !== `${document} §${section}`) say((heading = `${document} §${section}`))
      say(`  ${id}: ${rule} – ${why}`)
    }
  }
  if (withCited) for (const { id, path, test, status } of cited) say(`${id} (${status}): ${path}::${test}`)
  for (const sentence of broken) say(`broken: ${sentence}`)
  for (const document of DOCUMENTS) say(`${document}: ${line(counts([document]))}`)
  say(line(counts(RFCS)))
}

function printAttacks({ all, tests, waits, missing, broken }) {
  const say = (text) => process.stdout.write(`${text}\n`)
  for (const group of new Set(all.map((id) => id[0]))) {
    const counted = all.filter((id) => id[0] === group && tests.has(id)).map((id) => `${id} (${tests.get(id).length})`)
    if (counted.length > 0) say(`tests: ${counted.join(' ')}`)
  }
  const later = [...waits].filter(([id]) => !tests.has(id))
  for (const why of new Set(later.map(([, why]) => why))) {
    say(`later, ${why}: ${later.filter(([, because]) => because === why).map(([id]) => id).join(' ')}`)
  }
  for (const sentence of broken) say(`broken: ${sentence}`)
  say(`missing: ${missing.length === 0 ? 'none' : missing.join(' ')}`)
  say(`${all.filter((id) => tests.has(id)).length} of ${all.length} attack rows tested, ${later.length} later, ${missing.length} missing`)
}
