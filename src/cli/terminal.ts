/**
 * Where output goes: results on stdout, everything else on stderr, colours only where wanted (NO_COLOR, FORCE_COLOR, no
 * terminal). The one place that writes to the process's streams.
 */
import picocolors from 'picocolors'
import { toJson } from './json.ts'

export type Colors = ReturnType<typeof picocolors.createColors>

const DEFAULT_COLUMNS = 80

export interface Sink {
  write(text: string): unknown
  isTTY?: boolean | undefined
  columns?: number | undefined
  rows?: number | undefined
}

export class Terminal {
  readonly colors: Colors
  readonly #out: Sink
  readonly #err: Sink
  readonly #environment: NodeJS.ProcessEnv

  constructor(out: Sink = process.stdout, err: Sink = process.stderr, environment: NodeJS.ProcessEnv = process.env) {
    this.#out = out
    this.#err = err
    this.#environment = environment
    this.colors = picocolors.createColors(wantsColor(err, environment))
  }

  /** A result, on stdout. */
  result(line: string): void {
    this.#out.write(`${line}\n`)
  }

  /** One JSON object on a line of stdout. A bigint is a number below 2^53, else a decimal string. */
  json(value: object): void {
    this.result(toJson(value))
  }

  /** Progress, warnings and logs, on stderr. */
  note(line: string): void {
    this.#err.write(`${line}\n`)
  }

  /** Raw text for progress that redraws itself. */
  draw(text: string): void {
    this.#err.write(text)
  }

  /** Progress may redraw its lines. */
  get redraws(): boolean {
    return this.#err.isTTY === true && this.#environment['TERM'] !== 'dumb'
  }

  /** Results go to a person's screen. */
  get resultIsScreen(): boolean {
    return this.#out.isTTY === true
  }

  get columns(): number {
    const asked = Number(this.#environment['COLUMNS'])
    const { columns = 0 } = this.#err
    // A terminal that does not know its width says 0.
    return Number.isInteger(asked) && asked > 0 ? asked : columns > 0 ? columns : DEFAULT_COLUMNS
  }

  /** Lines of the screen; Infinity: not known. */
  get rows(): number {
    const { rows = 0 } = this.#err
    return rows > 0 ? rows : Infinity
  }
}

/** A reader that went away (`| head`) is no error: the process ends quietly. Who does not want to see progress any more still wants the rest. */
export function endQuietlyOnBrokenPipe(): void {
  const onError = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EPIPE') throw error
  }
  process.stderr.on('error', onError)
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    onError(error)
    process.exit(0)
  })
}

function wantsColor(sink: Sink, environment: NodeJS.ProcessEnv): boolean {
  if ((environment['NO_COLOR'] ?? '') !== '') return false
  const forced = environment['FORCE_COLOR']
  if (forced !== undefined) return forced !== '0' && forced !== 'false'
  return sink.isTTY === true && environment['TERM'] !== 'dumb'
}
