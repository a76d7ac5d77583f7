/** What `reverse listen` tells: where it is and how to dial it, the size of each pool when it changes, one line per request. */
import type { Endpoint } from '../../index.ts'
import { nowMs } from '../clock.ts'
import { formatBytes, formatMs, printable } from '../format.ts'
import type { ObserveValues } from '../options.ts'
import { rounded } from '../paths.ts'
import type { Terminal } from '../terminal.ts'
import type { RequestReport } from './join.ts'
import { count, Teller } from './teller.ts'

export interface Listening {
  local: readonly string[]
  /** `RELAY-OUTER`. */
  relay: string | null
  pin: string
  http: readonly string[]
  https: readonly string[]
  tcp: readonly { local: string; service: string }[]
  metrics: string | null
}

/** What a private end types to come here, as far as this end knows. */
export interface DialLine {
  service: string | null
  /** How this end is trusted: by its pin, by its certificate where HAProxy's protocol is spoken, not at all. */
  trust: 'quic' | 'h2-haproxy' | 'plain'
  /** What the relay wants, beside its address. */
  relay: { pin: string | null; token: boolean } | null
}

/** Of a pool, from either kind of listener. */
export interface PoolEvent {
  type: 'accepted' | 'refused' | 'closed' | 'draining' | 'empty'
  service: string | null
  key: string | null
  remote: string
  /** For people. */
  text: string
  reason: string | null
  /** Connections with this key that take requests, afterwards. */
  size: number
}

/** Of an HTTP front. */
export interface HttpRequest {
  method: string
  host: string
  path: string
  status: number | null
  bytesUp: number
  bytesDown: number
  ms: number
  service: string | null
  protocol: string
  remote: string
  reason: string | null
}

export class ListenLog {
  readonly #tell: Teller
  readonly #startMs = nowMs()
  readonly #sizes = new Map<string, number>()
  #requests = 0
  #failed = 0
  #bytesUp = 0
  #bytesDown = 0

  constructor(terminal: Terminal, clock: Pick<Endpoint, 'now'>, values: ObserveValues) {
    this.#tell = new Teller(terminal, () => clock.now(), values)
  }

  listening(where: Listening, how: DialLine): void {
    const { metrics, ...facts } = where
    this.#tell.event('listening', { ...facts, ...(metrics === null ? {} : { metrics }) })
    for (const line of introduction(where, how)) this.#tell.say(line)
  }

  /** One of the listener's events. */
  pool({ type, service, key, remote, text, reason, size }: PoolEvent): void {
    const shown = printable(key ?? service ?? '?')
    if (type === 'refused') {
      this.#tell.event('refused', { ok: false, service, key, remote, reason, text })
      return this.#tell.line('bad', `${printable(remote)} refused${service === null ? '' : ` as '${printable(service)}'`}: ${printable(text === '' ? (REFUSALS[reason ?? ''] ?? reason ?? '?') : text)}`)
    }
    this.#tell.event(type, { service, key, remote, reason, text, size })
    const before = this.#sizes.get(key ?? '') ?? 0
    this.#sizes.set(key ?? '', size)
    if (size === 0 && before > 0 && type !== 'empty') this.#tell.event('empty', { service, key, remote, reason, text, size })
    if (size !== before) this.#tell.line(size === 0 ? 'bad' : size > before ? 'good' : 'news', `${shown}: ${size === 0 ? 'no connection' : count(size, 'connection')} (${printable(remote)} ${PHRASES[type]}${type === 'accepted' || text === '' ? '' : `: ${printable(text)}`})`)
    return undefined
  }

  http({ ms, ...request }: HttpRequest): void {
    const { method, host, path, status, bytesUp, bytesDown, service, protocol, remote, reason } = request
    // Who looks at events or closes a page breaks off what is answered already.
    const ok = status !== null && status < 500 && (reason === null || reason === 'client')
    this.#count(ok, bytesUp, bytesDown)
    this.#tell.event('request', { ok, ...request, ms: rounded(ms) })
    this.#tell.line(ok ? 'good' : 'bad', `${status ?? '---'} ${printable(method)} ${printable(host)}${printable(path)}  ${formatBytes(bytesDown)}  ${formatMs(ms)}  ${protocol}  ${printable(service ?? '-')}  ${remote}${reason === null ? '' : `  ${reason}`}`)
  }

  tcp(service: string, remote: string, { ok, reason, why, bytesUp, bytesDown, ms }: RequestReport): void {
    this.#count(ok, bytesUp, bytesDown)
    this.#tell.event('request', { ok, protocol: 'tcp', service, remote, bytesUp, bytesDown, ms: rounded(ms), reason, why })
    this.#tell.line(ok ? 'good' : 'bad', `tcp ${printable(service)}  ${formatBytes(bytesUp)} up, ${formatBytes(bytesDown)} down  ${formatMs(ms)}  ${remote}${reason === null ? '' : `  ${why ?? reason}`}`)
  }

  end(facts: object): void {
    this.#tell.event('end', { ...facts, requests: this.#requests, failed: this.#failed, bytesUp: this.#bytesUp, bytesDown: this.#bytesDown })
    this.#tell.say(`${count(this.#requests, 'request')}${this.#failed === 0 ? '' : `, ${this.#failed} failed`}, ${formatBytes(this.#bytesUp)} up, ${formatBytes(this.#bytesDown)} down in ${formatMs(nowMs() - this.#startMs)}`)
  }

  #count(ok: boolean, bytesUp: number, bytesDown: number): void {
    this.#requests += 1
    if (!ok) this.#failed += 1
    this.#bytesUp += bytesUp
    this.#bytesDown += bytesDown
  }
}

const PHRASES: Readonly<Record<PoolEvent['type'], string>> = { accepted: 'has come', refused: 'was refused', closed: 'is gone', draining: 'is leaving', empty: 'is gone' }

/** Where the listener has no words of its own. */
const REFUSALS: Readonly<Record<string, string>> = {
  auth: 'it showed no certificate that may come', name: 'its certificate does not name that service, or the service is not allowed here', full: 'there are too many already',
  timeout: 'it took too long', busy: 'too many are arriving', protocol: 'it does not speak as we do', shutdown: 'this end is being stopped',
}

/** Where it is, and a line to copy. Pure. */
export function introduction({ local, relay, pin, http, https, tcp }: Listening, how: DialLine): string[] {
  return [
    ...local.map((address) => `listening on ${address}`), ...(relay === null ? [] : [`at the relay  ${relay}`]), ...(how.trust === 'plain' ? [] : [`pin ${pin}`]),
    ...http.map((address) => `http://${address}`), ...https.map((address) => `https://${address}`), ...tcp.map((port) => `tcp ${port.local} → ${port.service}`),
    dialLine(relay ?? local[0] ?? '', pin, how),
  ]
}

function dialLine(to: string, pin: string, { service, trust, relay }: DialLine): string {
  const reachable = to.replace(/^0\.0\.0\.0:/, 'THIS-HOST:').replace(/^\[::\]:/, 'THIS-HOST:')
  const trusted = { quic: `--pin ${pin}`, 'h2-haproxy': '--proto h2-haproxy --ca OUR-CERT.pem', plain: '--proto h2-haproxy --plain' }[trust]
  const through = relay === null ? '' : `${relay.pin === null ? '' : ` --relay-pin ${relay.pin}`}${relay.token ? ' --token …' : ''}`
  return `quicbraid reverse dial --to ${reachable} ${trusted} --service ${service ?? 'NAME'} --target 127.0.0.1:8080${trust === 'plain' ? '' : ' --cert cert.pem --key key.pem'}${through}`
}
