/** Addresses as strings: `1.2.3.4:443`, `[2001:db8::1]:443`; a bare IP means port 0. Names are for `connect` alone. */
import { isIP } from 'node:net'

export interface Address {
  host: string
  port: number
  family: 4 | 6
}

/** An IP with an optional port, or null if the text is none. */
export function parseAddress(text: string): Address | null {
  const bare = isIP(text)
  if (bare !== 0) return { host: text, port: 0, family: bare as 4 | 6 }
  const split = splitPort(text)
  if (split === null) return null
  const family = isIP(split.host)
  if (family === 0 || (family === 6 && !text.startsWith('['))) return null
  return { host: split.host, port: split.port, family: family as 4 | 6 }
}

/** `name:port`, `ip:port` or `[ip]:port`; null if there is no port or it is none. */
export function splitPort(text: string): { host: string; port: number } | null {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  if (match === null) return null
  const port = Number(match[3])
  return port > 65_535 ? null : { host: match[1] ?? match[2] ?? '', port }
}

/** A peer behind a relay, `RELAY-OUTER` (traversal T-1); null if the text is none. `relay` may be a name. */
export function parseRelayed(text: string): { relay: { host: string; port: number }; outer: Address } | null {
  const match = /^(.+:\d{1,5})-(.+:\d{1,5})$/.exec(text)
  const relay = match === null ? null : splitPort(match[1] ?? '')
  const outer = match === null ? null : parseAddress(match[2] ?? '')
  if (relay === null || outer === null || relay.port === 0 || outer.port === 0) return null
  const family = isIP(relay.host)
  return family !== 0 && family !== outer.family ? null : { relay, outer }
}

/** The family of an address or of a relayed peer; null if the text is neither. */
export function familyOf(text: string): 4 | 6 | null {
  return (parseAddress(text) ?? parseRelayed(text)?.outer)?.family ?? null
}

/** Back to text, always with the port. */
export function formatAddress(address: { host: string; port: number; family: 4 | 6 }): string {
  return address.family === 6 ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

/** Whether the IP stands for every address of its family. */
export function isUnspecified(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}
