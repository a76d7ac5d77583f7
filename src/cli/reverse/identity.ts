/** Who the public end is: a certificate that was given, or one for this run. With its pin, which private ends are told. */
import { createHash, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createDevCertificate } from '../../index.ts'
import { CommandError, Exit, usageError } from '../exit.ts'

export interface Identity {
  cert: string
  key: string
  pin: string
  /** Another one at the next start. */
  made: boolean
}

/** `options`: their names, for people. @throws errors of the file system; usage errors */
export async function identity(cert: string | undefined, key: string | undefined, options: string): Promise<Identity> {
  if ((cert === undefined) !== (key === undefined)) throw usageError(`${options} go together`)
  if (cert === undefined || key === undefined) return { ...createDevCertificate(), made: true }
  const text = await readFile(cert, 'utf8')
  return { cert: text, key: await readFile(key, 'utf8'), pin: pinOf(text, cert), made: false }
}

function pinOf(pem: string, file: string): string {
  try {
    return `sha256//${createHash('sha256').update(new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' })).digest('base64')}`
  } catch (error) {
    throw new CommandError('QB_TLS_IDENTITY', Exit.USAGE, `${file} is no certificate in PEM`, { cause: error })
  }
}
