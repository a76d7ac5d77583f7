/** Frames of HTTP/2 by hand (RFC 9113 §4.1, §6), for what Node's own ends never say. */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { PREFACE } from '../../src/reverse/front/index.ts'
import { later } from './front-kit.ts'

export const [DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, WINDOW_UPDATE] = [0, 1, 3, 4, 7, 8]
export const END_STREAM = 0x1
export const END_HEADERS = 0x4

export interface Frame { type: number; flags: number; stream: number; body: Buffer }

export function frame(type: number, flags: number, stream: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(body.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, body])
}

export function framesOf(bytes: Buffer): Frame[] {
  const frames: Frame[] = []
  for (let at = 0; at + 9 <= bytes.length;) {
    const length = bytes.readUIntBE(at, 3)
    if (at + 9 + length > bytes.length) break
    frames.push({ type: bytes[at + 3]!, flags: bytes[at + 4]!, stream: bytes.readUInt32BE(at + 5), body: bytes.subarray(at + 9, at + 9 + length) })
    at += 9 + length
  }
  return frames
}

/** A field block in which every field is a literal (RFC 7541 §6.2.2); names and values shorter than 127 bytes. */
export function fields(list: readonly (readonly [name: string, value: string])[]): Buffer {
  return Buffer.concat(list.flatMap(([name, value]) => [Buffer.from([0]), ...[name, value].flatMap((text) => [Buffer.from([Buffer.byteLength(text, 'latin1')]), Buffer.from(text, 'latin1')])]))
}

export const GET: [string, string][] = [[':method', 'GET'], [':scheme', 'http'], [':path', '/'], [':authority', 'a']]
export const POST: [string, string][] = [[':method', 'POST'], ...GET.slice(1)]

/** A client of HTTP/2 that says what it is told to. */
export class Rough {
  bytes: Buffer = Buffer.alloc(0)
  readonly socket: Socket
  constructor(port: number, settings = Buffer.alloc(0)) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    later(() => this.socket.destroy())
    this.socket.on('error', () => {})
    this.socket.on('data', (chunk: Buffer) => (this.bytes = Buffer.concat([this.bytes, chunk])))
    this.socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, settings)]))
  }

  say(...frames: Buffer[]): void {
    this.socket.write(Buffer.concat(frames))
  }

  has(type: number, stream: number): boolean {
    return framesOf(this.bytes).some((one) => one.type === type && one.stream === stream)
  }
}
