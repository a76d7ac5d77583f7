/** The blocks that drains fill (streams-over-ring S13): what is lent is never written, whatever is lent, given back, lost or detached in between. */
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { SLAB_BYTES, Slabs } from '../../src/binding/slabs.ts'
import type { Slab } from '../../src/binding/slabs.ts'

const EVENT_BYTES = 131_072

interface Lent { slab: Slab; bytes: Buffer; mark: number }

/** As a drain: fills the region, every batch with a mark of its own. */
function fill(slabs: Slabs, mark: number): Buffer {
  return slabs.region().fill(mark & 0xff)
}

it('streams-over-ring S13: what is lent keeps its bytes until it is given back, and a drain always finds room for an event', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('drain' as const), parts: fc.array(fc.integer({ min: 1, max: 70_000 }), { maxLength: 5 }) }),
    fc.record({ do: fc.constantFrom('giveBack' as const, 'lose' as const), which: fc.nat() }),
    fc.record({ do: fc.constant('detach' as const), which: fc.nat({ max: 20 }) }),
  )
  fc.assert(fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
    const slabs = new Slabs()
    const blocks = new Set<Slab>()
    let lent: Lent[] = []
    let gone: Lent[] = []
    let mark = 0
    for (const it of steps) {
      if (it.do === 'drain') {
        mark += 1
        const region = fill(slabs, mark)
        expect(region.length).toBeGreaterThanOrEqual(EVENT_BYTES)
        let at = 0
        for (const length of it.parts) {
          if (at + length > region.length) break
          const place = slabs.lend(at, at + length)
          if (place !== null) {
            blocks.add(place.slab)
            lent.push({ slab: place.slab, bytes: place.slab.buffer.subarray(place.at, place.at + length), mark })
          }
          at += length
        }
      } else if (it.do === 'detach' && it.which === 0 && lent.length > 0) {
        const { slab } = lent[0] as Lent
        structuredClone(slab.buffer.buffer, { transfer: [slab.buffer.buffer as ArrayBuffer] })
        for (const one of lent.filter((other) => other.slab === slab)) slabs.giveBack(one.slab)
        lent = lent.filter((other) => other.slab !== slab)
        gone = gone.filter((other) => other.slab !== slab)
      } else if (it.do !== 'detach' && lent.length > 0) {
        const [one] = lent.splice(it.which % lent.length, 1)
        if (one === undefined) continue
        if (it.do === 'lose') gone.push(one)
        slabs[it.do](one.slab)
      }
      for (const one of [...lent, ...gone]) expect(one.bytes.every((byte) => byte === (one.mark & 0xff))).toBe(true)
    }
    const live = [...blocks].filter((slab) => slab.loans > 0).length
    expect(live).toBeLessThanOrEqual(16)
    for (const one of lent) slabs.giveBack(one.slab)
    for (const slab of blocks) expect(slab.loans).toBe(0)
  }), { numRuns: 100 })
})

it('streams-over-ring S13: a reader that gives back makes the engine fill the same few blocks', () => {
  const slabs = new Slabs()
  const seen = new Set<ArrayBufferLike>()
  for (let round = 0; round < 1000; round++) {
    seen.add(slabs.region().buffer)
    const places = [slabs.lend(0, 65_536), slabs.lend(65_536, SLAB_BYTES)]
    fill(slabs, round)
    for (const place of places) if (place !== null) slabs.giveBack(place.slab)
  }
  expect(seen.size).toBeLessThanOrEqual(2)
})

it('streams-over-ring S13: beyond 16 blocks with loans everything is copied, until some come back', () => {
  const slabs = new Slabs()
  const lent: Slab[] = []
  for (let round = 0; round < 30; round++) {
    slabs.region()
    const place = slabs.lend(0, 200_000)
    if (place !== null) lent.push(place.slab)
  }
  expect(lent.length).toBe(16)
  for (const slab of lent.splice(0, 2)) slabs.giveBack(slab)
  slabs.region()
  expect(slabs.lend(0, 200_000)).not.toBe(null)
})
