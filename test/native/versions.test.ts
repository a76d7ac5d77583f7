/** Versions, Retry, secrets and ends, over the native module and loopback. */
import { afterEach, describe, expect, it } from 'vitest'
import type { ConnectionOptions, SessionEntry, SessionStore } from '../../src/index.ts'
import { MODULE_BUILT } from './built.ts'
import { bound, closeAll, identity, nativePair, relayTo, until } from './pair.ts'

afterEach(closeAll)

describe.skipIf(!MODULE_BUILT)('versions', () => {
  it.each<[string, ConnectionOptions, ('v1' | 'v2')[], string]>([
    ['the first Initial names it', {}, ['v1', 'v2'], 'v1'],
    ['version 2 from the first packet on', { versions: ['v2'] }, ['v1', 'v2'], 'v2'],
    ['a server that prefers version 2 changes to it', { versions: ['v1', 'v2'] }, ['v2', 'v1'], 'v2'],
    ['first packet in version 1, version 2 preferred', { versions: ['v2', 'v1'], firstVersion: 'v1' }, ['v2', 'v1'], 'v2'],
    ['a server without version 2 answers with its list', { versions: ['v2', 'v1'] }, ['v1'], 'v1'],
    ['a version that nobody has makes every server answer with its list', { firstVersion: 'reserved' }, ['v1', 'v2'], 'v1'],
  ])('are agreed upon: %s', async (_name, connect, versions, agreed) => {
    const pair = await nativePair({ server: { versions } })
    const { near, far } = await pair.connect(connect)
    expect([(await near.opened).version, (await far.opened).version]).toEqual([agreed, agreed])
    const negotiations = connect.firstVersion === 'reserved' || (connect.versions?.[0] === 'v2' && !versions.includes('v2')) ? 1 : 0
    await until(() => pair.server.statistics().versionNegotiations === negotiations)
  })

  it('without a common one fail with QB_VERSION', async () => {
    const pair = await nativePair({ server: { versions: ['v1'] } })
    await expect(pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: pair.own.cert, versions: ['v2'] })).rejects.toMatchObject({ code: 'QB_VERSION', by: 'peer' })
  })
})

describe.skipIf(!MODULE_BUILT)('Retry', () => {
  it('proves the address before the handshake, and both ends and the counters tell', async () => {
    const pair = await nativePair({ server: { retry: 'always' } })
    const { near, far } = await pair.connect()
    expect([(await near.opened).retry, (await far.opened).retry]).toEqual([true, true])
    // A client that is slow to hear of it may have begun twice.
    await until(() => pair.server.statistics().retries > 0)
  })

  it('is spared a client that brings a token, once', async () => {
    const names = new Map<string, SessionEntry[]>()
    const held = (): SessionEntry[] => [...names.values()].flat().filter(({ kind, portable }) => kind === 'token' && portable)
    const sessions: SessionStore = { get: (key) => names.get(key) ?? [], set: (key, entries) => void names.set(key, entries) }
    const pair = await nativePair({ server: { retry: 'always' } })
    const { near } = await pair.connect({ sessions })
    await near.confirmed
    await until(() => held().length > 0)
    expect((await (await pair.connect({ sessions })).near.opened).retry).toBe(false)
    names.clear()
    expect((await (await pair.connect({ sessions })).near.opened).retry).toBe(true)
  })

  it('is never asked for where the server says so', async () => {
    const pair = await nativePair({ server: { retry: 'never' } })
    expect((await (await pair.connect()).near.opened).retry).toBe(false)
  })
})

describe.skipIf(!MODULE_BUILT)('ends', () => {
  it('a server that lost its memory resets by the secret it kept', async () => {
    const secret = new Uint8Array(32).fill(7)
    const pair = await nativePair({ atServer: { secret } })
    const heir = await bound({ local: '127.0.0.1:0', secret, server: { alpn: 'test', ...identity(pair.own) } })
    const relay = await relayTo(pair.server.local[0] ?? '')
    try {
      const near = await pair.client.connect(relay.address, { alpn: 'test', ca: pair.own.cert, multipath: 'off' })
      await near.confirmed
      relay.goTo(heir.local[0] ?? '')
      const stream = await near.openBidirectional()
      stream.write(new Uint8Array(500))
      const closed = await near.closed
      expect(closed).toMatchObject({ by: 'reset', layer: 'transport', error: { code: 'QB_STATELESS_RESET' } })
      await until(() => heir.statistics().statelessResets > 0)
    } finally {
      relay.close()
    }
  })

  it('a server without room refuses, and counts it', async () => {
    const pair = await nativePair({ server: { maxConnections: { total: 1 } } })
    await pair.connect()
    await expect(pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: pair.own.cert })).rejects.toMatchObject({ code: 'QB_CONNECT_REFUSED', errorCode: 2n })
    await until(() => pair.server.statistics().refused === 1)
  })
})
