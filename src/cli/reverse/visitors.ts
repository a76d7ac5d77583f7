/** TCP ports of a public end (`listen --tcp`): who comes is joined to a request of the port's service. */
import type { Socket } from 'node:net'
import { NODE_TCP, cutSocket } from '../../tunnel/inner.ts'
import type { TcpListener, TcpSocket } from '../../tunnel/inner.ts'
import { bound } from '../exit.ts'
import { joinVisitor } from './join.ts'
import type { RequestReport, VisitorParts } from './join.ts'
import { addressText } from './parse.ts'
import type { PortMapping } from './parse.ts'

/** Of all ports together; more are reset. */
export const MAX_VISITORS = 1024

export interface VisitorOptions {
  /** A request stream of that service. `local`: where the visitor has come to. */
  open(service: string, visitor: { remote: string; local: string; signal: AbortSignal }): ReturnType<VisitorParts['open']>
  /** A visitor has gone. */
  onRequest(service: string, remote: string, report: RequestReport): void
}

export class Visitors {
  readonly #options: VisitorOptions
  readonly #sockets = new Set<TcpSocket>()
  #listeners: { listener: TcpListener; service: string }[] = []
  #onQuiet = (): void => undefined

  constructor(options: VisitorOptions) {
    this.#options = options
  }

  /** Bound so far. */
  get ports(): { local: string; service: string }[] {
    return this.#listeners.map(({ listener, service }) => ({ local: listener.local, service }))
  }

  /** @throws QB_BIND_FAILED */
  async listen({ host, port, service }: PortMapping): Promise<void> {
    this.#listeners.push({ listener: await bound('--tcp', NODE_TCP.listen({ host, port }, (socket) => void this.#visit(socket, service))), service })
  }

  /** Nobody comes any more; resolves when those who have come are gone, which `cut` hurries. */
  async close(): Promise<void> {
    for (const { listener } of this.#listeners) listener.close()
    this.#listeners = []
    if (this.#sockets.size > 0) await new Promise<void>((resolve) => { this.#onQuiet = resolve })
  }

  cut(): void {
    for (const socket of this.#sockets) cutSocket(socket)
  }

  async #visit(socket: TcpSocket, service: string): Promise<void> {
    if (this.#sockets.size >= MAX_VISITORS) return cutSocket(socket)
    const { remoteAddress = '?', remotePort = 0, localAddress = '?', localPort = 0 } = socket as Partial<Socket>
    const remote = addressText({ host: remoteAddress, port: remotePort })
    const local = addressText({ host: localAddress, port: localPort })
    this.#sockets.add(socket)
    const report = await joinVisitor({ socket, open: (signal) => this.#options.open(service, { remote, local, signal }) })
    this.#sockets.delete(socket)
    this.#options.onRequest(service, remote, report)
    if (this.#sockets.size === 0) this.#onQuiet()
    return undefined
  }
}
