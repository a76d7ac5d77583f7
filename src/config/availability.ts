/**
 * What this build of the engine lacks is refused, by the table below, never ignored. The native module names what it has
 * beyond the base (`features()`), so that the table stands still while the engine grows.
 */
import { OptionError } from '../errors/index.ts'
import { unavailableOption } from './check.ts'
import { isOwnScheduler } from './scheduler.ts'

type Options = Readonly<Record<string, unknown>>

/** Asks for something beyond the base: the feature's name, or null for values of the base. */
type Rule = (value: unknown) => string | null

const always = (feature: string): Rule => () => feature
const unless = (feature: string, ...base: unknown[]): Rule => (value) => (base.includes(value) ? null : feature)
const isFunction = (feature: string): Rule => (value) => (typeof value === 'function' ? feature : null)
const named = (prefix: string, ...base: string[]): Rule => (value) => {
  const name = typeof value === 'object' && value !== null ? ((value as Options)['name'] ?? (value as Options)['mode']) : value
  return base.includes(String(name)) ? null : `${prefix}.${String(name)}`
}

const CONNECTION: Readonly<Record<string, Rule>> = {
  verify: isFunction('verify'),
  verifyTimeoutMs: always('verify'),
  multipath: unless('sharedSpace', 'auto', 'off', 'require'),
  handshake: named('handshake', 'single', 'stagger'),
  scheduler: (value) => (isOwnScheduler(value) ? 'scheduler.plan' : named('scheduler', 'min-rtt', 'round-robin')(value)),
  congestion: named('congestion', 'cubic', 'newreno', 'bbr3'),
  ackPath: unless('ackPath', 'same'),
  ackFrequency: unless('ackFrequency', true),
  failover: always('failover'),
  versions: (value) => (Array.isArray(value) && value[0] === 'v1' ? null : 'versions'),
  firstVersion: always('firstVersion'),
  earlyData: unless('earlyData', false),
  sessions: always('sessions'),
  maxDatagramFrameBytes: unless('datagrams', 0),
  spin: unless('spin', 'random'),
  greaseQuicBit: unless('greaseQuicBit', true),
  disableActiveMigration: unless('disableActiveMigration', false),
  hystart: unless('hystart', true),
  newTokens: unless('newTokens', true),
  traversal: unless('traversal', false),
  sni: always('sni'),
  clientAuth: unless('clientAuth', 'none'),
  retry: unless('retry', 'auto'),
  admit: always('admit'),
  maxConnections: always('maxConnections'),
  multiAddressHandshake: unless('multiAddressHandshake', true),
  preferredAddress: always('preferredAddress'),
  halfRttData: unless('halfRttData', false),
}

const ENDPOINT: Readonly<Record<string, Rule>> = {
  reusePort: unless('reusePort', false),
  blockList: always('blockList'),
  serverId: always('serverId'),
  secret: always('secret'),
  memory: always('memory'),
  qlog: always('qlog'),
  keylog: always('keylog'),
}

const PATH: Readonly<Record<string, Rule>> = {
  interface: always('interface'),
  weight: unless('scheduler.weighted', 1),
}

/** @throws QB_OPTION_INVALID, naming the field and "not available in this version" */
export function refuseUnavailable(kind: 'connection' | 'endpoint' | 'path', options: object, features: ReadonlySet<string>, field: string): void {
  const rules = { connection: CONNECTION, endpoint: ENDPOINT, path: PATH }[kind]
  for (const [name, value] of Object.entries(options)) {
    const feature = value === undefined ? null : (rules[name]?.(value) ?? null)
    if (feature !== null && !features.has(feature)) throw unavailableOption(field === '' ? name : `${field}.${name}`, value)
  }
  if (kind === 'connection') refuseMappings((options as Options)['traversal'], features, field === '' ? 'traversal' : `${field}.traversal`)
}

/** Ports of a gateway, where there can be none. */
function refuseMappings(traversal: unknown, features: ReadonlySet<string>, field: string): void {
  const sources = typeof traversal === 'object' && traversal !== null ? (traversal as Options)['sources'] : undefined
  if (!Array.isArray(sources) || !sources.includes('port-mapping') || features.has('traversal.portMapping')) return
  throw new OptionError('QB_OPTION_INVALID', `option ${field}.sources has 'port-mapping', but simulated worlds and carriers have no gateway to ask; leave it out`, { field: `${field}.sources`, value: 'port-mapping' })
}
