/** Certificates for Node's own TLS, which knows PEM alone; one context for each identity, however often it is asked for. */
import { X509Certificate, createPrivateKey } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import type { SecureContext } from 'node:tls'
import type { Pem } from '../../config/index.ts'
import { OptionError } from '../../errors/index.ts'
import type { FrontIdentity, HttpFrontOptions } from './options.ts'

type Sni = NonNullable<HttpFrontOptions['tls']>['sni']
type Answer = (error: Error | null, context?: SecureContext) => void

/** DER becomes PEM. */
export function certificatePem(pem: Pem): string {
  return items(pem).map((item) => (typeof item === 'string' ? item : isText(item) ? Buffer.from(item).toString('latin1') : new X509Certificate(item).toString())).join('\n')
}

export function keyPem(pem: Pem): string {
  const [item = ''] = items(pem)
  if (typeof item === 'string') return items(pem).join('\n')
  if (isText(item)) return Buffer.from(item).toString('latin1')
  return derKey(Buffer.from(item))
}

/** @throws QB_TLS_IDENTITY */
export function contextOf({ cert, key }: FrontIdentity): SecureContext {
  try {
    return createSecureContext({ cert: certificatePem(cert), key: keyPem(key), minVersion: 'TLSv1.2' })
  } catch (cause) {
    throw new OptionError('QB_TLS_IDENTITY', `the certificate and key cannot be used for TLS: ${cause instanceof Error ? cause.message : String(cause)}; give a chain and the key that belongs to its first certificate`, { field: 'tls', cause })
  }
}

/** What Node asks when a client names a server. `own`: for everybody else. @throws QB_TLS_IDENTITY */
export function sniCallback(sni: Sni, own: SecureContext): (serverName: string, answer: Answer) => void {
  if (typeof sni === 'function') return asked(sni, own)
  const table = new Map(Object.entries(sni ?? {}).map(([name, identity]) => [name.toLowerCase(), contextOf(identity)]))
  return (serverName, answer) => {
    const name = serverName.toLowerCase()
    answer(null, table.get(name) ?? table.get(name.replace(/^[^.]+/, '*')) ?? table.get('*') ?? own)
  }
}

function asked(ask: (serverName: string) => FrontIdentity | undefined | Promise<FrontIdentity | undefined>, own: SecureContext): (serverName: string, answer: Answer) => void {
  const made = new WeakMap<FrontIdentity, SecureContext>()
  return (serverName, answer) => {
    void (async () => {
      const identity = await ask(serverName)
      if (identity === undefined) return own
      const context = made.get(identity) ?? contextOf(identity)
      made.set(identity, context)
      return context
    })().then((context) => answer(null, context), (error: unknown) => answer(error instanceof Error ? error : new Error(String(error))))
  }
}

function items(pem: Pem): readonly (string | Uint8Array)[] {
  return typeof pem === 'string' || pem instanceof Uint8Array ? [pem] : pem
}

function isText(item: Uint8Array): boolean {
  return Buffer.from(item.buffer, item.byteOffset, Math.min(item.length, 64)).includes('-----BEGIN')
}

function derKey(key: Buffer): string {
  let last: unknown
  for (const type of ['pkcs8', 'sec1', 'pkcs1'] as const) {
    try {
      return createPrivateKey({ key, format: 'der', type }).export({ type: 'pkcs8', format: 'pem' }) as string
    } catch (error) {
      last = error
    }
  }
  throw last
}
