/** Requests joined to TCP at both ends of a real connection: to targets by address and by path, from visitors; what happens when one of them is not there. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { joinTarget } from '../../src/cli/reverse/join.ts'
import type { RequestReport } from '../../src/cli/reverse/join.ts'
import type { TargetAddress } from '../../src/cli/reverse/parse.ts'
import { Visitors } from '../../src/cli/reverse/visitors.ts'
import type { BidirectionalStream } from '../../src/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { closeAll, nativePair, until } from '../native/pair.ts'

const LIMIT_MS = 60_000
const folder = mkdtempSync(join(tmpdir(), 'quicbraid-join-'))
const servers: Server[] = []

afterEach(async () => {
  await closeAll()
  for (const server of servers.splice(0)) server.close()
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A service that answers when the visitor has ended. */
async function echo(path?: string): Promise<{ target: TargetAddress; sockets: Socket[] }> {
  const sockets: Socket[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket.on('error', () => undefined))
    let text = ''
    socket.on('data', (bytes) => { text += String(bytes) }).on('end', () => socket.end(`you said ${text}`))
  })
  servers.push(server)
  if (path === undefined) server.listen(0, '127.0.0.1')
  else server.listen(path)
  await once(server, 'listening')
  return { sockets, target: path === undefined ? { kind: 'tcp', host: '127.0.0.1', port: (server.address() as AddressInfo).port } : { kind: 'unix', path } }
}

/** Streams that the requester opens, and what became of them at the other end. */
async function requests(target: TargetAddress, more: { timeoutMs?: number; head?: Uint8Array } = {}): Promise<{ open: () => Promise<BidirectionalStream>; reports: RequestReport[] }> {
  const { near, far } = await (await nativePair()).connect()
  const reports: RequestReport[] = []
  void (async () => {
    for await (const stream of far.incomingBidirectional()) void joinTarget({ stream, target, timeoutMs: 10_000, head: null, ...more }).then((report) => reports.push(report))
  })().catch(() => undefined)
  return { open: () => near.openBidirectional(), reports }
}

async function say(stream: BidirectionalStream, text: string): Promise<string> {
  stream.write(Buffer.from(text))
  stream.end()
  return Buffer.from(await stream.bytes()).toString()
}

describe.skipIf(!MODULE_BUILT)('a request at the private end', () => {
  it('goes to a TCP port or to the socket of a path, each end by itself, with a header in front if wanted', { timeout: LIMIT_MS }, async () => {
    for (const [path, head] of [[undefined, 'HEAD '], [join(folder, 'app.sock'), '']] as const) {
      const { target } = await echo(path)
      const { open, reports } = await requests(target, head === '' ? {} : { head: Buffer.from(head) })
      expect(await say(await open(), 'hello')).toBe(`you said ${head}hello`)
      await until(() => reports.length === 1, LIMIT_MS)
      expect(reports[0]).toMatchObject({ ok: true, reason: null, bytesUp: 5, bytesDown: 14 + head.length })
    }
  })

  it('is reset where the target is not there, and the next one finds it', { timeout: LIMIT_MS }, async () => {
    const path = join(folder, 'late.sock')
    const { open, reports } = await requests({ kind: 'unix', path })
    await expect(say(await open(), 'hello')).rejects.toMatchObject({ errorCode: 0x547_1907n })
    await until(() => reports.length === 1, LIMIT_MS)
    expect(reports[0]).toMatchObject({ ok: false, reason: 'connect', why: 'ENOENT' })
    await echo(path)
    expect(await say(await open(), 'hello')).toBe('you said hello')
  })

  it('ends alone when the target breaks off, and resets the target when it is reset itself', { timeout: LIMIT_MS }, async () => {
    const { target, sockets } = await echo()
    const { open, reports } = await requests(target)
    const [first, second] = [await open(), await open()]
    first.write(Buffer.from('a'))
    await until(() => sockets.length === 1, LIMIT_MS)
    second.write(Buffer.from('b'))
    await until(() => sockets.length === 2, LIMIT_MS)
    sockets[0]?.resetAndDestroy()
    await expect(first.bytes()).rejects.toMatchObject({ code: 'QB_STREAM_RESET' })
    expect(sockets[1]?.destroyed).toBe(false)
    second.reset(1)
    second.stop(1)
    await until(() => sockets[1]?.destroyed === true && reports.length === 2, LIMIT_MS)
    expect(reports.map(({ ok, reason }) => [ok, reason])).toEqual([[false, 'tcp'], [false, 'tcp']])
  })
})

describe.skipIf(!MODULE_BUILT)('a visitor of a TCP port', () => {
  it('is joined to a request of its service, and is told by a reset that there is none', { timeout: LIMIT_MS }, async () => {
    const { target } = await echo()
    const { open } = await requests(target)
    const seen: { service: string; remote: string; report: RequestReport }[] = []
    const visitors = new Visitors({
      open: async (service) => service === 'echo' ? open() : Promise.reject(Object.assign(new Error('none'), { code: 'QB_REVERSE_NO_CONNECTION' })),
      onRequest: (service, remote, report) => seen.push({ service, remote, report }),
    })
    await visitors.listen({ host: '127.0.0.1', port: 0, service: 'echo' })
    await visitors.listen({ host: '127.0.0.1', port: 0, service: 'nobody' })
    const [served, unserved] = visitors.ports.map(({ local }) => connect({ port: Number(local.split(':')[1]), host: '127.0.0.1', allowHalfOpen: true }))
    served?.end('hello')
    let text = ''
    served?.on('data', (bytes) => { text += String(bytes) })
    await Promise.all([once(served as Socket, 'end'), once(unserved as Socket, 'error')])
    served?.destroy()
    expect(text).toBe('you said hello')
    await until(() => seen.length === 2, LIMIT_MS)
    expect(seen.sort((one, other) => one.service.localeCompare(other.service))).toMatchObject([
      { service: 'echo', remote: expect.stringMatching(/^127\.0\.0\.1:\d+$/) as never, report: { ok: true, bytesUp: 5, bytesDown: 14 } },
      { service: 'nobody', report: { ok: false, reason: 'connect', why: 'QB_REVERSE_NO_CONNECTION' } },
    ])
    await visitors.close()
  })
})
