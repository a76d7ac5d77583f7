/** The door `quicbraid/reverse`: connections that are dialled by who has the service and used by who wants it. */
export type { ReverseReason } from './codes.ts'
export { reverseConnect } from './dialler.ts'
export type { ReverseHandler } from './line.ts'
export { reverseListen } from './listener.ts'
export { REVERSE_ALPN } from './options.ts'
export type { Hello, RequestOptions, Retry, ReverseConnectOptions, ReverseLimits, ReverseListenOptions } from './options.ts'
export type { DiallerEvent, DiallerStatistics, LineStep, PreconnectChange, PreconnectState, ReverseDialler, ReverseEvent, ReverseHealth, ReverseListener, ReversePool, ReverseStatistics, ServedRequest } from './types.ts'
