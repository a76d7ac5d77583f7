/** Short and long forms of one test: `npm run torture` names how many runs there are and shows how far they are. */
import { writeSync } from 'node:fs'

const given = process.env['QUICBRAID_TORTURE_RUNS']

/** Runs of the long form; null: the short form. */
export const RUNS: number | null = given === undefined ? null : Number(given)

const STEP_MS = 2000

/** To be called after every run; tells in the long form, at most every two seconds. */
export function progress(what: string, runs: number): () => void {
  let done = 0
  const started = performance.now()
  let told = started
  return () => {
    done += 1
    const now = performance.now()
    if (RUNS === null || (now - told < STEP_MS && done < runs)) return
    told = now
    writeSync(2, `${what}: ${done} of ${runs}, ${((now - started) / 1000).toFixed(0)} s\n`)
  }
}
