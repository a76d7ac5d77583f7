/**
 * What people type after -L, -R, -D, --allow and the like: ssh's forms, split at colons outside brackets. Pure; what is wrong is said together with
 * what was typed and a form that would be right.
 */
import { isIP, isIPv6 } from 'node:net'
import { usageError } from '../exit.ts'
import type { CommandError } from '../exit.ts'
import { canonicalIp } from './scope.ts'

/** An IP and a port of this machine; port 0: any. */
export interface Bind {
  host: string
  port: number
}

/** A name or an IP, without brackets, and a port from 1 on. */
export interface HostPort {
  host: string
  port: number
}

export interface Forward {
  /** As typed. */
  spec: string
  kind: 'tcp' | 'udp'
  bind: Bind
  target: HostPort
}

/** One host and a range of ports. */
export interface Allowed {
  spec: string
  kind: 'tcp' | 'udp'
  host: string
  first: number
  last: number
}

/** Bytes of a name on the wire (tunnel.md §4a). */
const MAX_NAME_BYTES = 255
/** Names of DNS, and what people call hosts in their own files. */
const NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?$/
const LOOPBACK = '127.0.0.1'
const EVERYWHERE = '0.0.0.0'

const FORWARD_FORM = '[BIND:]PORT:HOST:HOSTPORT, e.g. 8080:db.internal:5432 or [::1]:8080:[2001:db8::1]:80'
const SOCKS_FORM = '[BIND:]PORT, e.g. 1080 or [::1]:1080'
const ALLOW_FORM = '[udp:]HOST:PORT or [udp:]HOST:FIRST-LAST, e.g. db.internal:5432, 127.0.0.1:8000-8010 or udp:[2001:db8::1]:53'
const LISTEN_FORM = '[BIND:]PORT or [BIND:]FIRST-LAST, e.g. 8080 or 0.0.0.0:8000-8010'

/** `-L`, `-R`: `[udp:][bind:]port:host:hostport`. @throws a usage error */
export function parseForward(option: '-L' | '-R', text: string): Forward {
  const fail = failing(option, text, FORWARD_FORM)
  const { kind, rest } = kindOf(text)
  const words = split(rest, fail)
  if (kind === 'udp' && option === '-R') throw fail('-R carries TCP alone')
  if (words.length < 3) throw fail('a target, with its port, is missing')
  if (words.length > 4) throw fail('there are too many colons; IPv6 addresses stand in brackets')
  const [port = '', host = '', hostPort = ''] = words.slice(-3)
  const bind = words.length === 4 ? bindHost(words[0] ?? '', fail) : LOOPBACK
  return { spec: text, kind, bind: { host: bind, port: portOf(port, option === '-R' ? 1 : 0, 'the port to listen on', fail) }, target: { host: hostOf(host, fail), port: portOf(hostPort, 1, "the target's port", fail) } }
}

/** `-D`: `[bind:]port`. @throws a usage error */
export function parseSocks(text: string): Bind {
  const fail = failing('-D', text, SOCKS_FORM)
  const words = split(text, fail)
  if (words.length > 2) throw fail('there are too many colons; IPv6 addresses stand in brackets')
  return { host: words.length === 2 ? bindHost(words[0] ?? '', fail) : LOOPBACK, port: portOf(words.at(-1) ?? '', 0, 'the port to listen on', fail) }
}

/** `--allow`: `[udp:]host:port`, `[udp:]host:first-last`. @throws a usage error */
export function parseAllow(text: string): Allowed {
  const fail = failing('--allow', text, ALLOW_FORM)
  const { kind, rest } = kindOf(text)
  const words = split(rest, fail)
  if (words.length !== 2) throw fail(words.length < 2 ? 'the port is missing' : 'there are too many colons; IPv6 addresses stand in brackets')
  const [host = '', ports = ''] = words
  if (host === '*' || host === '') throw fail('a host is needed; there is no way to allow every host')
  return { spec: text, kind, host: hostOf(host, fail), ...rangeOf(ports, 1, fail) }
}

/** `--allow-listen`: `[bind:]port`, `[bind:]first-last`. @throws a usage error */
export function parseAllowListen(text: string): Allowed {
  const fail = failing('--allow-listen', text, LISTEN_FORM)
  const words = split(text, fail)
  if (words.length > 2) throw fail('there are too many colons; IPv6 addresses stand in brackets')
  return { spec: text, kind: 'tcp', host: words.length === 2 ? bindHost(words[0] ?? '', fail) : LOOPBACK, ...rangeOf(words.at(-1) ?? '', 0, fail) }
}

/** `--reconnect`: `off`, `max=N`, `max=inf`: how many failures in a row. @throws a usage error */
export function parseReconnect(text: string): number {
  const [, number = ''] = /^max=(\d{1,6}|inf)$/.exec(text) ?? []
  if (text === 'off' || number === '0') return 0
  if (number === '') throw usageError(`--reconnect '${text}' is not known; write off, max=N (failures in a row) or max=inf`)
  return number === 'inf' ? Infinity : Number(number)
}

/** The server of a client: `HOST[:PORT]`. @throws a usage error */
export function parseServer(text: string, defaultPort: number): string {
  const fail = failing('the server', text, 'HOST[:PORT], e.g. example.net, 192.0.2.7:4433 or [2001:db8::1]:4433')
  if (isIPv6(text)) return `[${text}]:${defaultPort}`
  const words = split(text, fail)
  if (words.length > 2) throw fail('there are too many colons; IPv6 addresses stand in brackets')
  const host = hostOf(words[0] ?? '', fail)
  return join({ host, port: words.length === 2 ? portOf(words[1] ?? '', 1, 'the port', fail) : defaultPort })
}

/** `host:port`, with brackets where they belong. */
export function join({ host, port }: { host: string; port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** `udp:` or `tcp:` in front, or nothing. */
function kindOf(text: string): { kind: 'tcp' | 'udp'; rest: string } {
  return text.startsWith('udp:') ? { kind: 'udp', rest: text.slice(4) } : { kind: 'tcp', rest: text.replace(/^tcp:/, '') }
}

type Fail = (what: string) => CommandError

function failing(option: string, text: string, form: string): Fail {
  return (what) => usageError(`${option} '${text}': ${what}; write ${form}`)
}

/** At colons outside brackets. */
function split(text: string, fail: Fail): string[] {
  if (text.trim() === '') throw fail('it is empty')
  if (text.includes('/')) throw fail('paths of sockets are not served, only TCP and UDP ports')
  const words = text.match(/(?:\[[^\]]*\]|[^:[\]])+|(?<=^|:)(?=:|$)/g) ?? []
  if (words.join(':') !== text) throw fail('brackets must be around a whole IPv6 address')
  return words
}

/** A name or an IP. */
function hostOf(word: string, fail: Fail): string {
  const inside = /^\[(.*)\]$/.exec(word)?.[1]
  if (inside !== undefined) {
    if (!isIPv6(inside) || inside.includes('%')) throw fail(`'${word}' is not an IPv6 address`)
    return canonicalIp(inside) ?? inside
  }
  if (word === '') throw fail("the target's host is missing")
  if (isIP(word) === 4) return word
  if (!NAME.test(word) || /^[\d.]+$/.test(word) || Buffer.byteLength(word) > MAX_NAME_BYTES) throw fail(`'${word}' is neither a name nor an address`)
  return word
}

/** An IP of this machine. */
function bindHost(word: string, fail: Fail): string {
  if (word === '' || word === '*') return EVERYWHERE
  if (word === 'localhost') return LOOPBACK
  const host = /^\[(.*)\]$/.exec(word)?.[1] ?? word
  if (isIP(host) === 0 || (isIP(host) === 6) !== word.startsWith('[') || host.includes('%')) throw fail(`'${word}' is not an address of this machine; it may be an IP, localhost, or * for all`)
  return host
}

function portOf(word: string, least: 0 | 1, what: string, fail: Fail): number {
  const port = Number(word)
  if (!/^\d{1,5}$/.test(word) || port < least || port > 65_535) throw fail(word === '' ? `${what} is missing` : `'${word}' is not a port from ${least} to 65535 (${what})`)
  return port
}

function rangeOf(word: string, least: 0 | 1, fail: Fail): { first: number; last: number } {
  const [from = '', to, extra] = word.split('-')
  const first = portOf(from, least, 'the port', fail)
  const last = to === undefined ? first : portOf(to, least, 'the last port', fail)
  if (extra !== undefined || last < first) throw fail(`'${word}' is not a range of ports`)
  return { first, last }
}
