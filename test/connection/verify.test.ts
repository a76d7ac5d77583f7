/** `verify` as a function, over the fake engine: one word each, whatever the function does. */
import { describe, expect, it, vi } from 'vitest'
import type { ServerOptions, Verify } from '../../src/config/index.ts'
import { bindWith } from '../../src/endpoint/index.ts'
import { SERVER, codeOf, newNetwork, turns, until, watchContract } from '../fake/pair.ts'

watchContract()

type Made = ReturnType<typeof made>

function made(server: Partial<ServerOptions> = {}) {
  const network = newNetwork(['verify', 'clientAuth'])
  const warnings: string[] = []
  const logger = { warn: (message: string) => warnings.push(message) }
  const listening = bindWith(network.module, { local: '127.0.0.1:0', server: { ...SERVER, ...server }, logger })
  const client = bindWith(network.module, { logger })
  return { network, listening, client, warnings, address: listening.local[0] ?? '' }
}

async function done({ listening, client }: Made): Promise<void> {
  await Promise.all([listening.close(), client.close()])
}

const connect = ({ client, address }: Made, verify: Verify, more: object = {}) => client.connect(address, { alpn: 'test', ca: 'ca', verify, ...more })

describe('verify', () => {
  it('is told who the peer is and what the default would say, and lets it in by returning', async () => {
    const world = made()
    const verify = vi.fn<Verify>(() => {})
    const connection = await connect(world, verify)
    expect(verify.mock.calls).toEqual([[{ chain: [Uint8Array.of(0, 1, 2)], fingerprint: 'AB', pin: 'sha256//x', names: ['localhost'], serverName: '127.0.0.1', defaultError: null }]])
    expect(connection.state).toBe('open')
    await done(world)
  })

  it('holds the handshake until its promise resolves', async () => {
    const world = made()
    let accept = (): void => {}
    const connecting = connect(world, () => new Promise((resolve) => { accept = resolve }))
    await turns(20)
    expect([...world.client.connections].map(({ state }) => state)).toEqual(['handshaking'])
    expect(world.listening.connections.size).toBe(1)
    accept()
    expect((await connecting).state).toBe('open')
    await done(world)
  })

  const mine = new Error('not my server')
  it.each<[string, Verify, unknown, RegExp]>([
    ['throws', () => { throw mine }, mine, /not my server/],
    ['rejects', async () => Promise.reject(mine), mine, /not my server/],
    ['rejects with no error', async () => Promise.reject('no'), 'no', /verify: no$/],
    ['answers something', (async () => false) as unknown as Verify, undefined, /answered boolean/],
  ])('refuses the peer when it %s', async (_, verify, cause, message) => {
    const world = made()
    const error: unknown = await connect(world, verify).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'QB_TLS_CERTIFICATE', errorCode: 0x12an, by: 'local', message: expect.stringMatching(message) })
    expect((error as Error).cause).toBe(cause)
    expect(world.warnings).toEqual(['verify refused the peer'])
    expect(world.client.connections.size).toBe(0)
    await done(world)
  })

  it('that does not settle in time refuses, and what it says later counts no more', async () => {
    const world = made()
    let [accept, late]: [() => void, unknown] = [() => {}, null]
    const unhandled = (error: unknown): void => { late = error }
    process.on('unhandledRejection', unhandled)
    const connecting = connect(world, () => new Promise((_, reject) => { accept = () => reject(new Error('late')) }), { verifyTimeoutMs: 5 })
    await expect(connecting).rejects.toMatchObject({ code: 'QB_TLS_CERTIFICATE', message: expect.stringContaining('within 5 ms (verifyTimeoutMs)') })
    accept()
    await turns(5)
    process.off('unhandledRejection', unhandled)
    expect(late).toBe(null)
    await done(world)
  })

  it('is heard no more when the connection has ended', async () => {
    const world = made()
    const [abort, reason] = [new AbortController(), Object.assign(new Error('enough'), { code: 'MINE' })]
    let accept = (): void => {}
    const connecting = connect(world, () => new Promise((resolve) => {
      accept = resolve
      abort.abort(reason)
    }), { signal: abort.signal })
    expect(await codeOf(connecting)).toBe('MINE')
    accept()
    await turns(5)
    expect(world.network.endpoints[1]?.connections.get(1)?.orders).not.toContainEqual(expect.objectContaining({ do: 'verdict' }))
    await done(world)
  })

  it('of a server judges the clients that must show a certificate', async () => {
    let asked: string | null = ''
    const world = made({ clientAuth: 'require', verify: ({ defaultError }) => { asked = defaultError; throw new Error('stranger') } })
    await expect(world.client.connect(world.address, { alpn: 'test', ca: 'ca' })).rejects.toMatchObject({ code: 'QB_TLS_ALERT', by: 'peer' })
    expect(asked).toBe('unknown issuer')
    await until(() => world.listening.connections.size === 0)
    expect(world.warnings).toEqual(['verify refused the peer'])
    await done(world)
  })

  it('of two connections is two judges to the engine, one function is one', async () => {
    const world = made()
    const same: Verify = () => {}
    for (const verify of [same, same, () => {}]) await connect(world, verify)
    const [first, second, third] = (world.network.endpoints[1]?.connects ?? []).map(({ tls }) => tls.judge)
    expect(second).toBe(first)
    expect(third).not.toBe(first)
    await done(world)
  })

  it('is refused by name where the engine cannot wait', async () => {
    const world = bindWith(newNetwork().module)
    await expect(world.connect('127.0.0.1:1', { alpn: 'x', verify: () => {} })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: 'verify' })
    await world.close()
  })
})
