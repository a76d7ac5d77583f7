/**
 * Live progress on stderr: on a terminal a few lines that redraw themselves ten times a second, elsewhere one line every
 * 5 s. What the lines say is the caller's; this file decides when and where.
 */
import { every } from './clock.ts'
import { fit } from './format.ts'
import type { Terminal } from './terminal.ts'

const REDRAW_MS = 100
const LINE_MS = 5000

/** What is going on now. */
export interface Frame {
  /** For a terminal; colours are allowed. */
  lines: readonly string[]
  /** The same in one line. */
  line: string
}

export type Quiet = 'quiet' | 'shown'

export class Progress {
  readonly #terminal: Terminal
  readonly #frame: () => Frame
  readonly #quiet: Quiet
  #drawn = 0
  #stop: (() => void) | null = null

  constructor(terminal: Terminal, quiet: Quiet, frame: () => Frame) {
    this.#terminal = terminal
    this.#quiet = quiet
    this.#frame = frame
  }

  start(): void {
    if (this.#quiet === 'quiet' || this.#stop !== null) return
    this.#stop = this.#terminal.redraws ? every(REDRAW_MS, () => this.#redraw()) : every(LINE_MS, () => this.#terminal.note(this.#frame().line))
    if (this.#terminal.redraws) this.#redraw()
  }

  /** A line that stays, above the moving ones. */
  note(line: string): void {
    if (this.#quiet === 'quiet') return
    this.#erase()
    this.#terminal.note(line)
    if (this.#stop !== null && this.#terminal.redraws) this.#redraw()
  }

  /** Something that writes a line elsewhere, above the moving ones. */
  above(write: () => void): void {
    this.#erase()
    write()
    if (this.#stop !== null && this.#terminal.redraws) this.#redraw()
  }

  /** Takes the moving lines away. */
  stop(): void {
    this.#stop?.()
    this.#stop = null
    this.#erase()
  }

  #redraw(): void {
    // The cursor stands below them, and what has left the screen cannot be redrawn.
    const lines = this.#frame().lines.slice(0, Math.max(1, this.#terminal.rows - 1)).map((line) => fit(line, this.#terminal.columns - 1))
    const up = this.#drawn === 0 ? '' : `\u001B[${this.#drawn}A`
    this.#terminal.draw(`${up}\u001B[J${lines.map((line) => `${line}\n`).join('')}`)
    this.#drawn = lines.length
  }

  #erase(): void {
    if (this.#drawn > 0) this.#terminal.draw(`\u001B[${this.#drawn}A\u001B[J`)
    this.#drawn = 0
  }
}
