/**
 * Certificates of the sizes that servers have. Only Ed25519 makes the same bytes twice, so each is of that kind and has names enough to be
 * as long as what it stands for, its signature in CertificateVerify included (RSA: 256 bytes in place of 64).
 */
import type { Identity, World } from '../../sim/index.ts'

/** DER bytes of each certificate that the server sends. */
const CHAINS = {
  /** A single one with a P-256 key. */
  ecdsa: [500],
  /** A single one with an RSA key of 2048 bits, and its longer signature. */
  'rsa-2048': [1_250],
  /** Leaf and two above it, as public authorities give them for P-256 keys: within three times the first datagram. */
  'chain-3': [1_000, 850, 850],
  /** RSA throughout, many names: more than the server may send before the client's address is proved (RFC 9000 §8.1), twice over. */
  large: [3_000, 2_500, 2_500],
} as const

export type Certificate = keyof typeof CHAINS

export const CERTIFICATES: readonly Certificate[] = Object.keys(CHAINS) as Certificate[]

const SUFFIX = '.example'
const LONGEST_LABEL = 63

/** For the name `server`; the client trusts the first certificate, as of `World.identity`. */
export function identityOf(world: World, certificate: Certificate): Identity {
  const [leaf, ...above] = CHAINS[certificate].map((bytes, index) => padded(world, index === 0 ? 'server' : `authority-${index}`, bytes))
  if (leaf === undefined) throw new RangeError(`there is no certificate ${certificate}`)
  return { ...leaf, cert: [leaf, ...above].map(({ cert }) => cert).join('') }
}

/** Within 16 bytes of the size. */
function padded(world: World, name: string, bytes: number): Identity {
  const names = [name]
  for (;;) {
    const made = world.identity(...names)
    // Each name costs two bytes more than its letters, and sometimes the fields around it grow.
    const letters = Math.min(bytes - derBytes(made.cert) - 2, LONGEST_LABEL + SUFFIX.length)
    if (letters <= SUFFIX.length + 4) return made
    const label = String(names.length).padEnd(letters - SUFFIX.length, 'x')
    names.push(`${label}${SUFFIX}`)
  }
}

/** Bytes of the certificates in a PEM text. */
export function derBytes(pem: string): number {
  const lines = pem.split('\n').filter((line) => line !== '' && !line.startsWith('-'))
  const letters = lines.join('').replace(/=+$/, '').length
  return Math.floor((letters * 3) / 4)
}
