// Holds a row's captures against its checks. Without tshark, checks that need keys are skipped by name.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { joinCaptures, readCapture } from './pcap.mjs'
import { dissect } from './tshark.mjs'

/** Answers { reasons, notes }. */
export async function judgeTraces({ row, at, folder, tshark, bytes, facts, quick }) {
  const ports = { client: [at.relayPort, at.relayPort + 1], server: [at.serverPort, at.serverPort + 1] }
  const names = row.preferred === true ? ['', '-2'] : ['']
  const plain = Object.fromEntries(['client', 'server'].map((side) => {
    const all = names.flatMap((name) => readCapture(join(folder, `${side}${name}.pcap`))).sort((a, b) => a.atMs - b.atMs)
    for (const datagram of all) datagram.isUp = ports[side].includes(datagram.toPort)
    return [side, { all, up: all.filter(({ isUp }) => isUp), down: all.filter(({ isUp }) => !isUp) }]
  }))
  const reasons = row.checks.map((check) => check({ ...plain, bytes, facts })).filter((words) => words !== null)
  facts.datagrams = { up: plain.client.up.length, down: plain.client.down.length }
  const decrypted = [...(row.decrypted ?? []), ...(quick ? [] : (row.timed ?? []))]
  if (decrypted.length === 0) return { reasons, notes: [] }
  if (tshark === null) return { reasons, notes: decrypted.map(({ name }) => `trace check ${name || 'of tshark'} skipped: tshark is not installed`) }
  const keylog = joinedKeys(folder)
  const sides = await Promise.all(['client', 'server'].map(async (side) => {
    const rows = await dissect(oneCapture(folder, side, names), keylog, ports[side])
    return [side, rows.map((fields) => ({ ...fields, isUp: ports[side].includes(Number(fields['udp.dstport'][0])) }))]
  }))
  const dissected = Object.fromEntries(sides)
  return { reasons: [...reasons, ...decrypted.map((check) => check(dissected)).filter((words) => words !== null)], notes: [] }
}

/** All that passed on one side, in one file: whoever moved can be decrypted only behind its handshake. */
function oneCapture(folder, side, names) {
  if (names.length === 1) return join(folder, `${side}.pcap`)
  const file = join(folder, `${side}-all.pcap`)
  writeFileSync(file, joinCaptures(names.map((name) => readFileSync(join(folder, `${side}${name}.pcap`)))))
  return file
}

function joinedKeys(folder) {
  const file = join(folder, 'all.keys')
  const parts = ['client.keys', 'client-rival.keys', 'server.keys'].map((name) => join(folder, name)).filter(existsSync)
  writeFileSync(file, parts.map((name) => readFileSync(name, 'utf8')).join(''))
  return file
}
