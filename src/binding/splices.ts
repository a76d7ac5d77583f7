/** TCP connections that the engine joins to streams: their bytes go from one to the other without crossing. What ends mean is for the room above to decide. */
import { guarded } from './error.ts'
import type { Inbox } from './inbox.ts'
import type { NativeEndpoint } from './native.ts'

/** What a splice tells; see `SpliceNews`. */
export type SpliceSink = (news: number, number: number) => void

export class Splice {
  readonly #native: NativeEndpoint
  readonly #inbox: Inbox
  readonly #id: number
  readonly #row = new Float64Array(2)

  private constructor(native: NativeEndpoint, inbox: Inbox, id: number) {
    this.#native = native
    this.#inbox = inbox
    this.#id = id
  }

  /** What was flushed before goes first. Null: this endpoint cannot, or `descriptor` is none of a connected TCP socket. */
  static start(native: NativeEndpoint, inbox: Inbox, connection: number, stream: number, descriptor: number, sink: SpliceSink): Splice | null {
    const id = guarded(() => native.splice(connection, stream, descriptor))
    if (id === 0) return null
    inbox.splices.set(id, sink)
    return new Splice(native, inbox, id)
  }

  /** Bytes of the stream that had crossed before the start, to be written to TCP first. */
  go(bytes: Uint8Array): void {
    guarded(() => this.#native.spliceGo(this.#id, bytes))
  }

  /** Bytes moved so far: from TCP to the stream, and from the stream to TCP. Not after `cut`. */
  bytes(): readonly [toStream: number, toTcp: number] {
    guarded(() => this.#native.spliceBytes(this.#id, this.#row))
    const [toStream = 0, toTcp = 0] = this.#row
    return [toStream, toTcp]
  }

  /** Lets the TCP connection go: with RST, unless both its directions have ended. Nothing is told any more. */
  cut(): void {
    this.#inbox.splices.delete(this.#id)
    guarded(() => this.#native.spliceCut(this.#id))
  }
}
