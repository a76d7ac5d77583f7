/** Devices, send errors and policies of paths, over the native module and loopback. */
import { afterEach, describe, expect, it } from 'vitest'
import { loadNative } from '../../src/binding/index.ts'
import { backgroundClock } from '../../src/config/index.ts'
import { bindWith } from '../../src/endpoint/index.ts'
import type { InterfaceAddress, PathEvent } from '../../src/index.ts'
import { MODULE_BUILT } from './built.ts'
import { closeAll, nativePair, until } from './pair.ts'

const PATIENCE_MS = 40_000
const LINUX = process.platform === 'linux'

afterEach(closeAll)

describe.skipIf(!MODULE_BUILT || !LINUX)('a path tied to a device', () => {
  it('names it, shares its socket with the next one, and is another than one without', async () => {
    const pair = await nativePair()
    const { near } = await pair.connect({ paths: [{ local: '127.0.0.1', interface: 'lo' }] })
    await near.paths.ready()
    expect(near.paths.get(0)).toMatchObject({ interface: 'lo', local: expect.stringMatching(/^127\.0\.0\.1:/) })
    const tied = await near.paths.open({ local: '127.0.0.2', interface: 'lo' }, { timeoutMs: PATIENCE_MS })
    await tied.abandon()
    const again = await near.paths.open({ local: '127.0.0.2', interface: 'lo' }, { timeoutMs: PATIENCE_MS })
    const plain = await near.paths.open({ local: '127.0.0.2' }, { timeoutMs: PATIENCE_MS })
    expect([tied.interface, again.interface, plain.interface]).toEqual(['lo', 'lo', null])
    expect(again.local).toBe(tied.local)
    expect(plain.local).not.toBe(tied.local)
  }, 2 * PATIENCE_MS)

  it('that is none is refused by its name, before and after the handshake', async () => {
    const pair = await nativePair()
    const { near } = await pair.connect()
    const refusal = { code: 'QB_BIND_FAILED', message: expect.stringMatching(/nosuch0.*ENODEV/) }
    await expect(near.paths.open({ local: '127.0.0.2', interface: 'nosuch0' })).rejects.toMatchObject(refusal)
    await expect(pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: pair.own.cert, paths: [{ interface: 'nosuch0' }] })).rejects.toMatchObject(refusal)
  })
})

describe.skipIf(!MODULE_BUILT || !LINUX)('a socket that refuses to send', () => {
  it('is an event of its path with the name of the error, at most once a second, and ends nothing', async () => {
    const pair = await nativePair()
    const { client } = pair
    const { near } = await pair.connect()
    await near.confirmed
    const errors: (PathEvent & { type: 'send-error' })[] = []
    near.paths.events$.subscribe((event) => { if (event.type === 'send-error') errors.push(event) })
    // No socket may send there without asking for it.
    const opening = near.paths.open({ remote: '255.255.255.255:9' }, { timeoutMs: PATIENCE_MS }).catch((error: unknown) => error)
    await until(() => errors.length > 0, PATIENCE_MS)
    expect(errors[0]).toMatchObject({ path: 1, errno: expect.stringMatching(/^E(ACCES|NETUNREACH|INVAL)$/), reason: 'a socket refused to send' })
    expect(await opening).toMatchObject({ code: expect.stringMatching(/^QB_PATH_/) })
    // The first at once, then one for each second at most; they are taken a turn later.
    expect(errors.length).toBeLessThanOrEqual(2 + (client.now() - (errors[0]?.atMs ?? 0)) / 1000)
    expect(near.state).toBe('open')
  }, 2 * PATIENCE_MS)
})

describe.skipIf(!MODULE_BUILT)('a path policy', () => {
  it('opens paths over real sockets, without devices where there are none of that name', async () => {
    const addresses: InterfaceAddress[] = [{ name: 'none0', address: '127.0.0.1', up: true }, { name: 'none1', address: '127.0.0.2', up: true }]
    const pair = await nativePair()
    const client = bindWith(loadNative(), {}, { interfaces: () => addresses, clock: backgroundClock })
    const connection = await client.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: pair.own.cert, pathPolicy: 'backup' })
    const failures: unknown[] = []
    connection.events$.subscribe((event) => { if (event.type === 'callback-failed') failures.push(event) })
    await connection.paths.ready({ count: 2, timeoutMs: PATIENCE_MS })
    expect([...connection.paths].map(({ local, facts }) => `${local.replace(/:.*/, '')} ${facts.status}`)).toEqual(['127.0.0.1 available', '127.0.0.2 backup'])
    expect(String(connection.paths.explain())).toContain('path policy backup')
    expect(failures).toEqual([])
    await client.close({ drainMs: 0 })
  }, 2 * PATIENCE_MS)
})
