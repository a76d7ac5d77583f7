/**
 * A bridge at the server, from the client's first bytes on: reads the request, asks who may, dials, accepts, joins (tunnel.md §4). What comes
 * before the accept byte is an error; a stream that ends meanwhile ends the dial.
 */
import type { Cancel, Timing } from '../config/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import { writeAll } from './bridge.ts'
import type { LoanResult } from './bridge.ts'
import { TunnelCode, reasonOf } from './codes.ts'
import type { BridgeReason } from './codes.ts'
import type { FlowRequest } from './far-flow.ts'
import { join } from './join.ts'
import type { Joined } from './join.ts'
import type { Entry, Ledger } from './ledger.ts'
import type { Target } from './policy.ts'
import { proxyHeader } from './proxy-protocol.ts'
import { ACCEPT, RequestKind, RequestReader, targetName } from './request.ts'
import type { Request } from './request.ts'
import { cutSocket } from './tcp.ts'
import type { Tcp, TcpSocket } from './tcp.ts'

export interface FarParts {
  readonly stream: BidirectionalStream
  readonly ledger: Ledger
  readonly timing: Timing
  readonly tcp: Tcp
  readonly dialTimeoutMs: number
  /** The client's address. */
  readonly remote: string
  /** In place of what is asked for, for people. */
  readonly label?: string
  /** The first request of the connection, or another; null: it is no bridge, and has been answered. A code refuses. */
  decide(request: Request, stream: BidirectionalStream): Promise<Target | bigint | null>
  /** It is a flow of UDP, and allowed: somebody else's from here on. False: there is no place for it. */
  onFlow(flow: FlowRequest): boolean
  /** Once, at the end. */
  onOver(): void
}

export class FarBridge {
  readonly #parts: FarParts
  #entry: Entry | null = null
  #socket: TcpSocket | null = null
  #bridge: Joined | null = null
  #stopDial: Cancel = () => {}
  /** Bytes of the request. */
  #seen = 0
  #over = false

  constructor(parts: FarParts) {
    this.#parts = parts
  }

  /** It asked for a target by TCP. */
  get joins(): boolean {
    return this.#entry?.protocol === 'tcp'
  }

  abort(code: bigint, reason: BridgeReason): void {
    if (this.#bridge !== null) return this.#bridge.abort(code, reason)
    if (this.#over) return undefined
    const { stream, ledger } = this.#parts
    stream.reset(code)
    stream.stop(code)
    this.#stopDial()
    if (this.#socket !== null) cutSocket(this.#socket)
    if (this.#entry !== null) ledger.ended(this.#entry, reason)
    return this.#end()
  }

  /** Never rejects. */
  async start(): Promise<void> {
    const { stream, ledger, decide } = this.#parts
    try {
      const loans = stream.borrow()
      const request = await this.#read(loans)
      if (this.#over) return
      if (request === 'bad') return this.abort(TunnelCode.BAD_INIT, 'bad-init')
      if (request.kind === RequestKind.CONNECT || request.kind === RequestKind.UDP) {
        this.#entry = ledger.enter(null, request.kind === RequestKind.UDP ? 'udp' : 'tcp', this.#parts.remote, this.#parts.label ?? targetName(request))
        ledger.tell(this.#entry, 'pending', null)
      }
      const first = loans.next()
      first.then(this.#onEarly, this.#onFailed)
      const target = await decide(request, stream)
      if (this.#over) return
      if (target === null) this.#end()
      else if (typeof target === 'bigint') this.abort(target, target === TunnelCode.SHUTDOWN ? 'shutdown' : 'refused')
      else if (this.#entry?.protocol === 'udp') this.#handOver(this.#entry, target, loans, first)
      else this.#dial(target, loans, first)
    } catch (error) {
      this.#onFailed(error)
    }
  }

  async #read(loans: AsyncIterator<NonNullable<LoanResult['value']>, undefined>): Promise<Request | 'bad'> {
    const reader = new RequestReader()
    for (;;) {
      const { done, value } = await loans.next()
      if (done === true) return 'bad'
      const request = reader.push(value.bytes)
      this.#seen += value.bytes.length
      value.release()
      if (request !== null) return request
    }
  }

  /** The client sends before it may, or ends what has not begun. The end of a first request is its end, and a flow may end at any time. */
  readonly #onEarly = ({ value }: LoanResult): void => {
    if (this.#over || this.#bridge !== null || (this.#entry === null && value === undefined)) return
    value?.release()
    if (value !== undefined || this.#entry?.protocol !== 'udp') return this.abort(TunnelCode.BAD_INIT, 'bad-init')
    this.#parts.stream.end()
    this.#parts.ledger.ended(this.#entry, 'end')
    return this.#end()
  }

  readonly #onFailed = (error: unknown): void => {
    if (this.#bridge !== null) return
    const { errorCode } = error as { errorCode?: unknown }
    this.abort(typeof errorCode === 'bigint' ? errorCode : TunnelCode.TCP, reasonOf(error))
  }

  #handOver(entry: Entry, target: Target, loans: ReturnType<BidirectionalStream['borrow']>, first: Promise<LoanResult>): void {
    const { stream, onFlow } = this.#parts
    if (onFlow({ stream, loans, first, target, entry })) this.#end()
    else this.abort(TunnelCode.REFUSED, 'refused')
  }

  #dial(target: Target, loans: ReturnType<BidirectionalStream['borrow']>, first: Promise<LoanResult>): void {
    const { tcp, timing, ledger, dialTimeoutMs } = this.#parts
    const since = ledger.now()
    const failed = (): void => this.abort(TunnelCode.CONNECT, 'connect')
    this.#stopDial = timing.after(dialTimeoutMs, failed)
    const socket = tcp.dial(target, (error) => {
      if (this.#over) return
      this.#stopDial()
      if (error !== null) return failed()
      ledger.took('dial', ledger.now() - since)
      socket.on('error', this.#onTarget).on('close', this.#onTarget)
      void this.#accept(target, socket, loans, first)
      return undefined
    })
    this.#socket = socket
  }

  /** The target is gone before the client knows of it. */
  readonly #onTarget = (): void => this.abort(TunnelCode.TCP, 'tcp')

  async #accept(target: Target, socket: TcpSocket, loans: ReturnType<BidirectionalStream['borrow']>, first: Promise<LoanResult>): Promise<void> {
    const { stream, ledger, remote, onOver } = this.#parts
    try {
      if (target.proxyProtocol) socket.write(proxyHeader(remote, target.address))
      await writeAll(stream, Uint8Array.of(ACCEPT))
    } catch (error) {
      return this.#onFailed(error)
    }
    if (this.#over || this.#entry === null) return
    socket.off('error', this.#onTarget).off('close', this.#onTarget)
    this.#bridge = join({ socket, stream, loans, first, seen: this.#seen, entry: this.#entry, ledger, up: 'to-socket', onOver })
    ledger.opened(this.#entry)
  }

  #end(): void {
    this.#over = true
    this.#parts.onOver()
  }
}
