/**
 * A client and a server in this thread, with bytes running in circles between them, and an end after so many ms: `exit`, `throw`,
 * `reject`, a signal, `beforeExit`, or in a worker `worker`, `end`. Started by the tests beside, or as the whole program of another Node.
 */
import { parentPort, workerData } from 'node:worker_threads'

const { Endpoint, createDevCertificate } = await import(workerData?.package ?? process.argv[2])
const [how, afterMs] = [process.argv[3], Number(process.argv[4])]
if (how !== undefined) setTimeout(end, afterMs)
// An orderly end may come before there is anything to end.
let client, server

const { cert, key } = createDevCertificate()
server = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'x' } })
client = await Endpoint.bind()
void echo()
const connection = await client.connect(server.local[0], { alpn: 'x', ca: cert })
const stream = (await connection.openBidirectional()).toDuplex()
stream.on('error', () => {})
stream.on('data', () => {})
const chunk = Buffer.alloc(65_536)
write()
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port of a worker takes none
parentPort?.postMessage('running')

function write() {
  while (stream.write(chunk));
  stream.once('drain', write)
}

async function echo() {
  for await (const incoming of server.incoming()) {
    for await (const one of incoming.incomingBidirectional()) {
      const duplex = one.toDuplex()
      duplex.on('error', () => {})
      duplex.pipe(duplex)
    }
  }
}

function end() {
  if (how === 'exit') process.exit(7)
  if (how === 'throw') throw new Error('thrown on purpose')
  if (how === 'reject') return void Promise.reject(new Error('rejected on purpose'))
  if (how === 'orderly') return void Promise.all([client?.close(), server?.close()])
  process.kill(process.pid, how)
}
