/** Whom to let in: `admit`, attempts in hand, and every way a verdict can fail, over the fake engine. */
import { describe, expect, it } from 'vitest'
import type { Admit, AttemptFacts, ServerOptions } from '../../src/config/index.ts'
import type { Connection } from '../../src/connection/index.ts'
import { bindWith } from '../../src/endpoint/index.ts'
import type { Attempt } from '../../src/endpoint/index.ts'
import type { FakeEndpoint } from '../fake/endpoint.ts'
import { SERVER, codeOf, newNetwork, taken, turns, until, watchContract } from '../fake/pair.ts'

watchContract()

type World = ReturnType<typeof world>

function world(server: Partial<ServerOptions> = {}) {
  const network = newNetwork(['admit'])
  const warnings: string[] = []
  const logger = { warn: (message: string) => warnings.push(message) }
  const listening = bindWith(network.module, { local: '127.0.0.1:0', server: { ...SERVER, ...server }, logger })
  const client = bindWith(network.module)
  const engine = network.endpoints[0] as FakeEndpoint
  const connect = (): Promise<Connection> => client.connect(listening.local[0] ?? '', { alpn: 'test', ca: 'ca' })
  return { network, listening, client, engine, warnings, connect }
}

async function done({ listening, client }: World): Promise<void> {
  client.destroy()
  listening.destroy()
  await Promise.all([listening.closed, client.closed])
}

describe('admit', () => {
  it('is told what a client wants, and its word counts', async () => {
    const seen: AttemptFacts[] = []
    let verdict: 'accept' | 'refuse' = 'accept'
    const made = world({ admit: async (attempt) => {
      seen.push(attempt)
      return verdict
    } })
    const near = await made.connect()
    expect((await taken(made.listening.incoming())).role).toBe('server')
    expect(near.state).toBe('open')
    expect(seen).toEqual([{ remote: '127.0.0.1:40000', local: made.listening.local[0], serverName: '127.0.0.1', alpn: ['test'], validated: false }])
    verdict = 'refuse'
    expect(await codeOf(made.connect())).toBe('QB_CONNECT_REFUSED')
    await done(made)
  })

  it.each<[string, Admit, RegExp]>([
    ['throws', () => { throw new Error('broken') }, /admit failed/],
    ['rejects', async () => Promise.reject(new Error('broken')), /admit failed/],
    ['answers nonsense', (() => 'yes') as unknown as Admit, /admit answered 'yes'/],
  ])('that %s refuses, with a warning', async (_, admit, warning) => {
    const made = world({ admit })
    expect(await codeOf(made.connect())).toBe('QB_CONNECT_REFUSED')
    expect(made.warnings).toEqual([expect.stringMatching(warning)])
    await done(made)
  })

  it('that does not settle is overtaken by the engine, and its late word changes nothing', async () => {
    let answer = (): void => {}
    const made = world({ admit: () => new Promise((resolve) => { answer = () => resolve('accept') }) })
    const connecting = codeOf(made.connect())
    await until(() => made.engine.attempts.size === 1)
    await turns(3)
    made.network.expire(made.engine, 1)
    expect(await connecting).toBe('QB_CONNECT_REFUSED')
    await turns(3)
    answer()
    await turns(3)
    expect([made.engine.verdicts, made.warnings]).toEqual([[], ['a verdict of admit came too late']])
    await done(made)
  })

  it('is asked only while options name it', async () => {
    const made = world({ admit: () => 'ignore' })
    expect(made.engine.admission).toBe('ask')
    expect(() => made.listening.listen({ ...SERVER, key: 'bad' })).toThrow()
    expect(made.engine.admission).toBe('ask')
    made.listening.listen(SERVER)
    expect(made.engine.admission).toBe('open')
    expect((await made.connect()).state).toBe('open')
    await done(made)
  })

  it('is refused by name where the engine cannot ask', () => {
    const network = newNetwork()
    expect(() => bindWith(network.module, { server: { ...SERVER, admit: () => 'accept' } })).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID', field: 'server.admit' }))
  })
})

describe('attempts', () => {
  it('come one by one, and each takes one verdict', async () => {
    const made = world({ admit: () => { throw new Error('not asked') } })
    const attempts = made.listening.attempts()
    const connecting = made.connect()
    const attempt = await taken(attempts)
    expect(attempt).toMatchObject({ serverName: '127.0.0.1', alpn: ['test'], validated: false })
    const far = await attempt.accept()
    expect([far.role, far.state, (await connecting).state]).toEqual(['server', 'open', 'open'])
    expect(() => attempt.refuse()).toThrow(expect.objectContaining({ code: 'QB_ATTEMPT_DECIDED', name: 'EndpointError', message: expect.stringContaining('accept') }))
    expect(await codeOf(attempt.accept())).toBe('QB_ATTEMPT_DECIDED')
    const second = codeOf(made.connect())
    ;(await taken(attempts)).refuse()
    expect(await second).toBe('QB_CONNECT_REFUSED')
    void codeOf(made.connect())
    ;(await taken(attempts)).ignore()
    void codeOf(made.connect())
    ;(await taken(attempts)).retry()
    expect(made.engine.verdicts).toEqual(['accept', 'refuse', 'ignore', 'retry'])
    await done(made)
  })

  it('can be accepted on terms of their own, which are checked', async () => {
    const made = world()
    const attempts = made.listening.attempts()
    const connecting = made.connect()
    const attempt = await taken(attempts)
    await expect(attempt.accept({ limits: { idleTimeoutMs: -1 } })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: 'limits.idleTimeoutMs' })
    await expect(attempt.accept({ key: 'bad', cert: 'cert' })).rejects.toMatchObject({ code: 'QB_TLS_IDENTITY' })
    const far = await attempt.accept({ limits: { bidirectionalStreams: 1 } })
    await connecting
    const key = [...made.engine.connections.keys()][0] ?? 0
    expect(made.engine.connections.get(key)?.transport.limits.bidirectionalStreams).toBe(1)
    expect(made.listening.connections.has(far)).toBe(true)
    await done(made)
  })

  it('that nobody decides in time are refused, and say so', async () => {
    const made = world()
    const attempts = made.listening.attempts()
    const connecting = codeOf(made.connect())
    const attempt = await taken(attempts)
    made.network.expire(made.engine, 1)
    expect(await connecting).toBe('QB_CONNECT_REFUSED')
    await turns(3)
    expect(() => attempt.refuse()).toThrow(expect.objectContaining({ code: 'QB_ATTEMPT_DECIDED' }))
    await done(made)
  })

  it('are decided by nobody as soon as the loop is left', async () => {
    const made = world()
    const attempts = made.listening.attempts()
    const waiting = made.connect()
    await until(() => made.engine.attempts.size === 1)
    await turns(3)
    await attempts.return?.()
    expect((await waiting).state).toBe('open')
    expect(made.engine.admission).toBe('open')
    expect((await taken(made.listening.incoming())).state).toBe('open')
    expect((await made.connect()).state).toBe('open')
    await done(made)
  })

  it('end with their loop by abort, and with the endpoint', async () => {
    const made = world()
    const abort = new AbortController()
    const aborted = made.listening.attempts({ signal: abort.signal })
    const next = codeOf(aborted.next())
    abort.abort(Object.assign(new Error('enough'), { code: 'MINE' }))
    expect([await next, made.engine.admission]).toEqual(['MINE', 'open'])
    const ended = made.listening.attempts().next()
    await done(made)
    expect(await ended).toEqual({ done: true, value: undefined })
    expect(() => made.listening.attempts()).toThrow(expect.objectContaining({ code: 'QB_ENDPOINT_CLOSED' }))
  })

  it('need somebody who listens', () => {
    const client = bindWith(newNetwork(['admit']).module)
    expect(() => client.attempts()).toThrow(expect.objectContaining({ code: 'QB_NOT_LISTENING' }))
    client.destroy()
  })

  it('that become no connection reject what waits for them', async () => {
    const made = world()
    const attempts = made.listening.attempts()
    void codeOf(made.connect())
    const attempt: Attempt = await taken(attempts)
    made.engine.attempts.clear()
    expect(await codeOf(attempt.accept())).toBe('QB_ATTEMPT_DECIDED')
    await done(made)
  })
})
