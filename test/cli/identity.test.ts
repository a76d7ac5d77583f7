/** Files and pins that people name: whose flag, which file, what is wrong. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import { ownIdentity, parsePin, readCertificates, readIdentity } from '../../src/cli/identity.ts'

const { cert, key, pin } = createDevCertificate()
let folder = ''
const at = (name: string): string => join(folder, name)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quicbraid-identity-'))
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256', privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-128-cbc', passphrase: 'x' }, publicKeyEncoding: { type: 'spki', format: 'pem' } })
  const files = { 'cert.pem': cert, 'key.pem': key, 'other.pem': createDevCertificate().key, 'garbage.pem': 'garbage\n', 'empty.pem': '', 'locked.pem': privateKey, 'both.pem': `${key}\n${cert}`, 'broken.pem': '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' }
  await Promise.all(Object.entries(files).map(([name, text]) => writeFile(at(name), text)))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

describe('an identity in files', () => {
  const read = (certName: string | undefined, keyName: string | undefined) => readIdentity(certName && at(certName), keyName && at(keyName), ['--cert', '--key'])

  it('comes with the pin of its key', async () => {
    expect(await read('cert.pem', 'key.pem')).toEqual({ cert, key, pin, over: null })
    expect(await read('both.pem', 'both.pem')).toMatchObject({ pin })
    expect(await read(undefined, undefined)).toBeNull()
    expect(await ownIdentity(undefined, undefined, ['--cert', '--key'])).toMatchObject({ made: true })
  })

  it('is refused with its flag, its file, and what is wrong', async () => {
    const cases: [string | undefined, string | undefined, number, RegExp][] = [
      ['cert.pem', undefined, 1, /^--cert and --key go together: --key is missing$/],
      [undefined, 'key.pem', 1, /^--cert and --key go together: --cert is missing$/],
      ['none.pem', 'key.pem', 2, /^--cert .*none\.pem cannot be read: there is no such file \(ENOENT\)$/],
      ['cert.pem', '.', 2, /^--key .* cannot be read: it is a folder \(EISDIR\)$/],
      ['cert.pem', 'other.pem', 1, /^--key .*other\.pem: this key does not belong to the certificate in .*cert\.pem \(--cert\)$/],
      ['key.pem', 'cert.pem', 1, /^--cert .*key\.pem: there is no certificate in PEM in it, but a key; are two files mixed up\?$/],
      ['cert.pem', 'cert.pem', 1, /^--key .*cert\.pem: there is no key in PEM in it, but a certificate; are two files mixed up\?$/],
      ['garbage.pem', 'key.pem', 1, /^--cert .*garbage\.pem: there is no certificate in PEM in it$/],
      ['broken.pem', 'key.pem', 1, /^--cert .*broken\.pem: a certificate in it cannot be read$/],
      ['cert.pem', 'locked.pem', 1, /^--key .*locked\.pem: this key is encrypted; /],
    ]
    for (const [certName, keyName, exit, message] of cases) await expect(read(certName, keyName), String(message)).rejects.toMatchObject({ exit, message: expect.stringMatching(message) as never })
  })
})

it('authorities are certificates in PEM, or are refused by flag and file', async () => {
  expect(await readCertificates('--ca', at('cert.pem'))).toBe(cert)
  for (const [name, exit, message] of [['garbage.pem', 1, /^--ca .*: there is no certificate in PEM in it$/], ['empty.pem', 1, /^--ca /], ['key.pem', 1, /but a key/], ['none', 2, /^--ca .*none cannot be read/]] as const) {
    await expect(readCertificates('--ca', at(name))).rejects.toMatchObject({ exit, message: expect.stringMatching(message) as never })
  }
})

it('a pin is that of a key or of a certificate', () => {
  for (const text of [pin, 'ab'.repeat(32), Array(32).fill('AB').join(':')]) expect(parsePin(text)).toBe(text)
  for (const text of ['', 'abc', 'sha256//abc', pin.slice(0, -1), `sha256:${'a'.repeat(64)}`, 'ab'.repeat(31)]) expect(() => parsePin(text), text).toThrow(expect.objectContaining({ exit: 1 }))
})
