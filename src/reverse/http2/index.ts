/** Reverse connections over TCP as HAProxy's `rhttp@` speaks them: HTTP/2 on a connection that the server dialled. */
export { reverseHttp2Connect } from './dialler.ts'
export { reverseHttp2Listen } from './listener.ts'
export type {
  ReverseHttp2ConnectOptions, ReverseHttp2Dialler, ReverseHttp2Event, ReverseHttp2Handler, ReverseHttp2Identity, ReverseHttp2Limits, ReverseHttp2Listener, ReverseHttp2ListenOptions, ReverseHttp2Tls,
} from './options.ts'
