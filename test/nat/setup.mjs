// What the tests of the NAT laboratory share: the laboratory as it is built, and the reason to skip where there can be none.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { describe, it } from 'node:test'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { whatDelaysLack, whatIsMissing } from '../../dist/nat-lab.mjs'

export { PairLab, REAL_NATS, REFERENCE_KINDS, RealLab, startPeer } from '../../dist/nat-lab.mjs'

/** One way of a link between a router and the core, where links can have a delay at all: two peers' packets are under way at once then. */
export const LINK_MS = whatDelaysLack() === null ? 25 : 0

/** A suite of tests in the laboratory; one skipped test, with the reason, where there can be none. */
export function laboratory(name, body) {
  const missing = whatIsMissing()
  if (missing === null) return describe(name, body)
  return it(`${name} (${missing})`, { skip: missing }, () => undefined)
}

const COMMAND = fileURLToPath(new URL('../../dist/cli.mjs', import.meta.url))
const EXAMPLE = fileURLToPath(new URL('../../examples/05-punch-hosts.mjs', import.meta.url))
const ORACLE = fileURLToPath(new URL('oracle.mjs', import.meta.url))

/** The oracle on a host, taking orders. */
export const oracle = (lab, host) => lab.start(host, [process.execPath, ORACLE, 'programs'])

/** `quicbraid …` on a host: its exit code, and what it printed as JSON. */
export async function runCommand(lab, host, words) {
  const [file, ...prefix] = lab.inside(host)
  const child = spawn(file, [...prefix, process.execPath, COMMAND, ...words], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [said, code] = await Promise.all([text(child.stdout), new Promise((resolve) => child.once('close', resolve))])
  return { code, json: JSON.parse(said) }
}

/** An example on a host, told its role: `said` answers its next line, `ended` its exit code. */
export function startExample(lab, host, words) {
  const [file, ...prefix] = lab.inside(host)
  const child = spawn(file, [...prefix, process.execPath, EXAMPLE, ...words], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return { said: async () => (await lines.next()).value, ended: new Promise((resolve) => child.once('close', resolve)), stop: () => child.kill() }
}

const OPEN = ['none', 'full-cone', 'addr-restricted']
const KEEPS = ['port-restricted', 'linux']

/** The simulator's table: 41 pairs by plain opening, two by ordering, two by a foretold port. */
export function isReached(a, b) {
  const isForetold = [a, b].includes('port-restricted') && [a, b].includes('apdm-apdf-sequential')
  return OPEN.includes(a) || OPEN.includes(b) || (KEEPS.includes(a) && KEEPS.includes(b)) || isForetold
}

// Namespaces outlive their makers: an interrupted run takes its own along.
for (const [name, code] of [['SIGINT', 130], ['SIGTERM', 143]]) process.once(name, () => process.exit(code))
