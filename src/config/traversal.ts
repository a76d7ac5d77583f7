/** The option `traversal`: its schema, and what the engine gets of it (api 2.8). */
import * as v from 'valibot'
import type { NativeTraversal } from '../binding/index.ts'
import type { PunchStrategy, TraversalOptions } from '../nat/index.ts'
import { splitPort } from './address.ts'
import { invalidOption } from './check.ts'

/** Of one list. */
const MAX_SERVERS = 8
/** What a relay reads of a token. */
export const MAX_TOKEN_BYTES = 1024
/** Bounds of traversal T-97 and attacks L22. */
const PROBES = { plain: 80, search: 1000 }
const ROUNDS = 5

const SERVERS = `a list of at most ${MAX_SERVERS} 'name:port'`
const server = v.pipe(v.string(SERVERS), v.check((value) => (splitPort(value)?.port ?? 0) > 0, SERVERS))
const servers = () => v.pipe(v.array(server, SERVERS), v.maxLength(MAX_SERVERS, SERVERS))
const names = <const T extends readonly string[]>(list: T) => v.picklist(list, list.map((name) => `'${name}'`).join(', '))
const SOURCES = names(['host', 'stun', 'observed', 'relay', 'port-mapping'])
const count = (max: number) => {
  const allowed = `a whole number from 1 to ${max}: bounds may only be lowered`
  return v.pipe(v.number(allowed), v.integer(allowed), v.minValue(1, allowed), v.maxValue(max, allowed))
}
const TOKEN = `a Uint8Array of at most ${MAX_TOKEN_BYTES} bytes`
const strict = <const T extends v.ObjectEntries>(entries: T, message: string) => v.strictObject(Object.assign(Object.create(null), entries) as T, message)

/** `tls`: the schema of TLS options. */
export const traversalSchema = (tls: v.GenericSchema): v.GenericSchema<unknown, TraversalOptions> => strict({
  profile: v.optional(names(['braid', 'dquic'])),
  relays: v.optional(servers()),
  relayToken: v.optional(v.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length <= MAX_TOKEN_BYTES, TOKEN)),
  relayTls: v.optional(tls),
  stun: v.optional(servers()),
  sources: v.optional(v.pipe(v.array(SOURCES, 'a list of sources'), v.check((list) => new Set(list).size === list.length, 'each source once'))),
  auto: v.optional(v.boolean('true or false')),
  strategy: v.optional(v.custom<PunchStrategy>((value) => typeof value === 'function', 'a function')),
  portSearch: v.optional(v.boolean('true or false')),
  privateTargets: v.optional(names(['never', 'same-site', 'always'])),
  budget: v.optional(strict({ probesPer60s: v.optional(count(PROBES.search)), roundsPer60s: v.optional(count(ROUNDS)) }, 'an object { probesPer60s, roundsPer60s }')),
}, 'false, or an object of traversal options') as v.GenericSchema<unknown, TraversalOptions>

/** What single fields cannot tell. @throws QB_OPTION_INVALID */
export function checkTraversal(options: TraversalOptions, field: string): void {
  const probes = options.budget?.probesPer60s ?? 0
  if (options.portSearch !== true && probes > PROBES.plain) throw invalidOption(`${field}.budget.probesPer60s`, probes, `at most ${PROBES.plain} without portSearch: bounds may only be lowered`)
}

/** What the engine decides by. Servers are names as they were given. */
export function nativeTraversal(options: TraversalOptions): NativeTraversal {
  const { profile = 'braid', auto = true, portSearch = false, privateTargets = 'same-site', budget = {}, strategy } = options
  return { profile, auto, portSearch, privateTargets, ...budget, stun: [...stunServers(options)], stunForm: 'rfc5780', ownStrategy: strategy !== undefined }
}

/** Who tells us our addresses. */
export function stunServers({ stun, relays = [] }: TraversalOptions): readonly string[] {
  return stun ?? relays
}
