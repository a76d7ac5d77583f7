/** Reverse connections that come and go, over real sockets (docs/spec/reverse.md V52). Long form: `npm run torture -- reverse`. */
import { filter, firstValueFrom } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import { reverseConnect, reverseListen } from '../../src/reverse/index.ts'
import type { ReverseListener } from '../../src/reverse/index.ts'
import { ROUNDS, leavesNothing } from '../life/left.ts'
import { RUNS, progress } from '../life/torture.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { ask, echo } from './world.ts'

let listener: ReverseListener | null = null
afterEach(() => listener?.close({ drainMs: 0 }))

describe.skipIf(!MODULE_BUILT)('nothing is left', () => {
  /** reverse V52 */
  it('of connections that were dialled, accepted, asked once, and closed', async () => {
    const [front, web] = [createDevCertificate(), createDevCertificate({ names: ['web'] })]
    const public_ = (listener = await reverseListen({ local: '127.0.0.1:0', cert: front.cert, key: front.key, pins: [web.pin], server: { maxConnections: { perAddress: 100_000 } } }))
    const cycles = Math.ceil((RUNS ?? 60) / ROUNDS)
    const told = progress('connections', cycles * ROUNDS)
    const pool = public_.pool('web')
    await leavesNothing(async () => {
      for (let cycle = 0; cycle < cycles; cycle += 1) {
        const dialler = reverseConnect({ to: public_.local[0] ?? '', identity: web, service: 'web', connection: { pins: [front.pin] } }, echo)
        const request = await pool.request('web', { waitForMs: 30_000 })
        if ((await ask(request, 'x')) !== 'x') throw new Error('an answer is wrong')
        await dialler.stop({ drainMs: 0 })
        // A request may go out over one that is closed at the other end and not yet here.
        await firstValueFrom(pool.empty$.pipe(filter((empty) => empty)))
        told()
      }
      while (public_.statistics().connections + public_.statistics().draining + public_.statistics().pending > 0) await new Promise((resolve) => setTimeout(resolve, 5))
    })
    expect(public_.statistics()).toMatchObject({ accepted: cycles * ROUNDS, closed: cycles * ROUNDS, requests: cycles * ROUNDS, refused: {}, keys: 0, streamsOpen: 0, waiting: 0, pending: 0 })
  }, 3_600_000)
})
