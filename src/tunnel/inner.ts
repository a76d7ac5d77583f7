/** What other rooms of this package take of tunnels, and users of the package do not see: a stream joined to a TCP connection, and the TCP side of it. */
export { Bridge } from './bridge.ts'
export type { BridgeLedger, BridgeParts, LoanResult } from './bridge.ts'
export { reasonOf, TunnelCode } from './codes.ts'
export type { BridgeReason } from './codes.ts'
export type { BridgeEvent, Entry } from './ledger.ts'
export { proxyHeader } from './proxy-protocol.ts'
export { cutSocket, NODE_TCP } from './tcp.ts'
export type { Tcp, TcpListener, TcpSocket } from './tcp.ts'
