// What the programs of this folder share: command line, processor time, reports, and the cases over Node and Web streams.
//
//   PROGRAM server --case CASE --cert FILE --key FILE [--api duplex|web|direct|borrowed]
//   PROGRAM client --case CASE --ca FILE --seconds S --connect ADDRESS [--in-flight N] [--api …]
//
// bulk: 64 KiB writes until the time is up, then the end; the server answers with the count, 8 bytes, big-endian.
// delay: as bulk; the server measures how late its event loop is between the first byte and the last.
// streams: requests of 100 bytes, answered with the same bytes, `in-flight` at once.
// handshakes: full handshakes to the server's first byte, then closed, `in-flight` at once.
// idle: memory.mjs.

import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'

export const ALPN = 'qb-bench'
export const SERVER_NAME = 'localhost'
export const REQUEST = Buffer.alloc(100, 7)
export const FIRST_BYTE = Buffer.alloc(1, 7)
const CHUNK = Buffer.alloc(65_536, 7)
const STRINGS = ['case', 'cert', 'key', 'ca', 'seconds', 'connect', 'in-flight', 'api']

/** Reads the command line and runs the role it names. */
export async function main({ server, client }) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: Object.fromEntries(STRINGS.map((name) => [name, { type: 'string' }])),
  })
  const pem = (name) => (values[name] === undefined ? undefined : readFileSync(values[name], 'utf8'))
  const [host, port] = (values.connect ?? ':').split(':')
  const options = {
    case: values.case,
    api: values.api,
    seconds: Number(values.seconds),
    inFlight: Number(values['in-flight'] ?? 1),
    cert: pem('cert'),
    key: pem('key'),
    ca: pem('ca'),
    host,
    port: Number(port),
  }
  try {
    const report = positionals[0] === 'server' ? await serve(await server(options)) : await client(options)
    finish(report, 0)
  } catch (error) {
    finish({ error: error.stack ?? String(error) }, 1)
  }
}

function finish(report, code) {
  // What else is open ends with the process.
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(code))
}

/** Tells the address and works until stdin ends. `report`: what the case measures at the server. */
async function serve({ address, report = () => ({}) }) {
  const meter = new Meter()
  process.stdout.write(`${JSON.stringify({ listening: address })}\n`)
  process.stdin.resume()
  await new Promise((resolve) => process.stdin.once('end', resolve))
  return { ...meter.report({}), ...report() }
}

/** Measures from its making on. */
export class Meter {
  #started = performance.now()
  #usage = process.cpuUsage()

  get seconds() {
    return (performance.now() - this.#started) / 1000
  }

  report({ bytes = 0, operations = 0 }) {
    const { user, system } = process.cpuUsage(this.#usage)
    return { bytes, operations, seconds: this.seconds, cpu: (user + system) / 1e6 }
  }
}

/** How late the event loop is, from `start` to `stop`: milliseconds between two turns of a timer of 1 ms, that millisecond included. */
export class DelayMeter {
  #histogram = monitorEventLoopDelay({ resolution: 1 })

  start() {
    this.#histogram.enable()
  }

  stop() {
    this.#histogram.disable()
  }

  report() {
    return { delay: this.#histogram.percentile(99) / 1e6 }
  }
}

/** Everything a Node stream brings. Not `for await`, which destroys the writing side as well. */
export function collect(readable) {
  return new Promise((resolve, reject) => {
    const chunks = []
    readable.on('data', (chunk) => chunks.push(chunk))
    readable.once('end', () => resolve(Buffer.concat(chunks)))
    readable.once('error', reject)
  })
}

/** Bulk over a Node stream, the client's part. */
export async function uploadDuplex(duplex, seconds) {
  const meter = new Meter()
  const answer = collect(duplex)
  const pump = () => {
    while (meter.seconds < seconds) {
      if (!duplex.write(CHUNK)) {
        duplex.once('drain', pump)
        return
      }
    }
    duplex.end()
  }
  pump()
  const bytes = Number((await answer).readBigUInt64BE())
  return meter.report({ bytes })
}

/** Bulk over a Node stream, the server's part; `meter` measures from the first byte to the last. */
export function countDuplex(duplex, meter) {
  let count = 0
  if (meter !== undefined) duplex.once('data', () => meter.start())
  duplex.on('data', (chunk) => { count += chunk.length })
  duplex.once('end', () => {
    meter?.stop()
    duplex.end(encoded(count))
  })
}

/** Bulk over Web streams, the client's part. */
export async function uploadWeb({ readable, writable }, seconds) {
  const meter = new Meter()
  const answer = collectWeb(readable)
  const writer = writable.getWriter()
  while (meter.seconds < seconds) {
    await writer.ready
    // Its failure is that of `ready`, or of `close`.
    writer.write(new Uint8Array(CHUNK)).catch(() => {})
  }
  await writer.close()
  const bytes = Number((await answer).readBigUInt64BE())
  return meter.report({ bytes })
}

/** Bulk over Web streams, the server's part. */
export async function countWeb({ readable, writable }) {
  let count = 0
  const reader = readable.getReader()
  for (let part = await reader.read(); !part.done; part = await reader.read()) count += part.value.byteLength
  const writer = writable.getWriter()
  await writer.write(encoded(count))
  await writer.close()
}

/** Everything a Web stream brings. */
export async function collectWeb(readable) {
  const chunks = []
  const reader = readable.getReader()
  for (let part = await reader.read(); !part.done; part = await reader.read()) chunks.push(part.value)
  return Buffer.concat(chunks)
}

/** One request over Web streams. */
export async function requestWeb({ readable, writable }) {
  const writer = writable.getWriter()
  writer.write(new Uint8Array(REQUEST)).catch(() => {})
  writer.close().catch(() => {})
  check(await collectWeb(readable))
}

/** Answers one request over Web streams. */
export async function answerWeb({ readable, writable }) {
  const request = await collectWeb(readable)
  const writer = writable.getWriter()
  writer.write(request).catch(() => {})
  await writer.close()
}

/** Does `operation` again and again until the time is up, `inFlight` at once. */
export async function repeat({ seconds, inFlight }, operation) {
  const meter = new Meter()
  let operations = 0
  const worker = async () => {
    while (meter.seconds < seconds) {
      await operation()
      operations += 1
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  return meter.report({ operations })
}

/** An answer must be the request. */
export function check(answer) {
  if (answer.length !== REQUEST.length) throw new Error(`an answer of ${answer.length} bytes`)
}

/** The answer to a bulk transfer: how many bytes came. */
export function encoded(count) {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(count))
  return bytes
}
