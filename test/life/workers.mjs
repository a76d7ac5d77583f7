/**
 * A main thread that carries bytes while its workers, which do the same or another load, come and go: `terminate` ends each so many ms
 * after its start, `own` lets each exit by itself, `thrown` by an exception that nobody catches, `main` exits the process (code 7) with
 * all of them alive. Exit code 0 if the main thread's bytes still run afterwards and no worker left a thread.
 * Arguments: package, way, ms, count, load. Runs on any Node.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

const [, , path, way, afterMs, count, kind] = process.argv
/** How a worker ends by itself. */
const OWN = { own: 'exit', thrown: 'throw' }
const { Endpoint, createDevCertificate } = await import(path)
const load = fileURLToPath(new URL('../native/load.mjs', import.meta.url))

/** However slow the machine is. */
const limits = { idleTimeoutMs: 0, handshakeTimeoutMs: 600_000 }

const { cert, key } = createDevCertificate()
const server = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'x', limits } })
const client = await Endpoint.bind({ connection: { limits } })
void echo()
const connection = await client.connect(server.local[0], { alpn: 'x', ca: cert })
await circle()
const before = threads()

for (let index = 0; index < Number(count); index++) {
  const worker = new Worker(load, { workerData: { package: path, load: kind }, argv: way in OWN ? [path, OWN[way], String(afterMs)] : [] })
  const gone = new Promise((resolve) => worker.once('exit', resolve))
  worker.once('error', (error) => { if (!(way === 'thrown' && error.message === 'thrown on purpose')) fail(3, error) })
  if (way === 'main') continue
  if (way === 'terminate') {
    await new Promise((resolve) => setTimeout(resolve, Number(afterMs)))
    await worker.terminate()
  }
  await gone
  await circle()
}
if (way === 'main') {
  await new Promise((resolve) => setTimeout(resolve, Number(afterMs)))
  process.exit(7)
}
if (threads() !== before) fail(4, `${threads()} threads, before ${before}`)
await Promise.all([client.close(), server.close()])

/** One round of bytes of the main thread's own. */
async function circle() {
  const stream = await connection.openBidirectional()
  stream.write(Buffer.alloc(10_000, 1))
  stream.end()
  if ((await stream.bytes()).length !== 10_000) fail(5, 'bytes are lost')
}

async function echo() {
  for await (const incoming of server.incoming()) {
    for await (const stream of incoming.incomingBidirectional()) {
      void stream.bytes().then((bytes) => {
        stream.write(bytes)
        stream.end()
      })
    }
  }
}

/** I/O threads of endpoints in this process; 0 where that cannot be seen. */
function threads() {
  if (process.platform !== 'linux') return 0
  return readdirSync('/proc/self/task').filter((task) => {
    try {
      return readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim() === 'quicbraid'
    } catch {
      return false // It has ended meanwhile.
    }
  }).length
}

function fail(code, words) {
  process.stderr.write(`${words}\n`)
  process.exit(code)
}
