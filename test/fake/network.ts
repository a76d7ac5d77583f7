/**
 * The fake native module: endpoints of one process, wired by address, moved in turns of `setImmediate`. Same calls, same order of
 * everything. Handshakes take one turn; `hold()` keeps them (and all bytes) back until `release()`.
 */
import type { NativeConnect, NativeEndpointOptions, NativeError, NativeOrder, NativePathFacts, NativePathSpec, NativeServer, NativeTls } from '../../src/binding/messages.ts'
import type { NativeModule } from '../../src/binding/native.ts'
import { FakeConnection } from './connection.ts'
import { FakeEndpoint } from './endpoint.ts'
import { nativeError } from './records.ts'

export class FakeNetwork {
  readonly endpoints: FakeEndpoint[] = []
  /** Whatever broke the contract. */
  readonly violations: string[] = []
  nowMs = 0
  /** Of `features()`. */
  features: string[] = []
  /** Local addresses without the port from which nobody answers. */
  readonly unanswered = new Set<string>()
  readonly #bound = new Map<string, FakeEndpoint>()
  #ports = 50_000
  #attempts = 0
  #scheduled = false
  #held = false
  #tasks: (() => void)[] = []

  readonly module: NativeModule = {
    contract: () => 1,
    features: () => this.features,
    createEndpoint: (json, wake) => {
      const endpoint = new FakeEndpoint(this, JSON.parse(json) as NativeEndpointOptions, wake)
      this.endpoints.push(endpoint)
      return endpoint
    },
    createDevCertificate: (json) => JSON.stringify({ cert: `cert of ${(JSON.parse(json) as { names: string[] }).names.join()}`, key: 'key', fingerprint: 'AB', pin: 'sha256//x' }),
    createWorld: () => {
      throw new Error('the fake has no worlds')
    },
    createCarrier: () => {
      throw new Error('the fake has no carriers')
    },
  }

  bind(address: string, endpoint: FakeEndpoint): string {
    const bound = address.endsWith(':0') ? address.replace(/:0$/, `:${(this.#ports += 1)}`) : address
    if (this.#bound.has(bound)) throw nativeError({ code: 'QB_BIND_FAILED', message: `${bound} cannot be bound: EADDRINUSE; choose another port` })
    this.#bound.set(bound, endpoint)
    return bound
  }

  unbind(address: string): void {
    this.#bound.delete(address)
  }

  hold(): void {
    this.#held = true
  }

  release(): void {
    this.#held = false
    this.kick()
  }

  later(task: () => void): void {
    this.#tasks.push(task)
    this.kick()
  }

  /** Something may move. */
  kick(): void {
    if (this.#scheduled || this.#held) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      if (!this.#held) this.#turn()
    })
  }

  dial(client: FakeConnection, options: NativeConnect): void {
    this.later(() => {
      const [remote = ''] = options.remotes
      const target = this.#bound.get(remote)
      if (target?.server === null || target === undefined) {
        return client.end(endInfo('timeout', { code: 'QB_CONNECT_REFUSED', message: `${remote} refused; is a server listening?`, errorCode: 2, by: 'peer' }))
      }
      if (!target.server.tls.alpn.some((name) => options.tls.alpn.includes(name))) {
        return client.end(endInfo('peer', { code: 'QB_TLS_ALPN', message: 'no common protocol', errorCode: 0x178, codeName: 'no_application_protocol' }))
      }
      if (target.admission === 'ask') return this.#ask(target, client, options, remote)
      return this.#accept(target, target.server, client, options, remote, null)
    })
  }

  /** A client waits for the verdict of the server's program. */
  #ask(target: FakeEndpoint, client: FakeConnection, options: NativeConnect, remote: string): void {
    const attempt = (this.#attempts += 1)
    const from = options.paths[0]?.local ?? '127.0.0.1:40000'
    target.attempts.set(attempt, (verdict, own) => {
      const server = own ?? target.server
      if (verdict === 'accept' && server !== null) return this.#accept(target, server, client, options, remote, attempt)
      if (verdict === 'refuse') return client.end(endInfo('peer', { code: 'QB_CONNECT_REFUSED', message: 'not wanted', errorCode: 2, by: 'peer' }))
      return undefined
    })
    target.queue.event(0, { type: 'attempt', atMs: 1, attempt, remote: from, local: remote, serverName: options.serverName, alpn: options.tls.alpn, validated: false })
  }

  /** Time is up for an attempt, as after 5 s. */
  expire(target: FakeEndpoint, attempt: number): void {
    target.attempts.get(attempt)?.('refuse', null)
    target.attempts.delete(attempt)
    target.queue.event(0, { type: 'attempt-over', atMs: 1, attempt })
  }

  #accept(target: FakeEndpoint, terms: NativeServer, client: FakeConnection, options: NativeConnect, remote: string, attempt: number | null): void {
    const server = new FakeConnection(target, target.newKey(), 'server', terms.transport)
    target.connections.set(server.key, server)
    client.peer = server
    server.peer = client
    const local = options.paths[0]?.local ?? '127.0.0.1:40000'
    target.queue.event(server.key, { type: 'connection', atMs: 1, id: `s${options.id}`, remote: local, local: remote, serverName: options.serverName, attempt })
    this.#judged([client, server], [options.tls, terms.tls], options.serverName, () => this.#complete(client, server, options, local, remote))
  }

  order(connection: FakeConnection, order: NativeOrder): void {
    if (order.do === 'ping') {
      this.later(() => this.#pong(connection, order.ticket, order.path))
    } else if (order.do === 'verdict') {
      this.later(() => connection.onVerdict(order))
    } else if (order.do === 'close') {
      const error = order.layer === 'transport' || Number(order.code) !== 0
        ? { code: order.layer === 'transport' ? 'QB_TRANSPORT_CLOSED' : 'QB_APPLICATION_CLOSED', message: `closed by the peer: ${order.reason}`, errorCode: order.code, by: 'peer' as const }
        : null
      const shared = { layer: order.layer, errorCode: order.code, codeName: `0x${Number(order.code).toString(16)}`, reason: order.reason, path: 0 }
      const [mine, theirs] = [{ ...shared, by: 'local' as const, error: null }, { ...shared, by: 'peer' as const, error }]
      this.later(() => connection.close(mine, theirs, order.drainMs > 0))
    } else if (order.do === 'open-path') {
      this.later(() => this.#openPath(connection, order.ticket, order.spec))
    } else if (order.do === 'migrate-path') {
      this.later(() => this.#migrate(connection, order.ticket, order.path, order.spec.local ?? '127.0.0.8:4000'))
    } else if (order.do === 'abandon-path') {
      this.later(() => this.path(connection, order.path, 'abandoned', null, { type: 'abandoned', by: 'local' }))
    } else if (order.do === 'path-status') {
      this.later(() => {
        const path = connection.paths.get(order.path)
        if (path !== undefined) path.status = order.status
        this.path(connection, order.path, 'open', null, { type: 'status', by: 'local', status: order.status })
      })
    }
  }

  /** Tells of a path, for tests too. */
  path(connection: FakeConnection, path: number, state: NativePathFacts['state'], ticket: number | null, change: object | null, more: Partial<NativePathFacts> = {}, addresses: { local?: string; remote?: string } = {}): void {
    const status = state === 'abandoned' ? 'available' : (connection.paths.get(path)?.status ?? 'available')
    const facts = { state, suspect: false, status, peerStatus: 'unknown', reason: 'test', atMs: 1, ...more }
    const { local, remote, device } = connection.paths.get(path) ?? { local: `127.0.0.${path + 1}:4000`, remote: connection.remote, device: null }
    connection.endpoint.queue.event(connection.key, { type: 'path', atMs: 1, path, local, remote, ...addresses, interface: device, ticket, facts, change: change === null ? null : { reason: 'test', ...change } })
    if (state === 'abandoned') connection.paths.delete(path)
  }

  cutConnection(connection: FakeConnection): void {
    connection.end(endInfo('local', null))
    connection.peer?.end(endInfo('peer', null))
  }

  /** Path 0 is at 20 ms, each further one 10 ms longer; path 7 never answers, and path 8 is one too many. */
  #pong(connection: FakeConnection, ticket: number, path: number | null): void {
    if (path === 7) return
    const answer = { type: 'pong' as const, atMs: 1, ticket, path: path ?? 0, rttMs: 20 + 10 * (path ?? 0) }
    const failed = { type: 'ping-failed' as const, atMs: 1, ticket, error: { code: 'QB_PATH_LIMIT', message: 'too many pings wait for an answer; wait for an answer' } }
    connection.endpoint.queue.event(connection.key, path === 8 ? failed : answer)
  }

  /** Each side with a judge waits for its word. */
  #judged(sides: [FakeConnection, FakeConnection], tls: [NativeTls, NativeTls], serverName: string, then: () => void): void {
    const at = sides.findIndex((side, index) => !side.judged && tls[index]?.judge !== undefined && (index === 0 || (tls[1].clientAuth ?? 'none') !== 'none'))
    const side = sides[at]
    if (side === undefined) return this.later(then)
    side.judged = true
    this.later(() => {
      const peer = { chain: ['AAEC'], fingerprint: 'AB', pin: 'sha256//x', names: ['localhost'] }
      side.endpoint.queue.event(side.key, { type: 'verify', atMs: 1, peer, serverName, defaultError: at === 0 ? null : 'unknown issuer' })
      side.onVerdict = ({ answer, reason }) => {
        if (side.ended) return
        if (answer === 'accept') return this.#judged(sides, tls, serverName, then)
        side.end(endInfo('local', { code: 'QB_TLS_CERTIFICATE', message: `refused by verify: ${reason}`, errorCode: 0x12a, by: 'local' }))
        return side.peer?.end(endInfo('peer', { code: 'QB_TLS_ALERT', message: 'bad_certificate', errorCode: 0x12a, by: 'peer' }))
      }
    })
  }

  #openPath(connection: FakeConnection, ticket: number, { local = '127.0.0.9:1', remote = connection.remote, interface: device, status = 'available' }: NativePathSpec): void {
    const host = local.replace(/:\d+$/, '')
    if (remote.endsWith(':1') || this.unanswered.has(host)) {
      connection.endpoint.queue.event(connection.key, { type: 'path-failed', atMs: 1, ticket, error: { code: 'QB_PATH_VALIDATION', message: `${local} to ${remote}: 3 challenges unanswered` } })
    } else if (local.startsWith('127.0.0.9')) {
      connection.endpoint.queue.event(connection.key, { type: 'path-waiting', atMs: 1, ticket, path: 1, for: 'peer-cids', reason: 'the peer gave no CIDs' })
    } else {
      const id = (connection.pathIds += 1)
      connection.paths.set(id, { local: `${host}:4000`, remote, device: device ?? null, ptoCount: 0, status })
      this.path(connection, id, 'validating', ticket, { type: 'opening', by: 'local' })
      this.later(() => this.path(connection, id, 'open', ticket, { type: 'validated', by: 'peer' }))
    }
  }

  /** To 127.0.0.9 nobody answers, about 127.0.0.10 nothing is ever heard. */
  #migrate(connection: FakeConnection, ticket: number, path: number, local: string): void {
    const answer = (error: NativeError | null): void => connection.endpoint.queue.event(connection.key, { type: 'path-migrated', atMs: 1, ticket, error })
    const [host = ''] = local.split(':')
    if (host === '127.0.0.10') return
    if (host === '127.0.0.9') return answer({ code: 'QB_PATH_VALIDATION', message: `path ${path} stays where it is: the server did not answer at ${local}`, path })
    const changed = { local, remote: connection.remote }
    this.path(connection, path, 'open', null, { type: 'migrated', by: 'local', ...changed }, {}, changed)
    answer(null)
  }

  #complete(client: FakeConnection, server: FakeConnection, options: NativeConnect, local: string, remote: string): void {
    for (const side of [client, server]) {
      if (side.ended) continue
      const far = side === client ? server : client
      side.opened = true
      side.paths.set(0, { local: side === client ? `${(options.paths[0]?.local ?? '127.0.0.1:0').replace(/:\d+$/, '')}:4000` : remote, remote: side === client ? remote : local, device: null, ptoCount: 0, status: 'available' })
      const [mine, theirs] = side === client ? [local, remote] : [remote, local]
      side.remote = theirs
      side.grant(0, far.transport.limits.bidirectionalStreams ?? 100)
      side.grant(1, far.transport.limits.unidirectionalStreams ?? 100)
      const info = {
        ms: 2, alpn: options.tls.alpn[0], cipher: 'TLS_AES_128_GCM_SHA256', version: 'v1', resumed: false, retry: false, multipath: 'ietf', mode: options.handshake.mode,
        winner: { local, remote }, datagramsSent: 2, datagramsReceived: 2, coalesced: 1,
      }
      if (side === client) this.#steps(client, local, remote)
      const peer = side === client ? { chain: ['AAEC'], fingerprint: 'AB', pin: 'sha256//x', names: ['localhost'] } : null
      side.endpoint.queue.event(side.key, { type: 'opened', atMs: 2, id: options.id, remote: theirs, local: mine, serverName: options.serverName, peer, info })
      this.path(side, 0, 'open', null, { type: 'validated', by: 'peer' })
      side.endpoint.queue.event(side.key, { type: 'confirmed', atMs: 3 })
    }
  }

  /** The first pair answered at once. */
  #steps(client: FakeConnection, local: string, remote: string): void {
    const step = { attempt: 0, local, remote, reason: 'test' }
    const flight = { ...step, type: 'flight' as const, datagrams: 1, bytes: 1200, packets: ['initial' as const] }
    client.endpoint.queue.event(client.key, { type: 'handshake', atMs: 1, steps: [{ ...step, type: 'attempt' }, flight] })
    client.endpoint.queue.event(client.key, { type: 'handshake', atMs: 2, steps: [{ ...step, type: 'locked' }, { ...step, type: 'tls-finished' }] })
  }

  #turn(): void {
    const tasks = this.#tasks
    this.#tasks = []
    for (const task of tasks) task()
    let moved = false
    for (const endpoint of this.endpoints) for (const connection of endpoint.connections.values()) moved = (!connection.ended && connection.pump()) || moved
    if (moved || this.#tasks.length > 0) this.kick()
  }
}

function endInfo(by: 'local' | 'peer' | 'timeout', error: NativeError | null): { by: 'local' | 'peer' | 'timeout'; layer: 'transport'; errorCode: number; codeName: string; reason: string; path: null; error: NativeError | null } {
  return { by, layer: 'transport', errorCode: 0, codeName: 'NO_ERROR', reason: '', path: null, error }
}
