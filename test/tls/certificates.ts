/** X.509 certificates of any key kind, written byte by byte for tests: authorities, intermediates, leaves. */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

export type KeyKind = 'RSA' | 'ECDSA' | 'Ed25519'
export const KEY_KINDS: readonly KeyKind[] = ['RSA', 'ECDSA', 'Ed25519']

export interface TestIdentity { key: string; cert: string; ca: string }

/** A certificate with its key, to be shown or to issue others. */
export interface Issued {
  cert: string
  key: string
  /** DER. */
  certBytes: Buffer
  keyBytes: Buffer
  subject: string
  kind: KeyKind
  signer: KeyObject
}

const cache = new Map<string, TestIdentity>()

/** A leaf and its authority; the same for the same kind and name, since RSA keys take long. */
export function identityOf(kind: KeyKind, name: string = 'one'): TestIdentity {
  const known = cache.get(`${kind} ${name}`)
  if (known !== undefined) return known
  const authority = authorityOf(kind, `${name} authority`)
  const { key, cert } = leafOf(authority, name)
  const made = { key, cert, ca: authority.cert }
  cache.set(`${kind} ${name}`, made)
  return made
}

/** Signed by itself, or by another authority, which makes it an intermediate. */
export function authorityOf(kind: KeyKind, subject: string, by?: Issued): Issued {
  return issued({ kind, subject, by, extensions: authorityExtensions() })
}

export interface LeafOptions {
  /** DNS names beside the loopback addresses. */
  names?: readonly string[]
  /** Its last second, e.g. `200101000000Z`. */
  until?: string
}

export function leafOf(by: Issued, subject: string, options: LeafOptions = {}): Issued {
  return issued({ kind: by.kind, subject, by, extensions: leafExtensions(options.names ?? ['localhost']), until: options.until })
}

function issued({ kind, subject, by, extensions, until = '491231235959Z' }: { kind: KeyKind; subject: string; by: Issued | undefined; extensions: Buffer; until?: string | undefined }): Issued {
  const { publicKey, privateKey } = keys(kind)
  const certBytes = certificate({ subject, issuer: by?.subject ?? subject, publicKey, signer: by?.signer ?? privateKey, kind: by?.kind ?? kind, extensions, until })
  return {
    subject, kind, certBytes, signer: privateKey, cert: pem(certBytes),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, keyBytes: privateKey.export({ type: 'pkcs8', format: 'der' }),
  }
}

function keys(kind: KeyKind): { publicKey: KeyObject; privateKey: KeyObject } {
  if (kind === 'RSA') return generateKeyPairSync('rsa', { modulusLength: 2048 })
  if (kind === 'ECDSA') return generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  return generateKeyPairSync('ed25519')
}

interface Wanted { subject: string; issuer: string; publicKey: KeyObject; signer: KeyObject; kind: KeyKind; extensions: Buffer; until: string }

/** `kind` is the signer's. */
function certificate({ subject, issuer, publicKey, signer, kind, extensions, until }: Wanted): Buffer {
  const algorithm = ALGORITHMS[kind]
  const serial = Buffer.concat([Buffer.from([1]), randomBytes(8)])
  const validity = sequence(utcTime('200101000000Z'), utcTime(until))
  const body = sequence(explicit(0, integer([2])), der(0x02, serial), algorithm, name(issuer), validity, name(subject), publicKey.export({ type: 'spki', format: 'der' }), explicit(3, extensions))
  const signature = sign(kind === 'Ed25519' ? null : 'sha256', body, signer)
  return sequence(body, algorithm, bits(signature))
}

function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}

const sequence = (...parts: Buffer[]): Buffer => der(0x30, ...parts)
const integer = (bytes: number[]): Buffer => der(0x02, Buffer.from(bytes))
const bits = (bytes: Buffer): Buffer => der(0x03, Buffer.from([0]), bytes)
const octets = (bytes: Buffer): Buffer => der(0x04, bytes)
const explicit = (tag: number, part: Buffer): Buffer => der(0xa0 + tag, part)
const utcTime = (text: string): Buffer => der(0x17, Buffer.from(text))
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'))
const name = (text: string): Buffer => sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(text)))))

const ALGORITHMS: Record<KeyKind, Buffer> = {
  RSA: sequence(oid('2a864886f70d01010b'), der(0x05)),
  ECDSA: sequence(oid('2a8648ce3d040302')),
  Ed25519: sequence(oid('2b6570')),
}

/** basicConstraints (an authority) and keyUsage (keyCertSign), both critical. */
function authorityExtensions(): Buffer {
  const critical = der(0x01, Buffer.from([0xff]))
  return sequence(sequence(oid('551d13'), critical, octets(sequence(critical))), sequence(oid('551d0f'), critical, octets(der(0x03, Buffer.from([2, 4])))))
}

/** subjectAltName: names and both loopback addresses. */
function leafExtensions(dns: readonly string[]): Buffer {
  const names = sequence(...dns.map((one) => der(0x82, Buffer.from(one))), der(0x87, Buffer.from([127, 0, 0, 1])), der(0x87, Buffer.concat([Buffer.alloc(15), Buffer.from([1])])))
  return sequence(sequence(oid('551d11'), octets(names)))
}

function pem(bytes: Buffer): string {
  return ['-----BEGIN CERTIFICATE-----', ...(bytes.toString('base64').match(/.{1,64}/g) ?? []), '-----END CERTIFICATE-----', ''].join('\n')
}
