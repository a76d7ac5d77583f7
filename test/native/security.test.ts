/** Names, client certificates, ciphers, key logs, over the native module and loopback. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import { MODULE_BUILT } from './built.ts'
import { closeAll, identity, nativePair, until } from './pair.ts'

afterEach(closeAll)

describe.skipIf(!MODULE_BUILT)('identities by name', () => {
  it('are chosen by what the client asks for, the closest first', async () => {
    const [exact, wild] = [createDevCertificate({ names: ['a.example.net'] }), createDevCertificate({ names: ['*.example.net'] })]
    const pair = await nativePair({ server: { sni: { 'a.example.net': identity(exact), '*.example.net': identity(wild) } } })
    const ca = [pair.own.cert, exact.cert, wild.cert]
    for (const [serverName, names] of [['a.example.net', ['a.example.net']], ['b.example.net', ['*.example.net']], ['localhost', ['localhost']]] as const) {
      const { near, far } = await pair.connect({ serverName, ca })
      expect([near.peer?.names[0], far.serverName]).toEqual([names[0], serverName])
    }
  })

  it('of no use to the client fail with QB_TLS_NAME, and can be replaced while connections live', async () => {
    const first = createDevCertificate({ names: ['a.example.net'] })
    const pair = await nativePair({ server: { cert: undefined, key: undefined, sni: { 'a.example.net': identity(first) } } })
    const connect = (serverName: string, ca: string): ReturnType<typeof pair.connect> => pair.connect({ serverName, ca })
    await expect(pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', serverName: 'b.example.net', ca: first.cert })).rejects.toMatchObject({ code: 'QB_TLS_NAME' })
    const { near: old } = await connect('a.example.net', first.cert)
    const second = createDevCertificate({ names: ['a.example.net'] })
    pair.server.listen({ alpn: 'test', sni: { 'a.example.net': identity(second) } })
    const { near } = await connect('a.example.net', second.cert)
    expect([near.peer?.fingerprint, old.peer?.fingerprint, old.state]).toEqual([second.fingerprint, first.fingerprint, 'open'])
  })

  it('that cannot be read are refused by their name', async () => {
    const own = createDevCertificate()
    await expect(nativePair({ server: { sni: { 'a.example.net': { cert: own.cert, key: 'nothing' } } } })).rejects.toMatchObject({ code: 'QB_TLS_IDENTITY', field: 'sni.a.example.net.key' })
  })
})

describe.skipIf(!MODULE_BUILT)('client certificates', () => {
  it('are shown where they are demanded, and their lack is named', async () => {
    const client = createDevCertificate({ names: ['client.example'] })
    const pair = await nativePair({ server: { clientAuth: 'require', ca: client.cert } })
    const { far } = await pair.connect({ cert: client.cert, key: client.key })
    expect(far.peer).toMatchObject({ fingerprint: client.fingerprint, names: ['client.example'] })
    const without = await pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: pair.own.cert }).catch((error: unknown) => error)
    // A client may think itself connected before the server has looked (RFC 8446 §4.4.2).
    const ended = 'closed' in (without as object) ? (await (without as { closed: Promise<{ error: unknown }> }).closed).error : without
    expect(ended).toMatchObject({ code: 'QB_TLS_CLIENT_CERTIFICATE' })
  })
})

describe.skipIf(!MODULE_BUILT)('ciphers', () => {
  it.each([['chacha20-poly1305', /CHACHA20/], ['aes-256-gcm', /AES_256/], ['aes-128-gcm', /AES_128/]] as const)('%s is used when it alone is wanted', async (cipher, name) => {
    const { near, far } = await (await nativePair()).connect({ ciphers: [cipher] })
    expect((await near.opened).cipher.toUpperCase().replaceAll('-', '_')).toMatch(name)
    expect((await far.opened).cipher).toBe((await near.opened).cipher)
  })
})

describe.skipIf(!MODULE_BUILT)('key logs', () => {
  const LINE = /^(CLIENT_HANDSHAKE_TRAFFIC_SECRET|SERVER_HANDSHAKE_TRAFFIC_SECRET|CLIENT_TRAFFIC_SECRET_0|SERVER_TRAFFIC_SECRET_0|EXPORTER_SECRET) [0-9a-f]{64} [0-9a-f]{64,96}$/

  it('come to a function, line by line, the same at both ends', async () => {
    const [near, far]: [string[], string[]] = [[], []]
    const pair = await nativePair({ atServer: { keylog: (line) => far.push(line) }, atClient: { keylog: (line) => near.push(line) } })
    await (await pair.connect()).near.confirmed
    await until(() => near.length >= 4 && far.length >= 4)
    expect(near.every((line) => LINE.test(line))).toBe(true)
    expect(near.toSorted()).toEqual(far.toSorted())
  })

  it('go into a file that only its owner reads, and where SSLKEYLOGFILE says', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'quicbraid-keylog-'))
    const before = process.env['SSLKEYLOGFILE']
    try {
      const [file, env] = [join(folder, 'own'), join(folder, 'env')]
      process.env['SSLKEYLOGFILE'] = env
      const pair = await nativePair({ atServer: { keylog: 'env' }, atClient: { keylog: file } })
      await (await pair.connect()).near.confirmed
      await closeAll()
      const lines = (name: string): string[] => readFileSync(name, 'utf8').trimEnd().split('\n')
      await until(() => lines(file).length >= 4 && lines(env).length >= 4)
      expect(lines(file).toSorted()).toEqual(lines(env).toSorted())
      expect(statSync(file).mode & 0o077).toBe(0)
    } finally {
      if (before === undefined) delete process.env['SSLKEYLOGFILE']
      else process.env['SSLKEYLOGFILE'] = before
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
