/** What holds for every policy, whatever happens to interfaces and paths; and where each ends when all is quiet. */
import { test } from 'vitest'
import * as fc from 'fast-check'
import type { InterfaceAddress, PathAction, PathPolicyName } from '../../src/path/index.ts'
import { device, PolicyBench } from './policy-bench.ts'

const DEVICES = [device('wlan0', '10.0.0.1'), device('wwan0', '10.9.0.1'), device('eth0', '10.5.0.1'), device('eth1', '2001:db8::1'), device('eth1', '10.6.0.1'), device('usb0', '2001:db8::2'), device('lo', '127.0.0.1'), device('wwan0', 'fe80::3')]
const REMOTES = ['192.0.2.1:443', '[2001:db8:f::1]:443']

type Step =
  | { do: 'interfaces'; set: readonly InterfaceAddress[] }
  | { do: 'dead'; hosts: readonly string[] }
  | { do: 'suspect'; path: number; on: boolean }
  | { do: 'silent'; path: number; on: boolean }
  | { do: 'end'; path: number }
  | { do: 'wait'; ms: number }

const hosts = DEVICES.map(({ address }) => address)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('interfaces' as const), set: fc.subarray(DEVICES).map((set) => set.map((one) => one)) }),
  fc.record({ do: fc.constant('dead' as const), hosts: fc.subarray(hosts) }),
  fc.record({ do: fc.constant('suspect' as const), path: fc.nat(12), on: fc.boolean() }),
  fc.record({ do: fc.constant('silent' as const), path: fc.nat(12), on: fc.boolean() }),
  fc.record({ do: fc.constant('end' as const), path: fc.nat(12) }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1, 40, 300, 2000, 7000) }),
)
const steps = fc.array(step, { maxLength: 25 })

const action: fc.Arbitrary<PathAction> = fc.oneof(
  fc.record({ do: fc.constant('open' as const), spec: fc.record({ local: fc.constantFrom(...hosts.filter((host) => !host.startsWith('fe80'))), interface: fc.constantFrom('wlan0', 'wwan0', 'eth1') }, { requiredKeys: [] }).map(({ local, ...rest }) => ({ ...rest, ...(local === undefined ? {} : { local, remote: local.includes(':') ? '[2001:db8:f::1]:443' : '192.0.2.1:443' }) })) }),
  fc.record({ do: fc.constant('abandon' as const), path: fc.nat(12) }),
  fc.record({ do: fc.constant('status' as const), path: fc.nat(12), status: fc.constantFrom('available' as const, 'backup' as const) }),
)

async function play(bench: PolicyBench, all: readonly Step[]): Promise<void> {
  await bench.start()
  for (const one of all) {
    const path = 'path' in one ? bench.paths.get(one.path) : undefined
    switch (one.do) {
      case 'interfaces': bench.interfaces = [...one.set]; break
      case 'dead':
        bench.dead.clear()
        for (const host of one.hosts) bench.dead.add(host)
        break
      case 'suspect': bench.suspect(one.path, one.on); break
      case 'silent': if (path !== undefined) path.ptoCount = one.on ? 3 : 0; break
      // The world keeps one path too.
      case 'end': if (bench.open().length > 1 && path?.facts.state === 'open') bench.end(one.path); break
      case 'wait': await bench.clock.advance(one.ms)
    }
    holds(bench)
  }
}

/** At every moment. */
function holds(bench: PolicyBench): void {
  const pairs = [...bench.paths.values()].map(({ local, remote }) => `${local} ${remote}`)
  if (new Set(pairs).size !== pairs.length) throw new Error(`two paths of one pair: ${pairs.join(', ')}`)
  if (bench.paths.size > bench.maxPaths) throw new Error(`${bench.paths.size} paths`)
  if (![...bench.paths.values()].some(({ facts }) => facts.state === 'open')) throw new Error('no path is left')
  within(bench.decisions.map(({ nowMs }) => nowMs), 10, 'decisions')
  within(bench.calls.map(({ atMs }) => atMs), 32, 'actions')
  for (const host of hosts) {
    const opens = bench.calls.filter(({ what }) => what.startsWith(`open ${host}`)).map(({ atMs }) => atMs)
    within(opens, 2, `opens of ${host}`)
  }
  if (bench.failures.length > 0) throw bench.failures[0] as Error
}

/** At most `most` in any second. */
function within(times: readonly number[], most: number, what: string): void {
  times.forEach((atMs, index) => {
    const first = times[index - most]
    if (first !== undefined && atMs - first < 1000) throw new Error(`${most + 1} ${what} within ${atMs - first} ms`)
  })
}

/** Nothing is wrong any more, for longer than the longest back-off. */
async function calm(bench: PolicyBench): Promise<void> {
  bench.dead.clear()
  for (let round = 0; round < 3; round++) {
    for (const path of bench.paths.values()) {
      path.ptoCount = 0
      if (path.facts.suspect) bench.suspect(path.id, false)
    }
    await bench.clock.advance(65_000)
    holds(bench)
  }
}

/** One path an interface that reaches the server; where there is none, the last path stays. */
function wantedDevices(bench: PolicyBench): string[] {
  return [...new Set(bench.interfaces.filter(({ address }) => !address.startsWith('fe80') && !address.startsWith('127')).map(({ name }) => name))].sort()
}

function devicesOfPaths(bench: PolicyBench): string[] {
  return bench.locals().map((host) => DEVICES.find(({ address }) => address === host)?.name ?? host).sort()
}

function same(found: readonly string[], wanted: readonly string[], what: string): void {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${what}: ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`)
}

const world = (policy: PathPolicyName): PolicyBench => new PolicyBench(policy, { interfaces: DEVICES.slice(0, 2), remotes: REMOTES })

test.each<PathPolicyName>(['all-interfaces', 'backup'])('%s has one path on each interface in the end, and keeps all bounds on the way', async (name) => {
  await fc.assert(fc.asyncProperty(steps, async (all) => {
    const bench = world(name)
    await play(bench, all)
    await calm(bench)
    const wanted = wantedDevices(bench)
    if (wanted.length === 0) same([String(bench.open().length)], ['1'], 'paths without interfaces')
    else same(devicesOfPaths(bench), wanted, 'devices')
    if (name === 'backup') same([...bench.paths.values()].map(({ facts }) => facts.status).sort(), ['available', ...Array.from({ length: bench.paths.size - 1 }, () => 'backup')], 'statuses')
  }), { numRuns: 40 })
}, 60_000)

test('happy-eyeballs has one path in the end, on an interface that is there, and keeps all bounds on the way', async () => {
  await fc.assert(fc.asyncProperty(steps, async (all) => {
    const bench = world('happy-eyeballs')
    await play(bench, all)
    await calm(bench)
    const [only, ...others] = devicesOfPaths(bench)
    same(others, [], 'further paths')
    const wanted = wantedDevices(bench)
    if (wanted.length > 0 && !wanted.includes(only ?? '')) throw new Error(`on ${only}, there are ${wanted.join()}`)
  }), { numRuns: 40 })
}, 60_000)

test('a policy that asks for anything keeps all bounds', async () => {
  await fc.assert(fc.asyncProperty(steps, fc.infiniteStream(fc.array(action, { maxLength: 10 })), async (all, answers) => {
    const bench = new PolicyBench({ name: 'any', decide: () => answers.next().value ?? [] }, { interfaces: DEVICES.slice(0, 2), remotes: REMOTES })
    await play(bench, all)
  }), { numRuns: 60 })
}, 60_000)
