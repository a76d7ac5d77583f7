/** What people type after `reverse dial` and `reverse listen`: targets, waits, addresses with services. Each function throws a usage error that shows a good example. */
import { isIP } from 'node:net'
import { usageError } from '../exit.ts'
import { parseTime } from '../parse.ts'

/** What requests are joined to. */
export type TargetAddress = { kind: 'tcp'; host: string; port: number } | { kind: 'unix'; path: string }

/** `fixed`, or how long to wait: at first and at most. */
export type RetryChoice = 'fixed' | { minMs: number; maxMs: number }

export interface ListenAddress {
  host: string
  port: number
}

/** A TCP port of the public end, and the service behind it. */
export interface PortMapping extends ListenAddress {
  service: string
}

export interface NameMapping {
  /** Lower case; a name, `*.name` or `*`. */
  name: string
  service: string
}

const LOOPBACK = '127.0.0.1'
const MAX_SERVICE_BYTES = 255
/** Of timers. */
const MAX_MS = 2_147_483_647

/** `HOST:PORT`, `[::1]:PORT`, `PORT` of this machine, `unix:/path`. */
export function parseTarget(text: string): TargetAddress {
  const [, path] = /^unix:(.+)$/.exec(text) ?? []
  if (path !== undefined) return { kind: 'unix', path }
  const found = hostAndPort(text)
  if (found === null || found.port === 0) throw usageError(`'${text}' is not a target; write HOST:PORT, e.g. 127.0.0.1:8080, or unix:/run/app.sock`)
  return { kind: 'tcp', ...found }
}

/** As it was typed, with the host that was meant. */
export function targetText(target: TargetAddress): string {
  return target.kind === 'unix' ? `unix:${target.path}` : addressText(target)
}

export function addressText({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** `1s..30s` or `fixed`. */
export function parseRetry(text: string): RetryChoice {
  if (text === 'fixed') return 'fixed'
  const [, least, most] = /^(.+?)\.\.(.+)$/.exec(text) ?? []
  if (least === undefined || most === undefined) throw usageError(`'${text}' is not a wait between attempts; write 1s..30s (it doubles) or fixed (1s, always)`)
  const retry = { minMs: parseTime(least), maxMs: parseTime(most) }
  if (retry.minMs < 1 || retry.maxMs < retry.minMs || retry.maxMs > MAX_MS) throw usageError(`'${text}' is not a wait from a shorter to a longer time, like 1s..30s, and not of weeks`)
  return retry
}

/** `[IP:]PORT` to listen on: this machine only, unless another IP is named. Port 0: any. */
export function parseListen(text: string): ListenAddress {
  const found = hostAndPort(text)
  if (found === null || isIP(found.host) === 0) throw usageError(`'${text}' is not an address to listen on; write [IP:]PORT, e.g. 8080 (this machine only) or 0.0.0.0:8080`)
  return found
}

/** `[IP:]PORT=SERVICE`. */
export function parsePortMapping(text: string): PortMapping {
  const [address, service] = halves(text)
  if (address === '' || service === '') throw usageError(`'${text}' is not a port with a service; write ADDR=SERVICE, e.g. 0.0.0.0:5432=db`)
  return { ...parseListen(address), service: parseService(service) }
}

/** `NAME=SERVICE`: `www.example.net=web`, `*.example.net=web`, `*=web`. */
export function parseNameMapping(text: string): NameMapping {
  const [name, service] = halves(text)
  if (!/^(\*|(\*\.)?[\w-]+(\.[\w-]+)*)$/.test(name) || service === '') throw usageError(`'${text}' is not a name with a service; write NAME=SERVICE, e.g. www.example.net=web, *.example.net=web or *=web`)
  return { name: name.toLowerCase(), service: parseService(service) }
}

/** A service's name: letters that show, at most 255 bytes. */
export function parseService(text: string): string {
  if (!/^[\u0021-\u007E\u00A1-\uFFFD]+$/.test(text) || Buffer.byteLength(text) > MAX_SERVICE_BYTES) throw usageError(`'${text}' is not the name of a service; write letters without spaces, at most ${MAX_SERVICE_BYTES} bytes, e.g. web`)
  return text
}

/** `HOST:PORT`, `[IPv6]:PORT`, `:PORT`, `PORT`. */
function hostAndPort(text: string): ListenAddress | null {
  const match = /^(?:(?<name>[^:[\]\s/]*):|\[(?<six>[^\]]+)\]:)?(?<port>\d{1,5})$/.exec(text.trim())
  const port = Number(match?.groups?.['port'])
  if (!(port <= 65_535)) return null
  const host = match?.groups?.['six'] ?? match?.groups?.['name'] ?? ''
  return { host: host === '' || host === 'localhost' ? LOOPBACK : host, port }
}

/** Around the first `=`. */
function halves(text: string): [string, string] {
  const at = text.indexOf('=')
  return at < 0 ? ['', ''] : [text.slice(0, at), text.slice(at + 1)]
}
