/**
 * Who may go where at a server (attacks H1): a list of host and ports, and nothing else. What a client asks for is compared with it as text; what is
 * dialled are addresses of the list, or those that its own names have. A name is looked up once a dial, each address that comes out is
 * looked at, and one of those is dialled: nothing is looked up a second time. What a name was at the start bounds what it may become: a public name
 * never leads inside, and none leads to link-local addresses.
 */
import { isIP } from 'node:net'
import { CommandError, Exit } from '../exit.ts'
import { canonicalIp, scopeOf } from './scope.ts'
import type { Scope } from './scope.ts'
import { join } from './specs.ts'
import type { Allowed, HostPort } from './specs.ts'

/** All addresses of a name, as IPs. */
export type Lookup = (name: string) => Promise<readonly string[]>

/** Why somebody gets nowhere. */
export type Denial = 'not allowed' | 'name leads elsewhere' | 'name not found'

/** The larger, the further out. */
const REACH: Readonly<Record<Scope, number>> = { special: 0, 'link-local': 0, loopback: 1, private: 2, public: 3 }

interface Entry extends Allowed {
  /** Of a name: the innermost of its addresses at the start; null for an IP. */
  scope: Scope | null
}

export class AllowList {
  readonly #entries: readonly Entry[]
  readonly #lookup: Lookup

  private constructor(entries: readonly Entry[], lookup: Lookup) {
    this.#entries = entries
    this.#lookup = lookup
  }

  /** Looks its names up. @throws CommandError for names that are not found, or that lead where no name may */
  static async of(allowed: readonly Allowed[], lookup: Lookup): Promise<AllowList> {
    const names = [...new Set(allowed.map(({ host }) => keyOf(host)).filter((host) => isIP(host) === 0))]
    const scopes = new Map(await Promise.all(names.map(async (name) => [name, await innermost(name, lookup)] as const)))
    return new AllowList(allowed.map((one) => ({ ...one, host: keyOf(one.host), scope: scopes.get(keyOf(one.host)) ?? null })), lookup)
  }

  /** For people, and as what a connection that names its targets later is answered. */
  get specs(): readonly string[] {
    return this.#entries.map(({ spec }) => spec)
  }

  /** The address to dial. Host null: the client names none, so the one entry with that port. */
  async target({ protocol, host, port }: { protocol: 'tcp' | 'udp'; host: string | null; port: number }): Promise<{ address: string } | Denial> {
    const asked = host === null ? null : keyOf(host)
    const [entry, another] = this.#entries.filter((one) => one.kind === protocol && port >= one.first && port <= one.last && (asked === null || asked === one.host))
    if (entry === undefined || (asked === null && another !== undefined && another.host !== entry.host)) return 'not allowed'
    if (entry.scope === null) return { address: join({ host: entry.host, port }) }
    let found: readonly string[]
    try {
      found = await this.#lookup(entry.host)
    } catch {
      return 'name not found'
    }
    const least = REACH[entry.scope]
    const good = found.map(canonicalIp).find((ip) => ip !== null && REACH[scopeOf(ip)] >= least)
    return good === null || good === undefined ? (found.length === 0 ? 'name not found' : 'name leads elsewhere') : { address: join({ host: good, port }) }
  }
}

/** Names without case and last dot; IPs in their one spelling. */
function keyOf(host: string): string {
  return canonicalIp(host) ?? host.toLowerCase().replace(/\.$/, '')
}

async function innermost(name: string, lookup: Lookup): Promise<Scope> {
  let found: readonly string[]
  try {
    found = await lookup(name)
  } catch (error) {
    throw new CommandError('QB_RESOLVE_FAILED', Exit.LOCAL, `--allow: the name ${name} cannot be resolved (${(error as NodeJS.ErrnoException).code ?? 'unknown'}); check it, or write an address`, { cause: error })
  }
  const scopes = found.map((ip) => scopeOf(ip)).sort((a, b) => REACH[a] - REACH[b])
  const [scope] = scopes
  if (scope === undefined || REACH[scope] === 0) throw new CommandError('QB_OPTION_INVALID', Exit.USAGE, `--allow: the name ${name} leads to ${found.join(', ') || 'no address'}; link-local and special addresses are allowed by address alone`)
  return scope
}

/** What is asked for, for people. */
export function askedName(asked: { host: string | null; port: number }): string {
  return asked.host === null ? `port ${asked.port}` : join(asked as HostPort)
}
