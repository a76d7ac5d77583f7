/**
 * What a handshake did, step by step: told while it runs, kept for those who look later and for the error if it fails.
 * Keeps at most 256 steps; the engine tells fewer. Decides nothing.
 */
import type { NativeEvent, NativeHandshakeStep } from '../binding/index.ts'
import type { HandshakeEvent, HandshakeInfo } from './facts.ts'

/** Steps kept, as the replay of `handshake$`. */
export const STEPS_KEPT = 256

type Step = HandshakeEvent extends infer T ? T extends unknown ? Omit<T, 'atMs'> : never : never

export class HandshakeSteps {
  readonly #steps: HandshakeEvent[] = []
  readonly #onStep: (step: HandshakeEvent) => void

  constructor(onStep: (step: HandshakeEvent) => void) {
    this.#onStep = onStep
  }

  /** Oldest first. */
  get all(): readonly HandshakeEvent[] {
    return this.#steps
  }

  add(step: Step, atMs: number): void {
    const event = { ...step, atMs } as HandshakeEvent
    if (this.#steps.length >= STEPS_KEPT) this.#steps.shift()
    this.#steps.push(event)
    this.#onStep(event)
  }

  onSteps({ steps, atMs }: Extract<NativeEvent, { type: 'handshake' }>): void {
    for (const step of steps) this.add(told(step), atMs)
  }

  onComplete(info: HandshakeInfo, atMs: number): void {
    this.add({ type: 'complete', detail: `${info.alpn}, ${info.version}, ${info.cipher}${info.resumed ? ', resumed' : ''}` }, atMs)
    this.add({ type: 'path-usable', path: 0 }, atMs)
  }
}

function told({ type, attempt, local, remote, reason, datagrams, bytes, packets }: NativeHandshakeStep): Step {
  switch (type) {
    case 'flight': return { type, attempt, datagrams: datagrams ?? 0, bytes: bytes ?? 0, packets: packets ?? [] }
    case 'retry': case 'version-negotiation': case 'tls-finished': return { type, detail: reason }
    default: return { type, attempt, local, remote, reason }
  }
}
