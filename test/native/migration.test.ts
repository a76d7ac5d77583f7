/** Paths that move, over the native module and loopback: asked for by the client, and to the address that a server prefers. */
import { afterEach, describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import type { Connection, PathEvent } from '../../src/index.ts'
import { pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from './built.ts'
import { bound, closeAll, identity, nativePair, until } from './pair.ts'

afterEach(closeAll)

const BYTES = 400_000

/** What paths told, as `type by`. */
function story(connection: Connection): string[] {
  const events: string[] = []
  connection.paths.events$.subscribe((event: PathEvent) => { if (event.type === 'migrated' || event.type === 'rebound' || event.type === 'migration-failed') events.push(`${event.type} ${event.by}`) })
  return events
}

async function transfer(near: Connection, far: Connection): Promise<Uint8Array> {
  const stream = await near.openUnidirectional()
  const incoming = far.incomingUnidirectional().next()
  const sent = stream.writable.getWriter()
  void sent.write(pattern(BYTES)).then(() => sent.close())
  return (await incoming).value?.bytes() ?? new Uint8Array()
}

describe.skipIf(!MODULE_BUILT)('a client that moves', () => {
  for (const multipath of ['off', 'auto'] as const) {
    it(`keeps its path and its streams, and both ends tell (multipath ${multipath})`, async () => {
      const pair = await nativePair()
      const { near, far } = await pair.connect({ multipath, paths: [{ local: '127.0.0.1' }] })
      const [mine, theirs] = [story(near), story(far)]
      const [path] = near.paths
      const before = path?.local
      await path?.migrate()
      const second = path?.local
      expect(second).not.toBe(before)
      expect(near.local).toBe(second)
      await path?.migrate({ local: '127.0.0.2' })
      expect(path?.local).toMatch(/^127\.0\.0\.2:/)
      expect(Buffer.from(await transfer(near, far)).equals(pattern(BYTES))).toBe(true)
      await until(() => far.remote === path?.local)
      expect([path?.id, near.paths.size]).toEqual([0, 1])
      expect(mine).toEqual(['migrated local', 'migrated local'])
      // A server that hears of the second move before it has followed the first sees one.
      expect(new Set(theirs)).toEqual(new Set(['migrated peer']))
    })
  }

  it('is told why it cannot', async () => {
    const pair = await nativePair()
    const { near } = await pair.connect()
    const [path] = near.paths
    await expect(path?.migrate({ local: '127.0.0.2', remote: '127.0.0.1:9' })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: 'spec.remote' })
    await expect(path?.migrate({ local: '192.0.2.1' })).rejects.toMatchObject({ code: 'QB_BIND_FAILED' })
    const moving = path?.migrate()
    near.destroy()
    await expect(moving).rejects.toMatchObject({ code: 'QB_CONNECTION_DESTROYED' })
  })
})

describe.skipIf(!MODULE_BUILT)('a server that prefers another address', () => {
  it('is followed there', async () => {
    const own = identity(createDevCertificate())
    const server = await bound({ local: ['127.0.0.1:0', '127.0.0.2:0'] })
    const preferred = server.local.find((local) => local.startsWith('127.0.0.2')) ?? ''
    server.listen({ ...own, alpn: 'test', preferredAddress: [preferred] })
    const client = await bound()
    const dialled = server.local.find((local) => local.startsWith('127.0.0.1')) ?? ''
    const incoming = server.incoming().next()
    const near = await client.connect(dialled, { alpn: 'test', ca: own.cert })
    const far = (await incoming).value as Connection
    await until(() => near.remote === preferred)
    expect(Buffer.from(await transfer(near, far)).equals(pattern(BYTES))).toBe(true)
    await until(() => far.local === preferred)
    expect(near.paths.size).toBe(1)
  })

  it('names one whole address of each family, or is refused', async () => {
    const own = identity(createDevCertificate())
    const server = await bound({ local: '127.0.0.1:0' })
    for (const preferredAddress of [['127.0.0.2'], ['127.0.0.2:1', '127.0.0.3:1'], ['host:1']]) {
      expect(() => server.listen({ ...own, alpn: 'test', preferredAddress })).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    }
  })
})
