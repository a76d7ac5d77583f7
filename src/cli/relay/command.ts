/** `quicbraid relay` (also `nat relay`): forwards for peers behind NATs that have registered, and tells them how it sees them, until it is interrupted. */
import { readFile } from 'node:fs/promises'
import { Option } from 'commander'
import type { Command } from 'commander'
import { createDevCertificate, Endpoint } from '../../index.ts'
import type { TlsOptions } from '../../index.ts'
import { Relay } from '../../traversal/index.ts'
import type { RelayStatistics } from '../../traversal/index.ts'
import { nowMs } from '../clock.ts'
import { CommandError, Exit, usageError } from '../exit.ts'
import type { ExitCode } from '../exit.ts'
import { addObserve, observeOptions, openMetrics, parsed } from '../options.ts'
import type { ObserveValues } from '../options.ts'
import { parseRate } from '../parse.ts'
import { rounded } from '../paths.ts'
import type { Context } from '../program.ts'
import { Progress } from '../progress.ts'
import { exitOfSignal, Interruption, untilAborted } from '../signals.ts'
import type { Terminal } from '../terminal.ts'
import { relaySockets } from './sockets.ts'
import { TokenFile } from './tokens.ts'
import { frameOf, introduction, summaryOf } from './view.ts'

export interface RelayValues extends ObserveValues {
  listen: string
  tokenFile?: string
  clientCa?: string
  alternate?: string
  rate: number
  allowPrivate?: true
  cert?: string
  key?: string
}

const LISTEN = '0.0.0.0:4434'
const RATE = 100e6

/** `program`: of all commands, or `nat`. */
export function addRelay(program: Command, { terminal, end }: Context): void {
  const command = program.command('relay')
    .description('forward for peers behind NATs that have registered here; nobody else')
    .addOption(new Option('-l, --listen <addr>', 'address and port').default(LISTEN, LISTEN))
    .option('--token-file <file>', 'who shows one of these tokens, a line each, may register; read anew for every registration')
    .option('--client-ca <file>', 'who shows a certificate that this authority signed may register')
    .option('--alternate <addr>', 'another IP and port of ours: then clients can tell what filters their NATs have; --listen names one IP then')
    .addOption(new Option('--rate <rate>', 'most that is forwarded for one client').argParser(parsed(parseRate)).default(RATE, '100mbit'))
    .option('--allow-private', 'forward to addresses that are not globally routable')
    .option('--cert <file>', 'certificate in PEM (a development certificate, its pin printed)')
    .option('--key <file>', 'its key in PEM')
  addObserve(command)
  command.action(async (values: RelayValues) => end(await serve(values, terminal)))
}

async function serve(values: RelayValues, terminal: Terminal): Promise<ExitCode> {
  if (values.tokenFile === undefined && values.clientCa === undefined) throw usageError('a relay is never open: say who may register with --token-file or --client-ca')
  const tokens = values.tokenFile === undefined ? null : await TokenFile.open(values.tokenFile)
  const { tls, pin } = await identity(values)
  using interrupted = new Interruption()
  await using metrics = await openMetrics(values, terminal)
  await using endpoint = await Endpoint.bind({ ...observeOptions(values, terminal), local: relaySockets(values.listen, values.alternate) })
  const log = new RelayLog(terminal, endpoint, values)
  const relay = await Relay.listen({
    tls, rateBitsPerSecPerClient: values.rate,
    ...(values.alternate === undefined ? {} : { alternate: values.alternate }),
    ...(values.allowPrivate === true ? { allowPrivateTargets: true } : {}),
    authorize: async ({ address, token, peer }) => {
      if (values.clientCa !== undefined && peer === null) {
        log.refused(address, 'it showed no certificate')
        throw new CommandError('QB_RELAY_REFUSED', Exit.REFUSED, 'this relay wants a certificate')
      }
      if (tokens !== null && !(await tokens.has(token))) {
        log.refused(address, token === null ? 'it showed no token' : 'an unknown token')
        throw new CommandError('QB_RELAY_REFUSED', Exit.REFUSED, 'this relay does not know the token')
      }
      log.admitted(address)
    },
  }, endpoint)
  metrics?.watch(endpoint)
  log.listening(endpoint.local, relay.address, pin, values, metrics?.url)
  const watching = relay.metrics$.subscribe((statistics) => log.statistics(statistics))
  const progress = new Progress(terminal, values.json === true || values.quiet === true ? 'quiet' : 'shown', () => frameOf(relay.statistics(), terminal.colors))
  log.watchedBy(progress)
  progress.start()
  await untilAborted(interrupted.signal)
  progress.stop()
  watching.unsubscribe()
  log.end(relay.statistics())
  await relay.close()
  return exitOfSignal(interrupted.signal) ?? Exit.DONE
}

async function identity({ cert, key, clientCa }: RelayValues): Promise<{ tls: TlsOptions; pin: string | null }> {
  if ((cert === undefined) !== (key === undefined)) throw usageError('--cert and --key go together')
  const made = cert === undefined ? createDevCertificate() : null
  const own = made === null ? { cert: await readFile(cert as string, 'utf8'), key: await readFile(key as string, 'utf8') } : { cert: made.cert, key: made.key }
  return { tls: { ...own, ...(clientCa === undefined ? {} : { ca: await readFile(clientCa, 'utf8') }) }, pin: made?.pin ?? null }
}

/** What `relay` tells: lines for people, or one JSON object a line. */
class RelayLog {
  readonly #terminal: Terminal
  readonly #endpoint: Endpoint
  readonly #json: boolean
  readonly #quiet: boolean
  readonly #startMs = nowMs()
  /** Clients that were let in since the last sample. */
  #admitted: string[] = []
  #progress: Progress | null = null
  #last: RelayStatistics | null = null
  #toldMs = 0

  constructor(terminal: Terminal, endpoint: Endpoint, values: RelayValues) {
    this.#terminal = terminal
    this.#endpoint = endpoint
    this.#json = values.json === true
    this.#quiet = values.quiet === true
  }

  /** Lines stand above it. */
  watchedBy(progress: Progress): void {
    this.#progress = progress
  }

  listening(local: readonly string[], address: string, pin: string | null, values: RelayValues, metrics: string | undefined): void {
    if (this.#json) return this.#event('listening', { local, address, pin, ...(metrics === undefined ? {} : { metrics }) })
    for (const line of introduction(local, address, pin, values.tokenFile !== undefined)) this.#terminal.result(line)
    return undefined
  }

  admitted(address: string): void {
    this.#admitted.push(address)
  }

  refused(address: string, why: string): void {
    if (this.#json) this.#event('refused', { ok: false, client: address, reason: why })
    else this.#line(`${this.#terminal.colors.red('--')}  ${address} refused: ${why}`)
  }

  /** A sample: who came and went, and now and then the numbers. */
  statistics(now: RelayStatistics): void {
    const before = this.#last?.registrations ?? 0
    const clients = this.#admitted
    this.#admitted = []
    this.#last = now
    if (clients.length > 0) this.#change('registered', clients, now)
    else if (now.registrations < before) this.#change('lost', [], now)
    if (!this.#json || nowMs() - this.#toldMs < TELL_MS) return
    this.#toldMs = nowMs()
    this.#event('statistics', now)
  }

  end(last: RelayStatistics): void {
    if (this.#json) this.#event('statistics', last)
    else this.#terminal.result(summaryOf(last, nowMs() - this.#startMs))
  }

  #change(event: 'registered' | 'lost', clients: readonly string[], statistics: RelayStatistics): void {
    if (this.#json) return this.#event(event, { ...(clients.length === 0 ? {} : { clients }), ...statistics })
    const { green, yellow } = this.#terminal.colors
    const total = `${statistics.registrations} registered`
    if (event === 'registered') for (const client of clients) this.#line(`${green('ok')}  ${client} registered; ${total}`)
    else this.#line(`${yellow('..')}  a client is gone; ${total}`)
    return undefined
  }

  #line(text: string): void {
    if (this.#quiet || this.#progress === null) this.#terminal.result(text)
    else this.#progress.above(() => this.#terminal.result(text))
  }

  #event(event: string, facts: object): void {
    this.#terminal.json({ event, atMs: rounded(this.#endpoint.now()), ok: true, ...facts })
  }
}

/** Statistics are told so often. */
const TELL_MS = 5000
