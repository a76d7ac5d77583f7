import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openInside, readRequest, segmentsOf, writeRequest } from '../../src/cli/files/index.ts'

let outside = ''
let root = ''

beforeAll(async () => {
  outside = await realpath(await mkdtemp(join(tmpdir(), 'quicbraid-locate-')))
  root = join(outside, 'www')
  await mkdir(join(root, 'sub'), { recursive: true })
  await mkdir(join(outside, 'www-secret'))
  await writeFile(join(outside, 'secret'), 'secret')
  await writeFile(join(outside, 'www-secret', 'x'), 'secret')
  await writeFile(join(root, 'a b.txt'), 'hello')
  await writeFile(join(root, 'sub', 'x'), 'inside')
  await symlink(join(outside, 'secret'), join(root, 'out'))
  await symlink(outside, join(root, 'up'))
  await symlink(join(root, 'sub', 'x'), join(root, 'in'))
  spawnSync('mkfifo', [join(root, 'fifo')])
})

afterAll(async () => rm(outside, { recursive: true, force: true }))

async function found(path: string): Promise<number | null> {
  const file = await openInside(root, path)
  await file?.handle.close()
  return file?.bytes ?? null
}

describe('a folder', () => {
  it('gives its files, also through links that stay inside', async () => {
    expect(await found('/a%20b.txt')).toBe(5)
    expect(await found('/sub/x')).toBe(6)
    expect(await found('//sub/./x?query')).toBe(6)
    expect(await found('/in')).toBe(6)
  })

  it('gives nothing outside', async () => {
    const tries = [
      '/../secret', '/sub/../../secret', '/%2e%2e/secret', '/..%2fsecret', '/..%5csecret', '/%2e%2e%2fsecret', '/out', '/up/secret', '/../www-secret/x',
      `/${encodeURIComponent(join(outside, 'secret'))}`, '/sub/x%00', '/%', '/', '', 'sub/x', '/missing', '/sub',
    ]
    for (const path of tries) expect(await found(path), path).toBeNull()
  })

  it('does not wait for a FIFO', async () => {
    expect(await found('/fifo')).toBeNull()
  })
})

describe('request paths', () => {
  it('split into decoded names', () => {
    expect(segmentsOf('/a/b%20c')).toEqual(['a', 'b c'])
    expect(segmentsOf('/a/../b')).toBeNull()
  })
})

describe('request lines', () => {
  it('are read with and without their line end', () => {
    expect(readRequest(writeRequest('/x%20y'))).toEqual({ method: 'GET', path: '/x%20y' })
    expect(readRequest(Buffer.from('GET /x'))).toEqual({ method: 'GET', path: '/x' })
    expect(readRequest(Buffer.from('GET /x HTTP/1.1\r\n'))).toEqual({ method: 'GET', path: '/x' })
    expect(readRequest(Buffer.from('PUT /x 12\r\n'))?.method).toBe('PUT')
  })

  it('are refused when they are something else', () => {
    for (const text of ['', '\r\n', 'GET', 'GET x', 'get /x', 'GET  /x', '\u0016\u0003\u0001', 'GET /a\r\nHost: b\r\n']) expect(readRequest(Buffer.from(text)), JSON.stringify(text)).toBeNull()
  })
})
