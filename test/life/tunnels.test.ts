/**
 * What is left when bridges and tunnels have come and gone: real sockets, one process for both ends (docs/spec/tunnel.md T64; attacks H5). Long
 * forms: `npm run torture -- joined`, `-- tunnels`.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { MODULE_BUILT } from '../native/built.ts'
import { allowing, echo, endAll, tunnelPair } from '../tunnel/pair.ts'
import { ROUNDS, leavesNothing } from './left.ts'
import { RUNS, progress } from './torture.ts'

afterEach(endAll)

/** Bridges at once. */
const WIDTH = 16

describe.skipIf(!MODULE_BUILT)('nothing is left', { timeout: 3_600_000 }, () => {
  /** tunnel T64; attacks H5 */
  it('attack H5: of bridges that came, served and went', async () => {
    const pair = await tunnelPair('udp', { near: { streams: WIDTH } })
    const target = await echo()
    allowing(pair, target.address)
    const tunnel = await pair.open()
    const port = Number(tunnel.local.split(':')[1])
    const bridges = Math.ceil((RUNS ?? 300) / ROUNDS)
    const told = progress('bridges', bridges * ROUNDS)
    await leavesNothing(async () => {
      let next = 0
      await Promise.all(Array.from({ length: WIDTH }, async () => {
        while (next < bridges) {
          next += 1
          await served(port)
          told()
        }
      }))
      while (pair.near.statistics().bridgesOpen + pair.far.statistics().bridgesOpen + target.sockets.size > 0) await turn()
      // Facts of bridges are of no use to anybody any more.
      pair.events.near.length = 0
      pair.events.far.length = 0
    })
    expect([pair.near.statistics().failed, pair.far.statistics().failed]).toEqual([{}, {}])
  })

  /** tunnel T64; attacks H5 */
  it('attack H5: of tunnels that were opened, served and closed', async () => {
    const pair = await tunnelPair('udp')
    const target = await echo()
    allowing(pair, target.address)
    const tunnels = Math.ceil((RUNS ?? 30) / ROUNDS)
    const told = progress('tunnels', tunnels * ROUNDS)
    await leavesNothing(async () => {
      for (let count = 0; count < tunnels; count++) {
        const tunnel = await pair.open()
        await served(Number(tunnel.local.split(':')[1]))
        await pair.near.close(tunnel.id)
        told()
      }
      while (pair.far.endpoint.connections.size > 0) await turn()
      pair.events.near.length = 0
      pair.events.far.length = 0
    })
    expect([pair.near.statistics().failed, pair.far.statistics().failed]).toEqual([{}, {}])
  })
})

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2))

/** A TCP connection that says something, hears it back, and ends. */
async function served(port: number): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let heard = ''
  socket.on('data', (piece: Buffer) => {
    heard += piece.toString()
  })
  socket.end('the same')
  await once(socket, 'close')
  if (heard !== 'the same') throw new Error(`heard '${heard}'`)
}
