import { expect, it } from 'vitest'
import { Inbox } from '../../src/binding/inbox.ts'
import type { ConnectionSink } from '../../src/binding/inbox.ts'
import { Record } from '../../src/binding/native.ts'
import type { NativeEndpoint } from '../../src/binding/native.ts'
import { RecordQueue } from '../fake/records.ts'
import { pattern, turn, until } from '../fake/pair.ts'

function setUp(): { queue: RecordQueue; inbox: Inbox; log: unknown[]; batches: () => number } {
  const log: unknown[] = []
  let batches = 0
  const queue = new RecordQueue(() => inbox.wake())
  const native = { drain: (words: Uint32Array, staging: Uint8Array) => queue.drain(words, staging) } as unknown as NativeEndpoint
  const endpoint = { onEvent: (key: number, event: unknown) => log.push(['event', key, event]), onKeylog: (line: string) => log.push(['keylog', line]), onRaw: (remote: string, local: string, atMs: number, staging: Buffer, start: number, end: number) => log.push(['raw', remote, local, atMs, staging.toString('latin1', start, end)]), onQlog: (key: number, piece: string, end: string) => log.push(['qlog', key, piece, end]) }
  const inbox = new Inbox(native, endpoint, () => (batches += 1))
  return { queue, inbox, log, batches: () => batches }
}

function sinkOf(log: unknown[]): ConnectionSink {
  const note = (name: string) => (...facts: unknown[]): void => void log.push([name, ...facts])
  return {
    onData: (stream, flags, staging, start, end) => log.push(['data', stream, flags, Buffer.from(staging.subarray(start, end))]),
    onWritable: note('writable'), onFinished: note('finished'), onStopped: note('stopped'), onReset: note('reset'), onStreams: note('streams'),
    onDatagram: (flags, staging, start, end) => log.push(['datagram', flags, Buffer.from(staging.subarray(start, end))]), onDatagramFate: note('datagramFate'), onDatagramRoom: note('datagramRoom'),
    onConnectionWritable: note('connectionWritable'), onEvent: note('event'), onTrace: note('trace'), onAcks: note('acks'),
  }
}

it('routes every kind of record with its numbers', async () => {
  const { queue, inbox, log } = setUp()
  inbox.sinks.set(5, sinkOf(log))
  const code = (1n << 62n) - 1n
  const stream = 2 ** 52 + 1
  queue.push({ kind: Record.DATA, key: 5, a: stream, flags: 3, payload: pattern(7) })
  queue.push({ kind: Record.WRITABLE, key: 5, a: 4, b: 2 ** 50, c: 9 })
  queue.push({ kind: Record.FINISHED, key: 5, a: 4 })
  queue.push({ kind: Record.STOPPED, key: 5, a: 4, code })
  queue.push({ kind: Record.RESET, key: 5, a: 4, code: 7n, flags: 2 })
  queue.push({ kind: Record.STREAMS, key: 5, c: 1, b: 100 })
  queue.push({ kind: Record.CONNECTION_WRITABLE, key: 5, b: 12 })
  queue.event(5, { type: 'confirmed' })
  queue.push({ kind: Record.TRACE, key: 5, payload: Buffer.from('{"kind":"blocked"}') })
  queue.push({ kind: Record.ACKS, key: 5, payload: Buffer.from('{"via":1}') })
  queue.push({ kind: Record.KEYLOG, key: 0, payload: Buffer.from('CLIENT_RANDOM ü') })
  queue.push({ kind: Record.QLOG, key: 5, c: 1, payload: Buffer.from('ab_client\n\u001e{}\n') })
  queue.push({ kind: Record.RAW, key: 0, b: 2.5, c: 12, payload: Buffer.from('[::1]:5\na:1\n\nx\n', 'latin1') })
  queue.event(0, { type: 'bound' })
  queue.event(6, { type: 'connection' })
  queue.push({ kind: Record.DATA, key: 6, a: 0, payload: pattern(7) })
  queue.push({ kind: 99, key: 5 })
  await until(() => log.length >= 15)
  expect(log).toEqual([
    ['data', stream, 3, pattern(7)], ['writable', 4, 2 ** 50, 9], ['finished', 4], ['stopped', 4, code], ['reset', 4, 2, 7n], ['streams', 1, 100], ['connectionWritable', 12],
    ['event', { type: 'confirmed' }], ['trace', { kind: 'blocked' }], ['acks', { via: 1 }], ['keylog', 'CLIENT_RANDOM ü'], ['qlog', 5, 'ab_client\n\u001e{}\n', 'last'], ['raw', '[::1]:5', 'a:1', 2.5, '\nx\n'], ['event', 0, { type: 'bound' }], ['event', 6, { type: 'connection' }],
  ])
})

it('splits what does not fit into one drain, and yields after a megabyte', async () => {
  const { queue, inbox, log, batches } = setUp()
  inbox.sinks.set(1, sinkOf(log))
  for (let index = 0; index < 50; index++) queue.push({ kind: Record.DATA, key: 1, a: 0, payload: pattern(65_000, index * 65_000), flags: index === 49 ? 1 : 0 })
  await turn()
  const bytes = (): number => (log as [string, number, number, Buffer][]).reduce((sum, [, , , piece]) => sum + piece.length, 0)
  expect(bytes()).toBeGreaterThan(900_000)
  expect(bytes()).toBeLessThan(1_400_000)
  await until(() => bytes() === 50 * 65_000)
  const pieces = log as [string, number, number, Buffer][]
  expect(Buffer.concat(pieces.map(([, , , piece]) => piece)).equals(pattern(50 * 65_000))).toBe(true)
  expect(pieces.map(([, , flags]) => flags).lastIndexOf(1)).toBe(pieces.length - 1)
  expect(batches()).toBeGreaterThan(12)
})

it('is woken once for many records, and again for later ones', async () => {
  const { queue, inbox, log } = setUp()
  inbox.sinks.set(1, sinkOf(log))
  for (let index = 0; index < 1000; index++) queue.push({ kind: Record.FINISHED, key: 1, a: index * 4 })
  await until(() => log.length === 1000)
  queue.push({ kind: Record.FINISHED, key: 1, a: 4 })
  await until(() => log.length === 1001)
})
