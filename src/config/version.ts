/** The version of this package, for what outlives the process: rows of the laboratory, `--version`. Reads package.json once. */
import { readFileSync } from 'node:fs'

let known: string | null = null

/** From the package that this file belongs to: `dist/` and `src/config/` lie at different depths. */
export function packageVersion(): string {
  known ??= read()
  return known
}

function read(): string {
  for (const place of ['../package.json', '../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8')) as { name?: string; version?: string }
      if (name === 'quicbraid' && version !== undefined) return version
    } catch {
      // The other place.
    }
  }
  return 'unknown'
}
