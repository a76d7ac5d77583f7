/** Path policies of real connections, over the fake engine: from the option to the orders, and back by records. */
import { describe, expect, it } from 'vitest'
import { bindWith } from '../../src/endpoint/index.ts'
import type { World } from '../../src/endpoint/index.ts'
import type { InterfaceAddress, PathPolicy, PathPolicyView } from '../../src/path/index.ts'
import { FakeClock } from '../fake/clock.ts'
import { codeOf, connectedPair, newNetwork, SERVER, turns, until, watchContract } from '../fake/pair.ts'
import type { Pair } from '../fake/pair.ts'

watchContract()

class TestWorld implements World {
  readonly clock = new FakeClock()
  addresses: InterfaceAddress[]
  readonly interfaces = (): readonly InterfaceAddress[] => this.addresses

  constructor(...addresses: string[]) {
    this.addresses = addresses.map((address, index) => ({ name: `if${index}`, address, up: true }))
  }

  /** Virtual time, and turns of the fake engine in between. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 100) {
      await this.clock.advance(Math.min(100, left))
      await turns(4)
    }
  }
}

/** A server at an address that is not loopback, and a client in `world`. */
async function worldPair(world: TestWorld, pathPolicy: 'all-interfaces' | 'backup' | 'happy-eyeballs' | PathPolicy, more: object = {}): Promise<Pair> {
  const pair = await connectedPair({ world, at: '192.0.2.1:443', features: ['interface'], connect: { pathPolicy, paths: [{ local: '10.0.0.1' }] }, ...more })
  await pair.near.confirmed
  await world.pass(500)
  return pair
}

const locals = ({ near }: Pair): string[] => [...near.paths].map(({ local }) => local.replace(/:\d+$/, '')).sort()

describe('a connection with a path policy', () => {
  it('opens what the policy wants by itself, tells it, and follows the interfaces', async () => {
    const world = new TestWorld('10.0.0.1', '10.9.0.1')
    const pair = await worldPair(world, 'all-interfaces')
    expect(locals(pair)).toEqual(['10.0.0.1', '10.9.0.1'])
    expect(pair.near.paths.get(1)).toMatchObject({ interface: 'if1', facts: { state: 'open' } })
    const events: string[] = []
    pair.near.paths.events$.subscribe(({ path, type }) => events.push(`${path} ${type}`))
    world.addresses = [world.addresses[0]!]
    await world.pass(1500)
    expect([locals(pair), events.at(-1)]).toEqual([['10.0.0.1'], '1 abandoned'])
    world.addresses = [world.addresses[0]!, { name: 'if1', address: '10.9.0.1', up: true }]
    await world.pass(4000)
    expect(locals(pair)).toEqual(['10.0.0.1', '10.9.0.1'])
    expect(String(pair.near.paths.explain())).toMatch(/^path 0: nothing to send\npath policy all-interfaces: \d+ decisions, 2 addresses/)
    await pair.done()
    expect(world.clock.size).toBe(0)
  })

  it('asks for backups with the policy of that name', async () => {
    const pair = await worldPair(new TestWorld('10.0.0.1', '10.9.0.1'), 'backup')
    const orders = pair.network.endpoints[1]?.connections.get(1)?.orders
    expect(orders).toEqual([{ do: 'open-path', ticket: 1, spec: { local: '10.9.0.1:0', remote: '192.0.2.1:443', interface: 'if1', status: 'backup' } }])
    await pair.done()
  })

  it('moves with happy-eyeballs when its path answers no more', async () => {
    const world = new TestWorld('10.0.0.1', '10.9.0.1')
    const pair = await worldPair(world, 'happy-eyeballs')
    expect(locals(pair)).toEqual(['10.0.0.1'])
    const first = pair.network.endpoints[1]?.connections.get(1)?.paths.get(0)
    if (first !== undefined) first.ptoCount = 3
    await world.pass(2000)
    expect(locals(pair)).toEqual(['10.9.0.1'])
    await pair.done()
  })

  it('hands a policy of the user live paths, under its own this, and does what it says', async () => {
    class Mine implements PathPolicy {
      readonly name = 'mine'
      readonly views: PathPolicyView[] = []
      decide(view: PathPolicyView): ReturnType<PathPolicy['decide']> {
        this.views.push(view)
        return [{ do: 'open', spec: { local: '10.9.0.1' } }, { do: 'status', path: 1, status: 'backup' }]
      }
    }
    const mine = new Mine()
    const world = new TestWorld('10.0.0.1', '10.9.0.1')
    const pair = await worldPair(world, mine)
    await world.pass(1000)
    expect(mine.views[0]).toMatchObject({ remotes: ['192.0.2.1:443'], interfaces: [{ name: 'if0', address: '10.0.0.1', up: true }, { name: 'if1' }] })
    expect(mine.views.at(-1)?.paths).toEqual([...pair.near.paths])
    expect(pair.near.paths.get(1)?.facts.status).toBe('backup')
    await pair.done()
  })

  it('goes on when the policy throws, and says so in its events and to the logger', async () => {
    const warnings: string[] = []
    const failing: PathPolicy = { name: 'bad', decide: () => { throw new Error('mine') } }
    const world = new TestWorld('10.0.0.1', '10.9.0.1')
    const pair = await connectedPair({ world, at: '192.0.2.1:443', endpoint: { logger: { warn: (message) => warnings.push(message) } }, connect: { pathPolicy: failing, paths: [{ local: '10.0.0.1' }] } })
    const events: unknown[] = []
    pair.near.events$.subscribe((event) => events.push(event))
    await world.pass(8000)
    expect(events).toEqual([expect.objectContaining({ type: 'callback-failed', callback: 'pathPolicy', error: expect.objectContaining({ message: 'mine' }) }), expect.objectContaining({ type: 'callback-failed' })])
    expect(warnings[0]).toContain('pathPolicy')
    expect(locals(pair)).toEqual(['10.0.0.1'])
    await pair.done()
  })

  it('gives up what it was opening when the connection ends', async () => {
    const world = new TestWorld('10.0.0.1', '127.0.0.9')
    const waiting: PathPolicy = { name: 'waits', decide: () => [{ do: 'open', spec: { local: '127.0.0.9' } }] }
    const pair = await worldPair(world, waiting)
    expect(pair.near.paths.explain().lines).toContain('path policy waits: opening 127.0.0.9 to 192.0.2.1:443')
    await pair.done()
    await world.pass(10_000)
    expect(world.clock.size).toBe(0)
  })
})

describe('the option pathPolicy', () => {
  it('is manual by default: nothing is read and nothing opened', async () => {
    const world = new TestWorld('10.0.0.1', '10.9.0.1')
    const pair = await connectedPair({ world, at: '192.0.2.1:443' })
    await world.pass(6000)
    expect([world.clock.size, pair.near.paths.size]).toEqual([0, 1])
    await pair.done()
  })

  it('is refused when it is none, and at a server, which opens no paths', async () => {
    const network = newNetwork()
    const endpoint = bindWith(network.module, { local: '127.0.0.1:0' })
    for (const pathPolicy of ['all', 7, {}, { name: 'x' }, { name: '', decide() {} }, { decide() {} }]) {
      expect(await codeOf(endpoint.connect('127.0.0.1:1', { alpn: 'x', pathPolicy: pathPolicy as never }))).toBe('QB_OPTION_INVALID')
    }
    const refusal = expect.objectContaining({ code: 'QB_OPTION_INVALID', field: 'pathPolicy', message: expect.stringContaining('the other end') })
    expect(() => endpoint.listen({ ...SERVER, pathPolicy: 'backup' } as never)).toThrow(refusal)
    endpoint.listen({ ...SERVER, pathPolicy: 'manual' } as never)
    endpoint.destroy()
    // What holds for its clients does not disturb an endpoint that also listens.
    const both = bindWith(network.module, { local: '127.0.0.1:0', connection: { pathPolicy: 'backup' }, server: SERVER })
    both.destroy()
    await Promise.all([endpoint.closed, both.closed])
  })

  it('serves connections that wait for their paths as well', async () => {
    const world = new TestWorld('10.0.0.1', '10.9.0.1')
    const pair = await worldPair(world, 'all-interfaces')
    await until(() => pair.near.paths.size === 2)
    expect(await pair.near.paths.ready({ count: 2 })).toHaveLength(2)
    await pair.done()
  })
})
