/** Options of relays: types, ranges, names. A schema's message reads after "allowed: ". */
import * as v from 'valibot'
import { check, parseAddress } from '../config/index.ts'
import type { RelayOptions } from './types.ts'

const ADDRESS = "an address like '0.0.0.0:4434' or '[2001:db8::1]:4434'"
const address = v.pipe(v.string(ADDRESS), v.check((value) => parseAddress(value) !== null, ADDRESS))
const within = (min: number, max: number, unit: string) => {
  const allowed = `a number of ${unit} from ${min} to ${max}`
  return v.pipe(v.number(allowed), v.minValue(min, allowed), v.maxValue(max, allowed))
}

const relay = v.strictObject({
  listen: v.optional(address),
  tls: v.custom<object>((value) => typeof value === 'object' && value !== null, 'TLS options with `cert` and `key`'),
  authorize: v.custom<RelayOptions['authorize']>((value) => typeof value === 'function', 'a function that throws for who may not register'),
  alternate: v.optional(address),
  rateBitsPerSecPerClient: v.optional(within(8000, 1e12, 'bits per second')),
  registrationMs: v.optional(within(1000, 600_000, 'milliseconds')),
  allowPrivateTargets: v.optional(v.boolean('true or false')),
}, 'an object { listen, tls, authorize, alternate, rateBitsPerSecPerClient, registrationMs, allowPrivateTargets }')

/** `tls` is checked with the server's options. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkRelayOptions(value: unknown): RelayOptions {
  return check(relay, value, '') as RelayOptions
}
