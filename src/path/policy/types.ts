/** What a path policy sees and what it answers (api 2.5). Types only. */
import type { PathSpec, PathStatus } from '../../config/index.ts'
import type { Path } from '../path.ts'

export type PathPolicyName = 'manual' | 'all-interfaces' | 'backup' | 'happy-eyeballs'

/** One address of this host. */
export interface InterfaceAddress {
  /** of the device, e.g. 'eth0' */
  name: string
  /** IP without port and without scope */
  address: string
  /** false: the device is known and cannot send */
  up: boolean
}

/** What a policy decides by. Nothing in it changes during the call, except the numbers that paths read live. */
export interface PathPolicyView {
  /** on the endpoint's clock */
  nowMs: number
  /** all addresses of the host, loopback and link-local ones too */
  interfaces: readonly InterfaceAddress[]
  /** of the server: the one in use first, then the others that `connect` was given or found */
  remotes: readonly string[]
  /** not abandoned */
  paths: readonly Path[]
}

export type PathAction =
  | { do: 'open'; spec: PathSpec }
  | { do: 'abandon'; path: number }
  | { do: 'status'; path: number; status: PathStatus }

/**
 * Called when the handshake is confirmed, when an interface or a path changes, and every 5 s (every 250 ms while a path that it asked
 * for is being opened); at most 10 times a second. A throw, or an answer that is no list of actions, changes nothing.
 */
export interface PathPolicy {
  name: string
  decide(view: PathPolicyView): readonly PathAction[]
}
