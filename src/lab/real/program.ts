/**
 * A program that stands on a host of the laboratory and speaks JSON lines: orders in, answers and events out. An order is `{ id, do, … }`,
 * its answer `{ id, … }` or `{ id, error: { code, message } }`; lines without an id are events. Used by `topology.ts`; knows no networks.
 */
import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { ServiceError } from '../../errors/index.ts'

export type Line = Readonly<Record<string, unknown>>

interface Waiting {
  matches(line: Line): boolean
  resolve(line: Line): void
  reject(error: unknown): void
}

const LAST_WORDS = 20

export class Program {
  readonly host: string
  /** Its exit code or signal. */
  readonly ended: Promise<number | NodeJS.Signals | null>
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly #events: Line[] = []
  readonly #words: string[] = []
  readonly #waiting = new Set<Waiting>()
  #orders = 0

  constructor(host: string, [file = '', ...words]: readonly string[]) {
    this.host = host
    this.#child = spawn(file, words, { stdio: ['pipe', 'pipe', 'pipe'] })
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#onLine(line))
    createInterface({ input: this.#child.stderr }).on('line', (line) => this.#note(line))
    // What is written to a program that is gone: `ended` says so.
    this.#child.stdin.on('error', () => undefined)
    this.#child.on('error', (error) => this.#note(error.message))
    this.ended = new Promise((resolve) => this.#child.on('close', (code, signal) => resolve(code ?? signal)))
    void this.ended.then((code) => this.#onEnd(code))
  }

  /** Gives an order and waits for its answer. @throws QB_LAB_REAL: the program ended, or what it answered as error */
  async ask(order: Line): Promise<Line> {
    this.#orders += 1
    const id = this.#orders
    this.#child.stdin.write(`${JSON.stringify({ id, ...order })}\n`)
    const answer = await this.#wait((line) => line['id'] === id)
    if (answer['error'] === undefined) return answer
    const { code, message } = answer['error'] as { code: string; message: string }
    throw new ServiceError('QB_LAB_REAL', `${this.host}, ${String(order['do'])}: ${code}: ${message}`)
  }

  /** The first event of this name that was told since the last one of it was taken. */
  async event(name: string): Promise<Line> {
    const index = this.#events.findIndex((line) => line['event'] === name)
    if (index < 0) return this.#wait((line) => line['event'] === name)
    return this.#events.splice(index, 1)[0] ?? {}
  }

  /** The last lines that were no JSON: errors, mostly. */
  get lastWords(): readonly string[] {
    return this.#words
  }

  /** Closes its stdin, asks it to end, and waits for that. */
  async stop(): Promise<void> {
    this.#child.stdin.end()
    this.#child.kill()
    await this.ended
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #wait(matches: (line: Line) => boolean): Promise<Line> {
    return new Promise((resolve, reject) => this.#waiting.add({ matches, resolve, reject }))
  }

  #onLine(text: string): void {
    if (!text.startsWith('{')) return this.#note(text)
    const line = JSON.parse(text) as Line
    for (const waiting of this.#waiting) {
      if (!waiting.matches(line)) continue
      this.#waiting.delete(waiting)
      return waiting.resolve(line)
    }
    if ('event' in line) this.#events.push(line)
  }

  #onEnd(code: number | NodeJS.Signals | null): void {
    const error = new ServiceError('QB_LAB_REAL', `the program on ${this.host} ended with ${code}: ${this.#words.join(' | ')}`)
    for (const { reject } of this.#waiting) reject(error)
    this.#waiting.clear()
  }

  #note(words: string): void {
    this.#words.push(words)
    if (this.#words.length > LAST_WORDS) this.#words.shift()
  }
}
