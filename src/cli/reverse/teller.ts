/** How both ends tell what happens: a line for people with a mark in front, or one JSON object a line. */
import type { ObserveValues } from '../options.ts'
import { rounded } from '../paths.ts'
import type { Terminal } from '../terminal.ts'

/** Good, bad, neither. */
export type Mark = 'good' | 'bad' | 'news'

export class Teller {
  readonly json: boolean
  readonly #terminal: Terminal
  readonly #now: () => number
  readonly #quiet: boolean

  /** `now`: the clock of `atMs`. */
  constructor(terminal: Terminal, now: () => number, { json, quiet }: ObserveValues) {
    this.#terminal = terminal
    this.#now = now
    this.json = json === true
    this.#quiet = quiet === true
  }

  /** JSON only. */
  event(event: string, facts: object): void {
    if (this.json) this.#terminal.json({ event, atMs: rounded(this.#now()), ok: true, ...facts })
  }

  /** For people only, and not with `-q`. */
  line(mark: Mark, text: string): void {
    if (this.json || this.#quiet) return
    const { green, red, yellow } = this.#terminal.colors
    const shown = { good: green('ok'), bad: red('--'), news: yellow('..') }[mark]
    this.#terminal.result(`${shown}  ${text}`)
  }

  /** For people, always: what they have to know to go on. */
  say(text: string): void {
    if (!this.json) this.#terminal.result(text)
  }
}

/** `1 connection`, `2 connections`. */
export function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}
