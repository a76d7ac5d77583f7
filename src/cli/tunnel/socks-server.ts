/** The listener of `-D`: speaks SOCKS5 with each TCP connection, then hands it to the tunnel's session. Bounded in connections that have not said where to, and in time. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import type { BridgeReason, TunnelSession } from '../../tunnel/index.ts'
import { after } from '../clock.ts'
import { CommandError, Exit } from '../exit.ts'
import { SocksReader, SocksReply, socksReply } from './socks.ts'
import type { Credentials, SocksStep } from './socks.ts'
import { join } from './specs.ts'
import type { Bind } from './specs.ts'

/** TCP connections that have not said where to. */
const GREETING_MAX = 256
/** How long each may take for it. */
const GREETING_MS = 10_000
const NOTHING = new Uint8Array()

export class SocksServer {
  readonly #server: Server
  readonly #session: () => TunnelSession | null
  readonly #credentials: Credentials | null
  readonly #greeting = new Set<Socket>()

  private constructor(server: Server, credentials: Credentials | null, session: () => TunnelSession | null) {
    this.#server = server
    this.#session = session
    this.#credentials = credentials
    server.on('connection', (socket: Socket) => this.#onSocket(socket))
    // What goes wrong with a single accept ends nothing.
    server.on('error', () => undefined)
  }

  /** `session`: null while there is none: then who comes is told of a failure. @throws CommandError (exit 2) */
  static async listen({ host, port }: Bind, credentials: Credentials | null, session: () => TunnelSession | null): Promise<SocksServer> {
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    server.listen({ host, port })
    try {
      await once(server, 'listening')
    } catch (error) {
      const { code = 'unknown' } = error as NodeJS.ErrnoException
      throw new CommandError('QB_BIND_FAILED', Exit.LOCAL, `-D ${join({ host, port })} cannot be bound for TCP: ${code}; choose another address or port`, { cause: error })
    }
    return new SocksServer(server, credentials, session)
  }

  /** Really bound. */
  get local(): string {
    const { address, port } = this.#server.address() as AddressInfo
    return join({ host: address, port })
  }

  /** Nobody comes any more; who is joined stays. */
  close(): void {
    this.#server.close()
    for (const socket of this.#greeting) socket.destroy()
  }

  #onSocket(socket: Socket): void {
    if (this.#greeting.size >= GREETING_MAX) return void socket.resetAndDestroy()
    const reader = new SocksReader(this.#credentials)
    const leave = (): void => {
      this.#greeting.delete(socket)
      stop()
      socket.off('data', onData).off('error', onGone).off('end', onGone).off('close', leave)
    }
    const onGone = (): void => {
      leave()
      socket.on('error', () => undefined).destroy()
    }
    const onData = (bytes: Uint8Array): void => {
      const step = reader.push(bytes)
      if (step.next !== 'more') {
        socket.pause()
        leave()
      }
      this.#act(socket, step)
    }
    const stop = after(GREETING_MS, onGone)
    this.#greeting.add(socket)
    socket.on('data', onData).on('error', onGone).on('end', onGone).on('close', leave)
    return undefined
  }

  #act(socket: Socket, { reply, next, target, rest }: SocksStep): void {
    const session = this.#session()
    if (next === 'more') {
      if (reply !== null) socket.write(reply)
    } else if (target === null || session === null) {
      socket.on('error', () => undefined).end(target === null ? (reply ?? NOTHING) : socksReply(SocksReply.FAILURE), () => socket.destroy())
    } else {
      if (reply !== null) socket.write(reply)
      if (rest.length > 0) socket.unshift(rest)
      session.join(socket, { ...target, answer: (reason) => socksReply(replyOf(reason)) })
    }
  }
}

/** What a SOCKS client is told of the end of an attempt; null: it is joined. */
export function replyOf(reason: BridgeReason | null): SocksReply {
  switch (reason) {
    case null: return SocksReply.OK
    case 'refused': return SocksReply.NOT_ALLOWED
    case 'connect': return SocksReply.REFUSED
    case 'connection': case 'timeout': return SocksReply.NETWORK_UNREACHABLE
    default: return SocksReply.FAILURE
  }
}
