/** A request on its way to a service, and what its exchange is told about it. */
import type { Duplex, Readable, Writable } from 'node:stream'
import type { Field } from './fields.ts'
import type { Failure } from './page.ts'

export interface Answer {
  status: number
  message: string
  fields: Field[]
  /** Of the service: '1.1', '2'. */
  version: string
  body: Readable
  /** Behind the body; known when that has ended. */
  trailers(): Field[]
}

/** Each at most once, but `onInform`; nothing after `onAnswer`'s body has ended, `onUpgrade` or `onFailure`. */
export interface OutboundEvents {
  /** There is a way: bytes of the body may come. */
  onOpen(body: Writable): void
  onInform(status: number, fields: Field[]): void
  onAnswer(answer: Answer): void
  /** The service changes the protocol with us. */
  onUpgrade(fields: Field[], duplex: Duplex): void
  onFailure(failure: Failure): void
}

export interface Outbound {
  start(): void
  /** The body has ended, or there is none. */
  endRequest(trailers: readonly Field[]): void
  /** Everything was said and heard. */
  finish(): void
  /** Breaks off whatever there is of it. */
  cut(): void
}

/** What is asked of a service. */
export interface Asked {
  key: string
  method: string
  path: string
  host: string
  secure: boolean
  /** End to end, without Host and framing. */
  fields: readonly Field[]
  /** Content-Length of the body; 'unknown': it ends when it ends; null: there is none. */
  length: string | 'unknown' | null
  /** The protocol to change to; null: none. */
  upgrade: string | null
  acceptsTrailers: boolean
}
