/**
 * The policies that have a name: which paths a connection should have, given the addresses of both ends. Each is a function of
 * what it sees and of what it tried. Called by the runner, which keeps them from storms and mistakes.
 * Never touches a path whose address is there because it likes another better: paths that the application opened stay.
 */
import type { PathSpec } from '../../config/index.ts'
import type { Path } from '../path.ts'
import { byLikelihood, hostOf, isLoopback, isUnspecified, places } from './reach.ts'
import type { Place } from './reach.ts'
import type { PathAction, PathPolicy, PathPolicyName, PathPolicyView } from './types.ts'

/** `happy-eyeballs`: one more candidate every so often (RFC 8305 §5). */
export const ATTEMPT_GAP_MS = 250
/** A candidate that does not open in this time is left for the next one; so long does an open take at most. */
const TRIED_MS = 5000
/** Probe timeouts in a row after which the only path counts as silent. */
export const SILENT_PTOS = 2

/** A policy for one connection; null for `manual`. */
export function policyNamed(name: PathPolicyName): PathPolicy | null {
  switch (name) {
    case 'manual': return null
    case 'all-interfaces': return new AllInterfaces()
    case 'backup': return new Backup()
    case 'happy-eyeballs': return new HappyEyeballs()
  }
}

/** One path an interface: opened where none is, abandoned where the address has gone. */
class AllInterfaces implements PathPolicy {
  readonly name: PathPolicyName = 'all-interfaces'
  /** By device: which of its candidates is asked for, and since when. */
  readonly #turns = new Map<string, { turn: number; sinceMs: number }>()

  decide(view: PathPolicyView): PathAction[] {
    return this.pathsFor(view, {})
  }

  protected pathsFor(view: PathPolicyView, more: PathSpec): PathAction[] {
    const taken = new Set(view.paths.map((path) => hostOf(path.local)))
    const opens = byDevice(places(view), view).flatMap(([device, own]): PathAction[] => {
      if (own.some(({ local }) => taken.has(local))) {
        this.#turns.delete(device)
        return []
      }
      const { name, local, remote } = own[this.#turn(device, view.nowMs) % own.length] ?? own[0]
      return [{ do: 'open', spec: { local, remote, interface: name, ...more } }]
    })
    const gone = view.paths.filter((path) => path.facts.state !== 'abandoning' && !isThere(path, view))
    return [...opens, ...gone.map(({ id }): PathAction => ({ do: 'abandon', path: id }))]
  }

  #turn(device: string, nowMs: number): number {
    const known = this.#turns.get(device) ?? { turn: 0, sinceMs: nowMs }
    const now = nowMs - known.sinceMs < TRIED_MS ? known : { turn: known.turn + 1, sinceMs: nowMs }
    this.#turns.set(device, now)
    return now.turn
  }
}

/** As `all-interfaces`; one path is available, the others wait as backups. */
class Backup extends AllInterfaces {
  override readonly name = 'backup'

  override decide(view: PathPolicyView): PathAction[] {
    return [...this.pathsFor(view, { status: 'backup' }), ...statuses(view)]
  }
}

function statuses(view: PathPolicyView): PathAction[] {
  const open = view.paths.filter((path) => path.facts.state === 'open').sort((a, b) => a.id - b.id)
  const there = open.filter((path) => isThere(path, view))
  const usable = there.length > 0 ? there : open
  const available = usable.filter((path) => path.facts.status === 'available')
  // One that is only suspect stays the first: the scheduler takes backups by itself until it answers.
  const primary = available.find((path) => !path.facts.suspect) ?? available[0] ?? usable.find((path) => !path.facts.suspect) ?? usable[0]
  return usable.flatMap((path): PathAction[] => {
    const status = path === primary ? 'available' : 'backup'
    return path.facts.status === status ? [] : [{ do: 'status', path: path.id, status }]
  })
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

/** Candidates by device: in the family of the first path before the other, the likelier before the less likely. */
function byDevice(all: readonly Place[], view: PathPolicyView): [string, [Place, ...Place[]]][] {
  const family = familyOf(view)
  const devices = new Map<string, [Place, ...Place[]]>()
  for (const place of [...all].sort((a, b) => Number(b.family === family) - Number(a.family === family) || byLikelihood(a, b))) {
    const known = devices.get(place.name)
    if (known === undefined) devices.set(place.name, [place])
    else known.push(place)
  }
  return [...devices]
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
