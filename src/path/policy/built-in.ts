/**
 * The policies that have a name: which paths a connection should have, given the addresses of both ends. Each is a function of
 * what it sees; only `happy-eyeballs` remembers what it tried. Called by the runner, which keeps them from storms and mistakes.
 * Never touches a path whose address is there because it likes another better: paths that the application opened stay.
 */
import type { PathSpec } from '../../config/index.ts'
import type { Path } from '../path.ts'
import { byLikelihood, hostOf, isLoopback, isUnspecified, places } from './reach.ts'
import type { Place } from './reach.ts'
import type { PathAction, PathPolicy, PathPolicyName, PathPolicyView } from './types.ts'

/** `happy-eyeballs`: one more candidate every so often (RFC 8305 §5). */
export const ATTEMPT_GAP_MS = 250
/** `happy-eyeballs`: a candidate is left alone for so long after it was tried. */
const TRIED_MS = 5000
/** Probe timeouts in a row after which the only path counts as silent. */
export const SILENT_PTOS = 2

/** A policy for one connection; null for `manual`. */
export function policyNamed(name: PathPolicyName): PathPolicy | null {
  switch (name) {
    case 'manual': return null
    case 'all-interfaces': return { name, decide: (view) => allInterfaces(view, {}) }
    case 'backup': return { name, decide: backup }
    case 'happy-eyeballs': return new HappyEyeballs()
  }
}

/** One path an interface: opened where none is, abandoned where the address has gone. */
function allInterfaces(view: PathPolicyView, more: PathSpec): PathAction[] {
  const taken = new Set(view.paths.map((path) => hostOf(path.local)))
  const opens = wantedPlaces(view, taken).filter(({ local }) => !taken.has(local))
  return [
    ...opens.map(({ name, local, remote }): PathAction => ({ do: 'open', spec: { local, remote, interface: name, ...more } })),
    ...view.paths.filter((path) => path.facts.state !== 'abandoning' && !isThere(path, view)).map(({ id }): PathAction => ({ do: 'abandon', path: id })),
  ]
}

/** As `all-interfaces`; one path is available, the others wait as backups. */
function backup(view: PathPolicyView): PathAction[] {
  const open = view.paths.filter((path) => path.facts.state === 'open').sort((a, b) => a.id - b.id)
  const there = open.filter((path) => isThere(path, view))
  const usable = there.length > 0 ? there : open
  const available = usable.filter((path) => path.facts.status === 'available')
  // One that is only suspect stays the first: the scheduler takes backups by itself until it answers.
  const primary = available.find((path) => !path.facts.suspect) ?? available[0] ?? usable.find((path) => !path.facts.suspect) ?? usable[0]
  const statuses = usable.flatMap((path): PathAction[] => {
    const status = path === primary ? 'available' : 'backup'
    return path.facts.status === status ? [] : [{ do: 'status', path: path.id, status }]
  })
  return [...allInterfaces(view, { status: 'backup' }), ...statuses]
}

/** One path. When it is silent or its address has gone, candidates of both families are tried in turn; the first that is validated stays. */
class HappyEyeballs implements PathPolicy {
  readonly name = 'happy-eyeballs'
  readonly #triedAtMs = new Map<string, number>()
  #lastAtMs = -Infinity

  decide(view: PathPolicyView): PathAction[] {
    const [best, ...others] = view.paths.filter((path) => path.facts.state === 'open' && isThere(path, view) && !isSilent(path)).sort((a, b) => a.id - b.id)
    if (best === undefined) return this.#tryNext(view)
    this.#triedAtMs.clear()
    const late = view.paths.filter((path) => path !== best && path.facts.state !== 'abandoning' && !others.includes(path))
    return [...others, ...late].map(({ id }): PathAction => ({ do: 'abandon', path: id }))
  }

  #tryNext(view: PathPolicyView): PathAction[] {
    if (view.nowMs - this.#lastAtMs < ATTEMPT_GAP_MS) return []
    const taken = new Set(view.paths.map((path) => `${hostOf(path.local)} ${path.remote}`))
    const next = inTurn(places(view)).find((place) => !taken.has(nameOf(place)) && view.nowMs - (this.#triedAtMs.get(nameOf(place)) ?? -Infinity) >= TRIED_MS)
    if (next === undefined) return []
    this.#lastAtMs = view.nowMs
    this.#triedAtMs.set(nameOf(next), view.nowMs)
    return [{ do: 'open', spec: { local: next.local, remote: next.remote, interface: next.name } }]
  }
}

/** One place for each interface: where a path is already, else in the family of the first path, else the likeliest. */
function wantedPlaces(view: PathPolicyView, taken: ReadonlySet<string>): Place[] {
  const family = familyOf(view)
  return byDevice(places(view)).flatMap((own) => {
    const best = own.find(({ local }) => taken.has(local)) ?? own.filter((place) => place.family === family).sort(byLikelihood)[0] ?? own.sort(byLikelihood)[0]
    return best === undefined ? [] : [best]
  })
}

function byDevice(all: readonly Place[]): Place[][] {
  const devices = new Map<string, Place[]>()
  for (const place of all) devices.set(place.name, [...(devices.get(place.name) ?? []), place])
  return [...devices.values()]
}

/** Of the oldest path: the server is known to answer there. */
function familyOf(view: PathPolicyView): 4 | 6 {
  const [first] = [...view.paths].sort((a, b) => a.id - b.id)
  return (first?.remote ?? view.remotes[0] ?? '').startsWith('[') ? 6 : 4
}

/** The families take turns, IPv6 first; within one the likeliest first (RFC 8305 §4). */
function inTurn(all: readonly Place[]): Place[] {
  const [six, four] = ([6, 4] as const).map((family) => all.filter((place) => place.family === family).sort(byLikelihood))
  const longest = Math.max(six?.length ?? 0, four?.length ?? 0)
  return Array.from({ length: longest }, (_, index) => [six?.[index], four?.[index]]).flat().filter((place) => place !== undefined)
}

/**
 * Whether the path's own address is still one of this host. One that the system chose and that is not known yet counts as there, and so do
 * the loopback addresses, which systems do not list one by one.
 */
function isThere(path: Path, view: PathPolicyView): boolean {
  const local = hostOf(path.local)
  return isUnspecified(local) || isLoopback(local) || view.interfaces.some(({ address, up }) => up && address === local)
}

/** Suspect, or, with no other path to compare it with, without an answer for several probe timeouts. */
export function isSilent(path: Path): boolean {
  return path.facts.suspect || path.statistics().ptoCount >= SILENT_PTOS
}

function nameOf({ local, remote }: Place): string {
  return `${local} ${remote}`
}
