/** What `connect` finds out before a connection is made: addresses of the server, the name to check, what an earlier connection left. */
import { sessionKey, splitPort, waitFor } from '../config/index.ts'
import type { ConnectionOptions } from '../config/index.ts'
import { Connection } from '../connection/index.ts'
import type { Lease, NatAgent } from '../nat/index.ts'
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
  agent: NatAgent
  /** Throws when the endpoint has closed. */
  check: () => void
}

export interface Dial extends Kept {
  target: Target
  serverName: string
  /** Of a relay that knows our socket, for the length of the connection; null: none is needed. */
  lease: Lease | null
}

/** @throws QB_OPTION_INVALID QB_RESOLVE_FAILED QB_NO_PATH QB_ENDPOINT_CLOSED QB_RELAY_REFUSED and what a connection to the relay ends with, the abort reason */
export async function prepareDial({ remote, options, signal, habitat, keepers, blocking, agent, check }: DialRequest): Promise<Dial> {
  check()
  const target = allowed(await resolveTarget(remote, options, signal, habitat), blocking)
  signal?.throwIfAborted()
  check()
  const serverName = options.serverName ?? target.host
  const kept = await keepers.take(options.sessions, sessionKey(serverName, splitPort(target.remotes[0] ?? '')?.port ?? 0, options))
  signal?.throwIfAborted()
  check()
  const lease = await agent.enter(target.remotes, options, signal)
  try {
    signal?.throwIfAborted()
    check()
  } catch (error) {
    lease?.release()
    throw error
  }
  return { target, serverName, lease, ...kept }
}

/** What the connection is made by; where it cannot be made, nobody needs the relay. */
export function held<T>(lease: Lease | null, make: () => T): T {
  try {
    return make()
  } catch (error) {
    lease?.release()
    throw error
  }
}

/** When streams may be opened. A relay's no, which comes later than its answers may be used, ends the wait. @throws the connection's error, QB_RELAY_REFUSED, the abort reason */
export function untilUsable(connection: Connection, lease: Lease | null, signal: AbortSignal | undefined): Promise<void> {
  return waitFor(signal, (settle) => {
    Connection.usable(connection).then(settle.resolve, settle.reject)
    if (lease !== null) {
      lease.granted().catch(settle.reject)
      void connection.closed.then(() => lease.release())
    }
    return () => {}
  })
}
