/**
 * The child side: one process with one role, started by `fork`, spoken to over its channel. It lives as long as the
 * channel, prints nothing, and leaves signals to its parent.
 */
import { asCommandError, errorJson } from '../exit.ts'
import type { Stage } from '../exit.ts'
import { runClient } from './client-process.ts'
import type { Event, Order } from './messages.ts'
import { runRelay } from './relay-process.ts'
import { runServer } from './server-process.ts'

/** What a role gets: a way to tell, and whom to ask. */
export interface Port {
  tell(event: Event): void
  /** Called for every order but `stop`. */
  onOrder(take: (order: Order) => void | Promise<void>): void
  /** Called once, by `stop` or when the parent is gone. */
  onStop(close: () => void | Promise<void>): void
}

const ROLES: Readonly<Record<string, { run: (port: Port) => void; stage: Stage }>> = {
  relay: { run: runRelay, stage: 'preparing' },
  server: { run: runServer, stage: 'preparing' },
  client: { run: runClient, stage: 'connecting' },
}

/** Returns at once; the channel keeps the process alive. */
export function runDemoProcess(name: string): void {
  const role = ROLES[name]
  if (role === undefined || process.send === undefined) throw new Error(`'${name}' is not a role of the demo, or this process was not forked by it`)
  const channel = new ChildPort(role.stage)
  process.on('SIGINT', () => undefined)
  process.on('SIGTERM', () => undefined)
  role.run(channel)
}

class ChildPort implements Port {
  readonly #stage: Stage
  #close: () => void | Promise<void> = () => undefined
  #stopping = false

  constructor(stage: Stage) {
    this.#stage = stage
    process.on('disconnect', () => void this.#stop())
    process.on('uncaughtException', (error) => this.#fail(error))
    process.on('unhandledRejection', (error) => this.#fail(error))
  }

  tell(event: Event): void {
    if (process.connected) process.send?.(event)
  }

  onOrder(take: (order: Order) => void | Promise<void>): void {
    process.on('message', (order: Order) => {
      if (order.do === 'stop') void this.#stop()
      else void this.#take(take, order)
    })
  }

  onStop(close: () => void | Promise<void>): void {
    this.#close = close
  }

  async #take(take: (order: Order) => void | Promise<void>, order: Order): Promise<void> {
    try {
      await take(order)
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    const failure = asCommandError(error, this.#stage)
    if (!this.#stopping) this.tell({ event: 'failed', error: errorJson(failure), exit: failure.exit })
  }

  async #stop(): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    try {
      await this.#close()
    } finally {
      // In a turn of its own: Node 20 breaks when the channel closes while it hands out a message.
      setImmediate(() => {
        if (process.connected) process.disconnect()
      })
    }
  }
}
