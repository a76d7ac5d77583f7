/** Questions about NATs through the native contract: STUN asked, answered and kept, NATs found out (traversal T-42…T-53). */
import { afterEach, describe, expect, it } from 'vitest'
import type { NativeNatStatistics } from '../../src/binding/index.ts'
import { MODULE_BUILT } from './built.ts'
import { Loopback, RawWorld, nativeModule } from './raw-ends.ts'
import type { Ground, RawEnd } from './raw-ends.ts'

const HAS_NAT = MODULE_BUILT && nativeModule().features().includes('nat')
const PATIENT = { timeoutMs: 1000, tries: 9 }

let loopback: Loopback | null = null

afterEach(async () => {
  await loopback?.close()
  loopback = null
})

interface Town {
  ground: Ground
  /** Behind a NAT, if there is one. */
  client: RawEnd
  /** A STUN server with four sockets in worlds, one over loopback. */
  server: RawEnd
  nat: number
  world: RawWorld | null
}

function overLoopback(): Town {
  const ground = (loopback = new Loopback())
  const [client, server] = [ground.bind(), ground.bind()]
  server.tell(0, { do: 'stun-serve', config: { sockets: [server.local], neighbours: [], forms: ['rfc5780', 'dquic', 'dquic-0.5'] } })
  return { ground, client, server, nat: -1, world: null }
}

function inWorld(kind: object = {}): Town {
  const ground = new RawWorld()
  const { native } = ground
  const [inside, outside, core, nat] = [native.host(), native.host(), native.router(), native.nat(JSON.stringify(kind))]
  ground.link(inside, nat, 1, { insideB: true, addressA: '10.0.1.2' })
  ground.link(nat, core, 4, { addressA: '192.0.2.7' })
  ground.link(outside, core, 5, { addressA: '203.0.113.1' })
  ground.link(outside, core, 5, { addressA: '203.0.114.1' })
  const sockets = ['203.0.113.1:3478', '203.0.113.1:3479', '203.0.114.1:3478', '203.0.114.1:3479']
  const [client, server] = [ground.bind(inside, ['10.0.1.2:4433']), ground.bind(outside, sockets)]
  server.tell(0, { do: 'stun-serve', config: { sockets, neighbours: [], forms: ['rfc5780', 'dquic', 'dquic-0.5'] } })
  return { ground, client, server, nat, world: ground }
}

describe.skipIf(!HAS_NAT).each([['over loopback', overLoopback, null], ['in a world', inWorld, '192.0.2.7:4433']] as const)('services about NATs %s', (_where, make, outer) => {
  it('ask servers in every form', async () => {
    const { ground, client, server } = make()
    for (const [at, form] of (['rfc5780', 'dquic', 'dquic-0.5'] as const).entries()) {
      client.tell(0, { do: 'nat-ask', ticket: 10 + at, local: client.local, server: server.local, form, ...PATIENT })
      const answer = await ground.told(client, 'nat-answer', ({ ticket }) => ticket === 10 + at)
      expect(answer).toMatchObject({ key: 0, local: client.local, mapped: outer ?? client.local, from: server.local })
      expect(answer.rttMs).toBeGreaterThanOrEqual(outer === null ? 0 : 20)
    }
    const { stun, relay } = server.ask<NativeNatStatistics>(0, { ask: 'nat-statistics' })
    expect([stun?.answered, stun?.requests, relay]).toEqual([stun?.requests, stun?.answered, null])
    expect(stun?.answered).toBeGreaterThanOrEqual(3)
  })

  it('tell of silence, and serve no more when they are told so', async () => {
    const { ground, client, server } = make()
    server.tell(0, { do: 'stun-serve', config: null })
    expect(server.ask(0, { ask: 'nat-statistics' })).toEqual({ stun: null, relay: null })
    client.tell(0, { do: 'nat-ask', ticket: 1, local: client.local, server: server.local, form: 'rfc5780', timeoutMs: 20, tries: 3 })
    expect(await ground.told(client, 'nat-silence')).toMatchObject({ ticket: 1, tries: 3 })
  })

  it('keep mappings until they are cancelled', async () => {
    const { ground, client, server } = make()
    client.tell(0, { do: 'nat-keep', ticket: 2, local: client.local, server: server.local, form: 'rfc5780' })
    expect(await ground.told(client, 'nat-mapping')).toMatchObject({ ticket: 2, local: client.local, mapped: outer ?? client.local })
    client.mark()
    client.tell(0, { do: 'nat-cancel', ticket: 2 })
    expect(await ground.told(client, 'nat-mapping')).toMatchObject({ mapped: null })
  })
})

describe.skipIf(!HAS_NAT)('a NAT found out', () => {
  it.each([
    [{}, { kind: 'restricted-port', mapping: 'endpoint-independent', filtering: 'address-port', natted: true }],
    [{ filtering: 'endpoint-independent' }, { kind: 'full-cone', mapping: 'endpoint-independent', filtering: 'endpoint-independent', natted: true }],
    [{ mapping: 'address-port', ports: 'sequential' }, { kind: 'symmetric', mapping: 'address-port', natted: true }],
    [{ blocked: true }, null],
  ])('%j in a world is told in the words of RFC 4787', async (kind, expected) => {
    const { ground, client, server } = inWorld({ mapping: 'endpoint-independent', filtering: 'address-port', ...kind })
    client.tell(0, { do: 'nat-detect', ticket: 3, local: client.local, servers: [server.local], form: 'rfc5780', timeoutMs: 300, tries: 3, life: false })
    const { report } = await ground.told(client, 'nat-report')
    if (expected === null) {
      expect(report).toBeNull()
      return
    }
    expect(report).toMatchObject({ ...expected, local: '10.0.1.2:4433' })
    expect(report?.mapped).toMatch(/^192\.0\.2\.7:/u)
    const seen = client.all('nat-observation').map(({ observation }) => observation)
    expect(report?.observations).toEqual(seen)
    expect(seen.map(({ test }) => test)).toContain('mapping')
    expect(seen.every(({ atMs, tries }) => atMs > 0 && tries > 0)).toBe(true)
    // Sockets of the detection are nobody else's.
    expect(client.native.local()).toEqual(['10.0.1.2:4433'])
    expect(client.all('bound')).toHaveLength(1)
  })

  it('is none over loopback', async () => {
    const { ground, client, server } = overLoopback()
    client.tell(0, { do: 'nat-detect', ticket: 3, local: client.local, servers: [server.local], form: 'rfc5780', ...PATIENT, life: false })
    const { report } = await ground.told(client, 'nat-report')
    expect(report).toMatchObject({ mapping: 'none', natted: false, mapped: client.local, local: client.local })
  })

  it('that rebinds is told by the mapping that is kept', async () => {
    const { ground, client, server, nat, world } = inWorld()
    client.tell(0, { do: 'nat-keep', ticket: 4, local: client.local, server: server.local, form: 'rfc5780' })
    await ground.told(client, 'nat-mapping')
    client.mark()
    world?.native.rebind(nat)
    expect((await ground.told(client, 'nat-mapping')).mapped).not.toBe('192.0.2.7:4433')
  })
})

describe.skipIf(!HAS_NAT)('orders about NATs', () => {
  it.each([
    { do: 'nat-ask', ticket: 1, local: 'here', server: '127.0.0.1:1', form: 'rfc5780', timeoutMs: 1, tries: 1 },
    { do: 'nat-ask', ticket: 1, local: '127.0.0.1:1', server: '127.0.0.1:1', form: 'morse', timeoutMs: 1, tries: 1 },
    { do: 'nat-ask', ticket: 1, local: '127.0.0.1:1', server: '127.0.0.1:1', form: 'rfc5780', timeoutMs: -1, tries: 1 },
    { do: 'nat-ask', ticket: 1, local: '127.0.0.1:1', server: '127.0.0.1:1', form: 'rfc5780', timeoutMs: 1, tries: 1e9 },
    { do: 'register', local: '127.0.0.1:1', relay: '127.0.0.1:1-127.0.0.1:1', outer: '127.0.0.1:1' },
    { do: 'relay-serve', config: { agent: [], allow: ['10.0.0.0/40'], allowPrivate: false, bytesPerSecond: 1, burstBytes: 1 } },
    { do: 'punch-steps', localSeq: 0, remoteSeq: 0, steps: [{ do: 'dance' }], more: false },
  ])('attack I9: %j is refused with words', (order) => {
    const end = (loopback = new Loopback()).bind()
    expect(() => end.native.tell(0, JSON.stringify(order))).toThrow(/QB_INTERNAL.*cannot be read/u)
  })

  it('attack I9: those that make no sense change nothing', async () => {
    const end = (loopback = new Loopback()).bind()
    const [local, nowhere] = [end.local, '127.0.0.1:1']
    for (const order of [
      { do: 'nat-cancel', ticket: 99 },
      { do: 'relay-forget', client: nowhere },
      { do: 'unregister', local, relay: nowhere },
      { do: 'nat-ask', ticket: 1, local: '[::1]:5', server: nowhere, form: 'rfc5780', timeoutMs: 1, tries: 1 },
      { do: 'nat-detect', ticket: 2, local, servers: [], form: 'rfc5780', timeoutMs: 1, tries: 1, life: false },
      { do: 'stun-serve', config: { sockets: [], neighbours: [], forms: [] } },
    ] as const) end.native.tell(0, JSON.stringify(order))
    expect(await loopback.told(end, 'nat-silence')).toMatchObject({ ticket: 1 })
    expect(await loopback.told(end, 'nat-report')).toMatchObject({ ticket: 2, report: null })
    end.tell(0, { do: 'register', local: '0.0.0.0:1', relay: nowhere, outer: nowhere })
    expect(await loopback.told(end, 'register-refused')).toMatchObject({ local: '0.0.0.0:1', relay: nowhere })
    end.tell(0, { do: 'relay-admit', client: nowhere, forMs: 1000 })
    expect(await loopback.told(end, 'relay-refused')).toMatchObject({ client: nowhere, reason: 'off' })
  })
})
