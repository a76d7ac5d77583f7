/** Prometheus text exposition format 0.0.4: families with help and type, samples with escaped labels. Decides nothing about what is told. */

/** In seconds, bytes or pieces: base units, as the names say. */
export interface Family {
  /** Without `quicbraid_`; counters end in `_total`. */
  name: string
  help: string
  type: 'counter' | 'gauge'
}

export type Labels = Readonly<Record<string, string>>

/** Gathers the samples of each family, which must stand together, in the order in which families were first named. */
export class Exposition {
  readonly #families = new Map<Family, string[]>()

  add(family: Family, labels: string, value: number): void {
    let samples = this.#families.get(family)
    if (samples === undefined) this.#families.set(family, (samples = []))
    samples.push(`quicbraid_${family.name}${labels} ${numberText(value)}\n`)
  }

  toString(): string {
    let text = ''
    for (const [{ name, help, type }, samples] of this.#families) {
      text += `# HELP quicbraid_${name} ${help.replace(/[\\\n]/g, (letter) => (letter === '\n' ? '\\n' : '\\\\'))}\n# TYPE quicbraid_${name} ${type}\n${samples.join('')}`
    }
    return text
  }
}

/** `{a="x",b="y"}`. */
export function labelText(labels: Labels): string {
  return `{${Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`).join(',')}}`
}

/** The same with one label more. */
export function withLabel(text: string, name: string, value: string): string {
  const more = `${name}="${escaped(value)}"`
  return text === '' ? `{${more}}` : `${text.slice(0, -1)},${more}}`
}

function escaped(value: string): string {
  return value.replace(/[\\"\n]/g, (letter) => (letter === '\n' ? '\\n' : `\\${letter}`))
}

function numberText(value: number): string {
  if (value === Infinity) return '+Inf'
  if (value === -Infinity) return '-Inf'
  return String(value)
}
