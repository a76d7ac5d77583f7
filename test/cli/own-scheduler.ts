/** A scheduler of the user's, for the command line. */
import type { Scheduler } from '../../src/index.ts'

export const scheduler: Scheduler = {
  name: 'second-first',
  plan({ paths }) {
    const order = paths.map(({ id }) => id).toReversed()
    return { order, reason: 'the last path comes first' }
  },
}
