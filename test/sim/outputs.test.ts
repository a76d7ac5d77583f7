import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { World } from '../../src/sim/index.ts'
import type { SimEvent } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { connected, transfer, withPair } from './programs.ts'

const TSHARK = spawnSync('tshark', ['--version']).status === 0
let folder: string
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'quicbraid-sim-')) })
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe.skipIf(!MODULE_BUILT)('what a world tells', () => {
  it('is every datagram with its fate, at the instant it is known', async () => {
    const pair = World.pair([{ delayMs: 10, loss: { kind: 'list', drop: [1] } }])
    const events: SimEvent[] = []
    const late: SimEvent[] = []
    pair.world.events$.subscribe((event) => {
      events.push(event)
      if (event.atMs !== pair.world.nowMs) late.push(event)
    })
    await withPair(pair, ({ near, far }) => transfer(near, far, 10_000))
    expect(late).toEqual([])
    expect(events[0]).toMatchObject({ atMs: 0, link: 'client-server', from: '10.0.1.1:4433', to: '10.0.1.2:4433', fate: 'delivered', deliverAtMs: 10 })
    expect(events.filter(({ fate }) => fate === 'loss').map(({ deliverAtMs }) => deliverAtMs)).toEqual([null, null])
    const { delivered, dropped } = pair.links[0]?.statistics() ?? { delivered: 0, dropped: { loss: 0 } }
    expect([delivered, dropped.loss]).toEqual([events.filter(({ deliverAtMs }) => deliverAtMs !== null && deliverAtMs <= pair.world.nowMs).length, 2])
  })

  it('does not change by being watched', async () => {
    const hash = async (watch: boolean): Promise<string> => {
      const pair = World.pair([{ delayMs: 10, loss: 0.05 }])
      if (watch) pair.world.events$.subscribe()
      await withPair(pair, ({ near, far }) => transfer(near, far, 100_000))
      return pair.world.traceHash()
    }
    expect(await hash(true)).toBe(await hash(false))
  })

  it('is a qlog for each end of a connection', async () => {
    const files = await connected([{ delayMs: 10 }], async ({ world, near, far }) => {
      await transfer(near, far, 10_000)
      await near.close()
      await far.closed
      return world.exportQlog(folder)
    }, { record: true })
    expect(files.map((file) => basename(file).replace(/^[0-9a-f]+/, ''))).toEqual(expect.arrayContaining(['_client.sqlog', '_server.sqlog']))
    for (const file of files) expect(readFileSync(file, 'utf8')).toContain('packet_sent')
  })

  it.skipIf(!TSHARK)('is a capture that other tools decrypt', async () => {
    const file = join(folder, 'run.pcapng')
    await connected([{ delayMs: 10 }], async ({ world, near, far }) => {
      await transfer(near, far, 10_000)
      await world.exportPcap(file)
    }, { record: true })
    const seen = execFileSync('tshark', ['-r', file, '-Y', 'quic.stream.stream_id', '-T', 'fields', '-e', 'quic.stream.stream_id'], { encoding: 'utf8' })
    expect(seen.split('\n').filter((line) => line !== '').length).toBeGreaterThan(5)
  })

  it('needs a world that records', async () => {
    const world = new World()
    await expect(world.exportPcap(join(folder, 'none'))).rejects.toMatchObject({ code: 'QB_SIM_NO_RECORD' })
    await expect(world.exportQlog(folder)).rejects.toMatchObject({ code: 'QB_SIM_NO_RECORD' })
  })

  it('is the same identity for the same names, seed for seed', () => {
    const [one, two, other] = [new World({ seed: 4 }), new World({ seed: 4 }), new World({ seed: 5 })]
    one.identity('before')
    expect(one.identity('a', '10.0.1.2')).toEqual(two.identity('a', '10.0.1.2'))
    expect(one.identity('a').cert).not.toBe(other.identity('a').cert)
  })
})
