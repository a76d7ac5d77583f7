/** Who may have a tunnel (docs/spec/tunnel.md T24; docs/spec/attacks.md H2): nobody unnamed, nobody whose name has ended, nobody before the handshake is complete. */
import { describe, expect, it } from 'vitest'
import { TunnelCode } from '../../src/tunnel/codes.ts'
import { TUNNEL_ALPN } from '../../src/tunnel/index.ts'
import { RequestKind, encodeRequest } from '../../src/tunnel/request.ts'
import { World } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { TARGET, drained, inWorld, reasons } from './world.ts'

/** Valid until one minute after the beginning of every simulated world (2025-01-01 00:00 UTC). For tests alone. */
const ENDING = {
  cert: `-----BEGIN CERTIFICATE-----
MIHlMIGYoAMCAQICAQcwBQYDK2VwMBExDzANBgNVBAMMBmNsaWVudDAeFw0yNDEy
MzEwMDAwMDBaFw0yNTAxMDEwMDAxMDBaMBExDzANBgNVBAMMBmNsaWVudDAqMAUG
AytlcAMhADyS0+Rwf9caIhnt0ktmm0lsiztUGSDF8YjjduI+JdjpoxUwEzARBgNV
HREECjAIggZjbGllbnQwBQYDK2VwA0EAkzKaT6Z0/OG1/k4KddlyaIILA6KeD3rz
nQpMGW5vM6fxCpXgkoQtN1M/hu2k9q+t8aQEcUyqJKA1u3Z/6RA8CQ==
-----END CERTIFICATE-----
`,
  key: `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEID6b3ZIbriiXyoGO1JcNmL1VY6KgMqVRQsop69kO49dd
-----END PRIVATE KEY-----
`,
}

describe.skipIf(!MODULE_BUILT)('a client', { timeout: 60_000 }, () => {
  /** tunnel T24; attacks H2 */
  it('attack H2: a client without a certificate is refused by a server whose handler names a port, and never dials', async () => {
    await inWorld(async ({ far, tcp, begin }) => {
      let dialled = 0
      await tcp.serve(TARGET, () => void (dialled += 1))
      far.listen(7)
      const tunnel = await begin({ connection: { cert: undefined, key: undefined } as never })
      await expect(tunnel.opened).rejects.toMatchObject({ code: 'QB_TUNNEL_REFUSED' })
      expect([dialled, far.statistics().bridgesTotal]).toEqual([0, 0])
    }, { server: { clientAuth: 'request' }, closed: true })
  })

  /** tunnel T24; attacks H2 */
  it('attack H2: a client whose certificate ends meanwhile gets no bridge any more; those it has go on', async () => {
    const pair = World.pair([{ delayMs: 10 }])
    await inWorld(async ({ world, far, tcp, events, open }) => {
      const asked: string[] = []
      far.listen(({ peer }) => {
        asked.push(peer === null ? 'nobody' : peer.names.join())
        return TARGET
      })
      await tcp.serve(TARGET, (socket) => void socket.pipe(socket))
      const tunnel = await open({ connection: { ...ENDING } })
      const before = tcp.client(tunnel.local)
      before.write('before ')
      await world.sleep(61_000)
      expect(asked).toEqual(['client', 'client'])
      const late = tcp.client(tunnel.local)
      late.end('late')
      expect(await drained(late)).toMatchObject({ end: 'rst' })
      expect([asked.length, reasons(events.near), far.statistics().failed]).toEqual([2, ['refused'], { refused: 1 }])
      before.end('and after')
      expect(String((await drained(before)).bytes)).toBe('before and after')
    }, { pair, closed: true, server: { ca: [pair.tls.ca, ENDING.cert] } })
  })

  /** tunnel T24; attacks H2 */
  it('attack H2: a tunnel asked for in early data is refused unread; one that is asked for after the handshake is served', async () => {
    await inWorld(async ({ near, far, tcp, tls, remote }) => {
      let asked = 0
      far.listen(() => {
        asked += 1
        return TARGET
      })
      await tcp.serve(TARGET, (socket) => void socket.pipe(socket))
      const dial = { alpn: TUNNEL_ALPN, ca: tls.ca, cert: tls.cert, key: tls.key, serverName: 'server', earlyData: true } as const
      const first = await near.endpoint.connect(remote, dial)
      const stored = new Promise<void>((resolve) => {
        first.events$.subscribe(({ type }) => {
          if (type === 'session-stored') resolve()
        })
      })
      await Promise.all([first.confirmed, stored])
      await first.close()
      const again = await near.endpoint.connect(remote, dial)
      expect([again.state, again.early]).toEqual(['handshaking', 'sent'])
      const early = await again.openBidirectional()
      early.write(encodeRequest({ kind: RequestKind.HELLO, port: 7, host: null }))
      await again.confirmed
      expect([again.early, (await again.opened).resumed]).toEqual(['accepted', true])
      await expect(early.bytes()).rejects.toMatchObject({ code: 'QB_STREAM_RESET', errorCode: TunnelCode.REFUSED })
      expect(asked).toBe(0)
      const timely = await again.openBidirectional()
      timely.write(encodeRequest({ kind: RequestKind.HELLO, port: 7, host: null }))
      expect((await timely.readable.getReader().read()).value).toEqual(Uint8Array.of(0))
      expect(asked).toBe(1)
      await again.close()
    }, { closed: true, server: { earlyData: true } })
  })
})
