/**
 * SIGINT and SIGTERM: the first asks the command to stop (an AbortSignal; the command drains and prints what it has), the
 * second ends the process at once.
 */
import { setMaxListeners } from 'node:events'
import { CommandError, Exit } from './exit.ts'

export class Interruption {
  readonly #controller = new AbortController()
  readonly #onInterrupt = (): void => this.#stop('SIGINT')
  readonly #onTerminate = (): void => this.#stop('SIGTERM')

  constructor() {
    // Every download of a command listens.
    setMaxListeners(0, this.#controller.signal)
    process.on('SIGINT', this.#onInterrupt)
    process.on('SIGTERM', this.#onTerminate)
  }

  /** Aborted with a CommandError (exit 130 or 143) by the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  #stop(name: 'SIGINT' | 'SIGTERM'): void {
    const exit = name === 'SIGINT' ? Exit.SIGINT : Exit.SIGTERM
    if (this.#controller.signal.aborted) process.exit(exit)
    this.#controller.abort(new CommandError('QB_INTERRUPTED', exit, `interrupted by ${name}`))
  }

  [Symbol.dispose](): void {
    process.off('SIGINT', this.#onInterrupt)
    process.off('SIGTERM', this.#onTerminate)
  }
}

/** The error of the first signal, if there was one. */
export function interruption(signal: AbortSignal): CommandError | null {
  return signal.aborted && signal.reason instanceof CommandError ? signal.reason : null
}

/** Resolves with the first signal. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** The exit code of a command that ends by a signal and by nothing else; undefined: there was none. */
export function exitOfSignal(signal: AbortSignal): typeof Exit.SIGINT | typeof Exit.SIGTERM | undefined {
  const exit = interruption(signal)?.exit
  return exit === Exit.SIGINT || exit === Exit.SIGTERM ? exit : undefined
}
