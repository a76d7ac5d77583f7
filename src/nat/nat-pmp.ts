/**
 * NAT-PMP (RFC 6886) towards one gateway: which address it has outside, and one mapping. Our own, since the library's answers whoever asks, sends a
 * lifetime in the wrong unit, hides what was granted, and lets a datagram of one byte end the process. Bytes that are no answer are passed over.
 */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { formatAddress, parseAddress, REAL_TIME } from '../config/index.ts'
import type { Cancel } from '../config/index.ts'
import type { MapRequest, PortMapping } from './port-mapper.ts'

const OUTER = 0
const MAP_UDP = 1
/** Before each of the next tries, and in the end (RFC 6886 section 3.1, but for its last minute). */
const WAITS_MS = [250, 500, 1000, 2000]
const REFUSALS: Readonly<Record<number, string>> = { 1: 'it speaks another version', 2: 'it does not allow mappings', 3: 'it has no address outside', 4: 'it has no ports left', 5: 'it knows no such request' }

/** `internal`: our address that faces the gateway. @throws (reject) why not */
export async function mapByNatPmp(gateway: string, internal: string, { lifetimeMs, external }: MapRequest): Promise<PortMapping> {
  const port = parseAddress(internal)?.port ?? 0
  const wanted = (external === null ? null : parseAddress(external)?.port) ?? port
  return withSocket(gateway, internal, async (socket) => {
    const outer = await ask(socket, Uint8Array.of(0, OUTER), 12)
    const granted = await ask(socket, mapRequest(port, wanted, Math.ceil(lifetimeMs / 1000)), 16, (answer) => answer.readUInt16BE(8) === port)
    const [open, seconds] = [granted.readUInt16BE(10), granted.readUInt32BE(12)]
    if (open === 0 || seconds === 0) throw new Error('it granted nothing')
    return {
      external: formatAddress({ host: outer.subarray(8, 12).join('.'), port: open, family: 4 }),
      lifetimeMs: seconds * 1000,
      release: () => withSocket(gateway, internal, async (again) => void (await ask(again, mapRequest(port, 0, 0), 16, (answer) => answer.readUInt16BE(8) === port))),
    }
  })
}

/** A lifetime of 0 ends a mapping. */
function mapRequest(internal: number, external: number, seconds: number): Uint8Array {
  const bytes = Buffer.alloc(12)
  bytes.writeUInt8(MAP_UDP, 1)
  bytes.writeUInt16BE(internal, 4)
  bytes.writeUInt16BE(external, 6)
  bytes.writeUInt32BE(seconds, 8)
  return bytes
}

/** Connected, so that nobody but the gateway is heard. */
async function withSocket<T>(gateway: string, internal: string, use: (socket: Socket) => Promise<T>): Promise<T> {
  const [far, near] = [parseAddress(gateway), parseAddress(internal)]
  if (far === null || near === null) throw new Error('it has no address')
  const socket = createSocket('udp4')
  // Whoever waits hears of it too.
  socket.on('error', () => {})
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.bind(0, near.host, () => socket.connect(far.port, far.host, () => resolve()))
    })
    return await use(socket)
  } finally {
    socket.close()
  }
}

/** One answer of at least `length` bytes. @throws (reject) silence, a refusal, and that nobody is there */
function ask(socket: Socket, request: Uint8Array, length: number, isOurs: (answer: Buffer) => boolean = () => true): Promise<Buffer> {
  const { promise, resolve, reject } = later<Buffer>()
  let cancel: Cancel = () => {}
  const send = (tries: number): void => {
    const wait = WAITS_MS[tries]
    if (wait === undefined) return reject(new Error('it does not answer'))
    socket.send(request, (error) => error !== null && reject(error))
    cancel = REAL_TIME.after(wait, () => send(tries + 1))
  }
  const onMessage = (answer: Buffer): void => {
    if (answer.length < 8 || answer[0] !== 0 || answer[1] !== 128 + (request[1] ?? 0)) return
    const result = answer.readUInt16BE(2)
    if (result !== 0) return reject(new Error(REFUSALS[result] ?? `it refuses (${result})`))
    if (answer.length >= length && isOurs(answer)) resolve(answer)
  }
  socket.on('message', onMessage)
  socket.once('error', reject)
  send(0)
  return promise.finally(() => {
    cancel()
    socket.off('message', onMessage)
    socket.off('error', reject)
  })
}

function later<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: Error) => void } {
  let [resolve, reject]: [(value: T) => void, (error: Error) => void] = [() => {}, () => {}]
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
