// Where the endpoints stand: each in a network namespace of its own with the relay between them, or, where the machine lets nobody make
// namespaces, all on loopback addresses.

import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'

const ADDRESSES = 6
/** Subnets 10.64.0.0 to 10.127.255.0, in pairs. */
const NUMBERS = 64 * 128
const opened = new Set()
let made = 0

const ip = (...words) => {
  const { status, stderr } = spawnSync('ip', words, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${stderr ?? 'does not start'}`)
}

/** Namespaces can be made here. */
export function hasNamespaces() {
  const name = `qbi-${process.pid}-test`
  if (spawnSync('ip', ['netns', 'add', name]).status !== 0) return false
  spawnSync('ip', ['netns', 'del', name])
  return true
}

/**
 * A place for one row: { client, server: prefixes of command lines, serverHost, serverPort, relayHost, sources, close }.
 * `sources`: addresses of the relay towards the server.
 */
export async function place(namespaces, family) {
  return namespaces ? inNamespaces(family) : onLoopback(family)
}

async function onLoopback(family) {
  const host = family === 6 ? '::1' : '127.0.0.1'
  const serverPort = await freePorts(host)
  const sources = family === 6 ? [host] : Array.from({ length: ADDRESSES }, (_, index) => `127.0.1.${index + 1}`)
  return { client: [], server: [], serverHost: host, serverPort, relayHost: host, relayPort: await freePorts(host), sources, close: () => undefined }
}

/** A port that is free together with the next one. */
async function freePorts(host) {
  for (;;) {
    const sockets = [createSocket(host.includes(':') ? 'udp6' : 'udp4'), createSocket(host.includes(':') ? 'udp6' : 'udp4')]
    try {
      const bind = async (socket, port) => {
        socket.bind(port, host)
        await once(socket, 'listening')
        return socket.address().port
      }
      const port = await bind(sockets[0], 0)
      if (port < 65_000) {
        await bind(sockets[1], port + 1)
        return port
      }
    } catch {
      // The next one.
    } finally {
      for (const socket of sockets) socket.close()
    }
  }
}

/** client namespace -- veth -- here (the relay) -- veth -- server namespace; both links like Ethernet, 1500 bytes. */
function inNamespaces(family) {
  const undo = []
  const close = () => { for (const words of undo.splice(0).toReversed()) spawnSync('ip', words) }
  const number = claim(undo)
  opened.add(close)
  const subnet = (side, host) => (family === 6 ? `fd77:${number.toString(16)}:${side}::${host}` : `10.${64 + (number >> 7)}.${((number & 127) << 1) + side}.${host}`)
  const width = family === 6 ? 64 : 24
  try {
    for (const [side, name] of [[0, 'c'], [1, 's']]) {
      const namespace = `qbi${number}${name}`
      const [here, there] = [`qbi${number}${name}`, 'eth0']
      if (side === 1) {
        ip('netns', 'add', namespace)
        undo.push(['netns', 'del', namespace])
      }
      ip('link', 'add', here, 'type', 'veth', 'peer', 'name', there, 'netns', namespace)
      undo.push(['link', 'del', here])
      const extra = family === 6 ? ['nodad'] : []
      for (let host = 1; host <= (side === 1 ? ADDRESSES : 1); host++) ip('addr', 'add', `${subnet(side, host === 1 ? 1 : host + 8)}/${width}`, 'dev', here, ...extra)
      ip('link', 'set', here, 'up')
      ip('-n', namespace, 'link', 'set', 'lo', 'up')
      ip('-n', namespace, 'addr', 'add', `${subnet(side, 2)}/${width}`, 'dev', there, ...extra)
      ip('-n', namespace, 'link', 'set', there, 'up')
    }
  } catch (error) {
    close()
    throw error
  }
  const inside = (name) => ['ip', 'netns', 'exec', `qbi${number}${name}`]
  return {
    client: inside('c'), server: inside('s'), serverHost: subnet(1, 2), serverPort: 443, relayHost: subnet(0, 1), relayPort: 443,
    sources: Array.from({ length: ADDRESSES }, (_, index) => subnet(1, index === 0 ? 1 : index + 9)),
    close: () => {
      opened.delete(close)
      close()
    },
  }
}

/** A number whose subnets nobody else on this machine has: the name of the client's namespace is the claim. */
function claim(undo) {
  for (let tries = 0; tries < NUMBERS; tries++) {
    const number = (process.pid * 31 + made++) % NUMBERS
    const name = `qbi${number}c`
    if (spawnSync('ip', ['netns', 'add', name]).status !== 0) continue
    undo.push(['netns', 'del', name])
    return number
  }
  throw new Error('no network namespace can be made; `ip netns list` shows what an interrupted run left')
}

// Namespaces outlive their makers: an interrupted run takes its own along.
for (const [name, code] of [['SIGINT', 130], ['SIGTERM', 143]]) {
  process.once(name, () => {
    for (const close of opened) close()
    process.exit(code)
  })
}
