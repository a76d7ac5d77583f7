/**
 * Where the library's words go on the command line: stderr, as lines for people or as JSON, through tslog, which knows levels and hides what is
 * secret. The library itself knows no logger but the one it is given.
 */
import { Logger as LevelLog } from 'tslog'
import type { Logger } from '../index.ts'
import { toJson } from './json.ts'
import type { Terminal } from './terminal.ts'

export interface LogValues {
  log?: 'plain' | 'json'
  verbose?: true
  quiet?: true
}

/** tslog's number of each level, and our word for it. */
const LEVELS = { debug: [2, 'debug'], info: [3, 'info'], warn: [4, 'warning'], error: [5, 'error'] } as const
/** Facts with these names are never shown. */
const SECRET = ['key', 'keys', 'secret', 'token', 'password']
/** What commands say themselves: `--insecure`, `reverse dial`. */
const SAID = ['the server certificate is not verified', 'a reverse connection could not be made']
/** Characters of a fact in a line for people. */
const FACT_CHARACTERS = 300

/** Warnings and errors; errors only with `-q`; everything with `-v`. */
export function createLogger(values: LogValues, terminal: Terminal): Logger {
  const lines = new LevelLog<Record<string, unknown>>({
    type: 'hidden',
    minLevel: LEVELS[values.quiet === true ? 'error' : values.verbose === true ? 'debug' : 'warn'][0],
    hideLogPositionForProduction: true,
    maskValuesOfKeys: SECRET,
    overwrite: { transportJSON: (entry) => terminal.note(values.log === 'json' ? jsonLine(entry as Entry) : plainLine(entry as Entry)) },
  })
  const at = (level: keyof typeof LEVELS) => (message: string, facts: object): void => {
    if (SAID.some((words) => message.startsWith(words))) return
    const [id, name] = LEVELS[level]
    lines.log(id, name, { message, facts })
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

interface Entry {
  message: string
  facts: object
  _meta: { date: Date; logLevelName: string }
}

function jsonLine({ message, facts, _meta: meta }: Entry): string {
  return toJson({ ...facts, level: meta.logLevelName, time: meta.date.toISOString(), message })
}

function plainLine({ message, facts, _meta: meta }: Entry): string {
  const words = Object.entries(facts).filter(([, value]) => value !== undefined).map(([name, value]) => `${name}: ${factText(value)}`)
  return `${meta.logLevelName}: ${message}${words.length === 0 ? '' : ` (${words.join(', ')})`}`
}

/** Peers choose some of these words: they must not steer the terminal. */
function factText(value: unknown): string {
  const text = value instanceof Error ? value.message : typeof value === 'object' && value !== null ? toJson(value) : String(value)
  return text.slice(0, FACT_CHARACTERS).replace(/[^\u0020-\u007E\u00A0-\uFFFD]/g, '?')
}
