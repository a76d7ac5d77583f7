// Runs one row: starts the server, reads its address, puts links before it, runs the client, compares both reports.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

// The server hears the close at once; it may be a slow one.
const SERVER_GRACE_MS = 5_000

/** @returns what went wrong, as lines; none when the row holds. */
export async function runRow(row, { commands, cert, key }, limitMs) {
  const limit = ['--limit', `${Math.ceil(limitMs / 1000)}`]
  const server = start('server', [...commands[row.server], 'server', '--listen', '127.0.0.1:0', '--cert', cert, '--key', key, ...flags(row.serverOptions), ...limit])
  const deadline = setTimeout(() => server.kill(), limitMs)
  let client
  let relay
  try {
    const [address] = await server.listening()
    if (address === undefined) return ['the server did not start', ...server.story()]
    relay = row.links === undefined ? undefined : startRelay(commands, row.links, address)
    const addresses = relay === undefined ? [address] : await relay.listening()
    client = start('client', [...commands[row.client], 'client', '--connect', `${addresses}`, '--ca', cert, ...flags(row.clientOptions), ...limit])
    client.onMiddle(() => row.atMiddle?.forEach((order) => relay.order(order)))
    const clientDeadline = setTimeout(() => client.kill(), limitMs)
    await client.exited
    clearTimeout(clientDeadline)
    const grace = setTimeout(() => server.kill(), client.report()?.ok ? SERVER_GRACE_MS : 200)
    await server.exited
    clearTimeout(grace)
    const problems = judge(row, client.report(), server.report(), await relay?.counters())
    return problems.length === 0 ? [] : [...problems, ...client.story(), ...server.story(), ...(relay?.story() ?? [])]
  } finally {
    clearTimeout(deadline)
    client?.kill()
    relay?.kill()
    server.kill()
  }
}

/** The links between both ends; its counters are those of the first order and those of the end. */
function startRelay({ relay: command }, { count, mbit, delayMs }, target) {
  const relay = start('relay', [...command, ...flags({ target, links: count, mbit, 'delay-ms': delayMs })])
  return {
    ...relay,
    async counters() {
      relay.end()
      await relay.exited
      const counted = relay.lines.flatMap(({ links }) => (links === undefined ? [] : [links]))
      return { middle: counted.at(0), last: counted.at(-1) }
    },
  }
}

function judge(row, client, server, links) {
  const problems = []
  for (const [role, report] of Object.entries({ client, server })) {
    if (report === undefined) problems.push(`${role}: ended without a report`)
    else if (!report.ok) problems.push(`${role}: ${report.error}`)
    else if (report.up !== (row.clientOptions.up ?? 0) || report.down !== (row.clientOptions.down ?? 0)) {
      problems.push(`${role}: ${report.up} bytes up, ${report.down} down`)
    }
  }
  if (problems.length > 0) return problems
  return row.checks.map((check) => check(client, server, links)).filter((words) => words !== null)
}

function flags(options) {
  return Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`])
}

/** A program whose stdout is lines of JSON. */
function start(role, [file, ...parameters]) {
  const child = spawn(file, parameters, { stdio: ['pipe', 'pipe', 'pipe'] })
  const lines = []
  let errors = ''
  let onMiddle = () => {}
  let announce
  const listening = new Promise((resolve) => { announce = resolve })
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = parse(text)
    lines.push(line ?? text)
    if (line?.listening !== undefined) announce(line.listening)
    if (line?.middle === true) onMiddle()
  })
  child.stderr.setEncoding('utf8').on('data', (text) => { errors = (errors + text).slice(-4_000) })
  child.on('error', (error) => { errors += error.message })
  child.stdin.on('error', () => { /* It ended first; its report tells why. */ })
  // 'close' comes when the pipes are empty too.
  const exited = new Promise((resolve) => child.on('close', resolve))
  return {
    lines,
    exited,
    /** Addresses it listens at; none when it ended before. */
    listening: () => Promise.race([listening, exited.then(() => [])]),
    onMiddle: (act) => { onMiddle = act },
    order: (text) => child.stdin.write(`${text}\n`),
    end: () => child.stdin.end(),
    kill: () => child.kill('SIGKILL'),
    report: () => lines.find((line) => line.ok !== undefined),
    story: () => [
      ...lines.map((line) => `${role} said ${typeof line === 'string' ? line : JSON.stringify(line)}`),
      ...errors.split('\n').filter((line) => line !== '').map((line) => `${role} stderr: ${line}`),
    ],
  }
}

function parse(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
