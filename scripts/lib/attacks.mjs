/**
 * Rows of docs/spec/attacks.md and the tests that carry their names: `attack_<row>_…` in Rust, `attack <row>: …` elsewhere,
 * `attack: '<row>'` in a case of the interop suite.
 * Pure.
 */

/** What no room of this repository does yet, or what is no test of one run: rows by what they wait for. */
export const LATER = {
  'memory that the system refuses: Rust aborts where it allocates': ['J13'],
}

/** Ids of the table's rows, in its order. */
export function attackRows(text) {
  return [...text.matchAll(/^\| ([A-K]\d+) \|/gm)].map(([, id]) => id)
}

/** Tests by row. A name may carry several: `attack_d16_d17_b22_…`. */
export function attackTests(sources) {
  const tests = new Map()
  const add = (row, path, name) => tests.set(row, [...(tests.get(row) ?? []), `${path}::${name}`])
  for (const [path, text] of sources) {
    for (const [, name] of text.matchAll(/\bfn (attack_\w+)\(/g)) {
      for (const [row] of /^attack((?:_[a-lr]\d+)+)/.exec(name)?.[1].matchAll(/[a-lr]\d+/g) ?? []) add(row.toUpperCase(), path, name)
    }
    for (const [, name, row] of text.matchAll(/(?:it|test)(?:\.\w+\([^\n]*\))?\(\s*['"`](attack ([A-LR]\d+): [^'"`]*)/g)) add(row, path, name)
    for (const [, name, row] of text.matchAll(/^  '?([\w-]+)'?: \{[^\n]*\battack: '([A-LR]\d+)'/gm)) add(row, path, name)
  }
  return tests
}

/** Rows with tests, rows that wait, and rows that lack one; and what the list of waiting rows has wrong. */
export function judgeAttacks(text, sources, later = LATER) {
  const all = attackRows(text)
  const tests = attackTests(sources)
  const waits = new Map(Object.entries(later).flatMap(([why, ids]) => ids.map((id) => [id, why])))
  const broken = [...waits.keys()].filter((id) => !all.includes(id)).map((id) => `attacks: no row ${id}, which is said to wait`)
  if (all.length === 0) broken.push('attacks: no rows in docs/spec/attacks.md')
  const missing = all.filter((id) => !tests.has(id) && !waits.has(id))
  return { all, tests, waits, missing, broken }
}
