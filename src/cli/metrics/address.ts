/** The address of `--metrics`: this machine only, unless another one is named. */
import { isIP } from 'node:net'
import { usageError } from '../exit.ts'

export interface MetricsAddress {
  host: string
  port: number
  /** Only programs on this machine reach it. */
  reach: 'loopback' | 'network'
}

const LOOPBACK = '127.0.0.1'

/** `9100`, `:9100`, `127.0.0.1:9100`, `[::1]:9100`, `localhost:9100`; port 0: any. @throws a usage error */
export function parseMetricsAddress(text: string): MetricsAddress {
  const match = /^(?:(?<name>[^:[\]]*):|\[(?<six>[^\]]+)\]:)?(?<port>\d{1,5})$/.exec(text.trim())
  const named = match?.groups?.['six'] ?? match?.groups?.['name'] ?? ''
  const host = named === '' || named === 'localhost' ? LOOPBACK : named
  const port = Number(match?.groups?.['port'])
  if (!(port <= 65_535) || isIP(host) === 0) throw usageError(`--metrics '${text}' is not an address; write [HOST:]PORT, e.g. 9100, 127.0.0.1:9100 or [::1]:9100`)
  return { host, port, reach: isLoopback(host) ? 'loopback' : 'network' }
}

export function isLoopback(host: string): boolean {
  return host === '::1' || host === 'localhost' || /^127(?:\.\d{1,3}){3}$/.test(host)
}

/** The host of a `Host` header, without port and brackets. */
export function hostOf(header: string): string {
  return header.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1').toLowerCase()
}
