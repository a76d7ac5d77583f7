/** What people type after the options of `quicbraid tunnel`, and where an IP leads. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parsePaths } from '../../src/cli/tunnel/command.ts'
import { canonicalIp, scopeOf } from '../../src/cli/tunnel/scope.ts'
import { join, parseAllow, parseAllowListen, parseForward, parseReconnect, parseServer, parseSocks } from '../../src/cli/tunnel/specs.ts'

const words = (run: () => unknown): string => {
  try {
    return `no error: ${JSON.stringify(run())}`
  } catch (error) {
    expect(error).toMatchObject({ code: 'QB_OPTION_INVALID', exit: 1 })
    return (error as Error).message
  }
}

describe('-L and -R', () => {
  it.each([
    ['8080:db:5432', 'tcp', '127.0.0.1', 8080, 'db', 5432],
    ['tcp:8080:db:5432', 'tcp', '127.0.0.1', 8080, 'db', 5432],
    ['udp:53:dns.internal:53', 'udp', '127.0.0.1', 53, 'dns.internal', 53],
    ['localhost:0:10.0.0.5:22', 'tcp', '127.0.0.1', 0, '10.0.0.5', 22],
    ['*:8080:db:5432', 'tcp', '0.0.0.0', 8080, 'db', 5432],
    [':8080:db:5432', 'tcp', '0.0.0.0', 8080, 'db', 5432],
    ['[::1]:8080:[2001:DB8:0::1]:80', 'tcp', '::1', 8080, '2001:db8::1', 80],
    ['[::]:8080:a_b-c.example.:80', 'tcp', '::', 8080, 'a_b-c.example.', 80],
  ])('%s', (text, kind, host, port, target, targetPort) => {
    expect(parseForward('-L', text)).toEqual({ spec: text, kind, bind: { host, port }, target: { host: target, port: targetPort } })
  })

  it.each([
    ['', 'it is empty'], ['8080', 'a target, with its port, is missing'], ['8080:db', 'a target, with its port, is missing'], ['1:2:3:4:5', 'IPv6 addresses stand in brackets'],
    ['8080:2001:db8::1:80', 'IPv6 addresses stand in brackets'], ['8080:db:', "the target's port is missing"], ['8080::80', "the target's host is missing"], [':db:80', 'the port to listen on is missing'], ['8080:db:0', 'not a port from 1'],
    ['8080:db:65536', 'not a port'], ['x:db:80', "'x' is not a port from 0"], ['8080:db:8o', 'not a port'], ['8080:a b:80', 'neither a name nor an address'], ['8080:1.2.3:80', 'neither a name nor an address'],
    ['8080:[::1:80', 'brackets must be around'], ['8080:[db]:80', 'is not an IPv6 address'], ['8080:[fe80::1%eth0]:80', 'is not an IPv6 address'], ['8080:a[::1]:80', 'neither a name nor an address'], ['/run/x:db:80', 'paths of sockets are not served'],
    ['8080:/run/docker.sock', 'paths of sockets are not served'], ['host:8080:db:80', 'is not an address of this machine'], [`8080:${'a'.repeat(256)}:80`, 'neither a name nor an address'], ['8080:\u001B[31m:80', 'brackets must be around'],
  ])('%j is refused: %s', (text, why) => {
    const said = words(() => parseForward('-L', text))
    expect(said).toContain(`-L '${text}': `)
    expect(said).toContain(why)
    expect(said).toContain('e.g. 8080:db.internal:5432')
  })

  it('come back from what they were made of', () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9]{0,20}(\.[a-z]{1,9})?$/)
    const host = fc.oneof(name, fc.ipV4(), fc.ipV6().map((ip) => canonicalIp(ip) ?? ip).filter((ip) => ip.includes(':')))
    const bind = fc.oneof(fc.ipV4(), fc.ipV6().map((ip) => canonicalIp(ip) ?? ip).filter((ip) => ip.includes(':')))
    fc.assert(fc.property(bind, fc.nat(65_535), host, fc.integer({ min: 1, max: 65_535 }), (local, port, target, targetPort) => {
      const spec = `${join({ host: local, port })}:${join({ host: target, port: targetPort })}`
      expect(parseForward('-L', spec)).toMatchObject({ bind: { host: local, port }, target: { host: target, port: targetPort } })
    }))
  })

  it('are read or refused in words, whatever is typed', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[[\]:0-9a-f.*/-]{0,40}$/))
    for (const parse of [(spec: string) => parseForward('-L', spec), parseSocks, parseAllow, parseAllowListen, parseReconnect, (spec: string) => parseServer(spec, 4433)]) {
      fc.assert(fc.property(text, (spec) => {
        try {
          parse(spec)
        } catch (error) {
          expect(error).toMatchObject({ code: 'QB_OPTION_INVALID', exit: 1 })
        }
      }))
    }
  })
})

it('-D, --allow, --allow-listen, --reconnect, --paths and the server have these forms', () => {
  expect([parseSocks('1080'), parseSocks('[::1]:0'), parseSocks('*:1080')]).toEqual([{ host: '127.0.0.1', port: 1080 }, { host: '::1', port: 0 }, { host: '0.0.0.0', port: 1080 }])
  expect(parseAllow('udp:dns:53')).toMatchObject({ kind: 'udp', host: 'dns' })
  expect(words(() => parseForward('-R', '0:h:80'))).toContain('not a port from 1')
  expect(words(() => parseForward('-R', 'udp:1:dns:53'))).toContain('-R carries TCP alone')
  expect(words(() => parseSocks('proxy:1080'))).toContain('is not an address of this machine')
  expect([parseAllow('db:5432'), parseAllow('127.0.0.1:8000-8010'), parseAllow('[::1]:443')].map(({ host, first, last }) => [host, first, last])).toEqual([['db', 5432, 5432], ['127.0.0.1', 8000, 8010], ['::1', 443, 443]])
  for (const [text, why] of [['*:80', 'no way to allow every host'], [':80', 'no way to allow every host'], ['db', 'the port is missing'], ['db:*', 'is not a port'], ['db:10-9', 'not a range'], ['db:1-2-3', 'not a range'], ['db:0', 'not a port from 1'], ['/run/x.sock', 'paths of sockets']] as const) {
    expect(words(() => parseAllow(text)), text).toContain(why)
  }
  expect([parseAllowListen('8080'), parseAllowListen('*:8000-8010')].map(({ host, first, last }) => [host, first, last])).toEqual([['127.0.0.1', 8080, 8080], ['0.0.0.0', 8000, 8010]])
  expect(['off', 'max=0', 'max=7', 'max=inf'].map(parseReconnect)).toEqual([0, 0, 7, Infinity])
  for (const text of ['on', 'max=', 'max=-1', '7']) expect(words(() => parseReconnect(text))).toContain('write off, max=N')
  expect(['h', 'h:1', '192.0.2.1', '[::1]', '[::1]:7', '2001:db8::1'].map((text) => parseServer(text, 4433))).toEqual(['h:4433', 'h:1', '192.0.2.1:4433', '[::1]:4433', '[::1]:7', '[2001:db8::1]:4433'])
  expect([parsePaths('auto'), parsePaths('127.0.0.1,127.0.0.2=192.0.2.1:4433')]).toEqual(['auto', [{ local: '127.0.0.1' }, { local: '127.0.0.2', remote: '192.0.2.1:4433' }]])
})

it('an IP tells where it leads, whatever form it has', () => {
  const scopes = {
    loopback: ['127.0.0.1', '127.255.0.9', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1', '0:0:0:0:0:0:0:1', '64:ff9b::7f00:1', '2002:7f00:1::'],
    'link-local': ['169.254.169.254', 'fe80::1', 'febf::1', '::ffff:169.254.169.254', '64:ff9b::169.254.169.254', '2002:a9fe:a9fe::1'],
    private: ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1', '198.18.0.1', 'fc00::1', 'fd00:ec2::254', 'fec0::1', '::ffff:10.1.2.3'],
    special: ['0.0.0.0', '0.1.2.3', '::', '224.0.0.1', '255.255.255.255', '240.0.0.1', '192.0.2.1', '198.51.100.1', '203.0.113.1', 'ff02::1', '2001:db8::1', '::127.0.0.1', '100::1', 'name', '', 'fe80::1%eth0'],
    public: ['1.1.1.1', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '192.0.1.1'],
  }
  for (const [scope, ips] of Object.entries(scopes)) for (const ip of ips) expect(scopeOf(ip), ip).toBe(scope)
  expect(['::FFFF:127.0.0.1', '2001:DB8:0:0::1', '1.2.3.4', 'x', '127.1', '0x7f000001', '2130706433'].map(canonicalIp)).toEqual(['127.0.0.1', '2001:db8::1', '1.2.3.4', null, null, null, null])
})
