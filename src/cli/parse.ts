/** What people type: sizes, times, rates, shares, paths, URLs. Each function throws a usage error that shows a good example. */
import { familyOf, formatAddress, parseAddress } from '../config/index.ts'
import { usageError } from './exit.ts'

const SIZES: Readonly<Record<string, number>> = {
  b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40,
}
const TIMES: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000 }
const RATES: Readonly<Record<string, number>> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 }

/** Bytes: `1500`, `64KiB`, `10MB`. */
export function parseSize(text: string): number {
  return Math.round(measure(text, SIZES, 'b', 'a size like 64KiB, 10MB or 1500'))
}

/** Milliseconds: `250ms`, `5s`, `2m`. */
export function parseTime(text: string): number {
  return measure(text, TIMES, null, 'a time like 250ms, 5s or 2m')
}

/** Bits per second: `20mbit`, `1gbit`. */
export function parseRate(text: string): number {
  return measure(text, RATES, null, 'a rate like 500kbit, 20mbit or 1gbit')
}

/** A share, 0 to 1: `40%` or `40`. */
export function parseShare(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*%?$/.exec(text.trim())
  const percent = Number(match?.[1] ?? Number.NaN)
  if (!(percent >= 0 && percent <= 100)) throw usageError(`'${text}' is not a percentage from 0 to 100, like 40%`)
  return percent / 100
}

/** A whole number in a range. */
export function parseCount(text: string, min: number, max: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < min || value > max) throw usageError(`'${text}' is not a whole number from ${min} to ${max}`)
  return value
}

export interface PathArgument {
  local: string
  remote?: string
  status?: 'available' | 'backup'
}

/** `LOCAL[=REMOTE][,backup]`, e.g. `192.0.2.7`, `192.0.2.7=203.0.113.5:4433,backup`. Whether this machine has the address is seen later. */
export function parsePath(text: string): PathArgument {
  const [addresses = '', ...words] = text.split(',')
  const [local = '', remote, extra] = addresses.split('=')
  if (parseAddress(local) === null || (remote !== undefined && familyOf(remote) === null) || extra !== undefined || words.length > 1 || (words.length === 1 && words[0] !== 'backup')) {
    throw usageError(`'${text}' is not a path; write LOCAL[=REMOTE][,backup], e.g. 192.0.2.7 or 192.0.2.7=203.0.113.5:4433,backup`)
  }
  return { local, ...(remote === undefined ? {} : { remote }), ...(words.length === 1 ? { status: 'backup' as const } : {}) }
}

export interface FileUrl {
  /** As given. */
  url: string
  /** `host:port`, the connection it travels on. */
  origin: string
  /** What to ask for, percent-encoded. */
  path: string
  /** Last segment, decoded, if it can be a file name here; else null. */
  name: string | null
}

/** `https://host[:4433]/path`. */
export function parseUrl(text: string): FileUrl {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || url.protocol !== 'https:' || url.hostname === '') throw usageError(`'${text}' is not a URL like https://host:4433/path`)
  if (url.username !== '' || url.password !== '') throw usageError(`'${url.host}' has a user name; these URLs have none`)
  return { url: text, origin: `${url.hostname}:${portOf(text)}`, path: `${url.pathname}${url.search}`, name: fileName(url.pathname) }
}

/** `IP[:PORT]` of this machine to bind for UDP, with a port in any case. */
export function parseLocal(text: string, port: number): string {
  const bare = text.replace(/^\[([^\]]*)\]$/, '$1')
  const address = parseAddress(bare)
  if (address === null) throw usageError(`'${text}' is not an address to listen on; write IP[:PORT], e.g. 0.0.0.0:${port}, 192.0.2.7 or [::]:${port}`)
  return formatAddress(/:\d+$/.test(bare) && bare !== address.host ? address : { ...address, port })
}

/** `HOST[:PORT]`, `[::1]`, `[::1]:3478`, `::1`, with a port in any case. */
export function withPort(name: string, port: number): string {
  if (/^\[[^\]]*\]$/.test(name)) return `${name}:${port}`
  const colons = name.split(':').length - 1
  return colons === 0 ? `${name}:${port}` : colons === 1 || name.startsWith('[') ? name : `[${name}]:${port}`
}

/** WHATWG URLs drop 443, the default of https: ours is 4433, so a written 443 must be seen. */
function portOf(text: string): string {
  const authority = /^https:\/\/([^/?#]*)/i.exec(text)?.[1] ?? ''
  const port = /:(\d+)$/.exec(authority)?.[1]
  return port === undefined ? '4433' : String(Number(port))
}

function fileName(pathname: string): string | null {
  let name: string
  try {
    name = decodeURIComponent(pathname.slice(pathname.lastIndexOf('/') + 1))
  } catch {
    return null
  }
  return name === '' || name === '.' || name === '..' || /[/\\\0]/.test(name) ? null : name
}

function measure(text: string, units: Readonly<Record<string, number>>, bare: string | null, wanted: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim())
  const number = Number(match?.[1] ?? Number.NaN)
  const unit = (match?.[2] ?? '').toLowerCase()
  const factor = unit === '' ? (bare === null ? (number === 0 ? 1 : undefined) : units[bare]) : units[unit]
  if (factor === undefined || !Number.isFinite(number)) throw usageError(`'${text}' is not ${wanted}`)
  return number * factor
}
