/**
 * What the two ends of `nat punch` say to each other: their names, then bytes that come and go every `BEAT_MS`, so that a pause while the connection
 * moves from the relay to a direct path would show. One stream, opened by the end that dials (`quicbraid-punch/1`): a line with the name, then beats.
 */
import type { BidirectionalStream, Connection } from '../../index.ts'
import { every, nowMs } from '../clock.ts'
import { printable } from '../format.ts'

export const PUNCH_ALPN = 'quicbraid-punch/1'
const BEAT_MS = 20
const BEAT = new Uint8Array(64)
const MAX_NAME = 64

export class Talk {
  /** How the other end calls itself; empty: it did not say. */
  peer = ''
  /** Since the call of `start`, when its first bytes came; null: none have. */
  firstByteMs: number | null = null
  /** Longest time between arrivals. */
  pauseMs = 0
  bytes = 0
  readonly #startMs: number
  #lastMs: number | null = null
  #stream: BidirectionalStream | null = null
  #stop: (() => void) | null = null
  #reading: Promise<void> = Promise.resolve()

  constructor(startMs: number) {
    this.#startMs = startMs
  }

  /** `name` is ours. Resolves when the other end's first bytes are there. */
  async start(connection: Connection, role: 'dials' | 'waits', name: string, signal: AbortSignal): Promise<void> {
    const stream = role === 'dials' ? await connection.openBidirectional({ signal }) : (await connection.incomingBidirectional({ signal }).next()).value
    if (stream === undefined) throw new Error('the other end has closed the connection')
    this.#stream = stream
    stream.write(new TextEncoder().encode(`${name.slice(0, MAX_NAME)}\n`))
    this.#stop = every(BEAT_MS, () => void stream.write(BEAT))
    await new Promise<void>((resolve) => {
      // That the connection ends is told by the connection.
      this.#reading = this.#read(stream, resolve).catch(() => undefined).finally(resolve)
    })
  }

  /** Ends our half; resolves when the other end has ended its half, too. */
  async end(): Promise<void> {
    this.#stop?.()
    this.#stop = null
    this.#stream?.end()
    await this.#reading
  }

  /** Resolves when the other end has nothing more to say. */
  async heard(): Promise<void> {
    await this.#reading
  }

  /** Says nothing more; waits for nobody. */
  stop(): void {
    this.#stop?.()
    this.#stop = null
  }

  async #read(stream: BidirectionalStream, onFirst: () => void): Promise<void> {
    let name = ''
    let named = false
    for await (const chunks of stream) {
      const now = nowMs()
      if (this.#lastMs !== null) this.pauseMs = Math.max(this.pauseMs, now - this.#lastMs)
      this.#lastMs = now
      for (const chunk of chunks) {
        this.bytes += chunk.length
        if (named) continue
        name += new TextDecoder().decode(chunk)
        const end = name.indexOf('\n')
        if (end < 0 && name.length <= MAX_NAME * 4) continue
        named = true
        this.peer = printable(name.slice(0, Math.max(0, end))).slice(0, MAX_NAME)
        this.firstByteMs ??= now - this.#startMs
        onFirst()
      }
    }
  }
}
