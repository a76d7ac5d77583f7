/**
 * Length and contents of connection ids: one for a whole endpoint, since short headers do not tell it. The server id of the QUIC-LB draft
 * stands behind the first byte, a nonce of at least 4 bytes behind that.
 */
import type { NativeServerId } from '../binding/index.ts'
import { invalidOption } from './check.ts'
import type { ConnectionOptions, EndpointOptions, ServerOptions } from './options.ts'

/** Where nothing else is said. */
export const ID_BYTES = 8
const MOST_BYTES = 20
const LEAST_NONCE_BYTES = 4
/** As random as an id without a server's in it. */
const GOOD_NONCE_BYTES = 8

export interface IdChoice {
  bytes: number
  serverId: NativeServerId | undefined
}

/** @throws QB_OPTION_INVALID */
export function chooseIds(serverId: EndpointOptions['serverId'], connection: ConnectionOptions): IdChoice {
  const asked = connection.limits?.connectionIdBytes
  if (asked !== undefined && asked < ID_BYTES) throw invalidOption('connection.limits.connectionIdBytes', asked, `a whole number from ${ID_BYTES} to ${MOST_BYTES}`)
  if (serverId === undefined) return { bytes: asked ?? ID_BYTES, serverId: undefined }
  const { id, configuration = 0, encodeLength = false } = serverId instanceof Uint8Array ? { id: serverId } : serverId
  const bytes = asked ?? Math.min(1 + id.length + GOOD_NONCE_BYTES, MOST_BYTES)
  const room = bytes - 1 - LEAST_NONCE_BYTES
  if (id.length > room) throw invalidOption('serverId', serverId, `at most ${room} bytes in connection ids of ${bytes}; ${id.length} need connection.limits.connectionIdBytes ${id.length + 1 + LEAST_NONCE_BYTES} or more`)
  return { bytes, serverId: { id: Buffer.from(id).toString('hex'), configuration, tellsLength: encodeLength } }
}

/** A connection has ids as its endpoint has them. @throws QB_OPTION_INVALID */
export function checkIdBytes({ limits }: ConnectionOptions | ServerOptions, bytes: number, field: string): void {
  const asked = limits?.connectionIdBytes
  if (asked === undefined || asked === bytes) return
  throw invalidOption(field === '' ? 'limits.connectionIdBytes' : `${field}.limits.connectionIdBytes`, asked, `${bytes}, as all connections of this endpoint have; bind() takes another with connection.limits.connectionIdBytes`)
}
