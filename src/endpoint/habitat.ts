/**
 * What an endpoint takes from where it lives: time, randomness, names of hosts. Of the process, unless it lives in a simulated world, where
 * all of it follows from the world's seed and clock.
 */
import { randomBytes } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { networkInterfaces } from 'node:os'
import { REAL_TIME, backgroundClock } from '../config/index.ts'
import type { Clock, Timing } from '../config/index.ts'
import { systemPortMapper } from '../nat/index.ts'
import type { PortMapper } from '../nat/index.ts'
import { systemInterfaces } from '../path/index.ts'
import type { InterfaceSource } from '../path/index.ts'

export interface HostAddress {
  address: string
  family: number
}

export interface Habitat {
  readonly driver: 'native' | 'carrier' | 'sim'
  readonly timing: Timing
  /** For work in the background: nothing waits for its timers. */
  readonly clock: Clock
  /** The addresses of this host. */
  readonly interfaces: InterfaceSource
  /** So many random bytes, for names. */
  random(bytes: number): Uint8Array
  /** Every address of a host name, best first; rejects with an error that has a `code`. */
  lookup(host: string): Promise<readonly HostAddress[]>
  /** Takes every qlog beside the endpoint's own sink: name, line feed, whole records. Null: nobody does. */
  readonly onQlog: ((piece: string) => void) | null
  /** Networks of this host's interfaces, like `10.0.0.0/24`. */
  networks(): readonly string[]
  /** Networks that everybody reaches here although the Internet does not. */
  readonly publicNetworks: readonly string[]
  /** Who asks the gateway of this host for ports; null: there is none. Rejects without the package it needs. */
  readonly portMapper: (() => Promise<PortMapper>) | null
  /** No datagram is longer. */
  readonly maxDatagramBytes: number
}

/** The part of it that path policies see. */
export type World = Pick<Habitat, 'interfaces' | 'clock'>

export const PROCESS: Habitat = {
  driver: 'native',
  timing: REAL_TIME,
  clock: backgroundClock,
  interfaces: systemInterfaces,
  random: (bytes) => randomBytes(bytes),
  lookup: (host) => lookup(host, { all: true, verbatim: true }),
  onQlog: null,
  networks: () => Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).flatMap(({ cidr, internal }) => (cidr === null || internal ? [] : [cidr]))),
  publicNetworks: [],
  portMapper: () => systemPortMapper(),
  maxDatagramBytes: 65_507,
}
