/** What a gateway counts and tells: one event a request, totals, and the same as Prometheus text. */
import { hot, sampled } from '../../config/index.ts'
import type { Observable, Sampling } from '../../config/index.ts'
import { Exposition, labelText } from '../../endpoint/index.ts'
import type { Family } from '../../endpoint/index.ts'
import type { FrontRequest, FrontStatistics } from './options.ts'

type Step = keyof FrontStatistics['durations']
type Plain = Exclude<keyof FrontStatistics, 'status' | 'failed' | 'durations'>
type Duration = FrontStatistics['durations'][Step]

const STEPS: readonly Step[] = ['open', 'response', 'total']
const SECONDS = 0.001
const NUMBERS: Readonly<Record<Plain, Family>> = {
  connections: { name: 'front_connections', help: 'TCP connections of clients.', type: 'gauge' },
  requestsOpen: { name: 'front_requests_open', help: 'Requests under way.', type: 'gauge' },
  requestsTotal: { name: 'front_requests_total', help: 'Requests so far.', type: 'counter' },
  upgrades: { name: 'front_upgrades_total', help: 'Requests that changed the protocol.', type: 'counter' },
  retries: { name: 'front_retries_total', help: 'Requests that were sent once more since nothing of them had arrived.', type: 'counter' },
  bytesUp: { name: 'front_up_bytes_total', help: 'Bytes of bodies from clients to services.', type: 'counter' },
  bytesDown: { name: 'front_down_bytes_total', help: 'Bytes of bodies from services to clients.', type: 'counter' },
}
const STATUS: Family = { name: 'front_responses_total', help: 'Responses by the first digit of their status.', type: 'counter' }
const FAILED: Family = { name: 'front_failed_total', help: 'Requests that ended early, and what was refused by a limit.', type: 'counter' }
const STEP: Family = { name: 'front_steps_total', help: 'Steps of requests that were taken.', type: 'counter' }
const STEP_SECONDS: Family = { name: 'front_step_seconds_total', help: 'Time that these steps took.', type: 'counter' }

export class FrontLedger {
  readonly #requests = hot<FrontRequest>(0)
  readonly #metrics: ReturnType<typeof sampled<FrontStatistics>>
  readonly #status: Record<string, number> = {}
  readonly #failed: Record<string, number> = {}
  readonly #durations = Object.fromEntries(STEPS.map((step) => [step, { count: 0, totalMs: 0, maxMs: 0 }])) as Record<Step, Duration>
  /** TCP connections of clients. */
  connections = 0
  requestsOpen = 0
  requestsTotal = 0
  upgrades = 0
  retries = 0
  bytesUp = 0
  bytesDown = 0

  constructor(sampling: Sampling) {
    this.#metrics = sampled(sampling, () => this.statistics())
  }

  get requests$(): Observable<FrontRequest> {
    return this.#requests.values$
  }

  get metrics$(): Observable<FrontStatistics> {
    return this.#metrics.values$
  }

  ended(request: FrontRequest): void {
    const { status, reason, ms } = request
    if (status !== null) {
      const digit = `${Math.floor(status / 100)}xx`
      this.#status[digit] = (this.#status[digit] ?? 0) + 1
    }
    if (reason !== null) this.failed(reason)
    this.took('total', ms)
    if (this.#requests.watched) this.#requests.emit(request)
  }

  failed(name: string): void {
    this.#failed[name] = (this.#failed[name] ?? 0) + 1
  }

  took(step: Step, ms: number): void {
    const duration = this.#durations[step]
    duration.count += 1
    duration.totalMs += ms
    duration.maxMs = Math.max(duration.maxMs, ms)
  }

  statistics(): FrontStatistics {
    const { connections, requestsOpen, requestsTotal, upgrades, retries, bytesUp, bytesDown } = this
    return {
      connections, requestsOpen, requestsTotal, upgrades, retries, bytesUp, bytesDown, status: { ...this.#status }, failed: { ...this.#failed },
      durations: { open: { ...this.#durations.open }, response: { ...this.#durations.response }, total: { ...this.#durations.total } },
    }
  }

  prometheus(): string {
    const numbers = this.statistics()
    const text = new Exposition()
    for (const [name, family] of Object.entries(NUMBERS)) text.add(family, '', numbers[name as Plain])
    for (const [status, count] of Object.entries(numbers.status)) text.add(STATUS, labelText({ status }), count)
    for (const [reason, count] of Object.entries(numbers.failed)) text.add(FAILED, labelText({ reason }), count)
    for (const step of STEPS) text.add(STEP, labelText({ step }), numbers.durations[step].count)
    for (const step of STEPS) text.add(STEP_SECONDS, labelText({ step }), numbers.durations[step].totalMs * SECONDS)
    return text.toString()
  }

  end(): void {
    this.#requests.end()
    this.#metrics.end()
  }
}
