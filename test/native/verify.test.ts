/** `verify` as a function, over the native module and loopback: the handshake waits, and nothing else does. */
import { afterEach, describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import type { ConnectionOptions, Verify } from '../../src/index.ts'
import { MODULE_BUILT } from './built.ts'
import { closeAll, eventOf, identity, nativePair, until } from './pair.ts'
import type { NativePair } from './pair.ts'

afterEach(closeAll)

/** Without anchors: the default would refuse whatever the server shows. */
const dial = ({ client, server }: NativePair, verify: Verify, more: ConnectionOptions = {}) => client.connect(server.local[0] ?? '', { alpn: 'test', verify, ...more })

describe.skipIf(!MODULE_BUILT)('a verify function', () => {
  it('decides about a server that the default would refuse, and knows why it would', async () => {
    const own = createDevCertificate()
    const pair = await nativePair({ server: identity(own) })
    const seen: Parameters<Verify>[0][] = []
    const near = await dial(pair, (peer) => void seen.push(peer))
    expect(seen).toEqual([expect.objectContaining({ fingerprint: own.fingerprint, pin: own.pin, serverName: '127.0.0.1', defaultError: expect.stringMatching(/unknown issuer/) })])
    expect(seen[0]?.names).toEqual(near.peer?.names)
    const trusted: (string | null)[] = []
    await dial(pair, ({ defaultError }) => void trusted.push(defaultError), { ca: own.cert })
    expect(trusted).toEqual([null])
  })

  it('is waited for: neither end is open until it has settled', async () => {
    const pair = await nativePair()
    let accept = (): void => {}
    let asked = false
    const connecting = dial(pair, () => new Promise((resolve) => {
      asked = true
      accept = resolve
    }))
    await until(() => asked)
    // Several round trips of loopback.
    await new Promise((resolve) => setTimeout(resolve, 50))
    const states = [...pair.client.connections, ...pair.server.connections].map(({ state }) => state)
    expect(states).toEqual(['handshaking', 'handshaking'])
    accept()
    expect((await connecting).state).toBe('open')
  })

  it('that refuses, or never settles, ends the handshake with its words at one end and an alert at the other', async () => {
    const pair = await nativePair()
    const mine = new Error('not my server')
    const alert = eventOfServer(pair)
    await expect(dial(pair, () => { throw mine })).rejects.toMatchObject({ code: 'QB_TLS_CERTIFICATE', errorCode: 0x12an, cause: mine, message: expect.stringContaining('not my server') })
    expect(await alert).toMatchObject({ code: 'QB_TLS_ALERT', errorCode: 0x12an, by: 'peer' })
    await expect(dial(pair, () => new Promise(() => {}), { verifyTimeoutMs: 30 })).rejects.toMatchObject({ code: 'QB_TLS_CERTIFICATE', message: expect.stringContaining('30 ms') })
    // The handshake has its own limit, whatever the function's is.
    await expect(dial(pair, () => new Promise(() => {}), { limits: { handshakeTimeoutMs: 100 } })).rejects.toMatchObject({ code: 'QB_CONNECT_TIMEOUT' })
  })

  it('judges clients that must show a certificate', async () => {
    const [friend, stranger] = [createDevCertificate({ names: ['friend'] }), createDevCertificate({ names: ['stranger'] })]
    const pair = await nativePair({ server: { clientAuth: 'require', verify: async ({ fingerprint }) => { if (fingerprint !== friend.fingerprint) throw new Error('a stranger') } } })
    const { far } = await pair.connect({ cert: friend.cert, key: friend.key })
    expect(far.peer?.names).toEqual(['friend'])
    const refused = await pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: pair.own.cert, cert: stranger.cert, key: stranger.key, sessions: { get: () => [], set: () => {} } })
      .then(async ({ closed }) => (await closed).error, (error: unknown) => error)
    expect(refused).toMatchObject({ code: 'QB_TLS_ALERT', errorCode: 0x12an })
    await until(() => pair.server.connections.size === 1)
  })

  it('has spoken for the tickets of its connections, and no other function has', async () => {
    const pair = await nativePair()
    let asked = 0
    const judge: Verify = () => void (asked += 1)
    const visit = async (verify: Verify): Promise<boolean> => {
      const stored = new Promise((resolve) => {
        const watching = pair.client.connections$.subscribe((connection) => {
          watching.unsubscribe()
          void eventOf(connection, 'session-stored').then(resolve, () => undefined)
        })
      })
      const near = await dial(pair, verify)
      const { resumed } = await near.opened
      await stored
      await near.close()
      return resumed
    }
    expect([await visit(judge), await visit(judge), asked]).toEqual([false, true, 1])
    let other = 0
    expect([await visit(() => void (other += 1)), other]).toEqual([false, 1])
  })
})

/** How the next connection of the server ends. */
function eventOfServer(pair: NativePair): Promise<unknown> {
  return new Promise((resolve) => {
    pair.server.connections$.subscribe((connection) => void connection.closed.then(({ error }) => resolve(error)))
  })
}
