/** The time line of `nat punch`: one line for every step that a person wants to see, and the end of it. Pure. */
import type { Address, NatReport, TraversalEvent } from '../../traversal/index.ts'
import { formatMs, printable } from '../format.ts'
import type { Colors } from '../terminal.ts'

export interface PunchResult {
  direct: boolean
  path: { local: string; remote: string } | null
  rounds: number
  probes: number
  msToRelay: number | null
  msToDirect: number | null
  local: NatReport | null
  events: readonly TraversalEvent[]
  /** How the other end calls itself. */
  peer: string | null
  /** Longest time in which nothing came from it, while it sent something every 20 ms. */
  pauseMs: number
}

const TIME = 9

/** `12 ms  ● words`. `mark`: what kind of step it is. */
export function step(ms: number, mark: 'begin' | 'news' | 'good' | 'bad', words: string, colors: Colors): string {
  const marks = { begin: colors.cyan('●'), news: colors.dim('│'), good: colors.green('★'), bad: colors.red('✕') }
  return `${colors.dim(formatMs(Math.round(ms)).padStart(TIME))}  ${marks[mark]} ${words}`
}

/** One event of traversal; null: nobody needs to see it. */
export function eventLine(event: TraversalEvent, startMs: number, colors: Colors): string | null {
  // What happened before anybody counted is told with the first instant.
  const at = Math.max(0, event.atMs - startMs)
  switch (event.type) {
    case 'relay': return step(at, event.state === 'registered' ? 'news' : 'bad', `relay      ${event.relay} ${event.state}`, colors)
    case 'port-mapping': return step(at, event.state === 'mapped' ? 'news' : 'bad', `gateway    ${event.state}${event.external === null ? `: ${printable(event.reason)}` : ` ${event.external} for ${event.local}`}`, colors)
    case 'nat': return step(at, 'news', `our NAT    ${natWords(event.report)}`, colors)
    case 'address': return step(at, 'news', `${event.side === 'local' ? 'ours      ' : "peer's    "} ${event.change === 'added' ? '' : `${event.change} `}${addressWords(event.address)}`, colors)
    case 'round': {
      const words = `round ${event.punch.padEnd(5)}${event.state}, ${event.as}${event.reason === '' ? '' : `, ${printable(event.reason)}`}${event.state === 'started' ? '' : `, ${event.probes} ${event.probes === 1 ? 'probe' : 'probes'}`}`
      return step(at, event.state === 'failed' ? 'bad' : 'news', words, colors)
    }
    case 'upgraded': return step(at, 'good', `upgraded   path ${event.from} (relay) to path ${event.to} (direct)`, colors)
    case 'fell-back': return step(at, 'bad', `fell back  path ${event.from} (direct) to path ${event.to} (relay)`, colors)
  }
}

/** What it came to. */
export function resultLines({ direct, path, rounds, probes, msToRelay, msToDirect, pauseMs, peer }: PunchResult, colors: Colors): string[] {
  const { bold, green, yellow } = colors
  const who = peer === null || peer === '' ? '' : ` with ${printable(peer)}`
  const head = direct ? green(`direct path${who} after ${formatMs(msToDirect ?? Number.NaN)}`) : yellow(`no direct path${who}: the connection stays on the relay`)
  const facts = [
    path === null ? '' : `${bold(path.local)} ${direct ? '════' : '─ relay ─'} ${bold(path.remote)}`,
    [msToRelay === null ? '' : `relayed after ${formatMs(msToRelay)}`, `${rounds} ${rounds === 1 ? 'round' : 'rounds'}`, `${probes} ${probes === 1 ? 'probe' : 'probes'}`, `longest pause ${formatMs(pauseMs)}`].filter((word) => word !== '').join(', '),
  ]
  return ['', head, ...facts.filter((fact) => fact !== '')]
}

function natWords({ kind, natted, mapped, ports }: NatReport): string {
  if (mapped === null) return 'UDP is blocked'
  return natted ? `${kind}, ports ${ports.allocation}, seen as ${mapped}` : `none, seen as ${mapped}`
}

function addressWords({ kind, address, nat, relay }: Address): string {
  return `${kind} ${address}${relay === null ? '' : ` by ${relay}`}${nat === 'unknown' || kind === 'relayed' ? '' : `, ${nat}`}`
}
