/** Rows I of docs/spec/attacks.md that need no long run: calls at the wrong time, callbacks that fail, streams that nobody reads, copies of the package. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import type { BidirectionalStream, Connection, Endpoint, ReceiveStream } from '../../src/index.ts'
import { isQuicbraidError } from '../../src/index.ts'
import { BUILT, MODULE, MODULE_BUILT } from '../native/built.ts'
import { closeAll, nativePair, until } from '../native/pair.ts'
import { collect } from './collect.ts'
import { onPurpose } from './strays.ts'

afterEach(closeAll)

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const COPIES = fileURLToPath(new URL('copies.mjs', import.meta.url))

/** Every call of an endpoint, a connection and a stream. */
function calls(endpoint: Endpoint, connection: Connection, stream: BidirectionalStream): Record<string, () => unknown> {
  return {
    connect: () => endpoint.connect('127.0.0.1:9', { alpn: 'test', ca: 'none' }), listen: () => endpoint.unlisten(), incoming: () => endpoint.incoming().next(),
    statistics: () => endpoint.statistics(), now: () => endpoint.now(), ref: () => endpoint.ref().unref(), closeEndpoint: () => endpoint.close(), destroyEndpoint: () => endpoint.destroy(),
    bidi: () => connection.openBidirectional(), uni: () => connection.openUnidirectional(), take: () => connection.incomingBidirectional().next(),
    ping: () => connection.ping(), update: () => connection.updateKey(), numbers: () => connection.statistics(), explain: () => String(connection.explain()),
    close: () => connection.close(), destroy: () => connection.destroy(), plan: () => connection.bursts.plan(0), open: () => connection.paths.open({}), paths: () => connection.paths.ready({ count: 9 }),
    datagram: () => connection.datagrams.send(Uint8Array.of(1)), batches: () => connection.datagrams.batches().next(), space: () => connection.spaces.application().state,
    write: () => stream.write(Uint8Array.of(1)), ready: () => stream.ready(), end: () => stream.end(), finished: () => stream.finished, reset: () => stream.reset(), stop: () => stream.stop(),
    priority: () => stream.setPriority({}), bytes: () => stream.bytes(), closed: () => stream.closed, destroyStream: () => stream.destroy(), dispose: () => stream[Symbol.asyncDispose](),
  }
}

/** Makes every call at once, twice; answers what never settled and what was thrown and is not ours. */
async function callAll(all: Record<string, () => unknown>): Promise<string[]> {
  const wrong: string[] = []
  const late = new Promise<'late'>((resolve) => setTimeout(() => resolve('late'), 8000).unref())
  await Promise.all([...Object.entries(all), ...Object.entries(all)].map(async ([name, call]) => {
    try {
      if ((await Promise.race([(async () => call())(), late])) === 'late') wrong.push(`${name} does not settle`)
    } catch (error) {
      if (!isQuicbraidError(error)) wrong.push(`${name}: ${String(error)}`)
    }
  }))
  return wrong
}

async function together(): Promise<{ client: Endpoint; server: Endpoint; near: Connection; far: Connection; mine: BidirectionalStream; theirs: BidirectionalStream }> {
  const { client, server, connect } = await nativePair()
  const { near, far } = await connect()
  const mine = await near.openBidirectional()
  mine.write(Uint8Array.of(1))
  const theirs = (await far.incomingBidirectional().next()).value as BidirectionalStream
  return { client, server, near, far, mine, theirs }
}

describe.skipIf(!MODULE_BUILT)('calls at the wrong time', () => {
  it('attack I1: after the end, twice and all at once, settle or reject with an error of ours', async () => {
    const { client, near, mine } = await together()
    await near.close()
    expect(await callAll(calls(client, near, mine))).toEqual([])
    await client.closed
    expect(await callAll(calls(client, near, mine))).toEqual([])
  }, 30_000)

  it('attack I1: from the callbacks of the end itself settle too, and what others were told stays told', async () => {
    const { client, near, far, mine, theirs } = await together()
    const wrong: Promise<string[]>[] = []
    const all = calls(client, near, mine)
    near.events$.subscribe((event) => { if (event.type === 'closing') wrong.push(callAll(all)) })
    void mine.closed.then(() => wrong.push(callAll(all)))
    theirs.toDuplex().on('error', () => wrong.push(callAll(calls(far.endpoint, far, theirs))))
    far.destroy(new Error('on purpose'))
    await near.closed
    await until(() => wrong.length >= 3, 10_000)
    expect((await Promise.all(wrong)).flat()).toEqual([])
  }, 30_000)

  it('attack I2: a subscriber, a logger and a code mapping that throw disturb nobody else', async () => {
    const seen = await onPurpose(['uncaughtException', 'warning'], async () => {
      const { connect } = await nativePair({ atClient: { logger: { warn: () => fails('logger'), debug: () => fails('logger') } } })
      const { near, far } = await connect({ streamCodes: { toCode: () => fails('toCode'), toReason: () => fails('toReason') } })
      near.events$.subscribe(() => fails('subscriber'))
      const { near: other, far: otherFar } = await connect()
      const stream = await near.openBidirectional()
      stream.write(Uint8Array.of(1))
      const theirs = (await far.incomingBidirectional().next()).value as BidirectionalStream
      theirs.reset(5)
      await expect(stream.bytes()).rejects.toMatchObject({ code: 'QB_STREAM_RESET', errorCode: 5n })
      stream.destroy(new Error('a reason'))
      await near.close()
      const uni = await other.openUnidirectional()
      uni.write(Buffer.from('alive'))
      uni.end()
      const read = (await otherFar.incomingUnidirectional().next()).value as ReceiveStream
      expect(Buffer.from(await read.bytes()).toString()).toBe('alive')
      await closeAll()
    })
    // A logger that fails is told of once.
    expect(seen.filter(({ name }) => name === 'QuicbraidWarning').map(({ message }) => message)).toEqual(['the logger failed: logger'])
    expect(new Set(seen.filter(({ name }) => name !== 'QuicbraidWarning').map(({ message }) => message))).toEqual(new Set(['subscriber']))
  })

  it('attack I3: a stream that nobody reads stops its sender; leaving its loop tells it to stop', async () => {
    const { near, far, mine, theirs } = await together()
    let accepted = 0
    for (let idle = 0; idle < 20; await new Promise((resolve) => setTimeout(resolve, 5))) {
      const taken = mine.write(Buffer.alloc(65_536))
      accepted += taken
      idle = taken > 0 ? 0 : idle + 1
    }
    // What the windows let through, and the send buffer; nobody reads, so no window grows.
    expect(theirs.bytesReceived).toBeLessThanOrEqual(524_288)
    expect(accepted).toBeLessThanOrEqual(theirs.bytesReceived + 2 * 262_144)
    for await (const batch of theirs) {
      expect(batch.length).toBeGreaterThan(0)
      break
    }
    await expect(mine.finished).rejects.toMatchObject({ code: 'QB_STREAM_STOPPED', by: 'peer' })
    expect([near.state, far.state]).toEqual(['open', 'open'])
  })

  it('attack I4: a blocked event loop loses no connection: the core answers beside it', async () => {
    const { connect } = await nativePair({ server: { limits: { idleTimeoutMs: 1500 } } })
    const { near, far } = await connect({ limits: { idleTimeoutMs: 1500, keepAliveMs: 200 } })
    await near.confirmed
    const end = performance.now() + 4000
    while (performance.now() < end);
    const stream = await near.openUnidirectional()
    stream.write(Buffer.from('still here'))
    stream.end()
    const read = (await far.incomingUnidirectional().next()).value as ReceiveStream
    expect(Buffer.from(await read.bytes()).toString()).toBe('still here')
  }, 30_000)

  it('attack I7: buffers may be moved, shrunk or collected as soon as a call has returned, under constant collection', async () => {
    const { near, far } = await together()
    const stream = await near.openUnidirectional()
    const reading = far.incomingUnidirectional().next().then(({ value }) => (value as ReceiveStream).bytes())
    const lengths = [1, 1000, 65_536, 200_000]
    for (const [index, length] of lengths.entries()) {
      const bytes = new Uint8Array(length).fill(index + 1)
      for (let at = 0; at < length; await stream.ready()) at += stream.write(bytes.subarray(at))
      structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
      expect(bytes.length).toBe(0)
      await collect(1)
    }
    stream.end()
    const got = await reading
    expect(got.length).toBe(lengths.reduce((sum, length) => sum + length, 0))
    let at = 0
    for (const [index, length] of lengths.entries()) {
      expect(got.subarray(at, at + length).every((byte) => byte === index + 1)).toBe(true)
      at += length
    }
  }, 30_000)

  it('attack I10: leaving, failing and coming late to observables leaves nothing behind', async () => {
    const { near, far } = await together()
    let seen = 0
    const sampling = near.metrics$.subscribe(() => {
      seen += 1
      if (seen === 2) sampling.unsubscribe()
    })
    await until(() => sampling.closed)
    const twice = near.events$.subscribe((event) => { if (event.type === 'stream') twice.unsubscribe() })
    await near.openBidirectional()
    expect(twice.closed).toBe(true)
    await far.close()
    await near.closed
    const late = await Promise.all(['events$', 'metrics$', 'handshake$'].map((name) => new Promise((resolve) => (near[name as 'events$']).subscribe({ complete: () => resolve(name) }))))
    expect(late).toEqual(['events$', 'metrics$', 'handshake$'])
  })

  it('attack I12: no key of an endpoint can be read from what it prints', async () => {
    const { own, client, server, connect } = await nativePair({ atServer: { secret: Buffer.alloc(32, 0x5a) } })
    const { near, far } = await connect()
    const printed = [client, server, near, far].map((thing) => inspect(thing, { depth: 8, showHidden: true })).join('\n')
    expect(printed).not.toContain(own.key.split('\n')[1])
    expect(printed).not.toContain('5a5a5a5a')
  })
})

describe.skipIf(!BUILT)('copies of the package', () => {
  it('attack I11: live in one process, from import, require, a second copy and another version, and talk to each other', () => {
    const older = otherVersion()
    try {
      const { status, stdout, stderr } = spawnSync(process.execPath, [COPIES, join(ROOT, 'dist'), join(older, 'dist')], { encoding: 'utf8' })
      expect([status, stdout.trim(), stderr]).toEqual([0, 'esm cjs copy older', ''])
    } finally {
      rmSync(older, { recursive: true, force: true })
    }
  }, 60_000)
})

/** The package as a folder of its own, with its own file of the native module. */
function otherVersion(): string {
  mkdirSync(join(ROOT, '.tmp'), { recursive: true })
  const folder = mkdtempSync(join(ROOT, '.tmp/older-'))
  cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true })
  mkdirSync(join(folder, 'native/binding'), { recursive: true })
  cpSync(MODULE, join(folder, 'native/binding', basename(MODULE)))
  const about = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ ...about, version: `${about.version}-older` }))
  return folder
}

function fails(what: string): never {
  throw new Error(what)
}
