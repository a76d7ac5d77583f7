/** From what `connect` was given to addresses of one server, and the name to check. Names are looked up here (`Habitat.lookup`), nowhere else. */
import { checkFamily, familyOf, formatAddress, invalidOption, parseAddress, parseRelayed, splitPort, waitFor } from '../config/index.ts'
import type { ConnectionOptions } from '../config/index.ts'
import { ConnectionError } from '../errors/index.ts'
import type { Blocking } from './blocking.ts'
import type { Habitat, HostAddress } from './habitat.ts'

export interface Target {
  /** `ip:port`, best first. */
  remotes: readonly string[]
  /** The host of `remote`, for SNI unless the options name another. */
  host: string
}

const ALLOWED = "'name:port', an address with a port like '192.0.2.7:4433' or '[2001:db8::1]:4433', a peer behind a relay like '203.0.113.1:4434-198.51.100.7:5000', or a list of such addresses of one server"

/** @throws QB_OPTION_INVALID QB_RESOLVE_FAILED, the abort reason */
export async function resolveTarget(remote: unknown, options: ConnectionOptions, signal: AbortSignal | undefined, habitat: Habitat): Promise<Target> {
  const list: unknown[] = Array.isArray(remote) ? remote : [remote]
  if (list.length === 0 || list.length > 16) throw invalidOption('remote', remote, ALLOWED)
  const asked = list.map((item) => {
    const relayed = typeof item === 'string' ? parseRelayed(item) : null
    const split = relayed === null && typeof item === 'string' ? splitPort(item) : relayed && { ...relayed.relay, outer: relayed.outer }
    if (split === null || split.port === 0) throw invalidOption('remote', item, ALLOWED)
    return 'outer' in split ? split : { ...split, outer: null }
  })
  const found: string[] = []
  for (const { host, port, outer } of asked) {
    const addresses = await addressesOf(host, port, signal, habitat)
    // Of a relay the first address of the peer's family: it knows the peer by that one.
    if (outer === null) found.push(...addresses)
    else found.push(...addresses.filter((address) => parseAddress(address)?.family === outer.family).slice(0, 1).map((relay) => `${relay}-${formatAddress(outer)}`))
  }
  const remotes = [...new Set(found)]
  checkPaths(options, remotes)
  return { remotes: withFamilyOf(options, remotes), host: asked[0]?.outer?.host ?? asked[0]?.host ?? '' }
}

/** Without the addresses that are not heard. @throws QB_NO_PATH if none is left */
export function allowed(target: Target, blocking: Pick<Blocking, 'has'> | null): Target {
  if (blocking === null) return target
  const remotes = target.remotes.filter((remote) => !blocking.has((parseAddress(remote) ?? parseRelayed(remote)?.outer)?.host ?? ''))
  if (remotes.length === 0 && target.remotes.length > 0) throw new ConnectionError('QB_NO_PATH', `no address of ${target.host} may be heard (${target.remotes.join(', ')}); blockList names them all`, { value: target.remotes })
  return { ...target, remotes }
}

async function addressesOf(host: string, port: number, signal: AbortSignal | undefined, habitat: Habitat): Promise<string[]> {
  const known = parseAddress(host)
  if (known !== null) return [formatAddress({ ...known, port })]
  const answers = await waitFor<readonly HostAddress[]>(signal, (settle) => {
    habitat.lookup(host).then(settle.resolve, (error: NodeJS.ErrnoException) => {
      const code = error.code ?? 'unknown'
      settle.reject(new ConnectionError('QB_RESOLVE_FAILED', `the name ${host} could not be resolved (${code}); check the name or pass an address`, { cause: error }))
    })
    return () => {}
  })
  return answers.map(({ address, family }) => formatAddress({ host: address, port, family: family === 6 ? 6 : 4 }))
}

/** Each path's own address needs a remote of its family. */
function checkPaths(options: ConnectionOptions, remotes: readonly string[]): void {
  options.paths?.forEach((spec, index) => {
    if (spec.remote !== undefined || spec.local === undefined) return
    const family = parseAddress(spec.local)?.family
    if (!remotes.some((remote) => familyOf(remote) === family)) checkFamily(spec, remotes[0], `paths[${index}]`)
  })
}

/** Remotes that some path can reach: when all paths name a local address of one family, only those of that family. */
function withFamilyOf(options: ConnectionOptions, remotes: readonly string[]): readonly string[] {
  const families = new Set((options.paths ?? [{}]).map((spec) => (spec.local === undefined ? null : (parseAddress(spec.local)?.family ?? null))))
  if (families.has(null)) return remotes
  return remotes.filter((remote) => families.has(familyOf(remote)))
}
