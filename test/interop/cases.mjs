// The test cases of the quic-interop-runner as this harness runs them: the files, what the endpoints are told, what the network does, what
// must be true of the traces. Sizes and networks are the runner's; `quick` has sizes for every-day runs.

import * as judge from './lib/judge.mjs'
import { VERSION_1 } from './lib/pcap.mjs'

const KB = 1024
const MB = 1024 * KB
const times = (count, size) => Array.from({ length: count }, () => size)
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** What an endpoint is told; the runner uses few words for many cases. */
const told = (client, server = client) => ({ client, server })

const ONCE = judge.handshakes(1)
const V1 = judge.versions(VERSION_1)
const HEAVY_LOSS = { loss: 0.3, maxInARow: 3 }
const LIGHT_LOSS = { loss: 0.02, maxInARow: 3 }
const HEAVY_CORRUPTION = { corruption: 0.3, maxInARow: 3 }
const LIGHT_CORRUPTION = { corruption: 0.02, maxInARow: 3 }
/** One connection a file; in these two the limit of the runner is five minutes. */
const MANY = { limitS: 300 }

/**
 * name -> { told, files, quick?, network?, limitS?, checks, decrypted?, timed?, many?, attack? }.
 * `network`: fields of a relay link, `events`: things that happen while the transfer runs. `decrypted`: checks that need tshark and the key log;
 * `timed`: such checks that a busy machine can fail, not made in quick runs. `quick: null`: not part of quick runs.
 * `attack`: the row of docs/spec/attacks.md that it tests.
 */
export const CASES = {
  versionnegotiation: { told: told('versionnegotiation'), files: [KB], checks: [judge.versionNegotiated] },
  handshake: { told: told('handshake'), files: [KB], checks: [ONCE, V1, judge.noRetry] },
  transfer: { told: told('transfer'), files: [2 * MB, 3 * MB, 5 * MB], quick: [200 * KB, 300 * KB], checks: [ONCE, V1] },
  longrtt: { told: told('handshake'), files: [KB], quick: null, network: { delayMs: 750 }, checks: [ONCE, V1, judge.clientHellos(2)] },
  chacha20: { told: told('chacha20'), files: [3 * MB], quick: [100 * KB], checks: [ONCE, V1], decrypted: [judge.onlyChaCha20] },
  multiplexing: { told: told('transfer'), files: times(1999, 32), quick: times(300, 32), checks: [ONCE, V1], decrypted: [judge.streamLimit(1000)] },
  retry: { told: told('retry'), files: [10 * KB], checks: [ONCE, V1, judge.retried], decrypted: [judge.packetNumbersGoOn] },
  resumption: { told: told('resumption'), files: [5 * KB, 10 * KB], checks: [judge.handshakes(2), V1], decrypted: [judge.secondWithoutCertificate] },
  zerortt: { told: told('zerortt'), files: times(40, 32), nameLength: 250, checks: [judge.handshakes(2), V1, judge.earlyDataSent], timed: [judge.requestsWereEarly] },
  blackhole: { told: told('transfer'), files: [10 * MB], quick: null, events: { blackhole: { onMs: 5000, offMs: 2000 } }, checks: [ONCE, V1] },
  keyupdate: { told: told('keyupdate', 'transfer'), files: [3 * MB], quick: [300 * KB], checks: [ONCE, V1], decrypted: [judge.bothKeyPhases] },
  ecn: { told: told('ecn'), files: [100 * KB], quick: null, checks: [ONCE, V1, judge.ecnMarks], decrypted: [judge.ecnAcknowledged] },
  amplificationlimit: {
    told: told('transfer'), files: [5 * KB], quick: null, chain: 9, network: { dropToTarget: numbers(2, 7) },
    checks: [ONCE, V1, judge.amplification], decrypted: [judge.longChain],
  },
  handshakeloss: { attack: 'K10', told: told('multiconnect'), files: times(50, KB), quick: null, ...MANY, network: HEAVY_LOSS, checks: [judge.handshakes(50), V1] },
  transferloss: { attack: 'K10', told: told('transfer'), files: [2 * MB], quick: [200 * KB], network: LIGHT_LOSS, checks: [ONCE, V1] },
  handshakecorruption: { attack: 'K10', told: told('multiconnect'), files: times(50, KB), quick: null, ...MANY, network: HEAVY_CORRUPTION, checks: [judge.handshakes(50)] },
  transfercorruption: { attack: 'K10', told: told('transfer'), files: [2 * MB], quick: [200 * KB], network: LIGHT_CORRUPTION, checks: [ONCE] },
  ipv6: { told: told('transfer'), files: [5 * KB, 10 * KB], family: 6, checks: [ONCE, V1, judge.onlyIPv6] },
  v2: { told: told('v2'), files: [KB], checks: [judge.becomesVersion2] },
  'rebind-port': {
    told: told('transfer'), files: [10 * MB], quick: null, events: { rebind: { firstMs: 1000, everyMs: 5000 } },
    checks: [ONCE, V1, judge.pathsAtServer(2)], decrypted: [judge.newPathsAreChallenged],
  },
  'rebind-addr': {
    told: told('transfer'), files: [10 * MB], quick: null, events: { rebind: { firstMs: 1000, everyMs: 5000, address: true } },
    checks: [ONCE, V1, judge.pathsAtServer(2), judge.addressesAtServer(2)], decrypted: [judge.newPathsAreChallenged],
  },
  connectionmigration: {
    told: told('connectionmigration'), files: [2 * MB], quick: null, preferred: true,
    checks: [ONCE, V1, judge.pathsAtServer(2), judge.newPathNewConnectionId], decrypted: [judge.newPathsAreChallenged],
  },
  goodput: { told: told('transfer'), files: [10 * MB], quick: null, checks: [ONCE, V1, judge.goodput(5_000)] },
  // The runner's rival is a TCP connection; our relay carries UDP only, so the rival is a second transfer of the same kind.
  crosstraffic: { told: told('transfer'), files: [25 * MB], quick: null, limitS: 180, rival: true, checks: [judge.handshakes(2), V1, judge.goodput(1_000)] },
}

/** A link of the runner: 10 Mbit/s, 15 ms one way, a queue of 25 packets, an Ethernet underneath. */
export const LINK = { rateBitsPerSec: 10_000_000, delayMs: 15, queueBytes: 25 * 1500, maxDatagramBytes: 1472 }
