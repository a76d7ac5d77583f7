/** UDP of one process without sockets, for simulated worlds: bound and connected sockets, datagrams in microtasks, and refusals where nobody is bound. */
import { EndpointError } from '../../src/errors/index.ts'
import type { Udp, UdpEvents, UdpPeer, UdpSocket } from '../../src/tunnel/udp.ts'

const HOST = '127.0.0.1'
const key = ({ host, port }: UdpPeer): string => `${host}:${port}`

export class FakeUdp implements Udp {
  readonly #bound = new Map<string, { events: UdpEvents; peer: UdpPeer | null }>()
  /** Every address that was dialled. */
  readonly dialled: string[] = []
  /** What leaves a connected socket; more is too large. */
  maxBytes = 65_507
  #port = 50_000

  get open(): number {
    return this.#bound.size
  }

  async bind({ host, port }: UdpPeer, events: UdpEvents): Promise<UdpSocket> {
    await Promise.resolve()
    return this.#join({ host, port: port === 0 ? (this.#port += 1) : port }, events, null)
  }

  async dial(peer: UdpPeer, events: UdpEvents): Promise<UdpSocket> {
    await Promise.resolve()
    this.dialled.push(key(peer))
    return this.#join({ host: HOST, port: (this.#port += 1) }, events, peer)
  }

  /** A server of a test; `answer` gives what goes back. */
  async serve(address: string, answer: (bytes: Uint8Array, from: UdpPeer) => readonly Uint8Array[]): Promise<UdpSocket> {
    const [host = '', port = ''] = address.split(':')
    const socket: UdpSocket = await this.bind({ host, port: Number(port) }, {
      onMessage: (bytes, from) => {
        for (const one of answer(bytes, from)) socket.send(one, from)
      },
      onTooLarge: () => {}, onError: () => {},
    })
    return socket
  }

  /** A client of a test. */
  async client(to: string): Promise<{ received: string[]; sizes: number[]; send(bytes: Uint8Array | string): void; close(): void }> {
    const [host = '', port = ''] = to.split(':')
    const [received, sizes]: [string[], number[]] = [[], []]
    const socket = await this.bind({ host: HOST, port: 0 }, {
      onMessage: (bytes) => {
        received.push(Buffer.from(bytes).toString())
        sizes.push(bytes.length)
      },
      onTooLarge: () => {}, onError: () => {},
    })
    return { received, sizes, send: (bytes) => void socket.send(Buffer.from(bytes), { host, port: Number(port) }), close: () => socket.close() }
  }

  #join(at: UdpPeer, events: UdpEvents, peer: UdpPeer | null): UdpSocket {
    const local = key(at)
    if (this.#bound.has(local)) throw new EndpointError('QB_BIND_FAILED', `${local} cannot be bound for UDP: EADDRINUSE`)
    const mine = { events, peer }
    this.#bound.set(local, mine)
    return {
      local,
      send: (bytes, to) => {
        const target = to ?? peer
        if (target === null || this.#bound.get(local) !== mine) return false
        const copy = Uint8Array.from(bytes)
        process.nextTick(() => this.#deliver(mine, at, copy, target))
        return true
      },
      close: () => void this.#bound.delete(local),
    }
  }

  #deliver(from: { events: UdpEvents; peer: UdpPeer | null }, at: UdpPeer, bytes: Uint8Array, to: UdpPeer): void {
    if (from.peer !== null && bytes.length > this.maxBytes) return from.events.onTooLarge()
    const there = this.#bound.get(key(to))
    if (there !== undefined && (there.peer === null || key(there.peer) === key(at))) return there.events.onMessage(bytes, at)
    // ICMP: only a connected socket hears of it.
    if (there === undefined && from.peer !== null) from.events.onError(Object.assign(new Error('read ECONNREFUSED'), { code: 'ECONNREFUSED' }))
    return undefined
  }
}
