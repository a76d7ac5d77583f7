// One row: the files, the link, a server, a client, and what both say. Leaves nothing running.

import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { LINK } from '../cases.mjs'
import { place } from './network.mjs'
import { judgeTraces } from './traces.mjs'

const UNSUPPORTED = 127
const START_MS = 20_000
const LIMIT_S = 60
/** The last packets of a closing connection are still on the link. */
const SETTLE_MS = 100

/**
 * Runs `{ name, row, client, server }` (`row` of cases.mjs; peers of peers.mjs) in `folder`.
 * Answers { verdict: 'passed' | 'failed' | 'skipped', reasons, facts, notes, ms }.
 */
export async function runRow({ name, row, client, server, quick }, world, folder) {
  const started = performance.now()
  const facts = {}
  const notes = []
  const outcome = (verdict, reasons = []) => ({ verdict, reasons, facts, notes, ms: Math.round(performance.now() - started) })
  const files = makeFiles(row, quick, folder)
  const at = { ...(await place(world.namespaces, row.family ?? 4)), secondPort: world.peers[server].secondPort }
  const programs = []
  let relay
  try {
    if (row.events?.rebind?.address === true && at.sources.length < 2) return outcome('skipped', ['the relay has one address here'])
    relay = world.startRelay(linksOf(row, at, folder))
    const served = start(at.server, world.peers[server].command, serverEnvironment(row, at, world, client, folder), join(folder, 'server.log'))
    programs.push(served)
    const state = await served.listening
    if (state === UNSUPPORTED) return outcome('skipped', [`${server} does not have it as server`])
    if (state !== 'listening') return outcome('failed', [`the server ended with ${state}`, ...served.story()])
    const events = schedule(row.events ?? {}, relay, at)
    const rivals = row.rival === true ? ['', '-rival'] : ['']
    const clients = rivals.map((suffix) => start(at.client, world.peers[client].command, clientEnvironment(row, at, world, client, files, folder, suffix), join(folder, `client${suffix}.log`)))
    programs.push(...clients)
    const codes = await Promise.all(clients.map((one) => one.ends((row.limitS ?? LIMIT_S) * 1000)))
    events.stop()
    if (codes.includes(UNSUPPORTED)) return outcome('skipped', [`${client} does not have it as client`])
    await new Promise((resolve) => { setTimeout(resolve, SETTLE_MS) })
    facts.relay = relay.stop()
    await Promise.all(programs.map((one) => one.stop()))
    const reasons = codes.filter((code) => code !== 0).map((code) => `the client ended with ${code}`)
    for (const suffix of rivals) reasons.push(...wrongFiles(files, join(folder, `downloads${suffix}`)))
    const traces = await judgeTraces({ name, row, at, folder, tshark: world.tshark, bytes: files.bytes, facts, quick })
    reasons.push(...traces.reasons)
    notes.push(...traces.notes)
    return reasons.length === 0 ? outcome('passed') : outcome('failed', [...reasons, ...programs.flatMap((one) => one.story())])
  } finally {
    await Promise.all(programs.map((one) => one.stop()))
    relay?.stop()
    at.close()
  }
}

/** Random files; their names, hashes and bytes. */
function makeFiles(row, quick, folder) {
  const www = join(folder, 'www')
  mkdirSync(www, { recursive: true })
  const sizes = quick && Array.isArray(row.quick) ? row.quick : row.files
  const hashes = new Map()
  sizes.forEach((size, index) => {
    const start = `f${index}`
    const name = row.nameLength === undefined ? start : start + randomBytes(row.nameLength).toString('hex').slice(0, row.nameLength - start.length)
    const content = randomBytes(size)
    writeFileSync(join(www, name), content)
    hashes.set(name, sha256(content))
  })
  return { hashes, bytes: sizes.reduce((sum, size) => sum + size, 0) }
}

function wrongFiles({ hashes }, downloads) {
  const wrong = [...hashes].filter(([name, hash]) => !existsSync(join(downloads, name)) || sha256(readFileSync(join(downloads, name))) !== hash)
  return wrong.length === 0 ? [] : [`${wrong.length} of ${hashes.size} files are missing or differ`]
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')
const bracketed = (host) => (host.includes(':') ? `[${host}]` : host)

function linksOf(row, at, folder) {
  const link = (listen, target, name) => ({
    ...LINK, ...row.network, listen: `${bracketed(at.relayHost)}:${listen}`, target: `${bracketed(at.serverHost)}:${target}`, source: at.sources[0],
    capture: { client: join(folder, `client${name}.pcap`), target: join(folder, `server${name}.pcap`) },
  })
  const first = link(at.relayPort, at.serverPort, '')
  return row.preferred === true ? [first, link(at.relayPort + 1, at.serverPort + (at.secondPort ? 1 : 0), '-2')] : [first]
}

function serverEnvironment(row, at, world, client, folder) {
  const moves = row.preferred === true && world.peers[client].movesItself
  return {
    ROLE: 'server', TESTCASE: moves ? 'transfer' : row.told.server, CERTS: row.chain === undefined ? world.certs : world.chain(row.chain), WWW: join(folder, 'www'),
    PORT: `${at.serverPort}`, HOST: at.serverHost, SSLKEYLOGFILE: join(folder, 'server.keys'),
    ...(row.preferred === true ? { PREFERRED_ADDRESS: `${bracketed(at.relayHost)}:${at.relayPort + 1}` } : {}),
  }
}

function clientEnvironment(row, at, world, client, files, folder, suffix) {
  const downloads = join(folder, `downloads${suffix}`)
  mkdirSync(downloads, { recursive: true })
  const follows = row.preferred === true && !world.peers[client].movesItself
  const requests = [...files.hashes.keys()].map((name) => `https://${bracketed(at.relayHost)}:${at.relayPort}/${name}`)
  return { ROLE: 'client', TESTCASE: follows ? 'transfer' : row.told.client, REQUESTS: requests.join(' '), DOWNLOADS: downloads, SSLKEYLOGFILE: join(folder, `client${suffix}.keys`) }
}

/** Things that the network does while the transfer runs. */
function schedule({ blackhole, rebind }, relay, at) {
  const timers = []
  let turn = 0
  if (blackhole !== undefined) {
    const { onMs, offMs } = blackhole
    const cut = () => {
      relay.command({ do: 'cut', link: 0 })
      timers.push(setTimeout(() => relay.command({ do: 'restore', link: 0 }), offMs))
    }
    timers.push(setTimeout(cut, onMs), setInterval(cut, onMs + offMs))
  }
  if (rebind !== undefined) {
    const move = () => {
      turn += 1
      relay.command({ do: 'rebind', link: 0, ...(rebind.address === true ? { source: at.sources[turn % at.sources.length] } : {}) })
    }
    timers.push(setTimeout(() => {
      move()
      timers.push(setInterval(move, rebind.everyMs))
    }, rebind.firstMs))
  }
  return { stop: () => { for (const timer of timers) clearTimeout(timer) } }
}

/** A program with its output kept; `listening` answers 'listening' or its exit code. */
function start(prefix, command, environment, log) {
  const [file, ...parameters] = [...prefix, ...command]
  const child = spawn(file, parameters, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NO_COLOR: '1', QLOGDIR: '', ...environment } })
  const role = environment.ROLE
  const lines = []
  let announce
  const listening = new Promise((resolve) => { announce = resolve })
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line)
      if (line.includes('listening')) announce('listening')
    })
  }
  child.on('error', (error) => { lines.push(error.message) })
  const ended = new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal)))
  void ended.then(announce)
  const late = setTimeout(() => announce('no sign of life'), START_MS)
  void listening.then(() => clearTimeout(late))
  let isStopped = false
  return {
    listening,
    async ends(limitMs) {
      const limit = setTimeout(() => {
        lines.push(`(ended after ${limitMs} ms)`)
        child.kill('SIGKILL')
      }, limitMs)
      const code = await ended
      clearTimeout(limit)
      return code
    },
    async stop() {
      if (!isStopped) {
        isStopped = true
        child.kill('SIGTERM')
        const harder = setTimeout(() => child.kill('SIGKILL'), 2000)
        await ended
        clearTimeout(harder)
        writeFileSync(log, `${lines.join('\n')}\n`)
      }
    },
    story: () => lines.slice(-8).map((line) => `${role}: ${line}`),
  }
}

export function removeFolder(folder) {
  rmSync(folder, { recursive: true, force: true })
}
