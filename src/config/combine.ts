/** Checks of options against each other: what single fields cannot tell. Each names the field to change. */
import { familyOf, parseAddress } from './address.ts'
import { invalidOption } from './check.ts'
import type { ConnectionOptions, Limits, PathSpec, ServerOptions } from './options.ts'
import { schedulerChoice } from './scheduler.ts'
import { checkTraversal } from './traversal.ts'

/** @throws QB_OPTION_INVALID */
export function checkCombinations(options: ConnectionOptions | ServerOptions, field: string): void {
  const at = (name: string): string => (field === '' ? name : `${field}.${name}`)
  if ((options.cert === undefined) !== (options.key === undefined)) {
    const missing = options.cert === undefined ? 'cert' : 'key'
    throw invalidOption(at(missing), undefined, '`cert` and `key` together, or neither')
  }
  if (options.limits?.connectionIdBytes === 0 && options.multipath !== 'off') {
    throw invalidOption(at('limits.connectionIdBytes'), 0, '8 to 20 (multipath needs connection ids)')
  }
  const first = 'firstVersion' in options ? options.firstVersion : undefined
  if (first !== undefined && first !== 'reserved' && options.versions?.includes(first) === false) throw invalidOption(at('firstVersion'), first, "one of `versions`, or 'reserved'")
  checkWindows(options.limits ?? {}, at)
  if (options.scheduler !== undefined) schedulerChoice(options.scheduler, at('scheduler'))
  const paths = 'paths' in options ? (options.paths ?? []) : []
  paths.forEach((spec, index) => checkFamily(spec, undefined, at(`paths[${index}]`)))
  if (typeof options.traversal === 'object') checkTraversal(options.traversal, at('traversal'))
  const maxPaths = options.maxPaths ?? 8
  if (paths.length > maxPaths) throw invalidOption(at('paths'), paths, `at most maxPaths (${maxPaths}) entries`)
}

function checkWindows(limits: Limits, at: (name: string) => string): void {
  const pairs = [['streamWindowBytes', 'maxStreamWindowBytes'], ['connectionWindowBytes', 'maxConnectionWindowBytes'], ['initialMtuBytes', 'maxMtuBytes'], ['sendBufferBytes', 'connectionSendBufferBytes']] as const
  for (const [low, high] of pairs) {
    const [first, most] = [limits[low], limits[high]]
    if (first !== undefined && most !== undefined && first > most) throw invalidOption(at(`limits.${low}`), first, `at most limits.${high} (${most})`)
  }
}

/** All addresses of one path have one family. `remote`: the connection's, for specs that name none. @throws QB_OPTION_INVALID */
export function checkFamily(spec: PathSpec, remote: string | undefined, field: string): void {
  const local = spec.local === undefined ? null : parseAddress(spec.local)
  const target = spec.remote ?? remote
  const far = target === undefined ? null : familyOf(target)
  if (spec.remote !== undefined && parseAddress(spec.remote)?.port === 0) throw invalidOption(`${field}.remote`, spec.remote, 'an address with a port')
  if (local !== null && far !== null && local.family !== far) {
    throw invalidOption(`${field}.local`, spec.local, `an IPv${far} address: its remote is ${target} and all addresses of one path have one family`)
  }
}
