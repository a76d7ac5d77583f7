import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { download, FileServer, fileTarget, openInside, StallClock } from '../../src/cli/files/index.ts'
import type { Downloaded, RequestReport } from '../../src/cli/files/index.ts'
import { connectedPair, pattern, watchContract } from '../fake/pair.ts'
import type { Pair } from '../fake/pair.ts'

watchContract()

let folder = ''
const content = pattern(1_500_000)

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'quicbraid-transfer-')))
  await writeFile(join(folder, 'file'), content)
  await writeFile(join(folder, 'empty'), '')
})

afterAll(async () => rm(folder, { recursive: true, force: true }))

interface Served extends Pair {
  requests: RequestReport[]
  fetch(path: string, more?: { sha256?: string; signal?: AbortSignal; onBytes?: (bytes: number) => void }): Promise<Downloaded>
}

async function served(): Promise<Served> {
  const pair = await connectedPair()
  const requests: RequestReport[] = []
  const server = new FileServer((path) => openInside(folder, path), (_, report) => requests.push(report))
  void server.serve(pair.far, new AbortController().signal)
  return {
    ...pair, requests,
    fetch: async (path, more = {}) => download({ connection: pair.near, url: path, path, target: await fileTarget(join(folder, 'got')), stall: new StallClock(), ...more }),
  }
}

describe('a download', () => {
  it('arrives whole, hashed, under its name', async () => {
    const { fetch, requests, done } = await served()
    let seen = 0
    const { bytes, sha256 } = await fetch('/file', { onBytes: (so) => { seen = so } })
    expect({ bytes, sha256, seen }).toEqual({ bytes: content.length, sha256: createHash('sha256').update(content).digest('hex'), seen: content.length })
    expect((await readFile(join(folder, 'got'))).equals(content)).toBe(true)
    expect(await readdir(folder)).not.toContain('got.part')
    expect(requests).toMatchObject([{ method: 'GET', path: '/file', bytes: content.length, ok: true }])
    await rm(join(folder, 'got'))
    await done()
  })

  it('of an empty file makes an empty file', async () => {
    const { fetch, done } = await served()
    expect((await fetch('/empty')).bytes).toBe(0)
    expect((await readFile(join(folder, 'got'))).length).toBe(0)
    await rm(join(folder, 'got'))
    await done()
  })

  it('of a missing file or one outside fails alike and leaves nothing', async () => {
    const { fetch, requests, done } = await served()
    for (const path of ['/missing', '/../x', '/%2e%2e/x']) await expect(fetch(path), path).rejects.toMatchObject({ exit: 5, message: `${path}: no such file` })
    expect(requests.map(({ ok, reason }) => ({ ok, reason }))).toEqual(Array.from({ length: 3 }, () => ({ ok: false, reason: 'no such file' })))
    expect((await readdir(folder)).sort()).toEqual(['empty', 'file'])
    await done()
  })

  it('with another hash than expected fails and leaves nothing', async () => {
    const { fetch, done } = await served()
    await expect(fetch('/file', { sha256: '0'.repeat(64) })).rejects.toMatchObject({ code: 'QB_RESULT_WRONG', exit: 5 })
    expect((await readdir(folder)).sort()).toEqual(['empty', 'file'])
    await done()
  })

  it('ends with the reason of an abort and leaves nothing', async () => {
    const { fetch, done } = await served()
    const stop = new AbortController()
    const reason = new Error('enough')
    await expect(fetch('/file', { signal: stop.signal, onBytes: () => stop.abort(reason) })).rejects.toBe(reason)
    expect((await readdir(folder)).sort()).toEqual(['empty', 'file'])
    await done()
  })

  it('of a connection that is lost fails and leaves nothing', async () => {
    const { fetch, near, done } = await served()
    const fetching = fetch('/file', { onBytes: () => near.destroy() })
    await expect(fetching).rejects.toMatchObject({ code: 'QB_CONNECTION_DESTROYED' })
    expect((await readdir(folder)).sort()).toEqual(['empty', 'file'])
    await done()
  })
})

describe('the file server', () => {
  it('refuses what is no GET request', async () => {
    const { near, requests, done } = await served()
    const stream = await near.openBidirectional()
    stream.write(Buffer.from('PUT /x 3\r\nabc'))
    stream.end()
    await expect(stream.bytes()).rejects.toMatchObject({ code: 'QB_STREAM_RESET', errorCode: 0x403n })
    expect(requests).toMatchObject([{ method: 'PUT', ok: false }])
    await done()
  })

  it('refuses a request line without end', async () => {
    const { near, done } = await served()
    const stream = await near.openBidirectional()
    stream.write(Buffer.alloc(20_000, 0x61))
    await expect(stream.bytes()).rejects.toMatchObject({ code: 'QB_STREAM_RESET', errorCode: 0x403n })
    await done()
  })
})

describe('the stall clock', () => {
  it('keeps the longest time between two arrivals', () => {
    const clock = new StallClock()
    expect(clock.longestMs).toBe(0)
    for (const atMs of [1000, 1010, 1090, 1100]) clock.onBytes(atMs)
    expect(clock.longestMs).toBe(80)
  })
})
