/** What is known of the two ends of a connection so far: addresses, protocol, names, who the peer is, and who asks. Decides nothing. */
import type { Engine, NativeEvent } from '../binding/index.ts'
import type { PeerIdentity } from '../config/index.ts'
import type { MultipathMode } from './facts.ts'
import type { ConnectionOrigin } from './origin.ts'
import { peerIdentity } from './peer.ts'
import { Polarity } from './polarity.ts'

export class Known {
  /** Of the path last used. */
  remote: string
  local: string
  alpn: string | null = null
  serverName: string | null
  peer: PeerIdentity | null = null
  multipath: MultipathMode = 'pending'
  early: 'none' | 'sent' | 'accepted' | 'rejected' = 'none'
  readonly polarity: Polarity

  constructor(engine: Engine, { key, role, remote, local, serverName }: ConnectionOrigin) {
    this.remote = remote
    this.local = local
    this.serverName = serverName
    this.polarity = new Polarity(engine, key, role)
  }

  usePath({ local, remote }: { local: string; remote: string }): void {
    this.local = local
    this.remote = remote
  }

  onOpened(event: Extract<NativeEvent, { type: 'opened' }>): void {
    this.usePath(event)
    this.alpn = event.info.alpn
    this.serverName = event.serverName
    this.multipath = event.info.multipath
    this.peer = event.peer === null ? null : peerIdentity(event.peer, event.serverName)
    this.polarity.learn(event)
  }

  /** Before the handshake is complete. */
  onUsable(event: { alpn: string | null; serverName: string | null; polarised?: true }): void {
    this.alpn ??= event.alpn
    this.serverName ??= event.serverName
    this.polarity.learn(event)
  }
}
