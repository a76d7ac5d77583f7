/**
 * Whoever opens a port of the gateway for us: NAT-PMP (RFC 6886) first, which answers within one round trip, then UPnP. Behind a small interface, so
 * that a test or an application's host may have another one. Renewing and releasing is `PortMappings`'.
 */
import { createSocket } from 'node:dgram'
import { readFile } from 'node:fs/promises'
import { formatAddress, parseAddress } from '../config/index.ts'
import { OptionError } from '../errors/index.ts'
import { mapByNatPmp } from './nat-pmp.ts'
import { discoverGateways, mapByUpnp } from './upnp.ts'
import type { UpnpLibrary } from './upnp.ts'

export interface MapRequest {
  /** Where the socket hears, `ip:port` each; the gateway must be reached from one of them. */
  readonly internal: readonly string[]
  readonly protocol: 'udp'
  /** Of this length if the gateway grants it. */
  readonly lifetimeMs: number
  /** What it is now, if this renews; or null. `ip:port`. */
  readonly external: string | null
}

export interface PortMapping {
  /** `ip:port`, open to everybody. */
  readonly external: string
  /** As granted. */
  readonly lifetimeMs: number
  /** Closes it again. May reject: it then ends by itself. */
  release(): Promise<void>
}

export interface PortMapper {
  /** @throws (reject) an error that says why: no gateway, refused, … */
  map(request: MapRequest): Promise<PortMapping>
}

/** Which gateway to ask; null: look for it. */
export interface GatewayChoice {
  /** `ip:port` where NAT-PMP is spoken. */
  natPmp?: string | null
  /** Descriptions of UPnP gateways. */
  upnp?: readonly URL[] | null
}

/** Optional: not known to who builds this. */
const PACKAGE: string = '@achingbrain/nat-port-mapper'
const NAT_PMP_PORT = 5351

/** The gateway of this host. @throws (reject) QB_OPTION_INVALID, naming the package to install */
export async function systemPortMapper(library: Promise<UpnpLibrary> = import(PACKAGE) as Promise<UpnpLibrary>, choice: GatewayChoice = {}): Promise<PortMapper> {
  return new SystemPortMapper(await loaded(library), choice)
}

async function loaded(library: Promise<UpnpLibrary>): Promise<UpnpLibrary> {
  try {
    return await library
  } catch (error) {
    throw new OptionError('QB_OPTION_INVALID', `option traversal.sources asks for 'port-mapping', which needs a package that is not installed: npm install ${PACKAGE}; or leave it out`, { field: 'traversal.sources', value: 'port-mapping', cause: error })
  }
}

class SystemPortMapper implements PortMapper {
  readonly #library: UpnpLibrary
  readonly #choice: GatewayChoice

  constructor(library: UpnpLibrary, choice: GatewayChoice) {
    this.#library = library
    this.#choice = choice
  }

  async map(request: MapRequest): Promise<PortMapping> {
    const refusals: string[] = []
    const natPmp = this.#choice.natPmp === undefined ? await defaultGateway() : this.#choice.natPmp
    if (natPmp !== null) {
      try {
        return await mapByNatPmp(natPmp, await facing(natPmp, request), request)
      } catch (error) {
        refusals.push(`NAT-PMP at ${natPmp}: ${reasonOf(error)}`)
      }
    }
    for (const location of this.#choice.upnp ?? (await discoverGateways(request.internal.flatMap((one) => parseAddress(one)?.host ?? [])))) {
      try {
        return await mapByUpnp(this.#library, location, await facing(`${location.hostname}:${NAT_PMP_PORT}`, request), request)
      } catch (error) {
        refusals.push(`UPnP at ${location.host}: ${reasonOf(error)}`)
      }
    }
    throw new Error(refusals.length === 0 ? 'no gateway answers to NAT-PMP or UPnP (IGD 2)' : refusals.join('; '))
  }
}

/** Our address on the way to a gateway; nothing is sent. */
async function facing(gateway: string, { internal }: MapRequest): Promise<string> {
  const far = parseAddress(gateway)
  if (far === null || far.family !== 4) throw new Error('it has no IPv4 address')
  const socket = createSocket('udp4')
  try {
    const host = await new Promise<string>((resolve, reject) => {
      socket.once('error', reject)
      socket.connect(far.port, far.host, () => resolve(socket.address().address))
    })
    const found = internal.find((one) => parseAddress(one)?.host === host)
    if (found === undefined) throw new Error(`it is reached from ${host}, where the socket is not bound`)
    return found
  } finally {
    socket.close()
  }
}

/** Of the default route of IPv4, as Linux tells it; null: not known. */
async function defaultGateway(): Promise<string | null> {
  const table = await readFile('/proc/net/route', 'utf8').catch(() => '')
  return gatewayOf(table)
}

/** From the text of `/proc/net/route`: the first route to everywhere that has a gateway. */
export function gatewayOf(table: string): string | null {
  for (const line of table.split('\n').slice(1)) {
    const [, destination, gateway = ''] = line.split(/\s+/)
    if (destination !== '00000000' || !/^[0-9A-F]{8}$/i.test(gateway) || gateway === '00000000') continue
    return formatAddress({ host: [...Buffer.from(gateway, 'hex')].toReversed().join('.'), port: NAT_PMP_PORT, family: 4 })
  }
  return null
}

/** For people. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
