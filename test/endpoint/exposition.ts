/** Reads the Prometheus text exposition format 0.0.4 strictly, as its specification has it: for tests of those who write it. */

export interface Sample {
  labels: Record<string, string>
  value: number
}

export interface ParsedFamily {
  help: string
  type: string
  samples: Sample[]
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/

/** @throws for whatever the format does not allow, families that stand apart, or a series that comes twice */
export function parseExposition(text: string): Map<string, ParsedFamily> {
  if (!text.endsWith('\n')) throw new Error('the last line has no end')
  const families = new Map<string, ParsedFamily>()
  const series = new Set<string>()
  let current = ''
  for (const line of text.slice(0, -1).split('\n')) {
    const [, word, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? []
    if (word === 'HELP') {
      if (families.has(name)) throw new Error(`${name} is told of twice`)
      families.set((current = name), { help: rest.replace(/\\(.)/g, (_, letter: string) => (letter === 'n' ? '\n' : letter)), type: '', samples: [] })
    } else if (word === 'TYPE') {
      const family = families.get(name)
      if (name !== current || family === undefined || family.samples.length > 0 || family.type !== '') throw new Error(`TYPE of ${name} is not behind its HELP`)
      if (!['counter', 'gauge', 'histogram', 'summary', 'untyped'].includes(rest)) throw new Error(`no type: ${rest}`)
      family.type = rest
    } else {
      const sample = parseSample(line)
      const family = families.get(sample.name)
      if (sample.name !== current || family === undefined) throw new Error(`a sample of ${sample.name} stands among those of ${current}`)
      const identity = `${sample.name} ${JSON.stringify(Object.entries(sample.labels).sort())}`
      if (series.has(identity)) throw new Error(`${identity} comes twice`)
      series.add(identity)
      family.samples.push({ labels: sample.labels, value: sample.value })
    }
  }
  return families
}

function parseSample(line: string): Sample & { name: string } {
  const name = NAME.exec(line)?.[0] ?? fail(line)
  let at = name.length
  const labels: Record<string, string> = {}
  if (line[at] === '{') {
    at += 1
    while (line[at] !== '}') {
      const [whole, label = ''] = /^([a-zA-Z_][a-zA-Z0-9_]*)="/.exec(line.slice(at)) ?? fail(line)
      at += whole.length
      let value = ''
      for (; line[at] !== '"'; at += 1) {
        if (at >= line.length) fail(line)
        if (line[at] !== '\\') value += line[at]
        else {
          at += 1
          value += { n: '\n', '\\': '\\', '"': '"' }[line[at] ?? ''] ?? fail(line)
        }
      }
      at += 1
      if (label in labels) fail(line)
      labels[label] = value
      if (line[at] === ',') at += 1
      else if (line[at] !== '}') fail(line)
    }
    at += 1
  }
  const number = /^ (NaN|[+-]Inf|[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(line.slice(at))?.[1] ?? fail(line)
  return { name, labels, value: number.endsWith('Inf') ? Number(number.replace('Inf', 'Infinity')) : Number(number) }
}

function fail(line: string): never {
  throw new Error(`no sample: ${line}`)
}
