/** What `quicbraid tunnel` shows. */
import picocolors from 'picocolors'
import { describe, expect, it } from 'vitest'
import { bindOf, mayListen, serviceOf } from '../../src/cli/tunnel/listeners.ts'
import { TunnelLog } from '../../src/cli/tunnel/log.ts'
import { parseAllowListen } from '../../src/cli/tunnel/specs.ts'
import { endedLine, frameOf, introduction, summaryOf, wayOf } from '../../src/cli/tunnel/view.ts'
import type { LivePath } from '../../src/cli/paths.ts'
import { Terminal } from '../../src/cli/terminal.ts'
import type { BridgeEvent, OpenBridge, TunnelStatistics } from '../../src/tunnel/index.ts'

const PLAIN = picocolors.createColors(false)
const STATISTICS: TunnelStatistics = {
  tunnels: 1, bridgesOpen: 2, bridgesTotal: 1234, flowsOpen: 0, flowsTotal: 0, pending: 3, reconnects: 0, bytesUp: 2048, bytesDown: 3_145_728, datagramsUp: 0, datagramsDown: 0,
  udpDrops: { tooLarge: 0, unknownFlow: 0, unknownContext: 0, malformed: 0, queue: 0, flows: 0 }, failed: { refused: 2 }, demuxDrops: { short: 0, type: 0, noListener: 0, noTunnel: 0 },
  durations: Object.fromEntries(['handshake', 'pending', 'accept', 'dial'].map((step) => [step, { count: 0, totalMs: 0, maxMs: 0 }])) as TunnelStatistics['durations'],
}
const bridge = (id: number, more: Partial<OpenBridge> = {}): OpenBridge => ({ atMs: 1, tunnel: 1, bridge: id, protocol: 'tcp', peer: '127.0.0.1:5000', target: 'db:5432', bytesUp: 1024, bytesDown: 0, ...more })
const event = (more: Partial<BridgeEvent>): BridgeEvent => ({ ...bridge(1), type: 'closed', reason: 'end', ...more })
const path = (id: number, more: object = {}): LivePath => ({ rateBitsPerSec: 8e6, report: { id, local: `10.0.0.${id}:1`, remote: '192.0.2.1:4433', bytesSent: 1024, bytesReceived: 0, rttMs: 12.3, state: 'open', status: 'available', ...more } as LivePath['report'] })

function logged(choice: { json?: true; quiet?: true } = {}): { log: TunnelLog; out: () => string } {
  let out = ''
  return { log: new TunnelLog(new Terminal({ write: (text: string) => (out += text) }, { write: () => true }, {}), () => 1.5, choice), out: () => out }
}

describe('the status of a tunnel', () => {
  it('has a line for all, one for each path, one for each bridge', () => {
    const { lines, line } = frameOf(STATISTICS, [{ name: '8080', paths: [path(0), path(1, { state: 'validating' }), path(2, { status: 'backup' })] }, { name: 'socks', paths: null }], [bridge(1), bridge(2, { protocol: 'udp', target: 'dns:53' })], PLAIN)
    expect(lines).toEqual([
      '2 open of 1,234, 3 waiting  up 2 KiB  down 3 MiB',
      '  8080  path 0  10.0.0.0:1 - 192.0.2.1:4433  8 Mbit/s  sent 1 KiB  received 0 B  rtt 12.3 ms',
      '  8080  path 1  10.0.0.1:1 - 192.0.2.1:4433  8 Mbit/s  sent 1 KiB  received 0 B  rtt 12.3 ms  validating',
      '  8080  path 2  10.0.0.2:1 - 192.0.2.1:4433  8 Mbit/s  sent 1 KiB  received 0 B  rtt 12.3 ms  backup',
      '  socks  not connected',
      '  127.0.0.1:5000 -> db:5432  up 1 KiB  down 0 B',
      '  127.0.0.1:5000 -> udp:dns:53  up 1 KiB  down 0 B',
    ])
    expect(line).toBe('2 open of 1,234, 3 waiting  up 2 KiB  down 3 MiB  path 0 8 Mbit/s  path 1 8 Mbit/s  path 2 8 Mbit/s')
  })

  it('stays on one screen, however much goes on', () => {
    const { lines } = frameOf(STATISTICS, [{ name: 'x', paths: Array.from({ length: 50 }, (_, id) => path(id)) }], Array.from({ length: 1000 }, (_, id) => bridge(id)), PLAIN)
    expect(lines).toHaveLength(17)
    expect(lines.at(-1)).toBe('  and 993 more')
  })
})

it('the end of a bridge is a line with the reason', () => {
  expect(endedLine(event({}), 250, PLAIN)).toBe('ok  127.0.0.1:5000 -> db:5432  up 1 KiB  down 0 B  250 ms')
  expect(endedLine(event({ type: 'failed', reason: 'refused', bytesUp: 0 }), 1, PLAIN)).toBe('--  127.0.0.1:5000 -> db:5432  not allowed by the server')
  expect(endedLine(event({ type: 'failed', reason: 'tcp' }), 1, PLAIN)).toBe('--  127.0.0.1:5000 -> db:5432  reset after up 1 KiB, down 0 B')
  expect(summaryOf({ ...STATISTICS, reconnects: 1, flowsTotal: 2 }, 65_000)).toBe('TCP connections: 1,234, flows of UDP: 2, up 2 KiB, down 3 MiB in 1 min 5 s, 1 times connected again; failed: 2 refused')
})

it('words of a peer do not steer the terminal', () => {
  expect(wayOf('1.2.3.4:5', 'x\u001B[2J\r\n:80')).toBe('1.2.3.4:5 -> x?[2J??:80')
  const { log, out } = logged()
  log.refused('1.2.3.4:5', 'x\u001B[2J:80', 'not allowed')
  expect(out()).toBe('--  1.2.3.4:5 wanted x?[2J:80: not allowed\n')
})

it('refusals fill no log: twenty a second', () => {
  const { log, out } = logged({ json: true })
  for (let count = 0; count < 1000; count++) log.refused('1.2.3.4:5', 'x:80', 'not allowed')
  expect(out().trimEnd().split('\n').length).toBeLessThanOrEqual(60)
  expect(JSON.parse(out().split('\n')[0] ?? '')).toEqual({ event: 'refused', atMs: 1.5, ok: false, remote: '1.2.3.4:5', target: 'x:80', reason: 'not allowed' })
})

it('a server says how it is reached', () => {
  const server = { local: ['0.0.0.0:4433'], pin: 'sha256//x', allow: ['db:5432-5440', 'x:1'], listen: ['8000-8010'], clients: 'anybody', certificate: true }
  expect(introduction(server)).toEqual([
    'listening on 0.0.0.0:4433, for anybody', 'pin sha256//x', 'allowed: db:5432-5440 x:1', 'ports for -R: 8000-8010',
    'quicbraid tunnel -L 8080:db:5432 THIS-HOST:4433 --pin sha256//x --cert cert.pem --key key.pem', 'quicbraid tunnel -R 8000:localhost:80 THIS-HOST:4433 --pin sha256//x --cert cert.pem --key key.pem',
  ])
  expect(introduction({ ...server, allow: ['udp:[::1]:53'], listen: [], certificate: false }).at(-1)).toBe('quicbraid tunnel -L udp:8080:[::1]:53 THIS-HOST:4433 --pin sha256//x')
})

it('a port for -R is a service, and only ports that are allowed are opened', () => {
  for (const bind of [{ host: '127.0.0.1', port: 8080 }, { host: '::1', port: 1 }, { host: '0.0.0.0', port: 65_535 }]) expect(bindOf(serviceOf(bind))).toEqual(bind)
  for (const service of ['', 'web', 'tcp/', 'tcp/8080', 'tcp/127.0.0.1:0', 'tcp/127.0.0.1:08080', 'tcp/localhost:80', 'tcp/*:80', 'tcp/1.2.3.4:80 ', 'tcp//run/x', 'udp/127.0.0.1:80']) expect(bindOf(service), service).toBeNull()
  const allowed = ['8080', '*:9000-9010', '[::]:7'].map(parseAllowListen)
  const may = (host: string, port: number): boolean => mayListen(allowed, { host, port })
  expect([may('127.0.0.1', 8080), may('127.0.0.1', 9005), may('0.0.0.0', 9010), may('::1', 7)]).toEqual([true, true, true, true])
  expect([may('0.0.0.0', 8080), may('127.0.0.1', 8081), may('::1', 9005), may('127.0.0.1', 7), may('10.0.0.1', 8080)]).toEqual([false, false, false, false, false])
})
