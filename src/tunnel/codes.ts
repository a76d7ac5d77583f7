/** Application error codes of tunnels (tunnel.md §5), and what people get of them: errors, and reasons of bridges' ends. Decides nothing about when they are sent. */
import { ServiceError } from '../errors/index.ts'

export const TunnelCode = {
  /** Orderly end of a tunnel connection. */
  NONE: 0n,
  /** The target could not be dialled; of a flow also: it is not there any more. */
  CONNECT: 0x547_1907n,
  /** The first bytes of a stream are wrong, or data came before the accept byte. */
  BAD_INIT: 0x547_1908n,
  /** TCP reset or error after connect. */
  TCP: 0x547_1909n,
  /** No handler allows this port or peer. */
  REFUSED: 0x547_190an,
  /** The process or the tunnel is being stopped by force. */
  SHUTDOWN: 0x547_190bn,
} as const

/** Why a bridge ended, or never began. */
export type BridgeReason = 'connect' | 'bad-init' | 'tcp' | 'refused' | 'shutdown' | 'overflow' | 'timeout' | 'connection' | 'end' | 'idle' | 'replaced'

const REASONS: ReadonlyMap<bigint, BridgeReason> = new Map<bigint, BridgeReason>([
  [TunnelCode.CONNECT, 'connect'], [TunnelCode.BAD_INIT, 'bad-init'], [TunnelCode.TCP, 'tcp'], [TunnelCode.REFUSED, 'refused'], [TunnelCode.SHUTDOWN, 'shutdown'],
])

/** What an error of a stream says of its bridge. */
export function reasonOf(error: unknown): BridgeReason {
  const { code, errorCode } = (error ?? {}) as { code?: unknown; errorCode?: unknown }
  if (typeof code === 'string' && code.startsWith('QB_') && !code.startsWith('QB_STREAM_')) return 'connection'
  return REASONS.get(typeof errorCode === 'bigint' ? errorCode : -1n) ?? 'tcp'
}

/** The error that a tunnel's `opened` and `closed` tell for a code of the peer's, if it is one of ours. */
export function tunnelError(errorCode: bigint, port: number, cause: unknown): ServiceError | null {
  const what = port === 0 ? 'this client' : `port ${port}`
  const facts = { errorCode, by: 'peer', layer: 'application', cause } as const
  if (errorCode === TunnelCode.REFUSED) return new ServiceError('QB_TUNNEL_REFUSED', port === 0 ? 'the server refuses this client: no handler there allows it anything; show a certificate it knows' : `the server refuses port ${port}: no handler there allows it to this client; show a certificate it knows, or ask for another port`, { ...facts, codeName: 'REFUSED' })
  if (errorCode === TunnelCode.SHUTDOWN) return new ServiceError('QB_TUNNEL_SHUTDOWN', `the server of ${what} is being stopped`, { ...facts, codeName: 'SHUTDOWN' })
  if (errorCode === TunnelCode.BAD_INIT) return new ServiceError('QB_TUNNEL_BAD_INIT', `the server of ${what} does not understand this client; are both of the same version?`, { ...facts, codeName: 'BAD_INIT' })
  return null
}
