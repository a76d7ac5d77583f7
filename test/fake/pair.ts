/** A connected pair over the fake engine, and what tests do with it. */
import { afterEach, expect } from 'vitest'
import type { ConnectionOptions, EndpointOptions, ServerOptions } from '../../src/config/index.ts'
import type { Connection } from '../../src/connection/index.ts'
import { bindWith } from '../../src/endpoint/index.ts'
import type { Endpoint, Habitat } from '../../src/endpoint/index.ts'
import type { BidirectionalStream } from '../../src/stream/index.ts'
import { FakeNetwork } from './network.ts'

export const SERVER: ServerOptions = { alpn: 'test', cert: 'cert', key: 'key' }

let networks: FakeNetwork[] = []

/** After every test the contract must be unbroken. */
export function watchContract(): void {
  afterEach(() => {
    const broken = networks.flatMap((network) => network.violations)
    networks = []
    expect(broken).toEqual([])
  })
}

export function newNetwork(features: string[] = []): FakeNetwork {
  const network = new FakeNetwork()
  network.features = features
  networks.push(network)
  return network
}

export interface Pair {
  network: FakeNetwork
  server: Endpoint
  client: Endpoint
  near: Connection
  far: Connection
  done(): Promise<void>
}

export async function connectedPair(options: { connect?: ConnectionOptions; server?: Partial<ServerOptions>; endpoint?: EndpointOptions; features?: string[]; world?: Partial<Habitat>; at?: string } = {}): Promise<Pair> {
  const network = newNetwork(options.features)
  const server = bindWith(network.module, { ...options.endpoint, local: options.at ?? '127.0.0.1:0', server: { ...SERVER, ...options.server } })
  const client = bindWith(network.module, options.endpoint, options.world)
  const near = await client.connect(server.local[0] ?? '', { alpn: 'test', ca: 'ca', ...options.connect })
  const { value: far } = await server.incoming().next()
  const done = async (): Promise<void> => {
    client.destroy()
    server.destroy()
    await Promise.all([client.closed, server.closed])
  }
  return { network, server, client, near, far: far as Connection, done }
}

export async function streamPair(pair: Pair): Promise<{ mine: BidirectionalStream; theirs: BidirectionalStream }> {
  const mine = await pair.near.openBidirectional()
  mine.write(Uint8Array.of(0))
  const theirs = await taken(pair.far.incomingBidirectional())
  return { mine, theirs }
}

export async function taken<T>(supply: AsyncIterableIterator<T>): Promise<T> {
  const { value, done } = await supply.next()
  if (done === true) throw new Error('the supply has ended')
  return value as T
}

/** Bytes that tell their own position. */
export function pattern(length: number, from = 0): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  for (let index = 0; index < length; index++) bytes[index] = ((from + index) * 31 + ((from + index) >> 8)) & 0xff
  return bytes
}

export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

export async function turns(count: number): Promise<void> {
  for (let index = 0; index < count; index++) await turn()
}

/** Runs turns until `check` holds, at most 200. */
export async function until(check: () => boolean): Promise<void> {
  for (let index = 0; index < 200 && !check(); index++) await turn()
  if (!check()) throw new Error('did not happen within 200 turns')
}

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => 'resolved', (error: { code?: string }) => error.code ?? String(error))
}
