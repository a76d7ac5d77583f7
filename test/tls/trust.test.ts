/** Whom an end trusts, over the native module and loopback: pins, client certificates, ALPN, ciphers, and what the other end hears. */
import { afterEach, describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import type { CipherName, ConnectionError, ConnectionOptions, ServerOptions } from '../../src/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { bound, closeAll, identity, nativePair } from '../native/pair.ts'
import type { NativePair } from '../native/pair.ts'
import { authorityOf, identityOf, leafOf } from './certificates.ts'

afterEach(closeAll)

/** How a connection ends at both ends, when one of them does not want the other; the client may think itself connected for a while. */
async function refused(pair: NativePair, client: ConnectionOptions): Promise<{ near: ConnectionError; far: ConnectionError | null }> {
  const far = new Promise<ConnectionError | null>((resolve) => {
    const watching = pair.server.connections$.subscribe((connection) => {
      watching.unsubscribe()
      void connection.closed.then(({ error }) => resolve(error))
    })
  })
  const near: unknown = await pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', ...client }).then(async ({ closed }) => (await closed).error, (error: unknown) => error)
  return { near: near as ConnectionError, far: await far }
}

describe.skipIf(!MODULE_BUILT)('pins', () => {
  const own = MODULE_BUILT ? createDevCertificate({ names: ['elsewhere.example'] }) : { cert: '', key: '', pin: '', fingerprint: '' }
  const plain = own.fingerprint.replaceAll(':', '')
  const wrong = { key: `sha256//${Buffer.alloc(32, 7).toString('base64')}`, certificate: 'ab'.repeat(32) }

  it.each<[string, string[]]>([
    ['the key', [own.pin]], ['the certificate, with colons', [own.fingerprint]], ['the certificate', [plain.toLowerCase()]], ['one of several', [wrong.key, wrong.certificate, own.pin]],
  ])('of %s alone are trust, whatever the name and the issuer', async (_what, pins) => {
    const pair = await nativePair({ server: identity(own) })
    const near = await pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', pins })
    expect([near.peer?.pin, near.peer?.fingerprint]).toEqual([own.pin, own.fingerprint])
  })

  it('that fit nothing refuse, with anchors and with a function too', async () => {
    const pair = await nativePair({ server: identity(own) })
    for (const pins of [[wrong.key], [wrong.certificate]]) {
      for (const more of [{}, { ca: own.cert, serverName: 'elsewhere.example' }, { verify: () => {} }]) {
        const { near, far } = await refused(pair, { pins, ...more })
        expect(near).toMatchObject({ code: 'QB_TLS_CERTIFICATE', by: 'local', message: expect.stringMatching(/pin/) })
        expect(far).toMatchObject({ code: 'QB_TLS_ALERT', by: 'peer', errorCode: near.errorCode })
      }
    }
  })

  it('beside anchors do not replace the name', async () => {
    const pair = await nativePair({ server: identity(own) })
    const { near } = await refused(pair, { pins: [own.pin], ca: own.cert, serverName: 'localhost' })
    expect(near).toMatchObject({ code: 'QB_TLS_CERTIFICATE', message: expect.stringMatching(/name/) })
    await pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', pins: [own.pin], ca: own.cert, serverName: 'elsewhere.example' })
  })

  it('of clients alone are trust for a server', async () => {
    const pair = await nativePair({ server: { clientAuth: 'require', pins: [own.pin] } })
    const { far } = await pair.connect(identity(own))
    expect(far.peer).toMatchObject({ pin: own.pin, names: ['elsewhere.example'] })
    expect((await refused(pair, { ca: pair.own.cert, ...identity(createDevCertificate()) })).far).toMatchObject({ code: 'QB_TLS_CERTIFICATE', by: 'local', message: expect.stringMatching(/pin/) })
  })

  it('that cannot be read are refused by their place', async () => {
    const client = await bound()
    await expect(client.connect('127.0.0.1:9', { alpn: 'test', pins: [own.pin, 'sha256//short'] })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: expect.stringContaining('pins') })
  })
})

describe.skipIf(!MODULE_BUILT)('client certificates', () => {
  it('that are requested may be missing, but not wrong', async () => {
    const root = authorityOf('ECDSA', 'clients')
    const middle = authorityOf('ECDSA', 'middle', root)
    const friend = leafOf(middle, 'friend', { names: ['friend.example'] })
    const pair = await nativePair({ server: { clientAuth: 'request', ca: root.cert } })
    expect((await pair.connect()).far.peer).toBe(null)
    const { near, far } = await pair.connect({ cert: [friend.cert, middle.cert], key: friend.key })
    expect([far.peer?.names[0], far.peer?.chain.length, near.peer?.names[0]]).toEqual(['friend.example', 2, 'localhost'])
    const strange = await refused(pair, { ca: pair.own.cert, ...identity(createDevCertificate()) })
    expect(strange.far).toMatchObject({ code: 'QB_TLS_CERTIFICATE', by: 'local', message: expect.stringMatching(/unknown issuer/) })
    expect(strange.near).toMatchObject({ code: 'QB_TLS_ALERT', by: 'peer', codeName: 'CRYPTO_ERROR (unknown_ca)' })
  })

  it('that nobody asks for are not shown', async () => {
    const { far } = await (await nativePair()).connect(identity(createDevCertificate()))
    expect(far.peer).toBe(null)
  })
})

describe.skipIf(!MODULE_BUILT)('protocols and ciphers', () => {
  it('are the first of the server\'s that the client has, and none is QB_TLS_ALPN at both ends', async () => {
    const pair = await nativePair({ server: { alpn: ['b', 'a'] } })
    const { near, far } = await pair.connect({ alpn: ['x', 'a', 'b'] })
    expect([near.alpn, far.alpn, (await near.opened).alpn]).toEqual(['b', 'b', 'b'])
    const ends = await refused(pair, { alpn: 'c', ca: pair.own.cert })
    expect(ends.near).toMatchObject({ code: 'QB_TLS_ALPN', by: 'peer', layer: 'transport', errorCode: 0x178n, codeName: 'CRYPTO_ERROR (no_application_protocol)' })
    expect(ends.far).toMatchObject({ code: 'QB_TLS_ALPN', by: 'local', errorCode: 0x178n })
  })

  it('of ciphers the order of one end and the choice of both count, and bytes pass with each', async () => {
    const all: CipherName[] = ['aes-128-gcm', 'aes-256-gcm', 'chacha20-poly1305']
    for (const cipher of all) {
      const pair = await nativePair({ server: { ciphers: [cipher] } })
      const { near, far } = await pair.connect({ ciphers: all })
      expect((await near.opened).cipher.toLowerCase().replaceAll('_', '-')).toContain(cipher)
      const stream = await near.openUnidirectional()
      for (let left = 300_000; left > 0; await stream.ready()) left -= stream.write(Buffer.alloc(Math.min(left, 65_536), cipher))
      stream.end()
      expect(near.updateKey()).toBe(true)
      const bytes = await (await far.incomingUnidirectional().next()).value.bytes()
      expect(bytes.length).toBe(300_000)
      const others = all.filter((other) => other !== cipher)
      const { near: lost } = await refused(pair, { ca: pair.own.cert, ciphers: others })
      expect(lost).toMatchObject({ code: 'QB_TLS_ALERT', codeName: 'CRYPTO_ERROR (handshake_failure)' })
    }
  })
})

describe.skipIf(!MODULE_BUILT)('alerts', () => {
  const root = authorityOf('Ed25519', 'root')
  const leaf = leafOf(root, 'leaf')
  const old = leafOf(root, 'old', { until: '200601000000Z' })
  const trust: ConnectionOptions = { ca: root.cert, serverName: 'localhost' }

  it.each<[string, bigint, Partial<ServerOptions>, ConnectionOptions]>([
    ['certificate_expired', 0x12dn, identity(old), trust],
    ['unknown_ca', 0x130n, identity(leaf), { ...trust, ca: identityOf('ECDSA').ca }],
    ['bad_certificate', 0x12an, identity(leaf), { ...trust, verify: () => Promise.reject(new Error('no')) }],
    ['unrecognized_name', 0x170n, { cert: undefined, key: undefined, sni: { 'other.example': identity(leaf) } }, trust],
    ['certificate_required', 0x174n, { ...identity(leaf), clientAuth: 'require', ca: root.cert }, trust],
    ['no_application_protocol', 0x178n, { ...identity(leaf), alpn: 'other' }, trust],
  ])('%s has its name and number at both ends, and who sent it', async (name, errorCode, server, client) => {
    const pair = await nativePair({ server })
    const { near, far } = await refused(pair, client)
    const both = { errorCode, codeName: `CRYPTO_ERROR (${name})`, layer: 'transport' }
    expect(near).toMatchObject(both)
    expect(far).toMatchObject(both)
    expect(new Set([near.by, far?.by])).toEqual(new Set(['local', 'peer']))
    for (const error of [near, far]) if (error?.code === 'QB_TLS_ALERT') expect(error.message).toContain(name)
  })
})
