/**
 * The compliance tables: what a row says, what a test's comment cites, and whether both hold. Pure, but for `tree`, which
 * reads the repository. `docs/compliance/README.md` describes the form.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Documents in the order of the report; the first seven make the total. */
export const RFCS = ['9000', '9001', '9002', '9221', '9287', '9368', '9369']
export const DOCUMENTS = [...RFCS, 'multipath-21', '8899']

const ID = new RegExp(`(?:${DOCUMENTS.join('|')})-[A-Za-z0-9.-]*\\d`, 'g')

/** The document an id belongs to. */
export function documentOf(id) {
  return DOCUMENTS.find((document) => id.startsWith(`${document}-`))
}

/** `ids.tsv`: id, section, level. */
export function parseIds(text) {
  const [, ...lines] = text.trimEnd().split('\n')
  return lines.map((line) => {
    const [id, section, level] = line.split('\t')
    return { id, section, level }
  })
}

/** Rows of a table. The last cell holds tests, or `exception: why`, or `open: what is missing`. */
export function parseTable(text) {
  const rows = []
  for (const [index, line] of text.split('\n').entries()) {
    if (!line.startsWith('| ')) continue
    const cells = line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim().replaceAll('\\|', '|'))
    if (!documentOf(cells[0])) continue
    const [id, section, rule, files, last] = cells
    rows.push({ id, section, rule, line: index + 1, cells: cells.length, files: list(files ?? ''), ...standing(last ?? '') })
  }
  return rows
}

/** A cell with several entries separates them by `; `. */
function list(cell) {
  return cell === '' || cell === '–' ? [] : cell.split('; ')
}

function standing(cell) {
  const [, word, why] = /^(exception|open): (.+)$/.exec(cell) ?? []
  if (word) return { status: word, why, tests: [] }
  const tests = list(cell).map((test) => {
    const [file, ...name] = test.split('::')
    return { file, name: name.join('::') }
  })
  return { status: 'tested', tests }
}

/** Names of the tests of a Rust file. */
export function rustTests(text) {
  return new Set([...text.matchAll(/#\[test\]\s*(?:(?:\/\/[^\n]*|#\[[^\]]*\])\s*)*fn\s+(\w+)/g)].map(([, name]) => name))
}

/** The file has a test of this name: a function in Rust, a quoted string elsewhere. */
export function hasTest(path, text, name) {
  if (path.endsWith('.rs')) return rustTests(text).has(name)
  return name !== '' && [`'${name}'`, `"${name}"`, `\`${name}\``].some((quoted) => text.includes(quoted))
}

/** Ids that comments cite by `Shows <id>, <id> and <id>.`, each with the name that follows the comment. */
export function citations(text) {
  const cited = []
  let block = ''
  for (const line of text.split('\n')) {
    const comment = /^\s*(?:\/\/[/!]?|\/?\*+|#)\s?(?!\[)(.*)$/.exec(line)
    if (comment) {
      block += ` ${comment[1]}`
    } else if (block !== '' && !/^\s*#\[/.test(line)) {
      const name = /fn\s+(\w+)|(?:it|test)\(\s*(['"`])(.*?)\2/.exec(line)
      for (const [, ids] of block.matchAll(/\bShows ((?:[^.]|\.(?=\S))*)/g)) {
        for (const [id] of ids.matchAll(ID)) cited.push({ id, test: name?.[1] ?? name?.[3] ?? '' })
      }
      block = ''
    }
  }
  return cited
}

/** Tested, exceptions and open ones among the MUSTs of some documents. */
export function count(ids, rows, documents) {
  const of = new Map(rows.map((row) => [row.id, row.status]))
  const musts = ids.filter(({ id, level }) => level === 'MUST' && documents.includes(documentOf(id)))
  const having = (status) => musts.filter(({ id }) => of.get(id) === status).length
  return { musts: musts.length, tested: having('tested'), exceptions: having('exception'), open: musts.length - having('tested') - having('exception') }
}

/** `320 of 482 MUSTs tested, 40 exceptions, 122 open`. */
export function line({ musts, tested, exceptions, open }) {
  return `${tested} of ${musts} MUSTs tested, ${exceptions} exceptions, ${open} open`
}

/**
 * Everything that is wrong, as sentences. `tables` are texts by document, `read` gives the text of a file of the
 * repository or nothing, `sources` are [path, text] of everything that may cite.
 */
export function judge({ ids, tables, read, sources }) {
  const broken = []
  const known = new Map(ids.map((entry) => [entry.id, entry]))
  const rows = []
  for (const [document, text] of Object.entries(tables)) {
    for (const row of parseTable(text)) {
      const where = `docs/compliance/${document}.md:${row.line} ${row.id}`
      rows.push({ ...row, document })
      if (row.cells !== 5) broken.push(`${where}: ${row.cells} cells instead of 5`)
      if (documentOf(row.id) !== document) broken.push(`${where}: belongs to another document`)
      if (!known.has(row.id)) broken.push(`${where}: no such id`)
      else if (known.get(row.id).section !== row.section) broken.push(`${where}: section ${row.section} instead of ${known.get(row.id).section}`)
      if (row.rule === '') broken.push(`${where}: no rule`)
      if (row.status === 'tested' && (row.tests.length === 0 || row.files.length === 0)) broken.push(`${where}: neither tested nor an exception nor open`)
      for (const file of row.files) if (read(file) === undefined) broken.push(`${where}: no file ${file}`)
      for (const { file, name } of row.tests) {
        const source = read(file)
        if (source === undefined) broken.push(`${where}: no file ${file}`)
        else if (!hasTest(file, source, name)) broken.push(`${where}: no test ${name} in ${file}`)
      }
    }
  }
  const seen = new Set()
  for (const { id } of rows) {
    if (seen.has(id)) broken.push(`${id}: more than one row`)
    seen.add(id)
  }
  for (const { id, level } of ids) if (level === 'MUST' && !seen.has(id)) broken.push(`${id}: no row`)
  const cited = []
  const status = new Map(rows.map((row) => [row.id, row]))
  for (const [path, text] of sources) {
    for (const { id, test } of citations(text)) {
      if (!known.has(id)) broken.push(`${path}: cites ${id}, which does not exist`)
      else if (status.get(id) && !status.get(id).tests.some((named) => named.file === path && named.name === test)) cited.push({ id, path, test, status: status.get(id).status })
    }
  }
  return { rows, broken, cited }
}

/** The repository as `judge` wants it. */
export function tree(root) {
  const texts = new Map()
  const read = (path) => {
    if (!texts.has(path)) {
      const file = join(root, path)
      texts.set(path, existsSync(file) ? readFileSync(file, 'utf8') : undefined)
    }
    return texts.get(path)
  }
  const tables = {}
  for (const document of DOCUMENTS) tables[document] = read(`docs/compliance/${document}.md`) ?? ''
  const sources = ['native', 'test'].flatMap((folder) => walk(root, folder)).map((path) => [path, read(path)])
  return { ids: parseIds(read('docs/compliance/ids.tsv') ?? ''), tables, read, sources }
}

const SKIPPED = new Set(['target', 'node_modules', 'corpus', 'artifacts'])

function walk(root, folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : walk(root, path)
    return /\.(?:rs|ts|mjs|py)$/.test(entry.name) ? [path] : []
  })
}
