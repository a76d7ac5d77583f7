/** The door `quicbraid/tunnel`: TCP connections and UDP through QUIC, over UDP sockets or over a carrier with the header of pseudo-ports. */
export { headerCarrier } from './carrier.ts'
export type { BridgeReason } from './codes.ts'
export type { DemuxDrops } from './demux.ts'
export type { BridgeEvent, Duration, OpenBridge, TunnelEvent, TunnelStatistics, UdpDrops } from './ledger.ts'
export { TunnelManager } from './manager.ts'
export type { Tunnel, TunnelSession } from './near.ts'
export { TUNNEL_ALPN, TUNNEL_LIMITS } from './options.ts'
export type { ConnectTunnel, JoinTarget, ListenOptions, OpenTunnel, Reconnect, TunnelHandler, TunnelLimits, TunnelOptions, TunnelRequest, TunnelTarget } from './options.ts'
