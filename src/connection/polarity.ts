/**
 * Who asks on a connection: opens the streams that carry requests (mux R50). The client, except where the protocol has parts and the
 * connection was reversed. Refuses here what the engine and the peer would refuse; the gate and the refusals of the peer's streams are the engine's.
 */
import type { Engine, NativeOrder } from '../binding/index.ts'
import { ConnectionError, StreamError } from '../errors/index.ts'
import type { StreamTable } from './streams.ts'

export class Polarity {
  readonly #engine: Engine
  readonly #key: number
  readonly #role: 'client' | 'server'
  #sense: 'ordinary' | 'polarised' | 'reversed' = 'ordinary'

  constructor(engine: Engine, key: number, role: 'client' | 'server') {
    this.#engine = engine
    this.#key = key
    this.#role = role
  }

  get requester(): 'local' | 'peer' {
    return (this.#role === 'client') === (this.#sense !== 'reversed') ? 'local' : 'peer'
  }

  /** The protocol is known. */
  learn(event: { polarised?: true }): void {
    if (event.polarised === true && this.#sense === 'ordinary') this.#sense = 'polarised'
  }

  /** Before a stream is opened here. @throws QB_STREAM_WRONG_WAY */
  check(): void {
    if (this.#sense !== 'ordinary' && this.requester === 'peer') throw this.#wrongWay()
  }

  /** The ends change parts, once; who waits for credit to open a stream here has waited for nothing. @throws QB_INTERNAL */
  reverse(streams: StreamTable): void {
    if (this.#sense !== 'polarised') throw new ConnectionError('QB_INTERNAL', this.#sense === 'reversed' ? 'the connection is reversed already' : 'connections of this protocol are not reversed', { by: 'local' })
    this.#sense = 'reversed'
    this.#tell({ do: 'reverse' })
    if (this.requester === 'peer') streams.refuse(this.#wrongWay())
  }

  /** Streams of the peer come out, in order of id. */
  openGate(): void {
    this.#tell({ do: 'open-gate' })
  }

  /** The peer may have `count` bidirectional streams open at once; fewer than before change nothing. */
  grant(count: number): void {
    this.#tell({ do: 'grant-streams', direction: 'bidirectional', count })
  }

  #tell(order: NativeOrder): void {
    this.#engine.tell(this.#key, order)
  }

  #wrongWay(): StreamError {
    return new StreamError('QB_STREAM_WRONG_WAY', 'on this connection the peer asks: it opens the streams, this end answers on them', { by: 'local' })
  }
}
