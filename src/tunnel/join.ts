/**
 * Joins the two sides of a bridge: by the engine where it can take the TCP socket over (a socket of `node:net` on a system with descriptors, an
 * endpoint with a thread of its own), else by `Bridge`. Both keep the same rules (tunnel.md §6, §7).
 */
import { Bridge } from './bridge.ts'
import type { BridgeParts } from './bridge.ts'
import type { BridgeReason } from './codes.ts'
import { SplicedBridge } from './spliced.ts'
import { descriptorOf } from './takeover.ts'

/** What is joined. Nobody was told of it yet: whoever joined does, since who hears of it may end it at once. */
export interface Joined {
  /** Ends both sides by force; afterwards nothing happens. */
  abort(code: bigint, reason: BridgeReason): void
}

/** Whether the engine is asked; for tests, and for who suspects it. */
export const joining: { splices: boolean } = { splices: process.env['QUICBRAID_SPLICE'] !== '0' }

export function join(parts: BridgeParts): Joined {
  const descriptor = joining.splices ? descriptorOf(parts.socket) : null
  return (descriptor === null ? null : SplicedBridge.over(parts, descriptor)) ?? new Bridge(parts)
}
