// The cases of the Node benchmark: who runs in each, what is measured, who is compared with whom, and what is asked of us.

import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { BULK, OPERATIONS } from '../lib/rounds.mjs'
import { LIBP2P, MATRIXAI } from './peers.mjs'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const NET = 'node:net'
const TLS = 'node:tls'
const HTTP2 = 'node:http2'
/** A peer that is a number. */
export const GOAL = 'goal'

const CROSSINGS = { crossings: { unit: '1/MiB', of: ({ client, server }) => (client.crossings + server.crossings) / (client.bytes / 2 ** 20), ours: true } }
const MEMORY = {
  memory: { unit: 'KiB', of: ({ server }) => server.memory / 1024 },
  heap: { unit: 'KiB', of: ({ server }) => server.heap / 1024 },
}
const DELAY = { delayP99: { unit: 'ms', of: ({ server }) => server.delay } }

/**
 * All cases. A row for each of `ways`, a side of ours and the name of its case, against each of `peers`, a side or a number.
 *
 * @param files paths of `cert` and `key`
 */
export function nodeCases({ cert, key }, { seconds, rounds }) {
  const side = (program, kind, options = []) => {
    const command = [process.execPath, '--expose-gc', join(HERE, `${program}.mjs`)]
    return {
      server: [...command, 'server', '--case', kind, '--cert', cert, '--key', key, ...options],
      client: [...command, 'client', '--case', kind, '--ca', cert, '--seconds', `${seconds}`, ...options],
    }
  }
  const ours = (kind, api, options = []) => side('ours', kind, ['--api', api, ...options])
  const requests = ['--in-flight', '64']
  const handshakes = ['--in-flight', '32']
  return [
    {
      name: 'bulk1',
      sides: {
        duplex: ours('bulk', 'duplex'), [TLS]: side('tls', 'bulk'), borrowed: ours('bulk', 'borrowed'), web: ours('bulk', 'web'),
        [NET]: side('net', 'bulk'), [LIBP2P]: side('libp2p', 'bulk'), [MATRIXAI]: side('matrixai', 'bulk'),
      },
      ways: { duplex: 'bulk1', web: 'bulk1-web', borrowed: 'bulk1-borrowed' },
      peers: [TLS, LIBP2P, MATRIXAI, NET, { name: 'bulk1', side: 'duplex', of: 'borrowed' }],
      metrics: { ...BULK, ...CROSSINGS },
      goals: {
        bulk1: { throughput: { [TLS]: { ratioAtLeast: 0.8 }, [LIBP2P]: { ratioAtLeast: 4 }, [MATRIXAI]: { ratioAtLeast: 150 } }, crossings: { [GOAL]: { atMost: 40, asserted: true } } },
        'bulk1-web': { crossings: { [GOAL]: { atMost: 40, asserted: true } } },
        'bulk1-borrowed': { throughput: { bulk1: { ratioAtLeast: 1.3 } }, crossings: { [GOAL]: { atMost: 40, asserted: true } } },
      },
    },
    {
      name: 'small-streams',
      sides: {
        duplex: ours('streams', 'duplex', requests), [HTTP2]: side('http2', 'streams', requests), direct: ours('streams', 'direct', requests), web: ours('streams', 'web', requests),
        [NET]: side('net', 'streams', requests), [LIBP2P]: side('libp2p', 'streams', requests), [MATRIXAI]: side('matrixai', 'streams', requests),
      },
      ways: { direct: 'small-streams', duplex: 'small-streams-duplex', web: 'small-streams-web' },
      peers: [HTTP2, LIBP2P, MATRIXAI, NET],
      metrics: OPERATIONS,
      goals: { 'small-streams': { rate: { [HTTP2]: { ratioAtLeast: 4 } } } },
    },
    {
      name: 'handshakes',
      sides: { ours: ours('handshakes', 'direct', handshakes), [TLS]: side('tls', 'handshakes', handshakes), [NET]: side('net', 'handshakes', handshakes) },
      ways: { ours: 'handshakes' },
      peers: [TLS, NET],
      metrics: OPERATIONS,
      goals: { handshakes: { rate: { [TLS]: { ratioAtLeast: 2 } } } },
    },
    {
      name: 'idle-memory',
      sides: { ours: ours('idle', 'direct'), [TLS]: side('tls', 'idle'), [NET]: side('net', 'idle') },
      ways: { ours: 'idle-memory' },
      peers: [TLS, NET],
      metrics: MEMORY,
      goals: { 'idle-memory': { memory: { [GOAL]: { atMost: 38 } } } },
      rounds: Math.min(rounds, 3),
      patience: 60,
    },
    {
      name: 'loop-delay',
      sides: { duplex: ours('delay', 'duplex'), [TLS]: side('tls', 'delay'), [NET]: side('net', 'delay') },
      ways: { duplex: 'loop-delay' },
      peers: [TLS, NET],
      metrics: DELAY,
      goals: { 'loop-delay': { delayP99: { [GOAL]: { atMost: 20 } } } },
    },
  ]
}

/** What the words in the table mean. */
export const EXPLAINED = {
  bulk1: '64 KiB writes on one stream; ours through toDuplex(), -web through Web Streams, -borrowed received by borrow()',
  crossings: 'calls across N-API of both processes, per MiB',
  'small-streams': '64 in flight, 100 bytes each way; ours through write(), end() and bytes(), -duplex through toDuplex(), -web through Web Streams; node:net in order, without streams',
  handshakes: '32 at once, full, to the first byte of the server, then closed',
  'idle-memory': 'of the server, a connection, with 999 more of them: resident memory, JavaScript heap, after forced collections',
  'loop-delay': 'of the receiver of bulk1 through toDuplex(), 99th percentile, a timer of 1 ms, that millisecond included',
}
