/** What tests of reverse connections over TCP share: both ends of ours, and one that is written by hand. */
import type { Socket } from 'node:net'
import { reverseHttp2Connect, reverseHttp2Listen } from '../../src/reverse/http2/index.ts'
import type { ReverseHttp2ConnectOptions, ReverseHttp2Dialler, ReverseHttp2Event, ReverseHttp2Handler, ReverseHttp2Listener, ReverseHttp2ListenOptions } from '../../src/reverse/http2/index.ts'
import type { PreconnectChange } from '../../src/reverse/types.ts'
import { bodyOf, later, portOf } from './front-kit.ts'

export class Peer {
  bytes: Buffer = Buffer.alloc(0)
  closed = false
  readonly socket: Socket
  readonly atMs = Date.now()
  constructor(socket: Socket) {
    this.socket = socket
    later(() => socket.destroy())
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => (this.bytes = Buffer.concat([this.bytes, chunk])))
    socket.once('close', () => (this.closed = true))
  }
}

export function dial(port: number, options: Partial<ReverseHttp2ConnectOptions> = {}, handler?: ReverseHttp2Handler): { dialler: ReverseHttp2Dialler; states: PreconnectChange[] } {
  const dialler = reverseHttp2Connect({ to: `127.0.0.1:${port}`, tls: 'plain', retry: { minMs: 50, maxMs: 50, jitter: 0 }, ...options }, handler ?? (async (stream, headers) => {
    const body = await bodyOf(stream)
    stream.respond({ ':status': 200 })
    stream.end(body.length > 0 ? body : `${headers[':path']}`)
  }))
  later(() => dialler.stop({ drainMs: 0 }))
  const states: PreconnectChange[] = []
  dialler.state$.subscribe((change) => states.push(change))
  return { dialler, states }
}

export async function listen(options: Partial<ReverseHttp2ListenOptions> = {}): Promise<{ listener: ReverseHttp2Listener; events: ReverseHttp2Event[]; port: number }> {
  const listener = await reverseHttp2Listen({ local: '127.0.0.1:0', tls: 'plain', ...(options.tls === undefined && options.poolKey === undefined && { service: 'web' }), ...options })
  later(() => listener.close())
  const events: ReverseHttp2Event[] = []
  listener.events$.subscribe((event) => events.push(event))
  return { listener, events, port: portOf(listener.local[0]) }
}
