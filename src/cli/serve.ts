/** `quicbraid serve DIR`: offers the files of a folder over QUIC (`hq-interop`). */
import { readFile, realpath, stat } from 'node:fs/promises'
import { Option } from 'commander'
import type { Command } from 'commander'
import { createDevCertificate, Endpoint } from '../index.ts'
import type { Connection, ServerOptions } from '../index.ts'
import { CommandError, Exit, usageError } from './exit.ts'
import { FileServer, HQ_ALPN, openInside } from './files/index.ts'
import type { RequestReport } from './files/index.ts'
import { formatBytes, formatMs, formatRate, printable } from './format.ts'
import { addObserve, observeOptions, openMetrics, parsed, refuseOption } from './options.ts'
import type { ObserveValues } from './options.ts'
import { parseTime } from './parse.ts'
import { PathLedger, rounded } from './paths.ts'
import type { Context } from './program.ts'
import { SCHEDULER_HELP, SCHEDULER_OPTION, schedulerOption } from './scheduler.ts'
import { Interruption } from './signals.ts'
import { upTo } from './clock.ts'
import type { Terminal } from './terminal.ts'

interface ServeValues extends ObserveValues {
  listen: string[]
  cert?: string
  key?: string
  clientCa?: string
  allowPut?: true
  maxPut?: string
  scheduler?: string
  congestion?: string
  multipath?: string
  idleTimeout?: number
}

const LISTEN = ['0.0.0.0:4433', '[::]:4433']
/** What running requests get after the first signal. */
const DRAIN_MS = 2000

export function addServe(program: Command, { terminal, end }: Context): void {
  const command = program.command('serve')
    .description('offer the files of a folder')
    .argument('<dir>', 'the folder; nothing outside is ever sent')
    .option('-l, --listen <addr>', `address and port; repeatable (${LISTEN.join(', ')})`, (text: string, before: string[] | undefined) => [...(before === LISTEN ? [] : (before ?? [])), text], LISTEN)
    .option('--cert <file>', 'certificate in PEM (a development certificate, its pin printed)')
    .option('--key <file>', 'its key in PEM')
    .option('--client-ca <file>', 'demand client certificates that this authority signed')
    .option(SCHEDULER_OPTION, SCHEDULER_HELP)
    .option('--congestion <name>', 'cubic, newreno, bbr3')
    .option('--multipath <mode>', 'auto, off, require, shared-space')
    .option('--idle-timeout <time>', 'end of a silent connection (30s)', parsed(parseTime))
    .addOption(new Option('--allow-put').hideHelp())
    .addOption(new Option('--max-put <size>').hideHelp())
  addObserve(command)
  command.action(async (dir: string, values: ServeValues) => end(await serve(dir, values, terminal)))
}

async function serve(dir: string, values: ServeValues, terminal: Terminal): Promise<typeof Exit.SIGINT | typeof Exit.SIGTERM | typeof Exit.DONE> {
  refuseOption('--allow-put', values.allowPut)
  refuseOption('--max-put', values.maxPut)
  const root = await folder(dir)
  const { options, pin } = await serverOptions(values)
  using interrupted = new Interruption()
  await using metrics = await openMetrics(values, terminal)
  const endpoint = await Endpoint.bind({ ...observeOptions(values, terminal), local: values.listen, server: options })
  const log = new RequestLog(terminal, endpoint, values)
  metrics?.watch(endpoint)
  log.listening(endpoint.local, pin, metrics?.url)
  const server = new FileServer((path) => openInside(root, path), (connection, report) => log.request(connection, report))
  try {
    for await (const connection of endpoint.incoming({ signal: interrupted.signal })) {
      log.connection(connection)
      void server.serve(connection, interrupted.signal)
    }
  } catch (error) {
    if (!interrupted.signal.aborted) throw error
  }
  endpoint.unlisten()
  await upTo(DRAIN_MS, server.idle())
  await endpoint.close({ drainMs: DRAIN_MS })
  log.end()
  const reason = interrupted.signal.reason as CommandError | undefined
  return reason?.exit === Exit.SIGTERM ? Exit.SIGTERM : reason?.exit === Exit.SIGINT ? Exit.SIGINT : Exit.DONE
}

async function folder(dir: string): Promise<string> {
  const root = await realpath(dir)
  if (!(await stat(root)).isDirectory()) throw new CommandError('QB_FILE_ACCESS', Exit.LOCAL, `${dir} is not a folder`)
  return root
}

async function serverOptions(values: ServeValues): Promise<{ options: ServerOptions; pin: string | null }> {
  if ((values.cert === undefined) !== (values.key === undefined)) throw usageError('--cert and --key go together')
  const made = values.cert === undefined ? createDevCertificate() : null
  const { cert, key } = made ?? { cert: await readFile(values.cert as string, 'utf8'), key: await readFile(values.key as string, 'utf8') }
  const options = {
    cert, key, alpn: HQ_ALPN,
    ...(values.clientCa === undefined ? {} : { clientAuth: 'require', ca: await readFile(values.clientCa, 'utf8') }),
    ...(values.scheduler === undefined ? {} : { scheduler: await schedulerOption(values.scheduler) }),
    ...(values.congestion === undefined ? {} : { congestion: values.congestion }),
    ...(values.multipath === undefined ? {} : { multipath: values.multipath }),
    ...(values.idleTimeout === undefined ? {} : { limits: { idleTimeoutMs: values.idleTimeout } }),
  }
  return { options: options as ServerOptions, pin: made?.pin ?? null }
}

/** What `serve` tells: lines for people, or one JSON object a line. */
class RequestLog {
  readonly #terminal: Terminal
  readonly #endpoint: Endpoint
  readonly #json: boolean
  readonly #ledgers = new WeakMap<Connection, PathLedger>()
  #requests = 0
  #bytes = 0

  constructor(terminal: Terminal, endpoint: Endpoint, values: ServeValues) {
    this.#terminal = terminal
    this.#endpoint = endpoint
    this.#json = values.json === true
  }

  listening(local: readonly string[], pin: string | null, metrics: string | undefined): void {
    if (this.#json) return this.#event('listening', { ok: true, local, pin, ...(metrics === undefined ? {} : { metrics }) })
    for (const address of local) this.#terminal.result(`listening on ${address}`)
    if (pin === null) return undefined
    this.#terminal.result(`pin ${pin}`)
    this.#terminal.result(`quicbraid get --pin ${pin} -O https://${reachable(local[0] ?? '')}/FILE`)
    return undefined
  }

  connection(connection: Connection): void {
    this.#ledgers.set(connection, new PathLedger(connection, 'bytesSent'))
    void connection.closed.then((info) => {
      if (this.#json) this.#event('closed', { ok: info.error === null, remote: connection.remote, by: info.by, errorCode: info.errorCode, codeName: info.codeName, reason: info.reason })
    })
  }

  request(connection: Connection, report: RequestReport): void {
    this.#requests += 1
    this.#bytes += report.bytes
    const paths = this.#ledgers.get(connection)?.report() ?? []
    const { method, path, bytes, ms, ok, reason } = report
    if (this.#json) return this.#event('request', { method, path, bytes, ms: rounded(ms), remote: connection.remote, paths, ok, ...(ok ? {} : { reason }) })
    const used = `${paths.length} path${paths.length === 1 ? '' : 's'}`
    const { green, red } = this.#terminal.colors
    this.#terminal.result(ok
      ? `${green('ok')}  ${method} ${printable(path)}  ${formatBytes(bytes)}  ${formatMs(ms)}  ${formatRate(ms > 0 ? (bytes * 8000) / ms : 0)}  ${connection.remote}  ${used}`
      : `${red('--')}  ${method} ${printable(path)}  ${printable(reason)}  ${connection.remote}`)
    return undefined
  }

  end(): void {
    if (this.#json) this.#event('end', { ok: true, requests: this.#requests, bytes: this.#bytes })
    else this.#terminal.result(`${this.#requests} requests, ${formatBytes(this.#bytes)} sent`)
  }

  #event(event: string, facts: object): void {
    this.#terminal.json({ event, atMs: rounded(this.#endpoint.now()), ...facts })
  }
}

/** `0.0.0.0:4433` is no address to dial. */
function reachable(address: string): string {
  return address.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:')
}
