/** Modes of the handshake over the native module and loopback: several local sockets, several addresses of one server. */
import { createSocket } from 'node:dgram'
import { afterEach, describe, expect, it } from 'vitest'
import type { Connection, HandshakeEvent, HandshakeMode } from '../../src/index.ts'
import { MODULE_BUILT } from './built.ts'
import { closeAll, nativePair, until } from './pair.ts'

afterEach(closeAll)

const MODES: HandshakeMode[] = ['single', 'stagger', 'race', 'shared', 'independent']

describe.skipIf(!MODULE_BUILT)('a handshake over several address pairs', () => {
  it.each(MODES)('%s: takes one, and the others become paths', async (mode) => {
    const pair = await nativePair()
    const { near, far } = await pair.connect({ handshake: mode, paths: [{ local: '127.0.0.1' }, { local: '127.0.0.2' }, { local: '127.0.0.3', status: 'backup' }] })
    expect((await near.opened).mode).toBe(mode)
    await until(() => open(near) === 3 && open(far) === 3, 20_000)
    expect([...near.paths].map(({ id }) => id)).toEqual([0, 1, 2])
    expect(new Set([...near.paths].map(({ local }) => local.replace(/:\d+$/, '')))).toEqual(new Set(['127.0.0.1', '127.0.0.2', '127.0.0.3']))
    expect([...near.paths].find(({ local }) => local.startsWith('127.0.0.3'))?.facts.status).toBe('backup')
    const steps = stepsOf(near)
    const locked = steps.find(({ type }) => type === 'locked')
    const info = await near.opened
    expect(locked).toMatchObject({ remote: info.winner.remote, local: info.winner.local })
    await until(() => stepsOf(near).filter(({ type }) => type === 'path-usable').length === 3, 20_000)
  })

  it.each<HandshakeMode>(['stagger', 'race', 'shared', 'independent'])('%s: a dead first address of the server is no obstacle', async (mode) => {
    const pair = await nativePair()
    const silent = createSocket('udp4')
    await new Promise<void>((resolve) => silent.bind(0, '127.0.0.1', resolve))
    const incoming = pair.server.incoming()
    const dead = `127.0.0.1:${silent.address().port}`
    const near = await pair.client.connect([dead, pair.server.local[0] ?? ''], { alpn: 'test', ca: pair.own.cert, serverName: 'localhost', handshake: { mode, staggerMs: 50 } })
    await incoming.next()
    expect((await near.opened).winner.remote).toBe(pair.server.local[0])
    const attempts = stepsOf(near).flatMap((step) => (step.type === 'attempt' ? [step] : [])).sort((one, other) => one.attempt - other.attempt)
    // A slow machine may leave the pair that answered for a while and try the first one again.
    expect(new Map(attempts.map(({ attempt, remote }) => [attempt, remote]))).toEqual(new Map([[0, dead], [1, pair.server.local[0]]]))
    await near.confirmed
    expect(near.paths.size).toBe(1)
    silent.close()
  })

  it('without the option a server hears one address until the confirmation', async () => {
    const pair = await nativePair({ server: { multiAddressHandshake: false } })
    const { near } = await pair.connect({ handshake: 'shared', paths: [{ local: '127.0.0.1' }, { local: '127.0.0.2' }] })
    await until(() => open(near) === 2, 20_000)
  })

  it('that nobody answers fails with what was tried', async () => {
    const pair = await nativePair()
    const silent = createSocket('udp4')
    await new Promise<void>((resolve) => silent.bind(0, '127.0.0.1', resolve))
    const dead = `127.0.0.1:${silent.address().port}`
    const connecting = pair.client.connect(dead, { alpn: 'test', ca: pair.own.cert, handshake: 'race', paths: [{ local: '127.0.0.1' }, { local: '127.0.0.2' }], limits: { handshakeTimeoutMs: 300 } })
    await expect(connecting).rejects.toMatchObject({ code: 'QB_CONNECT_TIMEOUT', handshake: expect.arrayContaining([expect.objectContaining({ type: 'attempt', attempt: 1 })]) })
    silent.close()
  })
})

function open(connection: Connection): number {
  return [...connection.paths].filter(({ facts }) => facts.state === 'open').length
}

function stepsOf(connection: Connection): (HandshakeEvent & { local?: string; remote?: string })[] {
  const seen: HandshakeEvent[] = []
  connection.handshake$.subscribe((step) => seen.push(step)).unsubscribe()
  return seen
}
