/** Public ends, and users, that do to a private end what nobody should (docs/spec/reverse.md V4, V13, V15, V45, attacks H8), in virtual time. */
import { describe, expect, it } from 'vitest'
import { ReverseCode } from '../../src/reverse/codes.ts'
import { reverseConnect } from '../../src/reverse/index.ts'
import type { ReverseConnectOptions } from '../../src/reverse/index.ts'
import { encodeMessage } from '../../src/reverse/messages.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { inPrivateWorld, shout } from './private-world.ts'
import { seeded } from './seeded.ts'

describe.skipIf(!MODULE_BUILT)('a private end', { timeout: 60_000 }, () => {
  /** reverse V4 */
  it('takes a control stream that is reset for what it is', async () => {
    await inPrivateWorld(async ({ guests, until, dialler }) => {
      await until(() => dialler.state === 'FULL')
      guests[0]?.control.stream.reset(0)
      await until(() => guests[0]?.connection.state === 'closed')
      expect(await guests[0]?.connection.closed).toMatchObject({ by: 'peer', errorCode: ReverseCode.PROTOCOL })
      await until(() => guests.length === 2 && dialler.state === 'FULL')
    })
  })

  it('shows words of the public end on one line', async () => {
    await inPrivateWorld(async ({ guests, until, dialler, steps, states }) => {
      await until(() => dialler.state === 'FULL')
      await guests[0]?.control.send({ type: 'goaway', code: 0n, text: 'a\nb\u001B[31m', streams: 0 })
      await until(() => guests.length === 2 && dialler.state === 'FULL')
      void guests[0]?.connection.close({ code: 0, reason: 'c\nd' })
      void guests[1]?.connection.close({ code: 0x99, reason: 'e\nf' })
      await until(() => guests.length === 3 && dialler.state === 'FULL')
      const told = [...steps, ...states].map(({ reason }) => reason).join('')
      expect(told).toMatch(/a.b.*c.d.*e.f/)
      expect(told).not.toMatch(/\p{Cc}/u)
    })
  })

  /** reverse V4, V13 */
  it('outlives whatever a public end may say, and comes to one that makes sense', async () => {
    const random = seeded(12)
    const junk = (): Uint8Array => Uint8Array.from({ length: 1 + Math.floor(random() * 40) }, () => Math.floor(random() * 256))
    await inPrivateWorld(async ({ until, dialler, near }) => {
      await until(() => dialler.statistics().attempts > 40, 600_000)
      await until(() => dialler.state === 'FULL' && dialler.statistics().attempts > 40, 600_000)
      await until(() => dialler.statistics().draining === 0 && near.connections.size === 1, 120_000)
      expect(dialler.statistics()).toMatchObject({ connections: 1, draining: 0, requestsOpen: 0 })
    }, { dial: { retry: 'fixed', connectTimeoutMs: 500 }, script: async ({ accept, control: { stream }, connection }, count) => {
      if (count > 40) return accept()
      if (random() < 0.6) await accept()
      if (random() < 0.3) stream.write(encodeMessage({ type: 'goaway', code: BigInt(Math.floor(random() * 20)), text: 'x', streams: random() < 0.5 ? 0 : null }))
      if (random() < 0.5) stream.write(junk())
      const ends = [() => stream.end(), () => stream.reset(3), () => stream.stop(3), () => connection.destroy(), () => void connection.close({ code: 77 }), () => {}]
      ends[Math.floor(random() * ends.length)]?.()
      // Half a message is none yet; it is not for ever.
      void connection.close({ code: 5, drainMs: random() < 0.5 ? 0 : 1500 })
    } })
  })

  /** reverse V45 */
  it('attack H8: sends no more PINGs than are of use, whatever the public end asks for', async () => {
    await inPrivateWorld(async ({ world, until, dialler, links }) => {
      await until(() => dialler.state === 'FULL')
      const before = links[0]?.statistics().delivered ?? 0
      await world.sleep(10_000)
      expect((links[0]?.statistics().delivered ?? 0) - before).toBeLessThan(10 * 10 * 4)
    }, { script: ({ accept }) => accept({ pingMs: 1 }) })
  })

  /** reverse V15 */
  it.each(['ACCEPTED', 'IDLE', 'CONNECTING', 'HANDSHAKED', 'REVERSING'])('that is stopped by who is told %s leaves nothing behind', async (step) => {
    await inPrivateWorld(async ({ world, dial, until, near, steps, states }) => {
      const dialler = dial()
      let stopped: Promise<number[]> | null = null
      const counts = (): number[] => [near.connections.size, steps.length, states.length, dialler.statistics().connections]
      dialler.events$.subscribe(({ state }) => {
        if (state === step) stopped ??= dialler.stop({ drainMs: 0 }).then(counts)
      })
      await until(() => stopped !== null)
      const told = await (stopped as unknown as Promise<number[]>)
      await world.sleep(1000)
      expect([told, told[0], dialler.state]).toEqual([counts(), 0, 'STOP'])
    }, { manual: true })
  })

  it('that is stopped by who is told that it is FULL leaves nothing behind', async () => {
    await inPrivateWorld(async ({ world, dial, until, near, guests }) => {
      const dialler = dial()
      let stopped: Promise<void> | null = null
      dialler.state$.subscribe(({ state }) => { if (state === 'FULL') stopped ??= dialler.stop() })
      await until(() => stopped !== null)
      await (stopped as unknown as Promise<void>)
      expect([near.connections.size, dialler.state, dialler.statistics().connections]).toEqual([0, 'STOP', 0])
      await world.sleep(1000)
      expect(await guests[0]?.connection.closed).toMatchObject({ by: 'peer', errorCode: ReverseCode.SHUTDOWN })
    }, { manual: true })
  })

  /** reverse V15 */
  it('that is enabled while it ends counts the connections of the new time, whatever the old one does', async () => {
    let go = (): void => {}
    const gone = new Promise<void>((resolve) => void (go = resolve))
    await inPrivateWorld(async ({ world, dialler, guests, until }) => {
      await until(() => dialler.state === 'FULL')
      const lists: number[] = []
      dialler.connections$.subscribe((list) => lists.push(list.length))
      const asking = guests[0]?.ask('slow').catch(() => 'cut')
      await world.sleep(100)
      const stopping = dialler.stop({ drainMs: 2000 })
      dialler.enable()
      await until(() => guests.length === 2 && dialler.state === 'FULL')
      expect(dialler.statistics()).toMatchObject({ connections: 1, draining: 1 })
      go()
      await asking
      await stopping
      expect(dialler.statistics()).toMatchObject({ connections: 1, draining: 0 })
      expect(lists).toEqual([1, 0, 1])
      await dialler.stop()
      expect(lists).toEqual([1, 0, 1, 0])
    }, { handler: async (stream, connection) => {
      await gone
      await shout(stream, connection)
    } })
  })

  it('cannot be had on an endpoint that is closed', async () => {
    await inPrivateWorld(async ({ dial, near }) => {
      await near.close()
      expect(() => dial()).toThrow(expect.objectContaining({ code: 'QB_ENDPOINT_CLOSED' }) as Error)
    }, { manual: true })
  })

  it('checks options of the connection when it is called', () => {
    const options = { to: '127.0.0.1:1', identity: { cert: 'x', key: 'x' }, service: 'web' }
    for (const [wrong, field] of [
      [{ connection: { multipath: 'perhaps' } }, 'connection.multipath'], [{ connection: { limits: { idleTimeoutMs: -1 } } }, 'connection.limits.idleTimeoutMs'], [{ connection: { scheduler: 'nonsense' as 'min-rtt' } }, 'connection.scheduler'], [{ connection: { cert: 'x' } }, 'connection.key'], [{ connection: 5 }, 'connection'], [{ connection: null }, 'connection'],
      [{ identity: { cert: 1, key: 'x' } }, 'identity.cert'],
    ] as [Partial<ReverseConnectOptions>, string][]) {
      expect(() => reverseConnect({ ...options, ...wrong }, shout), field).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID', field }) as Error)
    }
    expect(() => reverseConnect({ ...options, connection: { limits: { bidirectionalStreams: 0 } } }, shout)).toThrow(/at least 1$/)
    expect(() => reverseConnect({ ...options, connection: { multiPath: 'off' } as never }, shout)).toThrow(/multipath\?/)
  })
})
