/** Who has which addresses, of one connection (traversal §6): what the engine told, and what is announced by hand. The engine numbers, pairs and bounds. */
import type { NativeAnnounced, NativePunchAddress, NativePunchEvent } from '../binding/index.ts'
import { familyOf, formatAddress, invalidOption, parseAddress } from '../config/index.ts'
import type { Observable } from '../config/index.ts'
import { ServiceError } from '../errors/index.ts'
import type { NatFeeds } from './observe.ts'
import { tellIfAlive } from './part.ts'
import type { NatPart } from './part.ts'
import type { Address, AddressBook, NatKind } from './types.ts'

/** An address of ours to tell. */
export interface Candidate {
  /** The bound socket. */
  local: string
  address: string
  kind: 'host' | 'mapped' | 'relayed'
  relay: string | null
  tier: number
  nat: NatKind
  portStep: number | null
}

export type Refusal = Extract<NativeAnnounced, { refused: string }>['refused']

const NATS: readonly unknown[] = ['blocked', 'full-cone', 'restricted-cone', 'restricted-port', 'symmetric', 'dynamic'] satisfies NatKind[]
const MAX_TIER = 2 ** 32 - 1

export class PunchBook implements AddressBook {
  readonly #part: NatPart
  readonly #feeds: NatFeeds
  /** Throws where traversal is not on. */
  readonly #check: () => void
  readonly #sides = { local: new Map<number, Address>(), remote: new Map<number, Address>() }

  constructor(part: NatPart, feeds: NatFeeds, check: () => void) {
    this.#part = part
    this.#feeds = feeds
    this.#check = check
  }

  get local$(): Observable<readonly Address[]> {
    return this.#feeds.local$
  }

  get remote$(): Observable<readonly Address[]> {
    return this.#feeds.remote$
  }

  remote(seq: number): Address | undefined {
    return this.#sides.remote.get(seq)
  }

  local(seq: number): Address | undefined {
    return this.#sides.local.get(seq)
  }

  get remotes(): readonly Address[] {
    return [...this.#sides.remote.values()]
  }

  announce(address: string, options: { tier?: number; nat?: NatKind } = {}): Address {
    const { tier = 0, nat = 'full-cone' } = options
    const parsed = typeof address === 'string' ? parseAddress(address) : null
    if (parsed === null || parsed.port === 0) throw invalidOption('address', address, 'an address with a port')
    if (!Number.isInteger(tier) || tier < 0 || tier > MAX_TIER) throw invalidOption('tier', tier, `a whole number from 0 to ${MAX_TIER}`)
    if (!NATS.includes(nat)) throw invalidOption('nat', nat, NATS.map((name) => `'${String(name)}'`).join(', '))
    this.#check()
    const text = formatAddress(parsed)
    const bound = this.#part.engine.local().filter((local) => familyOf(local) === parsed.family)
    const local = bound.find((one) => one === text) ?? bound[0]
    if (local === undefined) throw invalidOption('address', address, `an address of the family of a bound socket (${this.#part.engine.local().join(', ')})`)
    const candidate: Candidate = { local, address: text, kind: bound.includes(text) ? 'host' : 'mapped', relay: null, tier, nat, portStep: null }
    const answer = this.tell(candidate)
    if ('refused' in answer) throw refusedError(text, answer.refused)
    return { kind: candidate.kind, address: text, relay: null, tier, nat, seq: answer.seq }
  }

  withdraw(seq: number): void {
    if (!Number.isSafeInteger(seq) || seq < 0) throw invalidOption('seq', seq, "an address's seq")
    this.#check()
    this.#part.engine.tell(this.#part.key, { do: 'withdraw', seq })
  }

  /** As `withdraw`, of what was told by itself; too late is no error. */
  untell(seq: number): void {
    tellIfAlive(this.#part, { do: 'withdraw', seq })
  }

  /** Its number, or why it is not told. */
  tell({ local, address, kind, relay, tier, nat, portStep }: Candidate): NativeAnnounced {
    try {
      return this.#part.engine.ask(this.#part.key, { ask: 'announce', local, address, kind, relay, tier, nat, portStep }) as NativeAnnounced
    } catch {
      // The engine knows of an end that is not told yet.
      return { refused: 'off' }
    }
  }

  onEvent({ side, change, address, atMs }: Extract<NativePunchEvent, { type: 'punch-address' }>): void {
    const known = this.#sides[side]
    const shown = publicAddress(address)
    if (change === 'removed') known.delete(address.seq)
    else known.set(address.seq, shown)
    this.#feeds.addresses(side, [...known.values()])
    this.#feeds.emit({ atMs, type: 'address', change, side, address: shown })
  }
}

export function publicAddress({ kind, address, relay, tier, nat, seq }: NativePunchAddress): Address {
  return { kind, address, relay, tier, nat, seq }
}

function refusedError(address: string, why: Refusal): Error {
  switch (why) {
    case 'private': return new ServiceError('QB_PUNCH_FORBIDDEN', `${address} is of private scope and the peer is not of this site; privateTargets: 'always' tells it all the same`, { value: address })
    case 'full': return new ServiceError('QB_PUNCH_BUDGET', `${address} is not told: as many addresses are as the peer keeps; withdraw one`, { value: address })
    case 'off': return new ServiceError('QB_TRAVERSAL_OFF', `${address} is not told: traversal is off; give the option \`traversal\` to connect and to the server`)
    default: return invalidOption('address', address, 'an address that is not told yet, of a bound socket')
  }
}
