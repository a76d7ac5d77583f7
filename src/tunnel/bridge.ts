/**
 * One TCP connection joined to one bidirectional stream, once both are there: the bytes, their pace, and the mapping of ends (tunnel.md §6, §7).
 * The same at both ends of a tunnel. Who may be joined is not its concern.
 *
 *   TCP ──data──▶ write() ──less taken than given──▶ pause ──ready()──▶ the rest, resume          (T50)
 *   stream ──loan──▶ socket.write(loan) ──the kernel took it──▶ release: the peer's credit        (T51)
 */
import type { BidirectionalStream, Loan } from '../stream/index.ts'
import { TunnelCode, reasonOf } from './codes.ts'
import type { BridgeReason } from './codes.ts'
import type { Entry, Ledger } from './ledger.ts'
import { cutSocket, wasReset } from './tcp.ts'
import type { TcpSocket } from './tcp.ts'

export type LoanResult = IteratorResult<Loan, undefined>
/** Who is told of a bridge. */
export type BridgeLedger = Pick<Ledger, 'tell' | 'ended'>

export interface BridgeParts {
  readonly socket: TcpSocket
  readonly stream: BidirectionalStream
  readonly loans: AsyncIterator<Loan, undefined>
  /** What the stream brings first. */
  readonly first: Promise<LoanResult>
  /** Bytes of the stream before that. */
  readonly seen: number
  readonly entry: Entry
  readonly ledger: BridgeLedger
  /** Which way the bytes of the client's TCP peer go here. */
  readonly up: 'to-stream' | 'to-socket'
  /** Once, at the end. */
  onOver(): void
}

export class Bridge {
  readonly #parts: BridgeParts
  /** Bytes of TCP that the stream has not taken. */
  #rest: Uint8Array | null = null
  /** TCP to stream: open -> ending (FIN came, bytes wait) -> ended (all written, FIN) -> done (all acknowledged); or stopped by the peer. */
  #sending: 'open' | 'ending' | 'ended' | 'done' | 'stopped' = 'open'
  /** Stream to TCP: open -> ended (all written, FIN) -> done (the kernel took all). */
  #receiving: 'open' | 'ended' | 'done' = 'open'
  #over = false

  constructor(parts: BridgeParts) {
    this.#parts = parts
    const { socket, stream } = parts
    socket.on('data', this.#onData).on('end', this.#onEnd).on('error', this.#onTcpFailed).on('close', this.#onTcpFailed)
    // Of what it told before, it tells nothing more.
    if (socket.destroyed) queueMicrotask(this.#onTcpFailed)
    else if (socket.readableEnded) queueMicrotask(this.#onEnd)
    socket.resume()
    stream.finished.then(this.#onSent, this.#onSendFailed)
    void this.#receive(parts.first)
  }

  /** Ends both sides by force; afterwards nothing happens. */
  abort(code: bigint, reason: BridgeReason): void {
    if (this.#over) return
    const { stream, socket } = this.#parts
    stream.reset(code)
    stream.stop(code)
    this.#finish(reason)
    cutSocket(socket)
  }

  readonly #onData = (chunk: Uint8Array): void => {
    if (this.#sending === 'open') this.#write(chunk)
  }

  #write(chunk: Uint8Array): void {
    const { stream, socket } = this.#parts
    let taken: number
    try {
      taken = stream.write(chunk)
    } catch (error) {
      return this.#onSendFailed(error)
    }
    this.#count('to-stream', taken)
    this.#rest = taken < chunk.length ? chunk.subarray(taken) : null
    if (this.#rest === null) return
    socket.pause()
    stream.ready().then(this.#onRoom, this.#onSendFailed)
  }

  readonly #onRoom = (): void => {
    if (this.#over || this.#rest === null) return
    this.#write(this.#rest)
    if (this.#rest !== null) return
    if (this.#sending === 'ending') this.#endStream()
    else this.#parts.socket.resume()
  }

  /** FIN of TCP. A socket that pauses tells it all the same, so that bytes may still wait here. */
  readonly #onEnd = (): void => {
    if (this.#over || this.#sending !== 'open') return
    if (this.#receiving === 'open' && wasReset(this.#parts.socket)) return this.#onTcpFailed()
    this.#sending = 'ending'
    if (this.#rest === null) this.#endStream()
  }

  #endStream(): void {
    this.#sending = 'ended'
    this.#parts.stream.end()
    if (this.#receiving === 'open') this.#tell()
  }

  readonly #onSent = (): void => {
    if (this.#sending === 'ended') this.#sending = 'done'
    this.#check()
  }

  /** The peer stopped us, or the stream or its connection is gone. */
  readonly #onSendFailed = (error: unknown): void => {
    if (this.#over || this.#sending === 'stopped') return
    // The client has everything, or it would not have ended the connection in order: only its acknowledgement is missing.
    if (this.#sending === 'ended' && this.#receiving === 'done' && (error as { code?: unknown }).code === 'QB_CONNECTION_CLOSED') return this.#finish('end')
    if ((error as { code?: unknown }).code !== 'QB_STREAM_STOPPED') return this.#fail(error)
    // The other direction may go on; the engine has answered with the same code (T44).
    this.#sending = 'stopped'
    this.#rest = null
    const { socket } = this.#parts
    socket.off('data', this.#onData)
    socket.pause()
    this.#check()
  }

  async #receive(first: Promise<LoanResult>): Promise<void> {
    const { socket, loans } = this.#parts
    try {
      for (let result = await first; ; result = await loans.next()) {
        if (this.#over) return void result.value?.release()
        if (result.done === true) break
        const { bytes, release } = result.value
        this.#count('to-socket', bytes.length)
        socket.write(bytes, release)
      }
    } catch (error) {
      return this.#fail(error)
    }
    this.#receiving = 'ended'
    if (this.#sending === 'open') this.#tell()
    socket.end(() => {
      this.#receiving = 'done'
      this.#check()
    })
  }

  /** The stream was reset, or its connection has ended: what TCP got must not look complete (T43, T45). */
  #fail(error: unknown): void {
    const { errorCode } = error as { errorCode?: unknown }
    this.abort(typeof errorCode === 'bigint' ? errorCode : TunnelCode.TCP, reasonOf(error))
  }

  /** RST, or an end that was none. TCP may be through before the peer has acknowledged everything. */
  readonly #onTcpFailed = (): void => {
    if (this.#sending !== 'open' && this.#receiving === 'done') return
    this.abort(TunnelCode.TCP, 'tcp')
  }

  #tell(): void {
    const { ledger, entry } = this.#parts
    ledger.tell(entry, 'half-closed', null)
  }

  /** Over when both directions are. */
  #check(): void {
    if (this.#over || this.#receiving !== 'done') return
    if (this.#sending === 'done') this.#finish('end')
    if (this.#sending !== 'stopped') return
    this.#finish('tcp')
    cutSocket(this.#parts.socket)
  }

  #finish(reason: BridgeReason): void {
    this.#over = true
    this.#rest = null
    const { socket, ledger, entry, onOver } = this.#parts
    socket.off('data', this.#onData).off('end', this.#onEnd).off('error', this.#onTcpFailed).off('close', this.#onTcpFailed)
    // What a socket says after its end is nobody's concern.
    socket.on('error', () => {})
    ledger.ended(entry, reason)
    onOver()
  }

  #count(way: BridgeParts['up'], bytes: number): void {
    const { entry, up } = this.#parts
    if (way === up) entry.bytesUp += bytes
    else entry.bytesDown += bytes
  }
}

/** Writes all of it. @throws as `write` */
export async function writeAll(stream: BidirectionalStream, bytes: Uint8Array): Promise<void> {
  for (let at = stream.write(bytes); at < bytes.length; at += stream.write(bytes.subarray(at))) await stream.ready()
}
