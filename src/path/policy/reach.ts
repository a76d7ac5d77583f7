/**
 * Which address of ours can reach which address of the server, as far as addresses themselves tell: one family, loopback only to
 * loopback, link-local never (it means another device on every host). What routes really do, validation finds out. Pure.
 */
import { isIP, SocketAddress } from 'node:net'
import { parseAddress } from '../../config/index.ts'
import type { InterfaceAddress, PathPolicyView } from './types.ts'

/** One address pair a path could have. */
export interface Place {
  /** device of the local address */
  name: string
  /** IP without port */
  local: string
  /** with port */
  remote: string
  family: 4 | 6
}

type Kind = 'loopback' | 'link-local' | 'unspecified' | 'unique-local' | 'global'

/** The one spelling of an IP, without its scope; what is none stays as it is. */
export function canonicalHost(host: string): string {
  const [bare = ''] = host.split('%')
  return isIP(bare) === 6 ? new SocketAddress({ address: bare, family: 'ipv6' }).address : bare
}

/** The IP of `ip`, `ip:port` or `[ip]:port`, in its one spelling. */
export function hostOf(address: string): string {
  return canonicalHost(parseAddress(address)?.host ?? address)
}

/** Whether the text names every address instead of one. */
export function isUnspecified(host: string): boolean {
  return kindOf(host) === 'unspecified'
}

export function isLoopback(host: string): boolean {
  return kindOf(host) === 'loopback'
}

/** Whether datagrams from `local` (an IP) may reach `remote` (with or without port). */
export function reaches(local: string, remote: string): boolean {
  const [own, far] = [canonicalHost(local), hostOf(remote)]
  if (isIP(own) === 0 || isIP(own) !== isIP(far)) return false
  const [ours, theirs] = [kindOf(own), kindOf(far)]
  if (ours === 'link-local' || ours === 'unspecified') return false
  return (ours === 'loopback') === (theirs === 'loopback')
}

/** Every pair that could be a path: addresses that are up, each once, with each of the server's that it reaches. */
export function places(view: Pick<PathPolicyView, 'interfaces' | 'remotes'>): Place[] {
  const seen = new Set<string>()
  return view.interfaces.flatMap(({ name, address, up }: InterfaceAddress) => {
    const local = canonicalHost(address)
    if (!up || seen.has(local)) return []
    seen.add(local)
    const family = isIP(local)
    return family === 0 ? [] : view.remotes.filter((remote) => reaches(local, remote)).map((remote) => ({ name, local, remote, family: family as 4 | 6 }))
  })
}

/** Likeliest first: a unique-local address to a unique-local one, a global one to a global one (RFC 6724 §5). */
export function byLikelihood(a: Place, b: Place): number {
  return distance(a) - distance(b)
}

function distance({ local, remote }: Place): number {
  return (kindOf(local) === 'unique-local') === (kindOf(hostOf(remote)) === 'unique-local') ? 0 : 1
}

function kindOf(host: string): Kind {
  const text = canonicalHost(host).toLowerCase()
  if (text === '0.0.0.0' || text === '::') return 'unspecified'
  if (text === '::1' || text.startsWith('127.')) return 'loopback'
  if (/^fe[89ab]/.test(text) || text.startsWith('169.254.')) return 'link-local'
  return /^f[cd]/.test(text) && text.includes(':') ? 'unique-local' : 'global'
}
