/** Messages that are sent once and delivered at once or never (RFC 9221). */
export { createDatagrams } from './datagrams.ts'
export type { DatagramOptions, Datagrams } from './datagrams.ts'
export type { DatagramStatus } from './observe.ts'
export type { DatagramOwner, DatagramSink } from './sink.ts'
