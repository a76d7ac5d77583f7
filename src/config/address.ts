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

/** Back to text, always with the port. */
export function formatAddress(address: { host: string; port: number; family: 4 | 6 }): string {
  return address.family === 6 ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}
