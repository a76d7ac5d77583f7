/** One request as its exchange sees it, of whichever HTTP version the client speaks. */
import type { Duplex, Readable, Writable } from 'node:stream'
import type { Field, Refusal } from './fields.ts'

export interface Inbound {
  readonly protocol: 'http/1.0' | 'http/1.1' | 'h2'
  readonly version: '1.0' | '1.1' | '2'
  readonly method: string
  /** host or host:port; '' if the client does not say. */
  readonly host: string
  /** With the query; '*' of OPTIONS. */
  readonly path: string
  /** As they came. */
  readonly fields: readonly Field[]
  /** IP of the client. */
  readonly remote: string
  readonly secure: boolean
  /** Name in TLS. */
  readonly serverName: string | null
  /** Null: there is none. */
  readonly body: Readable | null
  /** Protocol it wants to change to, in lower case. */
  readonly upgrade: string | null
  /** Why it cannot be served, as far as its form tells. */
  readonly refusal: Refusal | null
  /** A response has begun. */
  readonly answered: boolean
  /** Where the body of the response goes. */
  readonly out: Writable
  /** The body that has ended came whole. */
  readonly whole: boolean
  /** Behind the body; known when that has ended. */
  trailers(): Field[]
  /** 1xx, as far as the client can be told. */
  inform(status: number, fields: readonly Field[]): void
  /** Begins the response. `fields` have Content-Length if it is known. */
  head(status: number, message: string, fields: readonly Field[], body: 'body' | 'none'): void
  /** Ends it; `onDone` when the client's connection has taken all of it. */
  end(trailers: readonly Field[], onDone: () => void): void
  /** Changes the protocol: from here the connection, or stream, is the other protocol's. */
  accept(fields: readonly Field[], protocol: string): Duplex
  /** The response is over: what is left of the request is not waited for. */
  release(): void
  /** Breaks off, so that nobody takes a part for the whole. */
  cut(): void
}

/** Who is told that the client has gone, at any time before the end of the response. */
export type OnGone = () => void

export function plainAddress(address: string | undefined): string {
  return address === undefined ? 'unknown' : address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
}

/** The status allows no body, or the method none in the response. */
export function isBodiless(method: string, status: number): boolean {
  return method === 'HEAD' || status === 204 || status === 304 || status < 200
}
