/** What carries reverse connections: QUIC, or HTTP/2 over TCP as HAProxy's `rhttp@` speaks it. */
import { usageError } from '../exit.ts'
import type { ObserveValues } from '../options.ts'
import type { RelayTrustValues } from '../relay/index.ts'

export const PROTOS = ['quic', 'h2-haproxy'] as const
export type Proto = (typeof PROTOS)[number]
export const PROTO_HELP = "quic, or h2-haproxy: HTTP/2 over TCP with HAProxy's rhttp@"
export const PLAIN_HELP = 'h2-haproxy: TCP without TLS, which proves nobody to anybody'

/** Options of either end that are about QUIC. */
export function lackingOfHaproxy(values: ObserveValues & RelayTrustValues): Record<string, unknown> {
  const { qlog, keylog, metrics, token, relayPin, relayCa } = values
  return { '--qlog': qlog, '--keylog': keylog, '--metrics': metrics, '--token': token, '--relay-pin': relayPin, '--relay-ca': relayCa }
}

/** @throws a usage error for the first of these options that was given */
export function lacks(proto: Proto, options: Record<string, unknown>): void {
  const found = Object.entries(options).find(([, value]) => value !== undefined)
  if (found !== undefined) throw usageError(`--proto ${proto} has no ${found[0]}; leave it out`)
}
