/** SOCKS5 as bytes: RFC 1928, RFC 1929. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SocksReader, SocksReply, socksReply } from '../../src/cli/tunnel/socks.ts'
import type { Credentials, SocksStep } from '../../src/cli/tunnel/socks.ts'
import { replyOf } from '../../src/cli/tunnel/socks-server.ts'

const ALICE: Credentials = { user: 'alice', password: 'secret' }
const text = (word: string): number[] => [...Buffer.from(word)]
const named = (word: string): number[] => [word.length, ...text(word)]
const request = (...address: number[]): number[] => [5, 1, 0, ...address]
const NAME = request(3, ...named('db.internal'), 0x15, 0x38)

/** What comes of bytes at once. */
function read(bytes: readonly number[], credentials: Credentials | null = null): SocksStep {
  return new SocksReader(credentials).push(Uint8Array.from(bytes))
}

const facts = ({ reply, next, target, rest }: SocksStep): unknown => [reply === null ? null : [...reply], next, target, [...rest]]

describe('a SOCKS5 client', () => {
  it('gets to a name, an IPv4 and an IPv6 address', () => {
    expect(facts(read([5, 1, 0, ...NAME]))).toEqual([[5, 0], 'connect', { host: 'db.internal', port: 5432 }, []])
    expect(facts(read([5, 2, 1, 0, ...request(1, 10, 0, 0, 5, 0, 22)]))).toEqual([[5, 0], 'connect', { host: '10.0.0.5', port: 22 }, []])
    expect(facts(read([5, 1, 0, ...request(4, 0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 1, 1, 0xbb)]))).toEqual([[5, 0], 'connect', { host: '2001:db8::1', port: 443 }, []])
    expect(read([5, 1, 0, ...request(3, ...named('::ffff:127.0.0.1'), 0, 80)]).target).toEqual({ host: '127.0.0.1', port: 80 })
  })

  it('may send its first bytes for the target at once: they are not lost', () => {
    expect(facts(read([5, 1, 0, ...NAME, 1, 2, 3]))).toEqual([[5, 0], 'connect', { host: 'db.internal', port: 5432 }, [1, 2, 3]])
  })

  it('shows name and password where they are asked for', () => {
    const good = [5, 2, 0, 2, 1, ...named('alice'), ...named('secret'), ...NAME]
    expect(facts(read(good, ALICE))).toEqual([[5, 2, 1, 0], 'connect', { host: 'db.internal', port: 5432 }, []])
    for (const [user, password] of [['alice', 'wrong'], ['bob', 'secret'], ['alice', ''], ['alicf', 'secret']] as const) {
      expect(facts(read([5, 1, 2, 1, ...named(user), ...named(password), ...NAME], ALICE)), `${user} ${password}`).toEqual([[5, 2, 1, 1], 'end', null, []])
    }
    expect(facts(read([5, 1, 0, ...NAME], ALICE))).toEqual([[5, 0xff], 'end', null, []])
    expect(facts(read([5, 1, 2, 2, 0], ALICE))).toEqual([[5, 2], 'end', null, []])
  })

  it('is refused in words of the protocol what this proxy does not do', () => {
    const refused = (reply: number): unknown => [[5, 0, ...socksReply(reply as SocksReply)], 'end', null, []]
    for (const command of [2, 3, 0, 9]) expect(facts(read([5, 1, 0, 5, command]))).toEqual(refused(SocksReply.NO_COMMAND))
    for (const type of [0, 2, 5]) expect(facts(read([5, 1, 0, ...request(type)]))).toEqual(refused(SocksReply.NO_ADDRESS_TYPE))
    for (const bad of [request(1, 10, 0, 0, 5, 0, 0), request(3, 0, 0, 80), request(3, ...named('a b'), 0, 80), request(3, ...named('a\0b'), 0, 80), request(3, 1, 0xff, 0, 80)]) expect(facts(read([5, 1, 0, ...bad]))).toEqual(refused(SocksReply.FAILURE))
    expect(facts(read([5, 1, 1]))).toEqual([[5, 0xff], 'end', null, []])
    expect(facts(read([5, 0]))).toEqual([[5, 0xff], 'end', null, []])
    for (const other of [text('GET / HTTP/1.1\r\n'), [4, 1, 0, 80, 127, 0, 0, 1, 0], [0x16, 3, 1], [0]]) expect(facts(read(other))).toEqual([null, 'end', null, []])
    expect(facts(read([5, 1, 0, 4]))).toEqual([[5, 0], 'end', null, []])
    expect(facts(read([5, 1, 0, 5, 1, 1]))).toEqual([[5, 0], 'end', null, []])
  })

  it('is understood the same in whatever pieces its bytes come', () => {
    const whole = [5, 2, 0, 2, 1, ...named('alice'), ...named('secret'), ...NAME, 9, 8, 7]
    fc.assert(fc.property(fc.array(fc.nat(whole.length), { maxLength: 12 }), (cuts) => {
      const reader = new SocksReader(ALICE)
      const places = [0, ...[...cuts].sort((a, b) => a - b), whole.length]
      const replies: number[] = []
      let last: SocksStep | null = null
      let taken = 0
      for (const [index, place] of places.slice(1).entries()) {
        const piece = Uint8Array.from(whole.slice(places[index], place))
        taken += piece.length
        last = reader.push(piece)
        replies.push(...(last.reply ?? []))
        if (last.next !== 'more') break
      }
      expect([replies, last?.next, last?.target]).toEqual([[5, 2, 1, 0], 'connect', { host: 'db.internal', port: 5432 }])
      expect([...(last?.rest ?? []), ...whole.slice(taken)]).toEqual([9, 8, 7])
    }))
  })

  it('may send whatever it likes: an answer or an end, never a throw, and nothing after the end', () => {
    const piece = fc.oneof(fc.uint8Array({ maxLength: 600 }), fc.constantFrom([5, 1, 0], [5, 1, 2], [1, 1, 97, 1, 98], NAME, [5, 255], [5, 1, 0, 3, 255]).map((bytes) => Uint8Array.from(bytes)))
    fc.assert(fc.property(fc.array(piece, { maxLength: 8 }), fc.boolean(), (pieces, asks) => {
      const reader = new SocksReader(asks ? ALICE : null)
      let over = false
      for (const bytes of pieces) {
        const step = reader.push(bytes)
        if (over) expect(facts(step)).toEqual([null, 'end', null, []])
        if (step.next === 'connect') expect(step.target?.port).toBeGreaterThan(0)
        if (step.next !== 'more') over = true
      }
    }), { numRuns: 500 })
  })
})

it('what became of a connection is told in the words of SOCKS', () => {
  expect([null, 'refused', 'connect', 'timeout', 'connection', 'shutdown', 'overflow', 'tcp'].map((reason) => replyOf(reason as never))).toEqual([0, 2, 5, 3, 3, 1, 1, 1])
  expect([...socksReply(SocksReply.OK)]).toEqual([5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
})
