/**
 * The server's part of `-R`: a client dials as the private end of a reverse connection whose service is `tcp/BIND:PORT`; while it is there, that port is
 * open here, and each TCP connection to it becomes a stream to the client, which dials. Only ports of --allow-listen, each for one client at a time.
 */
import { X509Certificate } from 'node:crypto'
import type { PeerIdentity, Endpoint } from '../../index.ts'
import { reverseListen } from '../../reverse/index.ts'
import type { Hello, ReverseEvent, ReverseListener } from '../../reverse/index.ts'
import type { TunnelManager } from '../../tunnel/index.ts'
import { backwardOf, cutSocket, NODE_TCP } from '../../tunnel/inner.ts'
import type { TcpListener, TcpSocket } from '../../tunnel/inner.ts'
import { after, isOver } from '../clock.ts'
import type { TunnelLog } from './log.ts'
import { join, parseSocks } from './specs.ts'
import type { Allowed, Bind } from './specs.ts'

const PREFIX = 'tcp/'
/** A port that was opened for a client closes again if the client is not accepted within this. */
const UNUSED_MS = 15_000
/** Refusals that are not told yet. */
const MOST_WHYS = 256

interface OpenPort {
  bind: Bind
  /** Fingerprint of the client's certificate. */
  owner: string
  listening: Promise<TcpListener>
  /** Somebody was let in and is not there yet. */
  expected: boolean
}

/** What the client asks for, as the name of a service. */
export function serviceOf(bind: Bind): string {
  return `${PREFIX}${join(bind)}`
}

/** Null: it asks for something else. */
export function bindOf(service: string): Bind | null {
  if (!service.startsWith(PREFIX)) return null
  try {
    const bind = parseSocks(service.slice(PREFIX.length))
    return bind.port !== 0 && serviceOf(bind) === service ? bind : null
  } catch {
    return null
  }
}

/** One of these ports, on that address, or on an address of a family that is open as a whole. */
export function mayListen(allowed: readonly Allowed[], { host, port }: Bind): boolean {
  return allowed.some((one) => port >= one.first && port <= one.last && (one.host === host || (one.host === '0.0.0.0' && !host.includes(':')) || (one.host === '::' && host.includes(':'))))
}

export class RemotePorts implements AsyncDisposable {
  readonly #manager: TunnelManager
  readonly #allowed: readonly Allowed[]
  readonly #log: TunnelLog
  readonly #ports = new Map<string, OpenPort>()
  /** Of services that were refused a moment ago, until it is told. */
  readonly #whys = new Map<string, string>()
  #listener: ReverseListener | null = null

  private constructor(manager: TunnelManager, allowed: readonly Allowed[], log: TunnelLog) {
    this.#manager = manager
    this.#allowed = allowed
    this.#log = log
  }

  /** `endpoint` listens with both protocols. */
  static async listen(endpoint: Endpoint, manager: TunnelManager, allowed: readonly Allowed[], log: TunnelLog): Promise<RemotePorts> {
    const ports = new RemotePorts(manager, allowed, log)
    ports.#listener = await reverseListen({ endpoint, poolKey: (identity, hello) => ports.#admit(identity, hello) })
    ports.#listener.events$.subscribe((event) => ports.#onEvent(event))
    return ports
  }

  prometheus(): string {
    return this.#listener?.prometheus() ?? ''
  }

  /** Nobody comes any more; what is joined goes on. */
  stop(): void {
    for (const key of this.#ports.keys()) this.#close(key)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop()
    await this.#listener?.close({ drainMs: 0 })
  }

  /** The key of its connections, which is the service; undefined: refused. The port is open before the client hears yes. */
  async #admit({ fingerprint, chain }: PeerIdentity, { service }: Hello): Promise<string | undefined> {
    const bind = bindOf(service)
    const refuse = (why: string): undefined => void (this.#whys.size < MOST_WHYS && this.#whys.set(service, why))
    if (bind === null || !mayListen(this.#allowed, bind)) return refuse('not allowed')
    // A pin fits for ever, but a certificate that has ended is good for no tunnel (tunnel.md T24, attacks H2).
    if (hasEnded(chain[0])) return refuse('its certificate has ended')
    const known = this.#ports.get(service)
    if (known !== undefined && known.owner !== fingerprint) return refuse('another client has it')
    const port = known ?? { bind, owner: fingerprint, expected: true, listening: NODE_TCP.listen(bind, (socket) => void this.#onSocket(service, bind, socket)) }
    this.#ports.set(service, port)
    port.expected = true
    after(UNUSED_MS, () => {
      port.expected = false
      if (this.#ports.get(service) === port && this.#size(service) === 0) this.#close(service)
    })
    try {
      await port.listening
      return service
    } catch (error) {
      if (this.#ports.get(service) === port) this.#ports.delete(service)
      return refuse((error as Error).message)
    }
  }

  #onEvent({ type, service, key, remote, size, text, reason }: ReverseEvent): void {
    if (type === 'refused') {
      const why = this.#whys.get(service ?? '') ?? (reason === 'auth' ? 'no certificate that is known' : text === '' ? (reason ?? 'gone') : text)
      this.#whys.delete(service ?? '')
      return this.#log.refused(remote, service ?? 'a port', why)
    }
    const open = key === null ? undefined : this.#ports.get(key)
    if (key === null || open === undefined) return
    if (type === 'accepted') {
      open.expected = false
      this.#log.tell('listening', { kind: 'R', local: join(open.bind), remote, connections: size }, `listening on ${join(open.bind)} for ${remote}`)
    } else if (size === 0 && !open.expected) {
      this.#log.tell('unlistened', { kind: 'R', local: join(open.bind), remote, reason: text }, `no longer listening on ${join(open.bind)}: ${remote} is gone${text === '' ? '' : ` (${text})`}`)
      this.#close(key)
    }
  }

  #size(key: string): number {
    return this.#listener?.pool(key).size ?? 0
  }

  #close(key: string): void {
    const open = this.#ports.get(key)
    this.#ports.delete(key)
    open?.listening.then((listener) => listener.close(), () => undefined)
  }

  async #onSocket(key: string, { port }: Bind, socket: TcpSocket): Promise<void> {
    socket.on('error', () => undefined)
    try {
      const stream = await this.#listener?.pool(key).request(key, { waitForMs: 1000 })
      if (stream === undefined) return cutSocket(socket)
      await backwardOf(this.#manager).ask(socket, stream, { port, label: key })
    } catch {
      // Nobody is there to take it, or all is being stopped.
      cutSocket(socket)
    }
  }
}

/** What cannot be read is good for nothing, too. */
function hasEnded(leaf: Uint8Array | undefined): boolean {
  try {
    return leaf === undefined || isOver(new X509Certificate(leaf).validTo)
  } catch {
    return true
  }
}
