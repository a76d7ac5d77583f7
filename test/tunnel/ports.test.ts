/**
 * The ports there are, asked of a server that allows one (docs/spec/tunnel.md T26): over one connection, many at once. The short form asks every
 * sixteenth over the wire; the long one, `npm run torture -- ports`, every one.
 */
import { afterEach, describe, expect, it } from 'vitest'
import { TUNNEL_ALPN, TUNNEL_LIMITS } from '../../src/tunnel/index.ts'
import { TunnelCode } from '../../src/tunnel/codes.ts'
import { RequestKind, encodeRequest } from '../../src/tunnel/request.ts'
import { Policy } from '../../src/tunnel/policy.ts'
import { REAL_TIME } from '../../src/config/index.ts'
import { RUNS, progress } from '../life/torture.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { OWN, echo, endAll, tunnelPair } from './pair.ts'

afterEach(endAll)

const LAST = 65_535
const ALLOWED = 4242
/** Streams at once. */
const WIDTH = 1000
const STEP = RUNS === null ? 16 : 1
/** With the neighbours and the ends. */
const PORTS = Array.from({ length: LAST }, (_, index) => index + 1).filter((port) => port % STEP === 0 || Math.abs(port - ALLOWED) <= 1 || port === 1 || port === LAST)

describe.skipIf(!MODULE_BUILT)('a server that allows one port', { timeout: 600_000 }, () => {
  /** tunnel T24, T26; attacks H1 */
  it('dials for that one, and for no other', async () => {
    const pair = await tunnelPair('udp', { far: { limits: { maxBridges: 1_000_000, maxBridgesPerPeer: 1_000_000 }, streams: WIDTH }, server: { limits: { ...TUNNEL_LIMITS, bidirectionalStreams: WIDTH } } })
    const target = await echo()
    let asked = 0
    pair.far.listen(({ port }) => {
      asked += 1
      return port === ALLOWED ? target.address : undefined
    })
    const connection = await pair.near.endpoint.connect(pair.remote, { alpn: TUNNEL_ALPN, ca: OWN.cert, ...OWN, serverName: 'localhost', limits: TUNNEL_LIMITS })
    const hello = await connection.openBidirectional()
    hello.write(encodeRequest({ kind: RequestKind.HELLO, port: ALLOWED, host: null }))
    hello.end()
    expect([...await hello.bytes()]).toEqual([0])
    const accepted: number[] = []
    const wrong: unknown[] = []
    const told = progress('ports', PORTS.length)
    let next = 0
    await Promise.all(Array.from({ length: WIDTH }, async () => {
      for (let port = PORTS[next++]; port !== undefined; port = PORTS[next++]) {
        const stream = await connection.openBidirectional()
        stream.write(encodeRequest({ kind: RequestKind.CONNECT, port, host: null }))
        try {
          for await (const pieces of stream) {
            accepted.push(port, ...pieces.flatMap((piece) => [...piece]))
            // The echo ends when this does.
            stream.end()
          }
        } catch (error) {
          if ((error as { errorCode?: unknown }).errorCode !== TunnelCode.REFUSED) wrong.push(error)
        }
        told()
      }
    }))
    expect([accepted, wrong, asked, pair.far.statistics().durations.dial.count]).toEqual([[ALLOWED, 0], [], PORTS.length + 1, 1])
  })

  /** tunnel T26 */
  it('has a policy that says yes to one of all 65,535', async () => {
    const policy = new Policy(REAL_TIME, 5000, {})
    policy.listen(({ port }) => (port === ALLOWED ? '192.0.2.1:80' : undefined))
    const allowed: number[] = []
    for (let port = 1; port <= LAST; port++) if (await policy.decide({ peer: null, protocol: 'tcp', host: null, port, remote: '' }) !== null) allowed.push(port)
    expect(allowed).toEqual([ALLOWED])
  })
})
