/**
 * Bridges over streams of connections that are no tunnels' own: a reverse connection's, where the server has the listener and the client dials
 * (`-R`). The requests, the accept byte and the ends are those of tunnels (tunnel.md §4, §6); who may ask is decided where the connection was accepted.
 */
import type { Timing } from '../config/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import { TunnelCode } from './codes.ts'
import type { BridgeReason } from './codes.ts'
import { FarBridge } from './far-bridge.ts'
import type { Ledger } from './ledger.ts'
import { NearBridge } from './near-bridge.ts'
import type { Quota } from './quota.ts'
import { RequestKind, encodeRequest } from './request.ts'
import { cutSocket, peerOf } from './tcp.ts'
import type { Tcp, TcpSocket } from './tcp.ts'

export interface BackwardParts {
  readonly ledger: Ledger
  readonly timing: Timing
  readonly tcp: Tcp
  readonly quota: Quota
  readonly dialTimeoutMs: number
  /** A bridge has ended. */
  onBridgeOver(): void
}

export class Backward {
  readonly #parts: BackwardParts
  readonly #bridges = new Set<NearBridge | FarBridge>()

  constructor(parts: BackwardParts) {
    this.#parts = parts
  }

  /** Being joined, or joined. */
  get size(): number {
    return this.#bridges.size
  }

  /** Takes `socket` over, which has come to `port` of ours: the other end of the stream is asked to dial. `label` says where to, for people. Resolves when it has ended. */
  ask(socket: TcpSocket, stream: BidirectionalStream, { port, label }: { port: number; label: string }): Promise<void> {
    const { ledger, quota } = this.#parts
    const entry = ledger.enter(null, 'tcp', peerOf(socket), label)
    ledger.tell(entry, 'pending', null)
    const limit = quota.enter(null)
    if (limit !== null) {
      ledger.failed(limit)
      refuse(stream)
      cutSocket(socket)
      ledger.ended(entry, 'overflow')
      return Promise.resolve()
    }
    return this.#run((onOver) => new NearBridge({
      waiter: { socket, entry, target: null, answer: null, sinceMs: ledger.now() }, stream, ledger, request: encodeRequest({ kind: RequestKind.CONNECT, port, host: null }), onOver,
    }))
  }

  /** Serves a stream of the other end: dials `target`, which may be a name of ours. Resolves when it has ended. */
  serve(stream: BidirectionalStream, target: { host: string; port: number; label: string }, remote: string): Promise<void> {
    const { ledger, timing, tcp, quota, dialTimeoutMs } = this.#parts
    const limit = quota.enter(null)
    if (limit !== null) {
      ledger.failed(limit)
      refuse(stream)
      return Promise.resolve()
    }
    const { host, port, label } = target
    return this.#run((onOver) => new FarBridge({
      stream, ledger, timing, tcp, dialTimeoutMs, remote, label, onOver, onFlow: () => false,
      decide: ({ kind }) => Promise.resolve(kind === RequestKind.CONNECT ? { host, port, address: label, proxyProtocol: false } : TunnelCode.BAD_INIT),
    }))
  }

  abort(code: bigint, reason: BridgeReason): void {
    for (const bridge of this.#bridges) bridge.abort(code, reason)
  }

  /** A place of the quota is taken. */
  #run(make: (onOver: () => void) => NearBridge | FarBridge): Promise<void> {
    return new Promise((resolve) => {
      const bridge = make(() => {
        this.#bridges.delete(bridge)
        this.#parts.quota.leave(null)
        this.#parts.onBridgeOver()
        resolve()
      })
      this.#bridges.add(bridge)
      void bridge.start()
    })
  }
}

function refuse(stream: BidirectionalStream): void {
  stream.reset(TunnelCode.REFUSED)
  stream.stop(TunnelCode.REFUSED)
}
