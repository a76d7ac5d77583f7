/**
 * What anybody on the network can send, in random order, against one endpoint that serves honest clients (attacks K9; what holders of keys can do
 * is in `native/qsim/tests/hostile.rs`): noise, copies, changed and cut datagrams, beginnings of connections that never go on, packets of nobody.
 * The long form is `npm run torture -- storm`.
 */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { afterEach, describe, expect, it } from 'vitest'
import type { Connection } from '../../src/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { closeAll, nativePair, relayTo, until } from '../native/pair.ts'
import { collect } from './collect.ts'
import { pattern } from './model.ts'
import { progress, RUNS } from './torture.ts'

afterEach(closeAll)

const MIB = 1_048_576
/** Of all datagrams so far, for the attacker's copies. */
const KEPT = 400
const SEED = 0x5eed

/** Small and even enough; the same in each run. */
function randoms(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

type Random = (below: number) => number

function noise(random: Random, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at++) bytes.writeUInt8(random(256), at)
  return bytes
}

function long(random: Random, kind: number, version: number, length: number): Buffer {
  const head = Buffer.from([0xc0 | (kind << 4) | random(16), 0, 0, 0, 0, 8])
  head.writeUInt32BE(version, 1)
  const rest = Buffer.concat([head, noise(random, 8), Buffer.from([8]), noise(random, 8), Buffer.from([0, 0x44, 0x9e])])
  return Buffer.concat([rest, noise(random, Math.max(0, length - rest.length))])
}

/** Each makes one datagram; `copy` answers one that was sent before. */
const ATTACKS: Record<string, (random: Random, copy: () => Buffer) => Buffer> = {
  noise: (random) => noise(random, random(1500)),
  replay: (_random, copy) => copy(),
  bits: (random, copy) => {
    const bytes = Buffer.from(copy())
    for (let count = 1 + random(4); count > 0 && bytes.length > 0; count--) {
      const at = random(bytes.length)
      bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random(8)), at)
    }
    return bytes
  },
  cut: (random, copy) => {
    const bytes = copy()
    return bytes.subarray(0, random(bytes.length + 1))
  },
  longer: (random, copy) => Buffer.concat([copy(), noise(random, random(200))]),
  initial: (random) => long(random, 0, 1, 1200),
  'short initial': (random) => long(random, 0, 1, 60 + random(1000)),
  'other version': (random) => long(random, 0, 0x1a2a3a4a, 1200),
  negotiation: (random) => long(random, 0, 0, 40 + 4 * random(60)),
  handshake: (random) => long(random, 2, 1, 1200),
  retry: (random) => long(random, 3, 1, 100),
  nobody: (random) => Buffer.concat([Buffer.from([0x40 | random(64)]), noise(random, 20 + random(1180))]),
  empty: () => Buffer.alloc(0),
}

interface Attacker {
  socket: Socket
  sent: number
  got: number
}

async function attackers(count: number): Promise<Attacker[]> {
  return Promise.all(Array.from({ length: count }, () => new Promise<Attacker>((resolve) => {
    const one: Attacker = { socket: createSocket('udp4'), sent: 0, got: 0 }
    one.socket.on('message', (bytes) => { one.got += bytes.length })
    one.socket.bind(0, '127.0.0.1', () => resolve(one))
  })))
}

/** Asks once and checks the answer. */
async function honest(near: Connection, length: number): Promise<void> {
  const stream = await near.openBidirectional()
  const sent = pattern(stream.id, 0, length)
  for (let at = 0; at < length; await stream.ready()) at += stream.write(sent.subarray(at))
  stream.end()
  expect(Buffer.compare(await stream.bytes(), sent)).toBe(0)
}

describe.skipIf(!MODULE_BUILT)('a storm from the network', () => {
  it('attack K9: harms no honest connection, is answered with less than it sends, and leaves nothing', async () => {
    const datagrams = RUNS ?? 3000
    const told = progress('rounds of fifty datagrams', Math.ceil(datagrams / 50))
    const random = randoms(SEED)
    const copies: Buffer[] = []
    const limits = { handshakeTimeoutMs: 60_000, idleTimeoutMs: 120_000 }
    const pair = await nativePair({ server: { limits: { ...limits, handshakeTimeoutMs: 500 } }, atClient: { local: '127.0.0.1:0' } })
    const relay = await relayTo(pair.server.local[0] ?? '', 0, (bytes) => { copies[copies.length < KEPT ? copies.length : random(KEPT)] = Buffer.from(bytes) })
    void (async () => {
      for await (const far of pair.server.incoming()) void (async () => { for await (const stream of far.incomingBidirectional()) void stream.readable.pipeTo(stream.writable as never).catch(() => {}) })()
    })()
    const dial = (address: string): Promise<Connection> => pair.client.connect(address, { alpn: 'test', ca: pair.own.cert, serverName: 'localhost', multipath: 'off', limits })
    const steady = await Promise.all([dial(pair.server.local[0] ?? ''), dial(relay.address)])
    await Promise.all(steady.map((near) => honest(near, 50_000)))
    const enemies = await attackers(4)
    const targets = [pair.server, pair.client].map(({ local }) => Number(local[0]?.split(':')[1]))
    const names = Object.keys(ATTACKS)
    let rss = 0
    for (let sent = 0, round = 0; sent < datagrams; round++) {
      for (let burst = 0; burst < 50; burst++, sent++) {
        const enemy = enemies[random(enemies.length)] as Attacker
        const bytes = ATTACKS[names[random(names.length)] ?? 'noise']?.(random, () => copies[random(copies.length)] as Buffer) ?? Buffer.alloc(0)
        enemy.sent += bytes.length
        enemy.socket.send(bytes, targets[random(5) === 0 ? 1 : 0] ?? 0, '127.0.0.1')
      }
      await new Promise((resolve) => setImmediate(resolve))
      if (round % 10 === 0) {
        const near = await dial(pair.server.local[0] ?? '')
        await Promise.all([...steady, near].map((one) => honest(one, 3000 + random(20_000))))
        await near.close({ drainMs: 100 })
      }
      told()
      if (RUNS !== null && sent >= datagrams / 3 && rss === 0) {
        await collect(2)
        rss = process.memoryUsage().rss
      }
    }
    for (const { sent, got } of enemies) expect(got).toBeLessThanOrEqual(3 * sent)
    expect(pair.server.statistics().halfOpen).toBeLessThanOrEqual(1000)
    // What began and did not go on has its time, and then has gone.
    await until(() => pair.server.connections.size === steady.length, 60_000)
    expect(steady.map(({ state }) => state)).toEqual(['open', 'open'])
    expect(Object.values(pair.server.statistics().drops).reduce((sum, drops) => sum + drops, 0)).toBeGreaterThan(datagrams / 4)
    if (RUNS !== null) {
      await collect(2)
      const now = process.memoryUsage().rss
      process.stderr.write(`resident ${(rss / MIB).toFixed(0)} MiB after a third, ${(now / MIB).toFixed(0)} MiB at the end; drops ${JSON.stringify(pair.server.statistics().drops)}\n`)
      expect(now - rss).toBeLessThan(32 * MIB)
    }
    for (const { socket } of enemies) socket.close()
    relay.close()
  }, 86_400_000)
})
