/**
 * Header fields on their way through a proxy (RFC 9110 §7.6, RFC 9112 §3.2 and §6, RFC 9113 §8.2): which may pass, which are ours to write,
 * and what in a request is so ambiguous that it is refused. Pure; knows nothing of sockets.
 */
import type { OutgoingHttpHeaders } from 'node:http'
import type { Forwarded } from './options.ts'

export type Field = readonly [name: string, value: string]

/** Why a request goes nowhere. */
export interface Refusal {
  status: number
  text: string
}

/** Between two neighbours only. */
const HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'proxy-authorization', 'te', 'transfer-encoding', 'upgrade', 'http2-settings'])
/** Whoever names one of these in Connection does not get rid of it: they say where a message ends and whom it is for. */
const KEPT = new Set(['host', 'content-length', 'via', 'cookie', 'authorization'])
/** Never at the end of a message (RFC 9110 §6.5.1). */
const NO_TRAILER = new Set([...HOP, 'host', 'content-length', 'content-encoding', 'content-type', 'content-range', 'trailer', 'expect', 'authorization', 'set-cookie', 'cookie', 'cache-control', 'max-forwards'])
/** What a client says about whom it speaks for; programs behind gateways of the CGI kind read `_` as `-`. */
function isClaim(name: string): boolean {
  const key = name.toLowerCase().replaceAll('_', '-')
  return key === 'forwarded' || key === 'x-real-ip' || key.startsWith('x-forwarded-')
}
/** Of HTTP/2, a second one of these is an error. Others are joined. */
const SINGLE = new Set([
  'access-control-allow-credentials', 'access-control-max-age', 'access-control-request-method', 'age', 'authorization', 'content-encoding', 'content-language', 'content-length', 'content-location',
  'content-md5', 'content-range', 'content-type', 'date', 'dnt', 'etag', 'expires', 'from', 'host', 'if-match', 'if-modified-since', 'if-none-match', 'if-range', 'if-unmodified-since', 'last-modified',
  'location', 'max-forwards', 'proxy-authorization', 'range', 'referer', 'retry-after', 'tk', 'upgrade-insecure-requests', 'user-agent', 'x-content-type-options',
])

/** [name, value, name, value …] in pairs, without HTTP/2's pseudo fields. */
export function fieldsOf(raw: readonly string[]): Field[] {
  const fields: Field[] = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? ''
    if (!name.startsWith(':')) fields.push([name, raw[at + 1] ?? ''])
  }
  return fields
}

/** Values of every line with that name (lower case). */
export function valuesOf(fields: readonly Field[], wanted: string): string[] {
  return fields.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value)
}

/** The tokens of a list field, in lower case. */
export function tokensOf(fields: readonly Field[], wanted: string): string[] {
  return valuesOf(fields, wanted).flatMap((value) => value.split(',')).map((token) => token.trim().toLowerCase()).filter((token) => token !== '')
}

/** What can be read in two ways, read by two programs, is how requests are smuggled. Null: nothing of that kind. */
export function ambiguity(fields: readonly Field[], version: '1.0' | '1.1' | '2'): Refusal | null {
  const lengths = valuesOf(fields, 'content-length')
  const codings = tokensOf(fields, 'transfer-encoding')
  if (valuesOf(fields, 'host').length > 1) return { status: 400, text: 'The request has more than one Host.' }
  if (lengths.length > 1 || lengths.some((length) => !/^\d{1,15}$/.test(length))) return { status: 400, text: 'The Content-Length of the request is not one number.' }
  if (codings.length > 0 && lengths.length > 0) return { status: 400, text: 'The request has both Content-Length and Transfer-Encoding.' }
  if (codings.length > 0 && version !== '1.1') return { status: 400, text: 'Transfer-Encoding belongs to HTTP/1.1.' }
  if (codings.length > 1 || codings.some((coding) => coding !== 'chunked')) return { status: 501, text: 'Of transfer codings, chunked alone is understood.' }
  return null
}

/** `host` or `host:port` as it may stand in Host and :authority. */
export function isAuthority(text: string): boolean {
  return text === '' || (text.length <= 260 && /^(?:\[[0-9a-f:.]+\]|[\w.~!$&'()*+;=%-]+)(?::\d{0,5})?$/i.test(text))
}

/** A protocol that nobody is asked for: HTTP/2 in which requests would come that nobody here has seen, TLS, or what is no name of one (RFC 9110 §7.8). */
export function isForeign(protocol: string): boolean {
  return !/^[\w!#$%&'*+.^`|~-]+(?:\/[\w!#$%&'*+.^`|~-]+)?$/.test(protocol) || /^(?:h2c?|tls)(?:\/|$)/.test(protocol)
}

/** Without the port, in lower case and without the root's dot. */
export function hostName(authority: string): string {
  return authority.replace(/:\d*$/, '').toLowerCase().replace(/\.$/, '')
}

/** What may pass from one neighbour to the other, in the order it came. */
function passing(fields: readonly Field[], alsoNot: ReadonlySet<string>): Field[] {
  const named = new Set(tokensOf(fields, 'connection').filter((token) => !KEPT.has(token)))
  return fields.filter(([name]) => {
    const key = name.toLowerCase()
    return !HOP.has(key) && !named.has(key) && !alsoNot.has(key)
  })
}

export interface RequestFacts {
  fields: readonly Field[]
  version: '1.0' | '1.1' | '2'
  /** As the client gave it, or ''. */
  host: string
  /** IP of the client. */
  remote: string
  secure: boolean
}

const OWN_OF_REQUEST = new Set(['host', 'content-length', 'expect'])

/** Fields for the service, without Host and without those that frame the message. */
export function requestFields({ fields, version, host, remote, secure }: RequestFacts, forwarded: Forwarded, name: string): Field[] {
  const all = passing(fields, OWN_OF_REQUEST).filter(([key]) => forwarded !== 'replace' || !isClaim(key))
  const passed = joined(joined(all, 'cookie', '; '), 'via', ', ')
  if (version !== '1.0' && valuesOf(fields, 'expect').some((value) => value.toLowerCase() === '100-continue')) passed.push(['Expect', '100-continue'])
  if (forwarded !== 'keep') {
    append(passed, 'X-Forwarded-For', remote)
    if (valuesOf(passed, 'forwarded').length > 0) append(passed, 'Forwarded', `for=${remote.includes(':') ? `"[${remote}]"` : remote};proto=${secure ? 'https' : 'http'}`)
    if (valuesOf(passed, 'x-forwarded-proto').length === 0) passed.push(['X-Forwarded-Proto', secure ? 'https' : 'http'])
    if (host !== '' && valuesOf(passed, 'x-forwarded-host').length === 0) passed.push(['X-Forwarded-Host', host])
  }
  append(passed, 'Via', `${version} ${name}`)
  return passed
}

/** Fields for the client, without those that frame the message unless `length` says that it is still true. */
export function responseFields(fields: readonly Field[], version: string, name: string): Field[] {
  const passed = passing(fields, valuesOf(fields, 'transfer-encoding').length > 0 ? new Set(['content-length']) : new Set())
  append(passed, 'Via', `${version} ${name}`)
  return passed
}

/** What may stand behind a body. */
export function trailerFields(fields: readonly Field[]): Field[] {
  return fields.filter(([name]) => !NO_TRAILER.has(name.toLowerCase()) && !isClaim(name))
}

/** Fields as HTTP/2 wants them: names in lower case, one value each where there may be one only. */
export function http2Fields(fields: readonly Field[]): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = Object.create(null)
  for (const [name, value] of fields) {
    const key = name.toLowerCase()
    const there = headers[key]
    if (there === undefined) headers[key] = key === 'set-cookie' ? [value] : value
    else if (Array.isArray(there)) there.push(value)
    else if (!SINGLE.has(key)) headers[key] = `${there}${key === 'cookie' ? '; ' : ', '}${value}`
  }
  return headers
}

/** [name, value, name, value …] */
export function rawFields(fields: readonly Field[]): string[] {
  return fields.flatMap(([name, value]) => [name, value])
}

/** Every line with that name becomes one, where the first stood. */
function joined(fields: Field[], wanted: string, by: string): Field[] {
  const values = valuesOf(fields, wanted)
  if (values.length < 2) return fields
  const first = fields.findIndex(([name]) => name.toLowerCase() === wanted)
  return fields.flatMap((field, index) => (field[0].toLowerCase() !== wanted ? [field] : index === first ? [[field[0], values.join(by)] as const] : []))
}

/** One more value at the end of the list, in a single line. */
function append(fields: Field[], name: string, value: string): void {
  const key = name.toLowerCase()
  const values = [...valuesOf(fields, key), value]
  for (let at = fields.length - 1; at >= 0; at--) if (fields[at]?.[0].toLowerCase() === key) fields.splice(at, 1)
  fields.push([name, values.join(', ')])
}
