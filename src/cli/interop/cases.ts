/**
 * The test cases of the quic-interop-runner, as rows of data: what each asks of our client, of our server, and how the downloads are spread
 * over connections. What the network does (losses, rebindings, delays) is no concern of an endpoint, so most rows are plain transfers.
 */
import type { ConnectionOptions, ServerOptions } from '../../index.ts'

/** How a client spreads its downloads: all over one connection; a connection for each; one alone, the rest over a resumed connection. */
export type Plan = 'one connection' | 'a connection each' | 'first, then resumed'

export interface InteropCase {
  name: string
  plan: Plan
  /** What the client needs beyond the options of every case. This build may lack it: then the case is not supported. */
  client: ConnectionOptions
  /** The same for the server. */
  server: ServerOptions
  /** The client updates its keys as soon as the handshake is confirmed. */
  updatesKey: boolean
  /** The server names a second address of its own, the client goes there. */
  prefersAddress: boolean
}

const row = (name: string, more: Partial<Omit<InteropCase, 'name'>> = {}): InteropCase =>
  ({ name, plan: 'one connection', client: {}, server: {}, updatesKey: false, prefersAddress: false, ...more })

const CHACHA20 = { ciphers: ['chacha20-poly1305'] } as const
const EARLY = { earlyData: true } as const

/** `handshake`, `transfer` and `multiconnect` are what the runner says for many of the others; each also goes by its own name. */
export const CASES: readonly InteropCase[] = [
  row('handshake'),
  row('transfer'),
  row('multiconnect', { plan: 'a connection each' }),
  // A version that nobody has, whatever versions the server has.
  row('versionnegotiation', { client: { firstVersion: 'reserved' } }),
  row('longrtt'),
  row('chacha20', { client: CHACHA20, server: CHACHA20 }),
  row('multiplexing'),
  row('retry', { server: { retry: 'always' } }),
  row('resumption', { plan: 'first, then resumed' }),
  row('zerortt', { plan: 'first, then resumed', client: EARLY, server: EARLY }),
  row('blackhole'),
  row('keyupdate', { updatesKey: true }),
  row('ecn'),
  row('amplificationlimit'),
  row('handshakeloss', { plan: 'a connection each' }),
  row('transferloss'),
  row('handshakecorruption', { plan: 'a connection each' }),
  row('transfercorruption'),
  row('ipv6'),
  // The client's first Initial is of version 1, both prefer version 2 (RFC 9368: some servers follow the client's order).
  row('v2', { client: { versions: ['v2', 'v1'], firstVersion: 'v1' }, server: { versions: ['v2', 'v1'] } }),
  row('rebind-port'),
  row('rebind-addr'),
  row('connectionmigration', { prefersAddress: true }),
  row('goodput'),
  row('crosstraffic'),
]

/** Options that a row adds, by name: refused ones make the case unsupported. */
export function ownOptions({ client, server, prefersAddress }: InteropCase): ReadonlySet<string> {
  return new Set([...Object.keys(client), ...Object.keys(server), ...(prefersAddress ? ['preferredAddress'] : [])])
}

export function caseNamed(name: string): InteropCase | null {
  return CASES.find((row) => row.name === name) ?? null
}
