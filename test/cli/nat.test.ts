/** The commands about NATs over the built package: on sockets of this machine, in simulated worlds. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { loadNative } from '../../src/binding/index.ts'
import { BUILT } from '../native/built.ts'
import { Commands } from './running.ts'

const PATIENCE_MS = 180_000
const folder = mkdtempSync(join(tmpdir(), 'quicbraid-nat-'))
const features = new Set(BUILT ? loadNative().features() : [])

/** Loopback addresses are told to nobody, so that nobody can be met there. */
const OWN_IP = Object.values(networkInterfaces()).flatMap((list) => list ?? []).find(({ family, internal }) => family === 'IPv4' && !internal)?.address

const commands = new Commands(folder)
const run = (...args: string[]): ReturnType<Commands['run']> => commands.run(...args)
afterEach(async () => commands.endAll())
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.skipIf(!BUILT || !features.has('nat'))('nat stun-server and nat classify', () => {
  it('one tells how it sees the other, which finds that there is no NAT', { timeout: PATIENCE_MS }, async () => {
    const server = commands.start('nat', 'stun-server', '--json', '-l', '127.0.0.1:0')
    const { addresses } = (await server.event('listening')) as unknown as { addresses: string[] }
    const { exit, json } = await run('nat', 'classify', addresses[0] ?? '', '--json')
    expect(exit).toBe(0)
    expect(json).toMatchObject({ ok: true, natted: false, mapping: 'endpoint-independent', mapped: expect.stringMatching(/^127\.0\.0\.1:\d+$/) })
    expect((await run('nat', 'classify', addresses[0] ?? '')).out).toContain('no NAT')
    server.child.kill('SIGINT')
    expect(await server.ended).toBe(130)
    expect(Number(server.lines.at(-1)?.['answered'])).toBeGreaterThan(1)
  })

  it('says with exit 4 that no server answered', { timeout: PATIENCE_MS }, async () => {
    const { exit, json } = await run('nat', 'classify', '127.0.0.1:9', '--timeout', '5ms', '--json')
    expect(exit).toBe(4)
    expect(json).toMatchObject({ ok: false, error: { code: 'QB_NAT_NO_SERVER' } })
  })
})

describe.skipIf(!BUILT || !features.has('nat'))('relay', () => {
  it('refuses who shows no token or another one, and ends cleanly', { timeout: PATIENCE_MS }, async () => {
    writeFileSync(join(folder, 'tokens'), 'secret\n')
    const relay = commands.start('relay', '--json', '-l', '127.0.0.1:0', '--token-file', 'tokens')
    const { address, pin } = (await relay.event('listening')) as unknown as { address: string; pin: string }
    if (features.has('traversal')) {
      const { exit, json } = await run('nat', 'punch', '--relay', address, '--pin', pin, '--token', 'guess', '--json')
      expect(exit).toBe(3)
      expect(json).toMatchObject({ ok: false, error: { code: 'QB_RELAY_REFUSED' } })
      expect(await relay.event('refused')).toMatchObject({ ok: false, reason: 'an unknown token' })
    }
    relay.child.kill('SIGTERM')
    expect(await relay.ended).toBe(143)
    expect(relay.lines.at(-1)).toMatchObject({ event: 'statistics', registrations: 0 })
  })
})

describe.skipIf(!BUILT || !features.has('traversal') || OWN_IP === undefined)('nat punch', () => {
  it('meets over a relay and moves to a direct path while bytes go on', { timeout: PATIENCE_MS }, async () => {
    writeFileSync(join(folder, 'tokens'), 'secret\n')
    const relay = commands.start('relay', '--json', '-l', `${OWN_IP}:0`, '--token-file', 'tokens', '--allow-private')
    const { address, pin } = (await relay.event('listening')) as unknown as { address: string; pin: string }
    const bob = commands.start('nat', 'punch', '--relay', address, '--pin', pin, '--token', 'secret', '--local', OWN_IP ?? '', '--allow-private', '--name', 'bob', '--json')
    const waiting = (await bob.event('waiting')) as unknown as { address: string; pin: string }
    expect(waiting.address.startsWith(`${address}-${OWN_IP}:`)).toBe(true)
    const alice = await run('nat', 'punch', waiting.address, '--relay', address, '--relay-pin', pin, '--pin', waiting.pin, '--token', 'secret', '--local', OWN_IP ?? '', '--allow-private', '--name', 'alice', '--json')
    expect(alice).toMatchObject({ exit: 0, json: { ok: true, direct: true, peer: 'bob', path: { remote: expect.not.stringContaining('-') } } })
    expect(await bob.ended).toBe(0)
    expect(bob.lines.at(-1)).toMatchObject({ ok: true, direct: true, peer: 'alice' })
    expect(await relay.event('registered')).toMatchObject({ ok: true, clients: expect.any(Array) })
  })
})

describe.skipIf(!BUILT || !features.has('traversal'))('nat matrix', () => {
  it('shows who meets whom, as the reference table has it, and keeps rows and report', { timeout: PATIENCE_MS }, async () => {
    const args = ['nat', 'matrix', '--nats', 'none,port-restricted,symmetric,linux', '--seeds', '2', '-o', 'rows.jsonl', '--html', 'report.html', '--json']
    const { exit, json } = await run(...args)
    expect(exit).toBe(0)
    expect(json).toMatchObject({ ok: true, reached: 11, expected: 11, runs: 32, failed: 0, seeds: 2 })
    const cells = json['cells'] as { a: string; b: string; direct: number; verdict: string; expected: string }[]
    expect(cells).toHaveLength(16)
    expect(cells.filter(({ verdict, expected }) => verdict !== expected)).toEqual([])
    expect(readFileSync(join(folder, 'report.html'), 'utf8')).toContain('11 of 16')
    expect(readFileSync(join(folder, 'rows.jsonl'), 'utf8').trimEnd().split('\n')).toHaveLength(32)
    const again = await run('nat', 'matrix', '--nats', 'none,linux', '--seeds', '2', '-o', 'rows.jsonl')
    expect(again).toMatchObject({ exit: 0, out: expect.stringContaining('direct       4 of 4 pairs, 4 by the reference table') })
    expect(readFileSync(join(folder, 'rows.jsonl'), 'utf8').trimEnd().split('\n')).toHaveLength(32)
  })

  it("punches by a strategy of one's own", { timeout: PATIENCE_MS }, async () => {
    writeFileSync(join(folder, 'never.mjs'), 'export function* strategy() {}\n')
    const { exit, json } = await run('nat', 'matrix', '--nats', 'port-restricted', '--seeds', '1', '--strategy', 'never.mjs', '--json')
    expect(exit).toBe(0)
    expect(json).toMatchObject({ ok: true, reached: 0, expected: 1, cells: [{ verdict: 'relayed' }] })
  })
})
