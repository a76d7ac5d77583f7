/** Compiled, never run: programs of the public contract as far as this version has it. A line that stops compiling is a broken promise. */
import { createDevCertificate, Endpoint, isQuicbraidError } from '../../src/index.ts'
import type { Admit, AdmitVerdict, Attempt, AttemptFacts, BidirectionalStream, Bursts, CarrierBurst, CarrierDatagram, CarrierEndpoint, CarrierOptions, CloseInfo, Connection, ConnectionError, ConnectionOptions, DatagramStatus, Path, PathAction, PathPolicy, PathPolicyName, PathPolicyView, PathSet, Pong, QuicbraidError, ReceiveStream, Scheduler, SchedulerPath, SchedulerPick, SchedulerPlan, SchedulerView, SendStream, Spaces, StreamError, Verify } from '../../src/index.ts'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const holds = <T extends true>(): T | undefined => undefined

export async function twoPaths(): Promise<void> {
  const { cert, key } = createDevCertificate()
  const server = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'sink' } })
  const client = await Endpoint.bind()
  const paths: ConnectionOptions['paths'] = [{ local: '127.0.0.1' }, { local: '127.0.0.2', status: 'backup' }]
  const connection = await client.connect(server.local[0] ?? '', { alpn: 'sink', ca: cert, paths, scheduler: 'round-robin', signal: AbortSignal.timeout(1000) })
  const incoming = (await server.incoming().next()).value as Connection
  await connection.paths.ready()
  const stream = await connection.openUnidirectional()
  const writer = stream.writable.getWriter()
  const reading = incoming.incomingUnidirectional().next().then(({ value }) => value?.bytes())
  for (let i = 0; i < 64; i++) await writer.write(new Uint8Array(65536))
  await writer.close()
  for (const path of connection.paths) path.statistics().bytesSent.toFixed()
  const bytes: Uint8Array | undefined = await reading
  bytes?.length.toFixed()
  await Promise.all([client.close(), server.close()])
}

export async function bursts(client: Endpoint, address: string): Promise<void> {
  client.connections$.subscribe(({ bursts }) => bursts.trace$.subscribe((record) => {
    if (record.kind === 'blocked') record.signals.join(' ')
    else record.segments.map((segment) => segment.packets.map((packet) => packet.type).join('+')).join(' | ')
  }))
  const connection = await client.connect(['192.0.2.1:5', address], { alpn: ['b', 'c'] })
  await connection.confirmed
  String(connection.explain())
  const info: CloseInfo = await connection.close({ code: 5n, reason: 'x', drainMs: 1 })
  if (isQuicbraidError(info.error)) info.error.codeName?.toString()
}

export async function policies(client: Endpoint, address: string): Promise<void> {
  const mine: PathPolicy = {
    name: 'mine',
    decide({ nowMs, interfaces, remotes, paths }: PathPolicyView): readonly PathAction[] {
      const [spare] = interfaces.filter(({ name, address: own, up }) => up && nowMs > 0 && name !== 'lo' && !own.includes(':'))
      const [path] = paths
      if (spare === undefined || path === undefined) return []
      return [{ do: 'open', spec: { local: spare.address, interface: spare.name, ...(remotes[0] === undefined ? {} : { remote: remotes[0] }) } }, { do: 'status', path: path.id, status: 'backup' }, { do: 'abandon', path: 7 }]
    },
  }
  const failover = { maxStallMs: 300, abandonAfterMs: 10_000 }
  for (const pathPolicy of ['manual', 'all-interfaces', 'backup', 'happy-eyeballs', mine] as const) await client.connect(address, { alpn: 'x', pathPolicy, failover })
  holds<Same<ConnectionOptions['pathPolicy'], PathPolicyName | PathPolicy | undefined>>()
  const [connection] = client.connections
  connection?.paths.events$.subscribe((event) => { if (event.type === 'send-error') event.errno.startsWith('E') })
  // @ts-expect-error a server opens no paths
  client.listen({ alpn: 'x', pathPolicy: 'backup' })
  // @ts-expect-error no such action
  mine.decide = () => [{ do: 'close' }]
}

export async function whomToTrust(client: Endpoint, server: Endpoint, key: string, cert: string): Promise<void> {
  const verify: Verify = async ({ chain, defaultError, fingerprint, names, pin, serverName }) => {
    if (defaultError !== null && chain.length > 1 && !names.includes(serverName ?? '')) throw new Error(`${fingerprint} ${pin}`)
  }
  const connection = await client.connect('a:1', { alpn: 'x', verify, verifyTimeoutMs: 10, spin: 'on', greaseQuicBit: false, disableActiveMigration: true, hystart: false })
  const { rttMs, path }: Pong = await connection.ping({ path: 0, signal: AbortSignal.timeout(1) })
  ;(rttMs + path).toFixed()
  const admit: Admit = ({ remote, validated }: AttemptFacts): AdmitVerdict => (validated ? 'accept' : remote === '' ? 'ignore' : 'retry')
  server.listen({ alpn: 'x', key, cert, admit, newTokens: false, halfRttData: true })
  for await (const attempt of server.attempts({ signal: AbortSignal.timeout(1) })) {
    const facts: AttemptFacts = attempt
    if (facts.alpn.includes('x')) holds<Same<typeof attempt, Attempt>>()
    else attempt.refuse()
    const far: Connection = await attempt.accept({ limits: { idleTimeoutMs: 1 } })
    far.datagrams.status$.subscribe(({ path: carrier }: DatagramStatus) => carrier?.toFixed())
    for await (const batch of far.datagrams.batches()) batch.filter((message) => far.datagrams.isEarly(message))
  }
  // @ts-expect-error no such verdict
  server.listen({ alpn: 'x', key, cert, admit: () => 'maybe' })
}

export function shapes(connection: Connection, bidirectional: BidirectionalStream, send: SendStream, receive: ReceiveStream, path: Path): void {
  holds<Same<Connection['paths'], PathSet>>()
  holds<Same<Connection['bursts'], Bursts>>()
  holds<Same<Connection['spaces'], Spaces>>()
  holds<Same<BidirectionalStream['id'], bigint>>()
  holds<Same<QuicbraidError['errorCode'], bigint | null>>()
  holds<Same<Awaited<SendStream['closed']>, { error: StreamError | ConnectionError | null }>>()
  const asyncDisposables: AsyncDisposable[] = [connection, bidirectional, send, receive, connection.endpoint]
  asyncDisposables.length.toFixed()
  connection.spaces.application(0).acks$.subscribe((ack) => ack.ranges.map(([low, high]) => high - low))
  path.state$.subscribe(({ state, reason }) => `${state} ${reason}`)
  // @ts-expect-error a sending stream has nothing to read
  send.readable.cancel()
  // @ts-expect-error a receiving stream has nothing to write
  receive.write(new Uint8Array(1))
  // @ts-expect-error endpoints are made by bind()
  void new Endpoint()
  path.setWeight(2.5)
  send.pin(path.id)
  send.pin(null)
  void connection.openUnidirectional({ path: path.id })
  const scheduler: Scheduler = {
    name: 'mine',
    plan: ({ paths, queuedBytes }: SchedulerView): SchedulerPlan => ({ order: paths.filter(({ suspect }: SchedulerPath) => !suspect).map(({ id }) => id), weights: { 0: 2 }, pins: [{ stream: 4n, path: 0 }], reinjectAfterMs: queuedBytes, reason: 'so' }),
    pick: ({ paths }): SchedulerPick => (paths.length > 1 ? { path: 1, duplicateOn: [0], reason: 'both' } : { waitMs: 1, reason: 'alone' }),
  }
  void connection.endpoint.connect('a:1', { scheduler, paths: [{ weight: 4 }] })
  // @ts-expect-error a scheduler says why
  void connection.endpoint.connect('a:1', { scheduler: { name: 'mine', plan: () => ({ order: [0] }) } })
  // @ts-expect-error no such scheduler
  void connection.endpoint.connect('a:1', { scheduler: 'fastest' })
}

export function carriers(own: Endpoint): void {
  const endpoint: CarrierEndpoint = Endpoint.carrier({
    maxDatagramSizeBytes: 1452, local: '10.0.0.1:1', clock: { now: () => 0, setTimeout: () => 0, clearTimeout: () => {} }, seed: 1, server: { alpn: 'x', cert: '', key: '' },
    send: ({ bytes, segmentBytes, segments, local, remote, ecn, path }: CarrierBurst) => (path === null || local === remote || ecn === 'ce' ? segments : Math.floor(bytes.length / segmentBytes)),
  })
  const came: CarrierDatagram[] = [{ bytes: new Uint8Array(1), remote: '10.0.0.2:1' }, { bytes: Buffer.alloc(1), remote: '10.0.0.2:1', local: '10.0.0.1:1', ecn: 'ect0' }]
  endpoint.receive(came)
  endpoint.writable()
  own.raw$.subscribe(({ bytes, remote, local, atMs }) => own.sendRaw(remote, bytes, { local, ttl: Math.min(255, atMs) }))
  const options: CarrierOptions | null = null
  options satisfies CarrierOptions | null
  // @ts-expect-error a carrier has no sockets
  Endpoint.carrier({ maxDatagramSizeBytes: 1452, send: () => {}, reusePort: true })
}
