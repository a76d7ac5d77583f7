/** What carries reverse connections: QUIC, or HTTP/2 over TCP as HAProxy's `rhttp@` speaks it. */
export const PROTOS = ['quic', 'h2-haproxy'] as const
export type Proto = (typeof PROTOS)[number]
export const PROTO_HELP = "quic, or h2-haproxy: HTTP/2 over TCP with HAProxy's rhttp@"
