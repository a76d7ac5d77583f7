/** V13: every point at which an attempt of a private end can fail, and what people are told. Simulated worlds; one test on real sockets, for the kernel's word. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import type { Connection } from '../../src/index.ts'
import { ReverseCode } from '../../src/reverse/codes.ts'
import { reverseConnect } from '../../src/reverse/index.ts'
import type { PreconnectChange, ReverseConnectOptions } from '../../src/reverse/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { inPrivateWorld } from './private-world.ts'
import type { PrivateWorld, PrivateWorldOptions } from './private-world.ts'

interface Failure {
  name: string
  world?: PrivateWorldOptions
  before?: (world: PrivateWorld) => void | Promise<void>
  dial?: (world: PrivateWorld) => Partial<ReverseConnectOptions>
  code: string
  /** Part of what people are told. */
  says: string
  /** From the failure to the next dial; 30 s where a person is needed. */
  pauseMs: 1000 | 30_000
  /** From the dial to the failure, ms. */
  within?: number
}

const closing = (code: bigint, reason = ''): PrivateWorldOptions => ({ raw: async (connection: Connection) => void (await connection.close({ code, reason, drainMs: 0 })) })
const refusing = (code: bigint, text = ''): PrivateWorldOptions => ({ script: ({ refuse }) => refuse(code, text) })
const without = <T extends object>(value: T, ...names: (keyof T)[]): T => Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name as keyof T))) as T

const FAILURES: readonly Failure[] = [
  { name: 'the name of the public end is not known', dial: () => ({ to: 'nowhere:4433', connection: { paths: [{}] } }), code: 'QB_RESOLVE_FAILED', says: 'nowhere', pauseMs: 1000, within: 1 },
  { name: 'nobody answers', before: ({ links }) => links[0]?.cut(), code: 'QB_CONNECT_TIMEOUT', says: 'or give it more time (connectTimeoutMs)', pauseMs: 1000, within: 5001 },
  { name: 'the public end shows a certificate that is not trusted', dial: ({ world }) => ({ connection: { ca: world.identity('other').ca } }), code: 'QB_TLS_CERTIFICATE', says: '', pauseMs: 30_000 },
  {
    name: 'the public end wants another certificate', code: 'QB_REVERSE_AUTH', says: 'the public end at 10.0.1.2:4433 does not accept this certificate', pauseMs: 30_000,
    dial: ({ world }) => ({ identity: without(world.identity('somebody'), 'ca') }),
  },
  { name: 'it speaks another protocol', world: { server: { alpn: 'h3' } }, code: 'QB_REVERSE_NOT_SUPPORTED', says: 'takes no reverse connections', pauseMs: 30_000 },
  { name: 'REFUSE(AUTH)', world: refusing(ReverseCode.AUTH, 'not you'), code: 'QB_REVERSE_AUTH', says: '("not you")', pauseMs: 30_000 },
  { name: 'REFUSE(NAME)', world: refusing(ReverseCode.NAME), code: 'QB_REVERSE_NAME', says: 'the public end at 10.0.1.2:4433 does not give this service to this certificate', pauseMs: 30_000 },
  { name: 'REFUSE(FULL)', world: refusing(ReverseCode.FULL), code: 'QB_REVERSE_FULL', says: 'as many connections as it may', pauseMs: 1000 },
  { name: 'REFUSE(BUSY)', world: refusing(ReverseCode.BUSY), code: 'QB_REVERSE_BUSY', says: 'has too much to do; it is tried again', pauseMs: 1000 },
  { name: 'REFUSE(SHUTDOWN)', world: refusing(ReverseCode.SHUTDOWN), code: 'QB_REVERSE_SHUTDOWN', says: 'is being stopped', pauseMs: 1000 },
  { name: 'GOAWAY in place of ACCEPT', world: { script: ({ goAway }) => goAway() }, code: 'QB_REVERSE_SHUTDOWN', says: 'is being stopped', pauseMs: 1000 },
  { name: 'HELLO in place of ACCEPT', world: { script: ({ control, hello }) => control.send(hello) }, code: 'QB_REVERSE_PROTOCOL', says: 'HELLO came in place of ACCEPT', pauseMs: 1000 },
  { name: 'what nobody can read in place of ACCEPT', world: { script: ({ control }) => void control.stream.write(Uint8Array.of(0, 3, 9, 9, 9)) }, code: 'QB_REVERSE_PROTOCOL', says: 'malformed', pauseMs: 1000 },
  { name: 'the end of the control stream in place of ACCEPT', world: { script: ({ control }) => control.stream.end() }, code: 'QB_REVERSE_PROTOCOL', says: 'ended before ACCEPT', pauseMs: 1000 },
  { name: 'no answer to HELLO', world: { script: () => {} }, code: 'QB_REVERSE_TIMEOUT', says: 'at 10.0.1.2:4433 has not accepted it within 5000 ms (connectTimeoutMs); it got to: waiting for its ACCEPT', pauseMs: 1000, within: 5001 },
  { name: 'HELLO that is lost for good', world: { raw: () => {} }, before: ({ world, links }) => world.at(world.nowMs + 35, () => links[0]?.cut('a-to-b')), code: 'QB_REVERSE_TIMEOUT', says: 'waiting for its ACCEPT', pauseMs: 1000, within: 5001 },
  { name: 'no control stream is allowed', world: { server: { limits: { bidirectionalStreams: 0 } } }, code: 'QB_REVERSE_TIMEOUT', says: 'it got to: opening the control stream', pauseMs: 1000, within: 5001 },
  { name: 'the public end closes with a code of ours', world: closing(ReverseCode.BUSY), code: 'QB_REVERSE_BUSY', says: 'has too much to do; it is tried again', pauseMs: 1000 },
  { name: 'the public end closes with AUTH', world: closing(ReverseCode.AUTH), code: 'QB_REVERSE_AUTH', says: 'does not accept this certificate', pauseMs: 30_000 },
  { name: 'the public end closes without a code', world: closing(0n, 'bye'), code: 'QB_CONNECTION_CLOSED', says: 'closed by the public end before it was accepted ("bye")', pauseMs: 1000 },
  { name: 'the public end crashes between handshake and ACCEPT', world: { raw: () => {} }, before: ({ world, server }) => world.at(world.nowMs + 40, () => server.crash()), code: 'QB_REVERSE_TIMEOUT', says: 'waiting for its ACCEPT', pauseMs: 1000 },
  {
    name: 'there is no memory for a connection', code: 'other', says: 'Array buffer allocation failed', pauseMs: 1000, within: 1,
    before: ({ near }) => {
      Object.assign(near, { connect: () => { throw new RangeError('Array buffer allocation failed') } })
    },
  },
  { name: 'an option of the connection does not go with its endpoint', world: { private: { connection: { versions: ['v1'] } } }, dial: () => ({ connection: { firstVersion: 'v2' } }), code: 'QB_OPTION_INVALID', says: 'firstVersion', pauseMs: 30_000, within: 1 },
]

describe.skipIf(!MODULE_BUILT)('an attempt fails where', { timeout: 60_000 }, () => {
  /** reverse V3, V12, V13, V32 */
  it.each(FAILURES.map((failure) => [failure.name, failure] as const))('%s', async (_name, { world: options, before, dial, code, says, pauseMs, within }) => {
    await inPrivateWorld(async (world) => {
      await before?.(world)
      const sinceMs = world.world.nowMs
      const dialler = world.dial({ retry: { jitter: 0 }, ...dial?.(world) })
      const { until, states, steps, near } = world
      await until(() => states.length === 2)
      const [, failed] = states
      if (within !== undefined) expect((failed?.atMs ?? 0) - sinceMs).toBeLessThanOrEqual(within)
      expect([failed?.state, (failed?.error as { code?: string } | null)?.code ?? 'other']).toEqual(['ERR', code])
      expect(failed?.reason).toContain(says)
      expect(failed?.reason).toBe(failed?.error?.message)
      expect([dialler.statistics().failed, dialler.statistics().attempts]).toEqual([{ [code]: 1 }, 1])
      expect(steps.filter(({ state }) => state === 'FAILED').map(({ reason }) => reason)).toEqual([failed?.reason])
      // Freed, and tried again after its pause.
      await until(() => near.connections.size === 0, 500)
      await until(() => dialler.statistics().attempts === 2, 40_000)
      expect((steps.findLast(({ state }) => state === 'CONNECTING')?.atMs ?? 0) - (failed?.atMs ?? 0)).toBeCloseTo(pauseMs, 0)
      await dialler.stop({ drainMs: 0 })
      expect(states.map(({ state }) => state)).toEqual(['INIT', 'ERR', 'STOP'])
    }, { manual: true, ...options })
  })

  /** reverse V13 */
  it('nothing listens at the address: the kernel says so, and it is told at once', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1')
    await once(socket, 'listening')
    const { port } = socket.address() as AddressInfo
    await new Promise<void>((resolve) => void socket.close(() => resolve()))
    const { cert, key } = createDevCertificate({ names: ['web'] })
    const dialler = reverseConnect({ to: `rev@127.0.0.1:${port}`, identity: { cert, key }, service: 'web', connectTimeoutMs: 60_000 }, () => {})
    const failed = await new Promise<PreconnectChange>((resolve) => dialler.state$.subscribe((change) => change.state === 'ERR' && resolve(change)))
    expect(failed.error).toMatchObject({ code: 'QB_CONNECT_REFUSED' })
    await dialler.stop()
    expect(dialler.state).toBe('STOP')
  })

  /** reverse V13 */
  it('HELLO is lost once: nothing; it is sent again', async () => {
    await inPrivateWorld(async ({ world, links, dial, until }) => {
      world.at(world.nowMs + 35, () => links[0]?.cut('a-to-b'))
      world.at(world.nowMs + 300, () => links[0]?.restore('a-to-b'))
      const dialler = dial()
      await until(() => dialler.state === 'FULL')
      expect(dialler.statistics()).toMatchObject({ attempts: 1, failed: {} })
    }, { manual: true })
  })
})
