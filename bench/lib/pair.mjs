// Runs a server and a client, one process each, and takes both reports.
//
// A server prints `{"listening":"ADDRESS"}`, works until its stdin ends and prints its report; a client prints its
// report. Reports are lines of JSON; one with `error` fails the run.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const GRACE_MS = 20_000

/** @returns both reports. */
export async function runPair({ server, client }, clientMs) {
  const serving = start(server)
  let connecting
  try {
    const { listening } = await serving.line()
    connecting = start([...client, '--connect', listening])
    const limit = setTimeout(() => connecting.kill(), clientMs + GRACE_MS)
    const clientReport = await connecting.line()
    clearTimeout(limit)
    await connecting.exited
    serving.end()
    const late = setTimeout(() => serving.kill(), GRACE_MS)
    const serverReport = await serving.line()
    await serving.exited
    clearTimeout(late)
    return { client: clientReport, server: serverReport }
  } finally {
    connecting?.kill()
    serving.kill()
  }
}

function start([file, ...parameters]) {
  const child = spawn(file, parameters, { stdio: ['pipe', 'pipe', 'pipe'] })
  const name = [file.split(/[\\/]/).at(-1), ...parameters.filter((part) => !part.startsWith('/'))].join(' ')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text) => { errors = (errors + text).slice(-4_000) })
  child.on('error', (error) => { errors += error.message })
  child.stdin.on('error', () => { /* It ended first; its report tells why. */ })
  const exited = new Promise((resolve) => child.on('close', resolve))
  const fail = (words) => new Error(`${name}: ${words}${errors === '' ? '' : `\n${errors}`}`)
  return {
    exited,
    kill: () => child.kill('SIGKILL'),
    end: () => child.stdin.end(),
    /** Its next line. */
    async line() {
      const { value, done } = await lines.next()
      if (done) {
        await exited
        throw fail('ended without a report')
      }
      const line = JSON.parse(value)
      if (line.error !== undefined) throw fail(line.error)
      return line
    },
  }
}
