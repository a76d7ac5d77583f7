/**
 * What we tell Node's `diagnostics_channel`: the names of the channels and the messages on each, for observers that are not given our objects
 * (APM agents, loggers). A message is made only while somebody is subscribed to its channel: whoever publishes asks `hasSubscribers` before.
 * A subscriber that throws is Node's to report (`uncaughtException`); it disturbs nobody here. Two copies of the package share the channels.
 */
import { channel, tracingChannel } from 'node:diagnostics_channel'
import type { Channel, TracingChannel } from 'node:diagnostics_channel'

/** A channel whose messages are `M`. */
export interface Teller<M extends object> {
  readonly hasSubscribers: boolean
  publish(message: M): void
}

/** The messages carry the public objects; their types are known where they are published. */
interface Messages {
  /** An endpoint was made. */
  'quicbraid:endpoint:open': { endpoint: object }
  /** Each fact of `endpoint.events$`. */
  'quicbraid:endpoint:event': { endpoint: object; event: object }
  /** Its sockets are closed. `error`: what broke it, or null. */
  'quicbraid:endpoint:closed': { endpoint: object; error: unknown }
  /** A connection was made, before its handshake. */
  'quicbraid:connection:open': { endpoint: object; connection: object }
  /** Each fact of `connection.events$`. */
  'quicbraid:connection:event': { connection: object; event: object }
  /** `info`: as `connection.closed` resolves with. */
  'quicbraid:connection:closed': { connection: object; info: object }
  /** Each fact of `connection.paths.events$`. */
  'quicbraid:path:event': { connection: object; event: object }
  /** A stream was opened, by either end. */
  'quicbraid:stream:open': { connection: object; id: bigint; direction: 'bidi' | 'uni'; initiated: 'local' | 'peer' }
  /** Both its parts have ended, or its connection has. */
  'quicbraid:stream:closed': { connection: object; id: bigint }
}

function teller<K extends keyof Messages>(name: K): Teller<Messages[K]> {
  return channel(name) satisfies Channel
}

export const ENDPOINT_OPEN: Teller<Messages['quicbraid:endpoint:open']> = teller('quicbraid:endpoint:open')
export const ENDPOINT_EVENT: Teller<Messages['quicbraid:endpoint:event']> = teller('quicbraid:endpoint:event')
export const ENDPOINT_CLOSED: Teller<Messages['quicbraid:endpoint:closed']> = teller('quicbraid:endpoint:closed')
export const CONNECTION_OPEN: Teller<Messages['quicbraid:connection:open']> = teller('quicbraid:connection:open')
export const CONNECTION_EVENT: Teller<Messages['quicbraid:connection:event']> = teller('quicbraid:connection:event')
export const CONNECTION_CLOSED: Teller<Messages['quicbraid:connection:closed']> = teller('quicbraid:connection:closed')
export const PATH_EVENT: Teller<Messages['quicbraid:path:event']> = teller('quicbraid:path:event')
export const STREAM_OPEN: Teller<Messages['quicbraid:stream:open']> = teller('quicbraid:stream:open')
export const STREAM_CLOSED: Teller<Messages['quicbraid:stream:closed']> = teller('quicbraid:stream:closed')

/** `tracing:quicbraid:connect:start`, `…:end`, `…:asyncStart`, `…:asyncEnd`, `…:error`. */
const CONNECT: TracingChannel = tracingChannel('quicbraid:connect')

/** Runs a `connect` under its tracing channel; without subscribers it only runs it. Node adds `result` or `error` to the message. */
export function traceConnect<T>(run: () => Promise<T>, message: () => { endpoint: object; remote: string | readonly string[] }): Promise<T> {
  const { start, end, asyncStart, asyncEnd, error } = CONNECT
  const watched = start.hasSubscribers || end.hasSubscribers || asyncStart.hasSubscribers || asyncEnd.hasSubscribers || error.hasSubscribers
  return watched ? (CONNECT.tracePromise(run, message()) as Promise<T>) : run()
}
