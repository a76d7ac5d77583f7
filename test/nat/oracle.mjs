// What a NAT is, told by a program that shares no code with ours: STUN of RFC 8489 over node:dgram, the tests of RFC 5780.
//
//   node test/nat/oracle.mjs serve IP1:PORT1 IP2:PORT2         answers on the four sockets of two addresses and two ports
//   node test/nat/oracle.mjs classify LOCAL-IP IP1:PORT1       prints one line: { mapping, filtering, ports, afterContact, mapped, natted, … }
//   node test/nat/oracle.mjs programs                          takes orders as JSON lines; the tests' way to ask several things
//
// Silence is not waited for with a clock: whoever asks for an answer from elsewhere asks for a plain one behind it, and again behind that.
// When these are there, the first one was filtered. Only a NAT that lets nothing through is told by a timeout.

import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

const COOKIE = 0x2112a442
const [REQUEST, RESPONSE] = [0x0001, 0x0101]
const [CHANGE_REQUEST, XOR_MAPPED_ADDRESS, RESPONSE_PORT, RESPONSE_ORIGIN, OTHER_ADDRESS] = [0x0003, 0x0020, 0x0027, 0x802b, 0x802c]
const [CHANGE_IP, CHANGE_PORT] = [4, 2]
const [TRIES, PATIENCE_MS, MARKERS, FRESH_SOCKETS] = [5, 400, 2, 4]

// The format: https://www.rfc-editor.org/rfc/rfc8489#section-5 and 14.

const ipBytes = (ip) => Buffer.from(ip.split('.').map(Number))
const same = (one, other) => one !== null && other !== null && one.ip === other.ip && one.port === other.port
const text = (address) => (address === null ? null : `${address.ip}:${address.port}`)
const parseAddress = (word) => {
  const [ip, port] = word.split(':')
  return { ip, port: Number(port) }
}

function attribute(type, value) {
  const head = Buffer.alloc(4)
  head.writeUInt16BE(type, 0)
  head.writeUInt16BE(value.length, 2)
  return Buffer.concat([head, value, Buffer.alloc((4 - (value.length % 4)) % 4)])
}

/** An IPv4 address as attributes hold it; `xor`: hidden from NATs that rewrite addresses. */
function addressValue({ ip, port }, xor) {
  const value = Buffer.concat([Buffer.from([0, 1, 0, 0]), ipBytes(ip)])
  value.writeUInt16BE(xor ? port ^ (COOKIE >>> 16) : port, 2)
  if (xor) value.writeUInt32BE((value.readUInt32BE(4) ^ COOKIE) >>> 0, 4)
  return value
}

function valueAddress(value, xor) {
  const port = value.readUInt16BE(2)
  const bits = value.readUInt32BE(4)
  const ip = Buffer.alloc(4)
  ip.writeUInt32BE(xor ? (bits ^ COOKIE) >>> 0 : bits)
  return { ip: [...ip].join('.'), port: xor ? port ^ (COOKIE >>> 16) : port }
}

function message(type, id, attributes) {
  const body = Buffer.concat(attributes)
  const head = Buffer.alloc(8)
  head.writeUInt16BE(type, 0)
  head.writeUInt16BE(body.length, 2)
  head.writeUInt32BE(COOKIE, 4)
  return Buffer.concat([head, id, body])
}

/** { type, id, attributes: Map }, or null for what is no STUN. */
function parse(bytes) {
  if (bytes.length < 20 || bytes.readUInt32BE(4) !== COOKIE || bytes.readUInt16BE(2) !== bytes.length - 20) return null
  const attributes = new Map()
  for (let at = 20; at + 4 <= bytes.length;) {
    const length = bytes.readUInt16BE(at + 2)
    if (at + 4 + length > bytes.length) return null
    attributes.set(bytes.readUInt16BE(at), bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length + ((4 - (length % 4)) % 4)
  }
  return { type: bytes.readUInt16BE(0), id: bytes.subarray(8, 20), attributes }
}

async function bind(ip, port = 0) {
  const socket = createSocket('udp4')
  socket.bind(port, ip)
  await once(socket, 'listening')
  return socket
}

/** Answers on both addresses and both ports. */
export async function serve(first, second) {
  const sockets = new Map()
  const ips = [first.ip, second.ip]
  const ports = [first.port, second.port]
  for (const [i, ip] of ips.entries()) {
    for (const [p, port] of ports.entries()) sockets.set(`${i}${p}`, await bind(ip, port))
  }
  for (const [i] of ips.entries()) {
    for (const [p] of ports.entries()) {
      sockets.get(`${i}${p}`).on('message', (bytes, from) => {
        const asked = parse(bytes)
        if (asked === null || asked.type !== REQUEST) return
        const change = asked.attributes.get(CHANGE_REQUEST)?.readUInt32BE(0) ?? 0
        const [ai, ap] = [change & CHANGE_IP ? 1 - i : i, change & CHANGE_PORT ? 1 - p : p]
        const answer = message(RESPONSE, asked.id, [
          attribute(XOR_MAPPED_ADDRESS, addressValue({ ip: from.address, port: from.port }, true)),
          attribute(RESPONSE_ORIGIN, addressValue({ ip: ips[ai], port: ports[ap] }, false)),
          attribute(OTHER_ADDRESS, addressValue({ ip: ips[1 - i], port: ports[1 - p] }, false)),
        ])
        sockets.get(`${ai}${ap}`).send(answer, asked.attributes.get(RESPONSE_PORT)?.readUInt16BE(0) ?? from.port, from.address)
      })
    }
  }
  return () => { for (const socket of sockets.values()) socket.close() }
}

/** One socket that asks. */
class Asker {
  #waiting = new Map()
  heard = []

  static async open(ip, port) {
    const asker = new Asker()
    asker.socket = await bind(ip, port)
    asker.socket.on('message', (bytes, from) => asker.#onMessage(bytes, from))
    return asker
  }

  get local() {
    const { address, port } = this.socket.address()
    return { ip: address, port }
  }

  close() {
    this.socket.close()
  }

  #onMessage(bytes, from) {
    const said = parse(bytes)
    if (said === null || said.type !== RESPONSE) return this.heard.push({ words: bytes.toString('latin1'), from: `${from.address}:${from.port}` })
    const [mapped, other] = [said.attributes.get(XOR_MAPPED_ADDRESS), said.attributes.get(OTHER_ADDRESS)]
    return this.#waiting.get(said.id.toString('hex'))?.({ mapped: valueAddress(mapped, true), other: other === undefined ? null : valueAddress(other, false), from: { ip: from.address, port: from.port } })
  }

  /** A request; `answer` resolves with the response, if one comes. */
  request(to, attributes = []) {
    const id = randomBytes(12)
    const bytes = message(REQUEST, id, attributes)
    const answer = new Promise((resolve) => this.#waiting.set(id.toString('hex'), resolve))
    const send = () => this.socket.send(bytes, to.port, to.ip, () => undefined)
    send()
    return { answer, send }
  }

  /** The plain question; null after `TRIES` in vain. */
  async ask(to) {
    const { answer, send } = this.request(to)
    for (let tries = 1; ; tries++) {
      let timer
      const late = new Promise((resolve) => { timer = setTimeout(resolve, PATIENCE_MS, null) })
      const said = await Promise.race([answer, late])
      clearTimeout(timer)
      if (said !== null || tries === TRIES) return said
      send()
    }
  }

  /** Is an answer from elsewhere let in? */
  async hears(to, change) {
    const value = Buffer.alloc(4)
    value.writeUInt32BE(change)
    const { answer } = this.request(to, [attribute(CHANGE_REQUEST, value)])
    const markers = async () => {
      for (let marker = 0; marker < MARKERS; marker++) await this.ask(to)
      return null
    }
    return (await Promise.race([answer, markers()])) !== null
  }
}

/** The tests of RFC 5780 sections 4.3 and 4.4, each on sockets of its own, and two more: how ports are given, what an early packet does. */
export async function classify(localIp, server) {
  const opened = []
  const open = async () => {
    opened.push(await Asker.open(localIp))
    return opened.at(-1)
  }
  try {
    const asker = await open()
    const first = await asker.ask(server)
    if (first === null) return { mapping: 'unknown', filtering: 'unknown', ports: 'unknown', afterContact: 'unknown', mapped: null, natted: true, blocked: true }
    const other = first.other
    const second = await asker.ask({ ip: other.ip, port: server.port })
    const third = await asker.ask(other)
    const samePort = await asker.ask({ ip: server.ip, port: other.port })
    const isSame = [second, third, samePort].map((said) => same(first.mapped, said?.mapped ?? null))
    const mapping = isSame.every(Boolean) ? 'endpoint-independent' : isSame[2] && same(second.mapped, third.mapped) ? 'address' : 'address-port'
    const filtered = await open()
    await filtered.ask(server)
    const filtering = await filtered.hears(server, CHANGE_IP | CHANGE_PORT) ? 'endpoint-independent' : await filtered.hears(server, CHANGE_PORT) ? 'address' : 'address-port'
    const natted = first.mapped.ip !== asker.local.ip
    return {
      mapping, filtering, ports: await portsOf(open, server), natted, blocked: false, mapped: text(first.mapped), local: text(asker.local),
      afterContact: mapping === 'endpoint-independent' && filtering !== 'endpoint-independent' ? await afterContact(open, server, other) : 'unknown',
    }
  } finally {
    for (const asker of opened) asker.close()
  }
}

/** Does a packet of a peer that was not let in change the mapping towards that peer (RFC 4787 section 8)? */
async function afterContact(open, server, other) {
  const asker = await open()
  const before = await asker.ask(server)
  await asker.hears(server, CHANGE_IP | CHANGE_PORT)
  const after = await asker.ask(other)
  return same(before.mapped, after?.mapped ?? null) ? 'keeps' : 'changes'
}

/** Which outer port a new socket gets. */
async function portsOf(open, server) {
  const [kept, given] = [[], []]
  for (let count = 0; count < FRESH_SOCKETS; count++) {
    const asker = await open()
    const { mapped } = await asker.ask(server)
    kept.push(mapped.port === asker.local.port)
    given.push(mapped.port)
  }
  if (kept.every(Boolean)) return 'preserving'
  const steps = given.slice(1).map((port, index) => port - given[index])
  return steps.every((step) => step === steps[0] && Math.abs(step) < 16) ? 'sequential' : 'random'
}

/** Orders of the tests: sockets that live on between them. */
async function takeOrders() {
  const askers = new Map()
  const orders = {
    serve: async ({ first, second }) => { await serve(parseAddress(first), parseAddress(second)); return {} },
    classify: async ({ local, server }) => classify(local, parseAddress(server)),
    open: async ({ name, local, port = 0 }) => {
      askers.set(name, await Asker.open(local, port))
      return { local: text(askers.get(name).local) }
    },
    ask: async ({ name, server }) => ({ mapped: text((await askers.get(name).ask(parseAddress(server)))?.mapped ?? null) }),
    tell: async ({ name, to, words }) => {
      const { ip, port } = parseAddress(to)
      await new Promise((resolve) => askers.get(name).socket.send(words, port, ip, resolve))
      return {}
    },
    heard: async ({ name }) => ({ heard: askers.get(name).heard }),
    close: async ({ name }) => {
      askers.get(name).close()
      askers.delete(name)
      return {}
    },
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, do: verb, ...order } = JSON.parse(line)
    const answer = await orders[verb](order).catch((error) => ({ error: { code: error.code ?? error.name, message: error.message } }))
    process.stdout.write(`${JSON.stringify({ id, ...answer })}\n`)
  }
  process.exit(0)
}

const [verb, ...words] = process.argv[1] === import.meta.filename ? process.argv.slice(2) : []
if (verb === 'serve') {
  await serve(...words.map(parseAddress))
  process.stdout.write('{"event":"listening"}\n')
} else if (verb === 'classify') {
  process.stdout.write(`${JSON.stringify(await classify(words[0], parseAddress(words[1])))}\n`)
} else if (verb === 'programs') {
  await takeOrders()
}
