/**
 * UPnP gateways (IGD 2) by the library `@achingbrain/nat-port-mapper`. They are looked for here (SSDP, an M-SEARCH from each address), since the
 * library's search lets a datagram of a neighbour end the process; what it speaks over HTTP only rejects.
 */
import { createSocket } from 'node:dgram'
import { formatAddress, parseAddress, REAL_TIME } from '../config/index.ts'
import type { MapRequest, PortMapping } from './port-mapper.ts'

/** What we use of the library. */
export interface UpnpLibrary {
  upnpNat(options: { autoRefresh: boolean; description: string }): { getGateway(location: URL, options: { signal: AbortSignal }): Promise<unknown> }
}

interface Gateway {
  map(port: number, host: string, options: { protocol: 'udp'; externalPort: number; ttl: number; autoRefresh: boolean; signal: AbortSignal }): Promise<{ externalHost: string; externalPort: number }>
  /** The device; what it is asked goes out as given. */
  getGateway(options: { signal: AbortSignal }): Promise<{ run(service: string, action: string, values: readonly (readonly [string, string | number])[], options: { signal: AbortSignal }): Promise<unknown> }>
}

const GROUP = '239.255.255.250'
const SSDP_PORT = 1900
const DEVICE = 'urn:schemas-upnp-org:device:InternetGatewayDevice:2'
const SERVICE = 'urn:schemas-upnp-org:service:WANIPConnection:2'
const SEARCH = `M-SEARCH * HTTP/1.1\r\nHOST: ${GROUP}:${SSDP_PORT}\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ${DEVICE}\r\n\r\n`
const SEARCH_MS = 2000
const CALL_MS = 5000
/** The library grants no less. */
const MIN_LIFETIME_MS = 3_600_000
const MAX_GATEWAYS = 4

/** `internal`: our address that faces the gateway. @throws (reject) why not */
export async function mapByUpnp(library: UpnpLibrary, location: URL, internal: string, { lifetimeMs, external }: MapRequest): Promise<PortMapping> {
  const near = parseAddress(internal)
  if (near === null) throw new Error('the socket has no address')
  const signal = AbortSignal.timeout(CALL_MS)
  const ttl = Math.max(lifetimeMs, MIN_LIFETIME_MS)
  const gateway = (await library.upnpNat({ autoRefresh: false, description: 'quicbraid' }).getGateway(location, { signal })) as Gateway
  const wanted = (external === null ? null : parseAddress(external)?.port) ?? near.port
  const { externalHost, externalPort } = await gateway.map(near.port, near.host, { protocol: 'udp', externalPort: wanted, ttl, autoRefresh: false, signal })
  const outer = parseAddress(externalHost)
  if (outer === null || !Number.isInteger(externalPort) || externalPort < 1 || externalPort > 65_535) throw new Error(`it answered ${externalHost}:${externalPort}`)
  return {
    external: formatAddress({ ...outer, port: externalPort }),
    lifetimeMs: ttl,
    // The library's own `unmap` leaves out the protocol, which gateways refuse.
    release: async () => {
      const late = { signal: AbortSignal.timeout(CALL_MS) }
      await (await gateway.getGateway(late)).run(SERVICE, 'DeletePortMapping', [['NewRemoteHost', ''], ['NewExternalPort', externalPort], ['NewProtocol', 'UDP']], late)
    },
  }
}

/** Descriptions of the gateways that answer; looks from each of these addresses. Never rejects. */
export async function discoverGateways(hosts: readonly string[]): Promise<URL[]> {
  const found = new Map<string, URL>()
  await Promise.all(hosts.map((host) => search(host, found)))
  return [...found.values()]
}

function search(host: string, found: Map<string, URL>): Promise<void> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4')
    const end = (): void => {
      cancel()
      socket.close(() => resolve())
    }
    const cancel = REAL_TIME.after(SEARCH_MS, end)
    socket.once('error', end)
    socket.on('message', (bytes, { address }) => {
      const location = locationIn(bytes.toString('latin1'), address)
      if (location === null || found.size >= MAX_GATEWAYS) return
      found.set(location.href, location)
      // One that answers will do.
      socket.removeAllListeners('message')
      end()
    })
    socket.bind(0, host, () => {
      socket.setMulticastTTL(2)
      socket.setMulticastInterface(host)
      socket.send(SEARCH, SSDP_PORT, GROUP, () => {})
    })
  })
}

/** In an answer to a search: where the gateway describes itself, which must be at the address that answers. */
export function locationIn(text: string, from: string): URL | null {
  const [first = '', ...lines] = text.split(/\r?\n/)
  if (!/^HTTP\/1\.\d 200\b/.test(first)) return null
  const field = (name: string): string | undefined => lines.find((line) => line.toLowerCase().startsWith(`${name}:`))?.slice(name.length + 1).trim()
  const told = field('location') ?? ''
  if (field('st') !== DEVICE || !URL.canParse(told)) return null
  const location = new URL(told)
  return location.protocol === 'http:' && location.hostname === from ? location : null
}
