/** The peer's identity as the engine tells it. */
import type { NativePeer } from '../binding/index.ts'
import type { PeerIdentity } from '../config/index.ts'

export function peerIdentity(peer: NativePeer, serverName: string | null): PeerIdentity {
  const chain = peer.chain.map((der) => new Uint8Array(Buffer.from(der, 'base64')))
  return { chain, fingerprint: peer.fingerprint, pin: peer.pin, names: peer.names, serverName }
}
