// The package as Node programs use it, against node:net, node:tls, node:http2, @chainsafe/libp2p-quic and @matrixai/quic, one process a side.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { withGoal } from './lib/goals.mjs'
import { runRounds } from './lib/rounds.mjs'
import { row } from './lib/statistics.mjs'
import { EXPLAINED, GOAL, nodeCases } from './node/cases.mjs'
import { missingPeers, peerVersions } from './node/peers.mjs'

const PACKAGE = new URL('../dist/index.mjs', import.meta.url)
const FULL = { rounds: 5, seconds: 2 }
const QUICK = { rounds: 3, seconds: 0.5 }

/** @returns settings and rows. */
export async function node({ quick, progress }) {
  const effort = quick ? QUICK : FULL
  if (!existsSync(PACKAGE)) throw new Error('the package is not built: npm run build')
  const ours = await import(PACKAGE)
  const missing = missingPeers()
  if (!(await canBorrow(ours))) {
    missing.add('borrowed')
    process.stderr.write('without bulk1-borrowed: this build has no borrow()\n')
  }
  const directory = mkdtempSync(join(tmpdir(), 'quicbraid-bench-'))
  try {
    const cases = nodeCases(certificate(directory, ours), effort)
    for (const { sides } of cases) for (const name of missing) delete sides[name]
    const values = await runRounds(cases, effort, progress)
    return { settings: settings(effort), results: cases.flatMap((it) => rows(it, values[it.name])) }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Each of our ways against each peer and each number that is asked for. */
function rows({ ways, peers, metrics, goals }, values) {
  return Object.entries(ways).filter(([side]) => side in values).flatMap(([side, name]) =>
    Object.entries(metrics).flatMap(([metric, { unit, ours = false }]) => {
      const asked = goals[name]?.[metric] ?? {}
      const against = (peer, theirs) => withGoal(row('node', { name, metric, unit, peer }, values[side][metric], theirs), asked[peer])
      const number = asked[GOAL] === undefined ? [] : [against(GOAL, values[side][metric].map(() => asked[GOAL].atMost))]
      if (ours) return number
      return [...number, ...peers.flatMap((peer) => {
        const { name: peerName, side: peerSide, of = side } = typeof peer === 'string' ? { name: peer, side: peer } : peer
        return of === side && peerSide in values ? [against(peerName, values[peerSide][metric])] : []
      })]
    }),
  )
}

/** Asked of a stream: the class is not exported. */
async function canBorrow({ Endpoint, createDevCertificate }) {
  const { cert, key } = createDevCertificate()
  const server = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'bench' } })
  const client = await Endpoint.bind()
  try {
    const connection = await client.connect(server.local[0], { alpn: 'bench', verify: 'none' })
    return 'borrow' in await connection.openBidirectional()
  } finally {
    client.destroy()
    server.destroy()
  }
}

function certificate(directory, { createDevCertificate }) {
  const made = createDevCertificate({ names: ['localhost'], days: 1 })
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') }
  writeFileSync(files.cert, made.cert)
  writeFileSync(files.key, made.key)
  return files
}

function settings({ rounds, seconds }) {
  return {
    rounds: `${rounds} interleaved, ${seconds} s each, medians; idle-memory at most 3`,
    network: 'loopback, server and client one process each; ours with an I/O thread beside the JavaScript thread',
    ...EXPLAINED,
    cryptography: 'TLS 1.3, AES-128-GCM, ECDSA P-256 (libp2p: Ed25519)',
    'node:net, node:tls, node:http2': `of node ${process.versions.node}, over TCP`,
    ...peerVersions(),
  }
}
