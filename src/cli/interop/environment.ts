/** What the runner says by environment variables, read once and checked. Names and defaults: api section 4. */
import { join } from 'node:path'
import { usageError } from '../exit.ts'
import { parseUrl } from '../parse.ts'
import type { FileUrl } from '../parse.ts'

export interface InteropEnvironment {
  role: 'client' | 'server'
  /** The name of the case. */
  testcase: string
  /** A client's downloads, in order. */
  requests: readonly FileUrl[]
  /** A server's certificate chain and key, PEM. */
  certFile: string
  keyFile: string
  /** A server's files. */
  www: string
  /** Where a client's files go. */
  downloads: string
  /** Addresses to listen at; the default ones may be refused by a machine of one family. */
  listen: readonly string[]
  isListenDefault: boolean
  /** Addresses to name in preferred_address instead of the machine's own. */
  preferred: readonly string[]
  keylog: boolean
  qlog: string | null
}

type Variables = Readonly<Record<string, string | undefined>>

/** @throws usage errors */
export function readEnvironment(variables: Variables): InteropEnvironment {
  const say = (name: string, otherwise: string): string => (variables[name] ?? '') === '' ? otherwise : (variables[name] as string)
  const words = (name: string): string[] => say(name, '').split(/\s+/).filter((word) => word !== '')
  const role = say('ROLE', '')
  if (role !== 'client' && role !== 'server') throw usageError(`ROLE is '${role}'; allowed: client, server`)
  const testcase = say('TESTCASE', '')
  if (testcase === '') throw usageError('TESTCASE is not set; --list shows the cases')
  const port = say('PORT', '443')
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) throw usageError(`PORT is '${port}'; allowed: a port number`)
  const requests = words('REQUESTS').map((url) => parseUrl(url))
  if (role === 'client' && requests.length === 0) throw usageError('REQUESTS is empty; it lists URLs, separated by spaces')
  const host = say('HOST', '')
  const certs = say('CERTS', '/certs')
  const qlog = say('QLOGDIR', '')
  return {
    role, testcase, requests,
    certFile: join(certs, 'cert.pem'),
    keyFile: join(certs, 'priv.key'),
    www: say('WWW', '/www'),
    downloads: say('DOWNLOADS', '/downloads'),
    listen: host === '' ? [`0.0.0.0:${port}`, `[::]:${port}`] : [`${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}`],
    isListenDefault: host === '',
    preferred: words('PREFERRED_ADDRESS'),
    keylog: say('SSLKEYLOGFILE', '') !== '',
    qlog: qlog === '' ? null : qlog,
  }
}
