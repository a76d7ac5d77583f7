/** Tickets, early data and the store, over the native module and loopback. */
import { afterEach, describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import type { Connection, SessionEntry, SessionStore } from '../../src/index.ts'
import { pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from './built.ts'
import { bound, closeAll, eventOf, identity, nativePair, relayTo } from './pair.ts'
import type { NativePair } from './pair.ts'

afterEach(closeAll)

const EARLY = { earlyData: true } as const

/** A store that shows what it holds. */
function openStore(): { store: SessionStore; names: Map<string, SessionEntry[]> } {
  const names = new Map<string, SessionEntry[]>()
  return { names, store: { get: async (key) => names.get(key) ?? [], set: async (key, entries) => void names.set(key, entries) } }
}

/** A first connection, until the tickets of it are stored. */
async function visit(pair: NativePair, more: object = {}): Promise<void> {
  const connecting = pair.connect({ ...EARLY, ...more })
  const stored = new Promise<void>((resolve) => {
    pair.client.connections$.subscribe((connection) => void eventOf(connection, 'session-stored').then(() => resolve(), () => undefined))
  })
  const { near } = await connecting
  await near.confirmed
  await stored
  await near.close()
}

async function echo(far: Connection): Promise<boolean[]> {
  const early: boolean[] = []
  for await (const stream of far.incomingBidirectional()) {
    early.push(stream.early)
    const bytes = await stream.bytes()
    stream.write(bytes)
    stream.end()
  }
  return early
}

describe.skipIf(!MODULE_BUILT)('tickets', () => {
  it('shorten the second handshake', async () => {
    const pair = await nativePair()
    await visit(pair, { earlyData: false })
    const { near, far } = await pair.connect()
    expect([(await near.opened).resumed, (await far.opened).resumed]).toEqual([true, true])
    expect(near.early).toBe('none')
    expect(near.peer?.names).toContain('localhost')
  })

  it('stand in the store as handles of this endpoint, and are used only while they stand there', async () => {
    const pair = await nativePair()
    const { store, names } = openStore()
    await visit(pair, { sessions: store })
    const [key = ''] = names.keys()
    expect(key).toMatch(/^127\.0\.0\.1:\d+\|test$/)
    const entries = names.get(key) ?? []
    expect(entries.filter(({ kind }) => kind === 'ticket').every(({ portable, expiresUnixMs }) => !portable && expiresUnixMs > Date.now())).toBe(true)
    expect(entries.length).toBeLessThanOrEqual(4)
    // Another endpoint has nothing of them, and does not use them up.
    const other = await bound()
    const strange = await other.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: pair.own.cert, sessions: store })
    expect((await strange.opened).resumed).toBe(false)
    names.set(key, [])
    expect((await (await pair.connect({ sessions: store })).near.opened).resumed).toBe(false)
  })

  it('of a store that fails or hangs cost a full handshake and a warning', async () => {
    const warnings: string[] = []
    const pair = await nativePair({ atClient: { logger: { warn: (message) => warnings.push(message) } } })
    const store: SessionStore = { get: () => { throw new Error('no disk') }, set: () => new Promise(() => {}) }
    const { near } = await pair.connect({ sessions: store })
    expect((await near.opened).resumed).toBe(false)
    expect(warnings[0]).toMatch(/session store/)
  })
})

describe.skipIf(!MODULE_BUILT)('early data', () => {
  it('is sent at once with a ticket, accepted, and known as what it is at the server', async () => {
    const { pair, dial, close } = await ticketFarAway()
    const { near, far } = await dial()
    expect([near.early, near.state]).toEqual(['sent', 'handshaking'])
    const stream = await near.openBidirectional()
    stream.write(pattern(1000))
    stream.end()
    const early = echo(await far)
    expect(Buffer.from(await stream.bytes()).equals(pattern(1000))).toBe(true)
    expect((await near.opened).resumed).toBe(true)
    expect([near.early, (await far).early, stream.early]).toEqual(['accepted', 'accepted', true])
    await near.confirmed
    const late = await near.openBidirectional()
    expect(late.early).toBe(false)
    late.end()
    await late.bytes()
    await near.close()
    expect(await early).toEqual([true, false])
    expect(pair.server.connections.size).toBe(0)
    close()
  })

  it('is sent again when the server refuses it, and nobody takes it for early', async () => {
    const { pair, dial, close } = await ticketFarAway()
    pair.server.listen({ alpn: 'test', ...identity(pair.own) })
    const { near, far } = await dial()
    const rejected = eventOf(near, 'early-rejected')
    const stream = await near.openBidirectional()
    stream.write(pattern(1000))
    stream.end()
    const early = echo(await far)
    expect(Buffer.from(await stream.bytes()).equals(pattern(1000))).toBe(true)
    await rejected
    expect([near.early, (await far).early, stream.early]).toEqual(['rejected', 'rejected', false])
    await near.close()
    expect(await early).toEqual([false])
    close()
  })

  it('is not sent without a ticket', async () => {
    const { near } = await (await nativePair({ server: EARLY })).connect(EARLY)
    expect([near.early, near.state]).toEqual(['none', 'open'])
  })

  it('outlives a change of the certificate', async () => {
    const pair = await nativePair({ server: EARLY })
    await visit(pair)
    const renewed = createDevCertificate()
    pair.server.listen({ alpn: 'test', ...identity(renewed), ...EARLY })
    expect((await (await pair.connect()).near.opened).resumed).toBe(true)
  })
})

/** A server that takes early data, far enough away that what is written at once leaves before its answer; and a ticket of it. */
async function ticketFarAway(): Promise<{ pair: NativePair; dial(): Promise<{ near: Connection; far: Promise<Connection> }>; close(): void }> {
  const pair = await nativePair({ server: EARLY })
  const relay = await relayTo(pair.server.local[0] ?? '', 50)
  const incoming = pair.server.incoming()
  const dial = async (): Promise<{ near: Connection; far: Promise<Connection> }> => {
    const far = incoming.next().then(({ value }) => value as Connection)
    return { near: await pair.client.connect(relay.address, { alpn: 'test', ca: pair.own.cert, multipath: 'off', ...EARLY }), far }
  }
  const { near, far } = await dial()
  await Promise.all([near.confirmed, eventOf(near, 'session-stored'), far])
  await near.close()
  return { pair, dial, close: () => relay.close() }
}
