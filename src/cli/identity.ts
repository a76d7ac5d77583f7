/**
 * Certificates, keys and pins that people name, looked at before anything begins: whose flag it is, which file, what is wrong, what would be right.
 * Whether anybody trusts them is the library's to say.
 */
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createDevCertificate } from '../index.ts'
import { isoDate, isOver } from './clock.ts'
import { CommandError, Exit, usageError } from './exit.ts'

/** Who this end is. */
export interface Identity {
  cert: string
  key: string
  pin: string
  /** When the certificate ends, ISO 8601, if that was before now; else null. */
  over: string | null
  /** Another one at the next start. */
  made: boolean
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g
const PIN = /^(?:sha256\/\/[A-Za-z0-9+/]{43}=|(?:[0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2})$/

/** `sha256//…` of a public key, or 64 hex digits of a certificate. @throws a usage error */
export function parsePin(text: string): string {
  if (!PIN.test(text)) throw usageError(`'${text}' is not a pin; write sha256// and 44 characters of base64, as \`quicbraid cert\` prints it, or 64 hex digits`)
  return text
}

/** Certificates in PEM, at least one. `option`: the flag, for people. @throws CommandError */
export async function readCertificates(option: string, file: string): Promise<string> {
  const text = await read(option, file)
  certificatesOf(option, file, text, usageError)
  return text
}

/** The two files of an identity. @throws CommandError; a usage error for one without the other */
export async function readIdentity(cert: string | undefined, key: string | undefined, [certOption, keyOption]: readonly [cert: string, key: string]): Promise<Omit<Identity, 'made'> | null> {
  if ((cert === undefined) !== (key === undefined)) throw usageError(`${certOption} and ${keyOption} go together: ${cert === undefined ? certOption : keyOption} is missing`)
  if (cert === undefined || key === undefined) return null
  const [certText, keyText] = [await read(certOption, cert), await read(keyOption, key)]
  const [leaf] = certificatesOf(certOption, cert, certText, wrong)
  const own = keyOf(keyOption, key, keyText)
  if (leaf?.checkPrivateKey(own) !== true) throw wrong(`${keyOption} ${key}: this key does not belong to the certificate in ${cert} (${certOption})`)
  return { cert: certText, key: keyText, pin: pinOf(leaf), over: isOver(leaf.validTo) ? isoDate(leaf.validTo) : null }
}

/** The same, or one for this run. */
export async function ownIdentity(cert: string | undefined, key: string | undefined, options: readonly [cert: string, key: string]): Promise<Identity> {
  const given = await readIdentity(cert, key, options)
  return given === null ? { ...createDevCertificate(), over: null, made: true } : { ...given, made: false }
}

function pinOf({ publicKey }: X509Certificate): string {
  return `sha256//${createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('base64')}`
}

async function read(option: string, file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException
    const why = { ENOENT: 'there is no such file', EACCES: 'it may not be read', EISDIR: 'it is a folder' }[code]
    throw new CommandError('QB_FILE_ACCESS', Exit.LOCAL, `${option} ${file} cannot be read${why === undefined ? '' : `: ${why}`} (${code})`, { cause: error })
  }
}

function certificatesOf(option: string, file: string, text: string, fail: (message: string) => CommandError): X509Certificate[] {
  const blocks = text.match(CERTIFICATE) ?? []
  if (blocks.length === 0) throw fail(`${option} ${file}: there is no certificate in PEM in it${/PRIVATE KEY/.test(text) ? ', but a key; are two files mixed up?' : ''}`)
  try {
    return blocks.map((block) => new X509Certificate(block))
  } catch {
    throw fail(`${option} ${file}: a certificate in it cannot be read`)
  }
}

function keyOf(option: string, file: string, text: string): KeyObject {
  if (!/PRIVATE KEY/.test(text)) throw wrong(`${option} ${file}: there is no key in PEM in it${/BEGIN CERTIFICATE/.test(text) ? ', but a certificate; are two files mixed up?' : ''}`)
  if (/ENCRYPTED/.test(text)) throw wrong(`${option} ${file}: this key is encrypted; write it to a file without a passphrase`)
  try {
    return createPrivateKey(text)
  } catch {
    throw wrong(`${option} ${file}: the key in it cannot be read`)
  }
}

function wrong(message: string): CommandError {
  return new CommandError('QB_TLS_IDENTITY', Exit.USAGE, message)
}
