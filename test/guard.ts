/**
 * Watches every test file for what no test looks at: rejections that nobody handles, exceptions that nobody catches, warnings of the
 * process (attacks I1, I2; R6). What shows makes the file fail after its last test. A test that causes one on purpose takes the listeners
 * away while it does. Named in `vitest.config.ts`.
 */
import { inspect } from 'node:util'
import { afterAll } from 'vitest'

const strays: string[] = []
const note = (kind: string) => (what: unknown): void => void strays.push(`${kind}: ${inspect(what)}`)
const WATCHED: Record<string, (what: unknown) => void> = {
  unhandledRejection: note('nobody handled'), uncaughtException: note('nobody caught'), warning: note('the process warned'),
}

for (const [event, listener] of Object.entries(WATCHED)) process.on(event, listener)

afterAll(async () => {
  // A rejection is known to be unhandled, and a warning told, in the turn after.
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
  // A thread may serve the next file too.
  for (const [event, listener] of Object.entries(WATCHED)) process.off(event, listener)
  if (strays.length > 0) throw new Error(`beside the tests of this file\n${strays.join('\n')}`)
})
