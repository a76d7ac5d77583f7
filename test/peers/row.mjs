// Runs one row: starts the server, reads its address, runs the client, compares both reports.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

// The server hears the close at once; it may be a slow one.
const SERVER_GRACE_MS = 5_000

/** @returns what went wrong, as lines; none when the row holds. */
export async function runRow(row, { commands, cert, key }, limitMs) {
  const limit = ['--limit', `${Math.ceil(limitMs / 1000)}`]
  const server = start([...commands[row.server], 'server', '--listen', '127.0.0.1:0', '--cert', cert, '--key', key, ...flags(row.serverOptions), ...limit])
  const deadline = setTimeout(() => server.kill(), limitMs)
  let client
  try {
    const address = await Promise.race([server.listening, server.exited.then(() => undefined)])
    if (address === undefined) return ['the server did not start', ...server.story()]
    client = start([...commands[row.client], 'client', '--connect', address, '--ca', cert, ...flags(row.clientOptions), ...limit])
    const clientDeadline = setTimeout(() => client.kill(), limitMs)
    await client.exited
    clearTimeout(clientDeadline)
    const grace = setTimeout(() => server.kill(), client.report()?.ok ? SERVER_GRACE_MS : 200)
    await server.exited
    clearTimeout(grace)
    const problems = judge(row, client.report(), server.report())
    return problems.length === 0 ? [] : [...problems, ...client.story(), ...server.story()]
  } finally {
    clearTimeout(deadline)
    client?.kill()
    server.kill()
  }
}

function judge(row, client, server) {
  const problems = []
  for (const [role, report] of Object.entries({ client, server })) {
    if (report === undefined) problems.push(`${role}: ended without a report`)
    else if (!report.ok) problems.push(`${role}: ${report.error}`)
    else if (report.up !== (row.clientOptions.up ?? 0) || report.down !== (row.clientOptions.down ?? 0)) {
      problems.push(`${role}: ${report.up} bytes up, ${report.down} down`)
    }
  }
  if (problems.length > 0) return problems
  return row.checks.map((check) => check(client, server)).filter((words) => words !== null)
}

function flags(options) {
  return Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`])
}

/** A program whose stdout is lines of JSON. */
function start([file, ...parameters]) {
  const child = spawn(file, parameters, { stdio: ['ignore', 'pipe', 'pipe'] })
  const role = parameters.includes('server') ? 'server' : 'client'
  const lines = []
  let errors = ''
  let announce
  const listening = new Promise((resolve) => { announce = resolve })
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = parse(text)
    lines.push(line ?? text)
    if (line?.listening !== undefined) announce(line.listening[0])
  })
  child.stderr.setEncoding('utf8').on('data', (text) => { errors = (errors + text).slice(-4_000) })
  child.on('error', (error) => { errors += error.message })
  // 'close' comes when the pipes are empty too.
  const exited = new Promise((resolve) => child.on('close', resolve))
  return {
    listening,
    exited,
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
