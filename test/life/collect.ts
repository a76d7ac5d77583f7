/** The garbage collector at hand, without flags on the command line. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

/** Collects, and lets what finalizers and turns leave behind be collected too. */
export async function collect(rounds = 2): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    gc()
    await new Promise((resolve) => setTimeout(resolve, 1))
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Collects until `check` holds; a finalizer may take its time. */
export async function collectUntil(check: () => boolean, what: string): Promise<void> {
  for (let round = 0; round < 500 && !check(); round++) await collect(1)
  if (!check()) throw new Error(`did not happen however often was collected: ${what}`)
}
