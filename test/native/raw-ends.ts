/** The native contract by itself, over loopback or in a world: endpoints as the rooms of `src` hold them, without those rooms. */
import { createRequire } from 'node:module'
import type { NativeConnect, NativeEvent, NativeOrder, NativeQuestion, NativeTransport } from '../../src/binding/messages.ts'
import { DRAIN_MORE, StepEnd } from '../../src/binding/native.ts'
import type { NativeEndpoint, NativeModule, NativeWorld } from '../../src/binding/native.ts'
import { MODULE } from './built.ts'

const EVENT = 16
const PATIENCE_MS = 30_000
const VIRTUAL_NS = 600e9

export const nativeModule = (): NativeModule => createRequire(import.meta.url)(MODULE) as NativeModule

/** An event and the connection it is about, 0: the endpoint. */
export type Told = NativeEvent & { key: number }
type Kind = NativeEvent['type']
export type ToldOf<K extends Kind> = Extract<NativeEvent, { type: K }> & { key: number }

export interface Identity { cert: string; key: string }

/** One endpoint. */
export class RawEnd {
  readonly native: NativeEndpoint
  readonly told: Told[] = []
  readonly #words = new Uint32Array(256 * 8)
  readonly #staging = Buffer.alloc(262_144)
  /** A mark: what was told before it is not found by `Ground.told`. */
  #seen = 0

  constructor(native: NativeEndpoint) {
    this.native = native
  }

  /** Its first address. */
  get local(): string {
    return this.native.local()[0] ?? ''
  }

  drain(): void {
    let answer = DRAIN_MORE
    while ((answer & DRAIN_MORE) !== 0) {
      answer = this.native.drain(this.#words, this.#staging)
      let offset = 0
      for (let at = 0; at < (answer & 0xffff) * 8; at += 8) {
        const end = offset + (this.#words[at + 2] ?? 0)
        if (((this.#words[at] ?? 0) & 0xff) === EVENT) {
          const event = JSON.parse(this.#staging.toString('utf8', offset, end)) as NativeEvent
          this.told.push({ ...event, key: this.#words[at + 1] ?? 0 })
        }
        offset = end
      }
    }
  }

  tell(key: number, order: NativeOrder): void {
    this.native.tell(key, JSON.stringify(order))
  }

  ask<T>(key: number, question: NativeQuestion): T {
    return JSON.parse(this.native.ask(key, JSON.stringify(question))) as T
  }

  /** Forgets what was told so far. */
  mark(): void {
    this.#seen = this.told.length
  }

  all<K extends Kind>(type: K): ToldOf<K>[] {
    return this.told.slice(this.#seen).filter((event): event is ToldOf<K> => event.type === type)
  }

  listen(own: Identity, transport: Partial<NativeTransport> = {}): void {
    this.native.listen(JSON.stringify({ tls: { alpn: ['x'], cert: [own.cert], key: own.key }, transport: transportOf(transport) }))
  }

  /** The key of a connection to the first of these that answers. */
  connect(own: Identity, remotes: string[], transport: Partial<NativeTransport> = {}, more: Partial<NativeConnect> = {}): number {
    const tls = { alpn: ['x'], ca: [own.cert] }
    const options: NativeConnect = { id: 'c0ffee', remotes, serverName: 'server', tls, transport: transportOf(transport), paths: [{}], handshake: { mode: 'single' }, ticket: false, ...more }
    const key = this.native.connect(JSON.stringify(options))
    this.tell(key, { do: 'begin' })
    return key
  }
}

function transportOf(transport: Partial<NativeTransport>): NativeTransport {
  return { ...transport, limits: { sendBufferBytes: 65_536, connectionSendBufferBytes: 65_536, ...transport.limits } }
}

/** Where endpoints live. */
export abstract class Ground {
  readonly ends: RawEnd[] = []

  protected add(native: NativeEndpoint): RawEnd {
    const end = new RawEnd(native)
    this.ends.push(end)
    return end
  }

  abstract identity(): Identity
  /** Lets something happen; false: nothing will any more. */
  protected abstract pass(): Promise<boolean>

  /** Until `look` finds something, which is the answer. */
  async until<T>(what: string, look: () => T | undefined | false): Promise<T> {
    for (;;) {
      for (const end of this.ends) end.drain()
      const found = look()
      if (found !== undefined && found !== false) return found
      if (!(await this.pass())) throw new Error(`no ${what}: ${JSON.stringify(this.ends.map((end) => end.told), null, 1)}`)
    }
  }

  /** The first event of this kind that fits, from the last mark on. */
  told<K extends Kind>(end: RawEnd, type: K, fits: (event: ToldOf<K>) => boolean = () => true): Promise<ToldOf<K>> {
    return this.until(type, () => end.all(type).find(fits))
  }
}

/** Kernel sockets. */
export class Loopback extends Ground {
  readonly #end = performance.now() + PATIENCE_MS

  bind(local = '127.0.0.1:0'): RawEnd {
    return this.add(nativeModule().createEndpoint(JSON.stringify({ local: [local] }), () => {}))
  }

  identity(): Identity {
    return JSON.parse(nativeModule().createDevCertificate(JSON.stringify({ names: ['server'], kind: 'p256', days: 1 }))) as Identity
  }

  protected async pass(): Promise<boolean> {
    await new Promise((resolve) => setTimeout(resolve, 1))
    return performance.now() < this.#end
  }

  async close(): Promise<void> {
    for (const end of this.ends) end.native.close()
    await this.until('end of all', () => this.ends.every((end) => end.told.some((event) => event.type === 'endpoint-closed')))
  }
}

/** A simulated world. */
export class RawWorld extends Ground {
  readonly native: NativeWorld
  readonly #out = new Float64Array(66)

  constructor(seed = 1) {
    super()
    this.native = nativeModule().createWorld(JSON.stringify({ seed, record: false }))
  }

  /** Virtual ms. */
  get nowMs(): number {
    return (this.#out[0] ?? 0) / 1e6
  }

  identity(): Identity {
    return JSON.parse(this.native.identity('["server"]')) as Identity
  }

  bind(host: number, local: string[]): RawEnd {
    return this.add(this.native.createEndpoint(host, JSON.stringify({ local })))
  }

  link(a: number, b: number, delayMs: number, more: { insideA?: boolean; insideB?: boolean; addressA?: string; addressB?: string } = {}): number {
    return this.native.link(JSON.stringify({ a, b, shape: { delayMs }, ...more }))
  }

  protected async pass(): Promise<boolean> {
    this.native.step(VIRTUAL_NS, false, this.#out)
    return this.#out[1] !== StepEnd.IDLE && this.#out[1] !== StepEnd.REACHED
  }
}
