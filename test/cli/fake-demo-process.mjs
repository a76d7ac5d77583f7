// A process of the demo that only speaks: the orders and events of src/cli/demo/messages.ts, without any network.
// FAKE_DEMO: 'good', 'die' (the client ends), 'fail' (the client reports a failure), 'hang' (the client never finishes).
const role = process.argv[3]
const mode = process.env.FAKE_DEMO ?? 'good'
const tell = (event) => process.send(event)
const done = []

const path = (id, bytesReceived) => ({ id, local: `127.0.0.${id + 1}:1`, remote: `127.0.0.${id + 1}:9`, bytesReceived, state: 'open', suspect: false })
const handshake = { ms: 5, datagramsSent: 2, coalesced: 1, multipath: 'ietf' }

const roles = {
  relay: {
    start: (order) => tell({ event: 'relay-ready', listen: order.links.map((link, index) => `127.0.0.${index + 1}:9`) }),
    cut: (order) => done.push(`cut ${order.link}`),
    restore: (order) => done.push(`restore ${order.link}`),
    statistics: () => tell({ event: 'relay-statistics', links: [0, 1].map((link) => ({ up: true, delivered: 1, droppedByCut: done.filter((what) => what.endsWith(String(link))).length, droppedByQueue: 0 })) }),
  },
  server: {
    start: () => tell({ event: 'server-ready', local: ['127.0.0.1:1111', '[::1]:1111'], ca: 'ca', bytes: 1000, sha256: 'aa' }),
    statistics: () => tell({ event: 'server-statistics', paths: [0, 1].map((id) => ({ id, bytesSent: 600, rttMs: 1, lost: 0, bursts: 2, segments: 6, state: 'open', reason: '' })), handshake, flight: [] }),
  },
  client: {
    start: (order) => {
      if (mode === 'fail') return tell({ event: 'failed', error: { code: 'QB_TLS_CERTIFICATE', message: 'refused', errorCode: 298, codeName: null, by: 'local', path: null }, exit: 3 })
      if (mode === 'die') process.exit(7)
      tell({ event: 'opened', handshake })
      if (mode === 'hang') return undefined
      tell({ event: 'progress', bytes: 500, paths: [path(0, 300), path(1, 200)] })
      order.marks.forEach((_, index) => tell({ event: 'mark', index }))
      return setTimeout(() => tell({ event: 'done', bytes: 1000, seconds: 1, sha256: 'aa', stallMs: 3, paths: [path(0, 600), path(1, 500)], flight: [] }), 100)
    },
  },
}

process.on('message', (order) => {
  if (order.do === 'stop') setImmediate(() => process.disconnect())
  else roles[role][order.do]?.(order)
})
