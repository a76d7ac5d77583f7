/** The record queue of a fake endpoint: `drain` as the contract says it, with one wake on 0 -> 1. */
import type { NativeError } from '../../src/binding/messages.ts'
import { DRAIN_MORE, Record, RECORD_WORDS } from '../../src/binding/native.ts'

export interface FakeRecord {
  kind: number
  key: number
  flags?: number
  c?: number
  a?: number
  b?: number
  code?: bigint
  payload?: Uint8Array
}

export class RecordQueue {
  #records: FakeRecord[] = []
  #pending = false
  readonly #wake: () => void

  constructor(wake: () => void) {
    this.#wake = wake
  }

  push(record: FakeRecord): void {
    this.#records.push(record)
    if (this.#pending) return
    this.#pending = true
    setImmediate(() => this.#wake())
  }

  event(key: number, event: object): void {
    this.push({ kind: Record.EVENT, key, payload: Buffer.from(JSON.stringify(event)) })
  }

  drain(words: Uint32Array, staging: Uint8Array): number {
    const floats = new Float64Array(words.buffer, words.byteOffset, words.length / 2)
    const room = words.length / RECORD_WORDS
    let count = 0
    let used = 0
    while (count < room) {
      const record = this.#records[0]
      if (record === undefined) break
      const payload = record.payload ?? new Uint8Array(0)
      const free = staging.length - used
      const fits = payload.length <= free
      if (!fits && (record.kind !== Record.DATA || free === 0)) break
      const length = fits ? payload.length : free
      const flags = record.flags ?? 0
      const at = count * RECORD_WORDS
      // FIN belongs to the last part of a split record, OPENED to the first.
      words[at] = record.kind | ((fits ? flags : flags & ~1) << 8)
      words[at + 1] = record.key
      words[at + 2] = length
      words[at + 3] = record.c ?? 0
      floats[at / 2 + 2] = record.a ?? 0
      if (record.code === undefined) floats[at / 2 + 3] = record.b ?? 0
      else {
        words[at + 6] = Number(record.code & 0xffff_ffffn)
        words[at + 7] = Number(record.code >> 32n)
      }
      staging.set(payload.subarray(0, length), used)
      used += length
      count += 1
      if (fits) this.#records.shift()
      else this.#records[0] = { ...record, flags: flags & 1, payload: payload.subarray(length) }
    }
    if (this.#records.length > 0) return count | DRAIN_MORE
    this.#pending = false
    return count
  }
}

/** As the engine throws. */
export function nativeError(error: NativeError): Error {
  return new Error(JSON.stringify(error))
}
