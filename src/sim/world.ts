/**
 * A simulated world: hosts, routers and links in virtual time, with the real transport on the hosts. Puts the parts together; the engine
 * (`native/binding/src/sim`) moves datagrams, `loop.ts` orders the program and the engine.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { guarded, loadNative } from '../binding/index.ts'
import type { NativeEndpoint, NativeIdentity, NativeInterface, NativeModule, NativeSimEvent, NativeWorld } from '../binding/index.ts'
import { invalidOption } from '../config/index.ts'
import type { Clock, Feed, Observable, PathSpec } from '../config/index.ts'
import type { Endpoint, Habitat, HostAddress } from '../endpoint/index.ts'
import { ServiceError } from '../errors/index.ts'
import { Host } from './host.ts'
import type { Attachable, HostOwner } from './host.ts'
import { Link } from './link.ts'
import { Loop } from './loop.ts'
import { Nat } from './nat.ts'
import { eventFeed } from './observe.ts'
import type { SimEvent } from './observe.ts'
import { checkLink, checkNat, checkWorld } from './options.ts'
import type { LinkOptions, LinkShape, NatOptions, WorldOptions } from './options.ts'

/** An identity of a world: `ca` is what others trust. */
export interface Identity {
  cert: string
  key: string
  ca: string
}

/** What `World.pair` makes. */
export interface WorldPair {
  world: World
  client: Host
  server: Host
  links: readonly Link[]
  /** One for each link, for `connect`. */
  paths: readonly PathSpec[]
  /** Of the name `server`. */
  tls: Identity
}

/** What links have that join a router, or the outside of a translator. */
const PUBLIC = ['198.18.0.0/15']

/** The port of endpoints that name none. */
const PORT = 4433

/** A router, known by its name. */
class Router implements Attachable {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

export class World implements AsyncDisposable {
  readonly seed: number
  readonly #native: NativeWorld
  readonly #module: NativeModule
  readonly #loop: Loop
  readonly #nodes = new Map<Attachable, { node: number; inside: boolean }>()
  readonly #names = new Map<string, unknown>()
  readonly #links: Link[] = []
  /** By number of the engine. */
  readonly #wakes: (() => void)[] = []
  /** Held as long as the world, so that no garbage collector ends an endpoint. */
  readonly #endpoints: Endpoint[] = []
  readonly #events: Feed<SimEvent>
  readonly #owner: HostOwner
  /** Qlogs by name, in pieces; null: they are not recorded. */
  readonly #logs: Map<string, string[]> | null
  #watching = false

  /** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_NATIVE_MISSING */
  constructor(options: WorldOptions = {}) {
    const { seed, limitMs, record } = checkWorld(options)
    this.seed = seed
    this.#logs = record ? new Map() : null
    this.#module = loadNative()
    this.#native = guarded(() => this.#module.createWorld(JSON.stringify({ seed, record })))
    this.#loop = new Loop({
      native: this.#native, limitMs,
      wake: (endpoint) => this.#wakes[endpoint]?.(),
      onNews: () => this.#tellEvents(),
      explain: () => this.#explain(),
    })
    this.#events = eventFeed((on) => {
      this.#watching = on
      this.#native.watch(on)
    })
    this.#owner = {
      addresses: (node) => this.#native.addresses(node),
      moduleOf: (node) => this.#moduleOf(node),
      habitatOf: (node) => this.#habitat(node),
      onBound: (endpoint) => void this.#endpoints.push(endpoint),
      crash: (node, words) => this.#native.crash(node, words),
    }
  }

  /** The usual case: two hosts joined by these links, one path for each, identity `server`. @throws as the constructor and `link` */
  static pair(links: readonly LinkShape[], options: WorldOptions = {}): WorldPair {
    const world = new World(options)
    const client = world.host('client')
    const server = world.host('server')
    const made = links.map((shape) => world.link(client, server, shape))
    const paths = made.map(({ a, b }) => ({ local: a.address, remote: withPort(b.address, PORT) }))
    return { world, client, server, links: made, paths, tls: world.identity('server') }
  }

  /** Virtual time, for programs that make timers. */
  get clock(): Clock {
    return this.#loop.clock
  }

  /** Virtual ms since the start. */
  get nowMs(): number {
    return this.#loop.clock.now()
  }

  /** What becomes of every datagram on every link. [H0] virtual time */
  get events$(): Observable<SimEvent> {
    return this.#events.values$
  }

  /** @throws QB_OPTION_INVALID for a name in use */
  host(name: string): Host & Attachable {
    this.#checkName(name)
    const node = this.#native.host()
    return this.#add(node, new Host(this.#owner, node, name))
  }

  /** Forwards between its links; routes are shortest paths, kept up to date. @throws QB_OPTION_INVALID for a name in use */
  router(name: string): Attachable {
    this.#checkName(name)
    return this.#add(this.#native.router(), new Router(name))
  }

  /** An address translator: hosts inside are seen from outside under its addresses. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  nat(name: string, options: NatOptions = {}): Nat {
    this.#checkName(name)
    const checked = checkNat(options)
    const node = this.#native.nat(JSON.stringify(checked))
    const nat = new Nat(this.#native, node, name)
    this.#names.set(name, nat)
    this.#nodes.set(nat.inside, { node, inside: true })
    this.#nodes.set(nat.outside, { node, inside: false })
    return nat
  }

  /**
   * The n-th link (from 1) gets 10.0.n.1 at `a` and 10.0.n.2 at `b` (198.18.n.x, globally routable here, if one end is a router or a NAT's outside), unless
   * addresses are given. A host routes by its source address. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN
   */
  link(a: Attachable, b: Attachable, shape: LinkOptions = {}): Link {
    const { name, ...own } = checkLink(shape)
    const [from, to] = [this.#end(a, 'a'), this.#end(b, 'b')]
    const ends = { a: from.node, b: to.node, insideA: from.inside, insideB: to.inside }
    const number = guarded(() => this.#native.link(JSON.stringify({ ...ends, ...own })))
    const link = new Link(this.#native, number, name ?? `${a.name}-${b.name}`, a.name, b.name)
    this.#links.push(link)
    return link
  }

  /** Ed25519 certificate and key made from the seed, for names or IPs: the same names, the same bytes. @throws QB_OPTION_INVALID */
  identity(...names: string[]): Identity {
    const { cert, key } = JSON.parse(guarded(() => this.#native.identity(JSON.stringify(names)))) as NativeIdentity
    return { cert, key, ca: cert }
  }

  /** Scripted event; errors in it fail `run`. */
  at(ms: number, act: () => void): void {
    this.#loop.clock.at(ms, () => {
      try {
        act()
      } catch (error) {
        this.#loop.fail(error)
      }
    })
  }

  /** Resolves when so much virtual time has passed. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#loop.clock.setTimeout(resolve, ms))
  }

  /** Runs `main`; time advances only when no JavaScript of the program is runnable, and stops when it settles. @throws QB_SIM_STUCK (nothing can ever happen; the message has every explain()) QB_SIM_TIME_LIMIT, and what `main` throws */
  run<T>(main: (world: this) => Promise<T>): Promise<T> {
    return this.#loop.run(() => main(this))
  }

  /** Real asynchronous work (files, sockets, threads): time stands still until the result is called. */
  hold(): () => void {
    return this.#loop.hold()
  }

  /** SHA-256 (hex) over (time, link, direction, bytes, fate) of every datagram so far. */
  traceHash(): string {
    return this.#native.traceHash()
  }

  /** pcapng with the key log embedded: all links, lost datagrams with a comment. Needs `record`. @throws QB_SIM_NO_RECORD */
  async exportPcap(file: string): Promise<void> {
    const bytes = this.#native.pcap(this.#links.map(({ name }) => name))
    if (bytes === null) throw noRecord('exportPcap')
    await this.#held(writeFile(file, bytes))
  }

  /** One `.sqlog` per end of a connection, as far as it has come; answers their names. Needs `record`. @throws QB_SIM_NO_RECORD */
  async exportQlog(folder: string): Promise<string[]> {
    const logs = this.#logs
    if (logs === null) throw noRecord('exportQlog')
    await this.#held(mkdir(folder, { recursive: true }))
    const files = [...logs].map(([name, pieces]) => ({ file: join(folder, `${name}.sqlog`), text: pieces.join('') }))
    await this.#held(Promise.all(files.map(({ file, text }) => writeFile(file, text))))
    return files.map(({ file }) => file)
  }

  /** Ends all endpoints. */
  async close(): Promise<void> {
    const open = this.#endpoints.splice(0)
    await this.#loop.run(async () => {
      for (const endpoint of open) endpoint.destroy()
      await Promise.all(open.map((endpoint) => endpoint.closed))
    })
    this.#events.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Real work of ours: time stands still. */
  async #held<T>(work: Promise<T>): Promise<T> {
    const release = this.hold()
    try {
      return await work
    } finally {
      release()
    }
  }

  #log(piece: string): void {
    const at = piece.indexOf('\n')
    const name = piece.slice(0, at)
    const pieces = this.#logs?.get(name)
    if (pieces === undefined) this.#logs?.set(name, [piece.slice(at + 1)])
    else pieces.push(piece.slice(at + 1))
  }

  #checkName(name: string): void {
    if (typeof name !== 'string' || name === '' || this.#names.has(name)) throw invalidOption('name', name, 'a name that nothing else of the world has')
  }

  #add<T extends Attachable>(node: number, made: T): T {
    this.#nodes.set(made, { node, inside: false })
    this.#names.set(made.name, made)
    return made
  }

  #end(attachable: Attachable, field: string): { node: number; inside: boolean } {
    const end = this.#nodes.get(attachable)
    if (end === undefined) throw invalidOption(field, attachable, "a host, a router, or a translator's inside or outside, of this world")
    return end
  }

  /** The native module as a host sees it: endpoints are made in the world. */
  #moduleOf(node: number): NativeModule {
    return {
      ...this.#module,
      contract: () => this.#module.contract(),
      // Sockets of a world follow its routes: they cannot be tied to a device. Its endpoints are on this thread: a scheduler can be asked for every burst.
      features: () => [...this.#module.features().filter((name) => name !== 'interface'), 'scheduler.pick'],
      createEndpoint: (options: string, wake: () => void): NativeEndpoint => {
        const native = this.#native.createEndpoint(node, options)
        this.#wakes.push(wake)
        return native
      },
    }
  }

  #habitat(node: number): Partial<Habitat> {
    return {
      driver: 'sim',
      timing: this.#loop.clock,
      clock: this.#loop.clock.background,
      interfaces: () => JSON.parse(this.#native.interfaces(node)) as NativeInterface[],
      random: (bytes) => Buffer.from(this.#native.random(), 'hex').subarray(0, bytes),
      lookup: (name) => this.#lookup(name),
      networks: () => this.#native.addresses(node).map((address) => `${address}/${address.includes(':') ? 64 : 24}`),
      publicNetworks: PUBLIC,
      portMapper: null,
      onQlog: this.#logs === null ? null : (piece) => this.#log(piece),
    }
  }

  /** Names of hosts are their host names. */
  async #lookup(name: string): Promise<readonly HostAddress[]> {
    const host = this.#names.get(name)
    if (!(host instanceof Host) || host.addresses.length === 0) throw Object.assign(new Error(`the world has no host ${name} with an address`), { code: 'ENOTFOUND' })
    return host.addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
  }

  #tellEvents(): void {
    if (!this.#watching) return
    const events = JSON.parse(this.#native.takeEvents()) as NativeSimEvent[]
    for (const event of events) this.#events.emit({ ...event, link: this.#links[event.link]?.name ?? '' })
  }

  /** What every live connection says about itself. */
  #explain(): string {
    const lines: string[] = []
    for (const endpoint of this.#endpoints) {
      for (const connection of endpoint.connections) lines.push(`${connection.role} ${connection.id} (${connection.local} to ${connection.remote}): ${String(connection.explain())}`)
    }
    return lines.length === 0 ? 'there is no connection' : lines.join('\n')
  }
}

function noRecord(what: string): ServiceError {
  return new ServiceError('QB_SIM_NO_RECORD', `${what} needs what the world did not keep; make it with { record: true }`)
}

function withPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
