/** `verify` as a gate, over the native module and loopback: no byte of an application is sent or delivered before its answer, at either end, and one answer counts. */
import { afterEach, describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import type { Connection, Verify } from '../../src/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { closeAll, identity, nativePair, relayTo, until } from '../native/pair.ts'
import { packetKinds } from './packets.ts'

afterEach(closeAll)

/** Long enough for many round trips of loopback; on a slow machine fewer bytes have the time to come too early. */
const WHILE_MS = 150

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** A function that answers when it is told to. */
function held(): { verify: Verify; asked: () => number; answer: Promise<(error?: Error) => void> } {
  let asked = 0
  let say: (answer: (error?: Error) => void) => void = () => {}
  const answer = new Promise<(error?: Error) => void>((resolve) => { say = resolve })
  return {
    answer, asked: () => asked,
    verify: () => new Promise<void>((resolve, reject) => {
      asked += 1
      say((error) => (error === undefined ? resolve() : reject(error)))
    }),
  }
}

/** What comes to an end, as it comes. */
function heard(connection: Connection): string[] {
  const words: string[] = []
  void (async () => { for await (const stream of connection.incomingUnidirectional()) words.push(Buffer.from(await stream.bytes().catch(() => Buffer.from('cut'))).toString()) })()
  void (async () => { for await (const batch of connection.datagrams.batches()) words.push(...batch.map((message) => Buffer.from(message).toString())) })()
  return words
}

/** Says the words on a stream and in a message as soon as the engine takes them; what it refuses is not said. */
function speak(connection: Connection, words: string): void {
  void (async () => {
    const stream = await connection.openUnidirectional()
    stream.write(Buffer.from(words))
    stream.end()
    connection.datagrams.send(Buffer.from(words))
  })().catch(() => {})
}

function nextOf(endpoint: { connections$: Connection['endpoint']['connections$'] }): Promise<Connection> {
  return new Promise((resolve) => {
    const watching = endpoint.connections$.subscribe((connection) => {
      watching.unsubscribe()
      resolve(connection)
    })
  })
}

describe.skipIf(!MODULE_BUILT)('before the answer of a client\'s function', () => {
  it.each(['accepts', 'refuses'])('nothing that the server said is delivered, and nothing of the client leaves; then it %s', async (verdict) => {
    const gate = held()
    const pair = await nativePair({ server: { halfRttData: true } })
    const fromClient: Buffer[] = []
    const relay = await relayTo(pair.server.local[0] ?? '', 0, (bytes, from) => void (from === 'client' && fromClient.push(Buffer.from(bytes))))
    const [nearing, faring] = [nextOf(pair.client), pair.server.incoming().next()]
    const connecting = pair.client.connect(relay.address, { alpn: 'test', verify: gate.verify, multipath: 'off' }).then(() => 'open', (error: { code: string }) => error.code)
    const near = await nearing
    const far = (await faring).value as Connection
    speak(far, 'half a round trip')
    speak(near, 'too early')
    const words = { near: heard(near), far: heard(far) }
    const answer = await gate.answer
    await sleep(WHILE_MS)
    expect([near.state, near.confirmed instanceof Promise, words.near, words.far]).toEqual(['handshaking', true, [], []])
    expect(fromClient.flatMap((bytes) => packetKinds(bytes)).filter((kind) => kind === '1rtt' || kind === '0rtt')).toEqual([])
    answer(verdict === 'accepts' ? undefined : new Error('no'))
    if (verdict === 'accepts') {
      expect(await connecting).toBe('open')
      await until(() => words.near.length === 2 && words.far.length === 2)
      expect([words.near, words.far]).toEqual([Array(2).fill('half a round trip'), Array(2).fill('too early')])
    } else {
      expect(await connecting).toBe('QB_TLS_CERTIFICATE')
      await Promise.all([near.closed, far.closed])
      expect([words.near, words.far]).toEqual([[], []])
    }
    relay.close()
  })
})

describe.skipIf(!MODULE_BUILT)('before the answer of a server\'s function', () => {
  it.each(['accepts', 'refuses'])('nothing that the client said is delivered, and nothing of the server is heard; then it %s', async (verdict) => {
    const gate = held()
    const pair = await nativePair({ server: { clientAuth: 'require', verify: gate.verify } })
    const faring = nextOf(pair.server)
    // A client is done before the server has looked.
    const near = await pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: pair.own.cert, ...identity(createDevCertificate()) })
    const far = await faring
    const words = { near: heard(near), far: heard(far) }
    speak(near, 'too early')
    speak(far, 'to a stranger')
    const answer = await gate.answer
    await sleep(WHILE_MS)
    expect([near.state, far.state, words.near, words.far, far.statistics().streamBytesReceived]).toEqual(['open', 'handshaking', [], [], 0])
    answer(verdict === 'accepts' ? undefined : new Error('no'))
    if (verdict === 'accepts') {
      await far.opened
      await until(() => words.near.length >= 1 && words.far.length === 2)
      expect([words.near[0], words.far]).toEqual(['to a stranger', Array(2).fill('too early')])
    } else {
      expect((await near.closed).error).toMatchObject({ code: 'QB_TLS_ALERT', by: 'peer', errorCode: 0x12an })
      expect((await far.closed).error).toMatchObject({ code: 'QB_TLS_CERTIFICATE', by: 'local' })
      expect([words.near, words.far]).toEqual([[], []])
    }
  })
})

describe.skipIf(!MODULE_BUILT)('the answer of a function', () => {
  const dial = (pair: Awaited<ReturnType<typeof nativePair>>, verify: Verify, verifyTimeoutMs = 5000): Promise<Connection> =>
    pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', verify, verifyTimeoutMs })

  it.each<[string, Verify, RegExp]>([
    ['a throw', () => { throw new Error('thrown') }, /thrown/],
    ['a rejection', () => Promise.reject(new Error('rejected')), /rejected/],
    ['a rejection with no error', () => Promise.reject('no reason'), /no reason/],
    ['another answer', (() => true) as unknown as Verify, /answered boolean/],
    ['another answer in time', (async () => 'yes') as unknown as Verify, /answered string/],
  ])('that is %s refuses', async (_what, verify, message) => {
    await expect(dial(await nativePair(), verify)).rejects.toMatchObject({ code: 'QB_TLS_CERTIFICATE', by: 'local', message: expect.stringMatching(message) })
  })

  it('that comes too late, or never, changes nothing more', async () => {
    const pair = await nativePair()
    const gate = held()
    await expect(dial(pair, gate.verify, 20)).rejects.toMatchObject({ code: 'QB_TLS_CERTIFICATE', message: expect.stringContaining('20 ms') })
    const answer = await gate.answer
    answer()
    await expect(dial(pair, () => new Promise(() => {}), 20)).rejects.toMatchObject({ code: 'QB_TLS_CERTIFICATE' })
    await sleep(20)
    expect([gate.asked(), pair.client.connections.size]).toEqual([1, 0])
    await until(() => pair.server.connections.size === 0)
    // The endpoint is as good as before.
    expect((await dial(pair, () => {})).state).toBe('open')
  })

  it('is asked for one handshake while others go on', async () => {
    const pair = await nativePair()
    const gate = held()
    const waiting = dial(pair, gate.verify)
    const answer = await gate.answer
    for (let index = 0; index < 3; index++) expect((await pair.connect()).near.state).toBe('open')
    answer()
    expect((await waiting).state).toBe('open')
  })

  it('is not asked for when the peer is gone, and what is left of it harms nobody', async () => {
    const gate = held()
    const pair = await nativePair()
    const connecting = dial(pair, gate.verify).then(() => 'open', (error: { code: string }) => error.code)
    const answer = await gate.answer
    for (const connection of pair.client.connections) connection.destroy()
    expect(await connecting).toBe('QB_CONNECTION_DESTROYED')
    answer()
    await sleep(20)
    expect(pair.client.connections.size).toBe(0)
  })
})
