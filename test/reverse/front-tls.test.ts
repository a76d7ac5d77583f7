/** The HTTP front with TLS: versions by ALPN, identities by server name, and which service a request is for. */
import { request as httpsRequest } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { connect as netConnect } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { HttpFront } from '../../src/reverse/front/index.ts'
import type { HttpFrontOptions } from '../../src/reverse/front/index.ts'
import { authorityOf, leafOf } from '../tls/certificates.ts'
import { Ways, ask2, bodyOf, later, portOf, raw, session, settled, target } from './front-kit.ts'

const authority = authorityOf('ECDSA', 'front authority')
const [plain, shop, wild] = [['localhost', 'a.example', 'b.example', 'unknown.example'], ['shop.example'], ['*.wild.example']].map((names) => leafOf(authority, names[0]!, { names }))

async function secure(options: Partial<HttpFrontOptions> = {}, tls: Partial<NonNullable<HttpFrontOptions['tls']>> = {}): Promise<{ port: number; ways: Ways; front: HttpFront }> {
  const web = await target((asked, answer) => answer.end(`web ${asked.headers['x-forwarded-proto']}`))
  const other = await target((_, answer) => answer.end('shop'))
  const ways = new Ways({ web: web.port, shop: other.port })
  const front = await HttpFront.listen({ open: ways.open, https: '127.0.0.1:0', tls: { cert: plain!.cert, key: plain!.key, ...tls }, ...options })
  later(() => front.close())
  return { port: portOf(front.https[0]), ways, front }
}

function get(port: number, serverName: string, host = serverName): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    httpsRequest({ port, host: '127.0.0.1', servername: serverName, ca: authority.cert, agent: false, headers: { host } }, async (answer: IncomingMessage) => resolve({ status: answer.statusCode ?? 0, body: (await bodyOf(answer)).toString() })).once('error', reject).end()
  })
}

function nameOf(port: number, serverName: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ port, host: '127.0.0.1', servername: serverName, ca: authority.cert, checkServerIdentity: () => undefined }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN))
      socket.destroy()
    })
    socket.once('error', reject)
  })
}

describe('TLS', () => {
  it('speaks h2 and http/1.1 on one port, as ALPN says', async () => {
    const { port } = await secure({ service: 'web' })
    expect(await get(port, 'localhost')).toEqual({ status: 200, body: 'web https' })
    const client = session(port, `https://localhost:${port}`, { ca: authority.cert, lookup: undefined })
    expect(await ask2(client, { ':path': '/' })).toMatchObject({ status: 200, body: 'web https' })
    expect(client.alpnProtocol).toBe('h2')
    // Bytes without TLS get no answer that could be taken for one.
    expect(await raw(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')).not.toMatch(/200/)
  })

  it('shows the identity of the name, from a table with patterns or by asking, and the DER of one too', async () => {
    const { port } = await secure({ service: 'web' }, { sni: { 'shop.example': { cert: shop!.cert, key: shop!.key }, '*.wild.example': { cert: wild!.certBytes, key: wild!.keyBytes } } })
    expect([await nameOf(port, 'localhost'), await nameOf(port, 'SHOP.example'), await nameOf(port, 'x.wild.example'), await nameOf(port, 'else.example')]).toEqual(['localhost', 'shop.example', '*.wild.example', 'localhost'])
    const asked: string[] = []
    const live = await secure({ service: 'web' }, {
      sni: async (name: string) => {
        asked.push(name)
        if (name === 'bad.example') throw new Error('no')
        return name === 'shop.example' ? shop! : undefined
      },
    })
    expect([await nameOf(live.port, 'shop.example'), await nameOf(live.port, 'else.example')]).toEqual(['shop.example', 'localhost'])
    await expect(nameOf(live.port, 'bad.example')).rejects.toThrow()
    expect(asked).toEqual(['shop.example', 'else.example', 'bad.example'])
  })

  it('chooses the service by server name, then by host, then what is there for all others (reverse V41)', async () => {
    const { port, ways } = await secure({ keyFromSni: (name) => ({ 'a.example': 'web', 'b.example': 'shop' })[name], keyFromHost: (host) => ({ 'c.example': 'shop', 'b.example': 'shop' })[host] })
    expect(await get(port, 'a.example')).toMatchObject({ body: 'web https' })
    expect(await get(port, 'b.example', 'B.example.:443')).toMatchObject({ body: 'shop' })
    expect(await get(port, 'localhost', 'c.example')).toMatchObject({ body: 'shop' })
    expect(await get(port, 'localhost', 'd.example')).toEqual({ status: 404, body: '404 Not Found\n\nThere is no service for this host.\n' })
    expect(ways.keys).toEqual(['web', 'shop', 'shop'])
  })

  it('says 421 when the name in TLS and the host are of different services', async () => {
    const { port, ways } = await secure({ keyFromSni: (name) => ({ 'a.example': 'web', 'b.example': 'shop' })[name], service: 'web' })
    expect(await get(port, 'a.example', 'b.example')).toMatchObject({ status: 421 })
    expect(await get(port, 'a.example', 'unknown.example')).toMatchObject({ status: 200 })
    expect(ways.keys).toEqual(['web'])
  })

  it('does not hand a host to the service of another name, where its own name would lead elsewhere (RFC 9113 §9.1.1)', async () => {
    const { port, ways } = await secure({ keyFromSni: (name) => ({ 'a.example': 'web' })[name], service: 'shop' })
    expect(await get(port, 'b.example')).toMatchObject({ body: 'shop' })
    expect(await get(port, 'a.example', 'b.example')).toMatchObject({ status: 421 })
    expect(await get(port, 'a.example')).toMatchObject({ body: 'web https' })
    expect(ways.keys).toEqual(['shop', 'web'])
  })

  it('ends connections on which no handshake comes about', async () => {
    const { port, front } = await secure({ service: 'web', limits: { headerTimeoutMs: 100 } })
    const socket = netConnect({ port, host: '127.0.0.1', allowHalfOpen: true })
    later(() => socket.destroy())
    socket.on('error', () => {})
    await settled(() => front.statistics().connections === 1)
    await settled(() => front.statistics().connections === 0)
  })

  it('asks a function for the service each time, and survives one that throws', async () => {
    let now: string | undefined
    const { port } = await secure({ service: () => now, keyFromHost: (host) => { if (host === 'a.example') throw new Error('oh'); return undefined } })
    expect(await get(port, 'localhost')).toMatchObject({ status: 404 })
    now = 'shop'
    expect(await get(port, 'localhost')).toMatchObject({ body: 'shop' })
    expect(await get(port, 'localhost', 'a.example')).toMatchObject({ status: 500 })
    const late = await secure({ keyFromHost: (async () => 'web') as never })
    expect(await get(late.port, 'localhost')).toMatchObject({ status: 500 })
  })

  it('serves both kinds of ports at once', async () => {
    const { front, port } = await secure({ service: 'web', http: ['127.0.0.1:0', '127.0.0.1:0'] })
    expect(front.http).toHaveLength(2)
    for (const address of front.http) expect(await raw(portOf(address), 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')).toMatch(/web http\r\n|web http$/)
    expect(await get(port, 'localhost')).toMatchObject({ body: 'web https' })
  })
})
