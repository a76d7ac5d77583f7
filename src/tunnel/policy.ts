/**
 * Who may go where (tunnel.md §3): handlers in the order of their registration; nobody accepts, so it is refused. Only addresses that a handler
 * answered are ever dialled, and names of the client's are never resolved.
 */
import { checkCall, formatAddress, invalidOption, parseAddress, show } from '../config/index.ts'
import type { Logger, Timing } from '../config/index.ts'
import type { ListenOptions, TunnelHandler, TunnelRequest } from './options.ts'

/** What may be dialled. */
export interface Target {
  readonly host: string
  readonly port: number
  readonly address: string
  readonly proxyProtocol: boolean
}

interface Registered {
  readonly handler: TunnelHandler
  /** What it is asked about. */
  readonly protocol: 'tcp' | 'udp' | 'both'
}

export class Policy {
  readonly #handlers = new Map<number, Registered>()
  readonly #timing: Timing
  readonly #limitMs: number
  readonly #logger: Logger
  #last = 0

  /** `limitMs`: for all handlers together. */
  constructor(timing: Timing, limitMs: number, logger: Logger) {
    this.#timing = timing
    this.#limitMs = limitMs
    this.#logger = logger
  }

  get size(): number {
    return this.#handlers.size
  }

  /** One that does not say so is never asked about UDP: who wrote it may not have thought of it. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  listen(handler: TunnelHandler | number, options: ListenOptions = {}): number {
    checkCall(options, ['protocol'])
    const { protocol = 'tcp' } = options
    if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'both') throw invalidOption('protocol', protocol, "'tcp', 'udp' or 'both'")
    if (typeof handler !== 'function' && !isPort(handler)) throw invalidOption('handler', handler, 'a function, or a port from 1 to 65535')
    this.#last += 1
    this.#handlers.set(this.#last, { handler: typeof handler === 'function' ? handler : toThatPort(handler), protocol })
    return this.#last
  }

  forget(id: number): boolean {
    return this.#handlers.delete(id)
  }

  /** Null: refused. Never rejects; no answer in time refuses. */
  decide(request: TunnelRequest): Promise<Target | null> {
    return new Promise((resolve) => {
      const stop = this.#timing.after(this.#limitMs, () => {
        this.#logger.warn?.('no handler of the tunnel answered in time; refused', { port: request.port, limitMs: this.#limitMs })
        resolve(null)
      })
      void this.#ask(request).then((target) => {
        stop()
        resolve(target)
      })
    })
  }

  async #ask(request: TunnelRequest): Promise<Target | null> {
    try {
      for (const { handler, protocol } of Array.from(this.#handlers.values())) {
        if (protocol !== 'both' && protocol !== request.protocol) continue
        const answer = await handler({ ...request })
        if (answer !== undefined) return targetOf(answer, request.protocol)
      }
    } catch (error) {
      this.#logger.warn?.('a handler of the tunnel failed; refused', { port: request.port, error })
    }
    return null
  }
}

function toThatPort(port: number): TunnelHandler {
  return (request) => (request.peer !== null && request.port === port ? `127.0.0.1:${port}` : undefined)
}

function isPort(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_535
}

/** @throws QB_OPTION_INVALID: host names, paths and half addresses are nothing to dial */
function targetOf(answer: unknown, protocol: TunnelRequest['protocol']): Target {
  const { target, proxyProtocol } = (typeof answer === 'object' && answer !== null ? answer : { target: answer }) as { target?: unknown; proxyProtocol?: unknown }
  const parsed = typeof target === 'string' ? parseAddress(target) : null
  if (parsed === null || parsed.port === 0) throw invalidOption('target', target, `an address with a port like '127.0.0.1:22'; names are not resolved`)
  if (proxyProtocol !== undefined && proxyProtocol !== 'v2') throw invalidOption('proxyProtocol', proxyProtocol, `'v2', not ${show(proxyProtocol)}`)
  if (proxyProtocol === 'v2' && protocol === 'udp') throw invalidOption('proxyProtocol', proxyProtocol, 'nothing for UDP')
  return { host: parsed.host, port: parsed.port, address: formatAddress(parsed), proxyProtocol: proxyProtocol === 'v2' }
}
