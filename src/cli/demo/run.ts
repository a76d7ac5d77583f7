/**
 * One run of the demo: three processes (relay, server, client), the cut and the restoration at their marks, and all that was
 * measured. The relay is the only one that is told of the cut.
 */
import { basename, join } from 'node:path'
import { nowMs, sleep } from '../clock.ts'
import { CommandError, Exit } from '../exit.ts'
import { formatMs, formatShare } from '../format.ts'
import type { Frame, Progress } from '../progress.ts'
import type { Terminal } from '../terminal.ts'
import { DemoChild } from './child.ts'
import type { DemoValues } from './command.ts'
import type { EventOf, ReceivedPath } from './messages.ts'
import { chooseNetwork } from './network.ts'
import type { DemoNetwork } from './network.ts'
import { Rates } from './rates.ts'
import type { Measured } from './report.ts'
import { frameOf } from './view.ts'

/** The link that is cut: that of the second path. */
const CUT_LINK = 1
/** A queue of this much time before each link, as a home router has. */
const QUEUE_MS = 30
/** No new byte for so long: the demo has failed. */
const SILENCE_MS = 15_000

export interface DemoSetup {
  values: DemoValues
  /** The file that Node runs for each process. */
  entry: string
  /** For the file that arrives. */
  folder: string
  terminal: Terminal
  signal: AbortSignal
}

export class DemoRun {
  readonly #setup: DemoSetup
  readonly #children: DemoChild[] = []
  readonly #rates = new Rates()
  #paths: readonly ReceivedPath[] = []
  #bytes = 0
  #total = 0
  #grewMs = 0
  /** The relay's address of each link. */
  #relay: readonly string[] = []
  #cutMs: number | null = null
  #restoredMs: number | null = null

  constructor(setup: DemoSetup) {
    this.#setup = setup
  }

  /** For progress: what has arrived, and how. */
  frame(): Frame {
    const cut = this.#cutMs !== null && this.#restoredMs === null ? (this.#relay[CUT_LINK] ?? null) : null
    return frameOf({ bytes: this.#bytes, total: this.#total, paths: this.#paths, rates: this.#rates.now(), rateBitsPerSec: this.#setup.values.rate, cut }, this.#setup.terminal.colors)
  }

  /** @throws CommandError for whatever fails in any of the processes, or by the signal */
  async start(file: string, progress: Progress): Promise<Measured> {
    const network = await chooseNetwork()
    const [relay, server, client] = (['relay', 'server', 'client'] as const).map((role) => this.#fork(role)) as [DemoChild, DemoChild, DemoChild]
    const ready = await this.#startServer(server, network, file)
    this.#total = ready.bytes
    await this.#startRelay(relay, network, ready.local)
    const opened = await this.#startClient(client, relay, network, ready, progress, file)
    const done = await this.#unlessStopped(client.next('done'), progress)
    this.#bytes = done.bytes
    const [sent, links] = await this.#unlessStopped(Promise.all([ask(server, 'server-statistics'), ask(relay, 'relay-statistics')]), progress)
    return {
      bytes: done.bytes, expectedBytes: ready.bytes, seconds: done.seconds, stallMs: done.stallMs, sha256Sent: ready.sha256, sha256Received: done.sha256,
      received: done.paths, sent: sent.paths, clientHandshake: opened.handshake, serverHandshake: sent.handshake,
      flight: [...done.flight, ...sent.flight], links: links.links,
      cut: this.#cutMs === null ? null : { link: CUT_LINK, ms: this.#restoredMs === null ? null : this.#restoredMs - this.#cutMs },
    }
  }

  /** The client first: it says goodbye over the relay. */
  async stop(): Promise<void> {
    for (const child of this.#children.toReversed()) await child.stop()
  }

  #fork(role: 'relay' | 'server' | 'client'): DemoChild {
    const child = new DemoChild(this.#setup.entry, role)
    this.#children.push(child)
    return child
  }

  async #startServer(server: DemoChild, network: DemoNetwork, file: string): Promise<EventOf<'server-ready'>> {
    const ready = server.next('server-ready')
    server.send({ do: 'start', local: network.server, file, scheduler: this.#setup.values.scheduler })
    return this.#unlessStopped(ready)
  }

  async #startRelay(relay: DemoChild, network: DemoNetwork, local: readonly string[]): Promise<void> {
    const { rate, delay } = this.#setup.values
    const ready = relay.next('relay-ready')
    const links = network.paths.map((path) => ({
      listen: path.relay, target: local[path.server] ?? '', rateBitsPerSec: rate, delayMs: delay, queueBytes: Math.max(65_536, Math.round((rate * QUEUE_MS) / 8000)),
    }))
    relay.send({ do: 'start', links })
    this.#relay = (await this.#unlessStopped(ready)).listen
  }

  async #startClient(client: DemoChild, relay: DemoChild, network: DemoNetwork, ready: EventOf<'server-ready'>, progress: Progress, file: string): Promise<EventOf<'opened'>> {
    const { values, folder } = this.#setup
    const opened = client.next('opened')
    client.on('progress', (event) => this.#onProgress(event))
    client.on('path', ({ path, type, reason }) => this.#onPath(path, type, reason, progress))
    const marks = values.cut ? [values.cutAt, values.restoreAt].map((share) => Math.max(1, Math.floor(share * ready.bytes))) : []
    client.on('mark', ({ index }) => this.#onMark(index, relay, progress))
    client.send({
      do: 'start', ca: ready.ca, path: `/${encodeURIComponent(basename(file))}`, file: join(folder, 'received'), scheduler: values.scheduler, marks,
      paths: network.paths.map(({ local }, index) => ({ local, remote: this.#relay[index] ?? '' })),
    })
    const answer = await this.#unlessStopped(opened)
    progress.note(`connected in ${formatMs(answer.handshake.ms)}; paths ${network.paths.map(({ local }) => local).join(' and ')}, ${values.rate / 1e6} Mbit/s and ${formatMs(values.delay)} each`)
    this.#grewMs = nowMs()
    progress.start()
    return answer
  }

  #onProgress({ bytes, paths }: EventOf<'progress'>): void {
    if (bytes > this.#bytes) this.#grewMs = nowMs()
    this.#bytes = bytes
    this.#paths = paths
    this.#rates.add(nowMs(), new Map(paths.map((path) => [path.id, path.bytesReceived])))
  }

  #onMark(index: number, relay: DemoChild, progress: Progress): void {
    const { values, terminal } = this.#setup
    relay.send({ do: index === 0 ? 'cut' : 'restore', link: CUT_LINK })
    if (index === 0) {
      this.#cutMs = nowMs()
      progress.note(terminal.colors.red(`${formatShare(values.cutAt)}: link ${CUT_LINK} is cut, both ways, and nobody is told`))
    } else {
      this.#restoredMs = nowMs()
      progress.note(terminal.colors.green(`${formatShare(values.restoreAt)}: link ${CUT_LINK} is whole again`))
    }
  }

  #onPath(path: number, type: string, reason: string, progress: Progress): void {
    if (this.#cutMs === null || !['suspect', 'recovered', 'abandoned', 'validated'].includes(type)) return
    const since = formatMs(nowMs() - (this.#restoredMs ?? this.#cutMs))
    progress.note(this.#setup.terminal.colors.dim(`  ${since} later: path ${path} ${type}${reason === '' ? '' : ` (${reason})`}`))
  }

  /** Ends the waiting when any process fails, the user stops, or nothing arrives any more. */
  async #unlessStopped<T>(work: Promise<T>, progress?: Progress): Promise<T> {
    const { signal } = this.#setup
    signal.throwIfAborted()
    const over = new AbortController()
    let onAbort = (): void => undefined
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(signal.reason as Error)
      signal.addEventListener('abort', onAbort, { once: true })
    })
    try {
      return await Promise.race([work, aborted, this.#silence(over.signal), ...this.#children.map((child) => child.failed)])
    } finally {
      over.abort()
      signal.removeEventListener('abort', onAbort)
      progress?.stop()
    }
  }

  async #silence(over: AbortSignal): Promise<never> {
    const startedMs = nowMs()
    while (!over.aborted) {
      await sleep(500, over)
      const since = Math.max(startedMs, this.#grewMs)
      if (!over.aborted && nowMs() - since > SILENCE_MS) throw new CommandError('QB_DEMO_STALLED', Exit.INCOMPLETE, `nothing happened for ${formatMs(SILENCE_MS)}, ${this.#bytes} of ${this.#total} bytes had arrived`)
    }
    return new Promise<never>(() => undefined)
  }
}

async function ask<Name extends 'server-statistics' | 'relay-statistics'>(child: DemoChild, name: Name): Promise<EventOf<Name>> {
  const answer = child.next(name)
  child.send({ do: 'statistics' })
  return answer
}
