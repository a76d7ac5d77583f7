/** What a carrier endpoint is given, and what it is handed: options, datagrams, the bound on their size. */
import { isEcn } from '../binding/index.ts'
import type { CarrierBurst, CarrierDatagram } from '../binding/index.ts'
import { EndpointError } from '../errors/index.ts'
import { formatAddress, parseAddress } from './address.ts'
import { invalidOption } from './check.ts'
import type { Clock } from './clock.ts'
import { fullAddress } from './connection.ts'
import type { ConnectionOptions, EndpointOptions, ServerOptions } from './options.ts'
import { checkCarrier } from './schema.ts'

/** QUIC needs datagrams of this size (RFC 9000 §14). */
const LEAST_BYTES = 1200
const MOST_BYTES = 65_507
/** What path MTU discovery tries at most unless an option says more. */
const MAX_MTU_BYTES = 1452

/** Checked options, those of any endpoint apart. */
export interface CarrierChoice {
  send: (burst: CarrierBurst) => unknown
  maxDatagramBytes: number
  local: string | undefined
  clock: Clock | undefined
  seed: number | undefined
  endpoint: EndpointOptions
}

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_CARRIER_TOO_SMALL */
export function checkCarrierOptions(value: unknown): CarrierChoice {
  const { send, maxDatagramSizeBytes: size, local, clock, seed, ...endpoint } = checkCarrier(value)
  if (size < LEAST_BYTES) {
    throw new EndpointError('QB_CARRIER_TOO_SMALL', `the carrier takes datagrams of ${size} bytes (maxDatagramSizeBytes); QUIC needs ${LEAST_BYTES}, use one that takes as much`, { value: { size, needed: LEAST_BYTES } })
  }
  if (seed !== undefined && clock === undefined) throw invalidOption('seed', seed, 'a seed together with `clock`: what runs on the process\'s clock does not repeat')
  const own = local === undefined ? null : parseAddress(local)
  if (own !== null && own.port === 0) throw invalidOption('local', local, 'an address with a port')
  return { send: (burst) => send.call(value, burst), maxDatagramBytes: Math.min(size, MOST_BYTES), local: local === undefined ? undefined : fullAddress(local), clock, seed, endpoint }
}

/** What `receive` was given, with whole addresses. Looks at shapes only, never at what bytes contain. @throws QB_OPTION_INVALID */
export function checkDatagrams(value: unknown): CarrierDatagram[] {
  if (!Array.isArray(value)) throw invalidOption('datagrams', value, 'a list of { bytes, remote, local, ecn }')
  return value.map((item: unknown, index) => {
    const { bytes, remote, local, ecn = 'not-ect' } = (typeof item === 'object' && item !== null ? item : {}) as Partial<Record<keyof CarrierDatagram, unknown>>
    const at = (name: string): string => `datagrams[${index}].${name}`
    if (!(bytes instanceof Uint8Array)) throw invalidOption(at('bytes'), bytes, 'a Uint8Array or Buffer')
    if (!isEcn(ecn)) throw invalidOption(at('ecn'), ecn, "'not-ect', 'ect0', 'ect1' or 'ce'")
    const own = local === undefined ? {} : { local: address(local, at('local')) }
    return { bytes, ecn, remote: address(remote, at('remote')), ...own }
  })
}

/** The same options with no datagram larger than the carrier takes. */
export function withinDatagram<T extends ConnectionOptions | ServerOptions>(options: T, most: number): T {
  if (most >= MOST_BYTES) return options
  const { maxMtuBytes = MAX_MTU_BYTES, initialMtuBytes = LEAST_BYTES } = options.limits ?? {}
  return { ...options, limits: { ...options.limits, maxMtuBytes: Math.min(maxMtuBytes, most), initialMtuBytes: Math.min(initialMtuBytes, most) } }
}

function address(value: unknown, field: string): string {
  const parsed = typeof value === 'string' && !value.includes('%') ? parseAddress(value) : null
  if (parsed === null || parsed.port === 0) throw invalidOption(field, value, "an address with a port like '192.0.2.7:4433' or '[2001:db8::1]:4433'")
  return formatAddress(parsed)
}
