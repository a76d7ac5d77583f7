/** Endpoints over carriers of datagrams in JavaScript, with the native module: no socket and no thread of ours. */
import { createSocket } from 'node:dgram'
import * as fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { createDevCertificate, Endpoint } from '../../src/index.ts'
import type { CarrierBurst, CarrierEndpoint, CarrierOptions, Clock, Connection, RawDatagram, Scheduler } from '../../src/index.ts'
import { pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from './built.ts'
import { closeAll, nativePair, until } from './pair.ts'

let open: Endpoint[] = []

afterEach(async () => {
  const endpoints = open
  open = []
  await Promise.all(endpoints.map((endpoint) => endpoint.close({ drainMs: 0 })))
  await closeAll()
})

const OWN = MODULE_BUILT ? createDevCertificate({ kind: 'ed25519' }) : { cert: '', key: '' }
const SERVER = { alpn: 'test', cert: OWN.cert, key: OWN.key }
const SERVER_ADDRESS = '10.0.0.2:4433'

function carrier(options: CarrierOptions): CarrierEndpoint {
  const endpoint = Endpoint.carrier(options)
  open.push(endpoint)
  return endpoint
}

/** A burst as the datagrams that the other end receives. */
function datagramsOf({ bytes, segmentBytes, segments, local, remote, ecn }: CarrierBurst): { bytes: Uint8Array; local: string; remote: string; ecn: CarrierBurst['ecn'] }[] {
  return Array.from({ length: segments }, (_, index) => ({ bytes: bytes.subarray(index * segmentBytes, (index + 1) * segmentBytes), local: remote, remote: local, ecn }))
}

interface Joined {
  client: CarrierEndpoint
  server: CarrierEndpoint
  bursts: CarrierBurst[]
  connect(more?: object): Promise<{ near: Connection; far: Connection }>
}

/** Two endpoints of one process, joined in memory. `through` answers as `send` does, for the client's bursts. */
function joined(options: { client?: Partial<CarrierOptions>; server?: Partial<CarrierOptions>; through?: (burst: CarrierBurst, pass: () => void) => number | void } = {}): Joined {
  const bursts: CarrierBurst[] = []
  const client = carrier({
    maxDatagramSizeBytes: 1452, local: '10.0.0.1:7',
    send: (burst) => {
      bursts.push(burst)
      const pass = (): void => server.receive(datagramsOf(burst))
      if (options.through === undefined) pass()
      else return options.through(burst, pass)
    },
    ...options.client,
  })
  const server = carrier({ maxDatagramSizeBytes: 1452, local: SERVER_ADDRESS, server: SERVER, send: (burst) => client.receive(datagramsOf(burst)), ...options.server })
  const incoming = server.incoming()
  return {
    client, server, bursts,
    connect: async (more = {}) => {
      const [near, far] = await Promise.all([client.connect(SERVER_ADDRESS, { alpn: 'test', ca: OWN.cert, serverName: 'localhost', ...more }), incoming.next()])
      return { near, far: far.value as Connection }
    },
  }
}

async function transfer(near: Connection, far: Connection, bytes: number): Promise<void> {
  const stream = await near.openBidirectional()
  const sent = pattern(bytes)
  const echo = (async () => {
    const theirs = (await far.incomingBidirectional().next()).value
    if (theirs === undefined) throw new Error('no stream')
    await theirs.readable.pipeTo(theirs.writable)
  })()
  const writer = stream.writable.getWriter()
  const writing = (async () => {
    for (let at = 0; at < bytes; at += 65_536) await writer.write(sent.subarray(at, at + 65_536))
    await writer.close()
  })()
  const back = await stream.bytes()
  await Promise.all([echo, writing])
  expect(Buffer.from(back).equals(sent)).toBe(true)
}

describe.skipIf(!MODULE_BUILT)('a carrier endpoint', () => {
  it('exchanges streams and messages with another one in memory', async () => {
    const { client, server, bursts, connect } = joined()
    expect([client.driver, client.local, server.listening]).toEqual(['carrier', ['10.0.0.1:7'], true])
    const { near, far } = await connect()
    expect([near.remote, far.remote, far.local]).toEqual([SERVER_ADDRESS, '10.0.0.1:7', SERVER_ADDRESS])
    await transfer(near, far, 2_000_000)
    near.datagrams.send(pattern(100))
    for await (const batch of far.datagrams.batches()) {
      expect(batch[0]).toEqual(Uint8Array.from(pattern(100)))
      break
    }
    expect(bursts.every(({ bytes, segments, segmentBytes }) => segmentBytes <= 1452 && Math.ceil(bytes.length / segmentBytes) === segments)).toBe(true)
    expect(Math.max(...bursts.map(({ segments }) => segments))).toBeGreaterThan(4)
    expect(bursts.some(({ path }) => path === 0)).toBe(true)
    await until(() => client.statistics().sendCalls === bursts.length)
    expect(client.statistics()).toMatchObject({ connections: 1, datagramsSent: bursts.reduce((sum, { segments }) => sum + segments, 0) })
    const info = await near.close({ code: 7, reason: 'done' })
    expect(info.by).toBe('local')
    expect(await far.closed).toMatchObject({ by: 'peer', errorCode: 7n, reason: 'done' })
  })

  it('uses two paths, which its carrier tells apart by their addresses', async () => {
    const { bursts, connect } = joined()
    const { near, far } = await connect({ paths: [{ local: '10.0.0.1:7' }, { local: '10.0.1.1', remote: '10.0.1.2:4433' }], scheduler: 'round-robin' })
    await near.paths.ready()
    await transfer(near, far, 1_000_000)
    const used = new Map(bursts.map(({ path, local, remote }) => [path, `${local} ${remote}`]))
    expect(used.get(0)).toBe('10.0.0.1:7 10.0.0.2:4433')
    expect(used.get(1)).toMatch(/^10\.0\.1\.1:\d+ 10\.0\.1\.2:4433$/)
    for (const path of near.paths) expect(path.statistics().bytesSent).toBeGreaterThan(100_000)
  })

  it('asks a scheduler for every burst', async () => {
    const { connect } = joined()
    let picks = 0
    const scheduler: Scheduler = {
      name: 'other',
      pick: ({ paths }) => {
        picks += 1
        return { path: paths.at(-1)?.id ?? 0, reason: 'the last one' }
      },
    }
    const { near, far } = await connect({ paths: [{ local: '10.0.0.1:7' }, { local: '10.0.1.1', remote: '10.0.1.2:4433' }], scheduler })
    await near.paths.ready()
    await transfer(near, far, 500_000)
    expect(picks).toBeGreaterThan(10)
    expect(near.paths.get(1)?.statistics().bytesSent).toBeGreaterThan(400_000)
  })

  it('talks over a dgram socket to an ordinary endpoint', async () => {
    const pair = await nativePair()
    const socket = createSocket('udp4')
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
    const endpoint = carrier({
      maxDatagramSizeBytes: 1452, local: `127.0.0.1:${socket.address().port}`,
      send: (burst) => {
        for (const { bytes, remote } of datagramsOf(burst)) socket.send(bytes, Number(burst.remote.split(':')[1]), '127.0.0.1', () => void remote)
      },
    })
    socket.on('message', (bytes, { address, port }) => endpoint.receive([{ bytes, remote: `${address}:${port}` }]))
    const incoming = pair.server.incoming()
    const [near, far] = await Promise.all([endpoint.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: pair.own.cert }), incoming.next()])
    await transfer(near, far.value as Connection, 1_000_000)
    const raw: RawDatagram[] = []
    endpoint.raw$.subscribe((datagram) => raw.push(datagram))
    pair.server.sendRaw(endpoint.local[0] ?? '', Uint8Array.of(1, 2))
    await until(() => raw.length === 1)
    expect(raw[0]).toMatchObject({ bytes: Uint8Array.of(1, 2), remote: pair.server.local[0], local: endpoint.local[0] })
    pair.server.raw$.subscribe((datagram) => raw.push(datagram))
    endpoint.sendRaw(pair.server.local[0] ?? '', Uint8Array.of(3))
    await until(() => raw.length === 2)
    expect(raw[1]?.bytes).toEqual(Uint8Array.of(3))
    await endpoint.close()
    socket.close()
  })

  it('sends no datagram that is longer than its carrier takes', async () => {
    const small = { maxDatagramSizeBytes: 1200 }
    const { bursts, connect } = joined({ client: small, server: small })
    const { near, far } = await connect({ limits: { maxMtuBytes: 9000 } })
    await transfer(near, far, 300_000)
    expect(Math.max(...bursts.map(({ segmentBytes }) => segmentBytes))).toBe(1200)
    expect(near.datagrams.maxDatagramSizeBytes).toBeLessThan(1200)
  })

  /** burst B-7: what the carrier does not take is cancelled and written again. */
  it('sends nothing more while its carrier is full, and everything once it takes more', async () => {
    let full = 0
    let writable = true
    const pair: Joined = joined({
      through: (burst, pass) => {
        expect(writable, 'no burst while the carrier is full').toBe(true)
        if (burst.segments < 4) return pass()
        full += 1
        const taken = burst.segments - 2
        pair.server.receive(datagramsOf(burst).slice(0, taken))
        writable = false
        setTimeout(() => {
          writable = true
          pair.client.writable()
        }, 3)
        return taken
      },
    })
    const { near, far } = await pair.connect()
    await transfer(near, far, 500_000)
    expect(full).toBeGreaterThan(5)
    await until(() => near.bursts.statistics().cancelledSegments >= 2 * full)
  })

  it('lives on with a carrier that throws, which loses what it throws at', async () => {
    let throws = 0
    const warnings: string[] = []
    const pair = joined({
      client: { logger: { warn: (message) => void warnings.push(message) } },
      through: (_burst, pass) => {
        throws += 1
        if (throws % 5 === 0) throw new Error('no way')
        pass()
      },
    })
    const { near, far } = await pair.connect()
    await transfer(near, far, 300_000)
    expect(warnings.length).toBeGreaterThan(0)
    expect(near.paths.get(0)?.statistics().sendErrors).toBeGreaterThan(0)
  })

  it('runs on a clock and a seed of the user, the same each time', async () => {
    const run = async (): Promise<{ sent: string[]; ms: number }> => {
      const clock = new SteppedClock()
      const sent: string[] = []
      const deliver = (to: () => CarrierEndpoint) => (burst: CarrierBurst): void => {
        sent.push(`${clock.now()} ${burst.local} ${Buffer.from(burst.bytes).toString('base64')}`)
        clock.setTimeout(() => to().receive(datagramsOf(burst)), 20)
      }
      const client: CarrierEndpoint = carrier({ maxDatagramSizeBytes: 1200, local: '10.0.0.1:7', clock, seed: 5, send: deliver(() => server) })
      const server: CarrierEndpoint = carrier({ maxDatagramSizeBytes: 1200, local: SERVER_ADDRESS, clock, seed: 6, server: SERVER, send: deliver(() => client) })
      const incoming = server.incoming().next()
      const stop = clock.run()
      const near = await client.connect(SERVER_ADDRESS, { alpn: 'test', verify: 'none' })
      const far = (await incoming).value as Connection
      await transfer(near, far, 50_000)
      const ms = (await near.opened).ms
      const lines = [...sent]
      client.destroy()
      server.destroy()
      await Promise.all([client.closed, server.closed])
      stop()
      return { sent: lines, ms }
    }
    const [first, second] = [await run(), await run()]
    expect(first.ms).toBe(40)
    expect(second.sent.length).toBeGreaterThan(20)
    expect(second.sent.slice(0, 20)).toEqual(first.sent.slice(0, 20))
  })

  it('refuses carriers that are too small and options that make no sense', () => {
    const send = (): void => {}
    expect(() => Endpoint.carrier({ send, maxDatagramSizeBytes: 1199 })).toThrow(expect.objectContaining({ code: 'QB_CARRIER_TOO_SMALL', name: 'EndpointError', value: { size: 1199, needed: 1200 } }))
    const cases: [object, string, string][] = [
      [{ maxDatagramSizeBytes: 1200 }, 'QB_OPTION_INVALID', 'send'],
      [{ send }, 'QB_OPTION_INVALID', 'maxDatagramSizeBytes'],
      [{ send, maxDatagramSizeBytes: 1200, seed: 1 }, 'QB_OPTION_INVALID', 'seed'],
      [{ send, maxDatagramSizeBytes: 1200, local: '10.0.0.1' }, 'QB_OPTION_INVALID', 'local'],
      [{ send, maxDatagramSizeBytes: 1200, clock: {} }, 'QB_OPTION_INVALID', 'clock'],
      [{ send, maxDatagramSizeBytes: 1200, reusePort: true }, 'QB_OPTION_UNKNOWN', 'reusePort'],
      [{ send, maxDatagramSizeBytes: 1200, server: { alpn: 'x' } }, 'QB_OPTION_INVALID', 'server.cert'],
    ]
    for (const [options, code, field] of cases) expect(() => Endpoint.carrier(options as CarrierOptions), field).toThrow(expect.objectContaining({ code, field }))
    const endpoint = carrier({ send, maxDatagramSizeBytes: 1200 })
    expect(endpoint.local).toEqual(['[100::1]:1', '192.0.0.8:1'])
    for (const wrong of [null, [null], [{ bytes: 'x', remote: '[::1]:1' }], [{ bytes: new Uint8Array(1), remote: 'nobody' }], [{ bytes: new Uint8Array(1), remote: '[fe80::1%eth0]:1' }], [{ bytes: new Uint8Array(1), remote: '[::1]:1', ecn: 'x' }]]) {
      expect(() => endpoint.receive(wrong as never)).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    }
  })

  it('takes any datagram without a throw, before, during and after its life', async () => {
    const { client, server, bursts, connect } = joined()
    const { near, far } = await connect()
    const real = bursts.flatMap(datagramsOf)
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 2000 }), fc.tuple(fc.nat(real.length - 1), fc.nat(1199), fc.nat(255)).map(([index, at, byte]) => {
      const copy = Uint8Array.from(real[index]?.bytes ?? [])
      copy[at % copy.length] = byte
      return copy
    }))
    const address = fc.constantFrom('10.0.0.1:7', '10.0.0.2:4433', '[2001:db8::7]:1', '0.0.0.0:5', '[::]:65535')
    const garbage = fc.array(fc.record({ bytes, remote: address, local: fc.option(address, { nil: undefined }), ecn: fc.constantFrom('not-ect', 'ect0', 'ect1', 'ce') }, { requiredKeys: ['bytes', 'remote'] }), { maxLength: 20 })
    await fc.assert(fc.asyncProperty(garbage, async (datagrams) => {
      const list = datagrams.map(({ local, ...rest }) => ({ ...rest, ...(local === undefined ? {} : { local }) })) as Parameters<CarrierEndpoint['receive']>[0]
      server.receive(list)
      client.receive(list)
      await new Promise((resolve) => setImmediate(resolve))
    }), { numRuns: 200 })
    server.receive([{ bytes: new Uint8Array(70_000), remote: '10.0.0.1:7' }])
    await transfer(near, far, 100_000)
    client.destroy()
    client.receive(real)
    await client.closed
    client.receive(real)
    client.writable()
    await new Promise((resolve) => setImmediate(resolve))
    expect(client.local).toEqual(['10.0.0.1:7'])
    await far.close({ drainMs: 0 })
  })

  it('lets its functions do what they like with it', async () => {
    let closing = false
    const pair: Joined = joined({
      through: (burst, pass) => {
        pair.client.statistics()
        for (const connection of pair.client.connections) String(connection.explain())
        pair.client.receive([{ bytes: burst.bytes.subarray(0, 30), remote: burst.remote }])
        pair.client.writable()
        if (closing) pair.client.destroy()
        pass()
      },
    })
    const { near, far } = await pair.connect()
    await transfer(near, far, 50_000)
    closing = true
    near.datagrams.send(Uint8Array.of(1))
    await pair.client.closed
    expect((await near.closed).by).toBe('local')
  })
})

/** Time goes on when the program has nothing to do. */
class SteppedClock implements Clock {
  #now = 0
  #timers: { at: number; run: () => void }[] = []

  now(): number {
    return this.#now
  }

  setTimeout(run: () => void, ms: number): unknown {
    const timer = { at: this.#now + ms, run }
    this.#timers.push(timer)
    return timer
  }

  clearTimeout(handle: unknown): void {
    this.#timers = this.#timers.filter((timer) => timer !== handle)
  }

  run(): () => void {
    const state = { going: true }
    void (async () => {
      while (state.going) {
        for (let turn = 0; turn < 30; turn++) await new Promise((resolve) => setImmediate(resolve))
        const next = this.#timers.reduce<{ at: number; run: () => void } | null>((least, timer) => (least === null || timer.at < least.at ? timer : least), null)
        if (next === null) continue
        this.clearTimeout(next)
        this.#now = Math.max(this.#now, next.at)
        next.run()
      }
    })()
    return () => { state.going = false }
  }
}
