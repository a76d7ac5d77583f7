/** A fake of the engine's endpoint: the functions of the contract, over `FakeNetwork` instead of sockets and a thread. */
import { Command, Record, RECORD_WORDS, WriteFlag } from '../../src/binding/native.ts'
import type { NativeEndpoint } from '../../src/binding/native.ts'
import { DROP_REASONS, Scope } from '../../src/binding/numbers.ts'
import type { NativeConnect, NativeEndpointOptions, NativeOrder, NativeQuestion, NativeServer } from '../../src/binding/messages.ts'
import { FakeConnection } from './connection.ts'
import type { FakeNetwork } from './network.ts'
import { RecordQueue, nativeError } from './records.ts'

export class FakeEndpoint implements NativeEndpoint {
  readonly network: FakeNetwork
  readonly options: NativeEndpointOptions
  readonly queue: RecordQueue
  readonly connections = new Map<number, FakeConnection>()
  /** What the test may look at. */
  readonly calls = { flush: 0, drain: 0, wakes: 0, asks: 0 }
  readonly forgotten = new Set<number>()
  readonly pickers = new Map<number, (view: string) => string>()
  /** RAW commands, and who hears of RAW records. */
  readonly raw: { text: string; ttl: number }[] = []
  rawTo = 'nobody'
  /** Orders to the endpoint, and what a test does about them. */
  readonly orders: NativeOrder[] = []
  onOrder: (order: NativeOrder) => void = () => {}
  /** Answers to questions that the fake does not know; of the endpoint, and of connections. */
  onAsk: (key: number, question: NativeQuestion) => unknown = () => null
  alive = false
  closed = false
  server: NativeServer | null = null
  admission: 'ask' | 'open' = 'open'
  /** Attempts that wait, and what became of the others. */
  readonly attempts = new Map<number, (verdict: string, options: NativeServer | null) => void>()
  readonly verdicts: string[] = []
  roots: string[] | null = null
  readonly connects: NativeConnect[] = []
  #keys = 0
  #local: string[]

  constructor(network: FakeNetwork, options: NativeEndpointOptions, wake: () => void) {
    this.network = network
    this.options = options
    this.queue = new RecordQueue(() => {
      this.calls.wakes += 1
      wake()
    })
    this.#local = options.local.map((address) => network.bind(address, this))
  }

  newKey(): number {
    return (this.#keys += 1)
  }

  drain(records: Uint32Array, staging: Uint8Array): number {
    this.calls.drain += 1
    return this.queue.drain(records, staging)
  }

  flush(commands: Uint32Array, count: number, arena: Uint8Array, _wake: number, tail: Uint8Array | null): void {
    this.calls.flush += 1
    if (this.closed) this.network.violations.push('flush after close')
    const floats = new Float64Array(commands.buffer, commands.byteOffset, commands.length / 2)
    let offset = 0
    for (let index = 0; index < count; index++) {
      const at = index * RECORD_WORDS
      const head = commands[at] ?? 0
      const length = commands[at + 2] ?? 0
      const fromTail = ((head >>> 8) & WriteFlag.TAIL) !== 0
      if (fromTail && (tail === null || index !== count - 1 || tail.length !== length)) this.network.violations.push('TAIL without its tail')
      const payload = fromTail && tail !== null ? Uint8Array.from(tail) : arena.slice(offset, offset + length)
      if (!fromTail) offset += length
      const connection = this.connections.get(commands[at + 1] ?? 0)
      if ((head & 0xff) === Command.RAW) {
        this.raw.push({ text: Buffer.from(payload).toString('latin1'), ttl: commands[at + 3] ?? 0 })
        continue
      }
      if (connection === undefined) this.network.violations.push(`command for unknown connection ${commands[at + 1]}`)
      connection?.command({
        kind: head & 0xff, flags: head >>> 8, c: commands[at + 3] ?? 0, stream: floats[at / 2 + 2] ?? 0, b: floats[at / 2 + 3] ?? 0,
        code: BigInt(commands[at + 6] ?? 0) | (BigInt(commands[at + 7] ?? 0) << 32n), payload,
      })
    }
    this.network.kick()
  }

  connect(json: string): number {
    const options = JSON.parse(json) as NativeConnect
    this.connects.push(options)
    if (options.tls.ca !== 'default' && options.tls.ca?.includes('bad')) throw nativeError({ code: 'QB_TLS_IDENTITY', message: 'ca is not PEM; pass a certificate', field: 'ca' })
    const key = this.newKey()
    const connection = new FakeConnection(this, key, 'client', options.transport)
    this.connections.set(key, connection)
    this.network.dial(connection, options)
    return key
  }

  listen(json: string): void {
    const server = JSON.parse(json) as NativeServer
    if (server.tls.key === 'bad') throw nativeError({ code: 'QB_TLS_IDENTITY', message: 'key is not PEM: no private key block; pass PKCS#8', field: 'key' })
    this.server = server
  }

  unlisten(): void {
    this.server = null
  }

  setDefaultRoots(pem: string[]): void {
    this.roots = pem
  }

  admit(attempt: number, verdict: 'accept' | 'refuse' | 'retry' | 'ignore', options: string | null): void {
    const waiting = this.attempts.get(attempt)
    const server = options === null ? null : (JSON.parse(options) as NativeServer)
    if (server?.tls.key === 'bad') throw nativeError({ code: 'QB_TLS_IDENTITY', message: 'key is not PEM: no private key block; pass PKCS#8', field: 'key' })
    this.attempts.delete(attempt)
    this.verdicts.push(verdict)
    if (verdict !== 'accept' || waiting === undefined) this.queue.event(0, { type: 'attempt-over', atMs: 1, attempt })
    waiting?.(verdict, server)
  }

  tell(key: number, json: string): void {
    const asked = JSON.parse(json) as NativeOrder
    if (key === 0) {
      this.orders.push(asked)
      this.onOrder(asked)
    }
    if (key === 0 && asked.do === 'admission') this.admission = asked.mode
    if (key === 0 && asked.do === 'raw') this.rawTo = asked.to
    const connection = this.connections.get(key)
    if (connection === undefined || connection.ended) return
    const order = JSON.parse(json) as NativeOrder
    connection.orders.push(order)
    this.network.order(connection, order)
  }

  ask(key: number, json: string): string {
    const question = JSON.parse(json) as NativeQuestion
    this.calls.asks += 1
    if (key === 0) return JSON.stringify(this.onAsk(0, question))
    const connection = this.connections.get(key)
    if (connection === undefined || connection.ended) throw nativeError({ code: 'QB_CONNECTION_CLOSED', message: 'the connection has ended' })
    switch (question.ask) {
      case 'explain': return JSON.stringify({ lines: ['path 0: nothing to send'], paths: [{ id: 0, blocked: ['TRANSPORT'], wakeAtMs: null, timer: null, reason: 'idle' }] })
      case 'update-key': return 'true'
      case 'space': return question.path > 0 ? 'null' : JSON.stringify({ state: 'open', largestSent: 7, largestAcknowledged: 6, largestReceived: 5, received: [[0, 5]] })
      default: return JSON.stringify(this.onAsk(key, question))
    }
  }

  statistics(scope: number, key: number, path: number, out: Float64Array): boolean {
    if (scope === Scope.DROPS) {
      for (let index = 0; index < out.length; index++) out[index] = DROP_REASONS[index] === 'unknownConnection' ? 2 : 0
      return true
    }
    if (scope !== 0 && (!this.connections.has(key) || this.forgotten.has(key))) return false
    for (let index = 0; index < out.length; index++) out[index] = scope === 2 && index === 11 ? 1 : index + 1 + path
    if (scope === 2) out[4] = this.connections.get(key)?.paths.get(path)?.ptoCount ?? 0
    return true
  }

  splice(): number {
    return 0
  }

  spliceGo(): void {}

  spliceCut(): void {}

  spliceBytes(): boolean {
    return false
  }

  setPicker(key: number, pick: (view: string) => string): void {
    this.pickers.set(key, pick)
  }

  forget(key: number): void {
    this.forgotten.add(key)
  }

  local(): string[] {
    return this.#local
  }

  now(): number {
    return this.network.nowMs
  }

  keepAlive(on: boolean): void {
    this.alive = on
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    for (const address of this.#local) this.network.unbind(address)
    for (const connection of this.connections.values()) this.network.cutConnection(connection)
    this.network.later(() => this.queue.event(0, { type: 'endpoint-closed', atMs: 0, error: null }))
  }

  /** The I/O thread breaks. */
  breakDown(): void {
    this.queue.event(0, { type: 'endpoint-closed', atMs: 0, error: { code: 'QB_INTERNAL', message: 'the I/O thread panicked; please report' } })
  }

  trace(key: number, record: object): void {
    this.queue.push({ kind: Record.TRACE, key, payload: Buffer.from(JSON.stringify(record)) })
  }

  acks(key: number, record: object): void {
    this.queue.push({ kind: Record.ACKS, key, payload: Buffer.from(JSON.stringify(record)) })
  }
}
