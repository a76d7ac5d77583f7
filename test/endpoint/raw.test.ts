/** `sendRaw` and `raw$` over the fake engine: what crosses, and what is refused before it does. */
import { describe, expect, it } from 'vitest'
import { Record } from '../../src/binding/native.ts'
import { bindWith } from '../../src/endpoint/index.ts'
import type { RawDatagram } from '../../src/index.ts'
import { newNetwork, turns, until, watchContract } from '../fake/pair.ts'

watchContract()

const STUN = Uint8Array.of(0, 1, 0, 0)

describe('sendRaw', () => {
  it('hands one datagram over with its addresses and its time to live', async () => {
    const network = newNetwork(['raw'])
    const endpoint = bindWith(network.module, { local: ['127.0.0.1:0', '[::1]:7'] })
    endpoint.sendRaw('127.0.0.1:9', STUN)
    endpoint.sendRaw('[::2]:9', Uint8Array.of(63), { local: '[::1]:7', ttl: 3 })
    endpoint.sendRaw('127.0.0.1:9', new Uint8Array(0), { local: '127.0.0.1' })
    await turns(2)
    expect(network.endpoints[0]?.raw).toEqual([
      { text: '127.0.0.1:9\n\n\0\x01\0\0', ttl: 0 },
      { text: '[::2]:9\n[::1]:7\n?', ttl: 3 },
      { text: '127.0.0.1:9\n127.0.0.1:0\n', ttl: 0 },
    ])
    endpoint.destroy()
  })

  it('refuses what looks like QUIC and addresses that it cannot use', async () => {
    const network = newNetwork(['raw'])
    const endpoint = bindWith(network.module, { local: ['127.0.0.1:5'] })
    const refused: [string, Uint8Array, object, string][] = [
      ['127.0.0.1:9', Uint8Array.of(0x40), {}, 'as QUIC does'],
      ['127.0.0.1:9', Uint8Array.of(0xc0, 1), {}, 'as QUIC does'],
      ['127.0.0.1:9', new Uint8Array(65_508), {}, 'at most 65507'],
      ['127.0.0.1', STUN, {}, 'address with a port'],
      ['0.0.0.0:9', STUN, {}, 'address with a port'],
      ['example.net:9', STUN, {}, 'address with a port'],
      ['[::1]:9', STUN, {}, 'no IPv6 socket'],
      ['127.0.0.1:9', STUN, { local: '127.0.0.2' }, 'is not bound'],
      ['127.0.0.1:9', STUN, { local: '127.0.0.1:6' }, 'is not bound'],
    ]
    for (const [remote, bytes, options, why] of refused) {
      expect(() => endpoint.sendRaw(remote, bytes, options), why).toThrow(expect.objectContaining({ code: 'QB_RAW_REFUSED', name: 'EndpointError', message: expect.stringContaining(why), value: { remote, firstByte: bytes[0] ?? null } }))
    }
    expect(() => endpoint.sendRaw('127.0.0.1:9', STUN, { ttl: 0 })).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID', field: 'ttl' }))
    expect(() => endpoint.sendRaw('127.0.0.1:9', 'text' as never)).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID', field: 'bytes' }))
    expect(() => endpoint.sendRaw('127.0.0.1:9', STUN, { hops: 1 } as never)).toThrow(expect.objectContaining({ code: 'QB_OPTION_UNKNOWN' }))
    endpoint.destroy()
    expect(() => endpoint.sendRaw('127.0.0.1:9', STUN)).toThrow(expect.objectContaining({ code: 'QB_ENDPOINT_CLOSED' }))
    await turns(2)
    expect(network.endpoints[0]?.raw).toEqual([])
  })
})

describe('raw$', () => {
  it('has the engine tell only while somebody is subscribed, and completes with the endpoint', async () => {
    const network = newNetwork(['raw'])
    const endpoint = bindWith(network.module, { local: '127.0.0.1:0' })
    const fake = network.endpoints[0]
    expect(fake?.rawTo).toBe('nobody')
    const seen: RawDatagram[] = []
    let completed = 0
    const first = endpoint.raw$.subscribe({ next: (datagram) => seen.push(datagram), complete: () => (completed += 1) })
    const second = endpoint.raw$.subscribe({ complete: () => (completed += 1) })
    expect(fake?.rawTo).toBe('subscriber')
    fake?.queue.push({ kind: Record.RAW, key: 0, b: 1.5, c: 20, payload: Buffer.from('[::1]:5\n127.0.0.1:7\n\n\0x', 'latin1') })
    await until(() => seen.length === 1)
    expect(seen).toEqual([{ remote: '[::1]:5', local: '127.0.0.1:7', atMs: 1.5, bytes: Uint8Array.of(10, 0, 0x78) }])
    first.unsubscribe()
    expect(fake?.rawTo).toBe('subscriber')
    second.unsubscribe()
    expect(fake?.rawTo).toBe('nobody')
    endpoint.raw$.subscribe({ complete: () => (completed += 1) })
    endpoint.destroy()
    await endpoint.closed
    expect(completed).toBe(1)
    endpoint.raw$.subscribe({ complete: () => (completed += 1) })
    expect(completed).toBe(2)
  })
})
