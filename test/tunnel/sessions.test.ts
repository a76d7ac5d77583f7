/** Connections whose sockets each name a target: `TunnelManager.connect` and `join`. */
import { describe, expect, it } from 'vitest'
import type { BridgeReason } from '../../src/tunnel/index.ts'
import { encodeRequest, RequestKind, RequestReader } from '../../src/tunnel/request.ts'
import type { FakeSocket } from './fake-tcp.ts'
import { drained, inWorld } from './world.ts'
import type { TunnelWorld } from './world.ts'

const PROXY = '127.0.0.1:1080'
const words = (reason: BridgeReason | null): Uint8Array => Buffer.from(`${reason ?? 'joined'}\n`)

/** Lets verified clients go to two targets. */
function allowing({ far }: TunnelWorld): void {
  far.listen(({ peer, port, host }) => {
    if (peer === null) return undefined
    if (port === 0) return '192.0.2.1:1'
    return host === 'one' ? '192.0.2.1:80' : host === 'silent' ? '192.0.2.3:80' : port === 81 ? '192.0.2.2:81' : undefined
  })
}

const connecting = ({ remote, tls, paths }: TunnelWorld): Parameters<TunnelWorld['near']['connect']>[0] =>
  ({ remote, connection: { ca: tls.ca, cert: tls.cert, key: tls.key, serverName: 'server', paths: paths.slice(0, 1) } })

async function naming({ tcp }: TunnelWorld): Promise<void> {
  for (const address of ['192.0.2.1:80', '192.0.2.2:81']) await tcp.serve(address, (socket: FakeSocket) => void socket.end(address))
}

describe('a connection for many targets', () => {
  it('joins each socket to its own target, over one connection (tunnel T27)', async () => {
    const seen = await inWorld(async (world) => {
      allowing(world)
      await naming(world)
      const session = await world.near.connect(connecting(world))
      const targets = [{ port: 80, host: 'one' }, { port: 81 }]
      await world.tcp.serve(PROXY, (socket) => session.join(socket, targets.shift() ?? { port: 1 }))
      const answers = await Promise.all([0, 1].map(async () => String((await drained(world.tcp.client(PROXY))).bytes)))
      const connections = world.far.endpoint.connections.size
      await world.near.close(session.id)
      return { answers, connections, dialled: world.tcp.dialled, closed: await session.closed }
    }, { closed: true })
    expect(seen).toEqual({ answers: ['192.0.2.1:80', '192.0.2.2:81'], connections: 1, dialled: ['192.0.2.1:80', '192.0.2.2:81'], closed: { error: null } })
  })

  it('tells the peer of a socket in words of the user what became of it, before all else or at the end', async () => {
    const seen = await inWorld(async (world) => {
      allowing(world)
      await naming(world)
      const session = await world.near.connect(connecting(world))
      const targets = [{ port: 80, host: 'one' }, { port: 99 }, { port: 80, host: 'silent' }]
      await world.tcp.serve(PROXY, (socket) => session.join(socket, { ...(targets.shift() ?? { port: 1 }), answer: words }))
      const answers: { text: string; end: string }[] = []
      for (let index = 0; index < 3; index++) {
        const { bytes, end } = await drained(world.tcp.client(PROXY))
        answers.push({ text: String(bytes), end })
      }
      await world.near.close(session.id)
      const late = world.tcp.client(PROXY)
      answers.push({ text: String((await drained(late)).bytes), end: 'fin' })
      return answers
    }, { closed: true })
    expect(seen).toEqual([{ text: 'joined\n192.0.2.1:80', end: 'fin' }, { text: 'refused\n', end: 'fin' }, { text: 'connect\n', end: 'fin' }, { text: 'shutdown\n', end: 'fin' }])
  })

  it('is refused where handlers know ports alone, and by a number for its short form', async () => {
    const codes = await inWorld(async (world) => {
      world.far.listen(80)
      return world.near.connect(connecting(world)).catch((error: { code: string }) => error.code)
    })
    expect(codes).toBe('QB_TUNNEL_REFUSED')
  })

  it('takes no port, no listener and no odd target', async () => {
    await inWorld(async (world) => {
      allowing(world)
      for (const more of [{ port: 7 }, { bind: '127.0.0.1:0' }, { host: 'x' }]) await expect(world.near.connect({ ...connecting(world), ...more })).rejects.toMatchObject({ code: 'QB_OPTION_UNKNOWN' })
      const session = await world.near.connect(connecting(world))
      await world.tcp.serve(PROXY, (socket) => {
        for (const target of [{ port: 0 }, { port: 1, host: '' }, { port: 1, answer: 'x' }, { port: 1, more: 1 }]) expect(() => session.join(socket, target as never)).toThrow(expect.objectContaining({ code: expect.stringMatching(/^QB_OPTION_/) }))
        socket.destroy()
      })
      world.tcp.client(PROXY)
      expect(() => session.join({} as never, { port: 1 })).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
      await world.near.close(session.id, { force: true })
    }, { closed: true })
  })
})

it('port 0 stands in a first request and in a goodbye, never in a request for a target', () => {
  const read = (kind: (typeof RequestKind)[keyof typeof RequestKind]): unknown => new RequestReader().push(encodeRequest({ kind, port: 0, host: null }))
  expect([RequestKind.HELLO, RequestKind.GOODBYE, RequestKind.CONNECT].map(read)).toEqual([{ kind: 2, port: 0, host: null }, { kind: 3, port: 0, host: null }, 'bad'])
})
