/** What `quicbraid nat classify` shows of a NAT: a picture, its habits in the words of RFC 4787 and in plain ones, who can be met directly, the observations. Pure. */
import { isReached, MATRIX_NATS } from '../../lab/index.ts'
import type { MatrixNat } from '../../lab/index.ts'
import type { NatObservation, NatReport } from '../../traversal/index.ts'
import { formatMs, formatTable } from '../format.ts'
import type { Colors } from '../terminal.ts'

const MAPPING: Readonly<Record<NatReport['mapping'], string>> = {
  'endpoint-independent': 'one outside port for all peers',
  address: 'another outside port for every address of a peer',
  'address-port': 'another outside port for every address and port of a peer',
  unknown: 'not known: too few servers, or they were silent',
}
const FILTERING: Readonly<Record<NatReport['filtering'], string>> = {
  'endpoint-independent': 'anybody may send to the outside port',
  address: 'only addresses that were sent to may answer, from any port',
  'address-port': 'only addresses and ports that were sent to may answer',
  unknown: 'not known: no server with a second address (RFC 5780)',
}
const ALLOCATION: Readonly<Record<NatReport['ports']['allocation'], string>> = {
  preserving: 'the same port outside as inside',
  sequential: 'outside ports follow each other',
  random: 'outside ports cannot be foretold',
  parity: 'even outside where it is even inside',
  unknown: 'not known',
}

export function reportLines(report: NatReport, colors: Colors): string[] {
  const { kind, mapping, filtering, ports, hairpin, afterContact, mappingLifeMs } = report
  const rows: (readonly [string, string, string])[] = [
    ['mapping', mapping, MAPPING[mapping]],
    ['filtering', filtering, FILTERING[filtering]],
    ['ports', ports.allocation, `${ALLOCATION[ports.allocation]}${ports.step === null ? '' : `, ${ports.step} further each time`}`],
    ['hairpin', hairpin === null ? 'unknown' : hairpin ? 'yes' : 'no', hairpin === true ? 'hosts behind it meet by outside addresses' : hairpin === false ? 'hosts behind it must meet by inside addresses' : 'not tried'],
    ...(afterContact === 'changes' ? [['contact', 'changes', 'another outside port towards a peer that sent first: send before you are sent to'] as const] : []),
    ['life', mappingLifeMs === null ? 'not measured' : formatMs(mappingLifeMs), mappingLifeMs === null ? '--life measures how long a silent mapping lives' : 'then a silent mapping is gone'],
    ['kind', kind, KIND[kind]],
  ]
  const [wide, wider] = [Math.max(...rows.map(([name]) => name.length)), Math.max(...rows.map(([, word]) => word.length))]
  return [
    picture(report, colors), '',
    ...(report.natted ? rows : rows.filter(([name]) => ['filtering', 'kind'].includes(name))).map(([name, word, meaning]) => `${colors.dim(name.padEnd(wide))}  ${colors.bold(word.padEnd(wider))}  ${meaning}`),
    ...meets(report, colors),
  ]
}

const KIND: Readonly<Record<NatReport['kind'], string>> = {
  blocked: 'UDP does not come back',
  'full-cone': 'in the old words of RFC 3489',
  'restricted-cone': 'in the old words of RFC 3489',
  'restricted-port': 'in the old words of RFC 3489',
  symmetric: 'in the old words of RFC 3489',
  dynamic: 'the mapping depends on who sends first',
}

/** Us, what is between, and how the world sees us. */
function picture({ local, mapped, natted, kind }: NatReport, { bold, cyan, red, green }: Colors): string {
  if (mapped === null) return `${bold(local)} ──── ${red('✕')} ──── internet`
  return natted ? `${bold(local)} ────[ ${cyan(`NAT ${kind}`)} ]──── ${bold(mapped)} ──── internet` : `${bold(local)} ──── ${green('no NAT')} ──── internet`
}

/** By the reference table. */
function meets(report: NatReport, { dim }: Colors): string[] {
  const own = asMatrixNat(report)
  if (own === null) return []
  const words = (list: readonly string[]): string => (list.length === 0 ? 'nobody' : list.join(', '))
  const direct = MATRIX_NATS.filter((other) => isReached(own, other))
  const searched = MATRIX_NATS.filter((other) => !direct.includes(other) && isReached(own, other, 'on'))
  return [
    '', `${dim('direct with  ')}${words(direct)}`,
    ...(searched.length === 0 ? [] : [`${dim('by search    ')}${words(searched)} (--port-search)`]),
    ...(direct.length + searched.length === MATRIX_NATS.length ? [] : [`${dim('by relay     ')}${words(MATRIX_NATS.filter((other) => !direct.includes(other) && !searched.includes(other)))}`]),
  ]
}

/** The column of the reference table that is like it. */
function asMatrixNat({ kind, natted, mapping, ports }: NatReport): MatrixNat | null {
  switch (kind) {
    case 'blocked': return null
    case 'full-cone': return natted ? 'full-cone' : 'none'
    case 'restricted-cone': return 'addr-restricted'
    case 'restricted-port': return 'port-restricted'
    case 'dynamic': return 'linux'
    case 'symmetric': return ports.allocation === 'sequential' ? 'apdm-apdf-sequential' : mapping === 'address' ? 'adm-apdf' : 'symmetric'
  }
}

/** Column of round trips. */
const RTT = 5

/** Every question to a server, and its answer. */
export function observationLines(observations: readonly NatObservation[], { dim }: Colors): string[] {
  if (observations.length === 0) return []
  const rows = observations.map(({ atMs, test, server, answeredBy, mapped, rttMs, tries }) => [
    formatMs(atMs - (observations[0]?.atMs ?? 0)), test, server, answeredBy ?? 'silence', answeredBy === null ? '' : (mapped ?? ''), rttMs === null ? '' : formatMs(rttMs), String(tries),
  ])
  const [head = '', ...lines] = formatTable([['at', 'test', 'asked', 'answered by', 'sees us as', 'rtt', 'tries'], ...rows].map((row) => row.filter((_, column) => column !== RTT || observations.some(({ rttMs }) => rttMs !== null))))
  return ['', dim(head), ...lines]
}
