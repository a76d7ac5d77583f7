/** Path policies in simulated worlds: interfaces of the world, its clock, the real machine. */
import { describe, expect, it } from 'vitest'
import { World } from '../../src/sim/index.ts'
import type { PathPolicyName } from '../../src/index.ts'
import { MODULE_BUILT } from '../native/built.ts'

/** A client on two networks, each with its own way to the server, and what it has at some instants. */
async function roam(pathPolicy: PathPolicyName, seed: number): Promise<{ seen: string[]; hash: string }> {
  const world = new World({ seed })
  const [client, server, net] = [world.host('client'), world.host('server'), world.router('net')]
  const wifi = world.link(client, net, { delayMs: 5, rateBitsPerSec: 20e6 })
  world.link(client, net, { delayMs: 30, rateBitsPerSec: 5e6 })
  world.link(net, server, { delayMs: 5 })
  const tls = world.identity('server')
  const seen: string[] = []
  await world.run(async () => {
    const far = await server.bind({ server: { ...tls, alpn: 'x' } })
    const near = await (await client.bind()).connect(far.local[0] ?? '', { alpn: 'x', ca: tls.ca, serverName: 'server', pathPolicy })
    const note = (): number => seen.push([...near.paths].filter(({ facts }) => facts.state === 'open').map(({ local, facts }) => `${local.replace(/:.*/, '')} ${facts.status}`).join(', '))
    await world.sleep(3000)
    note()
    wifi.a.setUp(false)
    await world.sleep(5000)
    note()
    wifi.a.setUp(true)
    await world.sleep(8000)
    note()
    expect(near.state).toBe('open')
    near.destroy()
  })
  return { seen, hash: world.traceHash() }
}

describe.skipIf(!MODULE_BUILT)('a path policy in a simulated world', () => {
  it('follows the interfaces of its host: all of them, or one and its backup', async () => {
    const all = await roam('all-interfaces', 3)
    expect(all.seen.map((state) => state.split(', ').length)).toEqual([2, 1, 2])
    const backup = await roam('backup', 3)
    expect(backup.seen.map((state) => state.split(', ').map((path) => path.split(' ')[1]))).toEqual([['available', 'backup'], ['available'], ['available', 'backup']])
    expect(backup.seen[1]?.split(' ')[0]).not.toBe(backup.seen[0]?.split(' ')[0])
  })

  it('moves to the other interface with happy-eyeballs, and stays there', async () => {
    const { seen } = await roam('happy-eyeballs', 3)
    expect(seen.map((state) => state.split(', ').length)).toEqual([1, 1, 1])
    expect(seen[1]).toBe(seen[2])
    expect(seen[0]).not.toBe(seen[1])
  })

  it('does the same again with the same seed', async () => {
    expect(await roam('all-interfaces', 8)).toEqual(await roam('all-interfaces', 8))
  })
})
