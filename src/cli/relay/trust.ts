/** Trust in a relay and what it wants to see, for commands that register with one. */
import type { Command } from 'commander'
import type { ConnectionOptions, TlsOptions } from '../../index.ts'
import { parsePin, readCertificates } from '../identity.ts'
import { parsed } from '../options.ts'

export interface RelayTrustValues {
  token?: string
  relayPin?: string
  relayCa?: string
}

/** `otherwise`: whose trust counts where the relay has none of its own. */
export function addRelayTrust(command: Command, otherwise: string): Command {
  return command
    .option('--token <text>', 'what the relay wants to see')
    .option('--relay-pin <pin>', `trust this key of the relay, if the peer is trusted otherwise (${otherwise})`, parsed(parsePin))
    .option('--relay-ca <file>', 'the same by a trust anchor in PEM')
}

/** Trust in the relay: its own, or that in the peer. */
export async function relayTrust({ relayCa, relayPin }: RelayTrustValues, { ca, pins, verify, cert, key }: ConnectionOptions): Promise<TlsOptions> {
  const own = { ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) }
  if (relayCa !== undefined || relayPin !== undefined) return { ...own, ...(relayCa === undefined ? {} : { ca: await readCertificates('--relay-ca', relayCa) }), ...(relayPin === undefined ? {} : { pins: [relayPin] }) }
  return { ...own, ...(ca === undefined ? {} : { ca }), ...(pins === undefined ? {} : { pins }), ...(verify === undefined ? {} : { verify }) }
}

/** As the library takes it. */
export function relayToken(values: RelayTrustValues): Uint8Array | undefined {
  return values.token === undefined ? undefined : new TextEncoder().encode(values.token)
}
