import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { chooseNetwork } from '../../src/cli/demo/network.ts'
import { Rates } from '../../src/cli/demo/rates.ts'
import { faultsOf, jsonOf, tableOf } from '../../src/cli/demo/report.ts'
import type { Measured } from '../../src/cli/demo/report.ts'
import { writeSample } from '../../src/cli/demo/sample.ts'
import { frameOf } from '../../src/cli/demo/view.ts'
import { Terminal } from '../../src/cli/terminal.ts'

const { colors } = new Terminal(process.stdout, process.stderr, { NO_COLOR: '1' })

const measured: Measured = {
  bytes: 1_048_576, expectedBytes: 1_048_576, seconds: 2, stallMs: 41.23456, sha256Sent: 'aa', sha256Received: 'aa',
  received: [
    { id: 0, local: '127.0.0.1:1', remote: '127.0.0.1:9', bytesReceived: 700_000, state: 'open', suspect: false },
    { id: 1, local: '127.0.0.2:2', remote: '127.0.0.2:8', bytesReceived: 400_000, state: 'open', suspect: false },
  ],
  sent: [
    { id: 0, bytesSent: 710_000, rttMs: 11.5, lost: 2, bursts: 100, segments: 550, state: 'open', reason: '' },
    { id: 1, bytesSent: 450_000, rttMs: 12, lost: 40, bursts: 0, segments: 0, state: 'open', reason: '' },
  ],
  clientHandshake: { ms: 25.5, datagramsSent: 3, coalesced: 1, multipath: 'ietf' },
  serverHandshake: { ms: 20, datagramsSent: 2, coalesced: 2, multipath: 'ietf' },
  flight: [{ from: 'client', atMs: 1, segments: [{ bytes: 1200, packets: ['initial'] }] }, { from: 'server', atMs: 2, segments: [{ bytes: 1200, packets: ['initial', 'handshake'] }, { bytes: 300, packets: ['handshake'] }] }],
  links: [{ up: true, delivered: 10, droppedByCut: 0, droppedByQueue: 0 }, { up: true, delivered: 10, droppedByCut: 1234, droppedByQueue: 5 }],
  cut: { link: 1, ms: 2500 },
}

describe("the demo's JSON", () => {
  it('has exactly the fields of the contract', () => {
    expect(jsonOf(measured)).toEqual({
      ok: true, bytes: 1_048_576, seconds: 2, sha256Match: true, stallMs: 41.235,
      paths: [
        { id: 0, local: '127.0.0.1:1', remote: '127.0.0.1:9', bytesSent: 710_000, bytesReceived: 700_000, rttMs: 11.5, lost: 2, bursts: 100, segmentsPerBurst: 5.5 },
        { id: 1, local: '127.0.0.2:2', remote: '127.0.0.2:8', bytesSent: 450_000, bytesReceived: 400_000, rttMs: 12, lost: 40, bursts: 0, segmentsPerBurst: 0 },
      ],
      handshake: { ms: 25.5, datagrams: 5, coalesced: 3 },
    })
  })

  it('is not ok when bytes, hash, multipath or a path are missing', () => {
    const broken: Partial<Measured>[] = [
      { bytes: 5 }, { sha256Received: 'bb' }, { clientHandshake: { ...measured.clientHandshake, multipath: 'none' } }, { received: measured.received.slice(0, 1) },
      { bytes: 1e9, expectedBytes: 1e9, received: measured.received.map((path) => ({ ...path, bytesReceived: path.id === 0 ? 1e9 : 1000 })) },
    ]
    for (const change of broken) {
      expect(jsonOf({ ...measured, ...change }).ok, JSON.stringify(change)).toBe(false)
      expect(faultsOf({ ...measured, ...change })).toHaveLength(1)
    }
  })
})

describe("the demo's words", () => {
  it('tell the transfer, the cut, the paths and the handshake', () => {
    const text = tableOf(measured, colors).join('\n')
    for (const part of ['1 MiB over 2 paths in 2 s', 'SHA-256 equal', 'longest stall 41.2 ms', 'cut for 2.5 s', '1,234 datagrams', '127.0.0.2:2', 'handshake 25.5 ms, 5 datagrams, 3 of them', 'server  [initial + handshake] 1200  [handshake] 300']) expect(text).toContain(part)
  })

  it('show each path while it runs, and the one that is cut', () => {
    const live = { bytes: 524_288, total: 1_048_576, paths: measured.received, rates: new Map([[0, 250e6], [1, 0]]), rateBitsPerSec: 250e6, cut: '127.0.0.2:8' }
    const frame = frameOf(live, colors)
    expect(frame.lines[0]).toContain('50 %  512 KiB of 1 MiB  250 Mbit/s')
    expect(frame.lines[1]).toContain('█'.repeat(16))
    expect(frame.lines[2]).toContain('cut')
    expect(frame.line).toContain('path 1 0 bit/s  cut')
  })
})

describe('rates', () => {
  it('are those of the last half second', () => {
    const rates = new Rates()
    expect(rates.now().size).toBe(0)
    for (let step = 0; step <= 20; step++) rates.add(step * 100, new Map([[0, step < 10 ? step * 1000 : 10_000 + (step - 10) * 2000]]))
    expect(rates.now().get(0)).toBeCloseTo(2000 * 10 * 8, 6)
  })
})

describe('the sample', () => {
  it('has its size, is the same each time and cannot be compressed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'quicbraid-sample-'))
    const hashes = []
    for (const name of ['a', 'b']) {
      await writeSample(join(folder, name), 5_000_001)
      const bytes = await readFile(join(folder, name))
      expect(bytes.length).toBe(5_000_001)
      expect(gzipSync(bytes.subarray(0, 100_000)).length).toBeGreaterThan(100_000)
      hashes.push(createHash('sha256').update(bytes).digest('hex'))
    }
    expect(hashes[0]).toBe(hashes[1])
    await rm(folder, { recursive: true })
  })
})

describe('the network', () => {
  it('has two paths that lead to addresses the server binds', async () => {
    const { server, paths } = await chooseNetwork()
    expect(paths).toHaveLength(2)
    for (const path of paths) expect(server[path.server]).toBeDefined()
  })
})
