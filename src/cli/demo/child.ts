/** The parent's side of one demo process: forks it, speaks to it, and turns its failure or death into an error. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { upTo } from '../clock.ts'
import { CommandError, Exit } from '../exit.ts'
import type { Event, EventOf, Order, Role } from './messages.ts'

/** A process that was asked to stop is killed after this time. */
const STOP_MS = 2500

export class DemoChild {
  readonly role: Role
  /** Rejects when the process fails or ends unasked; never resolves. */
  readonly failed: Promise<never>
  readonly #process: ChildProcess
  readonly #exited: Promise<void>
  #stopping = false

  /** Output of the process goes to stderr: stdout is for the result. */
  constructor(entry: string, role: Role) {
    this.role = role
    this.#process = fork(entry, ['demo-process', role], { stdio: ['ignore', 2, 2, 'ipc'] })
    this.#exited = new Promise((resolve) => this.#process.once('exit', () => resolve()))
    this.failed = new Promise((_, reject) => {
      this.#process.once('error', reject)
      this.#process.once('exit', (code, signal) => {
        if (!this.#stopping) reject(new CommandError('QB_DEMO_PROCESS', Exit.INCOMPLETE, `the ${role} process ended with ${signal ?? `code ${code}`}`))
      })
      this.on('failed', ({ error, exit }) => reject(new CommandError(error.code, exit, `${role}: ${error.message}`, { cause: error })))
    })
    this.failed.catch(() => undefined) // raced by whoever waits
  }

  send(order: Order): void {
    if (this.#process.connected) this.#process.send(order)
  }

  on<Name extends Event['event']>(name: Name, take: (event: EventOf<Name>) => void): void {
    this.#process.on('message', (event: Event) => {
      if (event.event === name) take(event as EventOf<Name>)
    })
  }

  /** The next event of that name. @throws CommandError when the process fails first */
  async next<Name extends Event['event']>(name: Name): Promise<EventOf<Name>> {
    return Promise.race([new Promise<EventOf<Name>>((resolve) => this.on(name, resolve)), this.failed])
  }

  /** Asks it to close what it has; kills it if it does not end. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.send({ do: 'stop' })
    await upTo(STOP_MS, this.#exited)
    this.#process.kill('SIGKILL')
    await this.#exited
  }
}
