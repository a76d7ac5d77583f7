/** The built command as a process: its lines of JSON as they come, its end. */
import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const CLI = fileURLToPath(new URL('../../dist/cli.mjs', import.meta.url))

export type Line = Readonly<Record<string, unknown>>

export class Running {
  readonly child: ChildProcessWithoutNullStreams
  readonly lines: Line[] = []
  readonly ended: Promise<number>
  err = ''
  out = ''
  readonly #waiting: { fits: (line: Line) => boolean; resolve: (line: Line) => void; reject: (error: Error) => void }[] = []

  constructor(folder: string, args: readonly string[]) {
    this.child = spawn(process.execPath, [CLI, ...args], { cwd: folder, env: { ...process.env, NO_COLOR: '1', SSLKEYLOGFILE: '' } })
    this.child.stderr.on('data', (bytes) => { this.err += String(bytes) })
    createInterface({ input: this.child.stdout }).on('line', (text) => {
      this.out += `${text}\n`
      if (!text.startsWith('{')) return
      const line = JSON.parse(text) as Line
      this.lines.push(line)
      for (const { fits, resolve } of this.#waiting) if (fits(line)) resolve(line)
    })
    this.ended = new Promise((resolve) => void this.child.once('close', (code) => {
      resolve(code ?? -1)
      for (const { reject } of this.#waiting) reject(new Error(`${args.join(' ')} ended with ${code} too early: ${this.err}${this.out}`))
    }))
  }

  /** The first line of this event (that fits), the past included. */
  async event(event: string, fits: (line: Line) => boolean = () => true): Promise<Line> {
    const wanted = (line: Line): boolean => line['event'] === event && fits(line)
    return this.lines.find(wanted) ?? new Promise((resolve, reject) => void this.#waiting.push({ fits: wanted, resolve, reject }))
  }
}

/** Commands of a test, with a folder to work in. */
export class Commands {
  readonly #folder: string
  #all: Running[] = []

  constructor(folder: string) {
    this.#folder = folder
  }

  start(...args: string[]): Running {
    const one = new Running(this.#folder, args)
    this.#all.push(one)
    return one
  }

  async run(...args: string[]): Promise<{ exit: number; out: string; err: string; json: Line }> {
    const one = this.start(...args)
    const exit = await one.ended
    return { exit, out: one.out, err: one.err, json: one.lines.at(-1) ?? {} }
  }

  /** For `afterEach`. */
  async endAll(): Promise<void> {
    const all = this.#all
    this.#all = []
    for (const { child } of all) child.kill('SIGKILL')
    await Promise.all(all.map(({ ended }) => ended))
  }
}
