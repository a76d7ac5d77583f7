/** A thread that borrows, gives some back, keeps others, and ends so many ms after it began: `exit`, `throw`, `close`, or by its parent. */
import { parentPort, workerData } from 'node:worker_threads'

const { Endpoint, createDevCertificate } = await import(workerData.package)
const { cert, key } = createDevCertificate()
const server = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'x' } })
const client = await Endpoint.bind()
void feed()
const connection = await client.connect(server.local[0], { alpn: 'x', ca: cert })
const held = []
await Promise.race([1, 2, 3].map((keep) => borrow(keep)))

async function borrow(keep) {
  const stream = await connection.openBidirectional()
  stream.write(Buffer.alloc(1))
  let count = 0
  for await (const loan of stream.borrow()) {
    count += 1
    if (count % keep === 0) loan.release()
    else held.push(loan)
    if (held.length > 3) held.shift().release()
    if (count === 10 && keep === 1) {
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port of a worker takes none
      parentPort.postMessage('borrowing')
      setTimeout(end, workerData.afterMs)
    }
  }
}

async function feed() {
  const chunk = Buffer.alloc(65_536, 7)
  for await (const incoming of server.incoming()) {
    for await (const stream of incoming.incomingBidirectional()) {
      const duplex = stream.toDuplex()
      duplex.on('error', () => {})
      const write = () => {
        while (duplex.write(chunk));
        duplex.once('drain', write)
      }
      write()
    }
  }
}

function end() {
  if (workerData.how === 'exit') process.exit(0)
  if (workerData.how === 'throw') throw new Error('thrown on purpose')
  if (workerData.how === 'close') void Promise.all([client.close(), server.close()]).then(() => process.exit(0))
}
