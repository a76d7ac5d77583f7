/** `admit` and attempts in hand, over the native module and loopback. */
import { afterEach, describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import type { AdmitVerdict, AttemptFacts, EndpointEvent } from '../../src/index.ts'
import { codeOf, taken } from '../fake/pair.ts'
import { MODULE_BUILT } from './built.ts'
import { bound, closeAll, identity, nativePair, until } from './pair.ts'

afterEach(closeAll)

describe.skipIf(!MODULE_BUILT)('admit', () => {
  it('hears what each client wants before anything is computed for it', async () => {
    const seen: AttemptFacts[] = []
    const pair = await nativePair({ server: { alpn: ['test', 'other'], admit: async (attempt) => {
      seen.push(attempt)
      return 'accept' as const
    } } })
    const { near, far } = await pair.connect({ alpn: ['other', 'test'], serverName: 'localhost' })
    expect(seen).toEqual([{ remote: near.local.replace('0.0.0.0', '127.0.0.1'), local: pair.server.local[0], serverName: 'localhost', alpn: ['other', 'test'], validated: false }])
    expect(far.state).toBe('open')
    await until(() => pair.server.statistics().halfOpen === 0)
  })

  it('refuses, sends back for a proof of the address, ignores; the endpoint tells of the first two', async () => {
    let verdict: AdmitVerdict = 'refuse'
    const validated: boolean[] = []
    const pair = await nativePair({ server: { admit: (attempt) => {
      validated.push(attempt.validated)
      return verdict
    } } })
    const events: EndpointEvent[] = []
    pair.server.events$.subscribe((event) => { if (event.type !== 'bound') events.push(event) })
    const address = pair.server.local[0] ?? ''
    const options = { alpn: 'test', ca: pair.own.cert }
    await expect(pair.client.connect(address, options)).rejects.toMatchObject({ code: 'QB_CONNECT_REFUSED', errorCode: 2n, by: 'peer' })
    verdict = 'retry'
    const { near } = await pair.connect()
    expect((await near.opened).retry).toBe(true)
    expect(validated).toEqual([false, false, true])
    verdict = 'ignore'
    // A token of the last connection would prove its address; that changes nothing here.
    expect(await codeOf(pair.client.connect(address, { ...options, limits: { handshakeTimeoutMs: 300 } }))).toBe('QB_CONNECT_TIMEOUT')
    expect(events.map(({ type }) => type)).toEqual(['refused', 'retried'])
    expect(events[0]).toMatchObject({ remote: expect.stringMatching(/^127\.0\.0\.1:\d+$/), reason: expect.stringContaining('does not want') })
    expect(pair.server.statistics()).toMatchObject({ refused: 1, retries: 1, accepted: 1 })
  })
})

describe.skipIf(!MODULE_BUILT)('attempts in hand', () => {
  it('become connections on terms of their own', async () => {
    const pair = await nativePair()
    const special = createDevCertificate({ names: ['special.example'] })
    const attempts = pair.server.attempts()
    const connecting = pair.client.connect(pair.server.local[0] ?? '', { alpn: 'special', serverName: 'special.example', ca: special.cert })
    const attempt = await taken(attempts)
    expect(attempt).toMatchObject({ serverName: 'special.example', alpn: ['special'] })
    const far = await attempt.accept({ alpn: 'special', ...identity(special) })
    expect([far.alpn, (await connecting).alpn, (await connecting).peer?.names]).toEqual(['special', 'special', ['special.example']])
    await attempts.return?.()
    expect((await pair.connect()).far.alpn).toBe('test')
  })

  it('that fail to become one reject with its error', async () => {
    const pair = await nativePair()
    const attempts = pair.server.attempts()
    const stranger = await bound()
    const connecting = codeOf(stranger.connect(pair.server.local[0] ?? '', { alpn: 'unknown', ca: pair.own.cert }))
    expect(await codeOf((await taken(attempts)).accept())).toBe('QB_TLS_ALPN')
    expect(await connecting).toBe('QB_TLS_ALPN')
  })
})
