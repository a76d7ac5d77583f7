/**
 * The order of requests on one connection of HTTP/1.1 (RFC 9112 §9.3.2): one is begun when the response before it is over. So whoever sends many at
 * once has one under way, and a connection that changes its protocol, or breaks, has no response left that somebody still writes. Called by `ports.ts`.
 */
import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

interface Line {
  current: ServerResponse
  waiting: { response: ServerResponse; begin: () => void }[]
}

export class Turns {
  readonly #lines = new WeakMap<Duplex, Line>()
  readonly #max: number

  /** `max`: requests of one connection, the one under way included. */
  constructor(max: number) {
    this.#max = max
  }

  /** Calls `begin` at once or later, or never if the connection ends before. False: there are too many. */
  take(socket: Duplex, response: ServerResponse, begin: () => void): boolean {
    const line = this.#lines.get(socket)
    if (line !== undefined) return line.waiting.push({ response, begin }) < this.#max
    this.#begin(socket, { current: response, waiting: [] }, begin)
    return true
  }

  /** The response under way. */
  current(socket: Duplex): ServerResponse | null {
    return this.#lines.get(socket)?.current ?? null
  }

  /** Begins none of those that wait. */
  stop(socket: Duplex): void {
    const line = this.#lines.get(socket)
    if (line !== undefined) line.waiting = []
  }

  #begin(socket: Duplex, line: Line, begin: () => void): void {
    this.#lines.set(socket, line)
    line.current.once('close', () => {
      this.#lines.delete(socket)
      const next = socket.writable ? line.waiting.shift() : undefined
      if (next !== undefined) this.#begin(socket, { current: next.response, waiting: line.waiting }, next.begin)
    })
    begin()
  }
}
