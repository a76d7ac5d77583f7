/** What the commands about NATs show, and what people type for them. No sockets. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import picocolors from 'picocolors'
import { afterAll, describe, expect, it } from 'vitest'
import { observationLines, reportLines } from '../../src/cli/nat/classify-view.ts'
import { gridLines, totalLines } from '../../src/cli/nat/matrix-view.ts'
import { eventLine, resultLines } from '../../src/cli/nat/punch-view.ts'
import { withPort } from '../../src/cli/nat/server-name.ts'
import { loadStrategy } from '../../src/cli/nat/strategy.ts'
import { relaySockets } from '../../src/cli/relay/sockets.ts'
import { TokenFile } from '../../src/cli/relay/tokens.ts'
import { frameOf, introduction, summaryOf } from '../../src/cli/relay/view.ts'
import type { MatrixCell } from '../../src/lab/index.ts'
import { natMatrix } from '../../src/lab/index.ts'
import type { NatReport } from '../../src/traversal/index.ts'

const plain = picocolors.createColors(false)
const folder = mkdtempSync(join(tmpdir(), 'quicbraid-nat-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const report: NatReport = {
  kind: 'restricted-port', mapping: 'endpoint-independent', filtering: 'address-port', hairpin: false, ports: { allocation: 'preserving', step: null }, afterContact: 'keeps',
  mappingLifeMs: null, local: '192.168.1.2:40000', mapped: '198.51.100.7:40000', natted: true, observations: [],
}

describe('nat classify', () => {
  it('shows what the NAT does in the words of RFC 4787 and in plain ones, and who can be met', () => {
    const text = reportLines(report, plain).join('\n')
    expect(text).toContain('192.168.1.2:40000 ────[ NAT restricted-port ]──── 198.51.100.7:40000 ──── internet')
    expect(text).toMatch(/mapping +endpoint-independent +one outside port for all peers/)
    expect(text).toMatch(/direct with +none, full-cone, addr-restricted, port-restricted, linux, apdm-apdf-sequential/)
    expect(text).toMatch(/by search +symmetric, adm-apdf \(--port-search\)/)
    expect(text).not.toContain('by relay')
  })

  it('shows that there is no NAT, and that UDP is blocked', () => {
    const open = reportLines({ ...report, kind: 'full-cone', filtering: 'endpoint-independent', natted: false, mapped: report.local }, plain).join('\n')
    expect(open).toContain('no NAT')
    expect(open).not.toContain('mapping')
    const blocked = reportLines({ ...report, kind: 'blocked', mapped: null }, plain).join('\n')
    expect(blocked).toContain('✕')
    expect(blocked).not.toContain('direct with')
  })

  it('tells NATs apart that foretell a port from those that do not', () => {
    const symmetric = { ...report, kind: 'symmetric' as const, mapping: 'address-port' as const }
    expect(reportLines({ ...symmetric, ports: { allocation: 'random', step: null } }, plain).join('\n')).toContain('direct with  none, full-cone, addr-restricted\n')
    const sequential = reportLines({ ...symmetric, ports: { allocation: 'sequential', step: 2 } }, plain).join('\n')
    expect(sequential).toContain('2 further each time')
    expect(sequential).toContain('direct with  none, full-cone, addr-restricted, port-restricted\n')
  })

  it('lists every question and its answer, silence too', () => {
    const lines = observationLines([
      { atMs: 100, test: 'mapping', server: '203.0.113.1:3478', tries: 1, answeredBy: '203.0.113.1:3478', mapped: '198.51.100.7:40000', rttMs: 31.25 },
      { atMs: 140, test: 'filter', server: '203.0.113.1:3478', tries: 5, answeredBy: null, mapped: null, rttMs: null },
    ], plain)
    expect(lines[2]).toContain('198.51.100.7:40000')
    expect(lines[3]).toMatch(/40 ms +filter +203\.0\.113\.1:3478 +silence/)
    expect(observationLines([], plain)).toEqual([])
  })

  it('takes servers with and without a port', () => {
    expect(['stun.example.net', 'stun.example.net:99', '[::1]', '[::1]:99', '::1', '192.0.2.1'].map((name) => withPort(name))).toEqual(['stun.example.net:3478', 'stun.example.net:99', '[::1]:3478', '[::1]:99', '[::1]:3478', '192.0.2.1:3478'])
  })
})

const cell = (a: string, b: string, more: Partial<MatrixCell> = {}): MatrixCell => ({ a, b, loss: 0, runs: 20, failed: 0, direct: 1, msP50: 123.4, msP95: 150, probes: 3, winner: 'client', verdict: 'direct', expected: 'direct', ...more })

describe('nat matrix', () => {
  it('shows a grid that fits 80 columns, with what is not as expected marked', () => {
    const kinds = ['none', 'full-cone', 'addr-restricted', 'port-restricted', 'symmetric', 'linux', 'adm-apdf', 'apdm-apdf-sequential']
    const lines = gridLines(kinds.flatMap((a) => kinds.map((b) => cell(a, b))), plain)
    expect(lines).toHaveLength(9)
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(90)
    const few = gridLines([cell('none', 'none'), cell('none', 'linux', { direct: 0, verdict: 'relayed', msP50: null, expected: 'relayed' }), cell('linux', 'none', { direct: 0.4, verdict: 'mixed' }), cell('linux', 'linux', { direct: 0, verdict: 'relayed', msP50: null })], plain)
    expect(few).toEqual(['dials \\ dialled    none   linux', 'none                123   relay', 'linux              40%!  relay!'])
  })

  it('shows a grid for every loss', () => {
    expect(gridLines([cell('none', 'none'), cell('none', 'none', { loss: 5 })], plain).filter((line) => line.includes('lost'))).toEqual(['0 % lost each way', '5 % lost each way'])
  })

  it('says what it all comes to', () => {
    const matrix = { ...natMatrix([]), cells: [cell('none', 'none'), cell('linux', 'linux', { verdict: 'relayed' })], reached: 1, expected: 2, runs: 40, cones: { runs: 9, msP50: 250, limitMs: 350 }, firstByte: { relayedMsP50: 200, relayRttMsP50: 100, directMsP50: 120, directRttMsP50: 60 }, probes: { mean: 3.333, max: 12 } }
    const text = totalLines(matrix, 1.5).join('\n')
    expect(text).toContain('direct       1 of 2 pairs, 2 by the reference table; not as it says: linux × linux')
    expect(text).toContain('cone pairs   250 ms to the direct path')
    expect(text).toContain('first byte   200 ms over the relay, 120 ms without one')
    expect(text).toContain('runs         40 in 1.5 s')
  })

  it('takes a strategy out of a file that exports one, and says what is wrong with others', async () => {
    const [good, bad] = [join(folder, 'own.mjs'), join(folder, 'none.mjs')]
    writeFileSync(good, "export function* strategy() { yield { do: 'tell-peer' } }\n")
    writeFileSync(bad, 'export const strategy = 5\n')
    expect(await loadStrategy(good)).toBeTypeOf('function')
    await expect(loadStrategy(bad)).rejects.toMatchObject({ exit: 1, message: expect.stringContaining('exports no `strategy`') })
    await expect(loadStrategy('./missing.mjs')).rejects.toMatchObject({ exit: 1, message: expect.stringContaining('./missing.mjs cannot be loaded') })
  })
})

describe('nat punch', () => {
  it('shows a line for every event, the words of the peer as text', () => {
    const base = { atMs: 1130 }
    const address = { kind: 'mapped' as const, address: '198.51.100.7:5000', relay: null, tier: 0, nat: 'restricted-port' as const, seq: 1 }
    expect(eventLine({ ...base, type: 'address', change: 'added', side: 'remote', address }, 1000, plain)).toBe("   130 ms  │ peer's     mapped 198.51.100.7:5000, restricted-port")
    expect(eventLine({ ...base, type: 'round', state: 'failed', punch: '0-1', as: 'active', plan: 'A6', probes: 5, reason: 'no \u001B[31manswer' }, 1000, plain)).toBe('   130 ms  ✕ round 0-1  failed, active, no ?[31manswer, 5 probes')
    expect(eventLine({ ...base, type: 'upgraded', from: 0, to: 1, afterMs: 90 }, 1000, plain)).toContain('path 0 (relay) to path 1 (direct)')
    expect(eventLine({ ...base, type: 'nat', report }, 1000, plain)).toContain('restricted-port, ports preserving, seen as 198.51.100.7:40000')
    expect(eventLine({ ...base, type: 'relay', relay: 'r:1', state: 'lost' }, 1000, plain)).toContain('r:1 lost')
  })

  it('says how it ended', () => {
    const result = { direct: true, path: { local: '192.168.1.2:4000', remote: '198.51.100.7:5000' }, rounds: 1, probes: 4, msToRelay: 142, msToDirect: 232.4, local: report, events: [], peer: 'bob', pauseMs: 61 }
    expect(resultLines(result, plain)).toEqual(['', 'direct path with bob after 232 ms', '192.168.1.2:4000 ════ 198.51.100.7:5000', 'relayed after 142 ms, 1 round, 4 probes, longest pause 61 ms'])
    expect(resultLines({ ...result, direct: false, peer: null }, plain)[1]).toBe('no direct path: the connection stays on the relay')
  })
})

describe('relay', () => {
  it('binds both IPs with both ports where there is an alternate address', () => {
    expect(relaySockets('0.0.0.0:4434', undefined)).toEqual(['0.0.0.0:4434'])
    expect(relaySockets('203.0.113.1:4434', '203.0.113.2:4435')).toEqual(['203.0.113.1:4434', '203.0.113.2:4435', '203.0.113.1:4435', '203.0.113.2:4434'])
    expect(relaySockets('[2001:db8::1]:1', '[2001:db8::2]:2')).toContain('[2001:db8::2]:1')
    for (const [listen, alternate] of [['203.0.113.1:4434', '203.0.113.1:4435'], ['203.0.113.1:4434', '203.0.113.2:4434'], ['0.0.0.0:4434', '203.0.113.2:4435'], ['203.0.113.1:4434', '[2001:db8::2]:2'], ['relay.example:1', '203.0.113.2:2']] as const) {
      expect(() => relaySockets(listen, alternate), listen).toThrow()
    }
  })

  it('knows the tokens of its file as it is now', async () => {
    const file = join(folder, 'tokens')
    writeFileSync(file, '# friends\nfirst\n\n  second  \n')
    const tokens = await TokenFile.open(file)
    const shown = (text: string): Uint8Array => new TextEncoder().encode(text)
    expect(await Promise.all(['first', 'second', 'third', '# friends', ''].map((text) => tokens.has(shown(text))))).toEqual([true, true, false, false, false])
    expect(await tokens.has(null)).toBe(false)
    writeFileSync(file, 'third\n')
    expect(await Promise.all(['first', 'third'].map((text) => tokens.has(shown(text))))).toEqual([false, true])
    writeFileSync(file, '# nobody\n')
    await expect(TokenFile.open(file)).rejects.toMatchObject({ exit: 1 })
    await expect(TokenFile.open(join(folder, 'missing'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('shows what it forwards and drops, by reason', () => {
    const statistics = { registrations: 2, forwardedDatagrams: 12_345, forwardedBytes: 12_345_678, drops: { unregistered: 3, private: 0, rate: 10, 'too-large': 0, loop: 0 } }
    expect(frameOf(statistics, plain)).toMatchObject({ line: '2 registered, 12,345 datagrams (11.8 MiB) forwarded, dropped 10 rate, 3 unregistered' })
    expect(summaryOf({ ...statistics, drops: { ...statistics.drops, unregistered: 0, rate: 0 } }, 2500)).toBe('12,345 datagrams, 11.8 MiB forwarded in 2.5 s, nothing dropped')
    expect(introduction(['0.0.0.0:4434'], '0.0.0.0:4434', 'sha256//x', true).at(-1)).toBe('quicbraid nat punch --relay THIS-HOST:4434 --pin sha256//x --token …')
  })
})
