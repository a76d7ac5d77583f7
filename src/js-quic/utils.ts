/** Hosts, ports and PEM, as programs for js-quic write them; also what the façade itself needs of these. */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { ErrorQUICHostInvalid, ErrorQUICPortInvalid } from './errors.ts'
import type { Pems, ResolveHostname } from './types.ts'

export type Family = 'udp4' | 'udp6'

export function isIPv4(host: string): boolean {
  return isIP(host) === 4
}

/** True also of IPv4 addresses that are mapped into IPv6. */
export function isIPv6(host: string): boolean {
  return isIP(host) === 6
}

/** The IPv4 address in `::ffff:127.0.0.1` or `::ffff:7f00:1`; null if there is none. */
export function mappedIPv4(host: string): string | null {
  if (isIP(host) !== 6) return null
  const dotted = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host)?.[1]
  if (dotted !== undefined) return dotted
  const hex = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(host)
  if (hex === null) return null
  const [high, low] = [parseInt(hex[1] ?? '', 16), parseInt(hex[2] ?? '', 16)]
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

export function isIPv4MappedIPv6(host: string): boolean {
  return mappedIPv4(host) !== null
}

export function isHostWildcard(host: string): boolean {
  return host === '0.0.0.0' || isAnyIPv6(host)
}

/** `::` in any of its spellings. */
export function isAnyIPv6(host: string): boolean {
  return isIP(host) === 6 && /^[0:]+$/.test(host)
}

/** As a target a wildcard is this host. */
export function resolvesZeroIP(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return isAnyIPv6(host) ? '::1' : host
}

/** The first address of a name, as the system resolves it. */
export async function resolveHostname(hostname: string): Promise<string> {
  return (await lookup(hostname)).address
}

/** @throws ErrorQUICHostInvalid */
export async function resolveHost(host: string, resolve: ResolveHostname = resolveHostname): Promise<[string, Family]> {
  const address = isIP(host) === 0 ? await resolveName(host, resolve) : host
  const family = isIP(address)
  if (family === 0) throw new ErrorQUICHostInvalid(`${host} resolved to ${address}, which is no IP address`)
  return [address, family === 4 ? 'udp4' : 'udp6']
}

async function resolveName(host: string, resolve: ResolveHostname): Promise<string> {
  try {
    return await resolve(host)
  } catch (cause) {
    throw new ErrorQUICHostInvalid(`${host} does not resolve`, { cause })
  }
}

export function isPort(port: unknown): port is number {
  return typeof port === 'number' && Number.isInteger(port) && port >= 0 && port <= 65_535
}

/** @throws ErrorQUICPortInvalid */
export function toPort(port: unknown): number {
  if (!isPort(port)) throw new ErrorQUICPortInvalid(`${String(port)} is no port`)
  return port
}

/** `host:port`, IPv6 in brackets. */
export function buildAddress(host: string, port: number = 0): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}

/** Every PEM section of any number of texts. */
export function collectPEMs(pems?: Pems): string[] {
  const list = pems === undefined ? [] : typeof pems === 'string' || pems instanceof Uint8Array ? [pems] : pems
  return list.flatMap((pem) => pemText(pem).match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g) ?? []).map((section) => `${section.trim()}\n`)
}

/** The text of one option; bytes are PEM text, too. */
export function pemText(pem: string | Uint8Array): string {
  return typeof pem === 'string' ? pem : Buffer.from(pem).toString('utf8')
}

export function pemToDER(pem: string): Uint8Array {
  return new Uint8Array(Buffer.from(pem.replace(/-----[^-]+-----/g, ''), 'base64'))
}

export function derToPEM(der: Uint8Array): string {
  const lines = Buffer.from(der).toString('base64').match(/.{1,64}/g) ?? []
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n')
}

/** A promise with its ends in hand. */
export function promise<T = void>(): { p: Promise<T>; resolveP: (value: T | PromiseLike<T>) => void; rejectP: (reason?: unknown) => void } {
  let resolveP!: (value: T | PromiseLike<T>) => void
  let rejectP!: (reason?: unknown) => void
  const p = new Promise<T>((resolve, reject) => {
    resolveP = resolve
    rejectP = reject
  })
  return { p, resolveP, rejectP }
}
