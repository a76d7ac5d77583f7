/**
 * Many private ends, on many hosts, whose public end restarts: the whole stack of both ends, in virtual time (docs/spec/reverse.md
 * V33; attacks H8). Long form with a thousand: `npm run torture -- dialers`.
 */
import { describe, expect, it } from 'vitest'
import type { Endpoint } from '../../src/index.ts'
import { reverseConnect } from '../../src/reverse/index.ts'
import { listenWith } from '../../src/reverse/listener.ts'
import type { ReverseListener } from '../../src/reverse/index.ts'
import { World } from '../../src/sim/index.ts'
import type { Identity } from '../../src/sim/index.ts'
import { RUNS, progress } from '../life/torture.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { ask, echo } from './world.ts'

const COUNT = RUNS ?? 40
/** Of a world; the ends are spread over them. */
const HOSTS = Math.min(COUNT, 200)
/** A pool takes 256. */
const SERVICES = Math.ceil(COUNT / 200)
/** What the public end's refusals and the machines' pauses must achieve together. */
const SPREAD_MS = 1000
const WINDOW_MS = 100

describe.skipIf(!MODULE_BUILT)('private ends whose public end restarts', { timeout: 3_600_000 }, () => {
  /** reverse V32, V33; attacks H8; issue part 7 */
  it.each([['at once', 0], ['after five seconds', 5000]])('come back spread over a second at least when it is there again %s, all of them, and serve', async (_, outageMs) => {
    const world = new World({ seed: 33 })
    const [server, net] = [world.host('server'), world.router('internet')]
    world.link(server, net, { delayMs: 10 })
    const services = Array.from({ length: SERVICES }, (_none, index) => world.identity(`web${index}`))
    const tls = world.identity('server')
    const hosts = Array.from({ length: HOSTS }, (_none, index) => {
      const host = world.host(`private-${index}`)
      world.link(host, net, { delayMs: 5 + (index % 40) })
      return host
    })
    await world.run(async () => {
      const local = `${server.addresses[0]}:4433`
      const acceptedAtMs: number[] = []
      const listen = async (): Promise<ReverseListener> => {
        const listener = await listenWith({ local, cert: tls.cert, key: tls.key, clientCa: services.map(({ cert }) => cert), limits: { maxPerKey: 256 } }, (own) => server.bind(own))
        listener.events$.subscribe(({ type }) => {
          if (type === 'accepted') acceptedAtMs.push(world.nowMs)
        })
        return listener
      }
      const first = await listen()
      const told = progress('private ends', COUNT * 2)
      const diallers = []
      const endpoints = await Promise.all(hosts.map((host) => host.bind()))
      for (let index = 0; index < COUNT; index++) {
        diallers.push(reverseConnect({ to: local, endpoint: endpoints[index % HOSTS] as Endpoint, identity: services[index % SERVICES] as Identity, service: `web${index % SERVICES}`, connection: { ca: tls.ca, serverName: 'server' } }, echo))
        told()
      }
      while (first.pool().size < COUNT) await world.sleep(1000)
      // Long enough for their pauses to begin anew.
      await world.sleep(15_000)
      acceptedAtMs.length = 0
      await first.close({ drainMs: 0 })
      await world.sleep(outageMs)
      const again = await listen()
      const sinceMs = world.nowMs
      while (again.pool().size < COUNT && world.nowMs - sinceMs < 120_000) await world.sleep(100)
      expect(again.pool().size).toBe(COUNT)
      acceptedAtMs.sort((a, b) => a - b)
      expect((acceptedAtMs.at(-1) ?? 0) - (acceptedAtMs[0] ?? 0)).toBeGreaterThanOrEqual(SPREAD_MS)
      const most = Math.max(...acceptedAtMs.map((at) => acceptedAtMs.filter((other) => other >= at && other < at + WINDOW_MS).length))
      expect(most).toBeLessThanOrEqual(COUNT / 4)
      if (RUNS !== null) process.stderr.write(`back ${((acceptedAtMs[0] ?? 0) - sinceMs).toFixed(0)} to ${((acceptedAtMs.at(-1) ?? 0) - sinceMs).toFixed(0)} ms after the start; at most ${most} in ${WINDOW_MS} ms\n`)
      expect(await ask(await again.pool().request('web0'), 'here again')).toBe('here again')
      await Promise.all(diallers.map((dialler) => dialler.stop({ drainMs: 0 })))
      await again.close({ drainMs: 0 })
    })
  })
})
