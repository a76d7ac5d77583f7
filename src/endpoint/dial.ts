/** What `connect` finds out before a connection is made: addresses of the server, the name to check, what an earlier connection left. */
import { sessionKey, splitPort, waitFor } from '../config/index.ts'
import type { ConnectionOptions } from '../config/index.ts'
import { Connection } from '../connection/index.ts'
import type { SessionKeepers } from '../session/index.ts'
import type { Blocking } from './blocking.ts'
import type { Habitat } from './habitat.ts'
import { allowed, resolveTarget } from './resolve.ts'
import type { Target } from './resolve.ts'

type Kept = Awaited<ReturnType<SessionKeepers['take']>>

export interface DialRequest {
  remote: unknown
  options: ConnectionOptions
  signal: AbortSignal | undefined
  habitat: Habitat
  keepers: SessionKeepers
  blocking: Blocking | null
  /** Throws when the endpoint has closed. */
  check: () => void
}

export interface Dial extends Kept {
  target: Target
  serverName: string
}

/** @throws QB_OPTION_INVALID QB_RESOLVE_FAILED QB_NO_PATH QB_ENDPOINT_CLOSED, the abort reason */
export async function prepareDial({ remote, options, signal, habitat, keepers, blocking, check }: DialRequest): Promise<Dial> {
  check()
  const target = allowed(await resolveTarget(remote, options, signal, habitat), blocking)
  signal?.throwIfAborted()
  check()
  const serverName = options.serverName ?? target.host
  const kept = await keepers.take(options.sessions, sessionKey(serverName, splitPort(target.remotes[0] ?? '')?.port ?? 0, options))
  signal?.throwIfAborted()
  check()
  return { target, serverName, ...kept }
}

/** When streams may be opened. @throws the connection's error, the abort reason */
export function untilUsable(connection: Connection, signal: AbortSignal | undefined): Promise<void> {
  return waitFor(signal, (settle) => {
    Connection.usable(connection).then(settle.resolve, settle.reject)
    return () => {}
  })
}
