// What the tests of the NAT laboratory share: the laboratory as it is built, and the reason to skip where there can be none.

import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { whatIsMissing } from '../../dist/nat-lab.mjs'

export { REAL_NATS, REFERENCE_KINDS, RealLab } from '../../dist/nat-lab.mjs'

/** A suite of tests in the laboratory; one skipped test, with the reason, where there can be none. */
export function laboratory(name, body) {
  const missing = whatIsMissing()
  if (missing === null) return describe(name, body)
  return it(`${name} (${missing})`, { skip: missing }, () => undefined)
}

const ORACLE = fileURLToPath(new URL('oracle.mjs', import.meta.url))

/** The oracle on a host, taking orders. */
export const oracle = (lab, host) => lab.start(host, [process.execPath, ORACLE, 'programs'])

// Namespaces outlive their makers: an interrupted run takes its own along.
for (const [name, code] of [['SIGINT', 130], ['SIGTERM', 143]]) process.once(name, () => process.exit(code))
