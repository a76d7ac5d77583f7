/** Who asks on a connection, the gate and the credit for streams, as services of this package order them (mux R50 to R52; reverse V2, V20 to V25). */
import { describe, expect, it } from 'vitest'
import { Connection } from '../../src/connection/index.ts'
import { Endpoint, serviceOf } from '../../src/endpoint/index.ts'
import { createDevCertificate } from '../../src/index.ts'
import type { CarrierBurst, CarrierDatagram, CarrierEndpoint, ConnectionOptions, ServerOptions, StreamError } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { withPair } from '../sim/programs.ts'
import type { Connected } from '../sim/programs.ts'

const ALPN = 'qb-rev/1'
const WRONG_WAY = 5

type Parts = Connected & {
  /** Both ends change parts; the gate stays shut. */
  reverse(): void
  /** A request of the public end on a new stream. */
  ask(text: string): Promise<void>
  /** What came to the private end, in that order. */
  came: string[]
}

/** `near` is the private end, `far` the public one, 10 ms away. */
function polarised<T>(main: (parts: Parts) => Promise<T>, more: ConnectionOptions = {}, serving: Partial<ServerOptions> = {}): Promise<T> {
  const pair = World.pair([{ delayMs: 10 }])
  const { client, server } = pair
  for (const host of [client, server]) {
    const bind = host.bind.bind(host)
    host.bind = async (...options) => {
      const endpoint = await bind(...options)
      serviceOf(endpoint)?.polarise(ALPN, WRONG_WAY)
      return endpoint
    }
  }
  return withPair(pair, async (connected) => {
    const { near, far } = connected
    const came: string[] = []
    void (async () => {
      for await (const stream of near.incomingBidirectional()) came.push(await stream.bytes().then((bytes) => Buffer.from(bytes).toString(), codeText))
    })()
    return main({
      ...connected, came,
      reverse: () => {
        Connection.reverse(far)
        Connection.reverse(near)
      },
      ask: async (text) => {
        const stream = await far.openBidirectional()
        stream.write(Buffer.from(text))
        stream.end()
      },
    })
  }, { alpn: ALPN, ...more }, { alpn: ALPN, ...serving })
}

const codeText = ({ code, errorCode }: StreamError): string => `${code} ${errorCode}`
const codeOf = (error: StreamError): unknown => [error.code, error.errorCode]

describe.skipIf(!MODULE_BUILT)('a polarised connection', () => {
  it('is asked on by its client until it is reversed, once, and both ends say so: mux R50, reverse V2', async () => {
    await polarised(async ({ near, far, reverse }) => {
      expect([near.requester, far.requester]).toEqual(['local', 'peer'])
      await expect(far.openBidirectional()).rejects.toMatchObject({ name: 'StreamError', code: 'QB_STREAM_WRONG_WAY' })
      await expect(far.openUnidirectional()).rejects.toMatchObject({ code: 'QB_STREAM_WRONG_WAY' })
      await near.openBidirectional()
      reverse()
      expect([near.requester, far.requester, near.role, far.role]).toEqual(['peer', 'local', 'client', 'server'])
      await expect(near.openBidirectional()).rejects.toMatchObject({ code: 'QB_STREAM_WRONG_WAY' })
      expect((await far.openBidirectional()).id).toBe(1n)
      expect(() => Connection.reverse(near)).toThrowError('reversed already')
      expect(String(near.explain())).toContain('polarity: the peer asks')
    })
  })

  it('holds what comes while its gate is shut, and gives it out in order of id: reverse V20, V21, V23', async () => {
    await polarised(async ({ world, near, far, reverse, ask, came }) => {
      reverse()
      for (const text of ['one', 'two', 'three']) await ask(text.repeat(3_000))
      await world.sleep(3_000)
      expect(came).toEqual([])
      expect([near.state, far.state, far.statistics().packetsLost]).toEqual(['open', 'open', 0])
      expect(near.statistics().streamBytesReceived).toBe(33_000)
      Connection.openGate(near)
      await ask('four')
      await world.sleep(50)
      expect(came.map((text) => text.slice(0, 5))).toEqual(['oneon', 'twotw', 'three', 'four'])
      expect(came.map((text) => text.length)).toEqual([9_000, 9_000, 15_000, 4])
    })
  })

  it('leaves streams of its own alone while the gate is shut: reverse V20', async () => {
    await polarised(async ({ near, far, came, reverse, ask }) => {
      const control = await near.openBidirectional()
      control.write(Buffer.from('HELLO'))
      const { value: other } = await far.incomingBidirectional().next()
      const hello = other?.readable.getReader().read()
      expect(Buffer.from((await hello)?.value ?? []).toString()).toBe('HELLO')
      reverse()
      await ask('request')
      other?.write(Buffer.from('ACCEPT'))
      const answer = await control.readable.getReader().read()
      expect([Buffer.from(answer.value ?? []).toString(), came]).toEqual(['ACCEPT', []])
    })
  })

  it('tells resets and stops of held streams behind the gate: reverse V23', async () => {
    await polarised(async ({ world, near, far, reverse, ask, came }) => {
      reverse()
      const [reset, stopped] = [await far.openBidirectional(), await far.openBidirectional()]
      reset.write(Buffer.from('taken back'))
      stopped.write(Buffer.from('no answer'))
      await ask('whole')
      await world.sleep(30)
      reset.reset(7)
      stopped.stop(8)
      stopped.end()
      await world.sleep(30)
      const stops: string[] = []
      near.events$.subscribe((event) => event.type === 'stream' && stops.push(`${event.id} ${event.initiated}`))
      Connection.openGate(near)
      await world.sleep(1)
      expect(stops).toEqual(['1 peer', '5 peer', '9 peer'])
      expect(came).toEqual(['QB_STREAM_RESET 7', 'no answer', 'whole'])
    })
  })

  it('may give credit for streams later: attacks H7, reverse V22', async () => {
    await polarised(async ({ world, near, reverse, ask, came }) => {
      reverse()
      const asked = ['a', 'b', 'c'].map(ask)
      await world.sleep(500)
      Connection.openGate(near)
      await world.sleep(500)
      expect(came).toEqual([])
      Connection.grantStreams(near, 2)
      await world.sleep(25)
      expect(came).toEqual(['a', 'b'])
      Connection.grantStreams(near, 1)
      Connection.grantStreams(near, 3)
      await Promise.all(asked)
      await world.sleep(25)
      expect(came).toEqual(['a', 'b', 'c'])
    }, { limits: { bidirectionalStreams: 0, unidirectionalStreams: 0 } })
  })

  it('refuses streams of the wrong way with the code, untold: mux R51', async () => {
    await polarised(async ({ world, near, far, ask, came }) => {
      const seen: bigint[] = []
      void (async () => {
        for await (const stream of far.incomingBidirectional()) seen.push(stream.id)
      })()
      Connection.reverse(far)
      const wrong = await near.openBidirectional()
      wrong.write(Buffer.alloc(5_000))
      expect(await wrong.bytes().then(() => 'read', codeOf)).toEqual(['QB_STREAM_RESET', 5n])
      expect(await wrong.finished.then(() => 'finished', codeOf)).toEqual(['QB_STREAM_STOPPED', 5n])
      const oneWay = await near.openUnidirectional()
      oneWay.write(Buffer.alloc(5_000))
      expect(await oneWay.finished.then(() => 'finished', codeOf)).toEqual(['QB_STREAM_STOPPED', 5n])
      expect([seen, far.state, near.state]).toEqual([[], 'open', 'open'])
      expect(String(far.explain())).toContain('2 streams of the wrong way refused')
      Connection.reverse(near)
      Connection.openGate(near)
      await ask('and on')
      await world.sleep(30)
      expect(came).toEqual(['and on'])
    })
  })

  it('tells who waited for credit that nothing will be opened here: mux R51', async () => {
    await polarised(async ({ near }) => {
      await near.openBidirectional()
      const waiting = Promise.allSettled([near.openBidirectional(), near.openBidirectional()])
      Connection.reverse(near)
      expect((await waiting).map((outcome) => outcome.status === 'rejected' && (outcome.reason as StreamError).code)).toEqual(['QB_STREAM_WRONG_WAY', 'QB_STREAM_WRONG_WAY'])
    }, {}, { limits: { bidirectionalStreams: 1 } })
  })

  it('hears of the end within a round trip while the gate is shut: reverse V24', async () => {
    await polarised(async ({ world, near, far, reverse, ask, came }) => {
      reverse()
      await ask('never read')
      await world.sleep(100)
      const before = world.nowMs
      void far.close({ code: 6, drainMs: 0 })
      const info = await near.closed
      expect([info.errorCode, info.by, world.nowMs - before <= 20, came]).toEqual([6n, 'peer', true, []])
    })
  })

  it('is one over a carrier of the user\'s as well: mux R50', async () => {
    const { cert, key } = createDevCertificate({ kind: 'ed25519' })
    const arrivals = ({ bytes, segmentBytes, segments, local, remote, ecn }: CarrierBurst): CarrierDatagram[] =>
      Array.from({ length: segments }, (_, index) => ({ bytes: bytes.subarray(index * segmentBytes, (index + 1) * segmentBytes), local: remote, remote: local, ecn }))
    const client: CarrierEndpoint = Endpoint.carrier({ maxDatagramSizeBytes: 1452, local: '10.0.0.1:7', send: (burst) => server.receive(arrivals(burst)) })
    const server: CarrierEndpoint = Endpoint.carrier({ maxDatagramSizeBytes: 1452, local: '10.0.0.2:4433', server: { cert, key, alpn: ALPN }, send: (burst) => client.receive(arrivals(burst)) })
    for (const endpoint of [client, server]) serviceOf(endpoint)?.polarise(ALPN, WRONG_WAY)
    const incoming = server.incoming()
    const near = await client.connect('10.0.0.2:4433', { alpn: ALPN, ca: cert, serverName: 'localhost' })
    const far = (await incoming.next()).value as Connection
    for (const connection of [far, near]) Connection.reverse(connection)
    const asked = await far.openBidirectional()
    asked.write(Buffer.from('request'))
    asked.end()
    const first = near.incomingBidirectional().next()
    expect(await Promise.race([first, far.ping().then(({ path }) => path)])).toBe(0)
    Connection.openGate(near)
    expect(Buffer.from((await (await first).value?.bytes()) ?? []).toString()).toBe('request')
    await Promise.all([client.close({ drainMs: 0 }), server.close({ drainMs: 0 })])
  })

  it('is one only while somebody wants it, and only with its protocol: mux R50', async () => {
    const { world, client, server, tls } = World.pair([{ delayMs: 5 }])
    await world.run(async () => {
      const far = await server.bind({ server: { ...tls, alpn: [ALPN, 'other'] } })
      const near = await client.bind()
      const incoming = far.incoming()
      const meet = async (alpn: string): Promise<[Connection, Connection]> => {
        const dialled = await near.connect(far.local[0] ?? '', { alpn, ca: tls.ca, serverName: 'server' })
        return [dialled, (await incoming.next()).value as Connection]
      }
      const service = serviceOf(far) as NonNullable<ReturnType<typeof serviceOf>>
      const undo = [service.polarise(ALPN, WRONG_WAY), service.polarise(ALPN, WRONG_WAY)]
      const opens = async (alpn: string): Promise<string> => (await meet(alpn))[1].openUnidirectional().then(() => 'opens', (error: StreamError) => error.code)
      expect([await opens(ALPN), await opens('other')]).toEqual(['QB_STREAM_WRONG_WAY', 'opens'])
      undo[0]?.()
      undo[0]?.()
      expect(await opens(ALPN)).toBe('QB_STREAM_WRONG_WAY')
      undo[1]?.()
      expect(await opens(ALPN)).toBe('opens')
      const [, ordinary] = await meet('other')
      expect(() => Connection.reverse(ordinary)).toThrowError('not reversed')
      await Promise.all([near.close(), far.close()])
    })
  })
})
