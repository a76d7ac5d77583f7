import { describe, expect, it } from 'vitest'
import { CASES, caseNamed, ownOptions } from '../../src/cli/interop/cases.ts'
import { batchesOf } from '../../src/cli/interop/client.ts'
import { named } from '../../src/cli/interop/endpoint.ts'
import { readEnvironment } from '../../src/cli/interop/environment.ts'
import { OptionError } from '../../src/index.ts'
import { parseUrl } from '../../src/cli/parse.ts'

const urls = ['a', 'b', 'c'].map((name) => parseUrl(`https://server4:443/${name}`))

describe('cases of the interop runner', () => {
  it('are all there, each once', () => {
    const names = 'versionnegotiation handshake transfer longrtt chacha20 multiplexing retry resumption zerortt blackhole keyupdate ecn amplificationlimit handshakeloss transferloss handshakecorruption transfercorruption ipv6 v2 rebind-port rebind-addr connectionmigration goodput crosstraffic multiconnect'
    expect(CASES.map(({ name }) => name).sort()).toEqual(names.split(' ').sort())
    expect(caseNamed('http3')).toBeNull()
  })

  it('spread their downloads over connections', () => {
    const paths = (plan: Parameters<typeof batchesOf>[0]['plan'], count = 3): string[][] => batchesOf({ plan }, urls.slice(0, count)).map((batch) => batch.map(({ path }) => path))
    expect(paths('one connection')).toEqual([['/a', '/b', '/c']])
    expect(paths('a connection each')).toEqual([['/a'], ['/b'], ['/c']])
    expect(paths('first, then resumed')).toEqual([['/a'], ['/b', '/c']])
    expect(paths('first, then resumed', 1)).toEqual([['/a'], ['/a']])
  })

  it('are unsupported when this build refuses an option of their own, and only then', () => {
    const refused = (field: string): OptionError => new OptionError('QB_OPTION_INVALID', 'not available', { field })
    const zerortt = caseNamed('zerortt')
    expect(zerortt).not.toBeNull()
    if (zerortt === null) return
    expect([...ownOptions(zerortt)]).toEqual(['earlyData'])
    expect(named(refused('server.earlyData'), zerortt)).toMatchObject({ code: 'QB_CASE_UNSUPPORTED', exit: 127 })
    expect(named(refused('earlyData'), zerortt)).toMatchObject({ exit: 127 })
    expect(named(refused('server.cert'), zerortt)).toMatchObject({ code: 'QB_OPTION_INVALID' })
    expect(named(new Error('other'), zerortt)).toMatchObject({ message: 'other' })
  })
})

describe('the environment of the interop runner', () => {
  const client = { ROLE: 'client', TESTCASE: 'transfer', REQUESTS: 'https://server4:443/one https://server4:443/two' }

  it('has the defaults of the contract', () => {
    expect(readEnvironment(client)).toMatchObject({
      role: 'client', testcase: 'transfer', certFile: '/certs/cert.pem', keyFile: '/certs/priv.key', www: '/www', downloads: '/downloads',
      listen: ['0.0.0.0:443', '[::]:443'], isListenDefault: true, preferred: [], keylog: false, qlog: null,
    })
    expect(readEnvironment(client).requests.map(({ origin, name }) => [origin, name])).toEqual([['server4:443', 'one'], ['server4:443', 'two']])
  })

  it('takes what is said', () => {
    const said = { ROLE: 'server', TESTCASE: 'retry', CERTS: 'c', WWW: 'w', PORT: '4433', HOST: '::1', SSLKEYLOGFILE: 'k', QLOGDIR: 'q', PREFERRED_ADDRESS: '192.0.2.1:1' }
    expect(readEnvironment(said)).toMatchObject({ listen: ['[::1]:4433'], isListenDefault: false, certFile: 'c/cert.pem', keylog: true, qlog: 'q', preferred: ['192.0.2.1:1'] })
  })

  it('is refused when it makes no sense', () => {
    for (const wrong of [{ ROLE: 'peer' }, { TESTCASE: '' }, { REQUESTS: '' }, { REQUESTS: 'http://server/x' }, { PORT: '66000' }]) {
      expect(() => readEnvironment({ ...client, ...wrong }), JSON.stringify(wrong)).toThrow(expect.objectContaining({ exit: 1 }))
    }
  })
})
