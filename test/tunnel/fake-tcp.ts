/**
 * TCP of one process without sockets, for simulated worlds: listeners, connections with windows, FIN and RST. What is not read fills a window
 * and stops the writer. Everything happens in microtasks and `process.nextTick`, so that virtual time waits for it.
 */
import { Duplex } from 'node:stream'
import { EndpointError } from '../../src/errors/index.ts'
import type { Tcp, TcpListener, TcpSocket } from '../../src/tunnel/tcp.ts'

/** Bytes that a socket takes in before it is read. */
const WINDOW_BYTES = 65_536

type Done = (error?: Error | null) => void

export class FakeSocket extends Duplex implements TcpSocket {
  peer!: FakeSocket
  readonly name: string
  readonly network: FakeTcp
  #resume: Done | null = null
  #finished = false
  /** Cut by RST, here or there. */
  reset = false
  bytesTaken = 0

  constructor(network: FakeTcp, name: string) {
    super({ allowHalfOpen: true, readableHighWaterMark: WINDOW_BYTES, writableHighWaterMark: WINDOW_BYTES })
    this.network = network
    this.name = name
    network.open.add(this)
  }

  override _read(): void {
    // The peer may write on.
    const resume = this.peer?.takeResume()
    if (resume !== null && resume !== undefined) process.nextTick(resume)
  }

  takeResume(): Done | null {
    const resume = this.#resume
    this.#resume = null
    return resume
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.peer.destroyed) return done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
    this.bytesTaken += chunk.length
    // The bytes may be somebody's who wants them back.
    if (this.peer.push(Buffer.from(chunk))) return done()
    this.#resume = done
    return undefined
  }

  override _final(done: Done): void {
    this.#finished = true
    if (!this.peer.destroyed) this.peer.push(null)
    done()
  }

  /** RST. */
  resetAndDestroy(): this {
    this.reset = true
    const { peer } = this
    this.destroy()
    if (!peer.destroyed) {
      peer.reset = true
      peer.destroy(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }))
    }
    return this
  }

  override _destroy(error: Error | null, done: Done): void {
    this.network.open.delete(this)
    if (!this.#finished && !this.reset && !this.peer.destroyed) this.peer.push(null)
    this.takeResume()?.(error)
    done(error)
  }
}

type OnSocket = (socket: TcpSocket) => void

export class FakeTcp implements Tcp {
  readonly open = new Set<FakeSocket>()
  readonly #listeners = new Map<string, OnSocket>()
  /** Addresses that never answer. */
  readonly silent = new Set<string>()
  /** Every address that was dialled. */
  readonly dialled: string[] = []
  #port = 40_000

  async listen({ host, port }: { host: string; port: number }, onSocket: OnSocket): Promise<TcpListener> {
    await Promise.resolve()
    const local = `${host}:${port === 0 ? (this.#port += 1) : port}`
    if (this.#listeners.has(local)) throw new EndpointError('QB_BIND_FAILED', `${local} cannot be bound for TCP: EADDRINUSE`)
    this.#listeners.set(local, onSocket)
    return { local, close: () => void this.#listeners.delete(local) }
  }

  dial({ host, port }: { host: string; port: number }, onEnd: (error: Error | null) => void): FakeSocket {
    const address = `${host}:${port}`
    this.dialled.push(address)
    const [near, far] = this.#pair(address)
    if (!this.silent.has(address)) process.nextTick(() => {
      if (near.destroyed) return
      const listener = this.#listeners.get(address)
      if (listener === undefined) {
        const refused = Object.assign(new Error(`connect ECONNREFUSED ${address}`), { code: 'ECONNREFUSED' })
        near.once('error', () => {})
        near.destroy()
        far.destroy()
        return onEnd(refused)
      }
      listener(far)
      return onEnd(null)
    })
    return near
  }

  /** A client, connected already. @throws if nobody listens there */
  client(address: string): FakeSocket {
    const listener = this.#listeners.get(address)
    if (listener === undefined) throw new Error(`nobody listens at ${address}`)
    const [near, far] = this.#pair(address)
    near.on('error', () => {})
    listener(far)
    return near
  }

  /** A server of a test. */
  async serve(address: string, onSocket: (socket: FakeSocket) => void): Promise<void> {
    const [host = '', port = ''] = address.split(':')
    await this.listen({ host, port: Number(port) }, (socket) => {
      socket.on('error', () => {})
      onSocket(socket as FakeSocket)
    })
  }

  listens(address: string): boolean {
    return this.#listeners.has(address)
  }

  #pair(address: string): [FakeSocket, FakeSocket] {
    const [near, far] = [new FakeSocket(this, `to ${address}`), new FakeSocket(this, `of ${address}`)]
    near.peer = far
    far.peer = near
    far.on('error', () => {})
    return [near, far]
  }
}
