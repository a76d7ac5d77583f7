/** What the policies with a name decide, in a world without an engine. */
import { describe, expect, it } from 'vitest'
import { canonicalHost, reaches } from '../../src/path/policy/reach.ts'
import { device, PolicyBench } from './policy-bench.ts'

const WIFI = device('wlan0', '10.0.0.1')
const CELL = device('wwan0', '10.9.0.1')
const CABLE = device('eth0', '10.5.0.1')

describe('which address reaches which', () => {
  it.each([
    ['10.0.0.1', '192.0.2.1:443', true],
    ['10.0.0.1', '[2001:db8::1]:443', false],
    ['2001:db8::9', '[2001:db8::1]:443', true],
    ['fe80::1', '[2001:db8::1]:443', false],
    ['fe80::1%eth0', '[fe80::2]:443', false],
    ['169.254.3.4', '192.0.2.1:443', false],
    ['127.0.0.1', '192.0.2.1:443', false],
    ['127.0.0.1', '127.0.0.1:443', true],
    ['10.0.0.1', '127.0.0.1:443', false],
    ['::1', '[::1]:443', true],
    ['0.0.0.0', '192.0.2.1:443', false],
    ['no address', '192.0.2.1:443', false],
  ])('%s to %s: %s', (local, remote, answer) => {
    expect(reaches(local, remote)).toBe(answer)
  })

  it('knows an address in each of its spellings', () => {
    expect(['2001:DB8:0:0::1', '2001:db8::1%eth0', '10.0.0.1'].map(canonicalHost)).toEqual(['2001:db8::1', '2001:db8::1', '10.0.0.1'])
  })
})

describe('all-interfaces', () => {
  it('opens one path on each interface that reaches the server, tied to it, and none twice', async () => {
    const interfaces = [device('lo', '127.0.0.1'), WIFI, CELL, device('wwan0', 'fe80::5'), device('eth0', '10.5.0.1', false), device('alias0', '10.9.0.1'), device('auto', '169.254.1.1')]
    const bench = await new PolicyBench('all-interfaces', { interfaces }).start()
    expect(bench.what()).toEqual(['open 10.9.0.1'])
    expect(bench.locals()).toEqual(['10.0.0.1', '10.9.0.1'])
    expect(bench.paths.get(1)?.interface).toBe('wwan0')
    await bench.clock.advance(60_000)
    expect(bench.calls).toHaveLength(1)
  })

  it('abandons the path of an interface that goes, and opens it again when it comes back', async () => {
    const bench = await new PolicyBench('all-interfaces', { interfaces: [WIFI, CELL] }).start()
    await bench.clock.advance(20_000)
    bench.interfaces = [WIFI]
    await bench.clock.advance(1500)
    expect([bench.locals(), bench.what().at(-1)]).toEqual([['10.0.0.1'], 'abandon 1'])
    bench.interfaces = [WIFI, CELL]
    await bench.clock.advance(1500)
    expect(bench.locals()).toEqual(['10.0.0.1', '10.9.0.1'])
    expect(bench.paths.get(2)?.interface).toBe('wwan0')
  })

  it('lets the first path go with its interface only when another works', async () => {
    const bench = await new PolicyBench('all-interfaces', { interfaces: [WIFI] }).start()
    bench.interfaces = []
    await bench.clock.advance(10_000)
    expect([bench.what(), bench.locals()]).toEqual([[], ['10.0.0.1']])
    bench.interfaces = [CELL]
    await bench.clock.advance(2000)
    expect([bench.what(), bench.locals()]).toEqual([['open 10.9.0.1', 'abandon 0'], ['10.9.0.1']])
  })

  it('takes the family of the first path where an interface has both, else the one it has', async () => {
    const interfaces = [WIFI, device('wlan0', '2001:db8::1'), device('wwan0', '2001:db8::2'), device('wwan0', '10.9.0.1'), device('eth0', 'fd00::7'), device('eth0', '2001:db8::3')]
    const bench = await new PolicyBench('all-interfaces', { interfaces, remotes: ['192.0.2.1:443', '[2001:db8::443]:443'] }).start()
    expect(bench.open()).toEqual(['10.0.0.1:4000>192.0.2.1:443', '10.9.0.1:4000>192.0.2.1:443', '[2001:db8::3]:4000>[2001:db8::443]:443'])
  })

  it('asks for another address of the server on an interface from which the first does not answer', async () => {
    const bench = new PolicyBench('all-interfaces', { interfaces: [WIFI, CELL], remotes: ['192.0.2.1:443', '198.51.100.1:443'] })
    bench.deadPairs.add('10.9.0.1 192.0.2.1:443')
    await bench.start()
    await bench.clock.advance(9000)
    expect(bench.open()).toEqual(['10.0.0.1:4000>192.0.2.1:443', '10.9.0.1:4000>198.51.100.1:443'])
  })

  it('leaves paths alone that the application opened elsewhere, and loopback addresses that no system lists', async () => {
    const bench = await new PolicyBench('all-interfaces', { interfaces: [device('lo', '127.0.0.1')], remotes: ['127.0.0.1:443'], first: '127.0.0.2' }).start()
    await bench.clock.advance(20_000)
    expect(bench.locals()).toEqual(['127.0.0.1', '127.0.0.2'])
  })

  it('goes on without devices where sockets cannot be tied to them', async () => {
    const bench = new PolicyBench('all-interfaces', { interfaces: [WIFI, CELL] })
    bench.unbindable.add('wwan0')
    await bench.start()
    await bench.clock.advance(2000)
    expect(bench.locals()).toEqual(['10.0.0.1', '10.9.0.1'])
    expect(bench.paths.get(1)?.interface).toBeNull()
  })
})

describe('backup', () => {
  it('keeps one path available and opens the others as backups', async () => {
    const bench = await new PolicyBench('backup', { interfaces: [WIFI, CELL, CABLE] }).start()
    expect(bench.what()).toEqual(['open 10.9.0.1 backup', 'open 10.5.0.1 backup'])
    expect([...bench.paths.values()].map(({ facts }) => facts.status)).toEqual(['available', 'backup', 'backup'])
  })

  it('makes a backup the first path only when there is none, and does not flap when one is suspect', async () => {
    const bench = await new PolicyBench('backup', { interfaces: [WIFI, CELL] }).start()
    bench.suspect(0)
    await bench.clock.advance(3000)
    bench.suspect(0, false)
    await bench.clock.advance(3000)
    expect(bench.what()).toEqual(['open 10.9.0.1 backup'])
    bench.interfaces = [CELL]
    await bench.clock.advance(3000)
    expect(bench.what().slice(1)).toEqual(['abandon 0', 'status 1 available'])
    bench.interfaces = [CELL, WIFI]
    await bench.clock.advance(3000)
    expect([...bench.paths.values()].map(({ local, facts }) => `${local} ${facts.status}`)).toEqual(['10.9.0.1:4000 available', '10.0.0.1:4000 backup'])
  })

  it('demotes what is available besides the first', async () => {
    const bench = new PolicyBench('backup', { interfaces: [WIFI, CELL] })
    bench.paths.set(7, Object.assign(Object.create(Object.getPrototypeOf(bench.paths.get(0))), { ...bench.paths.get(0), id: 7, local: '10.9.0.1:4000' }))
    bench.paths.get(7)!.setStatus = (status) => void bench.calls.push({ atMs: 0, what: `status 7 ${status}` })
    await bench.start()
    expect(bench.what()).toEqual(['status 7 backup'])
  })
})

describe('happy-eyeballs', () => {
  const DUAL = [WIFI, device('wlan0', '2001:db8::1')]
  const REMOTES = ['192.0.2.1:443', '[2001:db8::443]:443']

  it('leaves a path that answers alone', async () => {
    const bench = await new PolicyBench('happy-eyeballs', { interfaces: DUAL, remotes: REMOTES }).start()
    await bench.clock.advance(30_000)
    expect(bench.what()).toEqual([])
  })

  it('tries the families in turn when the only path is silent, IPv6 first, and keeps the first that answers', async () => {
    const bench = new PolicyBench('happy-eyeballs', { interfaces: [...DUAL, CELL], remotes: REMOTES })
    bench.dead.add('2001:db8::1')
    bench.answerMs = 900
    await bench.start()
    const first = bench.paths.get(0)
    if (first !== undefined) first.ptoCount = 2
    await bench.clock.advance(4000)
    const opens = bench.calls.filter(({ what }) => what.startsWith('open'))
    expect(opens.map(({ what }) => what)).toEqual(['open 2001:db8::1', 'open 10.9.0.1'])
    expect((opens[1]?.atMs ?? 0) - (opens[0]?.atMs ?? 0)).toBeGreaterThanOrEqual(250)
    expect(bench.locals()).toEqual(['10.9.0.1'])
  })

  it('gives a candidate up that comes second, and one that is not needed any more', async () => {
    const bench = new PolicyBench('happy-eyeballs', { interfaces: [...DUAL, CELL], remotes: REMOTES })
    bench.answerMs = 600
    await bench.start()
    const first = bench.paths.get(0)
    if (first !== undefined) first.ptoCount = 2
    await bench.clock.advance(700)
    if (first !== undefined) first.ptoCount = 0
    await bench.clock.advance(3000)
    expect(bench.locals()).toEqual(['10.0.0.1'])
    expect(bench.what().filter((what) => what.startsWith('abandon'))).toHaveLength(2)
  })

  it('moves when the address of its path has gone', async () => {
    const bench = await new PolicyBench('happy-eyeballs', { interfaces: [WIFI] }).start()
    bench.interfaces = [CELL]
    await bench.clock.advance(2500)
    expect(bench.locals()).toEqual(['10.9.0.1'])
  })
})
