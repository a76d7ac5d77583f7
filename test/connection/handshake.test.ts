import { describe, expect, it } from 'vitest'
import type { HandshakeEvent } from '../../src/index.ts'
import { bindWith } from '../../src/endpoint/index.ts'
import { HandshakeSteps, STEPS_KEPT } from '../../src/connection/handshake.ts'
import { connectedPair, newNetwork, turns, until, watchContract } from '../fake/pair.ts'

watchContract()

describe('handshake$', () => {
  it('tells each step to those who look later, and completes with the connection', async () => {
    const { near, far, network, done } = await connectedPair()
    await near.confirmed
    const seen: HandshakeEvent[] = []
    let complete = false
    near.handshake$.subscribe({ next: (step) => seen.push(step), complete: () => { complete = true } })
    expect(seen.map(({ type }) => type)).toEqual(['attempt', 'flight', 'locked', 'tls-finished', 'complete', 'path-usable', 'confirmed'])
    expect(seen[0]).toEqual({ type: 'attempt', attempt: 0, local: expect.any(String), remote: near.remote, reason: 'test', atMs: 1 })
    expect(seen[1]).toEqual({ type: 'flight', attempt: 0, datagrams: 1, bytes: 1200, packets: ['initial'], atMs: 1 })
    expect(seen[3]).toEqual({ type: 'tls-finished', detail: 'test', atMs: 2 })
    const client = network.endpoints[1]?.connections.get(1) ?? network.endpoints[0]?.connections.get(1)
    if (client !== undefined) network.path(client, 3, 'open', null, { type: 'validated', by: 'peer' })
    await turns(5)
    expect([...seen, ...(await stepsOf(far.handshake$))].some((step) => step.type === 'path-usable' && step.path === 3)).toBe(true)
    expect(complete).toBe(false)
    await done()
    expect(complete).toBe(true)
  })

  it('of a failed handshake stands in the error', async () => {
    const network = newNetwork()
    network.hold()
    const client = bindWith(network.module)
    const connecting = client.connect('127.0.0.1:9', { alpn: 'test', ca: 'ca' }).catch((error: unknown) => error)
    await until(() => (network.endpoints[0]?.connections.size ?? 0) > 0)
    const [connection] = [...(network.endpoints[0]?.connections.values() ?? [])]
    if (connection === undefined) throw new Error('nothing was dialled')
    const step = { attempt: 1, local: '127.0.0.1:1', remote: '127.0.0.1:9', reason: 'a socket refused to send' }
    connection.endpoint.queue.event(connection.key, { type: 'handshake', atMs: 4, steps: [{ ...step, type: 'failed' }] })
    const info = { by: 'timeout', layer: 'transport', errorCode: 0, codeName: 'NO_ERROR', reason: '', path: null, error: { code: 'QB_CONNECT_TIMEOUT', message: 'x' } } as const
    connection.end({ ...info, error: { ...info.error } })
    network.release()
    expect(await connecting).toMatchObject({ code: 'QB_CONNECT_TIMEOUT', handshake: [{ type: 'failed', attempt: 1, atMs: 4 }] })
    client.destroy()
    await client.closed
  })

  it('keeps a bounded number of steps', () => {
    const steps = new HandshakeSteps(() => {})
    for (let path = 0; path < STEPS_KEPT + 5; path++) steps.add({ type: 'path-usable', path }, path)
    expect(steps.all).toHaveLength(STEPS_KEPT)
    expect(steps.all[0]).toMatchObject({ path: 5 })
  })
})

function stepsOf(steps: { subscribe(next: (step: HandshakeEvent) => void): { unsubscribe(): void } }): Promise<HandshakeEvent[]> {
  const seen: HandshakeEvent[] = []
  steps.subscribe((step) => seen.push(step)).unsubscribe()
  return Promise.resolve(seen)
}
