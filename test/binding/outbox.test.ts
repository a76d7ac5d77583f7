import { describe, expect, it } from 'vitest'
import { Command, RECORD_WORDS, Wake, WriteFlag } from '../../src/binding/native.ts'
import type { NativeEndpoint } from '../../src/binding/native.ts'
import { Outbox } from '../../src/binding/outbox.ts'
import { pattern, turn } from '../fake/pair.ts'

interface Sent { kind: number; flags: number; connection: number; stream: number; c: number; b: number; bytes: Buffer }

class Recorder {
  readonly flushes: { wake: number; commands: Sent[] }[] = []
  readonly native = {
    flush: (words: Uint32Array, count: number, arena: Uint8Array, wake: number, tail: Uint8Array | null): void => {
      const floats = new Float64Array(words.buffer)
      let offset = 0
      const commands = Array.from({ length: count }, (_, index) => {
        const at = index * RECORD_WORDS
        const [head = 0, connection = 0, length = 0, c = 0] = words.subarray(at, at + 4)
        const isTail = ((head >>> 8) & WriteFlag.TAIL) !== 0
        const bytes = isTail ? Buffer.from(tail ?? []) : Buffer.from(arena.subarray(offset, offset + length))
        if (!isTail) offset += length
        expect(bytes.length).toBe(length)
        return { kind: head & 0xff, flags: head >>> 8, connection, stream: floats[at / 2 + 2] ?? -1, c, b: floats[at / 2 + 3] ?? -1, bytes }
      })
      this.flushes.push({ wake, commands })
    },
  } as unknown as NativeEndpoint
  get all(): Sent[] {
    return this.flushes.flatMap((flush) => flush.commands)
  }
}

describe('writes', () => {
  it('of one stream are joined into one command, and FIN is put onto the last', async () => {
    const to = new Recorder()
    const outbox = new Outbox(to.native)
    for (let index = 0; index < 100; index++) outbox.write(1, 4, pattern(100, index * 100), 0, 100)
    outbox.end(1, 4)
    expect(to.flushes).toEqual([])
    await turn()
    expect(to.flushes.length).toBe(1)
    expect(to.all).toMatchObject([{ kind: Command.WRITE, flags: WriteFlag.FIN, connection: 1, stream: 4 }])
    expect(to.all[0]?.bytes.equals(pattern(10_000))).toBe(true)
  })

  it('of two streams, or with a command between them, stay apart', async () => {
    const to = new Recorder()
    const outbox = new Outbox(to.native)
    outbox.write(1, 0, pattern(10), 0, 10)
    outbox.write(2, 0, pattern(10), 0, 10)
    outbox.write(2, 0, pattern(10), 5, 5)
    outbox.send(Command.RESET, 2, 0, 0, (1n << 62n) - 1n)
    outbox.write(2, 0, pattern(10), 0, 1)
    await turn()
    expect(to.all.map(({ kind, bytes }) => [kind, bytes.length])).toEqual([[Command.WRITE, 10], [Command.WRITE, 15], [Command.RESET, 0], [Command.WRITE, 1]])
  })

  it('keep their order whether small or large, and wake before the end of the turn at 256 KiB', () => {
    const to = new Recorder()
    const outbox = new Outbox(to.native)
    const sent: Buffer[] = []
    for (let index = 0; index < 40; index++) {
      const chunk = pattern(index % 2 === 0 ? 100 : 20_000, index)
      sent.push(Buffer.from(chunk))
      outbox.write(7, 8, chunk, 0, chunk.length)
      chunk.fill(0)
    }
    expect(to.flushes.some(({ wake }) => wake === Wake.NOW)).toBe(true)
    outbox.flush()
    expect(Buffer.concat(to.all.map(({ bytes }) => bytes)).equals(Buffer.concat(sent))).toBe(true)
    expect(to.flushes.at(-1)?.wake).toBe(Wake.NOW)
  })

  it('hand over a full arena and a full list without losing anything', () => {
    const to = new Recorder()
    const outbox = new Outbox(to.native)
    for (let index = 0; index < 3000; index++) outbox.write(1, index, pattern(300, index), 0, 300)
    outbox.flush()
    expect(to.all.map(({ stream }) => stream)).toEqual(Array.from({ length: 3000 }, (_, index) => index))
    expect(to.all.every(({ bytes, stream }) => bytes.equals(pattern(300, stream)))).toBe(true)
  })

  it('allow sinks one megabyte a turn', async () => {
    const outbox = new Outbox(new Recorder().native)
    for (let index = 0; index < 16; index++) outbox.write(1, 0, pattern(65_536), 0, 65_536)
    expect(outbox.hasTurnLeft()).toBe(false)
    await turn()
    expect(outbox.hasTurnLeft()).toBe(true)
  })
})

describe('credit', () => {
  it('is told once a stream and turn, with the latest count, and never for released streams', async () => {
    const to = new Recorder()
    const outbox = new Outbox(to.native)
    const reader = { connection: 3, stream: 4, consumed: 0, untold: false, released: false }
    const gone = { connection: 3, stream: 8, consumed: 5, untold: false, released: false }
    for (let index = 0; index < 5; index++) {
      reader.consumed += 10
      outbox.consumed(reader, 10)
    }
    outbox.consumed(gone, 5)
    gone.released = true
    await turn()
    expect(to.all).toMatchObject([{ kind: Command.CONSUMED, connection: 3, stream: 4, b: 50 }])
    expect(reader.untold).toBe(false)
  })

  it('goes back between drains when much was read', () => {
    const to = new Recorder()
    const outbox = new Outbox(to.native)
    const reader = { connection: 1, stream: 0, consumed: 100_000, untold: false, released: false }
    outbox.consumed(reader, 100_000)
    outbox.flushCredit()
    expect(to.flushes.length).toBe(0)
    reader.consumed += 40_000
    outbox.consumed(reader, 40_000)
    outbox.flushCredit()
    expect(to.all[0]?.b).toBe(140_000)
  })
})

it('sends nothing after close', async () => {
  const to = new Recorder()
  const outbox = new Outbox(to.native)
  outbox.close()
  outbox.write(1, 0, pattern(20_000), 0, 20_000)
  outbox.send(Command.STOP, 1, 0)
  outbox.flush()
  await turn()
  expect(to.flushes).toEqual([])
})
