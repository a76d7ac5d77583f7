/**
 * Numbers of `verify` functions: the engine keeps what one of them accepted (tickets) apart from what another would have to judge.
 * A function made anew for each connection accepts no ticket, since nobody can know that it would say the same.
 */
import type { Verify } from './options.ts'

const numbers = new WeakMap<Verify, number>()
let last = 0

export function judgeNumber(verify: Verify): number {
  const known = numbers.get(verify)
  if (known !== undefined) return known
  last += 1
  numbers.set(verify, last)
  return last
}
