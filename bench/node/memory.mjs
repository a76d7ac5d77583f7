// What idle connections cost a server: one process holds them, another opened them.
//
// The server tells by itself: at `WARM` connections it closes all but one, and what it holds then is where it begins; at `IDLE`
// more it waits until they are quiet, measures, and closes them. The client opens and waits for their ends.

import { setTimeout as sleep } from 'node:timers/promises'

const WARM = 64
const IDLE = 1_000
const AT_ONCE = 32
const QUIET_MS = 2_500

/** Measures a server by its connections. Needs `--expose-gc`. */
export class IdleMeter {
  #live = new Set()
  #before = null
  #after = null

  /** @param end closes this connection */
  add(end) {
    this.#live.add(end)
    if (this.#live.size === WARM && this.#before === null) void this.#begin()
    if (this.#live.size === IDLE) void this.#measure()
  }

  remove(end) {
    this.#live.delete(end)
  }

  /** Of the whole process and of the JavaScript heap, bytes a connection. */
  report() {
    if (this.#after === null) throw new Error(`${this.#live.size} connections, not ${IDLE}`)
    const each = (name) => (this.#after[name] - this.#before[name]) / (IDLE - 1)
    return { memory: each('rss'), heap: each('heapUsed'), external: each('external') }
  }

  async #begin() {
    const [kept, ...others] = this.#live
    await sleep(QUIET_MS)
    for (const end of others) end()
    await sleep(QUIET_MS)
    this.#before = await settled()
    // The last to end: from here on the client opens those that are measured, beside none of the old.
    kept()
  }

  async #measure() {
    await sleep(QUIET_MS)
    this.#after = await settled()
    for (const end of this.#live) end()
  }
}

/** The client's part. @param open one connection; its promise is of `{ ended }`, a promise too. */
export async function openIdle(open) {
  await openMany(WARM, open)
  const connections = await openMany(IDLE, open)
  return { operations: connections }
}

/** Opens, and waits until the server has closed all. */
async function openMany(count, open) {
  const ends = []
  let left = count
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (left > 0) {
      left -= 1
      ends.push((await open()).ended)
    }
  }))
  await Promise.all(ends)
  return count
}

/** After collections that leave nothing to collect. */
async function settled() {
  for (let round = 0; round < 4; round += 1) {
    globalThis.gc()
    await sleep(50)
  }
  return process.memoryUsage()
}
