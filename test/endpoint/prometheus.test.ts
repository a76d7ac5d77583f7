import { describe, expect, it } from 'vitest'
import { bindWith } from '../../src/endpoint/index.ts'
import { Exposition, labelText, withLabel } from '../../src/endpoint/prometheus/text.ts'
import { connectedPair, newNetwork, SERVER, watchContract } from '../fake/pair.ts'
import { parseExposition } from './exposition.ts'
import type { ParsedFamily } from './exposition.ts'

watchContract()

const sum = (family: ParsedFamily | undefined): number => (family?.samples ?? []).reduce((total, { value }) => total + value, 0)
const connections = (families: Map<string, ParsedFamily>): string[] => (families.get('quicbraid_connection_sent_bytes_total')?.samples ?? []).map(({ labels }) => labels['connection'] ?? '')

describe('the text of an endpoint', () => {
  it('is in the exposition format, with names and units as Prometheus wants them', async () => {
    const { near, client, done } = await connectedPair()
    const families = parseExposition(client.prometheus())
    expect(families.size).toBeGreaterThan(60)
    for (const [name, { help, type }] of families) {
      expect(name).toMatch(/^quicbraid_(?:endpoint|connection|path)_[a-z_]+$/)
      expect(name.endsWith('_total'), name).toBe(type === 'counter')
      expect(help, name).toMatch(/^[A-Z1].*\.$/)
      expect(name, 'base units').not.toMatch(/_ms|_bits|milli|kilo/)
    }
    const { latestRttMs, bytesSent } = [...near.paths][0]?.statistics() ?? { latestRttMs: 0, bytesSent: 0 }
    const [path] = near.paths
    const labels = { connection: near.id, path: '0', local: path?.local ?? '', remote: path?.remote ?? '' }
    expect(families.get('quicbraid_path_latest_rtt_seconds')?.samples).toEqual([{ labels, value: latestRttMs / 1000 }])
    expect(families.get('quicbraid_path_sent_bytes_total')?.samples).toEqual([{ labels, value: bytesSent }])
    expect(families.get('quicbraid_endpoint_datagrams_received_total')?.samples).toEqual([{ labels: {}, value: client.statistics().datagramsReceived }])
    expect(families.get('quicbraid_endpoint_drops_total')?.samples).toContainEqual({ labels: { reason: 'unknownConnection' }, value: 2 })
    expect(families.get('quicbraid_connection_info')?.samples).toEqual([{ labels: expect.objectContaining({ connection: near.id, role: 'client', state: 'open', alpn: 'test' }) as never, value: 1 }])
    expect(families.get('quicbraid_connection_blocked_seconds_total')?.samples.filter(({ labels: { connection } }) => connection === near.id).map(({ labels: { reason } }) => reason)).toContain('CWND')
    await done()
  })

  it('asks the engine nothing, as statistics() does', async () => {
    const { network, client, done } = await connectedPair()
    const before = network.endpoints[1]?.calls.asks
    client.prometheus()
    client.statistics()
    expect(network.endpoints[1]?.calls.asks).toBe(before)
    await done()
  })

  it('counts what has ended under "other", so that no total goes down', async () => {
    const { client, near, done } = await connectedPair()
    const before = parseExposition(client.prometheus())
    expect(connections(before)).toEqual([near.id, 'other'])
    await near.close()
    const after = parseExposition(client.prometheus())
    expect(connections(after)).toEqual(['other'])
    for (const name of ['sent_bytes', 'packets_sent', 'streams_opened', 'blocked_seconds'].map((word) => `quicbraid_connection_${word}_total`)) {
      expect(sum(after.get(name)), name).toBeGreaterThanOrEqual(sum(before.get(name)))
    }
    expect(sum(after.get('quicbraid_connection_in_flight_bytes'))).toBe(0)
    expect(after.has('quicbraid_path_info')).toBe(false)
    await done()
    expect(parseExposition(client.prometheus()).get('quicbraid_endpoint_info')?.samples).toHaveLength(1)
  })

  it('is bounded: of more than 64 connections the others are summed up', { timeout: 60_000 }, async () => {
    const network = newNetwork()
    const server = bindWith(network.module, { local: '127.0.0.1:0', server: SERVER })
    const client = bindWith(network.module)
    const opened = await Promise.all(Array.from({ length: 64 }, () => client.connect(server.local[0] ?? '', { alpn: 'test', ca: 'ca' })))
    const full = client.prometheus()
    opened.push(...await Promise.all(Array.from({ length: 6 }, () => client.connect(server.local[0] ?? '', { alpn: 'test', ca: 'ca' }))))
    const families = parseExposition(client.prometheus())
    expect(connections(families)).toEqual([...opened.slice(0, 64).map(({ id }) => id), 'other'])
    expect(client.prometheus().split('\n').length).toBe(full.split('\n').length)
    const each = opened[64]?.statistics().bytesSent ?? 0
    expect(families.get('quicbraid_connection_sent_bytes_total')?.samples.at(-1)).toEqual({ labels: { connection: 'other' }, value: 6 * each })
    // A place that becomes free is for newcomers: who is among the others stays there, and "other" does not shrink.
    await opened[0]?.close()
    expect(connections(parseExposition(client.prometheus()))).toEqual([...opened.slice(1, 64).map(({ id }) => id), 'other'])
    await Promise.all([client.close(), server.close()])
  })
})

describe('samples', () => {
  it('have their labels and help escaped, and infinity in its own words', () => {
    const out = new Exposition()
    const nasty = 'a"b\\c\nd{}=,'
    out.add({ name: 'x_bytes', help: 'One\\two\nthree.', type: 'gauge' }, withLabel(labelText({ remote: nasty }), 'path', '0'), Infinity)
    out.add({ name: 'y_total', help: 'Y.', type: 'counter' }, withLabel('', 'reason', nasty), 1e21)
    const families = parseExposition(out.toString())
    expect(families.get('quicbraid_x_bytes')).toEqual({ help: 'One\\two\nthree.', type: 'gauge', samples: [{ labels: { remote: nasty, path: '0' }, value: Infinity }] })
    expect(families.get('quicbraid_y_total')?.samples).toEqual([{ labels: { reason: nasty }, value: 1e21 }])
  })
})
