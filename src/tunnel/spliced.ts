/**
 * A bridge whose bytes the engine moves (native/binding/src/engine/splice/mod.rs): the mapping of ends of `Bridge`, without its bytes (tunnel.md §6).
 * The engine passes FINs on and tells of everything else; what follows is decided here, and by the records that every stream has.
 */
import { SpliceNews } from '../binding/index.ts'
import type { Splice } from '../binding/index.ts'
import { BidirectionalStream } from '../stream/index.ts'
import type { BridgeParts, LoanResult } from './bridge.ts'
import { TunnelCode, reasonOf } from './codes.ts'
import type { BridgeReason } from './codes.ts'
import { drainSocket, refillSocket } from './takeover.ts'

export class SplicedBridge {
  readonly #parts: BridgeParts
  readonly #splice: Splice
  /** What passed here before the engine took over, in the direction of TCP to stream. */
  readonly #before: number
  /** TCP to stream: open -> ended (FIN passed on) -> done (all acknowledged); or stopped by the peer. */
  #sending: 'open' | 'ended' | 'done' | 'stopped' = 'open'
  /** Stream to TCP: open -> done (the kernel took all, and FIN). */
  #receiving: 'open' | 'done' = 'open'
  #over = false

  private constructor(parts: BridgeParts, splice: Splice, before: number) {
    this.#parts = parts
    this.#splice = splice
    this.#before = before
    const { stream, socket, first, entry } = parts
    entry.count = this.#count
    stream.finished.then(this.#onSent, this.#onSendFailed)
    // It may end before the engine has told of its start.
    first.catch(() => {})
    // The engine has a descriptor of its own: closing this one ends nothing.
    socket.on('error', () => {}).destroy()
  }

  /** Null: the engine cannot; nothing is lost then. */
  static over(parts: BridgeParts, descriptor: number): SplicedBridge | null {
    const { socket, stream } = parts
    const pieces = drainSocket(socket)
    let before = 0
    try {
      for (let piece = pieces.shift(); piece !== undefined; piece = pieces.shift()) {
        const taken = stream.write(piece)
        before += taken
        if (taken < piece.length) pieces.unshift(piece.subarray(taken))
        if (taken === 0) break
      }
      let bridge: SplicedBridge | null = null
      const splice = pieces.length > 0 ? null : BidirectionalStream.splice(stream, descriptor, (news, number) => bridge?.onNews(news, number))
      if (splice !== null) {
        bridge = new SplicedBridge(parts, splice, before)
        return bridge
      }
    } catch {
      // The stream has ended: the other kind of bridge says what follows.
    }
    refillSocket(socket, pieces)
    if (parts.up === 'to-stream') parts.entry.bytesUp += before
    else parts.entry.bytesDown += before
    return null
  }

  abort(code: bigint, reason: BridgeReason): void {
    if (this.#over) return
    const { stream } = this.#parts
    stream.reset(code)
    stream.stop(code)
    this.#finish(reason)
  }

  /** Of the engine. */
  onNews(news: number, number: number): void {
    if (this.#over) return undefined
    if (news === SpliceNews.STARTED) return void this.#giveBack(number)
    if (news === SpliceNews.INWARD_ENDED) {
      if (this.#sending === 'open') this.#sending = 'ended'
      return this.#receiving === 'open' ? this.#tell() : undefined
    }
    if (news === SpliceNews.OUTWARD_ENDED) {
      this.#receiving = 'done'
      if (this.#sending === 'open') this.#tell()
      return this.#check()
    }
    // TCP may be through before the peer has acknowledged everything.
    return this.#sending !== 'open' && this.#receiving === 'done' ? undefined : this.abort(TunnelCode.TCP, 'tcp')
  }

  /** Bytes of the stream that had crossed before the engine took over go back to it; then only the end of the stream comes. */
  async #giveBack(delivered: number): Promise<void> {
    const { first, loans, seen } = this.#parts
    const pieces: Uint8Array[] = []
    let next: Promise<LoanResult> = first
    try {
      for (let missing = delivered - seen; missing > 0;) {
        const { done, value } = await next
        if (done === true) break
        pieces.push(Buffer.from(value.bytes))
        missing -= value.bytes.length
        value.release()
        next = loans.next()
      }
      // What was told behind the start may have ended the bridge meanwhile.
      if (delivered > 0 && !this.#over) this.#splice.go(Buffer.concat(pieces))
      const { value } = await next
      value?.release()
    } catch (error) {
      if (!this.#over) this.#fail(error)
    }
  }

  readonly #onSent = (): void => {
    if (this.#sending === 'ended') this.#sending = 'done'
    this.#check()
  }

  /** The peer stopped us, or the stream or its connection is gone. */
  readonly #onSendFailed = (error: unknown): void => {
    if (this.#over || this.#sending === 'stopped') return
    const { code } = error as { code?: unknown }
    // The client has everything, or it would not have ended the connection in order: only its acknowledgement is missing.
    if (this.#sending === 'ended' && this.#receiving === 'done' && code === 'QB_CONNECTION_CLOSED') return this.#finish('end')
    if (code !== 'QB_STREAM_STOPPED') return this.#fail(error)
    // The other direction may go on; the engine has answered with the same code, and reads TCP no more (T44).
    this.#sending = 'stopped'
    this.#check()
  }

  /** The stream was reset, or its connection has ended: what TCP got must not look complete (T43, T45). */
  #fail(error: unknown): void {
    const { errorCode } = error as { errorCode?: unknown }
    this.abort(typeof errorCode === 'bigint' ? errorCode : TunnelCode.TCP, reasonOf(error))
  }

  #tell(): void {
    const { ledger, entry } = this.#parts
    ledger.tell(entry, 'half-closed', null)
  }

  /** Over when both directions are. */
  #check(): void {
    if (this.#over || this.#receiving !== 'done') return
    if (this.#sending === 'done') this.#finish('end')
    else if (this.#sending === 'stopped') this.#finish('tcp')
  }

  #finish(reason: BridgeReason): void {
    this.#over = true
    const { ledger, entry, onOver } = this.#parts
    this.#count()
    entry.count = null
    this.#splice.cut()
    ledger.ended(entry, reason)
    onOver()
  }

  readonly #count = (): void => {
    const { entry, up } = this.#parts
    const [toStream, toTcp] = this.#splice.bytes()
    const sent = this.#before + toStream
    entry.bytesUp = up === 'to-stream' ? sent : toTcp
    entry.bytesDown = up === 'to-stream' ? toTcp : sent
  }
}
