/** Who gets where at a `quicbraid tunnel --server`: its list of targets, and what clients may not make of it. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AllowList } from '../../src/cli/tunnel/allow.ts'
import type { Lookup } from '../../src/cli/tunnel/allow.ts'
import { handlerOf } from '../../src/cli/tunnel/server.ts'
import { parseAllow } from '../../src/cli/tunnel/specs.ts'
import type { FakeSocket } from '../tunnel/fake-tcp.ts'
import { drained, inWorld } from '../tunnel/world.ts'

/** A DNS whose answers can be changed; tells what it was asked. */
function dns(answers: Record<string, readonly string[]>): { lookup: Lookup; asked: string[]; answers: Record<string, readonly string[]> } {
  const asked: string[] = []
  return { asked, answers, lookup: async (name) => {
    asked.push(name)
    const found = answers[name]
    if (found === undefined) throw Object.assign(new Error('not found'), { code: 'ENOTFOUND' })
    return found
  } }
}

const listOf = (specs: readonly string[], lookup: Lookup = dns({}).lookup): Promise<AllowList> => AllowList.of(specs.map(parseAllow), lookup)

describe('a list of targets', () => {
  it('has these targets and no others', async () => {
    const list = await listOf(['db.internal:5432', '10.0.0.5:8000-8010', '[2001:db8::1]:443', 'localhost:80'], dns({ 'db.internal': ['10.0.0.9'], localhost: ['::1', '127.0.0.1'] }).lookup)
    const target = (host: string | null, port: number): Promise<unknown> => list.target({ protocol: 'tcp', host, port })
    for (const [host, port, address] of [['db.internal', 5432, '10.0.0.9:5432'], ['DB.Internal.', 5432, '10.0.0.9:5432'], ['10.0.0.5', 8000, '10.0.0.5:8000'], ['::ffff:10.0.0.5', 8010, '10.0.0.5:8010'], ['2001:DB8:0::1', 443, '[2001:db8::1]:443'], ['localhost', 80, '[::1]:80'], [null, 5432, '10.0.0.9:5432'], [null, 8005, '10.0.0.5:8005']] as const) {
      expect(await target(host, port), `${host} ${port}`).toEqual({ address })
    }
    for (const [host, port] of [['db.internal', 5433], ['db', 5432], ['xdb.internal', 5432], ['db.internal.x', 5432], ['10.0.0.5', 7999], ['10.0.0.5', 8011], ['10.0.0.9', 5432], ['127.0.0.1', 80], ['', 80], [null, 81], ['*', 80]] as const) {
      expect(await target(host, port), `${host} ${port}`).toBe('not allowed')
    }
  })

  it('keeps UDP and TCP apart', async () => {
    const list = await listOf(['udp:10.0.0.1:53', '10.0.0.1:80'])
    const both = (port: number): Promise<unknown> => Promise.all((['tcp', 'udp'] as const).map((protocol) => list.target({ protocol, host: '10.0.0.1', port })))
    expect([await both(53), await both(80)]).toEqual([['not allowed', { address: '10.0.0.1:53' }], [{ address: '10.0.0.1:80' }, 'not allowed']])
  })

  it('answers a client that names no host only where one host has the port', async () => {
    const list = await listOf(['10.0.0.1:80', '10.0.0.2:80', '10.0.0.1:81'])
    expect([await list.target({ protocol: 'tcp', host: null, port: 80 }), await list.target({ protocol: 'tcp', host: null, port: 81 })]).toEqual(['not allowed', { address: '10.0.0.1:81' }])
  })

  it('is empty without entries: whatever is asked, nothing is allowed', async () => {
    const list = await listOf([])
    await fc.assert(fc.asyncProperty(fc.option(fc.string()), fc.integer({ min: 1, max: 65_535 }), async (host, port) => {
      expect(await list.target({ protocol: 'tcp', host, port })).toBe('not allowed')
    }))
  })

  it('names that are not found, or that lead to link-local or special addresses, are refused at the start', async () => {
    const { lookup } = dns({ metadata: ['169.254.169.254'], mixed: ['93.184.216.34', 'fe80::1'], zero: ['0.0.0.0'], none: [] })
    for (const name of ['metadata', 'mixed', 'zero', 'none']) await expect(listOf([`${name}:80`], lookup), name).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', exit: 1 })
    await expect(listOf(['missing:80'], lookup)).rejects.toMatchObject({ code: 'QB_RESOLVE_FAILED', exit: 2, message: expect.stringContaining('missing') })
    expect(await (await listOf(['169.254.169.254:80'])).target({ protocol: 'tcp', host: '169.254.169.254', port: 80 })).toEqual({ address: '169.254.169.254:80' })
  })
})

/** What a client may try, that a list with one name does not have. */
const ELSEWHERE = [
  '127.0.0.1', '::1', 'localhost', '127.1', '0x7f000001', '2130706433', '017700000001', '::ffff:127.0.0.1', '0.0.0.0', '0', '::', '169.254.169.254', '::ffff:a9fe:a9fe', 'fd00:ec2::254', 'metadata.google.internal',
  '10.0.0.1', '192.168.1.1', '172.16.0.1', '[::1]', '127.0.0.1:80', '/var/run/docker.sock', 'unix:/var/run/docker.sock', 'loopback.example', 'public.example.evil', 'public.example\0.evil', 'public.example ', ' public.example', 'public.example#',
  'user@public.example', 'public.example:80', 'public.example/', 'ⓟublic.example', '93.184.216.34',
]

describe('SSRF', () => {
  it('attack H1: a client gets to nothing that is not on the list, and its names are never looked up', async () => {
    const names = dns({ 'public.example': ['93.184.216.34'], localhost: ['127.0.0.1'], 'loopback.example': ['127.0.0.1'], 'metadata.google.internal': ['169.254.169.254'] })
    const list = await listOf(['public.example:80'], names.lookup)
    const refused: string[] = []
    const seen = await inWorld(async ({ near, far, tcp, remote, tls, paths }) => {
      far.listen(handlerOf(list, {}, { refused: (_, wanted, why) => refused.push(`${wanted}: ${why}`) }))
      const session = await near.connect({ remote, connection: { ca: tls.ca, cert: tls.cert, key: tls.key, serverName: 'server', paths: paths.slice(0, 1) } })
      await tcp.serve('93.184.216.34:80', (socket: FakeSocket) => void socket.end('public'))
      const targets = [...ELSEWHERE.map((host) => ({ host, port: 80 })), { host: 'public.example', port: 22 }, { port: 22 }]
      const tried = [...targets, { host: 'public.example', port: 80 }]
      await tcp.serve('127.0.0.1:1080', (socket) => session.join(socket, tried.shift() ?? { port: 1 }))
      const ends: string[] = []
      for (let left = tried.length; left > 0; left--) {
        const { bytes, end } = await drained(tcp.client('127.0.0.1:1080'))
        ends.push(`${end} ${String(bytes)}`)
      }
      await near.close(session.id)
      return { ends, dialled: tcp.dialled, targets: targets.length }
    }, { closed: true })
    expect(seen.dialled).toEqual(['93.184.216.34:80'])
    expect(seen.ends).toEqual([...Array<string>(seen.targets).fill('rst '), 'fin public'])
    expect(refused).toHaveLength(seen.targets)
    expect(new Set(names.asked)).toEqual(new Set(['public.example']))
  })

  it('attack H1: a name on the list that turns inwards is not followed; what was looked at is what is dialled', async () => {
    const names = dns({ 'public.example': ['93.184.216.34'], 'inside.example': ['10.0.0.9'] })
    const list = await listOf(['public.example:80', 'inside.example:80'], names.lookup)
    const target = (host: string): Promise<unknown> => list.target({ protocol: 'tcp', host, port: 80 })
    for (const inward of ['127.0.0.1', '::1', '169.254.169.254', 'fe80::1', '10.0.0.1', '192.168.0.1', 'fd00::1', '::ffff:127.0.0.1', '::ffff:10.0.0.1', '64:ff9b::7f00:1', '0.0.0.0', '::', '224.0.0.1', 'name']) {
      names.answers['public.example'] = [inward]
      expect(await target('public.example'), inward).toBe('name leads elsewhere')
      names.answers['public.example'] = [inward, '93.184.216.35']
      expect(await target('public.example'), inward).toEqual({ address: '93.184.216.35:80' })
    }
    for (const deeper of ['127.0.0.1', '169.254.169.254', '0.0.0.0']) {
      names.answers['inside.example'] = [deeper]
      expect(await target('inside.example'), deeper).toBe('name leads elsewhere')
    }
    names.answers['public.example'] = []
    expect(await target('public.example')).toBe('name not found')
    delete names.answers['public.example']
    expect(await target('public.example')).toBe('name not found')
    // One look a dial: there is no second one that could say something else.
    const before = names.asked.length
    names.answers['public.example'] = ['93.184.216.36']
    expect([await target('public.example'), names.asked.length - before]).toEqual([{ address: '93.184.216.36:80' }, 1])
  })
})

it('a handler lets nobody in without a certificate, unless anybody may come', async () => {
  const list = await listOf(['10.0.0.5:22'])
  const refused: string[] = []
  const log = { refused: (remote: string, wanted: string, why: string): void => void refused.push(`${remote} ${wanted}: ${why}`) }
  const asked = { protocol: 'tcp' as const, host: '10.0.0.5', port: 22, remote: '192.0.2.1:5', peer: null }
  const peer = { fingerprint: 'x' } as never
  expect(await handlerOf(list, {}, log)(asked)).toBeUndefined()
  expect(await handlerOf(list, {}, log)({ ...asked, peer })).toBe('10.0.0.5:22')
  expect(await handlerOf(list, { insecureAnyone: true, proxyProtocol: 'v2' }, log)(asked)).toEqual({ target: '10.0.0.5:22', proxyProtocol: 'v2' })
  expect(await handlerOf(list, {}, log)({ ...asked, host: null, port: 0 })).toBeUndefined()
  expect(await handlerOf(list, {}, log)({ ...asked, host: null, port: 0, peer })).toBe('0.0.0.0:1')
  expect(await handlerOf(await listOf([]), {}, log)({ ...asked, host: null, port: 0, peer })).toBeUndefined()
  expect(refused).toEqual(['192.0.2.1:5 10.0.0.5:22: no certificate that is known', '192.0.2.1:5 a connection: no certificate that is known', '192.0.2.1:5 a connection: nothing is allowed'])
})
