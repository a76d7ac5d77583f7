// Processor time of processes and of all that they started, from /proc; where there is none, null.

import { readFileSync, readdirSync } from 'node:fs'

/** Ticks a second in /proc: the same on every Linux that Node runs on. */
const TICKS = 100

/** Seconds, user and system, of these processes with their descendants (also those that have ended and were waited for); null without /proc. */
export function processorSeconds(pids) {
  const all = table()
  if (all === null) return null
  const wanted = new Set(pids)
  // A child's id need not be above its parent's.
  for (let size = -1; size !== wanted.size;) {
    size = wanted.size
    for (const [pid, { parent }] of all) if (wanted.has(parent)) wanted.add(pid)
  }
  let ticks = 0
  for (const pid of wanted) ticks += all.get(pid)?.ticks ?? 0
  return ticks / TICKS
}

function table() {
  const all = new Map()
  let names
  try {
    names = readdirSync('/proc')
  } catch {
    return null
  }
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue
    try {
      const text = readFileSync(`/proc/${name}/stat`, 'latin1')
      // The command's name, in brackets, may hold anything.
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
      all.set(Number(name), { parent: Number(fields[1]), ticks: fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0) })
    } catch {
      // It has ended meanwhile.
    }
  }
  return all.size === 0 ? null : all
}
