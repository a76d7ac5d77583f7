/** Certificates, keys and anchors in every form, chains, and names, over the native module and loopback. */
import { afterEach, describe, expect, it } from 'vitest'
import type { ConnectionOptions, Pem, ServerOptions } from '../../src/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { bound, closeAll, nativePair } from '../native/pair.ts'
import { KEY_KINDS, authorityOf, identityOf, leafOf } from './certificates.ts'
import type { Issued } from './certificates.ts'

afterEach(closeAll)

/** A client's error towards a server that shows this; null: it connects. */
async function shown(server: Partial<ServerOptions>, client: ConnectionOptions): Promise<string | null> {
  const pair = await nativePair({ server })
  const error: unknown = await pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', serverName: 'localhost', ...client }).then(() => null, (thrown: unknown) => thrown)
  await closeAll()
  return error === null ? null : `${(error as { code: string }).code} ${(error as Error).message}`
}

describe.skipIf(!MODULE_BUILT)('a certificate and its key', () => {
  it.each(KEY_KINDS)('may be PEM or DER, alone or in lists, with an anchor in either: %s', async (kind) => {
    const authority = authorityOf(kind, 'root')
    const leaf = leafOf(authority, 'leaf')
    const text = (words: string): Uint8Array => Buffer.from(words)
    const certs: Pem[] = [leaf.cert, leaf.certBytes, [leaf.cert], [new Uint8Array(leaf.certBytes)], text(leaf.cert)]
    const keys: Pem[] = [leaf.key, leaf.keyBytes, [leaf.keyBytes], text(leaf.key), [leaf.key]]
    const anchors: Pem[] = [authority.cert, authority.certBytes, [authority.certBytes, identityOf('Ed25519').ca], `${identityOf('Ed25519').ca}${authority.cert}`, text(authority.cert)]
    for (const [index, cert] of certs.entries()) expect(await shown({ cert, key: keys[index] ?? '' }, { ca: anchors[index] ?? '' })).toBe(null)
  })

  it('reach the peer as a chain, the leaf first', async () => {
    const { chain, root, pair } = await withChain('Ed25519')
    const { near } = await pair.connect({ ca: root.cert, serverName: 'localhost' })
    expect(near.peer?.chain.map((bytes) => Buffer.from(bytes))).toEqual(chain.map(({ certBytes }) => certBytes))
  })

  it('of a chain may be one text, a list of texts, a list of bytes; without what stands between nobody believes it', async () => {
    const root = authorityOf('ECDSA', 'root')
    const middle = authorityOf('ECDSA', 'middle', root)
    const leaf = leafOf(middle, 'leaf')
    for (const cert of [leaf.cert + middle.cert, [leaf.cert, middle.cert], [leaf.certBytes, middle.certBytes], [leaf.certBytes, middle.cert]]) {
      expect(await shown({ cert, key: leaf.key }, { ca: root.cert })).toBe(null)
    }
    expect(await shown({ cert: leaf.cert, key: leaf.key }, { ca: root.cert })).toMatch(/^QB_TLS_CERTIFICATE .*unknown issuer/)
    // What stands between may be an anchor.
    expect(await shown({ cert: leaf.cert, key: leaf.key }, { ca: middle.cert })).toBe(null)
  })

  it('that cannot be read, or do not belong together, are refused by their name before anything is bound or sent', async () => {
    const [one, two] = [identityOf('ECDSA', 'one'), identityOf('ECDSA', 'two')]
    const wrong: [Partial<ServerOptions>, string, RegExp][] = [
      [{ cert: 'nothing', key: one.key }, 'cert', /PEM/],
      [{ cert: [one.cert, Buffer.from('noise')], key: one.key }, 'cert', /1/],
      [{ cert: one.cert, key: one.cert }, 'key', /CERTIFICATE|key/],
      [{ cert: one.cert, key: two.key }, 'key', /belong/],
    ]
    for (const [server, field, message] of wrong) {
      await expect(nativePair({ server })).rejects.toMatchObject({ code: 'QB_TLS_IDENTITY', field, message: expect.stringMatching(message) })
    }
    const client = await bound()
    await expect(client.connect('127.0.0.1:9', { alpn: 'test', ca: one.ca, cert: one.cert, key: two.key })).rejects.toMatchObject({ code: 'QB_TLS_IDENTITY', field: 'key' })
    expect(client.statistics().datagramsSent).toBe(0)
  })
})

describe.skipIf(!MODULE_BUILT)('a server', () => {
  it('is refused for what is wrong with its certificate, and the error says what that is', async () => {
    const root = authorityOf('Ed25519', 'root')
    const old = leafOf(root, 'old', { until: '200601000000Z' })
    const other = leafOf(root, 'other', { names: ['other.example'] })
    expect(await shown({ cert: old.cert, key: old.key }, { ca: root.cert })).toMatch(/^QB_TLS_CERTIFICATE .*expired.*`ca`/)
    expect(await shown({ cert: other.cert, key: other.key }, { ca: root.cert })).toMatch(/^QB_TLS_CERTIFICATE .*name/)
    expect(await shown({ cert: other.cert, key: other.key }, { ca: root.cert, serverName: 'other.example' })).toBe(null)
    expect(await shown({ cert: other.cert, key: other.key }, { ca: identityOf('Ed25519').ca, serverName: 'other.example' })).toMatch(/^QB_TLS_CERTIFICATE .*unknown issuer/)
    // Without anchors the public authorities count, which do not know it.
    expect(await shown({ cert: other.cert, key: other.key }, { serverName: 'other.example' })).toMatch(/^QB_TLS_CERTIFICATE .*unknown issuer/)
  })

  it('has an identity for each name, one for those of a domain, and one for all others', async () => {
    const root = authorityOf('Ed25519', 'root')
    const named = (...names: string[]): { cert: string; key: string } => {
      const { cert, key } = leafOf(root, names[0] ?? '', { names })
      return { cert, key }
    }
    const sni = { 'a.example.net': named('a.example.net'), '*.example.net': named('*.example.net'), '*': named('other.example', 'deep.b.example.net', 'localhost') }
    const pair = await nativePair({ server: { cert: undefined, key: undefined, sni } })
    const asked = { 'a.example.net': 'a.example.net', 'A.Example.NET': 'a.example.net', 'b.example.net': '*.example.net', 'deep.b.example.net': 'other.example', 'other.example': 'other.example', '127.0.0.1': 'other.example' }
    for (const [serverName, first] of Object.entries(asked)) {
      const { near, far } = await pair.connect({ serverName, ca: root.cert })
      expect([serverName, near.peer?.names[0]]).toEqual([serverName, first])
      expect(far.serverName).toBe(serverName === '127.0.0.1' ? null : serverName.toLowerCase())
    }
  })

  it('shows a new certificate from `listen` on, and its old connections carry bytes as before', async () => {
    const [first, second] = [identityOf('Ed25519', 'one'), identityOf('RSA', 'two')]
    const pair = await nativePair({ server: { cert: first.cert, key: first.key } })
    const before = await pair.connect({ ca: first.ca, serverName: 'localhost' })
    pair.server.listen({ alpn: 'test', cert: second.cert, key: second.key })
    const after = await pair.connect({ ca: second.ca, serverName: 'localhost', sessions: { get: () => [], set: () => {} } })
    expect(after.near.peer?.fingerprint).not.toBe(before.near.peer?.fingerprint)
    for (const { near, far } of [before, after]) {
      const stream = await near.openUnidirectional()
      stream.write(Buffer.from('alive'))
      stream.end()
      const { value } = await far.incomingUnidirectional().next()
      expect(Buffer.from((await value?.bytes()) ?? []).toString()).toBe('alive')
    }
    // What cannot be read changes nothing.
    expect(() => pair.server.listen({ alpn: 'test', cert: first.cert, key: second.key })).toThrow(expect.objectContaining({ code: 'QB_TLS_IDENTITY' }))
    expect((await pair.connect({ ca: second.ca, serverName: 'localhost' })).near.peer?.fingerprint).toBe(after.near.peer?.fingerprint)
  })
})

/** A server with a leaf, two authorities in between, and the root that its client trusts. */
async function withChain(kind: Issued['kind']): Promise<{ root: Issued; chain: Issued[]; pair: Awaited<ReturnType<typeof nativePair>> }> {
  const root = authorityOf(kind, 'root')
  const upper = authorityOf('ECDSA', 'upper', root)
  const lower = authorityOf(kind, 'lower', upper)
  const chain = [leafOf(lower, 'leaf'), lower, upper]
  const pair = await nativePair({ server: { cert: chain.map(({ certBytes }) => certBytes), key: chain[0]?.keyBytes ?? '' } })
  return { root, chain, pair }
}
