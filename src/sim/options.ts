/** Options of worlds, links and address translators: types and checks. What each field means stands in docs/spec/api.md §2.7. */
import { isIP } from 'node:net'
import * as v from 'valibot'
import type { NativeLinkShape, NativeNat } from '../binding/index.ts'
import { check } from '../config/index.ts'

export type LossModel =
  | number
  | { kind: 'gilbert-elliott'; goodToBad: number; badToGood: number; /** @default 0 */ lossGood?: number; /** @default 1 */ lossBad?: number }
  | { kind: 'list'; /** datagram numbers from 0, in each direction, since the link was made */ drop: readonly number[] }

/** Qualities of a link, or of one direction of it. */
export interface LinkShape {
  /** One way. @default 0 */
  delayMs?: number
  /** Up to this much is added to the delay of each datagram; the order stays. @default 0 */
  jitterMs?: number
  /** Of UDP payload. @default unlimited */
  rateBitsPerSec?: number
  /** Rate by time since the shape came into force: each holds until the next, the last as long as the one before it, then all over again. @default none */
  rateTrace?: readonly { atMs: number; bitsPerSec: number }[]
  /** @default taildrop, 100 ms of the rate */
  queue?: { kind: 'taildrop'; bytes: number } | { kind: 'codel'; /** @default 5 */ targetMs?: number; /** @default 100 */ intervalMs?: number; /** @default 1 s of the rate */ bytes?: number }
  /** @default 0 */
  loss?: LossModel
  /** Share of datagrams that arrive twice. @default 0 */
  duplicate?: number
  /** Share of datagrams with changed bytes. @default 0 */
  corrupt?: number
  /** Share delayed by `byMs`, so that later ones overtake. @default none */
  reorder?: { probability: number; byMs: number }
  /** UDP payload; longer ones vanish. @default 1472 */
  mtuBytes?: number
  /** CE instead of a drop, from half a queue on. @default false */
  ecnMark?: boolean
}

/** A link's shape, its name and the addresses of its ends. */
export interface LinkOptions extends LinkShape {
  /** @default `A-B` of the names of its ends */
  name?: string
  addressA?: string
  addressB?: string
}

export type Direction = 'both' | 'a-to-b' | 'b-to-a'

/** What an address translator is like (RFC 4787). */
export interface NatOptions {
  /** On what an outside port depends. @default 'endpoint-independent' */
  mapping?: 'endpoint-independent' | 'address' | 'address-port'
  /** Who may answer. @default 'address-port' */
  filtering?: 'endpoint-independent' | 'address' | 'address-port'
  /** Which outside port: the same, the next, any, or the next of the same parity. @default 'preserving' */
  ports?: 'preserving' | 'sequential' | 'random' | 'parity'
  /** Hosts inside reach each other by their outside addresses. @default false */
  hairpin?: boolean
  /** Life of a mapping that nothing leaves by. @default 120000 */
  timeoutMs?: number
  /** Another outside port towards a peer whose datagram came first. @default false */
  linux?: boolean
  /** Drops all UDP. @default false */
  blocked?: boolean
}

export interface WorldOptions {
  /** @default 1 */
  seed?: number
  /** Virtual time after which `run` fails. @default 600000 */
  limitMs?: number
  /** Keep datagrams for exports. @default false */
  record?: boolean
}

/** Entries without a prototype: whatever somebody put onto Object.prototype is no option name. */
const strict = <const T extends v.ObjectEntries>(entries: T, message?: string) => v.strictObject(Object.assign(Object.create(null), entries) as T, message)

const whole = (min: number, max: number) => {
  const allowed = `a whole number from ${min} to ${max}`
  return v.pipe(v.number(allowed), v.integer(allowed), v.minValue(min, allowed), v.maxValue(max, allowed))
}
const amount = (min: number, max: number, unit: string) => {
  const allowed = `a number${unit} from ${min} to ${max}`
  return v.pipe(v.number(allowed), v.minValue(min, allowed), v.maxValue(max, allowed))
}
const names = <const T extends readonly string[]>(list: T) => v.picklist(list, list.map((name) => `'${name}'`).join(', '))
const flag = () => v.boolean('true or false')
const text = (allowed: string) => v.pipe(v.string(allowed), v.minLength(1, allowed), v.maxLength(1024, allowed))
const share = () => amount(0, 1, '')
const milliseconds = () => amount(0, 86_400_000, ' of milliseconds')
const rate = () => amount(0, 1e12, ' of bits per second')
const bytes = () => whole(1, 2 ** 40)

const ADDRESS = "an IP address without a port, like '192.0.2.7' or '2001:db8::1'"
const address = () => v.pipe(v.string(ADDRESS), v.check((value) => isIP(value) !== 0, ADDRESS))

const LOSS = "a share from 0 to 1, { kind: 'gilbert-elliott', goodToBad, badToGood } or { kind: 'list', drop: [0, 7] }"
const loss = v.union([
  share(),
  strict({ kind: v.literal('gilbert-elliott'), goodToBad: share(), badToGood: share(), lossGood: v.optional(share()), lossBad: v.optional(share()) }),
  strict({ kind: v.literal('list'), drop: v.array(whole(0, Number.MAX_SAFE_INTEGER), LOSS) }),
], LOSS)

const QUEUE = "{ kind: 'taildrop', bytes } or { kind: 'codel' }"
const queue = v.union([
  strict({ kind: v.literal('taildrop'), bytes: bytes() }),
  strict({ kind: v.literal('codel'), targetMs: v.optional(milliseconds()), intervalMs: v.optional(milliseconds()), bytes: v.optional(bytes()) }),
], QUEUE)

const TRACE = 'a list of { atMs, bitsPerSec } with rising atMs'
const rateTrace = v.pipe(
  v.array(strict({ atMs: milliseconds(), bitsPerSec: rate() }), TRACE),
  v.minLength(1, TRACE),
  v.check((points) => points.every((point, index) => index === 0 || point.atMs > (points[index - 1]?.atMs ?? 0)), TRACE),
)

const shape = {
  delayMs: v.optional(milliseconds()), jitterMs: v.optional(milliseconds()), rateBitsPerSec: v.optional(rate()), rateTrace: v.optional(rateTrace), queue: v.optional(queue),
  loss: v.optional(loss), duplicate: v.optional(share()), corrupt: v.optional(share()), reorder: v.optional(strict({ probability: share(), byMs: milliseconds() })),
  mtuBytes: v.optional(whole(1, 65_535)), ecnMark: v.optional(flag()),
}

const SHAPE = strict(shape)
const LINK = strict({ ...shape, name: v.optional(text('a name')), addressA: v.optional(address()), addressB: v.optional(address()) })
const DEPENDENCE = names(['endpoint-independent', 'address', 'address-port'])
const NAT = strict({
  mapping: v.optional(DEPENDENCE), filtering: v.optional(DEPENDENCE), ports: v.optional(names(['preserving', 'sequential', 'random', 'parity'])),
  hairpin: v.optional(flag()), timeoutMs: v.optional(milliseconds()), linux: v.optional(flag()), blocked: v.optional(flag()),
})
const WORLD = strict({ seed: v.optional(whole(0, Number.MAX_SAFE_INTEGER)), limitMs: v.optional(amount(0, 1e9, ' of milliseconds')), record: v.optional(flag()) })
const DIRECTION = names(['both', 'a-to-b', 'b-to-a'])

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkShape(value: unknown): NativeLinkShape {
  return check(SHAPE, value ?? {}, '') as NativeLinkShape
}

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkLink(value: unknown): { shape: NativeLinkShape; name?: string; addressA?: string; addressB?: string } {
  const { name, addressA, addressB, ...rest } = check(LINK, value ?? {}, '') as LinkOptions
  return { shape: rest as NativeLinkShape, ...(name === undefined ? {} : { name }), ...(addressA === undefined ? {} : { addressA }), ...(addressB === undefined ? {} : { addressB }) }
}

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkWorld(value: unknown): Required<WorldOptions> {
  const { seed = 1, limitMs = 600_000, record = false } = check(WORLD, value ?? {}, '') as WorldOptions
  return { seed, limitMs, record }
}

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkNat(value: unknown): NativeNat {
  return check(NAT, value ?? {}, '') as NativeNat
}

/** @throws QB_OPTION_INVALID */
export function checkDirection(value: unknown): Direction {
  return check(DIRECTION, value ?? 'both', 'direction') as Direction
}

/** @throws QB_OPTION_INVALID */
export function checkAddress(value: unknown): string {
  return check(address(), value, 'address') as string
}
