/** Registers an endpoint with a relay by hand: for servers, which wait to be dialled (traversal T-35). */
import { checkCall, checkTls, invalidOption, MAX_TOKEN_BYTES } from '../config/index.ts'
import type { TlsOptions, Waiting } from '../config/index.ts'
import type { Endpoint } from '../endpoint/index.ts'
import { agentOf } from '../nat/index.ts'
import type { Registration } from './types.ts'

/** Resolves when the relay has said yes; renews itself until it is stopped or the endpoint closes. Peers dial `address` (`RELAY-OUTER`). @throws QB_RELAY_REFUSED QB_CONNECT_TIMEOUT and what `connect` throws */
export async function registerRelay(endpoint: Endpoint, relay: string, options: { token?: Uint8Array; tls?: TlsOptions } & Waiting = {}): Promise<Registration> {
  checkCall(options, ['token', 'tls', 'signal'])
  const { token, signal } = options
  if (token !== undefined && !(token instanceof Uint8Array && token.length <= MAX_TOKEN_BYTES)) throw invalidOption('token', token, `a Uint8Array of at most ${MAX_TOKEN_BYTES} bytes`)
  const tls = checkTls(options.tls ?? {}, 'tls')
  return agentOf(endpoint, 'registerRelay').register(relay, { token: token ?? null, tls }, signal)
}
