/** Expositions of several sources as one: what is said of a family stands once, and its rows together, as the text format wants it. Pure. */

export function merged(texts: readonly string[]): string {
  const families = new Map<string, { about: string[]; rows: string[] }>()
  let family = { about: [] as string[], rows: [] as string[] }
  for (const line of texts.join('').split('\n')) {
    const [, name] = /^# (?:HELP|TYPE) (\S+)/.exec(line) ?? []
    if (name !== undefined) {
      family = families.get(name) ?? { about: [], rows: [] }
      families.set(name, family)
      if (!family.about.includes(line)) family.about.push(line)
    } else if (line !== '') family.rows.push(line)
  }
  return [...families.values()].flatMap(({ about, rows }) => [...about, ...rows]).map((line) => `${line}\n`).join('')
}
