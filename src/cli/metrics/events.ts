/**
 * Who reads `/events`, and what they are told: facts of the endpoint, its connections and their paths as they happen. Nothing is watched while
 * nobody reads. A reader that is slow loses events and is told how many; it holds up nobody.
 */
import type { ServerResponse } from 'node:http'
import type { Connection, Endpoint } from '../../index.ts'
import { every } from '../clock.ts'
import { toJson } from '../json.ts'

/** Readers at a time. */
export const READERS = 8
/** Bytes that wait for one reader; beyond that it loses events. */
const WAITING_BYTES = 256 * 1024
/** A silent connection is kept open by a comment. */
const HEARTBEAT_MS = 15_000

type Watch = { unsubscribe(): void }
type Kind = 'endpoint' | 'connection' | 'path'

export class EventStream {
  readonly #endpoint: Endpoint
  readonly #readers = new Map<ServerResponse, { lost: number }>()
  readonly #watched = new Map<Connection, Watch[]>()
  #watching: Watch[] = []
  #stopBeating = (): void => undefined
  #number = 0

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint
  }

  /** False: there are enough. */
  add(response: ServerResponse): boolean {
    if (this.#readers.size >= READERS) return false
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
    const { local, connections } = this.#endpoint
    response.write(`retry: 1000\n${this.#block('hello', { atMs: this.#endpoint.now(), local, connections: connections.size })}`)
    if (this.#readers.size === 0) this.#watch()
    this.#readers.set(response, { lost: 0 })
    response.once('close', () => {
      this.#readers.delete(response)
      if (this.#readers.size === 0) this.stop()
    })
    return true
  }

  /** Watches no more, and ends what readers have. */
  stop(): void {
    for (const watch of [...this.#watching, ...[...this.#watched.values()].flat()]) watch.unsubscribe()
    this.#watching = []
    this.#watched.clear()
    this.#stopBeating()
    for (const response of this.#readers.keys()) response.end()
  }

  #watch(): void {
    const { events$, connections$, connections } = this.#endpoint
    this.#watching = [
      events$.subscribe((event) => this.#tell('endpoint', event)),
      connections$.subscribe((connection) => {
        this.#tell('endpoint', { type: 'connection', atMs: this.#endpoint.now(), connection: connection.id, role: connection.role, local: connection.local, remote: connection.remote })
        this.#follow(connection)
      }),
    ]
    for (const connection of connections) this.#follow(connection)
    this.#stopBeating = every(HEARTBEAT_MS, () => this.#write(':\n\n'))
  }

  #follow(connection: Connection): void {
    // What is replayed happened before anybody asked.
    let live = false
    const told = (kind: Kind) => (event: object): void => void (live && this.#tell(kind, { connection: connection.id, ...event }))
    this.#watched.set(connection, [
      connection.events$.subscribe({ next: told('connection'), complete: () => this.#watched.delete(connection) }),
      connection.paths.events$.subscribe(told('path')),
    ])
    live = true
  }

  #tell(kind: Kind, event: object): void {
    this.#write(this.#block(kind, event))
  }

  #block(kind: string, facts: object): string {
    this.#number += 1
    return `id: ${this.#number}\nevent: ${kind}\ndata: ${toJson(facts)}\n\n`
  }

  #write(text: string): void {
    for (const [response, state] of this.#readers) {
      if (response.writableLength > WAITING_BYTES) {
        state.lost += 1
        continue
      }
      if (state.lost > 0) response.write(this.#block('lost', { events: state.lost }))
      state.lost = 0
      response.write(text)
    }
  }
}
